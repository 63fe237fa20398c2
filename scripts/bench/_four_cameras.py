"""Part 1: four cameras with depth and colour through the real service, for a minute.

Nothing may be dropped, memory has a budget, and frames must reach us in their rhythm. What was written is
read back: every frame must be there, its payload must be what went in, and depth must have the codec that the
table names: the writer's effort ladder may have left it, and then the figures are another codec's.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from capture import session
from capture.config import AUTO
from codec.depth import codec_by_id, get_codec, stated_loss
from codec.records.layout import CODEC_JPEG, Record
from codec.records.reader import RecordFile
from scripts.bench._frames import Depth, FrameSet
from scripts.bench._plan import Plan
from scripts.bench._prepared_camera import picture_index
from scripts.bench._recording import Account, record
from scripts.bench._report import Row, Section, at_most, doubted

CAMERAS = 4
FPS = 30.0
QUEUE_MB = 256.0
_CAMERA_MB, _OTHERS_MB = 100.0, 200.0
_PERIODS = 1.5
_COMPARE_EVERY = 61  # frames; shares no divisor with the loop's length, so that every picture gets its turn


def measure(frames_path: Path, work: Path, *, seconds: float, codec: str) -> Section:
    """Record with that depth codec, check, and delete the recording."""
    usage = work / "usage"
    usage.mkdir()
    plan = Plan(
        frames_path=str(frames_path),
        cameras=CAMERAS,
        color=True,
        fps=FPS,
        frame_limit=0,
        duration_s=seconds,
        queue_mb=QUEUE_MB,
        usage_folder=str(usage),
        root=str(work / "recording"),
        codec=codec,
    )
    account = record(plan)
    frames = FrameSet.load(frames_path, color=True)
    periods_ms, checked = _read_back(account, frames)
    codecs = _depth_codecs(account)
    shutil.rmtree(plan.root)
    shutil.rmtree(usage)
    timed = doubted(
        [*_loss(account, checked), _kept_codec(codec, codecs), *_rhythm(periods_ms)], account.others_cores
    )
    streams = "848x480 depth + 640x480 colour JPEG"
    return Section(
        f"1. {CAMERAS} cameras x ({streams}) @{FPS:.0f} for {seconds:.0f} s, {codec}",
        [*timed, *_memory(account), *_cpu(account, seconds)],
    )


def _loss(account: Account, checked: int) -> list[Row]:
    captured, written = account.total("captured"), account.total("written")
    note = f"of {captured:,} captured; {checked} compared with what was captured"
    if account.problems:
        note += f"; {account.problems[0]}"
    return [
        Row("written", written, "frames", f"= {captured:,}", written == captured, note=note),
        at_most("dropped", account.total("dropped"), "frames", 0),
        at_most("lost before us (source not read in time)", account.total("lost_at_camera"), "frames", 0),
    ]


def _depth_codecs(account: Account) -> Counter[str]:
    """Which codec each depth frame on disk has."""
    found: Counter[str] = Counter()
    for camera in range(CAMERAS):
        for path in session.list_segments(account.session / f"cam{camera}"):
            with RecordFile(path) as file:
                ids, counts = np.unique(file.entries["codec"][file.frames(0)], return_counts=True)
                for codec, count in zip(ids.tolist(), counts.tolist(), strict=True):
                    found[codec_by_id(codec).name] += count
    return found


def _kept_codec(asked: str, codecs: Counter[str]) -> Row:
    """Missed where the ladder left the codec: CPU and bytes below are then not those of the one named.

    `auto` names none, so that it cannot be missed.
    """
    depth = codecs.total()
    note = ", ".join(f"{name} {count:,}" for name, count in codecs.most_common())
    if asked == AUTO:
        return Row("depth, by what auto took", depth, "frames", note=note)
    return Row(
        f"depth in {asked}", codecs[asked], "frames", f"= {depth:,}", codecs[asked] == depth, note=note
    )


def _rhythm(periods_ms: dict[str, npt.NDArray[np.float64]]) -> list[Row]:
    p99 = {name: float(np.percentile(p, 99)) for name, p in periods_ms.items()}
    worst = max(p99, key=lambda name: p99[name])
    everything = np.concatenate(list(periods_ms.values()))
    return [
        at_most(
            "capture period p99, worst stream",
            p99[worst],
            "ms",
            _PERIODS * 1000 / FPS,
            note=f"{worst}; best stream {min(p99.values()):.1f} ms",
        ),
        Row("capture period median", float(np.median(everything)), "ms"),
        Row("capture period max", float(everything.max()), "ms"),
    ]


def _memory(account: Account) -> list[Row]:
    budget_mb = QUEUE_MB + _CAMERA_MB * CAMERAS + _OTHERS_MB
    parts = sorted(account.peak_parts_mb.items())
    shares = ", ".join(f"{name} {mb:.0f}" for name, mb in parts)
    note = f"{shares}; each camera's prepared frames (bench only) are in it"
    return [at_most("peak memory of all processes (PSS)", account.peak_pss_mb, "MB", budget_mb, note=note)]


def _cpu(account: Account, seconds: float) -> list[Row]:
    cameras_s = sum(usage.cpu_s for name, usage in account.used.items() if name.startswith("cam"))
    writer, supervisor = account.used["writer"], account.used["supervisor"]
    switches = sum(usage.switches for usage in account.used.values())
    frames = account.total("written")
    stages = ", ".join(f"{name} {s / seconds:.3f}" for name, s in writer.stages_s.items())
    return [
        Row("CPU in all", account.cpu_s / seconds, "cores"),
        Row("- four camera processes", cameras_s / seconds, "cores"),
        Row("- writer", writer.cpu_s / seconds, "cores", note=stages),
        Row("- supervisor", supervisor.cpu_s / seconds, "cores"),
        Row("wake-ups", switches / frames, "per frame"),
        Row("written", account.total("file_bytes") / seconds / 1e6, "MB/s"),
    ]


def _read_back(account: Account, frames: FrameSet) -> tuple[dict[str, npt.NDArray[np.float64]], int]:
    """Milliseconds between frames, by stream, and how many frames were compared. Raises where one differs."""
    periods: dict[str, npt.NDArray[np.float64]] = {}
    checked = 0
    for camera in range(CAMERAS):
        stamps: dict[int, list[npt.NDArray[np.int64]]] = {0: [], 1: []}
        for path in session.list_segments(account.session / f"cam{camera}"):
            with RecordFile(path) as file:
                for stream in stamps:
                    where = file.frames(stream)
                    stamps[stream].append(file.entries["monotonic_ns"][where])
                    for position in where[::_COMPARE_EVERY]:
                        _compare(file, int(position), frames, camera)
                        checked += 1
        for stream, name in enumerate(("depth", "color")):
            stamps_ns = np.concatenate(stamps[stream])
            periods[f"cam{camera}/{name}"] = np.diff(stamps_ns).astype(np.float64) / 1e6
    return periods, checked


def _compare(file: RecordFile, position: int, frames: FrameSet, camera: int) -> None:
    record = file.read(position)
    number = record.header.number
    if record.header.codec == CODEC_JPEG:
        same = record.payload == frames.jpegs[picture_index(number, camera, len(frames.jpegs))].tobytes()
    else:
        image = codec_by_id(record.header.codec).decode(record.payload)
        captured = frames.depth[picture_index(number, camera, len(frames.depth))]
        same = np.array_equal(image, captured) or _within_stated_loss(record, image, captured)
    if not same:
        raise AssertionError(f"{file.path}: frame {number} is not what was captured")


def _within_stated_loss(record: Record, image: npt.NDArray[np.generic], captured: Depth) -> bool:
    """Of a lossy frame: holes are the same and every other pixel's disparity is within the bound."""
    loss = stated_loss(record.payload) if record.header.codec == get_codec("near").id else None
    if loss is None or not np.array_equal(image == 0, captured == 0):
        return False
    measured = captured > 0
    z, stored = captured[measured].astype(np.int64), image[measured].astype(np.int64)
    off = np.abs(z - stored) * loss.disparity_constant
    return bool((off <= loss.bound_subpixels * (z * stored)).all())
