"""What the clock on the wall said at any moment of a recording, by the pairs of times that its files hold.

A pair stands in a record file every ten seconds: CLOCK_MONOTONIC and UTC at one moment. Between two pairs
the clock on the wall is taken to have gone evenly, since one drifts and the other is slewed; outside of
them it goes on as the nearest says. Two pairs that differ by more than slewing does have a step between
them, nobody knows where: the nearest of the two is believed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from capture._segment_survey import OpenFiles, SegmentSurvey, clock_pairs
from codec.records.layout import CLOCK

Pair = tuple[int, int]
"""(monotonic_ns, wall_ns)."""

_SLEWED_MOST = 0.1  # chrony slews by a twelfth at most, everybody else by a two-thousandth


class WallClock:
    """Ask it for single moments: the pairs of one segment are held, those of the others are read again."""

    def __init__(self, segments: Sequence[SegmentSurvey], files: OpenFiles, otherwise: list[Pair]) -> None:
        """`otherwise`: what is known where no segment has a pair."""
        self._segments, self._files = [segment for segment in segments if len(segment.clocks) > 1], files
        ends = sorted({pair for segment in segments for pair in segment.clocks})
        self._ends: list[Pair] = ends or otherwise
        self._held: list[Pair] = []

    def wall_ns(self, monotonic_ns: int) -> int | None:
        """UTC then, in nanoseconds since 1970; None where nothing tells. Raises StorageError."""
        return between(self._pairs_around(monotonic_ns), monotonic_ns)

    def _pairs_around(self, monotonic_ns: int) -> list[Pair]:
        """All pairs of a segment that was being written then; else the first and last ones of all."""
        if self._held and self._held[0][0] <= monotonic_ns <= self._held[-1][0]:
            return self._held
        for segment in self._segments:
            if segment.clocks[0][0] <= monotonic_ns <= segment.clocks[-1][0]:
                file = self._files.file(segment.path)
                self._held = sorted(set(clock_pairs(file, file.of_kind(CLOCK))))
                return self._held or self._ends
        return self._ends


def between(pairs: Sequence[Pair], monotonic_ns: int) -> int | None:
    """The time on the wall by these pairs, which are in order; None where there are none."""
    if not pairs:
        return None
    at = bisect_left(pairs, (monotonic_ns, 0))
    before, after = pairs[max(0, at - 1)], pairs[min(at, len(pairs) - 1)]
    passed_ns, shown_ns = after[0] - before[0], after[1] - before[1]
    since_ns = monotonic_ns - before[0]
    if 0 <= since_ns <= passed_ns and abs(shown_ns - passed_ns) <= _SLEWED_MOST * passed_ns:
        return before[1] + (since_ns * shown_ns // passed_ns if passed_ns else 0)
    nearest = min((before, after), key=lambda pair: abs(pair[0] - monotonic_ns))
    return nearest[1] + monotonic_ns - nearest[0]
