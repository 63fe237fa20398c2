"""A fit from one moment finds the person, in the original's way and in ours, or says that there is none."""

from __future__ import annotations

import numpy as np
import pytest

from capture.body.camera_stage import headings_of, is_side_view
from capture.body.cold import Fit, Mode, fit_cold
from capture.body.kinematics import rotations_of
from capture.body.views import Observation, View
from tests.capture.body.fit_residuals import residuals
from tests.capture.body.walking_people import (
    BODY,
    joint_error_m,
    observed,
    person,
    seen_from,
    walking_prior,
)

PRIOR = walking_prior()


def _fitted(observations: list[Observation], mode: Mode = "fast", **options: int) -> Fit:
    fit = fit_cold(BODY, observations, PRIOR, mode=mode, **options)
    assert fit is not None
    return fit


@pytest.mark.parametrize("mode", ["fast", "smplify"])
@pytest.mark.parametrize("heading", [0.0, 0.7, np.pi, 4.0])
def test_one_view_finds_the_walker(heading: float, mode: Mode) -> None:
    rng = np.random.default_rng(1)
    errors = [
        joint_error_m(
            _fitted(observed(truth := person(k, heading), seen_from(1), rng), mode).parameters(),
            truth,
            relative=True,
        )
        for k in range(0, 30, 6)
    ]
    assert np.mean(errors) < 0.09


@pytest.mark.parametrize(
    ("views", "depth_m", "landmarks_m", "most_m"),
    [(2, None, None, 0.045), (4, None, None, 0.035), (1, 0.03, None, 0.05), (1, None, 0.03, 0.16)],
)
def test_whatever_is_known_in_space_makes_it_better(
    views: int, depth_m: float | None, landmarks_m: float | None, most_m: float
) -> None:
    rng = np.random.default_rng(2)
    errors = []
    for k in range(6):
        truth = person(5 * k, heading=1.1 * k, aside_m=0.4)
        seen = observed(
            truth, seen_from(views), rng, noise_px=3.0, depth_noise_m=depth_m, landmark_noise_m=landmarks_m
        )
        errors.append(joint_error_m(_fitted(seen).parameters(), truth))
    assert np.mean(errors) < most_m


@pytest.mark.parametrize("mode", ["fast", "smplify"])
def test_both_orientations_of_a_side_view_are_tried_and_the_right_one_wins(mode: Mode) -> None:
    rng = np.random.default_rng(5)
    winners, right = [], 0
    for k in range(24):
        heading = (np.pi / 2 if k % 2 else -np.pi / 2) + rng.normal(0, 0.05)
        truth = person(13 * k, heading)
        (seen,) = observed(truth, seen_from(1), rng, noise_px=3.0)
        assert is_side_view(seen, 300 / 350)
        fit = _fitted([seen], mode)
        assert fit.orientations == 2
        winners.append(fit.orientation)
        found_front, true_front = (rotations_of(p[None, :3])[0][:, 2] for p in (fit.pose, truth))
        right += bool(found_front @ true_front > 0)
    assert right >= 23
    assert {0, 1} == set(winners)  # neither orientation would have done alone


def test_more_headings_by_option() -> None:
    (seen,) = observed(person(3, 0.3), seen_from(1), np.random.default_rng(0))
    assert _fitted([seen], "smplify").orientations == 1
    assert _fitted([seen], "smplify", headings=4).orientations == 4
    turned = [rotations_of(each[None])[0] for each in headings_of(np.array([3.0, 0.2, 0.1]), 4)]
    # About the body's own vertical: where it points up stays.
    assert all(np.allclose(rotation[:, 1], turned[0][:, 1]) for rotation in turned)
    assert np.allclose(turned[2][:, 2], -turned[0][:, 2])


def test_the_original_result_is_a_minimum_of_the_original_objective() -> None:
    (seen,) = observed(person(3, 0.3), seen_from(1), np.random.default_rng(0))
    fit = fit_cold(BODY, [seen], PRIOR, mode="smplify", person_height_px=330.0, interpenetration=False)
    assert fit is not None
    found = fit.result_dict()
    assert set(found) == {"cam_t", "f", "pose", "betas"}
    assert [found[key].shape for key in ("cam_t", "f", "pose", "betas")] == [(3,), (2,), (72,), (10,)]
    vector = residuals(
        BODY, PRIOR, seen, 300 / 330, (4.78, 5.0), found["pose"], found["betas"], found["cam_t"]
    )
    assert fit.cost == pytest.approx(vector @ vector, rel=1e-9)
    assert fit.data_cost == pytest.approx(vector[:26] @ vector[:26], rel=1e-9)
    for k in (0, 16, 40, 50):
        for sign in (-1, 1):
            pose = found["pose"].copy()
            pose[k] += sign * 0.1
            worse = residuals(BODY, PRIOR, seen, 300 / 330, (4.78, 5.0), pose, found["betas"], found["cam_t"])
            assert worse @ worse > vector @ vector


