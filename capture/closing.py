"""When a recording that has begun ends by the hour, whatever the wall clock does meanwhile.

    closing = Closing(hours)       # as recording begins
    while not closing.over(): ...

How long it is until the end is reckoned once, at the beginning; from then on a clock counts that nobody sets.
So a wall clock that jumps by hours or years ends no recording early and prolongs none.

One jump is right: a machine without a clock of its own learns the time while it already records. Where the
clock was not synchronised at the beginning, the end is reckoned anew, once, when it is: from the moment at
which the recording began by the right time. If that lies outside the hours, recording goes on until the next
end: too much is recorded rather than too little.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from capture import clock
from capture.schedule import Hours


@dataclass(frozen=True, slots=True)
class Clocks:
    """Where the time comes from; tests have clocks of their own."""

    wall_s: Callable[[], float] = time.time
    steady_s: Callable[[], float] = clock.steady_s
    is_synchronised: Callable[[], bool] = clock.is_synchronised


class Closing:
    """synchronised: whether the wall clock was right, as far as is known by now. left_s: until the end, or
    None where only something else ends the recording."""

    def __init__(self, hours: Hours, clocks: Clocks | None = None) -> None:
        self._hours = hours
        self._clocks = clocks or Clocks()
        self._began_s = self._clocks.steady_s()
        self.synchronised = self._clocks.is_synchronised()
        self._end_s = self._reckon()

    def _reckon(self) -> float | None:
        """The end, on the steady clock."""
        began_wall_s = self._clocks.wall_s() - (self._clocks.steady_s() - self._began_s)
        closes_s = self._hours.closes_s(began_wall_s)
        return None if closes_s is None else self._began_s + (closes_s - began_wall_s)

    @property
    def left_s(self) -> float | None:
        return None if self._end_s is None else self._end_s - self._clocks.steady_s()

    def over(self) -> bool:
        """Whether the hour has come."""
        left_s = self.left_s
        return left_s is not None and left_s <= 0.0

    def has_learnt_the_time(self) -> bool:
        """True once: when a clock that was not synchronised is, and the end has been reckoned anew by it."""
        if self.synchronised or not self._clocks.is_synchronised():
            return False
        self.synchronised = True
        self._end_s = self._reckon()
        return True
