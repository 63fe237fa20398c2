"""The end of a night by the hour, while the wall clock does what it likes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timezone

from capture.clock import is_synchronised, steady_s
from capture.closing import Clocks, Closing
from capture.schedule import Hours

HOUR_S = 3600.0
YEAR_S = 365 * 24 * HOUR_S
NIGHT = Hours(time(22), time(7), timezone.utc)


@dataclass
class Machine:
    """A steady clock, a wall clock that may be wrong, and whether the kernel calls it right."""

    wall_s: float
    synchronised: bool = True
    steady_s: float = 1000.0

    def clocks(self) -> Clocks:
        return Clocks(lambda: self.wall_s, lambda: self.steady_s, lambda: self.synchronised)

    def later(self, hours: float) -> None:
        self.wall_s += hours * HOUR_S
        self.steady_s += hours * HOUR_S


def at(hour: int, minute: int = 0, *, day: int = 25) -> float:
    return datetime(2026, 11, day, hour, minute, tzinfo=timezone.utc).timestamp()


def test_night_ends_at_its_hour_and_not_before() -> None:
    machine = Machine(at(22, 5))
    closing = Closing(NIGHT, machine.clocks())
    assert closing.left_s == 8 * HOUR_S + 55 * 60
    machine.later(8.9)
    assert not closing.over()
    machine.later(0.02)
    assert closing.over()


def test_clock_that_jumps_by_years_neither_ends_nor_prolongs_a_night() -> None:
    for jump_s in (-10 * YEAR_S, -HOUR_S, HOUR_S, 10 * YEAR_S):
        machine = Machine(at(22))
        closing = Closing(NIGHT, machine.clocks())
        machine.later(4)
        machine.wall_s += jump_s
        assert not closing.has_learnt_the_time()
        machine.later(4.9)
        assert not closing.over()
        machine.later(0.2)
        assert closing.over()


def test_clock_that_is_lost_and_found_again_changes_nothing() -> None:
    machine = Machine(at(22))
    closing = Closing(NIGHT, machine.clocks())
    machine.synchronised, machine.wall_s = False, 0.0
    assert not closing.has_learnt_the_time()
    machine.synchronised = True
    assert not closing.has_learnt_the_time()
    assert closing.left_s == 9 * HOUR_S


def test_machine_that_learns_the_time_ends_the_night_by_the_right_one() -> None:
    machine = Machine(at(1, day=3), synchronised=False)  # woke up weeks ago, as far as it knows
    closing = Closing(NIGHT, machine.clocks())
    assert closing.left_s == 6 * HOUR_S
    machine.later(0.5)
    assert not closing.has_learnt_the_time()
    machine.wall_s, machine.synchronised = at(23, 30), True  # so it had begun at 23:00
    assert closing.has_learnt_the_time()
    assert closing.left_s == 7.5 * HOUR_S
    assert not closing.has_learnt_the_time()  # once
    machine.wall_s += YEAR_S
    assert not closing.has_learnt_the_time()
    assert closing.left_s == 7.5 * HOUR_S


def test_machine_that_learns_that_the_night_is_over_ends_it() -> None:
    machine = Machine(at(22), synchronised=False)
    closing = Closing(NIGHT, machine.clocks())
    machine.later(3)
    machine.wall_s, machine.synchronised = at(8, day=26), True
    assert closing.has_learnt_the_time()
    assert closing.over()


def test_what_turns_out_to_have_begun_by_day_goes_on_through_the_night() -> None:
    machine = Machine(at(22), synchronised=False)
    closing = Closing(NIGHT, machine.clocks())
    machine.later(1)
    machine.wall_s, machine.synchronised = at(16), True
    assert closing.has_learnt_the_time()
    assert closing.left_s == 15 * HOUR_S


def test_without_an_hour_nothing_is_ever_over() -> None:
    machine = Machine(at(22), synchronised=False)
    closing = Closing(Hours(time(22)), machine.clocks())
    machine.later(1000)
    machine.synchronised = True
    assert closing.has_learnt_the_time()
    assert closing.left_s is None
    assert not closing.over()


def test_this_machine_has_clocks() -> None:
    assert steady_s() <= steady_s()
    assert is_synchronised() in (True, False)
    assert Closing(NIGHT).left_s is not None
