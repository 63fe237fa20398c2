"""Cameras project as pinholes do, and observations keep out what cannot be used."""

from __future__ import annotations

import numpy as np
import pytest

from capture.body.kinematics import rotations_of
from capture.body.views import Observation, View


def _view() -> View:
    pose = np.eye(4)
    pose[:3, :3] = rotations_of([[0.3, -0.2, 0.1]])[0]
    pose[:3, 3] = [0.1, 0.2, 3.0]
    return View(np.array([600.0, 610.0]), np.array([320.0, 240.0]), pose)


def test_a_point_on_the_axis_lands_on_the_principal_point_and_right_is_right() -> None:
    view = View(np.array([600.0, 600.0]), np.array([320.0, 240.0]))
    assert np.allclose(view.project(np.array([[0, 0, 2.0]])), [[320, 240]])
    assert np.allclose(view.project(np.array([[0.1, 0.2, 2.0]])), [[350, 300]])
    assert np.isnan(view.project(np.array([[0, 0, -1.0]]))).all()


def test_to_world_undoes_to_camera() -> None:
    points = np.random.default_rng(0).normal(0, 1, (5, 3))
    assert np.allclose(_view().to_world(_view().to_camera(points)), points)


def test_a_picture_of_an_unknown_camera_gets_the_original_focal_length() -> None:
    view = View.of_picture(640, 480)
    assert view.focal_px.tolist() == [5000, 5000]
    assert view.centre_px.tolist() == [320, 240]


@pytest.mark.parametrize(
    ("focal", "centre", "motion"),
    [
        ([600, 0], [320, 240], np.eye(4)),
        ([600, np.nan], [320, 240], np.eye(4)),
        ([600, 600], [320], np.eye(4)),
        ([600, 600], [320, 240], np.diag([1.0, 1, -1, 1])),
        ([600, 600], [320, 240], np.diag([2.0, 2, 2, 1])),
    ],
)
def test_a_wrong_calibration_is_refused(focal: list[float], centre: list[float], motion: np.ndarray) -> None:
    with pytest.raises(ValueError, match="of a view must be"):
        View(np.array(focal), np.array(centre), motion)


def test_what_is_not_a_number_has_no_weight() -> None:
    points = np.full((14, 2), 100.0)
    points[3] = np.nan
    points[4, 0] = np.inf
    points[5] = 1e30
    confidences = np.full(14, 2.0)
    confidences[6] = np.nan
    confidences[7] = -1.0
    targets = np.zeros((14, 3))
    targets[8] = np.nan
    seen = Observation(_view(), points, confidences, targets_m=targets)
    assert np.flatnonzero(seen.confidences == 0).tolist() == [3, 4, 5, 6, 7]
    assert seen.confidences.max() == 1.0
    assert np.isfinite(seen.points_px).all()
    assert seen.targets_m is not None
    assert seen.target_weights is not None
    assert np.isfinite(seen.targets_m).all()
    assert np.flatnonzero(seen.target_weights == 0).tolist() == [8]


def test_landmarks_with_holes_are_not_used_at_all() -> None:
    world = np.zeros((14, 3))
    world[0] = np.nan
    assert Observation(_view(), np.zeros((14, 2)), np.ones(14), world_m=world).world_m is None


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match="points_px"):
        Observation(_view(), np.zeros((13, 2)), np.ones(14))
    with pytest.raises(ValueError, match="target_weights"):
        Observation(_view(), np.zeros((14, 2)), np.ones(14), target_weights=np.ones(14))
