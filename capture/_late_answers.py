"""An estimator over a recording, asked set by set, whether its answers come at once or late.

Most answer with the results for the set they were given. Those that can use what comes later
(`Estimator.estimate_recorded`) answer some sets further on: here each answer finds back to its frame.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import groupby
from typing import NamedTuple

from capture.estimators import Estimator
from capture.frames import Frame
from capture.recorded_sets import FrameSet


class Answer(NamedTuple):
    """The results for one frame of the first input, and the epoch of that."""

    epoch: int
    results: list[Frame]


class LateAnswers:
    """Asks an open estimator. `late_ns`: by how much answers may come later than what they are for."""

    def __init__(self, estimator: Estimator) -> None:
        ask = getattr(estimator, "estimate_recorded", None)
        self._estimator, self._ask = estimator, ask or estimator.estimate
        self.late_ns = 0 if ask is None else round(1e9 * getattr(estimator, "hindsight_s", 0.0))
        self._epochs_ns: list[int] = []
        self._epochs: list[int] = []

    def to(self, found: FrameSet) -> list[Answer]:
        """What it says now. Raises whatever it raises."""
        if found.is_pace and self._epochs[-1:] != [found.epoch]:
            self._epochs_ns.append(found.at_ns)
            self._epochs.append(found.epoch)
        results = list(self._ask(found.frames))
        if self.late_ns:
            return self._sorted(results)
        return [Answer(found.epoch, results)] if results and found.is_pace else []

    def rest(self) -> list[Answer]:
        """What it still had to say."""
        finish = getattr(self._estimator, "finish", None)
        return self._sorted(finish()) if self.late_ns and finish is not None else []

    def _sorted(self, results: list[Frame]) -> list[Answer]:
        return [
            Answer(self._epoch_at(at_ns), list(own))
            for (at_ns, _), own in groupby(results, key=lambda result: (result.monotonic_ns, result.number))
        ]

    def _epoch_at(self, at_ns: int) -> int:
        """That of the first input's frames of that time."""
        return self._epochs[max(bisect_right(self._epochs_ns, at_ns) - 1, 0)]
