"""The camera stage places a T-pose: from one start where left and right are plain, from both where not."""

from __future__ import annotations

import numpy as np
import pytest

from capture.body.camera_stage import depth_in_picture, place, scale_at
from capture.body.kinematics import axis_angle_of, join_parameters, rotations_of
from capture.body.prior import default_prior
from capture.body.setup import setup_of
from tests.capture.body.walking_people import BETAS, BODY, observed, seen_from

SETUP = setup_of(BODY, default_prior())


@pytest.mark.parametrize("roll", [0.0, 1.2, np.pi / 2, np.pi, -2.0])
@pytest.mark.parametrize("heading", [0.0, 0.9, np.pi / 2, 2.2, np.pi, -1.3])
def test_the_torso_is_found_upright_lying_and_upside_down(heading: float, roll: float) -> None:
    facing, turn, tilt = rotations_of([[np.pi, 0, 0], [0, heading, 0], [0, 0, roll]])
    truth = join_parameters(
        np.concatenate([axis_angle_of(tilt @ facing @ turn), np.zeros(69)]), BETAS, [0, 0, 3.0]
    )
    (seen,) = observed(truth, seen_from(1), np.random.default_rng(0), noise_px=0.5)
    depth_m = depth_in_picture(SETUP, seen)
    assert depth_m is not None
    start = place(SETUP, seen, scale_at(SETUP, depth_m, seen), depth_m)
    found = rotations_of(start.orientation[None])[0]
    true = tilt @ facing @ turn
    if abs(np.cos(heading)) > 0.3:  # from the side front and back look alike
        angle = np.arccos(np.clip((np.trace(found.T @ true) - 1) / 2, -1, 1))
        assert angle < 0.45
