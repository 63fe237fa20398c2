"""Bodies over a picture: they lie where the camera sees them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from capture.frames import CameraInfo, Intrinsics, Matrix4, StreamInfo
from capture.preview.overlay import TINTS, draw_body, project

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
    draw_body(picture, in_pixels(ball()), 600.0, TINTS[0])
    changed = (picture != 90).any(axis=2)
    y, x = np.mgrid[0:480, 0:640]
    distance = np.hypot(x - 322, y - 238)
    radius_px = 600 * 0.3 / 2.0
    assert changed[distance < radius_px - 4].all(), "there are holes in the body"
    assert not changed[distance > radius_px + 6].any(), "the body spills over"


def test_a_body_is_half_transparent_and_shaded_from_the_upper_left() -> None:
    dark, bright = np.full((480, 640, 3), 20, np.uint8), np.full((480, 640, 3), 220, np.uint8)
    for picture in (dark, bright):
        draw_body(picture, in_pixels(ball()), 600.0, TINTS[0])
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
    draw_body(picture, in_pixels(ball(centre=centre)), 600.0, TINTS[0])
    assert picture.shape == (480, 640, 3)
    if centre[2] < 0 or centre[0] == 9.0:
        assert (picture == 90).all()


def test_points_that_are_no_numbers_are_left_out() -> None:
    points = ball()
    points[::7] = np.nan
    picture = np.full((480, 640, 3), 90, np.uint8)
    draw_body(picture, in_pixels(points), 600.0, TINTS[0])
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
    draw_body(alone, in_pixels(front.astype(np.float32)), 600.0, TINTS[0])
    draw_body(both, in_pixels(np.concatenate([back, front]).astype(np.float32)), 600.0, TINTS[0])
    middle = (slice(200, 280), slice(282, 362))
    np.testing.assert_allclose(alone[middle].astype(int), both[middle].astype(int), atol=12)
