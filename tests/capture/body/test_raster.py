"""The z-buffer, held against a slow one that follows the definition pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from capture.body.raster import project, rasterise
from capture.frames import Intrinsics

LENS = Intrinsics(40, 30, 30.0, 30.0, 19.5, 14.5)
# A tetrahedron whose faces are counter-clockwise from outside.
TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.int32)


def _points(seed: int) -> np.ndarray:
    points = np.random.default_rng(seed).uniform(-1, 1, (4, 3)).astype(np.float32)
    a, b, c, d = points.astype(np.float64)
    if np.dot(np.cross(b - a, c - a), d - a) < 0:
        points[[0, 1]] = points[[1, 0]]
    return points + np.float32([0, 0, 3])


def _slow(points: np.ndarray) -> np.ndarray:
    """1/z of the nearest face at each pixel by intersecting rays, 0 where there is none."""
    image = np.zeros((LENS.height, LENS.width))
    for row in range(LENS.height):
        for column in range(LENS.width):
            ray = np.array([(column - LENS.cx) / LENS.fx, (row - LENS.cy) / LENS.fy, 1.0])
            for face in TETRAHEDRON:
                corners = points[face].astype(np.float64)
                shares = np.linalg.solve(corners.T, ray)
                if (shares > 1e-9).all():
                    image[row, column] = max(image[row, column], shares.sum())
    return image


@pytest.mark.parametrize("seed", range(5))
def test_every_pixel_shows_the_nearest_face_at_its_exact_depth(seed: int) -> None:
    points = _points(seed)
    fragments = rasterise(project(points, LENS), TETRAHEDRON, LENS.width, LENS.height)
    image = np.zeros(LENS.width * LENS.height)
    image[fragments.pixel] = fragments.inverse_z
    expected = _slow(points).ravel()
    # On the outline rounding may give a pixel to either side.
    differs = (image > 0) != (expected > 0)
    assert differs.sum() <= 2
    both = (image > 0) & (expected > 0)
    assert both.sum() > 10
    assert np.allclose(image[both], expected[both], rtol=1e-4)


def test_fragments_come_in_pixel_order_without_repeats_and_blend_their_corners() -> None:
    points = _points(1)
    projected = project(points, LENS)
    fragments = rasterise(projected, TETRAHEDRON, LENS.width, LENS.height)
    assert (np.diff(fragments.pixel) > 0).all()
    assert np.allclose(fragments.shares.sum(axis=1), 1.0, atol=1e-4)
    x = (projected[0][fragments.corners] * fragments.shares).sum(axis=1)
    y = (projected[1][fragments.corners] * fragments.shares).sum(axis=1)
    assert np.allclose(np.rint(y) * LENS.width + np.rint(x), fragments.pixel)


def test_back_faces_and_what_is_behind_the_camera_are_not_drawn() -> None:
    inside_out = TETRAHEDRON[:, ::-1].copy()
    points = _points(2)
    front = rasterise(project(points, LENS), TETRAHEDRON, LENS.width, LENS.height)
    back = rasterise(project(points, LENS), inside_out, LENS.width, LENS.height)
    assert np.intersect1d(front.pixel, back.pixel).size > 0
    common = np.isin(front.pixel, back.pixel)
    assert (front.inverse_z[common] >= back.inverse_z[np.isin(back.pixel, front.pixel)]).all()
    behind = points - np.float32([0, 0, 6])
    assert len(rasterise(project(behind, LENS), TETRAHEDRON, LENS.width, LENS.height).pixel) == 0


def test_a_triangle_larger_than_the_image_fills_it() -> None:
    points = np.array([[-90, 90, 5], [0, -90, 5], [90, 90, 5]], np.float32)
    fragments = rasterise(project(points, LENS), np.array([[0, 2, 1]], np.int32), LENS.width, LENS.height)
    assert len(fragments.pixel) == LENS.width * LENS.height
    assert np.allclose(fragments.inverse_z, 0.2, rtol=1e-4)
