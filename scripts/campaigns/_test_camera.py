"""A camera that keeps its own account: a camera process whose source writes down all it sends.

Pictures look like a stereo camera's (a lattice with noise and holes, a JPEG) and carry their number, so no
two are alike and each is known by its checksum; depth carries its epoch, too (see depth_name). What it has
sent stands in `<folder>/<camera>.sent` (_sent), its switches lie in `<folder>/<camera>.faults` (_faults).
The rig names it as a simulated camera; _recorder puts it in that one's place. What goes through librealsense,
or is opened by OpenCV, keeps its own source and gets an account (_logged_source).
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from capture import camera
from capture.camera import RUNNING, CameraJob
from capture.counters import CounterPage
from capture.frames import CameraInfo, Frame, StreamInfo
from capture.sources import Source
from capture.sources.simulated import Metronome
from capture.spawn import Link
from capture.specs import SimulatedSpec
from codec.errors import CameraLostError, CameraNotFoundError
from scripts.campaigns._faults import Faults
from scripts.campaigns._logged_source import logged_source
from scripts.campaigns._sent import DELIVERED, SKIPPED, SentLog
from scripts.campaigns._session import FOLDER_VARIABLE, PATCH_VARIABLE

_LOOP = 8
_LATE_FRAMES = 32
_DEPTH_CONSTANT = 606_000
_NAME = struct.Struct("<II")

Bytes = npt.NDArray[np.uint8]


def run(job: CameraJob, link: Link) -> int:
    """Entry of the process."""
    folder = Path(os.environ[FOLDER_VARIABLE])
    spec = job.camera.source
    source: Source
    if isinstance(spec, SimulatedSpec) and not spec.through_realsense:
        source = LoggingCamera(job, folder)
    else:
        source = logged_source(job, folder)
    camera.make_source = lambda spec: source  # type: ignore[assignment, misc]
    return camera.run(job, link)


class LoggingCamera:
    """Depth, and colour where the rig asks for it, on the clock of all test cameras."""

    def __init__(self, job: CameraJob, folder: Path) -> None:
        self._name = job.camera.name
        assert isinstance(job.camera.source, SimulatedSpec)
        spec = job.camera.source
        assert spec.depth is not None
        self._counters = CounterPage(camera.COUNTERS, os.dup(job.counters_fd))
        self._sent = SentLog(folder / f"{self._name}.sent")
        self._faults = Faults(folder / f"{self._name}.faults")
        self._rate = Fraction(spec.depth.fps or 30).limit_denominator(1000)
        self._clock = Metronome(self._rate)
        size = spec.depth.width or 640, spec.depth.height or 480
        patch = int(os.environ.get(PATCH_VARIABLE, "1"))
        self._depth = depth_loop(*size, seed=spec.index, patch=patch)
        self._jpeg = jpeg_file(spec.color.width, spec.color.height) if spec.color else b""
        self._color_size = (spec.color.width, spec.color.height) if spec.color else (0, 0)
        self._tick = self._number = 0
        self._last: list[Frame] = []

    def open(self) -> CameraInfo:
        self._faults.obey("hang_open")
        if self._faults["absent"]:
            raise CameraNotFoundError(f"camera {self._name}: it is unplugged")
        for switch in ("silent", "stale"):
            if self._faults[switch] == 2:
                self._faults[switch] = 0
        self._number = 0
        self._tick = self._clock.latest(time.monotonic_ns())
        height, width = self._depth[0].shape
        fps = float(self._rate)
        streams = [StreamInfo("depth", "z16", width, height, fps, depth_scale_m=0.001)]
        if self._jpeg:
            streams.append(StreamInfo("color", "jpeg", *self._color_size, fps))
        return CameraInfo(self._name, "test", "test camera", tuple(streams), serial=self._name)

    def read(self, timeout_s: float) -> list[Frame]:
        self._faults.obey("hang_read")
        if self._faults["absent"]:
            raise CameraLostError(f"camera {self._name}: it was unplugged")
        if self._faults["silent"]:
            time.sleep(timeout_s)
            return []
        due_ns = self._clock.due_ns(self._tick + 1)
        wait_s = (due_ns - time.monotonic_ns()) / 1e9
        if wait_s > 0:
            time.sleep(min(wait_s, timeout_s))
            if wait_s > timeout_s:
                return []
        if self._faults["stale"] and self._last:
            self._tick += 1
            return self._last
        return self._next()

    def _next(self) -> list[Frame]:
        """The next picture of each stream; a reader that comes too late has lost some, as with any device."""
        late = self._clock.latest(time.monotonic_ns()) - self._tick - _LATE_FRAMES
        lost = max(0, late) + self._faults["skip"]
        self._faults["skip"] = 0
        self._tick += 1 + max(0, late)
        counts = self._counters["state"] == RUNNING
        for number in range(self._number + 1, self._number + 1 + lost if counts else 0):
            for stream in range(1 + bool(self._jpeg)):
                self._note(SKIPPED, stream, number, 0)
        self._number += 1 + lost
        pictures: list[tuple[str, npt.NDArray[np.generic]]] = [("depth", self._depth_picture())]
        if self._jpeg:
            pictures.append(("color", numbered_jpeg(self._jpeg, self._number)))
        now_ns = time.monotonic_ns()
        for stream, (_, pixels) in enumerate(pictures):
            if counts:
                self._note(DELIVERED, stream, self._number, zlib.crc32(pixels), now_ns)
        self._last = [
            Frame(name, self._number, pixels, self._number / float(self._rate), "hardware", now_ns)
            for name, pixels in pictures
        ]
        return self._last

    def _depth_picture(self) -> npt.NDArray[np.uint16]:
        picture = self._depth[self._number % len(self._depth)]
        picture[0, :4] = np.frombuffer(_NAME.pack(self._counters["epoch"], self._number), "<u2")
        return picture

    def _note(self, kind: int, stream: int, number: int, crc: int, monotonic_ns: int | None = None) -> None:
        self._sent.note(
            kind,
            stream=stream,
            epoch=self._counters["epoch"],
            number=number,
            monotonic_ns=time.monotonic_ns() if monotonic_ns is None else monotonic_ns,
            crc=crc,
        )

    def close(self) -> None:
        self._faults.obey("hang_close")


def depth_name(picture: npt.NDArray[np.generic]) -> tuple[int, int]:
    """(epoch, number) that a depth picture carries."""
    epoch, number = _NAME.unpack(picture[0, :4].tobytes())
    return epoch, number


def depth_loop(width: int, height: int, *, seed: int, patch: int = 1) -> list[npt.NDArray[np.uint16]]:
    """A few pictures of a sloping wall as a stereo camera sees it: lattice, noise, holes.

    patch: so many pixels a side have the same noise. With 1 a codec has more to write than of real cameras
    (a third of raw, lattice-lz4); with 2 it has as much work with them and as little left.
    """
    rng = np.random.default_rng(seed)
    disparity = 250 + np.arange(width) * 200 // width + np.arange(height)[:, None] * 80 // height
    shape = -(-height // patch), -(-width // patch)
    pictures = []
    for _ in range(_LOOP):
        noise, holes = rng.integers(-1, 2, shape), rng.random(shape) < 0.03
        noise, holes = (x.repeat(patch, 0).repeat(patch, 1)[:height, :width] for x in (noise, holes))
        picture = np.rint(_DEPTH_CONSTANT / (disparity + noise)).astype(np.uint16)
        picture[holes] = 0
        pictures.append(picture)
    return pictures


def jpeg_file(width: int, height: int) -> bytes:
    """A picture in JPEG, as a webcam gives it."""
    import cv2  # as late as a camera that has no colour allows

    ramp = np.add.outer(np.arange(height) * 160 // height, np.arange(width) * 90 // width).astype(np.uint8)
    done, data = cv2.imencode(".jpg", np.repeat(ramp[..., None], 3, axis=2))
    assert done
    return data.tobytes()


def numbered_jpeg(data: bytes, number: int) -> Bytes:
    """The same picture with its number in a comment, which every decoder steps over."""
    comment = struct.pack(">HHQ", 0xFFFE, 10, number)
    return np.frombuffer(data[:2] + comment + data[2:], np.uint8)
