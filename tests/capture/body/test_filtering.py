"""The filter fades what is known, adds what is seen, and follows a movement."""

from __future__ import annotations

import numpy as np
import pytest

from capture.body.filtering import BodyFilter, Mobility, Moments
from capture.body.kinematics import rotations_of
from capture.body.points import BodyPoints
from capture.body.procedural import procedural_body
from capture.body.terms import Layout

LAYOUT = Layout.of(BodyPoints(procedural_body()))
COUNT = LAYOUT.count


def _information(seed: int = 0) -> np.ndarray:
    roots = np.random.default_rng(seed).normal(0, 1, (COUNT, 2 * COUNT))
    return 100.0 * roots @ roots.T


def _filter(x: np.ndarray | None = None) -> BodyFilter:
    return BodyFilter(LAYOUT, Mobility(), np.zeros(COUNT) if x is None else x, _information(), 10.0)


@pytest.mark.parametrize(("later_s", "grown_s"), [(0.04, 0.04), (0.2, 0.2 * (1 + 0.15 / 0.1))])
def test_certainty_fades_as_the_covariance_grows(later_s: float, grown_s: float) -> None:
    growth = np.diag(grown_s * Mobility().variances(LAYOUT))
    expected = np.linalg.inv(np.linalg.inv(_information()) + growth)
    faded = _filter().faded(10.0 + later_s)
    assert np.allclose(faded, expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max())
    assert np.array_equal(faded, faded.T)
    assert np.linalg.eigvalsh(faded).min() > 0


def test_nothing_fades_in_no_time_and_backwards() -> None:
    for time_s in (10.0, 9.0):
        assert np.array_equal(_filter().faded(time_s), _information())


def test_after_a_long_time_little_is_known_but_the_shape() -> None:
    faded = np.linalg.inv(_filter().faded(1000.0))
    before = np.linalg.inv(_information())
    assert (np.diag(faded)[: LAYOUT.pose_count] > 10 * np.diag(before)[: LAYOUT.pose_count]).all()
    assert Mobility().variances(LAYOUT)[LAYOUT.shape].max() < 2e-3 * Mobility().variances(LAYOUT)[0]


def test_a_movement_goes_on_for_a_while_and_dies_away() -> None:
    moving = _filter()
    for step in range(1, 30):
        x = np.full(COUNT, 0.01 * step)
        moving.corrected(x, _information(), 10.0 + step / 30)
    now = moving.time_s
    assert moving.predicted(now)[0] == pytest.approx(0.29)
    assert moving.predicted(now + 1 / 30)[0] == pytest.approx(0.2985, abs=0.002)
    assert moving.predicted(now + 60)[0] < 0.29 + 0.3 * 0.11
    # The shape of a person has no velocity.
    assert np.allclose(moving.predicted(now + 1 / 30)[LAYOUT.shape], 0.29)


def test_two_sights_at_one_moment_do_not_make_a_leap() -> None:
    twice = _filter()
    twice.corrected(np.full(COUNT, 0.01), _information(), 10.0)
    twice.corrected(np.full(COUNT, 0.02), _information(), 10.0)
    assert np.abs(twice.predicted(11.0)).max() < 0.02 + 0.02 * 3


def test_cameras_that_correct_each_other_moment_by_moment_make_nothing_swing() -> None:
    """Four times a second one camera says a little too much and another one takes it back: at no time does
    that come to a speed."""
    slow = _filter()
    for moment in range(1, 20):
        now = 10.0 + 0.25 * moment
        slow.corrected(slow.predicted(now) + 0.1, _information(), now)
        slow.corrected(np.zeros(COUNT), _information(), now + 0.003)
        assert np.abs(slow.predicted(now + 0.25)).max() < 0.05


def test_a_moment_is_what_lies_near_together() -> None:
    moments = Moments(10.0)
    pauses = []
    for time_s in (10.25, 10.253, 10.256, 10.5, 10.5, 10.533, 10.566, 10.9, 10.8):
        pauses.append(moments.pause_s(time_s))
        moments.note(time_s)
    assert pauses == pytest.approx([0.25, 0.247, 0.244, 0.244, 0.244, 0.211, 0.178, 0.334, 0.334])


def test_a_root_beyond_half_a_turn_is_told_the_shorter_way_and_nothing_else_changes() -> None:
    axis = np.array([0.6, 0.0, 0.8])
    start = np.zeros(COUNT)
    start[:3] = 1.3 * np.pi * axis
    wound = BodyFilter(LAYOUT, Mobility(), np.zeros(COUNT), _information(), 10.0)
    wound.corrected(start, _information(), 10.1)
    assert np.linalg.norm(wound.x[:3]) == pytest.approx(0.7 * np.pi)
    assert np.allclose(rotations_of(wound.x[None, :3]), rotations_of(start[None, :3]))
    # The same small turn costs the same in both ways of telling it.
    turn = rotations_of([[1e-5, -2e-5, 1.5e-5]])[0]
    costs = []
    for vector, information in ((start[:3], _information()), (wound.x[:3], wound.faded(10.1))):
        wanted = turn @ rotations_of(vector[None])[0]
        away = np.zeros(COUNT)
        for _ in range(20):  # the step whose rotation is the turned one, by Newton with differences
            J = np.column_stack(
                [
                    (
                        rotations_of((vector + away[:3] + h)[None])
                        - rotations_of((vector + away[:3] - h)[None])
                    ).ravel()
                    / 2e-6
                    for h in 1e-6 * np.eye(3)
                ]
            )
            miss = (wanted - rotations_of((vector + away[:3])[None])[0]).ravel()
            away[:3] += np.linalg.lstsq(J, miss, rcond=None)[0]
        away[4] = 1e-5
        costs.append(away @ information @ away)
    assert costs[0] == pytest.approx(costs[1], rel=1e-3)
