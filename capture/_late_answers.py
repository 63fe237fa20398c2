"""An estimator over a recording, asked set by set, whether its answers come at once or late.

Most answer with the results for the set they were given. Those that can use what comes later
(`Estimator.estimate_recorded`) answer some sets further on: here each answer finds back to its frame.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

from capture.estimators import Estimator, FailedFrame
from capture.frames import Frame
from capture.recorded_sets import FrameSet


class Answer(NamedTuple):
    """The results for one frame of the first input, when that was taken and its epoch; or why there are
    none."""

    at_ns: int
    epoch: int
    results: list[Frame]
    error: Exception | None = None


class LateAnswers:
    """Asks an open estimator. `late_ns`: by how much answers may come later than what they are for."""

    def __init__(self, estimator: Estimator) -> None:
        ask = getattr(estimator, "estimate_recorded", None)
        self._estimator, self._ask = estimator, ask or estimator.estimate
        self.late_ns = 0 if ask is None else round(1e9 * getattr(estimator, "hindsight_s", 0.0))
        self._epochs_ns: list[int] = []
        self._epochs: list[int] = []
        self._waiting_ns: deque[int] = deque()

    def to(self, found: FrameSet) -> list[Answer]:
        """What it says now. Raises whatever it raises."""
        if found.is_pace and self._epochs[-1:] != [found.epoch]:
            self._epochs_ns.append(found.at_ns)
            self._epochs.append(found.epoch)
        results = list(self._ask(found.frames))
        if self.late_ns:
            if found.is_pace:
                self._waiting_ns.append(found.at_ns)
            return self._sorted(results, found.at_ns - self.late_ns)
        if not results or not found.is_pace:
            return []
        return [Answer(results[0].monotonic_ns, found.epoch, results)]

    def rest(self) -> list[Answer]:
        """What it still had to say. Raises whatever it raises: then `waiting` frames get no answer."""
        finish = getattr(self._estimator, "finish", None)
        return self._sorted(finish(), 0) if self.late_ns and finish is not None else []

    @property
    def waiting(self) -> int:
        """Frames that it may still have something to say of."""
        return len(self._waiting_ns)

    def _sorted(self, results: Iterable[Frame | FailedFrame], over_ns: int) -> list[Answer]:
        """What is older than `over_ns`, or than an answer, waits no more."""
        answers = []
        for at_ns, own in groupby(results, key=lambda result: result.monotonic_ns):
            frames: list[Frame] = []
            error = None
            for each in own:
                if isinstance(each, FailedFrame):
                    error = each.error
                else:
                    frames.append(each)
            answers.append(Answer(at_ns, self._epoch_at(at_ns), frames, error))
            over_ns = max(over_ns, at_ns + 1)
        while self._waiting_ns and self._waiting_ns[0] < over_ns:
            self._waiting_ns.popleft()
        return answers

    def _epoch_at(self, at_ns: int) -> int:
        """That of the first input's frames of that time."""
        return self._epochs[max(bisect_right(self._epochs_ns, at_ns) - 1, 0)]
