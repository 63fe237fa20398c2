"""The numbers of frames tell what happened to them, and what they tell adds up."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.ledger import LOST_AT_CAMERA, RING_FULL, Gap, StreamLedger, Verdict


def observe(ledger: StreamLedger, *numbers: int) -> list[Verdict]:
    return [ledger.observe(number, 1000 * number) for number in numbers]


def test_frames_in_order_are_new_and_nothing_is_missing() -> None:
    ledger = StreamLedger()
    assert observe(ledger, *range(100, 200)) == [Verdict(is_new=True)] * 100
    assert ledger.pending == []


def test_first_frame_may_have_any_number() -> None:
    for first in (0, 7, 2**63):
        ledger = StreamLedger()
        assert observe(ledger, first) == [Verdict(is_new=True)]
        assert ledger.pending == []


@pytest.mark.parametrize("last", [100, 3])
def test_repeated_and_late_frames_are_not_new(last: int) -> None:
    ledger = StreamLedger()
    observe(ledger, last)
    for again in range(max(0, last - 64), last + 1):
        assert observe(ledger, again) == [Verdict(is_new=False)]
    assert observe(ledger, last + 1) == [Verdict(is_new=True)]
    assert ledger.pending == []


def test_number_far_below_the_last_is_a_counter_that_began_anew() -> None:
    ledger = StreamLedger()
    observe(ledger, 1000)
    assert observe(ledger, 935) == [Verdict(is_new=True, restarted=True)]
    assert observe(ledger, 936) == [Verdict(is_new=True)]
    assert ledger.pending == []


def test_hole_in_the_numbers_is_a_gap_between_two_moments() -> None:
    ledger = StreamLedger()
    observe(ledger, 10)
    (verdict,) = observe(ledger, 15)
    expected = Gap(LOST_AT_CAMERA, 11, 14, 4, 10_000, 15_000)
    assert verdict == Verdict(is_new=True, gap=expected)
    assert ledger.pending == [expected]
    assert expected.as_dict() == {
        "reason": "camera",
        "first": 11,
        "last": 14,
        "count": 4,
        "start_ns": 10_000,
        "end_ns": 15_000,
        "estimated": False,
    }


def test_dropped_frames_in_a_row_are_one_gap() -> None:
    ledger = StreamLedger()
    for number in range(5, 9):
        observe(ledger, number)
        ledger.dropped(number, 1000 * number, RING_FULL)
    assert ledger.pending == [Gap(RING_FULL, 5, 8, 4, 5000, 8000)]


def test_gaps_for_different_reasons_stay_apart_and_in_order() -> None:
    ledger = StreamLedger()
    observe(ledger, 1)
    ledger.dropped(1, 1000, RING_FULL)
    observe(ledger, 4)
    ledger.dropped(4, 4000, RING_FULL)
    observe(ledger, 5)
    ledger.dropped(5, 5000, RING_FULL)
    told = [(gap.reason, gap.first, gap.last) for gap in ledger.pending]
    assert told == [(RING_FULL, 1, 1), (LOST_AT_CAMERA, 2, 3), (RING_FULL, 4, 5)]


def test_camera_that_was_opened_again_has_no_hole_before_its_first_frame() -> None:
    ledger = StreamLedger()
    observe(ledger, 10)
    ledger.restart(2)
    assert observe(ledger, 5000, 5001) == [Verdict(is_new=True)] * 2
    ledger.restart(3)
    assert observe(ledger, 5001) == [Verdict(is_new=True)]
    assert ledger.pending == []


def test_what_is_pending_stays_with_the_numbering_it_belongs_to() -> None:
    """Frame 4 of one epoch and frame 5 of the next are no neighbours."""
    ledger = StreamLedger()
    ledger.restart(1)
    observe(ledger, 4)
    ledger.dropped(4, 4000, RING_FULL)
    ledger.restart(2)
    observe(ledger, 5)
    ledger.dropped(5, 5000, RING_FULL)
    assert [(gap.epoch, gap.first, gap.last) for gap in ledger.pending] == [(1, 4, 4), (2, 5, 5)]


_STEPS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 40), st.integers(0, 5000), st.integers(0, 2**64 - 1)),
        st.sampled_from(["kept", "kept", "dropped"]),
    ),
    max_size=60,
)


@given(_STEPS)
def test_whatever_the_numbers_every_one_of_them_is_accounted_for_once(steps: list[tuple[int, str]]) -> None:
    """In each epoch the kept, the dropped and the lost are together all numbers from first to last."""
    ledger = StreamLedger()
    epoch, lost = 0, 0
    kept: dict[int, list[int]] = {}
    for at, (number, fate) in enumerate(steps):
        verdict = ledger.observe(number, at)
        if not verdict.is_new:
            assert verdict == Verdict(is_new=False)
            continue
        if verdict.restarted:
            assert verdict.gap is None
            epoch += 1
            ledger.restart(epoch)
            assert ledger.observe(number, at) == Verdict(is_new=True)
        lost += verdict.gap.count if verdict.gap else 0
        if fate == "dropped":
            ledger.dropped(number, at, RING_FULL)
        kept.setdefault(epoch, []).append(number) if fate == "kept" else None
    _check_account(ledger.pending, kept, lost)


def _check_account(pending: list[Gap], kept: dict[int, list[int]], lost: int) -> None:
    assert sum(gap.count for gap in pending if gap.reason == LOST_AT_CAMERA) == lost
    ranges: dict[int, list[tuple[int, int]]] = {}
    for gap in pending:
        assert gap.first is not None
        assert gap.last is not None
        assert gap.count == gap.last - gap.first + 1 > 0
        assert gap.start_ns <= gap.end_ns
        assert not gap.estimated
        ranges.setdefault(gap.epoch, []).append((gap.first, gap.last))
    for epoch, numbers in kept.items():
        ranges.setdefault(epoch, []).extend((number, number) for number in numbers)
    for covered in ranges.values():
        covered.sort()
        assert all(last + 1 == first for (_, last), (first, _) in pairwise(covered))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=200))
def test_a_night_of_drops_takes_one_entry_for_each_run(reasons: list[int]) -> None:
    ledger = StreamLedger()
    runs = 0
    dropping = False
    for number, reason in enumerate(reasons):
        ledger.observe(number, number)
        if reason:
            ledger.dropped(number, number, RING_FULL)
            runs += not dropping
        dropping = bool(reason)
    assert len(ledger.pending) == runs
