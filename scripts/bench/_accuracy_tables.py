"""The tables of the accuracy benchmark, and what comes of its targets."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import numpy as np

from scripts.bench._accuracy_crossing import Crossing
from scripts.bench._accuracy_trouble import LEAST_FRAMES, Trouble
from scripts.bench._accuracy_ways import Figures
from scripts.bench._report import markdown, number
from scripts.bench._verdicts import VERDICT_HEADS, Limits, Verdict, judged

TARGETS: Final = {
    "mono": (90.0, 70.0),
    "mono + depth": (40.0, 30.0),
    "two views": (28.0, 22.0),
    "four views": (20.0, 14.0),
    "four staggered": (36.0, 30.0),
}
"""Root-relative MPJPE in millimetres: what must be reached, and the aim."""
RECOVERY_S: Final = 1.0
_LEAST_FOUND: Final = 0.98


def judge(
    figures: Sequence[Figures], troubles: Sequence[Trouble], crossings: Sequence[Crossing]
) -> list[Verdict]:
    """The targets: a way counts by the worse of cold and tracked, and only where it found the body."""
    verdicts = []
    for way, (must, aim) in TARGETS.items():
        own = [each for each in figures if each.way == way]
        lost = [each for each in own if each.found_share < _LEAST_FOUND]
        figure = max((each.errors.root for each in own), default=None) if not lost else None
        note = "the worse of " + " and ".join(f"{each.name} {number(each.errors.root)}" for each in own)
        if lost:
            note = "; ".join(f"{each.name}: a body in only {100 * each.found_share:.0f} %" for each in lost)
        limits = Limits(must, aim, "mm")
        verdicts.append(judged(f"{way}: root-relative", figure, limits, note=note if own else "left out"))
    slowest = [max(each.recovery_s) for each in troubles if each.recovery_s]
    worst = max(slowest, default=None)
    is_over = worst is not None and math.isfinite(worst)
    note = "" if is_over else "left out" if worst is None else "not within the clip"
    limits = Limits(RECOVERY_S, None, "s")
    what = "as good again after trouble, slowest"
    verdicts.append(judged(what, worst if is_over else None, limits, note=note))
    for crossing in crossings:
        what = f"identity switches, {_cameras(crossing)}"
        verdicts.append(judged(what, float(crossing.switches), Limits(0.0, None, "")))
    return verdicts


def as_text(
    figures: Sequence[Figures],
    troubles: Sequence[Trouble],
    crossings: Sequence[Crossing],
    verdicts: Sequence[Verdict],
    clips: Sequence[str],
) -> str:
    parts = [
        "SYNTHETIC: procedural body on held-out mocap, 640 x 480, f = 600 px, 3 m, 3 px of noise, 30 fps.",
        f"Clips: {', '.join(clips)}. Two views stand 60 degrees apart, four 90.",
        markdown(_error_rows(figures)),
    ]
    if troubles:
        parts.append(f"Trouble, in clips of {LEAST_FRAMES} frames or more; errors are root-relative.")
        parts.append(markdown(_trouble_rows(troubles)))
    if crossings:
        parts.append(markdown(_crossing_rows(crossings)))
    parts.append(markdown([VERDICT_HEADS, *(verdict.cells() for verdict in verdicts)]))
    return "\n\n".join(parts)


def _error_rows(figures: Sequence[Figures]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [
        ("way", "root-relative mm", "aligned (PA) mm", "absolute mm", "found", "CPU ms")
    ]
    for each in figures:
        errors = (each.errors.root, each.errors.aligned, each.errors.absolute)
        cpu_ms = number(float(np.median(each.cpu_ms))) if each.cpu_ms else "-"
        rows.append((each.name, *map(number, errors), f"{100 * each.found_share:.1f} %", cpu_ms))
    return rows


def _trouble_rows(troubles: Sequence[Trouble]) -> list[Sequence[str]]:
    heads = (
        "way, tracked",
        "trouble",
        "without it mm",
        "meanwhile mm",
        "a body",
        "over after s, worst",
        "mean",
    )
    rows: list[Sequence[str]] = [heads]
    for each in troubles:
        times = each.recovery_s
        rows.append(
            (
                each.way,
                each.what,
                _figure(each.undisturbed.root),
                _figure(each.during.root),
                f"{100 * each.found_share:.0f} %",
                _figure(max(times)) if times else "-",
                _figure(float(np.mean(times))) if times else "-",
            )
        )
    return rows


def _crossing_rows(crossings: Sequence[Crossing]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [
        ("two people who cross", "crossings", "identity switches", "identities", "seen", "IDF1")
    ]
    for each in crossings:
        counts = (each.crossings, each.switches, each.identities)
        shares = (f"{100 * each.seen_share:.0f} %", f"{100 * each.idf1:.1f} %")
        rows.append((_cameras(each), *map(str, counts), *shares))
    return rows


def _cameras(crossing: Crossing) -> str:
    return "1 camera" if crossing.cameras == 1 else f"{crossing.cameras} cameras"


def _figure(value: float) -> str:
    return number(value) if math.isfinite(value) else "-"


def as_json(figures: Sequence[Figures], troubles: Sequence[Trouble], crossings: Sequence[Crossing]) -> str:
    """What is not finite is null."""
    told = {
        each.name: {
            "errors_mm": asdict(each.errors),
            "found_share": each.found_share,
            "by_clip": {name: asdict(errors) for name, errors in each.by_clip.items()},
            "cpu_ms": float(np.median(each.cpu_ms)) if each.cpu_ms else None,
        }
        for each in figures
    }
    everything = {
        "synthetic": True,
        "ways": told,
        "troubles": [asdict(each) for each in troubles],
        "crossings": [asdict(each) for each in crossings],
    }
    return json.dumps(_finite(everything))


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
