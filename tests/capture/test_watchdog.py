"""What is taken for hanging, and what is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from capture import watchdog
from capture.watchdog import UNKNOWN_OPENING_S, OpeningPatience, Pulse, _Doing

Look = Callable[..., float]


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Look:
    """Let time pass, then hear a heart whose process is doing that."""
    now = [100.0]
    pulse = Pulse()
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: now[0])

    def look(beat: int, *, after_s: float = 0.1, doing: _Doing | None = None) -> float:
        now[0] += after_s
        monkeypatch.setattr(watchdog, "_doing", lambda pid: doing)
        return pulse.silent_s(beat, 1)

    return look


def test_heart_that_stands_still_is_heard(look: Look) -> None:
    assert look(1) == 0.0
    assert [look(1) for _ in range(25)][-1] == pytest.approx(2.5)
    assert look(2) == 0.0


def test_what_was_stopped_together_with_us_is_not_held_against_anybody(look: Look) -> None:
    look(1)
    assert look(1, after_s=30_000.0) <= 0.5


def test_a_hang_is_found_even_by_one_who_comes_round_seldom(look: Look) -> None:
    look(1)
    assert [look(1, after_s=1.5) for _ in range(5)][-1] > 2.0


def test_waiting_for_a_processor_is_not_hanging_but_a_busy_loop_is(look: Look) -> None:
    look(1)
    assert [look(1, doing=_Doing("R", 5.0, 0)) for _ in range(100)][-1] < 1.0
    look(2)
    busy = [look(2, doing=_Doing("R", 5.0 + 0.1 * turn, 0)) for turn in range(100)]
    assert busy[-1] > 9.0


def test_waiting_for_its_own_pages_is_not_hanging_but_waiting_for_a_driver_is(look: Look) -> None:
    look(1)
    assert [look(1, doing=_Doing("D", 5.0, turn)) for turn in range(100)][-1] < 1.0
    look(2)
    assert [look(2, doing=_Doing("D", 5.0, 100)) for _ in range(100)][-1] > 9.0


def test_patience_is_learnt_from_the_last_opening_and_doubled_by_each_kill() -> None:
    patience = OpeningPatience()
    assert patience.patience_s == UNKNOWN_OPENING_S
    patience.note_silence(0.4)
    patience.opened()
    assert patience.patience_s == 2.0
    for doubled_s in (4.0, 8.0, 16.0, 32.0, 64.0, 120.0, 120.0):
        patience.killed()
        assert patience.patience_s == doubled_s
    patience.begun()
    patience.note_silence(7.0)
    patience.opened()
    assert patience.patience_s == 14.0
