"""A camera that does what a script says, in a camera process of its own.

The script has one life for each time the camera is opened; a life is a list of steps. When its steps are
used up a life goes on in silence, and when the lives are used up the camera is absent.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from capture import camera, outlet
from capture.camera import CameraJob
from capture.frames import CameraInfo, Frame, StreamInfo
from capture.spawn import Link
from capture.specs import CameraSpec
from codec.errors import (
    CameraBusyError,
    CameraLostError,
    CameraNotFoundError,
    CameraProfileError,
    SourceEndedError,
)

Step = tuple[str, Any]
"""("frames", [number or (stream, number), ...]), ("lost", why), ("end", None), ("pause", seconds),
("rate", (frames in all, seconds between)); before all others: ("absent" | "busy" | "profile", why),
("slow open", seconds)."""


@dataclass(frozen=True)
class ScriptedJob:
    """A camera job, the script, and shorter waits than in a real night."""

    job: CameraJob
    lives: tuple[tuple[Step, ...], ...]
    streams: tuple[str, ...] = ("depth", "color")
    can_wait: bool = False
    frame_bytes: int = 100
    first_retry_s: float = 0.02
    options: dict[str, float] = field(default_factory=dict)


_REFUSALS = {"absent": CameraNotFoundError, "busy": CameraBusyError, "profile": CameraProfileError}


def run(job: ScriptedJob, link: Link) -> int:
    """Entry: a camera process whose source is the script."""
    lives = iter(job.lives)
    camera.make_source = lambda spec: ScriptedSource(job, next(lives, (("absent", "not there any more"),)))  # type: ignore[assignment, misc]
    camera._FIRST_RETRY_S = job.first_retry_s
    outlet._END_WAIT_S = 0.5
    return camera.run(job.job, link)


def pixels_of(number: int, size: int) -> Any:
    """What a frame of that number looks like."""
    return np.full((1, size), number % 251, np.uint8)


class ScriptedSource:
    """One life of the camera."""

    def __init__(self, job: ScriptedJob, life: tuple[Step, ...]) -> None:
        self._job, self._steps = job, list(life)
        self._made = 0

    def open(self) -> CameraInfo:
        while self._steps and self._steps[0][0] in (*_REFUSALS, "slow open"):
            kind, value = self._steps.pop(0)
            if kind == "slow open":
                time.sleep(value)
            else:
                raise _REFUSALS[kind](value)
        streams = tuple(StreamInfo(n, "y8", self._job.frame_bytes, 1, 30.0) for n in self._job.streams)
        name = self._job.job.camera.name
        return CameraInfo(name, "scripted", "script", streams, can_wait=self._job.can_wait)

    def read(self, timeout_s: float) -> list[Frame]:
        if not self._steps:
            time.sleep(timeout_s)
            return []
        kind, value = self._steps[0]
        if kind == "rate":
            return self._one_of_many(*value)
        del self._steps[0]
        if kind == "frames":
            return [self._frame(*(item if isinstance(item, tuple) else ("depth", item))) for item in value]
        if kind == "pause":
            time.sleep(value)
            return []
        raise {"lost": CameraLostError, "end": SourceEndedError}[kind](value)

    def _one_of_many(self, count: int, period_s: float) -> list[Frame]:
        time.sleep(period_s)
        self._made += 1
        if self._made == count:
            del self._steps[0]
        return [self._frame("depth", self._made)]

    def _frame(self, stream: str, number: int) -> Frame:
        return Frame(
            stream=stream,
            number=number,
            data=pixels_of(number, self._job.frame_bytes),
            device_time_s=number / 30,
            clock="hardware",
            monotonic_ns=time.monotonic_ns(),
            meta=b'{"n":%d}' % number,
        )

    def close(self) -> None:
        self._steps.clear()


def spec(name: str = "front", **changes: Any) -> CameraSpec:
    """A camera of the rig; what its source says does not matter here."""
    return CameraSpec(name, None, **changes)  # type: ignore[arg-type]
