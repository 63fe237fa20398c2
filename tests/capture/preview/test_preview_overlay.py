"""Bodies over a picture: they lie where the camera sees them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from capture.body.procedural import procedural_body
from capture.frames import CameraInfo, Intrinsics, Matrix4, StreamInfo
from capture.preview.overlay import TINTS, Body, draw_bodies, project

Float32 = np.ndarray[Any, np.dtype[np.float32]]

LENS = Intrinsics(640, 480, 600.0, 605.0, 322.0, 238.0)
COLOR = StreamInfo("color", "bgr8", 640, 480, 30.0, LENS)


def pose(turn: tuple[float, float, float], shift: tuple[float, float, float]) -> Matrix4:
    matrix = np.eye(4)
    matrix[:3, :3] = cv2.Rodrigues(np.array(turn))[0]
    matrix[:3, 3] = shift
    a, b, c, d = (tuple(row) for row in matrix.tolist())
    return (a, b, c, d)


def ball(radius_m: float = 0.3, centre: tuple[float, float, float] = (0.0, 0.0, 2.0)) -> Float32:
    """Points spread evenly over a sphere, as those of a body model are over a body."""
    count = 6890
    height = np.linspace(-1, 1, count)
    turn = np.arange(count) * np.pi * (3 - np.sqrt(5))
    across = np.sqrt(1 - height * height)
    around = np.column_stack([across * np.cos(turn), height, across * np.sin(turn)])
    return (radius_m * around + centre).astype(np.float32)


def globe(
    radius_m: float = 0.3, centre: tuple[float, float, float] = (0.0, 0.0, 2.0)
) -> tuple[Float32, np.ndarray]:
    """A sphere of triangles, which face outwards."""
    rings, around = 40, 60
    up, turn = np.meshgrid(np.linspace(0, np.pi, rings), np.linspace(0, 2 * np.pi, around), indexing="ij")
    points = np.stack([np.sin(up) * np.cos(turn), -np.cos(up), np.sin(up) * np.sin(turn)], axis=-1)
    corner = (np.arange(rings - 1)[:, None] * around + np.arange(around - 1)).ravel()
    below = corner + around
    faces = np.concatenate(
        [np.stack([corner, below, corner + 1], 1), np.stack([corner + 1, below, below + 1], 1)]
    )
    return (radius_m * points.reshape(-1, 3) + centre).astype(np.float32), faces.astype(np.int32)


def in_pixels(points: Float32) -> Float32:
    seen = project(points, CameraInfo("a", "test", "", (COLOR,)), COLOR)
    assert seen is not None
    return seen


@pytest.mark.parametrize("coefficients", [(), (0.0,) * 5, (0.11, -0.2, 0.001, -0.002, 0.05)])
def test_points_fall_where_opencv_projects_them(coefficients: tuple[float, ...]) -> None:
    world_from_camera = pose((0.1, -0.4, 0.05), (0.3, -0.2, -1.0))
    camera_from_stream = pose((0.0, 0.01, 0.0), (0.015, 0.0, 0.0))
    lens = replace(LENS, model="brown_conrady", coefficients=coefficients)
    stream = replace(COLOR, intrinsics=lens, camera_from_stream=camera_from_stream)
    camera = CameraInfo("a", "test", "", (stream,), world_from_camera=world_from_camera)
    points = np.random.default_rng(2).uniform((-0.5, -0.5, 1.0), (0.5, 0.5, 3.0), (50, 3)).astype(np.float32)

    stream_from_world = np.linalg.inv(np.array(world_from_camera) @ np.array(camera_from_stream))
    matrix = np.array([[lens.fx, 0, lens.cx], [0, lens.fy, lens.cy], [0, 0, 1]])
    turn = cv2.Rodrigues(stream_from_world[:3, :3])[0]
    expected, _ = cv2.projectPoints(
        points.astype(np.float64),
        turn,
        stream_from_world[:3, 3],
        matrix,
        np.array(coefficients or (0.0,) * 5),
    )
    seen = project(points, camera, stream)
    assert seen is not None
    np.testing.assert_allclose(seen[:, :2], expected[:, 0], atol=0.02)
    depth = points @ stream_from_world[2, :3] + stream_from_world[2, 3]
    np.testing.assert_allclose(seen[:, 2], depth, atol=1e-4)


@pytest.mark.parametrize("lens", [None, replace(LENS, model="ftheta", coefficients=(0.9,))])
def test_an_unknown_lens_shows_no_body(lens: Intrinsics | None) -> None:
    stream = replace(COLOR, intrinsics=lens)
    assert project(ball(), CameraInfo("a", "test", "", (stream,)), stream) is None


def test_points_fall_where_a_fisheye_lens_shows_them() -> None:
    lens = replace(LENS, model="kannala_brandt4", coefficients=(0.02, -0.01, 0.003, -0.001))
    stream = replace(COLOR, intrinsics=lens)
    seen = project(ball(centre=(0.9, 0.5, 1.2)), CameraInfo("a", "test", "", (stream,)), stream)
    assert seen is not None
    matrix = np.array([[lens.fx, 0, lens.cx], [0, lens.fy, lens.cy], [0, 0, 1]])
    expected, _ = cv2.fisheye.projectPoints(
        ball(centre=(0.9, 0.5, 1.2)).astype(np.float64)[:, None],
        np.zeros(3),
        np.zeros(3),
        matrix,
        np.array(lens.coefficients),
    )
    np.testing.assert_allclose(seen[:, :2], expected[:, 0], atol=0.02)


def test_a_body_covers_what_it_should_and_nothing_else() -> None:
    picture = np.full((480, 640, 3), 90, np.uint8)
    draw_bodies(picture, [Body(in_pixels(ball()), TINTS[0])], 600.0)
    changed = (picture != 90).any(axis=2)
    y, x = np.mgrid[0:480, 0:640]
    distance = np.hypot(x - 322, y - 238)
    radius_px = 600 * 0.3 / 2.0
    assert changed[distance < radius_px - 4].all(), "there are holes in the body"
    assert not changed[distance > radius_px + 6].any(), "the body spills over"


def test_a_body_is_half_transparent_and_shaded_from_the_upper_left() -> None:
    dark, bright = np.full((480, 640, 3), 20, np.uint8), np.full((480, 640, 3), 220, np.uint8)
    for picture in (dark, bright):
        draw_bodies(picture, [Body(in_pixels(ball()), TINTS[0])], 600.0)
    behind = bright[238, 322].astype(int) - dark[238, 322]
    assert (behind > 30).all(), "what lies behind does not shine through"
    assert (behind < 120).all(), "the body itself is hardly seen"
    upper_left, lower_right = dark[200, 284].astype(int), dark[276, 360].astype(int)
    assert upper_left.sum() > lower_right.sum() + 60


@pytest.mark.parametrize(
    "centre",
    [
        (0.0, 0.0, -2.0),
        (9.0, 0.0, 2.0),
        (1.0, 0.75, 2.0),
        (-1.05, -0.8, 2.0),
        (0.0, 0.0, 0.2),
        (0.0, 0.0, 0.0),
    ],
)
def test_a_body_beside_behind_or_around_the_camera_breaks_nothing(
    centre: tuple[float, float, float],
) -> None:
    picture = np.full((480, 640, 3), 90, np.uint8)
    draw_bodies(picture, [Body(in_pixels(ball(centre=centre)), TINTS[0])], 600.0)
    assert picture.shape == (480, 640, 3)
    if centre[2] < 0 or centre[0] == 9.0:
        assert (picture == 90).all()


def test_points_that_are_no_numbers_are_left_out() -> None:
    points = ball()
    points[::7] = np.nan
    picture = np.full((480, 640, 3), 90, np.uint8)
    draw_bodies(picture, [Body(in_pixels(points), TINTS[0])], 600.0)
    assert (picture != 90).any()


def test_the_nearer_side_is_what_is_seen() -> None:
    """A plate in front of another one: the shading is that of the front, which faces us."""
    grid = np.stack(np.meshgrid(np.linspace(-0.3, 0.3, 60), np.linspace(-0.3, 0.3, 60)), axis=-1).reshape(
        -1, 2
    )
    front = np.column_stack([grid, np.full(len(grid), 2.0)])
    back = np.column_stack([grid, 2.6 + grid[:, 0]])
    alone = np.zeros((480, 640, 3), np.uint8)
    both = np.zeros((480, 640, 3), np.uint8)
    draw_bodies(alone, [Body(in_pixels(front.astype(np.float32)), TINTS[0])], 600.0)
    draw_bodies(both, [Body(in_pixels(np.concatenate([back, front]).astype(np.float32)), TINTS[0])], 600.0)
    middle = (slice(200, 280), slice(282, 362))
    np.testing.assert_allclose(alone[middle].astype(int), both[middle].astype(int), atol=12)


# ---- with triangles ----------------------------------------------------------------------------------------


def drawn(*bodies: Body, size: tuple[int, int] = (640, 480), grey: int = 90) -> np.ndarray:
    picture = np.full((size[1], size[0], 3), grey, np.uint8)
    draw_bodies(picture, bodies, 600.0)
    return picture


def of_globe(tint: int = 0, **where: Any) -> Body:
    points, faces = globe(**where)
    return Body(in_pixels(points), TINTS[tint], faces)


def changed(picture: np.ndarray, grey: int = 90) -> np.ndarray:
    return np.asarray((picture != grey).any(axis=2))


def test_a_mesh_covers_exactly_what_its_triangles_cover() -> None:
    body = procedural_body()
    pose = np.zeros(72)
    pose[:3] = (np.pi, 0.0, 0.0)
    pixels = in_pixels(body.skin(pose, np.zeros(10), (0.1, 0.1, 2.6)))
    seen = changed(drawn(Body(pixels, TINTS[0], body.faces)))
    mask = np.zeros((480, 640), np.uint8)
    for triangle in np.rint(16 * pixels[body.faces, :2]).astype(np.int32):
        cv2.fillConvexPoly(mask, triangle, 1, shift=4)
    # OpenCV fills the pixels that an edge goes through, too.
    inside = cv2.erode(mask, np.ones((5, 5), np.uint8)) > 0
    outside = cv2.dilate(mask, np.ones((3, 3), np.uint8)) == 0
    assert inside.sum() > 10_000
    assert seen[inside].all(), "there are holes in the body"
    assert not seen[outside].any(), "the body spills over"


def test_a_mesh_is_half_transparent_and_shaded_from_the_upper_left() -> None:
    dark, bright = drawn(of_globe(), grey=20), drawn(of_globe(), grey=220)
    behind = bright[238, 322].astype(int) - dark[238, 322]
    assert (behind > 30).all(), "what lies behind does not shine through"
    assert (behind < 120).all(), "the body itself is hardly seen"
    upper_left, lower_right = dark[200, 284].astype(int), dark[276, 360].astype(int)
    assert upper_left.sum() > lower_right.sum() + 60


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("without", [None, 0, 1])
def test_the_nearer_of_two_people_is_seen_in_their_own_colour(
    order: tuple[int, int], without: int | None
) -> None:
    """Whichever comes first, and also where one of them has no triangles."""
    pair = [of_globe(0, centre=(-0.1, 0.0, 2.0)), of_globe(1, centre=(0.15, 0.0, 2.6))]
    if without is not None:
        pair[without] = replace(pair[without], faces=None)
    both = drawn(*(pair[k] for k in order), grey=0)
    alone = [drawn(each, grey=0) for each in pair]
    near, far = changed(alone[0], 0), changed(alone[1], 0)
    core = cv2.erode(near.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert (core & far).sum() > 3000
    np.testing.assert_array_equal(both[core], alone[0][core])
    behind = far & (cv2.dilate(near.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0)
    assert behind.sum() > 3000
    np.testing.assert_array_equal(both[behind], alone[1][behind])


def test_large_pictures_and_crowds_are_drawn_coarsely_but_in_their_place() -> None:
    zoom = np.float32([3, 3, 1])
    large = replace(of_globe(), pixels=of_globe().pixels * zoom)
    seen = changed(drawn(large, size=(1920, 1440)))
    y, x = np.mgrid[0:1440, 0:1920]
    distance = np.hypot(x - 3 * 322, y - 3 * 238)
    radius_px = 3 * 600 * 0.3 / np.sqrt(2.0**2 - 0.3**2)
    assert seen[distance < radius_px - 8].all()
    assert not seen[distance > radius_px + 8].any()
    crowd = [of_globe(k % 5, centre=(0.01 * k, 0.0, 2.0 + 0.01 * k)) for k in range(300)]
    assert changed(drawn(*crowd)).any()


@pytest.mark.parametrize(
    "centre", [(0.0, 0.0, -2.0), (9.0, 0.0, 2.0), (1.0, 0.75, 2.0), (-1.05, -0.8, 2.0), (0.0, 0.0, 0.2)]
)
def test_a_mesh_beside_behind_or_around_the_camera_breaks_nothing(
    centre: tuple[float, float, float],
) -> None:
    picture = drawn(of_globe(centre=centre))
    if centre[2] < 0 or centre[0] == 9.0:
        assert (picture == 90).all()


def test_vertices_that_are_no_numbers_take_only_their_triangles_away() -> None:
    body = of_globe()
    pixels = body.pixels.copy()
    pixels[::50] = np.nan
    seen, whole = changed(drawn(replace(body, pixels=pixels))), changed(drawn(body))
    assert not (seen & ~whole).any()
    assert 0.6 * whole.sum() < seen.sum() < whole.sum()
