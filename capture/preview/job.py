"""What a preview process is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from capture.frames import CameraInfo
from capture.ring import RingSpec


@dataclass(frozen=True, slots=True)
class PreviewJob:
    """The rings to look at (never to hold), and the counters for the line of truth.

    `results` are the rings of the estimators; their streams are described by the INFO entry in them.
    `depth_codec` is the one to record with; the writer may step aside from it for a while. The preview is
    the last observer of every ring: `ring.observer_fds[-1]`.
    """

    rig: str
    session: Path
    cameras: dict[str, CameraInfo]
    rings: dict[str, RingSpec]
    results: dict[str, RingSpec]
    camera_counters: dict[str, int]
    writer_counters_fd: int
    depth_codec: str
