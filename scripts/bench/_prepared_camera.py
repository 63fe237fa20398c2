"""A camera process whose source is prepared frames: `capture.camera:run` with another source.

The process is the real one in everything else (ring, ledger, pipes). Frames come out at absolute deadlines,
colour a third of an interval behind depth, as two sensors do; `monotonic_ns` is the moment read() hands the
frame over, so that a period measured from the recording holds every delay of this machine. A reader that is
late finds up to 32 frames per stream waiting, then numbers are skipped, as a camera's buffer would have it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

import capture.camera
from capture.camera import CameraJob
from capture.frames import CameraInfo, Frame, StreamInfo
from capture.sources import Source
from capture.spawn import Link
from capture.specs import CameraSpec, SimulatedSpec
from codec.errors import SourceEndedError
from scripts.bench._frames import FrameSet, Pace
from scripts.bench._plan import Plan, current_plan
from scripts.bench._usage import leave_usage

_BUFFERED_FRAMES = 32
_FIRST_NUMBER = 1
_COLOR_PHASE = 1 / 3
_NEXT_CAMERA = 11  # pictures between what two cameras show at the same moment
_NOMINAL_FPS = 30.0


def picture_index(number: int, camera: int, count: int) -> int:
    """Which of `count` pictures frame `number` of camera `camera` shows."""
    return (number - _FIRST_NUMBER + camera * _NEXT_CAMERA) % count


class _Stream:
    """One stream of a camera: its pictures, and which frame comes next."""

    def __init__(
        self, info: StreamInfo, pictures: Sequence[npt.NDArray[np.generic]], camera: int, phase: float
    ) -> None:
        self.info = info
        self._pictures, self._camera = pictures, camera
        self._pace = Pace(info.fps, phase=phase)
        self._next = 0

    @property
    def due_ns(self) -> int:
        """When the next frame is due."""
        return self._pace.due_ns(self._next)

    def take_due(self, now_ns: int) -> list[Frame]:
        """Every frame that is due by now, the newest 32 at most."""
        first = self._next
        while self.due_ns <= now_ns:
            self._next += 1
        first = max(first, self._next - _BUFFERED_FRAMES)
        return [self._frame(_FIRST_NUMBER + index) for index in range(first, self._next)]

    def take(self) -> Frame:
        """The next frame, due or not."""
        self._next += 1
        return self._frame(_FIRST_NUMBER + self._next - 1)

    def _frame(self, number: int) -> Frame:
        return Frame(
            stream=self.info.name,
            number=number,
            data=self._pictures[picture_index(number, self._camera, len(self._pictures))],
            device_time_s=number / self.info.fps,
            clock="hardware",
            monotonic_ns=time.monotonic_ns(),
        )


class PreparedSource:
    """The plan's frames as a camera. Without a rate it hands over depth as fast as the ring takes it."""

    def __init__(self, name: str, camera: int, plan: Plan) -> None:
        self._name, self._camera, self._plan = name, camera, plan
        self._streams: list[_Stream] = []
        self._left = plan.frame_limit

    def open(self) -> CameraInfo:
        plan = self._plan
        frames = FrameSet.load(plan.frames_path, color=plan.color)
        height, width = frames.depth[0].shape
        fps = plan.fps or _NOMINAL_FPS
        depth = StreamInfo("depth", "z16", width, height, fps, depth_scale_m=0.001)
        self._streams = [_Stream(depth, frames.depth, self._camera, 0.0)]
        if plan.color:
            color = StreamInfo("color", "jpeg", 640, 480, fps)
            self._streams.append(_Stream(color, frames.jpegs, self._camera, _COLOR_PHASE))
        infos = tuple(stream.info for stream in self._streams)
        return CameraInfo(self._name, "prepared", "prepared frames", infos, can_wait=not plan.fps)

    def read(self, timeout_s: float) -> list[Frame]:
        if not self._plan.fps:
            return [self._take_next()]
        wait_ns = min(stream.due_ns for stream in self._streams) - time.monotonic_ns()
        if wait_ns > 0:
            time.sleep(min(timeout_s, wait_ns / 1e9))
        now_ns = time.monotonic_ns()
        return [frame for stream in self._streams for frame in stream.take_due(now_ns)]

    def _take_next(self) -> Frame:
        if not self._left:
            raise SourceEndedError(f"camera {self._name}: all frames were handed over")
        self._left -= 1
        return self._streams[0].take()

    def close(self) -> None:
        self._streams = []


def _make_source(camera: CameraSpec) -> Source:
    assert isinstance(camera.source, SimulatedSpec)
    return PreparedSource(camera.name, camera.source.index, current_plan())


def run(job: CameraJob, link: Link) -> int:
    """Entry of the process."""
    vars(capture.camera)["make_source"] = _make_source
    try:
        return capture.camera.run(job, link)
    finally:
        leave_usage(current_plan().usage_folder, job.camera.name)
