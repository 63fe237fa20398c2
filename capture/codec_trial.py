"""A short trial in front of a recording: codecs, JPEG and disk, in a process of its own, in about a second.

A child, since rendering the frames to try brings OpenCV and forty megabytes that a supervisor would carry
through the night. It ends by itself after seconds; if it does not, it is killed.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from capture import trials
from capture.spawn import Child, Link
from capture.trials import CodecTrial
from codec.errors import TrialError

_CODEC_S = 0.2
_JPEG_S = 0.1
_DISK_S = 0.3
_DISK_BYTES = 32 << 20
_PATIENCE_S = 30.0  # a Pi with a slow card that is at something else meanwhile


@dataclass(frozen=True, slots=True)
class TrialJob:
    """What to measure. folder: an existing one on the disk in question. jpeg_quality: 0 for no JPEG."""

    codecs: tuple[str, ...]
    folder: Path
    jpeg_quality: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of it. jpeg_ns: CPU per pixel, 0 where it was not asked for."""

    codecs: dict[str, CodecTrial]
    jpeg_ns: float
    disk_mb_s: float


def run(job: TrialJob, link: Link) -> int:
    """Entry of the process."""
    found = trials.depth_codecs(job.codecs, seconds=_CODEC_S)
    jpeg_ns = trials.jpeg_encode(job.jpeg_quality, seconds=_JPEG_S) if job.jpeg_quality else 0.0
    disk_mb_s = trials.disk_write(job.folder, seconds=_DISK_S, most_bytes=_DISK_BYTES)
    codecs = {name: asdict(trial) for name, trial in found.items()}
    link.event("measured", codecs=codecs, jpeg_ns=jpeg_ns, disk_mb_s=disk_mb_s)
    return 0


def measure_apart(job: TrialJob, *, patience_s: float = _PATIENCE_S) -> Measured:
    """Measure in a child. Raises TrialError where that fails or takes longer than `patience_s`."""
    try:
        child = Child("codec trial", "capture.codec_trial:run", job, ())
    except OSError as error:
        raise TrialError(f"the codec trial cannot be started: {error.strerror}") from error
    try:
        event = _wait_for_event(child, time.monotonic() + patience_s)
        if event is None:
            raise TrialError(f"the codec trial did not come to an end in {patience_s:.0f} s")
        if event["event"] != "measured":
            raise TrialError(f"the codec trial failed: {event['message']}")
    finally:
        child.kill()
        child.close()
        # Killed in the middle, it may have left the file it tried the disk with.
        with contextlib.suppress(OSError):
            trials.disk_trial_path(job.folder, child.pid).unlink()
    codecs = {name: CodecTrial(**trial) for name, trial in event["codecs"].items()}
    return Measured(codecs, event["jpeg_ns"], event["disk_mb_s"])


def _wait_for_event(child: Child, deadline_s: float) -> dict[str, Any] | None:
    while (left_s := deadline_s - time.monotonic()) > 0:
        select.select([child.event_fd], [], [], left_s)
        for event in child.events():
            return event
        if child.silent:
            break
    return {"event": "error", "message": "it ended without a word"} if child.silent else None


def existing_folder(root: Path) -> Path:
    """`root`, or the nearest folder above it that is there."""
    folder = root.absolute()
    while not os.path.lexists(folder) or not folder.is_dir():
        folder = folder.parent
    return folder
