"""Frame numbers for a camera that gives times but no numbers: a lost frame shows as a step in them.

OpenCV passes a driver's capture time on and keeps its sequence number to itself. A frame the driver lost
leaves a hole in the times of a whole number of intervals. The interval is the median of the last steps, not
the rate the camera agreed to: cameras slow down in the dark without telling. Nothing is counted before the
steps have settled.

A single long step can be a loss or the first frame of a slower rate, and only the next frames tell which:
until a normal step follows (loss) or four long ones in a row are alike (slower rate), frames are held back.
Half of all frames lost in a perfectly regular pattern cannot be told from a slower rate.

Knows times and numbers, no cameras.
"""

from __future__ import annotations

from collections import deque
from statistics import median

_WINDOW = 15
_SETTLED_STEPS = 8
_SETTLED_SHARE = 0.75
_ALIKE = 0.35
_LONG_STEP = 1.5
_SLOWER_AFTER = 4


class LossCounter:
    """Gives each frame its number, counted from 0; one above the last plus what was lost between them."""

    def __init__(self) -> None:
        self._number = -1
        self._last_s: float | None = None
        self._steps: deque[float] = deque(maxlen=_WINDOW)
        self._held: list[float] = []
        self._interval_s = 0.0

    def push(self, time_s: float | None) -> list[int]:
        """Take the next frame's time; the numbers of the frames that are certain now, oldest first.

        Frames not numbered yet are held back by the caller until a later push() or flush(). A frame
        without a time, or with one that runs backwards, starts the observation anew.
        """
        step_s = None if time_s is None or self._last_s is None else time_s - self._last_s
        self._last_s = time_s
        if step_s is None or step_s <= 0:
            numbers = self.flush()
            self._steps.clear()
            return [*numbers, self._advance(1)]
        if self._held:
            return self._weigh(step_s)
        interval_s = self._settled_interval_s()
        if interval_s is None or step_s <= _LONG_STEP * interval_s:
            self._steps.append(step_s)
            return [self._advance(1)]
        self._interval_s = interval_s
        self._held.append(step_s)
        return []

    def flush(self) -> list[int]:
        """The numbers of the frames held back, as if each long step had been a loss."""
        return self._number_held([])

    def _weigh(self, step_s: float) -> list[int]:
        if step_s <= _LONG_STEP * self._interval_s:
            numbers = self._number_held([step_s])
            self._steps.append(step_s)
            return numbers
        self._held.append(step_s)
        if len(self._held) < _SLOWER_AFTER:
            return []
        if _alike_share(self._held[1:]) == 1.0:
            self._steps = deque(self._held, maxlen=_WINDOW)
            numbers = [self._advance(1) for _ in self._held]
            self._held.clear()
            return numbers
        return self._number_held([])

    def _number_held(self, closing: list[float]) -> list[int]:
        """Number the held frames (and a closing normal one) by their place on the grid of intervals.

        The step before them counts in: a frame stamped late and the next one stamped right add up to two
        intervals, which is no loss.
        """
        if not self._held:
            return []
        steps = [*self._held, *closing]
        self._held.clear()
        before_s = self._steps[-1]
        total = max(len(steps), round((before_s + sum(steps)) / self._interval_s) - 1)
        numbers = []
        done, passed_s = 0, 0.0
        for index, step_s in enumerate(steps):
            passed_s += step_s
            room = total - (len(steps) - 1 - index)
            place = min(max(round(passed_s / self._interval_s), done + 1), room)
            numbers.append(self._advance(place - done))
            done = place
        return numbers

    def _advance(self, by: int) -> int:
        self._number += by
        return self._number

    def _settled_interval_s(self) -> float | None:
        if len(self._steps) < _SETTLED_STEPS or _alike_share(self._steps) < _SETTLED_SHARE:
            return None
        return median(self._steps)


def _alike_share(steps: deque[float] | list[float]) -> float:
    """Which share of the steps lies within about a third of their median."""
    middle_s = median(steps)
    return sum(abs(step_s - middle_s) <= _ALIKE * middle_s for step_s in steps) / len(steps)
