"""Mocap clips as poses of the procedural body: its joints lie upon theirs, its hinges bend as in people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capture.body.anatomy import JOINT_NAMES
from capture.body.procedural import procedural_body
from scripts.bench import _motion_poses
from scripts.bench._mesh_clips import HELD_OUT_CLIPS, MOTIONS, around_one_spot, load
from scripts.bench._motion_poses import Motion, fitted, joint_errors_m, motion_poses
from tests.walking_points import CLIP_NAME, stored, walker

# Seven centimetres in a thirtieth of a second at the end of an outstretched arm.
_FASTEST_RAD_A_FRAME = 1.2


def angles_deg(motion: Motion, name: str, axis: int) -> np.ndarray:
    return np.degrees(motion.pose[:, JOINT_NAMES.index(name), axis])


def test_the_joints_of_the_walker_are_found_again() -> None:
    points, truth = walker()
    motion = fitted(points, procedural_body())
    assert joint_errors_m(motion, points, procedural_body()).max() < 0.015
    parameters = np.concatenate(
        [motion.pose.reshape(len(points), -1), np.tile(motion.betas, (len(points), 1)), motion.translation],
        axis=1,
    )
    joints = np.array([procedural_body().pose(row) for row in parameters])
    assert np.linalg.norm(joints - truth, axis=2).mean() < 0.02


def test_elbows_and_knees_are_hinges() -> None:
    motion = fitted(walker()[0], procedural_body())
    for name, axis, sign in (
        ("left_elbow", 1, -1.0),
        ("right_elbow", 1, 1.0),
        ("left_knee", 0, 1.0),
        ("right_knee", 0, 1.0),
    ):
        assert (sign * angles_deg(motion, name, axis)).min() > -2.0
        others = np.delete(motion.pose[:, JOINT_NAMES.index(name)], axis, axis=1)
        assert np.abs(others).max() < 0.15


def test_a_larger_person_is_a_larger_body() -> None:
    points = 1.1 * walker()[0]
    motion = fitted(points, procedural_body())
    assert joint_errors_m(motion, points, procedural_body()).mean() < 0.02
    legs = procedural_body().rest_joints(motion.betas)[JOINT_NAMES.index("left_ankle"), 1]
    assert legs == pytest.approx(1.1 * procedural_body().joints[JOINT_NAMES.index("left_ankle"), 1], rel=0.02)


def test_what_was_fitted_once_is_read_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    motions = stored(tmp_path / "motions.npz", walker()[0])
    first = motion_poses(CLIP_NAME, procedural_body(), motions=motions, cache=tmp_path / "cache")
    monkeypatch.setattr(_motion_poses, "fitted", None)
    again = motion_poses(CLIP_NAME, procedural_body(), motions=motions, cache=tmp_path / "cache")
    for a, b in (
        (first.pose, again.pose),
        (first.betas, again.betas),
        (first.translation, again.translation),
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(not MOTIONS.is_file(), reason="the mocap clips (shared/data/mocap) are not here")
@pytest.mark.parametrize("name", [name for name in HELD_OUT_CLIPS if name.startswith("cmu/")])
def test_real_motion_is_followed_without_a_jump(name: str, tmp_path: Path) -> None:
    points = around_one_spot(load(name))
    motion = motion_poses(name, procedural_body(), cache=tmp_path)
    errors = joint_errors_m(motion, points, procedural_body())
    assert errors.mean() < 0.025
    assert np.percentile(errors, 99) < 0.06
    assert np.abs(np.diff(motion.pose[:, 1:], axis=0)).max() < _FASTEST_RAD_A_FRAME
    for name_, axis, sign in (("left_elbow", 1, -1), ("right_elbow", 1, 1), ("left_knee", 0, 1)):
        assert np.percentile(sign * angles_deg(motion, name_, axis), 1) > -10.0
