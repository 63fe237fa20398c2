"""The walk: a closed loop that looks like walking."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from capture.body.anatomy import JOINT_NAMES
from capture.body.gait import Walk
from capture.body.kinematics import split_parameters
from capture.body.procedural import procedural_body

FRAMES = 60


@pytest.fixture(scope="module")
def walk() -> Walk:
    return Walk.lasting(procedural_body(), 2.0)


def _joints(walk: Walk, name: str) -> np.ndarray:
    index = JOINT_NAMES.index(name)
    return np.array([walk.body.pose(walk.parameters(i / FRAMES))[index] for i in range(FRAMES)])


def test_the_loop_closes_and_moves_without_jumps(walk: Walk) -> None:
    assert np.allclose(walk.parameters(0.0), walk.parameters(1.0), atol=1e-9)
    meshes = [walk.body.skin(*split_parameters(walk.parameters(i / FRAMES))) for i in range(FRAMES + 1)]
    steps = [np.linalg.norm(b - a, axis=1).max() for a, b in pairwise(meshes)]
    assert max(steps) < 0.22  # a swinging foot at 6 m/s, at 30 frames per second
    assert min(steps) > 0.03


def test_the_feet_stand_on_the_floor_and_never_go_through_it(walk: Walk) -> None:
    for phase in np.arange(0, 1, 0.083):
        lowest = walk.body.skin(*split_parameters(walk.parameters(phase)))[:, 2].min()
        assert abs(lowest) < 1e-5


def test_the_body_stands_upright_and_looks_where_it_goes(walk: Walk) -> None:
    pelvis, head = _joints(walk, "pelvis"), _joints(walk, "head")
    assert (head[:, 2] - pelvis[:, 2] > 0.5).all()
    ahead = np.roll(pelvis, -1, axis=0) - pelvis
    ankle, toes = _joints(walk, "left_ankle"), _joints(walk, "left_foot")
    along = np.einsum("ni,ni->n", (toes - ankle)[:, :2], ahead[:, :2])
    assert (along > 0).mean() > 0.95


def test_arms_swing_against_the_legs_and_knees_bend(walk: Walk) -> None:
    pelvis = _joints(walk, "pelvis")
    ahead = np.roll(pelvis, -1, axis=0) - np.roll(pelvis, 1, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)

    def forward(name: str) -> np.ndarray:
        return np.einsum("ni,ni->n", _joints(walk, name) - pelvis, ahead)

    assert np.corrcoef(forward("left_wrist"), forward("left_ankle"))[0, 1] < -0.8
    assert np.corrcoef(forward("left_ankle"), forward("right_ankle"))[0, 1] < -0.6
    hip, knee, ankle = (_joints(walk, f"right_{name}") for name in ("hip", "knee", "ankle"))
    leg = np.linalg.norm(hip - ankle, axis=1)
    straight = np.linalg.norm(hip - knee, axis=1) + np.linalg.norm(knee - ankle, axis=1)
    assert (leg / straight).min() < 0.9
    assert (leg / straight).max() > 0.99


@pytest.mark.parametrize("duration_s", [0.2, 1.0, 2.0, 5.0, 30.0])
def test_any_duration_gives_a_closed_walk_in_the_middle_of_the_room(duration_s: float) -> None:
    walk = Walk.lasting(procedural_body(), duration_s)
    assert 0.1 < walk.radius_m <= 0.9
    assert walk.strides == max(1, round(duration_s))
