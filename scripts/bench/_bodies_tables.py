"""The tables of the bodies benchmark, and what comes of its targets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np

from scripts.bench._bodies_timing import Duel, Timing
from scripts.bench._report import markdown, number
from scripts.bench._verdicts import VERDICT_HEADS, Limits, Verdict, judged

COLD_MS: Final = Limits(8.0, 5.0, "ms")
TRACKED_MS: Final = Limits(0.8, 0.12, "ms")
MESH_MS: Final = Limits(0.35, 0.2, "ms")
RATIOS: Final = {"scipy": Limits(20.0, None, "x", at_least=True), "torch": Limits(50.0, None, "x", True)}
DEPTH_FPS: Final = Limits(20.0, None, "fps", at_least=True)
TRACKED_WITH_TARGET: Final = ("one view", "one view + depth", "four views")


@dataclass(frozen=True, slots=True)
class Measured:
    cold: Sequence[Timing]
    duels: Sequence[Duel]
    tracked: Sequence[Timing]
    mesh: Timing
    depth: Timing


def judge(measured: Measured, doubt: str) -> list[Verdict]:
    """The targets. A peer that comes in several variants counts by its quickest."""
    original = measured.cold[0]
    note = f"with spheres; p90 {number(original.slow_ms)} ms"
    verdicts = [judged(f"cold fit, {original.what}", original.median_ms, COLD_MS, note=note, doubt=doubt)]
    for package, limits in RATIOS.items():
        own = [duel for duel in measured.duels if duel.peer.startswith(package)]
        ratios = [duel.ratio for duel in own if duel.ratio is not None]
        note = next((duel.missing for duel in own if duel.missing), "the quickest of its variants")
        what = f"our cold fit against {package}, same residuals"
        verdicts.append(judged(what, min(ratios, default=None), limits, note=note, doubt=doubt))
    for timing in measured.tracked:
        if timing.what in TRACKED_WITH_TARGET:
            what = f"tracked step, {timing.what}"
            verdicts.append(judged(what, timing.median_ms, TRACKED_MS, doubt=doubt))
    what = "mesh of 6890 vertices with 207 pose directions"
    verdicts.append(judged(what, measured.mesh.median_ms, MESH_MS, doubt=doubt))
    fps = 1e3 / measured.depth.median_ms
    verdicts.append(judged("depth picture of a body, 640 x 480", fps, DEPTH_FPS, doubt=doubt))
    return verdicts


def as_text(
    measured: Measured, verdicts: Sequence[Verdict], machine: dict[str, object], *, clips: str
) -> str:
    return "\n\n".join(
        [
            f"SYNTHETIC: procedural body on held-out mocap ({clips}), 640 x 480, f = 600 px, 3 m, 3 px of "
            "noise. CPU of one thread.",
            f"{machine['cpu']}, Python {machine['python']}, {machine['versions']}",
            markdown(_rows("cold fit", measured.cold)),
            markdown(_duel_rows(measured.duels)),
            markdown(_rows("tracked step", measured.tracked)),
            markdown(_rows("picture of a body", [measured.mesh, measured.depth])),
            markdown([VERDICT_HEADS, *(verdict.cells() for verdict in verdicts)]),
        ]
    )


def as_json(measured: Measured, verdicts: Sequence[Verdict], machine: dict[str, object]) -> str:
    told = {
        "synthetic": True,
        "machine": machine,
        "measured": asdict(measured),
        "verdicts": [asdict(verdict) for verdict in verdicts],
    }
    return json.dumps(told)


def _rows(heading: str, timings: Sequence[Timing]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [(heading, "median ms", "p90 ms", "calls", "root-relative mm")]
    for timing in timings:
        error = number(float(np.mean(timing.errors_mm))) if timing.errors_mm else "-"
        count = str(len(timing.cpu_ms))
        rows.append((timing.what, number(timing.median_ms), number(timing.slow_ms), count, error))
    return rows


def _duel_rows(duels: Sequence[Duel]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [
        ("original's schedule without spheres", "theirs ms", "ours ms", "theirs / ours", "their cost / ours")
    ]
    for duel in duels:
        if duel.ratio is None:
            rows.append((duel.peer, "-", "-", "-", duel.missing))
            continue
        medians = (float(np.median(each)) for each in (duel.theirs_ms, duel.ours_ms))
        costs = f"{np.median(duel.cost_ratios):.3f}"
        rows.append((duel.peer, *map(number, medians), number(duel.ratio), costs))
    return rows
