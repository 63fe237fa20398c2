"""The visible side of one body as a small picture of nearness (1/distance), with and without triangles.

With triangles it is rasterised, exactly. Without, the points are splatted and the gaps between them closed,
which makes the edges a little soft. Shading comes from the slope of that picture. Distances are metres,
places pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from capture.body.raster import Int32, rasterise

Float32 = npt.NDArray[np.float32]
Box = tuple[int, int, int, int]
"""left, top, right, bottom; the last two are behind its last pixels"""

NEAREST_M: Final = 0.05
_FILLED_SHARE: Final = 0.4  # of the box around a body that the body itself covers
_UNEVEN: Final = 1.6  # how much wider than the mean the gaps between the points of a body are, here and there
_MOST_GAP_PX: Final = 8
_LIGHT: Final = (-0.42, -0.55, 0.72)  # from the upper left, in front: x right, y down, z towards the eye
_AMBIENT: Final = 0.30


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A part of a picture, from `top`, `left` on: nearness (h, w) in 1/m, 0 where the body is not, and shade
    (h, w), 0 to 255."""

    top: int
    left: int
    nearness: Float32
    shade: npt.NDArray[np.uint8]


def box_of(pixels: Float32, width: int, height: int) -> Box | None:
    """That of a body's (n, 3) points within the picture; None where it is not in it."""
    seen = pixels[_is_there(pixels), :2]
    if len(seen) < 3:
        return None
    left, top = np.clip(np.floor(seen.min(axis=0)), 0, (width, height)).astype(int).tolist()
    right, bottom = np.clip(np.ceil(seen.max(axis=0)) + 1, 0, (width, height)).astype(int).tolist()
    return (left, top, right, bottom) if right > left and bottom > top else None


def surface_of(pixels: Float32, faces: Int32 | None, box: Box, focal_px: float) -> Surface | None:
    """The surface of points (n, 3), column, row and distance, within `box`. None where hardly a point is."""
    if faces is None:
        return _splatted(pixels, box, focal_px)
    left, top, right, bottom = box
    is_there = _is_there(pixels)
    projected = np.zeros((3, len(pixels)), np.float32)
    projected[0], projected[1] = pixels[:, 0] - left, pixels[:, 1] - top
    projected[:, ~is_there] = 0.0  # without nearness a triangle is left out
    np.divide(1.0, pixels[:, 2], out=projected[2], where=is_there)
    seen = rasterise(projected, faces, right - left, bottom - top)
    nearness = np.zeros((bottom - top, right - left), np.float32)
    nearness.reshape(-1)[seen.pixel] = seen.inverse_z
    # Beyond the edge the surface goes on for a pixel, or the edge would look like a cliff.
    grown = np.where(nearness > 0, nearness, cv2.dilate(nearness, np.ones((5, 5), np.uint8)))
    return Surface(top, left, nearness, _shading(cv2.blur(grown, (3, 3)), focal_px))


def _is_there(pixels: Float32) -> npt.NDArray[np.bool_]:
    # A sum is finite where all of them are, and quicker.
    return np.asarray(np.isfinite(pixels.sum(axis=1)) & (pixels[:, 2] > NEAREST_M))


def _splatted(pixels: Float32, box: Box, focal_px: float) -> Surface | None:
    left, top, right, bottom = box
    column, row, distance = pixels.T
    seen = (distance > NEAREST_M) & (column >= left) & (column < right) & (row >= top) & (row < bottom)
    if np.count_nonzero(seen) < 3:
        return None
    # Half of the points are on the far side.
    area = _FILLED_SHARE * (right - left) * (bottom - top)
    gap_px = _UNEVEN * math.sqrt(area / (0.5 * np.count_nonzero(seen)))
    radius = min(_MOST_GAP_PX, max(1, math.ceil(gap_px)))
    pad = radius + 2
    points = np.zeros((bottom - top + 2 * pad, right - left + 2 * pad), np.float32)
    inverse = 1.0 / distance[seen]
    order = np.argsort(inverse)  # the nearest is written last
    at = row[seen][order].astype(np.intp) - top + pad, column[seen][order].astype(np.intp) - left + pad
    points[at] = inverse[order]
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    grown = cv2.dilate(points, kernel)
    smooth = cv2.blur(grown, (2 * radius + 1, 2 * radius + 1))
    nearness = np.where(cv2.erode(grown, kernel) > 0, grown, np.float32(0))
    inside = (slice(pad, -pad), slice(pad, -pad))
    return Surface(top, left, nearness[inside], _shading(smooth, focal_px)[inside])


def _shading(nearness: Float32, focal_px: float) -> npt.NDArray[np.uint8]:
    """Lambert's law, 0 to 255, for a surface given by 1/distance at each pixel."""
    # With i = 1/z a step of one pixel is z/f metres wide and dz = -di / i**2 metres deep: slope -di * f / i.
    scale = focal_px / np.maximum(nearness, 1e-6)
    slope_x = cv2.Sobel(nearness, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8) * scale
    slope_y = cv2.Sobel(nearness, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8) * scale
    length = cv2.sqrt(slope_x * slope_x + slope_y * slope_y + 1.0)
    cosine = (_LIGHT[2] - slope_x * _LIGHT[0] - slope_y * _LIGHT[1]) / length
    shade: npt.NDArray[np.uint8] = cv2.convertScaleAbs(
        np.maximum(cosine, 0.0), alpha=255 * (1 - _AMBIENT), beta=255 * _AMBIENT
    )
    return shade
