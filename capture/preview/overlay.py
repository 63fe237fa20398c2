"""Bodies over a picture: world points through a camera, drawn as shaded, half-transparent surfaces.

Meshes are rasterised where their triangles are known, else splatted (`_surfaces`). Whoever is nearer hides
others; what else is in the picture hides nobody: this is an overlay, not a scene. A body of 6890 points takes
a few milliseconds; many, or large ones, are drawn more coarsely.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from capture.body.raster import Int32
from capture.frames import CameraInfo, StreamInfo
from capture.lenses import lens_of
from capture.preview._surfaces import NEAREST_M, Float32, box_of, surface_of
from capture.preview._text import Color, Picture

TINTS: Final[tuple[Color, ...]] = (
    (255, 214, 120),
    (130, 190, 255),
    (170, 235, 150),
    (225, 160, 235),
    (140, 240, 245),
)
_OPACITY: Final = 0.72
_MOST_PX: Final = 100_000
"""Of all boxes around bodies, at which they are drawn."""
_MOST_BODIES: Final = 255
_HALF: Final = np.array([0.5, 0.5, 0.0], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """Somebody in a picture: points (n, 3) as column, row and distance in metres, and the triangles (F, 3)
    between them, None where nobody knows those."""

    pixels: Float32
    tint: Color
    faces: Int32 | None = None


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
        z > NEAREST_M, z, np.float32(np.inf)
    )  # what is behind us goes to the centre, z tells
    rays = np.stack([seen[..., 0] / ahead, seen[..., 1] / ahead], axis=-1)
    pixels = lens.pixels(rays.reshape(-1, 2)).reshape(rays.shape)
    return np.concatenate([pixels, z[..., np.newaxis]], axis=-1).astype(np.float32)


def draw_bodies(picture: Picture, bodies: Sequence[Body], focal_px: float) -> None:
    """Draw all bodies into `picture`, in whose pixels they are; at each pixel the nearest one is seen."""
    height, width = picture.shape[:2]
    shown = [(body, box) for body in bodies if (box := box_of(body.pixels, width, height)) is not None]
    if not shown:
        return
    del shown[_MOST_BODIES:]
    area = sum((right - left) * (bottom - top) for _, (left, top, right, bottom) in shown)
    scale = min(1.0, math.sqrt(_MOST_PX / area))
    small = max(1, round(width * scale)), max(1, round(height * scale))
    zoom = np.array([small[0] / width, small[1] / height, 1.0], np.float32)
    nearest = np.zeros(small[::-1], np.float32)
    shade, owner = np.zeros(small[::-1], np.uint8), np.zeros(small[::-1], np.uint8)
    for number, (body, (left, top, right, bottom)) in enumerate(shown, start=1):
        # The centres of pixels lie at whole numbers, so the picture begins half a pixel before 0.
        pixels = (body.pixels + _HALF) * zoom - _HALF
        box = (
            int(left * zoom[0]),
            int(top * zoom[1]),
            min(math.ceil(right * zoom[0]), small[0]),
            min(math.ceil(bottom * zoom[1]), small[1]),
        )
        surface = surface_of(pixels, body.faces, box, focal_px * float(zoom[0]))
        if surface is None:
            continue
        rows, columns = surface.nearness.shape
        part = (
            slice(surface.top, surface.top + rows),
            slice(surface.left, surface.left + columns),
        )
        in_front = surface.nearness > nearest[part]
        np.copyto(nearest[part], surface.nearness, where=in_front)
        np.copyto(shade[part], surface.shade, where=in_front)
        owner[part][in_front] = number
    if scale < 1.0:
        owner = cv2.resize(owner, (width, height), interpolation=cv2.INTER_NEAREST)
        shade = cv2.resize(shade, (width, height), interpolation=cv2.INTER_LINEAR)
    _blend(picture, owner, shade, np.stack([_shades(body.tint) for body, _ in shown]))


def _blend(
    picture: Picture,
    owner: npt.NDArray[np.uint8],
    shade: npt.NDArray[np.uint8],
    shades: npt.NDArray[np.uint8],
) -> None:
    """Lay the bodies over the picture; `owner` says of each pixel whose it is, from 1 on."""
    row, column = np.nonzero(owner)
    body = shades[owner[row, column] - 1, shade[row, column]]
    behind = picture[row, column]
    mixed = _OPACITY * body.astype(np.float32) + (1 - _OPACITY) * behind.astype(np.float32)
    picture[row, column] = np.rint(mixed).astype(np.uint8)


@lru_cache(maxsize=len(TINTS))
def _shades(tint: Color) -> npt.NDArray[np.uint8]:
    """(256, 3): the tint from dark to bright."""
    return np.linspace((0, 0, 0), tint, 256).round().astype(np.uint8)
