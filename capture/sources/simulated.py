"""A simulated D435: a room, a person walking in it, and a camera's rhythm.

Everything is rendered once, when the camera is opened, into a loop kept in memory; from then on a frame
costs nothing. Depth has the lattice, the noise and the holes of the real camera (`_d435_noise`), colour is
a JPEG or BGR, and each frame's `meta` tells the truth about the person:

    {"pose": [85 numbers], "keypoints_px": [[x, y, visible] * 24], "keypoints_m": [[x, y, z] * 24]}

`pose` is 72 axis-angle numbers, 10 betas and 3 metres of translation for the procedural body;
`keypoints_px` lie in the depth image (in the colour image of a camera without depth); `keypoints_m` are
world coordinates. World axes: z up, the floor at z = 0.

All simulated cameras of a machine run on one clock, as cameras with a sync cable do: frames are due at
whole multiples of the frame interval of CLOCK_MONOTONIC and show the walk at that very moment, so that
every camera sees the same pose. A late reader finds up to 32 frames per stream waiting, then numbers are
skipped, as a real camera's buffer would have it.

Needs NumPy and OpenCV; knows no rings, files or processes.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.frames import CameraInfo, Frame, StreamInfo
from capture.sources import Source
from capture.sources._film import Loop, Progress, camera_info, exact_rate, render_loop
from capture.specs import SimulatedSpec
from codec.errors import CameraError, MissingExtraError

__all__ = [
    "Loop",
    "Metronome",
    "Progress",
    "SimulatedSource",
    "camera_info",
    "exact_rate",
    "give_back_memory",
    "make_simulated",
    "render_loop",
]

BUFFERED_FRAMES: Final = 32
_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Metronome:
    """The ticks of a stream: tick t is due at t / fps seconds of CLOCK_MONOTONIC, on every camera alike.

    Entry `tick % len(loop)` of a loop belongs to a tick, which keeps streams and cameras in step.
    """

    fps: Fraction

    def due_ns(self, tick: int) -> int:
        """When a tick is due."""
        return tick * _SECOND_NS * self.fps.denominator // self.fps.numerator

    def latest(self, now_ns: int) -> int:
        """The last tick that is due by now."""
        # due_ns rounds down, so the tick after this quotient can be due already.
        tick = now_ns * self.fps.numerator // (_SECOND_NS * self.fps.denominator)
        return tick + 1 if self.due_ns(tick + 1) <= now_ns else tick


def give_back_memory() -> None:
    """Hand freed memory back to the system, where the C library can: rendering leaves tens of megabytes that
    it would keep for good, in every camera process."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class _Reel:
    """One stream being played: which tick comes next, and its frames."""

    def __init__(
        self, info: StreamInfo, entries: Sequence[npt.NDArray[np.generic]], meta: tuple[bytes, ...]
    ) -> None:
        self._info = info
        self._entries = entries
        self._meta = meta
        self._metronome = Metronome(exact_rate(info.fps))
        self._before_first = self._metronome.latest(time.monotonic_ns())
        self._next = self._before_first + 1

    @property
    def next_due_ns(self) -> int:
        return self._metronome.due_ns(self._next)

    def take(self, now_ns: int) -> list[Frame]:
        """Every frame due by now, the newest 32 at most."""
        latest = self._metronome.latest(now_ns)
        first = max(self._next, latest - BUFFERED_FRAMES + 1)
        self._next = max(self._next, latest + 1)
        return [self._frame(tick) for tick in range(first, latest + 1)]

    def _frame(self, tick: int) -> Frame:
        entry = tick % len(self._entries)
        number = tick - self._before_first
        return Frame(
            stream=self._info.name,
            number=number,
            data=self._entries[entry],
            device_time_s=number / self._info.fps,
            clock="hardware",
            monotonic_ns=self._metronome.due_ns(tick),
            meta=self._meta[entry],
        )


class SimulatedSource:
    """A simulated camera; see the module's docstring. `color_format` is "jpeg" or "bgr8"."""

    def __init__(
        self,
        name: str,
        spec: SimulatedSpec,
        *,
        color_format: str = "jpeg",
        progress: Progress | None = None,
    ) -> None:
        self._name = name
        self._spec = spec
        self._color_format = color_format
        self.progress = progress
        self._loop: Loop | None = None
        self._reels: list[_Reel] = []

    def open(self) -> CameraInfo:
        """Render the loop and start the clock; a second time nothing is rendered."""
        if self._loop is None:
            self._loop = render_loop(
                self._spec, name=self._name, color_format=self._color_format, progress=self.progress
            )
            give_back_memory()
        loop = self._loop
        self._reels = [
            _Reel(stream, loop.depth, loop.meta)
            if stream.name == "depth"
            else _Reel(stream, loop.color, loop.color_meta)
            for stream in loop.info.streams
        ]
        return loop.info

    def read(self, timeout_s: float) -> list[Frame]:
        """Frames that are due, oldest first; [] if none came within `timeout_s`."""
        if not self._reels:
            raise CameraError(f"camera {self._name} is not open; call open() before read()")
        deadline_ns = time.monotonic_ns() + round(timeout_s * _SECOND_NS)
        while True:
            now_ns = time.monotonic_ns()
            frames = [frame for reel in self._reels for frame in reel.take(now_ns)]
            if frames:
                # A stable sort: of frames taken at the same moment depth stays first.
                return sorted(frames, key=lambda frame: frame.monotonic_ns)
            if now_ns >= deadline_ns:
                return []
            wake_ns = min(deadline_ns, *(reel.next_due_ns for reel in self._reels))
            time.sleep((wake_ns - now_ns) / _SECOND_NS)

    def close(self) -> None:
        """Stop. The rendered loop stays, so that the camera can be opened again at once."""
        self._reels = []


def make_simulated(name: str, spec: SimulatedSpec) -> Source:
    """The source for a simulated camera: through the real librealsense where that is wanted and loads.

    Raises MissingExtraError where it is wanted and does not.
    """
    if spec.through_realsense is False:
        return SimulatedSource(name, spec)
    from capture.sources._rs_sdk import load_sdk

    try:
        load_sdk(f"camera {name}: through_realsense = true")
    except MissingExtraError:
        if spec.through_realsense:
            raise
        return SimulatedSource(name, spec)
    from capture.sources.virtual_realsense import VirtualRealSenseSource

    return VirtualRealSenseSource(name, spec)
