"""One run of the mesh benchmark as tables for people (Markdown) and as one JSON object.

The JSON has the same figures without rounding: `machine`, `others_cores`, `left_out` (peer: package to
install), `has_kernels`, `levels` (each with `ways`), `files`, `live`, `verdicts`, `all_must_met`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from scripts.bench._machine import machine
from scripts.bench._mesh_live import Live
from scripts.bench._mesh_peers import peer_packages
from scripts.bench._mesh_timing import Figures
from scripts.bench._report import doubt_about_times, markdown, number
from scripts.bench._verdicts import VERDICT_HEADS, Verdict


@dataclass(frozen=True, slots=True)
class LevelFigures:
    """One table: the ways at one level of noise. source: what the people did, in words."""

    noise_mm: float
    source: str
    people: int
    seconds: float
    ways: list[Figures]


@dataclass(frozen=True, slots=True)
class WholeFile:
    """A native file from its first frame on, with everything that is in it."""

    what: str
    ratio: float


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that one run has found. left_out: peers that are not installed."""

    levels: list[LevelFigures]
    files: list[WholeFile]
    lives: list[Live]
    verdicts: list[Verdict]
    left_out: dict[str, str]
    others_cores: float
    has_kernels: bool = True

    @property
    def all_must_met(self) -> bool:
        return all(verdict.must_met is not False for verdict in self.verdicts)


def as_json(run: Run) -> str:
    """The run for machines."""
    return json.dumps(
        {
            "machine": machine(peer_packages()),
            "others_cores": run.others_cores,
            "left_out": run.left_out,
            "has_kernels": run.has_kernels,
            "levels": [
                {**asdict(each), "ways": [_with_medians(f) for f in each.ways]} for each in run.levels
            ],
            "files": [asdict(each) for each in run.files],
            "live": [{**asdict(each), "cores": each.cores} for each in run.lives],
            "verdicts": [asdict(verdict) for verdict in run.verdicts],
            "all_must_met": run.all_must_met,
        },
        indent=1,
    )


def _with_medians(figures: Figures) -> dict[str, object]:
    return {**asdict(figures), "encode_s": figures.encode_s, "decode_s": figures.decode_s}


def as_text(run: Run) -> str:
    """The run for people: a table for each level, files, live writers, the verdicts."""
    parts = [_level_table(each) for each in run.levels]
    if run.files:
        rows = [("a native file as it is", "ratio", ""), *((f.what, f"{f.ratio:.2f}", "") for f in run.files)]
        parts.append(markdown(rows))
    if run.lives:
        parts.append(_live_table(run.lives))
    parts.append("**Targets**\n\n" + markdown([VERDICT_HEADS, *(each.cells() for each in run.verdicts)]))
    parts.append(_closing(run))
    return "\n\n".join(parts)


def _level_table(level: LevelFigures) -> str:
    title = (
        f"**{level.noise_mm:g} mm of noise**: {level.people} people, {level.seconds:g} s each, {level.source}"
    )
    heads = ("way", "ratio", "with models", "encode", "decode", "")
    return f"{title}; CPU seconds of a person-second\n\n" + markdown([heads, *map(_cells, level.ways)])


def _cells(figures: Figures) -> tuple[str, ...]:
    note = ""
    if figures.fit_cpu_s:
        note = f"model: {figures.fit_cpu_s:.1f} s of CPU once, {figures.model_bytes:,} bytes"
    return (
        f"**{figures.way}**" if figures.ours else figures.way,
        f"{figures.ratio:.2f}",
        f"{figures.ratio_with_models:.2f}" if figures.model_bytes else "",
        f"{figures.encode_s:.4f}",
        f"{figures.decode_s:.4f}",
        note,
    )


def _live_table(lives: Sequence[Live]) -> str:
    rows = [("live writer", "cores", "without fits", "peak MB", "before it", "ratio of the file", "")]
    for live in lives:
        rows.append(
            (
                f"{live.codec}, {live.people} x 30 fps, {live.seconds:g} s",
                f"{live.cores:.3f}",
                f"{live.cores_without_fits:.3f}",
                number(live.peak_mb),
                number(live.start_mb),
                f"{live.raw_bytes / live.file_bytes:.2f}",
                doubt_about_times(live.others_cores),
            )
        )
    return markdown(rows)


def _closing(run: Run) -> str:
    where = machine(peer_packages())
    versions = ", ".join(f"{name} {found}" for name, found in dict(where["versions"]).items())
    rounds = [len(each.encode_rounds) for level in run.levels for each in level.ways]
    lines = [
        f"{where['cpu']}, {where['cores']} cores, {where['system']}, Python {where['python']}; {versions}.",
        f"CPU time of one process, median of {round(median(rounds)) if rounds else 0} rounds, slow ways once;"
        f" others used {run.others_cores:.2f} cores meanwhile"
        + ("." if not doubt_about_times(run.others_cores) else ": times are provisional."),
    ]
    if run.left_out:
        packages = " ".join(dict.fromkeys(run.left_out.values()))
        lines.append(
            f"Left out: {', '.join(run.left_out)}; not installed: {packages} (docs/MESH.md says how)."
        )
    if not run.has_kernels:
        lines.append("The native kernels are not built here: NumPy did their work, at many times their cost.")
    return "\n".join(lines)
