"""Depth maps and masks of bodies, held against rays through every triangle, in float64."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from capture.body.procedural import procedural_body
from capture.body.raster import DepthMap, render_depth
from capture.frames import Intrinsics

LENS = Intrinsics(40, 30, 32.0, 31.0, 19.3, 14.8)


def _person(seed: int, place: tuple[float, float, float]) -> np.ndarray:
    """A body upright before the camera, in some pose, turned some way."""
    rng = np.random.default_rng(seed)
    pose = rng.normal(0, 0.25, (24, 3))
    pose[0] = [np.pi, 0, rng.uniform(-0.5, 0.5)]
    return procedural_body().skin(pose, rng.normal(0, 1, 10), place)


def _by_rays(vertices: np.ndarray) -> np.ndarray:
    """Depth in metres at each pixel, 0 where its ray meets no triangle that faces it."""
    corners = vertices[procedural_body().faces].astype(np.float64)
    out = np.zeros((LENS.height, LENS.width))
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    for row in range(LENS.height):
        for column in range(LENS.width):
            ray = np.array([(column - LENS.cx) / LENS.fx, (row - LENS.cy) / LENS.fy, 1.0])
            facing = normals @ ray < 0
            sides = [np.cross(corners[:, k], corners[:, (k + 1) % 3]) @ ray for k in range(3)]
            hit = facing & (sides[0] <= 0) & (sides[1] <= 0) & (sides[2] <= 0)
            if hit.any():
                place = np.einsum("ni,ni->n", normals[hit], corners[hit, 0]) / (normals[hit] @ ray)
                out[row, column] = place.min()
    return out


@pytest.mark.parametrize("place", [(0, 0, 1.5), (0.2, -0.1, 2.5), (-0.9, 0.4, 1.4), (0, 0, 6.0)])
def test_every_pixel_has_the_depth_of_its_ray_to_a_millimetre(place: tuple[float, float, float]) -> None:
    vertices = _person(1, place)
    expected = _by_rays(vertices)
    seen = render_depth([vertices], procedural_body().faces, LENS)
    assert (seen.depth_m.dtype, seen.people.dtype) == (np.float32, np.uint8)
    assert seen.depth_m.shape == seen.people.shape == (30, 40)
    both = (expected > 0) & (seen.depth_m > 0)
    assert both.sum() > 15
    # On the outline, or where one limb ends before another, rounding may give a pixel to either side.
    assert ((expected > 0) != (seen.depth_m > 0)).sum() <= 1
    wrong = np.abs(seen.depth_m - expected)[both] > 0.001
    assert wrong.sum() <= 1
    assert np.array_equal(seen.people > 0, seen.depth_m > 0)


def _same(a: DepthMap, b: DepthMap) -> bool:
    return np.array_equal(a.depth_m, b.depth_m) and np.array_equal(a.people, b.people)


def test_of_several_people_the_nearest_is_seen_and_named() -> None:
    faces = procedural_body().faces
    people = [_person(1, (0, 0, 2.5)), _person(2, (0.1, 0, 1.8)), _person(3, (-0.3, 0, 3.5))]
    alone = [render_depth([person], faces, LENS).depth_m for person in people]
    together = render_depth(people, faces, LENS)
    depths = np.where(np.stack(alone) > 0, np.stack(alone), np.inf)
    nearest = depths.min(axis=0)
    assert np.array_equal(together.depth_m, np.where(np.isfinite(nearest), nearest, 0))
    assert np.array_equal(together.people, np.where(np.isfinite(nearest), depths.argmin(axis=0) + 1, 0))
    assert set(np.unique(together.people)) == {0, 1, 2, 3}
    backwards = render_depth(people[::-1], faces, LENS)
    assert np.array_equal(backwards.depth_m, together.depth_m)
    assert np.array_equal(
        np.where(backwards.people > 0, 4 - backwards.people.astype(int), 0), together.people
    )


@pytest.mark.parametrize(
    "place", [(0, 0, -2.0), (9.0, 0, 2.0), (0, -9.0, 2.0), (0, 0, -0.2), (1e20, 0, 1.0), (0, 0, 1e30)]
)
def test_nobody_is_seen_who_is_behind_the_camera_or_out_of_view(place: tuple[float, float, float]) -> None:
    faces = procedural_body().faces
    seen = render_depth([_person(1, place)], faces, LENS)
    assert not seen.people.any()
    assert not seen.depth_m.any()
    other = _person(2, (0, 0, 2))
    assert np.array_equal(
        render_depth([_person(1, place), other], faces, LENS).depth_m,
        render_depth([other], faces, LENS).depth_m,
    )


def test_nobody_at_all() -> None:
    seen = render_depth([], procedural_body().faces, LENS)
    assert not seen.depth_m.any()
    assert not seen.people.any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_vertices_at_no_place_leave_out_their_triangles_alone(value: float) -> None:
    faces = procedural_body().faces
    vertices = _person(1, (0, 0, 2))
    whole = render_depth([vertices], faces, LENS).depth_m
    broken = vertices.copy()
    broken[::500, 0] = value
    seen = render_depth([broken], faces, LENS).depth_m
    assert np.isfinite(seen).all()
    assert ((seen > 0) & (whole > 0)).sum() > 0.8 * (whole > 0).sum()
    nothing = render_depth([np.full_like(vertices, value)], faces, LENS)
    assert not nothing.people.any()


def test_a_body_cut_by_the_edge_is_the_cut_out_of_a_whole_one() -> None:
    faces = procedural_body().faces
    vertices = _person(1, (0.3, 0.2, 1.5))
    wide = Intrinsics(120, 90, LENS.fx, LENS.fy, LENS.cx + 40, LENS.cy + 30)
    whole = render_depth([vertices], faces, wide).depth_m
    assert (whole > 0).sum() > (whole[30:60, 40:80] > 0).sum()
    assert np.allclose(render_depth([vertices], faces, LENS).depth_m, whole[30:60, 40:80], atol=1e-5)


@pytest.mark.parametrize("z", [0.06, 0.15, 0.3])
def test_a_body_right_before_the_lens_takes_no_more_memory(z: float) -> None:
    lens = Intrinsics(1280, 720, 900.0, 900.0, 640.0, 360.0)
    vertices = _person(1, (0, 0, z))
    tracemalloc.start()
    try:
        seen = render_depth([vertices], procedural_body().faces, lens)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.isfinite(seen.depth_m).all()
    assert peak_bytes < 500 << 20


def test_too_many_people_and_vertices_of_another_shape_are_refused() -> None:
    faces = procedural_body().faces
    with pytest.raises(ValueError, match="256 people; 255 fit"):
        render_depth([np.zeros((6890, 3), np.float32)] * 256, faces, LENS)
    with pytest.raises(ValueError, match=r"person 1 has vertices of shape \(6890,\)"):
        render_depth([np.zeros(6890, np.float32)], faces, LENS)
