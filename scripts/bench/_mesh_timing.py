"""What each way makes of meshes: its ratio, whether every point comes back in place, and its CPU.

Every way stores the whole clip once and gives it back: that is its size, and every coordinate is held
against the original. Then rounds: in each, every way that is not too slow for it stores and reads the first
two seconds again, in turning order, so that a busy moment hits all of them alike; their figures are medians
of the rounds. A slow way has the times of the whole clip, once.

CPU is that of the whole process, in which nothing else works: a library that starts a thread in secret pays
for it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np

from scripts.bench._mesh_ways import FPS, MODEL_EVERY_S, SEGMENT_FRAMES, STEP_MM, Float32, Way, size_of

MOST_ERROR_MM: Final = STEP_MM / 2 + 0.001  # float32 has no exact places five metres away
_TOO_SLOW: Final = 0.12
"""CPU seconds of a person-second, there and back, above which a way is timed once."""


class NotInPlaceError(Exception):
    """A way has moved a point by more than half a step: none of its figures would mean anything."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One way on one clip. ratio: float32 bytes by stored ones, without models; ratio_with_models: with one
    every five minutes. The times are CPU seconds for a second of one person, one entry a round."""

    way: str
    ours: bool
    ratio: float
    ratio_with_models: float
    max_error_mm: float
    encode_rounds: list[float]
    decode_rounds: list[float]
    model_bytes: int
    fit_cpu_s: float

    @property
    def encode_s(self) -> float:
        return median(self.encode_rounds)

    @property
    def decode_s(self) -> float:
        return median(self.decode_rounds)


def measure(
    vertices: Float32, ways: Sequence[Way], *, rounds: int, say: Callable[[str], None] = lambda line: None
) -> list[Figures]:
    """Figures of each way for (frames, people, points, 3), in the order given. Raises NotInPlaceError."""
    trials = []
    for way in ways:
        began = time.monotonic()
        trials.append(_Trial(way, vertices))
        say(f"  {way.name}: {trials[-1].ratio:.2f} x, there and back in {time.monotonic() - began:.1f} s")
    say(f"  {rounds} rounds of those that are quick")
    for number in range(rounds):
        turn = number % max(1, len(trials))
        for trial in (*trials[turn:], *trials[:turn]):
            trial.run()
    return [trial.figures() for trial in trials]


class _Trial:
    """One way, proven on the whole clip when made; `run` adds a round."""

    def __init__(self, way: Way, vertices: Float32) -> None:
        self._way = way
        self._vertices = vertices
        self._encode_rounds: list[float] = []
        self._decode_rounds: list[float] = []
        self._time(vertices[:2])  # pays for the way's own preparations
        self._encode_rounds, self._decode_rounds = [], []
        size = self._time(vertices)
        self.ratio = vertices.nbytes / size
        models = way.model_bytes * len(vertices) / FPS / MODEL_EVERY_S
        self.ratio_with_models = vertices.nbytes / (size + models)
        self._max_error_mm = self._prove()
        self._is_slow = self._encode_rounds[0] + self._decode_rounds[0] > _TOO_SLOW
        self._is_first = True

    def run(self) -> None:
        if self._is_slow:
            return
        if self._is_first:
            self._is_first = False
            self._encode_rounds, self._decode_rounds = [], []
        self._time(self._vertices[:SEGMENT_FRAMES])

    def figures(self) -> Figures:
        return Figures(
            way=self._way.name,
            ours=self._way.ours,
            ratio=self.ratio,
            ratio_with_models=self.ratio_with_models,
            max_error_mm=self._max_error_mm,
            encode_rounds=self._encode_rounds,
            decode_rounds=self._decode_rounds,
            model_bytes=self._way.model_bytes,
            fit_cpu_s=self._way.fit_cpu_s,
        )

    def _time(self, vertices: Float32) -> int:
        """Store and read; returns the bytes."""
        person_s = vertices.shape[0] * vertices.shape[1] / FPS
        began = time.process_time()
        self._payload = self._way.encode(vertices)
        encoded = time.process_time()
        deque(self._way.decode(self._payload), maxlen=0)
        self._encode_rounds.append((encoded - began) / person_s)
        self._decode_rounds.append((time.process_time() - encoded) / person_s)
        return size_of(self._payload)

    def _prove(self) -> float:
        """The largest error of what was stored last. Raises NotInPlaceError."""
        most, count = 0.0, 0
        for before, after in zip(self._vertices, self._way.decode(self._payload), strict=False):
            count += 1
            error = (
                float(np.abs(after.astype(np.float64) - before).max())
                if after.shape == before.shape
                else np.inf
            )
            most = max(most, error)
            if not error <= MOST_ERROR_MM:
                raise NotInPlaceError(
                    f"{self._way.name} moves a point of frame {count - 1} by {error:.3f} mm"
                )
        if count != len(self._vertices):
            raise NotInPlaceError(f"{self._way.name} gives {count} of {len(self._vertices)} frames back")
        return most
