"""Hours of recording, across midnight and through the nights in which clocks are changed."""

from __future__ import annotations

from datetime import datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.schedule import Hours, parse_time

BERLIN = ZoneInfo("Europe/Berlin")
HOUR_S = 3600.0


def at(text: str, zone: ZoneInfo = BERLIN, *, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def hours(begin: str = "", end: str = "", zone: ZoneInfo = BERLIN) -> Hours:
    return Hours(parse_time(begin) if begin else None, parse_time(end) if end else None, zone)


NIGHT = hours("22:00", "07:00")


def test_before_the_night_one_waits_and_within_it_one_begins_at_once() -> None:
    assert NIGHT.opens_s(at("2026-11-25 15:00")) == at("2026-11-25 22:00")
    for within in ("2026-11-25 22:00", "2026-11-25 23:59", "2026-11-26 00:00", "2026-11-26 06:59:59"):
        assert NIGHT.opens_s(at(within)) == at(within)
        assert NIGHT.closes_s(at(within)) == at("2026-11-26 07:00")
    assert NIGHT.opens_s(at("2026-11-26 07:00")) == at(
        "2026-11-26 22:00"
    )  # the next night, not this one again


def test_hours_of_one_day_are_not_those_across_midnight() -> None:
    day = hours("09:00", "17:00")
    assert day.opens_s(at("2026-11-25 18:00")) == at("2026-11-26 09:00")
    assert day.opens_s(at("2026-11-25 12:00")) == at("2026-11-25 12:00")
    assert day.closes_s(at("2026-11-25 12:00")) == at("2026-11-25 17:00")


def test_the_same_time_twice_makes_whole_days() -> None:
    days = hours("22:00", "22:00")
    assert days.opens_s(at("2026-11-25 21:00")) == at("2026-11-25 21:00")
    assert days.closes_s(at("2026-11-25 21:00")) == at("2026-11-25 22:00")
    assert days.closes_s(at("2026-11-25 22:00")) == at("2026-11-26 22:00")


def test_each_of_the_two_alone() -> None:
    assert hours("22:00").opens_s(at("2026-11-25 22:00:01")) == at("2026-11-26 22:00")
    assert hours("22:00").closes_s(at("2026-11-25 22:00")) is None
    assert hours(end="07:00").opens_s(at("2026-11-25 12:00")) == at("2026-11-25 12:00")
    assert hours(end="07:00").closes_s(at("2026-11-25 12:00")) == at("2026-11-26 07:00")
    assert hours(end="07:00").closes_s(at("2026-11-25 07:00")) == at("2026-11-26 07:00")
    assert Hours().opens_s(5.0) == 5.0
    assert Hours().closes_s(5.0) is None


def test_recording_that_began_outside_the_hours_goes_on_until_the_next_end() -> None:
    assert NIGHT.closes_s(at("2026-11-25 15:00")) == at("2026-11-26 07:00")


def test_night_in_which_clocks_are_put_back_is_an_hour_longer() -> None:
    began_s = NIGHT.opens_s(at("2026-10-24 20:00"))
    assert NIGHT.closes_s(began_s) == began_s + 10 * HOUR_S
    for fold in (0, 1):  # 02:30 comes twice, and lies within the night both times
        assert NIGHT.opens_s(at("2026-10-25 02:30", fold=fold)) == at("2026-10-25 02:30", fold=fold)


def test_night_in_which_clocks_are_put_forward_is_an_hour_shorter() -> None:
    began_s = NIGHT.opens_s(at("2026-03-28 20:00"))
    assert NIGHT.closes_s(began_s) == began_s + 8 * HOUR_S


def test_time_that_comes_twice_begins_at_the_first_and_ends_at_the_second() -> None:
    assert hours("02:30", "07:00").opens_s(at("2026-10-25 01:00")) == at("2026-10-25 02:30", fold=0)
    # Ten past two for the second time: the first half past two is long over, so this is within.
    again_s = at("2026-10-25 02:10", fold=1)
    assert hours("02:30", "07:00").opens_s(again_s) == again_s
    assert hours("22:00", "02:30").closes_s(at("2026-10-24 23:00")) == at("2026-10-25 02:30", fold=1)


def test_time_that_never_comes_makes_the_night_longer_not_shorter() -> None:
    leap_s = at("2026-03-29 03:00")
    assert hours("02:30", "07:00").opens_s(at("2026-03-29 00:00")) == leap_s - HOUR_S / 2
    assert hours("22:00", "02:30").closes_s(at("2026-03-28 23:00")) == leap_s + HOUR_S / 2
    within = hours("02:10", "02:50")  # all of it leapt over
    opens_s = within.opens_s(at("2026-03-29 00:00"))
    closes_s = within.closes_s(opens_s)
    assert closes_s is not None
    assert opens_s < leap_s < closes_s < opens_s + 2 * HOUR_S


_ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Asia/Kathmandu",
        "Pacific/Kiritimati",
        "Australia/Lord_Howe",
    ]
)
_TIMES = st.builds(time, st.integers(0, 23), st.integers(0, 59))


@given(zone=_ZONES, begin=_TIMES, end=_TIMES, minute=st.integers(0, 60 * 24 * 366))
def test_every_moment_of_a_year_has_a_next_night_with_an_end(
    zone: str, begin: time, end: time, minute: int
) -> None:
    now_s = (datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(minutes=minute)).timestamp()
    night = Hours(begin, end, ZoneInfo(zone))
    opens_s = night.opens_s(now_s)
    closes_s = night.closes_s(opens_s)
    assert closes_s is not None
    assert now_s <= opens_s < closes_s
    assert opens_s - now_s <= 25 * HOUR_S
    assert closes_s - opens_s <= 26 * HOUR_S
    assert night.opens_s(opens_s) == opens_s  # one that has waited does not wait again
    assert datetime.fromtimestamp(closes_s, ZoneInfo(zone)).minute % 30 == end.minute % 30


def test_machine_has_a_zone_of_its_own() -> None:
    now_s = datetime(2026, 11, 25, 12, 0).timestamp()
    assert Hours(time(22), time(7)).opens_s(now_s) == datetime(2026, 11, 25, 22, 0).timestamp()


@pytest.mark.parametrize(
    ("text", "expected"), [("22:00", time(22)), ("7:05", time(7, 5)), ("22:00:30", time(22, 0, 30))]
)
def test_times_are_read(text: str, expected: time) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize("text", ["", "22", "24:00", "22:60", "22:00:60", "10 pm", "22.00", "-1:00", "22:0"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no time of day"):
        parse_time(text)
