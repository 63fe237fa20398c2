"""Points in space from several views, and the motion that carries a body onto them."""

from __future__ import annotations

import numpy as np
import pytest

from capture.body.kinematics import rotations_of, split_parameters
from capture.body.setup import setup_of
from capture.body.starts import start_from_landmarks, starts_in_space
from capture.body.triangulation import kabsch, standing_at, triangulated
from capture.body.views import Observation
from tests.capture.body.walking_people import BODY, POINTS, observed, person, seen_from, walking_prior

SETUP = setup_of(BODY, walking_prior())


def _truth(parameters: np.ndarray) -> np.ndarray:
    pose, betas, translation = split_parameters(parameters)
    return POINTS.values(pose, betas) + translation


@pytest.mark.parametrize("views", [2, 4])
def test_exact_pixels_give_exact_points(views: int) -> None:
    truth = person(3, 0.5)
    points, weights = triangulated(observed(truth, seen_from(views), np.random.default_rng(0), noise_px=0))
    assert np.allclose(points, _truth(truth), atol=1e-9)
    assert (weights > 0).all()


def test_what_one_view_sees_alone_has_no_weight() -> None:
    first, second = observed(person(3, 0.5), seen_from(2), np.random.default_rng(0))
    confidences = first.confidences.copy()
    confidences[4] = 0.0
    _, weights = triangulated([Observation(first.view, first.points_px, confidences), second])
    assert np.flatnonzero(weights == 0).tolist() == [4]


def test_the_same_place_twice_tells_nothing() -> None:
    (seen,) = observed(person(3, 0.5), seen_from(1), np.random.default_rng(0))
    assert not triangulated([seen, seen])[1].any()


def test_kabsch_finds_the_motion_and_refuses_a_line() -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(0, 1, (6, 3))
    rotation = rotations_of([[0.4, 2.0, -0.3]])[0]
    found = kabsch(points, points @ rotation.T + [1, 2, 3], rng.uniform(0.5, 1, 6))
    assert found is not None
    assert np.allclose(found[0], rotation)
    assert np.allclose(found[1], [1, 2, 3])
    line = np.linspace(0, 1, 6)[:, None] * [1.0, 2.0, 3.0]
    assert kabsch(line, line, np.ones(6)) is None
    assert kabsch(points, points, np.array([1.0, 1, 0, 0, 0, 0])) is None
    # A mirror image is no rotation: what comes back is one all the same.
    mirrored = kabsch(points, points * [-1, 1, 1], np.ones(6))
    assert mirrored is not None
    assert np.linalg.det(mirrored[0]) == pytest.approx(1.0)


def test_known_form_in_a_picture_tells_where_it_stands() -> None:
    truth = person(3, 0.5, aside_m=0.5)
    (seen,) = observed(truth, seen_from(1), np.random.default_rng(0), noise_px=0)
    world = _truth(truth)
    hips = world[2:4].mean(axis=0)
    place = standing_at(seen, world - hips)
    assert place is not None
    assert np.allclose(place, hips)


@pytest.mark.parametrize("kind", ["views", "depth", "landmarks"])
def test_the_start_is_near_the_truth(kind: str) -> None:
    truth = person(3, 2.0, aside_m=0.5)
    seen = observed(
        truth,
        seen_from(3 if kind == "views" else 1),
        np.random.default_rng(0),
        noise_px=1.0,
        depth_noise_m=0.01 if kind == "depth" else None,
        landmark_noise_m=0.01 if kind == "landmarks" else None,
    )
    start = start_from_landmarks(SETUP, seen[0]) if kind == "landmarks" else starts_in_space(SETUP, seen)[0]
    assert start is not None
    found, wanted = rotations_of(np.array([start.orientation, truth[:3]]))
    assert np.degrees(np.arccos((np.trace(found @ wanted.T) - 1) / 2)) < 15
    assert np.linalg.norm(start.translation - truth[-3:]) < 0.12


def test_nothing_in_space_is_no_start() -> None:
    (seen,) = observed(person(3, 0.5), seen_from(1), np.random.default_rng(0))
    assert starts_in_space(SETUP, [seen]) == []
    assert start_from_landmarks(SETUP, seen) is None


def test_a_head_that_is_elsewhere_does_not_keep_the_trunk_from_its_place() -> None:
    """The depth of something before it, or somebody who bows deeply."""
    truth = person(3, 0.5)
    (seen,) = observed(truth, seen_from(1), np.random.default_rng(0), depth_noise_m=0.01)
    assert seen.targets_m is not None
    targets = seen.targets_m.copy()
    targets[13] *= 0.3
    (start,) = starts_in_space(SETUP, [Observation(seen.view, seen.points_px, seen.confidences, targets)])
    assert np.linalg.norm(start.translation - truth[-3:]) < 0.12
