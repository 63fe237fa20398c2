"""When a process is started again, and how often a user is told."""

from __future__ import annotations

from capture.backoff import HELD_S, Backoff, Lookout
from capture.journal import Repeats


def test_waits_double_up_to_the_longest_and_never_end() -> None:
    backoff = Backoff(1.0, 60.0)
    assert [backoff.after(0.0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [backoff.after(0.0) for _ in range(10_000)][-1] == 60


def test_what_has_held_begins_anew() -> None:
    backoff = Backoff(1.0, 60.0)
    assert [backoff.after(0.0), backoff.after(HELD_S - 1), backoff.after(HELD_S)] == [1, 2, 0]
    assert backoff.after(0.0) == 1
    backoff.forget()
    assert backoff.after(0.0) == 1


def test_looks_for_what_is_not_there_begin_two_seconds_apart_for_ever_and_however_long_they_take() -> None:
    lookout = Lookout(0.5, 2.0)
    assert [lookout.after(0.0) for _ in range(5)] == [0.5, 1, 2, 2, 2]
    assert [lookout.after(look_s) for look_s in (0.5, 2.0, 7.0)] == [1.5, 0, 0]
    assert {lookout.after(0.0) for _ in range(10_000)} == {2.0}


def test_same_line_is_told_a_few_times_and_then_ever_more_seldom() -> None:
    repeats = Repeats()
    lines = [repeats.worth_telling(f"camera a: no frame for {n} s", 2.0 * n) for n in range(18_000)]  # 10 h
    told = [line for line in lines if line]
    assert told[:5] == [f"camera a: no frame for {n} s" for n in range(5)]
    assert 10 < len(told) < 30
    assert "times before)" in told[-1]
    for name in ("b", "a1", "1"):
        line = f"camera {name}: no frame for 7 s"
        assert repeats.worth_telling(line, 36_000.0) == line


def test_lines_that_all_differ_do_not_fill_the_memory() -> None:
    repeats = Repeats()
    for number in range(5000):
        assert repeats.worth_telling("x" * number, 0.0) == "x" * number
    assert len(repeats._seen) <= 1001