def test_the_result_of_a_second_camera_is_in_its_own_frame() -> None:
    views = seen_from(2)
    (seen,) = observed(person(3, 0.3), [views[1]], np.random.default_rng(0))
    alone = View(views[1].focal_px, views[1].centre_px)
    there = _fitted([seen], "smplify").result_dict()
    here = _fitted([Observation(alone, seen.points_px, seen.confidences)], "smplify").result_dict()
    assert np.allclose(there["cam_t"], here["cam_t"], atol=1e-3)
    assert np.allclose(rotations_of(there["pose"][None, :3]), rotations_of(here["pose"][None, :3]), atol=1e-3)


@pytest.mark.parametrize("mode", ["fast", "smplify"])
def test_a_picture_twice_as_large_makes_no_difference(mode: Mode) -> None:
    (seen,) = observed(person(3, 0.3), seen_from(1), np.random.default_rng(0))
    view = seen.view
    large = Observation(View(2 * view.focal_px, 2 * view.centre_px), 2 * seen.points_px, seen.confidences)
    assert np.allclose(_fitted([seen], mode).pose, _fitted([large], mode).pose, atol=1e-6)


@pytest.mark.parametrize("mode", ["fast", "smplify"])
def test_nothing_to_see_is_no_person(mode: Mode) -> None:
    (seen,) = observed(person(3, 0.3), seen_from(1), np.random.default_rng(0))
    for confidences, points in (
        (np.zeros(14), seen.points_px),
        (np.ones(14), np.full((14, 2), np.nan)),
        (np.eye(14)[0] + np.eye(14)[13], seen.points_px),
    ):
        assert fit_cold(BODY, [Observation(seen.view, points, confidences)], PRIOR, mode=mode) is None
    assert fit_cold(BODY, [], PRIOR, mode=mode) is None


@pytest.mark.parametrize("mode", ["fast", "smplify"])
@pytest.mark.parametrize("points", ["one spot", "wild", "upper half", "one leg"])
def test_bad_points_give_numbers_or_nothing(points: str, mode: Mode) -> None:
    rng = np.random.default_rng(0)
    (seen,) = observed(person(3, 0.3), seen_from(1), rng)
    pixels, confidences = seen.points_px.copy(), seen.confidences.copy()
    if points == "one spot":
        pixels[:] = 100.0
    elif points == "wild":
        pixels[:] = rng.uniform(-1e5, 1e5, (14, 2))
    elif points == "upper half":
        confidences[:6] = 0.0
    else:
        confidences[[2, *range(6, 14)]] = 0.0
    fit = fit_cold(BODY, [Observation(seen.view, pixels, confidences)], PRIOR, mode=mode)
    assert fit is None or (np.isfinite(fit.parameters()).all() and np.isfinite(fit.cost))
    if points == "upper half":
        assert fit is not None
        found = fit.parameters()
        assert joint_error_m(found, person(3, 0.3), relative=True) < 0.2


def _hidden(seen: Observation, points: list[int], by_m: float) -> Observation:
    """Depth that shows what is so much nearer than these points, on their lines of sight."""
    assert seen.targets_m is not None
    targets = seen.targets_m.copy()
    targets[points] *= (targets[points, 2:] - by_m) / targets[points, 2:]
    return Observation(seen.view, seen.points_px, seen.confidences, targets)


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_from_the_side_the_depth_of_the_far_shoulder_is_that_of_the_near_one(side: float) -> None:
    """Far shoulder, hip and arm: right ones or left ones, by where the person goes."""
    errors = []
    for k in range(8):
        truth = person(7 * k, heading=side * np.pi / 2)
        (seen,) = observed(truth, seen_from(1), np.random.default_rng(k), noise_px=2.0, depth_noise_m=0.015)
        assert seen.targets_m is not None
        right, left = [2, 6, 7, 8], [3, 11, 10, 9]
        is_right_far = seen.targets_m[8, 2] > seen.targets_m[9, 2]
        hidden = _hidden(seen, right if is_right_far else left, 0.3)
        errors.append(joint_error_m(_fitted([hidden]).parameters(), truth, relative=True))
    assert np.mean(errors) < 0.05
