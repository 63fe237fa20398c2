"""Key points of a posed body agree with its mesh and joints, and their derivatives with differences."""

from __future__ import annotations

import numpy as np
import pytest

from capture.body.kinematics import forward_kinematics, rotations_of
from capture.body.points import POINT_JOINTS, POINT_NAMES, BodyPoints
from capture.body.procedural import procedural_body

BODY = procedural_body()
POINTS = BodyPoints(BODY)


def _pose(kind: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pose = rng.normal(0.0, 0.5, (24, 3))
    if kind == "zero":
        pose[:] = 0.0
    elif kind == "some zero":
        pose[rng.permutation(24)[:12]] = 0.0
    elif kind == "tiny":
        pose *= 1e-7
    elif kind == "near pi":
        lengths = np.linalg.norm(pose, axis=1, keepdims=True)
        pose *= (np.pi + rng.choice([-1e-4, 0.0, 1e-9, 0.3], (24, 1))) / lengths
    return pose.ravel()


KINDS = ["random", "zero", "some zero", "tiny", "near pi"]


@pytest.mark.parametrize("kind", KINDS)
def test_points_are_the_joints_and_the_skinned_vertex(kind: str) -> None:
    pose = _pose(kind, 1)
    betas = np.random.default_rng(2).normal(0, 1, 10)
    points = POINTS.values(pose, betas)
    rest = BODY.rest_joints(betas)
    _, joints = forward_kinematics(rotations_of(pose.reshape(24, 3)), rest, BODY.parents, np.zeros(3))
    assert np.allclose(points[:13], joints[list(POINT_JOINTS)], atol=1e-12)
    vertex = BODY.skin(pose.reshape(24, 3), betas, np.zeros(3))[BODY.head_top_vertex]
    assert np.allclose(points[13], vertex, atol=2e-6)


def test_sides_and_heights_of_the_t_pose_are_those_of_the_names() -> None:
    points = dict(zip(POINT_NAMES, POINTS.values(np.zeros(72), np.zeros(10)), strict=True))
    for name, point in points.items():
        if name.startswith("left_"):
            assert point[0] > 0.05
        elif name.startswith("right_"):
            assert point[0] < -0.05
    assert points["head_top"][1] > points["neck"][1] > points["left_hip"][1] > points["left_ankle"][1]


@pytest.mark.parametrize("every_joint", [False, True])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_agree_with_differences(kind: str, seed: int, every_joint: bool) -> None:
    points = BodyPoints(BODY, every_joint=every_joint)
    at = np.concatenate([_pose(kind, seed), np.random.default_rng(seed).normal(0, 1, 10)])
    analytic = points.jacobian(at[:72], at[72:])
    numeric = np.empty_like(analytic)
    step = 1e-5
    for column in range(82):
        # Fourth order: the error of the difference itself stays below 1e-9.
        values = []
        for times in (-2, -1, 1, 2):
            moved = at.copy()
            moved[column] += times * step
            values.append(points.values(moved[:72], moved[72:]))
        numeric[:, :, column] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
    assert np.abs(analytic - numeric).max() <= 1e-6 * np.abs(numeric).max()
    assert np.abs(analytic - numeric).max() <= 1e-8


def test_the_pose_numbers_that_are_left_out_move_nothing_and_the_others_do() -> None:
    assert len(POINTS.pose_columns) == 48
    pose = _pose("random", 5)
    betas = np.zeros(10)
    other = pose.copy()
    unseen = np.setdiff1d(np.arange(72), POINTS.pose_columns)
    other[unseen] += 1.0
    assert np.array_equal(POINTS.values(pose, betas), POINTS.values(other, betas))
    assert BodyPoints(BODY, every_joint=True).pose_columns.tolist() == list(range(72))
    assert np.abs(POINTS.jacobian(pose, betas)[:, :, POINTS.pose_columns]).max(axis=(0, 1)).min() > 0


def test_the_lean_derivative_has_the_translation_in_its_last_columns() -> None:
    pose = _pose("random", 6)
    lean = POINTS.posed(pose[POINTS.pose_columns], np.zeros(10)).jacobian()
    assert lean.shape == (14, 3, POINTS.column_count) == (14, 3, 61)
    assert np.array_equal(lean[:, :, -3:], np.broadcast_to(np.eye(3), (14, 3, 3)))
