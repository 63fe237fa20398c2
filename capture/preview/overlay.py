"""Bodies over a picture: world points through a camera, drawn as a shaded, half-transparent surface.

No faces are needed. Points are splatted into a small depth image, the gaps between them closed, and the
slope of that surface gives the shading; a body of 6890 points takes one or two milliseconds. A body that
stands behind something is drawn in front of it: this is an overlay, not a scene.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from capture.frames import CameraInfo, StreamInfo
from capture.lenses import lens_of
from capture.preview._text import Color, Picture

Float32 = npt.NDArray[np.float32]

TINTS: Final[tuple[Color, ...]] = (
    (255, 214, 120),
    (130, 190, 255),
    (170, 235, 150),
    (225, 160, 235),
    (140, 240, 245),
)
_OPACITY: Final = 0.72
_NEAREST_M: Final = 0.05
_FILLED_SHARE: Final = 0.4  # of the box around a body that the body itself covers
_UNEVEN: Final = 1.6  # how much wider than the mean the gaps between the points of a body are, here and there
_LIGHT: Final = (-0.42, -0.55, 0.72)  # from the upper left, in front: x right, y down, z towards the eye
_AMBIENT: Final = 0.30


def project(points_m: Float32, camera: CameraInfo, stream: StreamInfo) -> Float32 | None:
    """World points (..., 3) in metres -> (..., 3): column and row in the stream's pixels, distance in m.

    NaN for points far beside the picture of a bent lens. None where the stream's lens is unknown, or of a
    model that is. A camera without a place stands in the world's origin.
    """
    if stream.intrinsics is None:
        return None
    try:
        lens = lens_of(stream.intrinsics)
    except ValueError:  # an estimator that needs it refuses it by name
        return None
    world_from_stream = np.eye(4)
    for matrix in (camera.world_from_camera, stream.camera_from_stream):
        if matrix is not None:
            world_from_stream = world_from_stream @ np.array(matrix)
    stream_from_world: Float32 = np.linalg.inv(world_from_stream).astype(np.float32)
    seen: Float32 = points_m @ stream_from_world[:3, :3].T + stream_from_world[:3, 3]
    z = seen[..., 2]
    ahead: Float32 = np.where(
        z > _NEAREST_M, z, np.float32(np.inf)
    )  # what is behind us goes to the centre, z tells
    rays = np.stack([seen[..., 0] / ahead, seen[..., 1] / ahead], axis=-1)
    pixels = lens.pixels(rays.reshape(-1, 2)).reshape(rays.shape)
    return np.concatenate([pixels, z[..., np.newaxis]], axis=-1).astype(np.float32)


def draw_body(picture: Picture, pixels: Float32, focal_px: float, tint: Color) -> None:
    """Draw one body, (n, 3) of column, row (in pixels of `picture`) and distance in metres, into it."""
    height, width = picture.shape[:2]
    column, row, distance = pixels[:, 0], pixels[:, 1], pixels[:, 2]
    seen = (distance > _NEAREST_M) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    if np.count_nonzero(seen) < 3:
        return
    column, row = column[seen].astype(np.intp), row[seen].astype(np.intp)
    left, top = int(column.min()), int(row.min())
    box_width, box_height = int(column.max()) + 1 - left, int(row.max()) + 1 - top
    # Half of the points are on the far side.
    gap_px = _UNEVEN * math.sqrt(_FILLED_SHARE * box_width * box_height / (0.5 * len(column)))
    radius = min(8, max(1, math.ceil(gap_px)))
    pad = radius + 2
    nearness = np.zeros((box_height + 2 * pad, box_width + 2 * pad), np.float32)
    inverse = 1.0 / distance[seen]
    order = np.argsort(inverse)  # the nearest is written last
    nearness[row[order] - top + pad, column[order] - left + pad] = inverse[order]
    _blend(picture, nearness, left - pad, top - pad, radius, focal_px, tint)


def _blend(
    picture: Picture, nearness: Float32, left: int, top: int, radius: int, focal_px: float, tint: Color
) -> None:
    """Close the gaps of the splatted surface, shade it and lay it over the picture."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    grown = cv2.dilate(nearness, kernel)
    covered = cv2.compare(cv2.erode(grown, kernel), 0.0, cv2.CMP_GT)
    smooth = cv2.blur(grown, (2 * radius + 1, 2 * radius + 1))
    shade = _shading(smooth, focal_px)
    x0, y0 = max(0, left), max(0, top)
    x1 = min(picture.shape[1], left + nearness.shape[1])
    y1 = min(picture.shape[0], top + nearness.shape[0])
    inside = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    place = picture[y0:y1, x0:x1]
    body = cv2.applyColorMap(np.ascontiguousarray(shade[inside]), _shades(tint))
    mixed = cv2.addWeighted(body, _OPACITY, np.ascontiguousarray(place), 1 - _OPACITY, 0)
    np.copyto(place, mixed, where=covered[inside][..., None] > 0)


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


@lru_cache(maxsize=len(TINTS))
def _shades(tint: Color) -> npt.NDArray[np.uint8]:
    """(256, 1, 3): the tint from dark to bright."""
    return np.linspace((0, 0, 0), tint, 256).round().astype(np.uint8)[:, None]
