"""Part 2: CPU per depth frame and bytes on disk, ours against three other ways to record depth.

All ways get the same frames at the same pace. A round runs each of them once, each in processes of its own;
the order turns with every round, and a ratio is the median of the rounds' own ratios, so that a busy minute
hits both sides of it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from scripts.bench._plan import Plan
from scripts.bench._recording import ROOT, record
from scripts.bench._report import Row, Section, at_most, doubted
from scripts.bench._usage import OthersLoad

OURS, ISSUE_8117, MCAP, RECORDER, PUSH = "ours", "issue8117", "mcap", "recorder", "push"
_NAMES = {
    OURS: "nightrig",
    ISSUE_8117: "issue 8117 (list, threads, lz4.frame)",
    MCAP: "mcap, LZ4 chunks",
    RECORDER: "librealsense recorder (.db3), pushing included",
    PUSH: "pushing into librealsense alone",
}
_SHORT = {ISSUE_8117: "issue 8117", MCAP: "mcap", RECORDER: "recorder"}
_NEEDS = {ISSUE_8117: "lz4", MCAP: "mcap", RECORDER: "pyrealsense2", PUSH: "pyrealsense2"}
_QUEUE_MB = 64.0  # as many frames as the peers' list may hold

_CPU_LIMIT, _BYTES_LIMIT = 1.6, 0.5


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: CPU milliseconds and bytes per frame; `stages_ms` is where ours went."""

    cpu_ms: float
    frame_bytes: float
    stages_ms: dict[str, float] = field(default_factory=dict)


Rounds = dict[str, list[Sample]]


def installed_ways() -> tuple[list[str], list[str]]:
    """What can be run here, and which packages are missing."""
    missing = sorted({package for package in _NEEDS.values() if find_spec(package) is None})
    return [way for way in _NAMES if _NEEDS.get(way) not in missing], missing


def measure(frames_path: Path, work: Path, *, title: str, fps: float, count: int, rounds: int) -> Section:
    """`rounds` rounds of `count` frames at `fps`, 0 for flat out."""
    ways, missing = installed_ways()
    others = OthersLoad()
    samples: Rounds = {way: [] for way in ways}
    for number in range(rounds):
        turn = number % len(ways)
        for way in [*ways[turn:], *ways[:turn]]:
            run = _run_ours if way == OURS else _peer_runner(way)
            samples[way].append(run(frames_path, _fresh(work / "run"), fps, count))
    if missing:
        title += f" (without {', '.join(missing)}: not installed)"
    return Section(title, [*_ways(samples), *doubted(_cpu_ratios(samples), others.cores), *_sizes(samples)])


def _fresh(folder: Path) -> Path:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    return folder


# ---- running ----


def _run_ours(frames_path: Path, work: Path, fps: float, count: int) -> Sample:
    usage = _fresh(work / "usage")
    plan = Plan(
        frames_path=str(frames_path),
        cameras=1,
        color=False,
        fps=fps,
        frame_limit=count,
        duration_s=count / fps if fps else 0.0,
        queue_mb=_QUEUE_MB,
        usage_folder=str(usage),
        root=str(work / "recording"),
    )
    account = record(plan)
    written = account.total("written")
    if account.exit_code != 0 or not written:
        raise RuntimeError(f"our own recording lost frames: {account.problems}")
    writer = account.used["writer"]
    stages_s = {
        "capture and copy (camera process)": account.used["cam0"].cpu_s,
        "compress": writer.stages_s["compress"],
        "write and sync": writer.stages_s["append"] + writer.stages_s["sync"],
        "hand-over (rest of the writer)": writer.cpu_s - sum(writer.stages_s.values()),
        "supervisor": account.used["supervisor"].cpu_s,
    }
    return Sample(
        cpu_ms=account.cpu_s / written * 1e3,
        frame_bytes=account.total("file_bytes") / written,
        stages_ms={name: seconds / written * 1e3 for name, seconds in stages_s.items()},
    )


def _peer_runner(peer: str) -> Callable[[Path, Path, float, int], Sample]:
    def run(frames_path: Path, work: Path, fps: float, count: int) -> Sample:
        command = [sys.executable, "-m", "scripts.bench._peer", peer]
        command += ["--frames", str(frames_path), "--out", str(work)]
        command += ["--count", str(count), "--fps", str(fps)]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        said = json.loads(done.stdout)
        return Sample(said["cpu_s"] / said["frames"] * 1e3, said["bytes"] / said["frames"])

    return run


# ---- the rows ----


def _ways(samples: Rounds) -> list[Row]:
    rows = []
    for way, runs in samples.items():
        cpu = [run.cpu_ms for run in runs]
        note = f"rounds {min(cpu):.2f} to {max(cpu):.2f}"
        size = median(run.frame_bytes for run in runs)
        if size:
            note += f"; {size / 1e3:.1f} kB a frame on disk"
        rows.append(Row(f"{_NAMES[way]}, CPU per frame", median(cpu), "ms", note=note))
        for stage in runs[0].stages_ms:
            rows.append(Row(f"- {stage}", median(run.stages_ms[stage] for run in runs), "ms"))
    return rows


def _cpu_ratios(samples: Rounds) -> list[Row]:
    peers = {
        "issue 8117": (_CPU_LIMIT, [ISSUE_8117]),
        "mcap": (None, [MCAP]),
        "(recorder - pushing)": (1.0, [RECORDER, PUSH]),
    }
    return [
        _cpu_ratio(samples, [samples[way] for way in ways], name, limit)
        for name, (limit, ways) in peers.items()
        if set(ways) <= set(samples)
    ]


def _sizes(samples: Rounds) -> list[Row]:
    limits = {ISSUE_8117: _BYTES_LIMIT, MCAP: None, RECORDER: 1.0}
    ours = median(run.frame_bytes for run in samples[OURS])
    rows = []
    for peer, limit in limits.items():
        if peer in samples:
            theirs = median(run.frame_bytes for run in samples[peer])
            rows.append(_ratio(f"bytes, ours / {_SHORT[peer]}", ours / theirs, limit, ""))
    return rows


def _cpu_ratio(samples: Rounds, peers: Sequence[list[Sample]], name: str, limit: float | None) -> Row:
    """Ours against the first of `peers` less the others, round by round."""
    ratios = []
    for ours, first, *less in zip(samples[OURS], *peers, strict=True):
        ratios.append(ours.cpu_ms / (first.cpu_ms - sum(sample.cpu_ms for sample in less)))
    note = f"rounds {min(ratios):.2f} to {max(ratios):.2f}"
    return _ratio(f"CPU, ours / {name}", median(ratios), limit, note)


def _ratio(what: str, value: float, limit: float | None, note: str) -> Row:
    return Row(what, value, "x", note=note) if limit is None else at_most(what, value, "x", limit, note=note)
