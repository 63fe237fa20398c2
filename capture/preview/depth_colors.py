"""Depth as colour: a perceptual colour map between two distances, and the scale that reads it back.

Near is bright, far is dark, in steps that look equally large to the eye; what was not measured has a
colour of its own that is not on the map. Arrays in, pictures out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from capture.preview._text import Color, Picture

HOLE: Final[Color] = (36, 31, 28)
_NEAR_STEPS: Final = (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)
_FAR_STEPS: Final = (
    0.5,
    0.75,
    1.0,
    1.5,
    2.0,
    2.5,
    3.0,
    4.0,
    5.0,
    6.0,
    7.0,
    8.0,
    10.0,
    15.0,
    20.0,
    30.0,
    65.0,
)
_TICK_STEPS: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_LOW, _HIGH = 0.02, 0.95  # the share of the pixels that may lie nearer, or not farther
_SLACK: Final = 0.6
_SAMPLE_EVERY: Final = 8
_FEWEST_PIXELS: Final = 50


@dataclass(frozen=True, slots=True)
class DepthRange:
    """The distances, in metres, at the two ends of the colour map."""

    near_m: float
    far_m: float


DEFAULT_RANGE: Final = DepthRange(0.3, 6.0)


def colored(depth: npt.NDArray[np.uint16], depth_scale_m: float, span: DepthRange) -> Picture:
    """(height, width, 3) BGR of raw depth units; 0 is a hole. Shrink the depth first: this is per pixel."""
    near = max(1, round(span.near_m / depth_scale_m))
    far = max(near + 1, round(span.far_m / depth_scale_m))
    # Entry 0 of the map is the hole, 1 to 255 are near to far; OpenCV's saturation does the clipping.
    alpha = 254.0 / (far - near)
    index = cv2.convertScaleAbs(
        np.maximum(depth, np.uint16(min(near, 65535))), alpha=alpha, beta=1 - near * alpha
    )
    measured = cv2.compare(depth, np.zeros_like(depth), cv2.CMP_GT)
    picture: Picture = cv2.applyColorMap(cv2.bitwise_and(index, measured), _table())
    return picture


def color_at(distance_m: float, span: DepthRange) -> Color:
    """The colour that stands for this distance."""
    share = (distance_m - span.near_m) / (span.far_m - span.near_m)
    b, g, r = _table()[1 + round(254 * min(1.0, max(0.0, share))), 0].tolist()
    return (b, g, r)


def ramp(width: int, height: int) -> Picture:
    """The colour map itself, near on the left."""
    places = np.linspace(1, 255, width).round().astype(np.intp)
    return np.ascontiguousarray(np.broadcast_to(_table()[places, 0], (height, width, 3)))


def ticks(span: DepthRange, most: int) -> list[float]:
    """Round distances for the scale, about `most` of them at most, all within the range."""
    wanted = (span.far_m - span.near_m) / max(1, most)
    step = next((s for s in _TICK_STEPS if s >= wanted), _TICK_STEPS[-1])
    first = math.ceil(span.near_m / step - 1e-6)
    last = math.floor(span.far_m / step + 1e-6)
    return [round(i * step, 3) for i in range(first, last + 1)]


def follow(span: DepthRange, depths: Iterable[tuple[npt.NDArray[np.uint16], float]]) -> DepthRange:
    """The range for these (depth, metres per unit): round numbers, and `span` itself while it does.

    It widens as soon as something lies outside, and narrows only when a good part of it is unused, so
    that colours stay what they are while people walk about.
    """
    samples = [_metres(depth, scale_m) for depth, scale_m in depths]
    values = np.concatenate(samples) if samples else np.empty(0, np.float32)
    if len(values) < _FEWEST_PIXELS:
        return span
    low, high = np.quantile(values, (_LOW, _HIGH))
    near, far = span.near_m, span.far_m
    if high > far or high < _SLACK * far:
        far = _step(_FAR_STEPS, float(high))
    if low < near or low > near + (1 - _SLACK) * (far - near) or near >= far:
        below = [step for step in _NEAR_STEPS if step <= low and step < far]
        near = below[-1]
    return DepthRange(near, far)


def _metres(depth: npt.NDArray[np.uint16], depth_scale_m: float) -> npt.NDArray[np.float32]:
    sample = depth[::_SAMPLE_EVERY, ::_SAMPLE_EVERY]
    return sample[sample > 0].astype(np.float32) * np.float32(depth_scale_m)


def _step(steps: Sequence[float], value: float) -> float:
    return next((step for step in steps if step >= value), steps[-1])


@lru_cache(maxsize=1)
def _table() -> npt.NDArray[np.uint8]:
    """(256, 1, 3): the hole, then near (bright) to far (dark)."""
    bright_to_dark = np.linspace(255, 0, 255).round().astype(np.uint8)
    table = np.empty((256, 1, 3), np.uint8)
    table[0, 0] = HOLE
    table[1:] = cv2.applyColorMap(bright_to_dark[:, None], cv2.COLORMAP_VIRIDIS)
    return table
