"""Rotations and the joint tree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.body.anatomy import PARENTS, template_joints
from capture.body.kinematics import (
    axis_angle_of,
    forward_kinematics,
    join_parameters,
    rotations_of,
    split_parameters,
)

_COORDINATE = st.floats(-3.0, 3.0, allow_nan=False)


def test_a_quarter_turn_about_z_takes_x_to_y() -> None:
    rotation = rotations_of([[0.0, 0.0, np.pi / 2]])[0]
    assert np.allclose(rotation @ [1, 0, 0], [0, 1, 0])


@given(st.tuples(_COORDINATE, _COORDINATE, _COORDINATE))
def test_rotations_are_proper_and_axis_angle_comes_back_as_the_same_rotation(
    vector: tuple[float, ...],
) -> None:
    rotation = rotations_of([vector])[0]
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    again = axis_angle_of(rotation)
    assert np.linalg.norm(again) <= np.pi + 1e-9
    assert np.allclose(rotations_of([again])[0], rotation, atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 1e-13, 1e-9, 1e-5, np.pi - 1e-9, np.pi])
@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, -0.8, 0), (-0.48, 0.6, -0.64)])
def test_tiny_and_half_turns_come_back(angle: float, axis: tuple[float, ...]) -> None:
    rotation = rotations_of([np.array(axis) * angle])[0]
    assert np.allclose(rotations_of([axis_angle_of(rotation)])[0], rotation, atol=1e-9)


def test_bones_keep_their_length_in_every_pose() -> None:
    joints = template_joints()
    pose = np.random.default_rng(3).normal(0, 0.6, (24, 3))
    _, positions = forward_kinematics(rotations_of(pose), joints, PARENTS, [1.0, 2.0, 3.0])
    assert np.allclose(positions[0], joints[0] + [1, 2, 3])
    for child, parent in enumerate(PARENTS[1:], start=1):
        rest = np.linalg.norm(joints[child] - joints[parent])
        assert np.linalg.norm(positions[child] - positions[parent]) == pytest.approx(rest)


def test_every_joint_is_where_a_walk_from_its_parent_leads() -> None:
    joints = template_joints()
    rotations = rotations_of(np.random.default_rng(4).normal(0, 0.9, (24, 3)))
    world, positions = forward_kinematics(rotations, joints, PARENTS, [1.0, 2.0, 3.0])
    assert np.allclose(world[0], rotations[0])
    for child, parent in enumerate(PARENTS[1:], start=1):
        assert np.allclose(world[child], world[parent] @ rotations[child], atol=1e-12)
        reached = positions[parent] + world[parent] @ (joints[child] - joints[parent])
        assert np.allclose(positions[child], reached, atol=1e-12)


def test_parameters_split_and_join_in_smpl_order() -> None:
    parameters = np.arange(85.0)
    pose, betas, translation = split_parameters(parameters)
    assert pose[23].tolist() == [69, 70, 71]
    assert betas[0] == 72
    assert translation.tolist() == [82, 83, 84]
    assert np.array_equal(join_parameters(pose, betas, translation), parameters)
