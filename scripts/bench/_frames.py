"""Frames for the benchmarks, made before anything is measured: real z16 where it lies on this machine.

`prepare` writes one .npz per picture size; `FrameSet` reads it. Depth is cut from real recordings of
D400 cameras, at many offsets, so that no two frames have the same bytes in the same place and a loop of them
does not fit a cache; where the recordings are missing it comes from the simulated camera, and the set says
so. Colour is always simulated: JPEG files of a rendered room.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Depth = npt.NDArray[np.uint16]
Jpeg = npt.NDArray[np.uint8]

DISTINCT_FRAMES = 48
_SIMULATED_LOOP_S = DISTINCT_FRAMES / 30
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class FrameSet:
    """Prepared frames in memory. `jpegs` is empty where colour was not asked for."""

    origin: str
    depth: list[Depth]
    jpegs: list[Jpeg]

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, color: bool = False) -> FrameSet:
        """Read what `prepare` wrote."""
        with np.load(path) as file:
            ends = file["jpeg_ends"]
            jpegs = np.split(file["jpegs"], ends[:-1]) if color else []
            return cls(str(file["origin"]), list(file["depth"]), jpegs)


def prepare(folder: Path, real: Path, *, width: int, height: int) -> Path:
    """Write DISTINCT_FRAMES frames of that size, from the recordings in `real` if it has any that fit."""
    jpegs = _simulated(width, height)[1]
    found = _real_depth(real, width, height)
    if found:
        origin, depth = "real z16 of D400 cameras, cut from 1280x720 or 640x480", found
    else:
        origin, depth = "simulated D435", _simulated(width, height)[0]
    path = folder / f"frames-{width}x{height}.npz"
    ends = np.cumsum([jpeg.size for jpeg in jpegs])
    np.savez(path, origin=origin, depth=np.stack(depth), jpegs=np.concatenate(jpegs), jpeg_ends=ends)
    return path


def _real_depth(real: Path, width: int, height: int) -> list[Depth]:
    import cv2

    whole: list[Depth] = []
    for path in sorted(real.glob("*_rs_*/*.png")) + sorted(real.glob("*_d4xx_*/*.png")):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is not None and image.dtype == np.uint16:
            whole.append(image)
    exact = [image for image in whole if image.shape == (height, width)]
    if len(exact) >= DISTINCT_FRAMES:
        return [np.ascontiguousarray(image) for image in exact[:DISTINCT_FRAMES]]
    larger = [image for image in whole if image.shape[0] > height and image.shape[1] > width]
    if not larger:
        return []
    return [_cut(larger, i, width, height) for i in range(DISTINCT_FRAMES)]


def _cut(images: list[Depth], i: int, width: int, height: int) -> Depth:
    """Cut number i: another picture each time, another place each time round."""
    image, turn = images[i % len(images)], i // len(images)
    turns = -(-DISTINCT_FRAMES // len(images))
    across, down = turn % 4, turn // 4
    left = (image.shape[1] - width) * across // 3
    top = (image.shape[0] - height) * down // max(1, -(-turns // 4) - 1)
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def _simulated(width: int, height: int) -> tuple[list[Depth], list[Jpeg]]:
    from capture.sources.simulated import render_loop
    from capture.specs import SimulatedSpec, StreamSpec

    spec = SimulatedSpec(
        depth=StreamSpec(width, height, 30.0),
        color=StreamSpec(640, 480, 30.0),
        through_realsense=False,
        loop_s=_SIMULATED_LOOP_S,
    )
    loop = render_loop(spec)
    return list(loop.depth), list(loop.color)


class Pace:
    """Absolute deadlines on CLOCK_MONOTONIC, so that a late frame does not delay those after it."""

    def __init__(self, fps: float, *, phase: float = 0.0) -> None:
        """The first frame is due now, or `phase` intervals later."""
        self._interval_ns = _SECOND_NS / fps
        self._start_ns = time.monotonic_ns() + round(phase * self._interval_ns)

    def due_ns(self, number: int) -> int:
        """When frame `number`, counted from 0, is due."""
        return self._start_ns + round(number * self._interval_ns)


def paced(frames: list[Depth], count: int, fps: float) -> Iterator[tuple[int, Depth]]:
    """(number, frame) `count` times in a loop, each when it is due; without waiting where fps is 0."""
    pace = Pace(fps) if fps else None
    for number in range(count):
        if pace is not None:
            wait_ns = pace.due_ns(number) - time.monotonic_ns()
            if wait_ns > 0:
                time.sleep(wait_ns / _SECOND_NS)
        yield number, frames[number % len(frames)]
