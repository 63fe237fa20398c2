"""One run of the depth benchmark as tables for people (Markdown) and as one JSON object.

The JSON has the same figures without rounding: `machine`, `others_cores`, `left_out` (peer: package to
install), `needs_kernels`, `sets` (each with `codecs`), `streams`, `verdicts`, `nights`, `all_must_met`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from scripts.bench._depth_nights import NIGHT_HEADS, Night
from scripts.bench._depth_streams import StreamsLoad
from scripts.bench._depth_timing import Figures, times_of
from scripts.bench._depth_ways import LZ4_FRAME, peer_packages
from scripts.bench._machine import machine
from scripts.bench._report import doubt_about_times, markdown
from scripts.bench._verdicts import VERDICT_HEADS, Verdict


@dataclass(frozen=True, slots=True)
class SetFigures:
    """One table: the ways on one set of frames. `frames` of (height, width) were there to be measured."""

    name: str
    origin: str
    frames: int
    width: int
    height: int
    codecs: list[Figures]


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that one run has found. left_out: peers that are not installed. others_cores: work of others
    while the sets were measured. needs_kernels: what was left out as it would take for ever without them."""

    sets: list[SetFigures]
    streams: list[StreamsLoad]
    verdicts: list[Verdict]
    nights: list[Night]
    left_out: dict[str, str]
    others_cores: float
    needs_kernels: tuple[str, ...] = ()

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
            "needs_kernels": run.needs_kernels,
            "sets": [
                {**asdict(each), "codecs": [_with_medians(f) for f in each.codecs]} for each in run.sets
            ],
            "streams": [asdict(load) for load in run.streams],
            "verdicts": [asdict(verdict) for verdict in run.verdicts],
            "nights": [asdict(night) for night in run.nights],
            "all_must_met": run.all_must_met,
        },
        indent=1,
    )


def _with_medians(figures: Figures) -> dict[str, object]:
    return {**asdict(figures), "encode_ns": figures.encode_ns, "decode_ns": figures.decode_ns}


def as_text(run: Run) -> str:
    """The run for people: a table for each set, the streams, the verdicts, what it means."""
    parts = [_set_table(each) for each in run.sets]
    if run.streams:
        parts.append("**Streams in threads of one process**\n\n" + _streams_table(run.streams))
    parts.append("**Targets**\n\n" + markdown([VERDICT_HEADS, *(each.cells() for each in run.verdicts)]))
    if run.nights:
        parts.append(
            "**What it means: one camera 848x480@30 for ten hours; cores to encode eight of them**\n\n"
            + markdown([NIGHT_HEADS, *(night.cells() for night in run.nights)])
        )
    parts.append(_closing(run))
    return "\n\n".join(parts)


def _set_table(figures: SetFigures) -> str:
    title = f"**{figures.name}**: {figures.frames} frames {figures.width}x{figures.height}, {figures.origin}"
    heads = ("codec", "ratio", "encode ns/px", "decode ns/px", f"encode / {LZ4_FRAME}", "")
    base = next((each for each in figures.codecs if each.way == LZ4_FRAME), None)
    return f"{title}\n\n" + markdown(
        [heads, *(_cells(each, base, figures.frames) for each in figures.codecs)]
    )


def _cells(figures: Figures, base: Figures | None, frames: int) -> tuple[str, ...]:
    notes = []
    if figures.lossy:
        notes.append(f"LOSSY, max error {figures.max_error} depth units")
    if figures.frames < frames:
        notes.append(f"too slow: {figures.frames} frame only, once")
    against = "" if base is None else f"{times_of(figures.encode_rounds, base.encode_rounds):.2f} x"
    return (
        f"**{figures.way}**" if figures.ours else figures.way,
        f"{figures.ratio:.2f}",
        f"{figures.encode_ns:.2f}",
        f"{figures.decode_ns:.2f}",
        against,
        "; ".join(notes),
    )


def _streams_table(loads: Sequence[StreamsLoad]) -> str:
    rows = [("codec", "streams", "cores", "")]
    for load in loads:
        what = f"{load.streams} x {load.width}x{load.height}@{load.fps:.0f}, {load.seconds:g} s"
        notes = [load.punctuality, doubt_about_times(load.others_cores)]
        rows.append((load.codec, what, f"{load.cores:.3f}", "; ".join(filter(None, notes))))
    return markdown(rows)


def _closing(run: Run) -> str:
    where = machine(peer_packages())
    versions = ", ".join(f"{name} {found}" for name, found in dict(where["versions"]).items())
    lines = [
        f"{where['cpu']}, {where['cores']} cores, {where['system']}, Python {where['python']}; {versions}.",
        f"CPU time of one process, median of {_rounds(run)} rounds; others used {run.others_cores:.2f} cores"
        " meanwhile" + ("." if not doubt_about_times(run.others_cores) else ": times are provisional."),
    ]
    if run.left_out:
        packages = " ".join(dict.fromkeys(run.left_out.values()))
        lines.append(f"Left out: {', '.join(run.left_out)}; not installed: {packages}, see extra `bench`.")
    if run.needs_kernels:
        lines.append(f"Left out: {', '.join(run.needs_kernels)}; the native kernels are not built here.")
    return "\n".join(lines)


def _rounds(run: Run) -> int:
    counts = [len(each.encode_rounds) for figures in run.sets for each in figures.codecs]
    return round(median(counts)) if counts else 0
