"""Each camera has its own doubts, for a while, and remembers what it saw last."""

from __future__ import annotations

import numpy as np

from capture.body.doubts import Doubts
from capture.body.views import Observation, View


def _seen(camera: int) -> Observation:
    """A view is made anew each time: it is the camera that counts."""
    place = np.eye(4)
    place[0, 3] = camera
    view = View(np.full(2, 600.0), np.full(2, 240.0), place)
    return Observation(view, np.zeros((14, 2)), np.ones(14))


def _looked(doubts: Doubts, time_s: float, *cameras: int) -> list[Observation]:
    seen = [_seen(camera) for camera in cameras]
    doubts.look(time_s, seen)
    return seen


def test_a_camera_that_is_fitted_does_not_answer_for_another_one() -> None:
    doubts = Doubts(0.15, 0.0)
    searches = []
    for tenth in range(1, 6):
        now = 0.1 * tenth
        doubts.fit(_looked(doubts, now, 0))
        searches.append(doubts.refuse(now, _looked(doubts, now, 1)))
    assert searches == [False, False, True, False, True]


def test_one_sight_that_fits_ends_the_doubt_of_its_camera() -> None:
    doubts = Doubts(0.15, 0.0)
    assert not doubts.refuse(0.0, _looked(doubts, 0.0, 1))
    assert not doubts.have_fitted(_looked(doubts, 0.1, 0, 1))
    doubts.fit(_looked(doubts, 0.1, 1))
    assert doubts.have_fitted(_looked(doubts, 0.2, 0, 1))
    assert not doubts.refuse(0.2, _looked(doubts, 0.2, 1))


def test_what_was_seen_last_is_of_each_camera_since_this_one_looked_before() -> None:
    doubts = Doubts(0.15, 0.0)
    _looked(doubts, 0.0, 0, 1, 2)
    (one,), (two,) = _looked(doubts, 0.25, 1), _looked(doubts, 0.26, 2)
    assert doubts.latest()[1:] == [one, two]
    (again,) = _looked(doubts, 0.4, 1)
    assert doubts.latest() == [again, two]


def test_a_share_is_one_for_all_at_once_and_a_quarter_for_one_of_four_in_turn() -> None:
    doubts = Doubts(0.15, 0.0)

    def share(time_s: float, *cameras: int) -> float:
        return doubts.look(time_s, [_seen(camera) for camera in cameras])

    assert share(0.0, 0, 1, 2, 3) == share(0.03, 0, 1, 2, 3) == 1.0
    assert [share(0.06 + 0.01 * n, n) for n in range(4)] == [0.25] * 4
    assert share(0.2, 0) == 0.25
    assert share(0.3, 0) == 1.0  # the others have not looked since
    assert share(0.31, 1) == 0.25
    assert share(2.0, 1) == 1.0


def test_a_camera_that_was_away_for_long_has_no_doubts() -> None:
    doubts = Doubts(0.15, 0.0)
    doubts.refuse(0.0, _looked(doubts, 0.0, 1))
    _looked(doubts, 1.0, 0)
    assert not doubts.refuse(1.1, _looked(doubts, 1.1, 1))


def test_doubts_are_fresh_for_a_second_after_somebody_was_found_and_after_the_last_one() -> None:
    doubts = Doubts(0.15, 5.0)
    assert [doubts.are_fresh(now) for now in (5.5, 6.0, 6.1)] == [True, True, False]
    doubts.refuse(7.0, _looked(doubts, 7.0, 1))
    assert [doubts.are_fresh(now) for now in (7.1, 8.0, 8.1)] == [True, True, False]


def test_from_one_search_to_the_next_it_takes_a_while() -> None:
    doubts = Doubts(0.15, 0.0)
    assert [doubts.may_search(now) for now in (0.1, 0.2, 0.3, 0.9)] == [True, False, True, True]
