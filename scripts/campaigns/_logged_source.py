"""Real sources that keep an account: librealsense with a virtual camera on a bus, and whatever OpenCV opens.

Each writes down what it hands on, as a test camera does (_sent), and obeys the switches that make calls hang
(_faults). The RealSense one is plugged in and out of its bus by the switch `absent`: the real library finds
it by serial, loses it and finds it again.
"""

from __future__ import annotations

import os
import threading
import time
import zlib
from pathlib import Path
from typing import Any

from capture import camera
from capture.camera import RUNNING, CameraJob
from capture.counters import CounterPage
from capture.frames import CameraInfo, Frame, Intrinsics, StreamInfo
from capture.sources import Source, make_source
from capture.specs import RealSenseSpec, SimulatedSpec, StreamSpec
from scripts.campaigns._faults import Faults
from scripts.campaigns._sent import DELIVERED, SentLog


def logged_source(job: CameraJob, folder: Path) -> Source:
    """The source of that camera, with its account."""
    spec = job.camera.source
    inner = (
        _PluggedRealSense(job.camera.name, spec, folder)
        if isinstance(spec, SimulatedSpec)
        else make_source(job.camera)
    )
    return _Logged(inner, job, folder)


class _Logged:
    def __init__(self, inner: Source, job: CameraJob, folder: Path) -> None:
        name = job.camera.name
        self._job, self._inner = job, inner
        self._reopen = not isinstance(inner, _PluggedRealSense)
        self._counters = CounterPage(camera.COUNTERS, os.dup(job.counters_fd))
        self._sent = SentLog(folder / f"{name}.sent")
        self._faults = Faults(folder / f"{name}.faults")
        self._streams: dict[str, StreamInfo] = {}

    def open(self) -> CameraInfo:
        self._faults.obey("hang_open")
        if self._reopen:
            self._inner = make_source(self._job.camera)  # a network source is opened once
        info = self._inner.open()
        self._streams = {stream.name: stream for stream in info.streams}
        return info

    def read(self, timeout_s: float) -> list[Frame]:
        self._faults.obey("hang_read")
        frames = self._inner.read(timeout_s)
        for frame in frames if self._counters["state"] == RUNNING else ():
            # What the writer makes a JPEG of is another file afterwards: its number has to do.
            lossy = self._streams[frame.stream].pixel_format == "bgr8"
            self._sent.note(
                DELIVERED,
                stream=list(self._streams).index(frame.stream),
                epoch=self._counters["epoch"],
                number=frame.number,
                monotonic_ns=time.monotonic_ns(),
                crc=0 if lossy else zlib.crc32(frame.data),
            )
        return frames

    def close(self) -> None:
        self._faults.obey("hang_close")
        self._inner.close()


class _PluggedRealSense:
    """A virtual D435 on a bus of its own, pushed in and pulled out by a thread."""

    def __init__(self, name: str, spec: SimulatedSpec, folder: Path) -> None:
        from capture.sources import realsense
        from capture.sources.virtual_realsense import VirtualBus

        assert spec.depth is not None
        wish, self._serial = spec.depth, f"VIRTUAL{spec.index:03d}"
        size = wish.width, wish.height
        lens = Intrinsics(*size, 100.0, 100.0, size[0] / 2, size[1] / 2, "brown_conrady", (0.0,) * 5)
        self._stream = StreamInfo("depth", "z16", *size, wish.fps, intrinsics=lens, depth_scale_m=0.001)
        self._faults = Faults(folder / f"{name}.faults")
        self._bus = VirtualBus()
        self._start, self._reset = realsense.start_into_queue, realsense._reset
        realsense.start_into_queue, realsense._reset = self._start_or_not, self._reset_or_hang
        depth = StreamSpec(*size, wish.fps)
        self._source = realsense.RealSenseSource(
            name, RealSenseSpec(self._serial, depth=depth), context=self._bus.context
        )
        self._ready, self._open = threading.Event(), threading.Event()
        threading.Thread(target=self._feed, daemon=True).start()
        self._ready.wait()

    def _start_or_not(self, rs: Any, sensor: Any, queue: Any) -> None:
        if self._faults["stuck"]:
            raise RuntimeError("the camera is stuck")
        self._start(rs, sensor, queue)

    def _reset_or_hang(self, device: Any) -> None:
        self._faults.obey("hang_reset")
        self._reset(device)

    def _feed(self) -> None:
        from capture.sources.virtual_realsense import VirtualD435
        from scripts.campaigns._test_camera import depth_loop

        pictures = depth_loop(self._stream.width, self._stream.height, seed=0)
        device, number = None, 0
        while True:
            if self._faults["absent"]:
                if device is not None:
                    self._bus.unplug(device)
                    device = None
            elif device is None:
                device, number = VirtualD435(self._serial, [self._stream]), 0
                self._bus.plug(device)
                self._open.clear()
            elif self._open.is_set() and not self._faults["silent"]:
                number += 1
                device.push(
                    "depth", pictures[number % len(pictures)], number=number, time_s=number / self._stream.fps
                )
            self._ready.set()
            time.sleep(1.0 / self._stream.fps)

    def open(self) -> CameraInfo:
        info = self._source.open()
        if self._faults["silent"] == 2:
            self._faults["silent"] = 0
        self._open.set()
        return info

    def read(self, timeout_s: float) -> list[Frame]:
        return self._source.read(timeout_s)

    def close(self) -> None:
        self._open.clear()
        self._source.close()
