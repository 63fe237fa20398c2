"""A rig without cameras: rings and counters as the supervisor makes them, filled by the test itself."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from capture import ring as kinds
from capture.camera import COUNTERS as CAMERA_COUNTERS
from capture.camera import RUNNING
from capture.counters import CounterPage
from capture.frames import CameraInfo, Intrinsics, StreamInfo
from capture.preview.job import PreviewJob
from capture.ring import FrameRing
from capture.spawn import Child
from capture.writer import COUNTERS as WRITER_COUNTERS
from codec.depth import get_codec

WIDTH, HEIGHT = 160, 120
LENS = Intrinsics(WIDTH, HEIGHT, 150.0, 150.0, 80.0, 60.0)
COLOR = StreamInfo("color", "bgr8", WIDTH, HEIGHT, 30.0, LENS)
DEPTH = StreamInfo("depth", "z16", WIDTH, HEIGHT, 30.0, LENS, depth_scale_m=0.001)
MESH = StreamInfo("mesh", "mesh", 300, 1, 0.0)
RING_BYTES = 4 << 20


def camera(name: str, *streams: StreamInfo) -> CameraInfo:
    return CameraInfo(name, "test", "by hand", streams or (COLOR, DEPTH))


class RigParts:
    """Cameras (opened or not yet) and estimators, with everything a preview looks at."""

    def __init__(
        self, session: Path, cameras: dict[str, CameraInfo | None], results: tuple[str, ...] = ()
    ) -> None:
        self.session = session
        self.rings = {name: FrameRing.create(RING_BYTES, observers=1) for name in (*cameras, *results)}
        self.pages = {name: CounterPage(CAMERA_COUNTERS) for name in cameras}
        self.writer = CounterPage(WRITER_COUNTERS)
        self.writer["free_bytes"] = 10**12
        self.writer["depth_codec"] = get_codec("lattice-lz4").id
        for page in self.pages.values():
            page["state"] = RUNNING
        self.job = PreviewJob(
            rig="test",
            session=session,
            cameras={name: info for name, info in cameras.items() if info is not None},
            rings={name: self.rings[name].spec for name in cameras},
            results={name: self.rings[name].spec for name in results},
            camera_counters={name: page.fd for name, page in self.pages.items()},
            writer_counters_fd=self.writer.fd,
            depth_codec="lattice-lz4",
        )
        self._number = 0

    def spawn(self) -> Child:
        """A real preview process."""
        fds = [self.writer.fd, *(page.fd for page in self.pages.values())]
        for ring in self.rings.values():
            fds += ring.spec.fds
        return Child("preview", "capture.preview.process:run", self.job, fds)

    def push(
        self, owner: str, stream: int, data: np.ndarray[Any, Any], *, meta: bytes = b"", count: bool = True
    ) -> None:
        """A frame from the camera (or estimator), which the writer has then taken."""
        ring = self.rings[owner]
        self._number += 1
        stamp_ns = time.monotonic_ns()
        assert ring.push(data, stream=stream, number=self._number, monotonic_ns=stamp_ns, meta=meta)
        if owner in self.pages and count:
            self.pages[owner].add(f"captured{stream}")
        if count:
            lane = list(self.rings).index(owner)
            self.writer.add(f"written{lane}.{stream}")
        self.drain(owner)

    def introduce(self, owner: str, info: CameraInfo) -> None:
        """What a camera pushes when it opens, and an estimator when it begins."""
        assert self.rings[owner].push(json.dumps(asdict(info)).encode(), kind=kinds.INFO)
        self.drain(owner)

    def drain(self, owner: str) -> None:
        ring = self.rings[owner]
        while (frame := ring.take()) is not None:
            ring.release(frame)

    def close(self) -> None:
        for ring in self.rings.values():
            ring.close()
        for page in (*self.pages.values(), self.writer):
            page.close()


def flat_color(bgr: tuple[int, int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    picture[:] = bgr
    return picture


def flat_depth(millimetres: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    return np.full((HEIGHT, WIDTH), millimetres, np.uint16)
