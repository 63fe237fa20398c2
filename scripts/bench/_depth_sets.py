"""The frames of the depth benchmark: recordings of real cameras where they lie here, and the simulated D435.

A set is a name, its origin in words, and frames in memory, the same in every run: real ones are spread
evenly over their folder, simulated ones come from four places in the room with a fixed seed. Knows no codecs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Depth = npt.NDArray[np.uint16]

MOST_FRAMES = 24
QUICK_FRAMES = 6
REAL_D400_SET = "aims_d4xx_640"
"""Consecutive frames of a moving D400 camera: the set that targets are about."""
WIDE_SIMULATED_SET = "sim-848x480"
_SIMULATED = {WIDE_SIMULATED_SET: (848, 480, 24), "sim-1280x720": (1280, 720, 12)}
_SIMULATED_PLACES = 4
_SIMULATED_SEED = 1
_FPS = 30.0


class UnusableDataError(Exception):
    """A picture of a set is no 16-bit depth image."""


@dataclass(frozen=True, slots=True)
class DepthSet:
    """Frames of one size, uint16 (height, width), C order."""

    name: str
    origin: str
    frames: list[Depth]

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.frames[0].shape
        return height, width


def set_names(real: Path) -> list[str]:
    """Every folder of `real` with PNG files in it, then the simulated sets."""
    folders = sorted(path.parent.name for path in real.glob("*/*.png"))
    return [*dict.fromkeys(folders), *_SIMULATED]


def relatives(name: str) -> set[str]:
    """The sets with what one and the same camera made: all simulated ones come from one simulator."""
    return set(_SIMULATED) if name in _SIMULATED else {name}


def load_set(name: str, real: Path, *, most: int) -> DepthSet:
    """At most `most` frames of a set that `set_names` lists. Raises UnusableDataError."""
    if name in _SIMULATED:
        width, height, count = _SIMULATED[name]
        return DepthSet(name, "simulated D435", _simulated(width, height, min(count, most)))
    paths = sorted((real / name).glob("*.png"))
    chosen = np.linspace(0, len(paths) - 1, min(len(paths), most)).round().astype(int)
    frames = [_read(paths[i]) for i in chosen]
    if len({frame.shape for frame in frames}) != 1:
        raise UnusableDataError(f"{real / name} has pictures of several sizes: one folder for each size")
    return DepthSet(name, "real", frames)


def _read(path: Path) -> Depth:
    import cv2

    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint16 or image.ndim != 2:
        raise UnusableDataError(f"{path} is no 16-bit grey PNG: take it out of the set")
    return np.ascontiguousarray(image)


def _simulated(width: int, height: int, count: int) -> list[Depth]:
    """`count` frames, as many from each place as go, the places one after the other."""
    from capture.sources.simulated import render_loop
    from capture.specs import SimulatedSpec, StreamSpec

    each = -(-count // _SIMULATED_PLACES)
    frames: list[Depth] = []
    for place in range(_SIMULATED_PLACES):
        spec = SimulatedSpec(
            index=place,
            count=_SIMULATED_PLACES,
            depth=StreamSpec(width, height, _FPS),
            through_realsense=False,
            loop_s=each / _FPS,
            seed=_SIMULATED_SEED,
        )
        frames += render_loop(spec).depth
    return frames[:count]
