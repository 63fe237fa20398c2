"""Depth pictures become targets in space, and what is not the person is left out."""

from __future__ import annotations

import numpy as np
import pytest

from capture.body.depth_targets import SURFACE_OFFSETS_M, targets_from_depth
from capture.body.views import View

VIEW = View(np.array([600.0, 600.0]), np.array([320.0, 240.0]))
POINTS = np.column_stack([np.linspace(260, 380, 14), np.linspace(100, 400, 14)])


def _wall(at_m: float = 3.0) -> np.ndarray:
    return np.full((480, 640), at_m, np.float32)


def test_a_joint_lies_behind_the_skin_on_its_line_of_sight() -> None:
    targets, weights = targets_from_depth(_wall(), VIEW, POINTS, np.ones(14))
    assert weights.tolist() == [1.0] * 14
    assert np.allclose(targets[:, 2], 3.0 + SURFACE_OFFSETS_M, atol=1e-6)
    assert np.allclose(VIEW.project(targets), POINTS)


def test_sixteen_bits_with_a_scale_are_the_same() -> None:
    exact, _ = targets_from_depth(_wall(), VIEW, POINTS, np.ones(14))
    found, _ = targets_from_depth(
        (_wall() * 1000).astype(np.uint16), VIEW, POINTS, np.ones(14), depth_scale_m=0.001
    )
    assert np.allclose(found, exact, atol=1e-6)


def test_holes_noise_and_the_wall_beside_a_thin_arm_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    depth = _wall() + rng.normal(0, 0.01, (480, 640)).astype(np.float32)
    depth[rng.uniform(size=depth.shape) < 0.5] = 0
    depth[:, : round(POINTS[0, 0]) - 1] = 4.5  # most of the first point's window is left of it
    depth[round(POINTS[5, 1]) - 5 : round(POINTS[5, 1]) + 6] = 0
    depth[round(POINTS[7, 1]) - 5 : round(POINTS[7, 1]) + 6] = np.nan
    targets, weights = targets_from_depth(depth, VIEW, POINTS, np.ones(14))
    assert np.flatnonzero(weights == 0).tolist() == [5, 7]
    assert targets[0, 2] == pytest.approx(3.0 + SURFACE_OFFSETS_M[0], abs=0.02)
    assert not targets[[5, 7]].any()


def test_a_hand_before_the_lens_is_not_the_knee() -> None:
    depth = _wall()
    depth[95:110] = 0.4
    targets, weights = targets_from_depth(depth, VIEW, POINTS, np.ones(14))
    assert weights[0] == 0
    assert weights[1:].all()
    assert not targets[0].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -5.0, 1e9])
def test_points_outside_have_no_target(bad: float) -> None:
    points = POINTS.copy()
    points[3] = bad
    confidences = np.ones(14)
    confidences[4] = 0
    targets, weights = targets_from_depth(_wall(), VIEW, points, confidences)
    assert np.flatnonzero(weights == 0).tolist() == [3, 4]
    assert np.isfinite(targets).all()


def test_no_depth_at_all_is_no_target() -> None:
    assert not targets_from_depth(_wall(0.0), VIEW, POINTS, np.ones(14))[1].any()
