"""Bones over a picture."""

from __future__ import annotations

import numpy as np
import pytest

from capture.keypoints import PersonKeypoints
from capture.keypoints.drawing import LEFT, MIDDLE, RIGHT, draw_joints, draw_people
from capture.keypoints.joint_sets import JOINT_SETS, joint_set


def _standing() -> np.ndarray:
    """Somebody who faces us, in LSP's order, in a picture of 200 x 240."""
    return np.array(
        [
            *((80, 220), (82, 170), (85, 120), (115, 120), (118, 170), (120, 220)),
            *((40, 120), (45, 90), (80, 60), (120, 60), (155, 90), (160, 120)),
            *((100, 55), (100, 20)),
        ],
        dtype=float,
    )


def _colors_near(picture: np.ndarray, a: np.ndarray, b: np.ndarray) -> set[tuple[int, ...]]:
    x, y = ((a + b) / 2).round().astype(int)
    return {tuple(int(v) for v in pixel) for pixel in picture[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3)}


def test_each_bone_is_drawn_in_the_colour_of_its_side() -> None:
    picture = np.zeros((240, 200, 3), np.uint8)
    points = _standing()
    draw_joints(picture, "lsp14", points, np.ones(14))
    assert RIGHT in _colors_near(picture, points[0], points[1])
    assert LEFT in _colors_near(picture, points[4], points[5])
    assert MIDDLE in _colors_near(picture, points[12], points[13])
    assert MIDDLE in _colors_near(picture, points[2], points[3])


def test_a_joint_that_is_not_trusted_takes_its_bones_with_it() -> None:
    points, trust = _standing(), np.ones(14)
    trust[1] = 0.2
    picture = np.zeros((240, 200, 3), np.uint8)
    draw_joints(picture, "lsp14", points, trust)
    assert _colors_near(picture, points[0], points[1]) == {(0, 0, 0)}
    draw_joints(picture, "lsp14", points, trust, least_confidence=0.1)
    assert RIGHT in _colors_near(picture, points[0], points[1])


@pytest.mark.parametrize("wild", [np.nan, np.inf, -np.inf, 1e30, 4e9, -50_000.0])
def test_wild_points_are_left_out(wild: float) -> None:
    points = _standing()
    points[1] = wild
    picture = np.zeros((240, 200, 3), np.uint8)
    draw_joints(picture, "lsp14", points, np.ones(14))
    assert _colors_near(picture, points[0], np.array((82.0, 170.0))) == {(0, 0, 0)}
    assert LEFT in _colors_near(picture, points[4], points[5])


@pytest.mark.parametrize("name", JOINT_SETS)
def test_every_set_can_be_drawn(name: str) -> None:
    count = len(joint_set(name).joints)
    person = PersonKeypoints(name, np.random.default_rng(3).uniform(0, 99, (count, 2)), np.ones(count))
    picture = np.zeros((100, 100, 3), np.uint8)
    draw_people(picture, [person])
    assert {LEFT, RIGHT} <= {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}


def test_a_smaller_picture_takes_smaller_people() -> None:
    picture = np.zeros((120, 100, 3), np.uint8)
    draw_people(picture, [PersonKeypoints("lsp14", _standing(), np.ones(14))], scale=0.5)
    assert picture[100:110, 38:44].any()  # the right ankle
    assert not picture[:, 90:].any()
