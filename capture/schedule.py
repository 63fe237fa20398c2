"""From 22:00 until 07:00: when a recording begins and ends, by the clock on the wall. Pure arithmetic.

Times of day are local; moments are seconds since 1970 (UTC), so that a night in which the clock is put back
is an hour longer and one in which it is put forward an hour shorter. Where the clock leaves a time open (it
shows 02:30 twice, or never), the longer night is meant: the earlier reading begins it, the later one ends it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo

_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def parse_time(text: str) -> time:
    """22:00 or 22:00:30. Raises ValueError."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no time of day such as 22:00")
    hour, minute, second = (int(part or 0) for part in match.groups())
    return time(hour, minute, second)


@dataclass(frozen=True, slots=True)
class Hours:
    """When to record: from `begin`, until `end`, either of them alone, or always.

    `end` at or before `begin` is on the next day; the same time twice makes days of 24 hours. zone: None is
    that of the machine.
    """

    begin: time | None = None
    end: time | None = None
    zone: tzinfo | None = None

    def opens_s(self, now_s: float) -> float:
        """When to begin: `now_s` itself where the hours have begun, or where nothing says to wait.

        `begin` alone has begun at no time but its own: the next one is meant.
        """
        if self.begin is None or self._night_of(now_s) is not None:
            return now_s
        begins = (self._begins_s(self.begin, day) for day in self._days_around(now_s))
        return min(moment_s for moment_s in begins if moment_s >= now_s)

    def closes_s(self, began_s: float) -> float | None:
        """When a recording that began then ends; None where nothing says so.

        One that began outside the hours goes on until the next end.
        """
        if self.end is None:
            return None
        if self.begin is not None and (night := self._night_of(began_s)) is not None:
            return night[1]
        ends = (self._ends_s(self.end, day) for day in self._days_around(began_s))
        return min(moment_s for moment_s in ends if moment_s > began_s)

    def _night_of(self, moment_s: float) -> tuple[float, float] | None:
        """Begin and end of the night that this moment lies in."""
        if self.begin is None or self.end is None:
            return None
        later = timedelta(days=0 if self.end > self.begin else 1)
        nights = [
            (self._begins_s(self.begin, day), self._ends_s(self.end, day + later))
            for day in self._days_around(moment_s)
        ]
        return next((night for night in nights if night[0] <= moment_s < night[1]), None)

    def _days_around(self, moment_s: float) -> list[date]:
        # Two to each side: a night may have begun yesterday, and no zone is a whole day from UTC.
        today = (_EPOCH + timedelta(seconds=moment_s)).date()
        return [today + timedelta(days=days) for days in range(-2, 3)]

    def _begins_s(self, at: time, day: date) -> float:
        return min(self._readings_s(at, day))

    def _ends_s(self, at: time, day: date) -> float:
        return max(self._readings_s(at, day))

    def _readings_s(self, at: time, day: date) -> list[float]:
        local = datetime.combine(day, at, self.zone)
        return [local.replace(fold=fold).timestamp() for fold in (0, 1)]
