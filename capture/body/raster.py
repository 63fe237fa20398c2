"""A z-buffer in NumPy: which triangle each pixel shows, and where on it; depth maps and masks of people.

Made for meshes of many small triangles seen whole: triangles of like size in pixels are tested together
against a square of pixels each, so there is no loop over triangles. Pixel centres lie at whole
coordinates, as in OpenCV. Only front faces (counter-clockwise seen from outside) are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.frames import Intrinsics

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

NEAR_PLANE_M = 0.05
_FARTHEST_M: Final = 1e9  # the products of what lies nearer stay far below the largest float32
MAX_PEOPLE: Final = 255

# Pixels tested at once: a mesh right in front of the camera has many triangles as large as the picture.
_PIXELS_AT_ONCE: Final = 1 << 21


@dataclass(frozen=True, slots=True)
class Fragments:
    """The visible pixels of a mesh, one row each, no pixel twice.

    pixel       index into the flattened image
    inverse_z   1/m; linear in the image, so it is exact
    corners     (n, 3) vertices of the triangle seen there
    shares      (n, 3) their weights, adding up to one
    """

    pixel: npt.NDArray[np.intp]
    inverse_z: Float32
    corners: Int32
    shares: Float32


@dataclass(frozen=True, slots=True, eq=False)
class DepthMap:
    """What a depth camera would see of some people, and nothing else.

    depth_m  (height, width) float32 metres along the optical axis, 0 where nobody is
    people   (height, width) uint8: 1 for the first of them, 2 for the next, 0 where nobody is
    """

    depth_m: Float32
    people: npt.NDArray[np.uint8]


def render_depth(people: Sequence[Float32], faces: Int32, intrinsics: Intrinsics) -> DepthMap:
    """Each person's vertices (V, 3) in this camera's axes, in metres, as a picture of the camera's size.

    At each pixel the nearest person counts. The lens' distortion is not taken into account. Triangles with a
    corner behind the near plane or at no finite place are left out. ValueError: more than `MAX_PEOPLE`, or
    vertices that are not (V, 3).
    """
    if len(people) > MAX_PEOPLE:
        raise ValueError(f"{len(people)} people; {MAX_PEOPLE} fit into a mask")
    width, height = intrinsics.width, intrinsics.height
    nearest = np.zeros(width * height, np.float32)
    mask = np.zeros(width * height, np.uint8)
    for number, vertices in enumerate(people, start=1):
        points = np.asarray(vertices, np.float32)
        if points.ndim != 2 or points.shape[1] != 3:
            raise ValueError(f"person {number} has vertices of shape {points.shape}; (V, 3) is expected")
        seen = rasterise(project(points, intrinsics), faces, width, height)
        in_front = seen.inverse_z > nearest[seen.pixel]
        pixel = seen.pixel[in_front]
        nearest[pixel] = seen.inverse_z[in_front]
        mask[pixel] = number
    depth = np.zeros_like(nearest)
    np.divide(1.0, nearest, out=depth, where=nearest > 0)
    return DepthMap(depth.reshape(height, width), mask.reshape(height, width))


def project(points: Float32, intrinsics: Intrinsics) -> Float32:
    """Camera points (n, 3) -> rows x, y in pixels and 1/z, (3, n).

    Behind the near plane, and for points at no place (NaN, or beyond any room), 1/z is 0.
    """
    projected = np.zeros((3, len(points)), np.float32)
    somewhere = np.abs(points) < _FARTHEST_M
    if not somewhere.all():
        points = np.where(somewhere.all(axis=1, keepdims=True), points, np.float32(0))
    z = points[:, 2]
    np.divide(1.0, z, out=projected[2], where=z > NEAR_PLANE_M)
    projected[0] = intrinsics.fx * points[:, 0] * projected[2] + intrinsics.cx
    projected[1] = intrinsics.fy * points[:, 1] * projected[2] + intrinsics.cy
    return projected


def rasterise(projected: Float32, faces: Int32, width: int, height: int) -> Fragments:
    """The visible pixels of the triangles `faces` over the vertices `projected` (see `project`)."""
    x, y, inverse_z = projected[:, faces.T]  # (3 corners, triangles) each
    # Twice the area; negative where the corners turn counter-clockwise as we see them (y down), i.e. face us.
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    left = np.maximum(np.ceil(x.min(axis=0)), 0)
    top = np.maximum(np.ceil(y.min(axis=0)), 0)
    right = np.minimum(np.floor(x.max(axis=0)), width - 1)
    bottom = np.minimum(np.floor(y.max(axis=0)), height - 1)
    span = np.maximum(right - left, bottom - top) + 1
    seen = (area < 0) & (right >= left) & (bottom >= top) & (inverse_z.min(axis=0) > 0)
    classes = np.ceil(np.log2(span, where=seen, out=np.zeros_like(span))).astype(np.int32)
    pixels, depths, triangles, shares = [], [], [], []
    for size_class, index in _batches(classes, seen):
        corner = x[:, index], y[:, index], area[index]
        origin = left[index], top[index]
        limit = right[index], bottom[index]
        row, px, py, share = _covered(corner, origin, limit, 1 << size_class)
        pixels.append(py.astype(np.intp) * width + px.astype(np.intp))
        triangles.append(index[row])
        shares.append(share)
        depths.append((share * inverse_z[:, index[row]]).sum(axis=0))
    if not pixels:
        return Fragments(
            np.empty(0, np.intp),
            np.empty(0, np.float32),
            np.empty((0, 3), np.int32),
            np.empty((0, 3), np.float32),
        )
    return _nearest(
        np.concatenate(pixels),
        np.concatenate(depths),
        faces[np.concatenate(triangles)],
        np.concatenate(shares, axis=1).T,
        width * height,
    )


def _batches(classes: Int32, seen: npt.NDArray[np.bool_]) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    """Triangles of one size class each, so many that their squares of pixels fit into memory."""
    for size_class in np.unique(classes[seen]):
        index = np.flatnonzero(seen & (classes == size_class))
        count = max(1, _PIXELS_AT_ONCE >> (2 * int(size_class)))
        for first in range(0, len(index), count):
            yield int(size_class), index[first : first + count]


def _covered(
    corner: tuple[Float32, Float32, Float32],
    origin: tuple[Float32, Float32],
    limit: tuple[Float32, Float32],
    size: int,
) -> tuple[npt.NDArray[np.intp], Float32, Float32, Float32]:
    """Pixels of a size x size square at each triangle's origin that the triangle covers.

    Returns the triangle's row, x, y and the three corner weights (3, n).
    """
    x, y, area = corner
    step = np.arange(size, dtype=np.float32)
    px = (origin[0][:, None] + np.tile(step, size)).astype(np.float32)
    py = (origin[1][:, None] + np.repeat(step, size)).astype(np.float32)
    inside = (px <= limit[0][:, None]) & (py <= limit[1][:, None])
    weights = np.empty((3, *px.shape), np.float32)
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        # The edge opposite corner a, zero on it and one at the corner.
        slope_x, slope_y = (y[b] - y[c]) / area, (x[c] - x[b]) / area
        weights[a] = slope_x[:, None] * (px - x[b][:, None])
        weights[a] += slope_y[:, None] * (py - y[b][:, None])
        # A hair of tolerance: a pixel on a shared edge goes to one of the two, never to neither.
        inside &= weights[a] >= -1e-4
    row, column = np.nonzero(inside)
    return row, px[row, column], py[row, column], weights[:, row, column]


def _nearest(
    pixel: npt.NDArray[np.intp], inverse_z: Float32, corners: Int32, shares: Float32, pixel_count: int
) -> Fragments:
    """Of all fragments at a pixel the nearest one."""
    order = np.argsort(inverse_z, kind="stable")
    winner = np.full(pixel_count, -1, np.int32)
    # Where an index repeats NumPy keeps the last value, and nearest stands last.
    winner[pixel[order]] = order
    kept = winner[winner >= 0]
    return Fragments(pixel[kept], inverse_z[kept], corners[kept], shares[kept])
