"""A body does not run through itself: the cost, its derivatives, and a hand that is fitted out of a belly."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from capture.body.cold import Mode, fit_cold
from capture.body.kinematics import forward_kinematics, join_parameters, rotations_of
from capture.body.points import BodyPoints
from capture.body.prior import PosePrior
from capture.body.spheres import PAIRS, Spheres, spheres_of
from tests.capture.body.walking_people import BETAS, BODY, observed, seen_from, walking_poses

POINTS = BodyPoints(BODY, every_joint=True)
SPHERES = spheres_of(BODY)


@lru_cache(maxsize=1)
def hands_in_the_belly() -> np.ndarray:
    """(72,) of somebody who faces the camera, upper arms forward, forearms back into the trunk."""
    pose = np.zeros((24, 3))
    pose[0] = [np.pi, 0.0, 0.0]
    pose[16], pose[17] = [1.13, -1.04, -1.31], [1.13, 1.04, 1.31]
    pose[18], pose[19] = [0.0, -1.3, 0.0], [0.0, 1.3, 0.0]
    return pose.ravel()


def cost_of(pose: np.ndarray, betas: np.ndarray = BETAS, spheres: Spheres = SPHERES) -> float:
    return spheres.at(POINTS.posed(pose, betas)).cost


def test_the_cost_is_that_of_the_paper_over_pairs_of_spheres() -> None:
    pose = hands_in_the_belly() + np.random.default_rng(0).normal(0, 0.05, 72)
    centres, radii = SPHERES.placed(POINTS.posed(pose, BETAS))
    owners = SPHERES.capsules
    expected, pairs = 0.0, 0
    for a in range(len(centres)):
        for b in range(len(centres)):
            if (owners[a], owners[b]) in PAIRS:
                reach = (0.3 * radii[a]) ** 2 + (0.3 * radii[b]) ** 2
                expected += 1e6 * np.exp(-((centres[a] - centres[b]) ** 2).sum() / reach)
                pairs += 1
    assert pairs == SPHERES.pair_count
    assert expected > 1e4
    assert cost_of(pose) == pytest.approx(expected, rel=1e-9)


def test_spheres_ride_on_their_joints() -> None:
    """As long in the turned body as at rest from the joint that carries them, and turned with it."""
    pose = np.random.default_rng(1).normal(0, 0.4, 72)
    posed, _ = SPHERES.placed(POINTS.posed(pose, BETAS))
    rest, _ = SPHERES.placed(POINTS.posed(np.zeros(72), BETAS))
    rest_joints = BODY.rest_joints(BETAS)
    world, joints = forward_kinematics(
        rotations_of(pose.reshape(24, 3)), rest_joints, BODY.parents, np.zeros(3)
    )
    carriers = SPHERES.joints
    expected = np.einsum("sij,sj->si", world[carriers], rest - rest_joints[carriers]) + joints[carriers]
    assert np.allclose(posed, expected, atol=1e-12)


def test_derivatives_by_the_pose_agree_with_differences_and_shape_is_left_alone() -> None:
    pose = hands_in_the_belly() + np.random.default_rng(2).normal(0, 0.1, 72)
    state = SPHERES.at(POINTS.posed(pose, BETAS))
    pull, stiffness = np.zeros(85), np.zeros((85, 85))
    state.add_to(pull, stiffness)
    differences = [
        (cost_of(pose + step) - cost_of(pose - step)) / 4e-6 for step in 1e-6 * np.eye(72)
    ]  # twice the step, and the pull is half of the gradient
    assert np.abs(differences).max() > 1e3
    assert np.abs(pull[:72] - differences).max() < 1e-6 * np.abs(pull).max()
    assert not pull[72:].any()
    assert not stiffness[72:].any()
    assert np.linalg.eigvalsh(stiffness)[0] > -1e-9 * np.abs(stiffness).max()


def test_who_stands_or_walks_does_not_touch_himself() -> None:
    assert cost_of(np.zeros(72), np.zeros(10)) < 1e-3
    assert max(cost_of(pose) for pose in walking_poses()) < 1.0


@pytest.mark.parametrize("mode", ["smplify", "fast"])
def test_a_hand_is_fitted_out_of_the_belly(mode: Mode) -> None:
    """Prior and picture both say that the hands are inside; the picture is explained as well without."""
    pose = hands_in_the_belly()
    truth = join_parameters(pose, BETAS, [0.0, 0.0, 3.0])
    seen = observed(truth, seen_from(1), np.random.default_rng(0), noise_px=1.0)
    prior = PosePrior.from_mixture([pose[3:]], [0.05 * np.eye(69)], [1.0])
    fits = [fit_cold(BODY, seen, prior, mode=mode, interpenetration=on) for on in (False, True)]
    inside, outside = fits
    assert inside is not None
    assert outside is not None
    assert cost_of(inside.pose, inside.betas) > 1e5
    assert cost_of(outside.pose, outside.betas) < 10.0
    assert outside.data_cost < inside.data_cost + 20.0
    unasked = fit_cold(BODY, seen, prior, mode=mode)
    assert unasked is not None
    asked = outside if mode == "smplify" else inside
    assert np.array_equal(unasked.pose, asked.pose)  # the original keeps out of itself, ours when told to


@pytest.mark.parametrize("numbers", [np.nan, np.inf])
def test_nonsense_is_no_cost_that_a_solver_would_take(numbers: float) -> None:
    pose = np.zeros(72)
    pose[50] = numbers
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(cost_of(pose))
