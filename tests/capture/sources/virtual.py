"""Virtual RealSense cameras for tests: small, with pictures whose every frame is different and known."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.frames import Frame, Intrinsics, StreamInfo
from capture.sources import Source
from capture.sources.realsense import RealSenseSource
from capture.sources.virtual_realsense import VirtualBus, VirtualD435
from capture.specs import RealSenseSpec, StreamSpec

WIDTH, HEIGHT, FPS = 64, 48, 30.0
FORMATS = {"depth": "z16", "color": "bgr8", "infrared1": "y8", "infrared2": "y8"}
# The colour sensor of a D435 lies 15 mm beside the depth sensor, and is turned a little.
COLOR_PLACE = ((0.0, -1.0, 0.0, 0.015), (1.0, 0.0, 0.0, -0.002), (0.0, 0.0, 1.0, 0.001), (0.0, 0.0, 0.0, 1.0))


def stream(name: str, width: int = WIDTH, height: int = HEIGHT, fps: float = FPS) -> StreamInfo:
    """A stream as VirtualD435 takes it."""
    lens = Intrinsics(width, height, 40.5, 41.5, 31.25, 24.75, "brown_conrady", (0.125, -0.25, 0.0, 0.0, 0.5))
    return StreamInfo(
        name=name,
        pixel_format=FORMATS[name],
        width=width,
        height=height,
        fps=fps,
        intrinsics=lens,
        depth_scale_m=0.001 if name == "depth" else None,
        camera_from_stream=COLOR_PLACE if name == "color" else None,
    )


def picture(name: str, number: int, width: int = WIDTH, height: int = HEIGHT) -> npt.NDArray[Any]:
    """Frame `number` of a stream: the same whenever it is asked for, and like no other."""
    rng = np.random.default_rng([number, *name.encode()])
    if name == "depth":
        return rng.integers(0, 2**16, (height, width), np.uint16)
    shape = (height, width, 3) if name == "color" else (height, width)
    return rng.integers(0, 2**8, shape, np.uint8)


def device_time_s(number: int) -> float:
    """When the test's cameras take frame `number`, by their own clock."""
    return number / FPS


def push(
    camera: VirtualD435,
    number: int,
    *names: str,
    time_s: float | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    **more: Any,
) -> None:
    """The camera takes frame `number` of these streams (depth and colour if none are named)."""
    taken_s = device_time_s(number) if time_s is None else time_s
    for name in names or ("depth", "color"):
        camera.push(name, picture(name, number, *size), number=number, time_s=taken_s, **more)


def plugged(bus: VirtualBus, serial: str, *names: str) -> VirtualD435:
    """A camera with these streams (depth and colour if none are named), plugged in."""
    camera = VirtualD435(serial, [stream(name) for name in names or ("depth", "color")])
    bus.plug(camera)
    return camera


def source_of(bus: VirtualBus, serial: str = "", **wishes: Any) -> RealSenseSource:
    """A source for a camera of that bus; depth and colour unless other wishes are given."""
    wishes = wishes or {"depth": StreamSpec(), "color": StreamSpec()}
    return RealSenseSource("cam", RealSenseSpec(serial=serial, **wishes), context=bus.context)


def drained(source: Source, *, timeout_s: float = 0.05) -> list[Frame]:
    """All frames that are there now, their data copied."""
    frames: list[Frame] = []
    while some := source.read(timeout_s):
        frames += [replace(frame, data=frame.data.copy()) for frame in some]
        timeout_s = 0.0
    return frames


def of(frames: list[Frame], name: str) -> list[Frame]:
    """The frames of one stream."""
    return [frame for frame in frames if frame.stream == name]


def numbers(frames: list[Frame], name: str) -> list[int]:
    """The frame numbers of one stream, in the order of their arrival."""
    return [frame.number for frame in of(frames, name)]


def are_the_ones_pushed(frames: list[Frame]) -> bool:
    """Whether every frame holds, bit for bit, what was pushed under its number."""
    return all(
        np.array_equal(frame.data, picture(frame.stream, frame.number, *frame.data.shape[1::-1]))
        for frame in frames
    )


def until_raises(source: Source, error: type[Exception], *, within_s: float = 10.0) -> Exception:
    """The error that reading ends in."""
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        try:
            source.read(0.05)
        except error as raised:
            return raised
    raise AssertionError(f"no {error.__name__} within {within_s} s")
