"""What each way makes of a set of frames: its ratio, whether the bits come back, and its CPU per pixel.

Every frame goes through every way once before anything is timed: that gives the ratio and proves the round
trip. Then rounds: in each, every way encodes and decodes the same few frames once, in turning order, so that
a busy moment hits all of them alike. Figures are medians of the rounds, and a ratio of two ways' times is
the median of the rounds' own ratios.

CPU is that of the whole process, in which nothing else works: a library that starts a thread in secret pays
for it. Results are allocated anew for each frame, as every library does it by default.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from scripts.bench._depth_ways import Depth, Way

_ROUND_FRAMES = 4
_ROUND_S = 0.04
"""About what one way may take in a round; a way that is slower than that takes one frame a round."""
_TOO_SLOW_S = 2.0
"""CPU of one frame, there and back, above which this frame alone is measured, and once."""


class NotLosslessError(Exception):
    """A way that promises the bits back has not kept it: none of its figures would mean anything."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One way on one set. `max_error` is in units of depth, 0 for what is lossless. The times are CPU
    nanoseconds per pixel, one entry a round."""

    way: str
    ours: bool
    lossy: bool
    max_error: int
    ratio: float
    frames: int
    encode_rounds: list[float]
    decode_rounds: list[float]

    @property
    def encode_ns(self) -> float:
        return median(self.encode_rounds)

    @property
    def decode_ns(self) -> float:
        return median(self.decode_rounds)


def times_of(upper: Sequence[float], lower: Sequence[float]) -> float:
    """How many times `lower` is `upper`: the median of the rounds' own ratios.

    A way too slow for rounds has one entry, which is held against the other one's first round.
    """
    return median(a / b for a, b in zip(upper, lower, strict=False))


def measure(
    frames: Sequence[Depth],
    ways: Sequence[Way],
    *,
    rounds: int,
    say: Callable[[str], None] = lambda line: None,
) -> list[Figures]:
    """Figures of each way, in the order given; `say` gets a line of progress for each. Raises
    NotLosslessError."""
    trials = []
    for way in ways:
        began = time.monotonic()
        trials.append(_Trial(frames, way))
        say(f"  {way.name}: there and back in {time.monotonic() - began:.1f} s")
    say(f"  {rounds} rounds of them all")
    for number in range(rounds):
        turn = number % len(trials)
        picked = [frames[(number * _ROUND_FRAMES + i) % len(frames)] for i in range(_ROUND_FRAMES)]
        for trial in (*trials[turn:], *trials[:turn]):
            trial.run(picked)
    return [trial.figures() for trial in trials]


class _Trial:
    """One way, proven on all frames when made; `run` adds a round."""

    def __init__(self, frames: Sequence[Depth], way: Way) -> None:
        self._way = way
        self._encode_rounds: list[float] = []
        self._decode_rounds: list[float] = []
        self._max_error = 0
        self._raw_bytes = self._payload_bytes = self._frames = 0
        self._time([frames[0]])
        pixels = frames[0].size
        frame_s = (self._encode_rounds[0] + self._decode_rounds[0]) * pixels / 1e9
        self._too_slow = frame_s > _TOO_SLOW_S
        self._frames_a_round = max(1, min(_ROUND_FRAMES, int(_ROUND_S / frame_s)))
        if not self._too_slow:
            # That first frame has paid for the way's own preparations.
            self._encode_rounds, self._decode_rounds = [], []
        for number, frame in enumerate(frames[:1] if self._too_slow else frames):
            self._prove(number, frame)

    def run(self, frames: Sequence[Depth]) -> None:
        if self._too_slow:
            return
        chosen = frames[: self._frames_a_round]
        if len(chosen) > 1:
            # The way before has filled the caches with its own tables; slow ones need no warming.
            self._way.decode(self._way.encode(chosen[-1]))
        self._time(chosen)

    def figures(self) -> Figures:
        return Figures(
            way=self._way.name,
            ours=self._way.ours,
            lossy=self._way.lossy,
            max_error=self._max_error,
            ratio=self._raw_bytes / self._payload_bytes,
            frames=self._frames,
            encode_rounds=self._encode_rounds,
            decode_rounds=self._decode_rounds,
        )

    def _time(self, frames: Sequence[Depth]) -> None:
        pixels = sum(frame.size for frame in frames)
        payloads: list[Any] = []
        self._encode_rounds.append(_cpu_ns(lambda: payloads.extend(map(self._way.encode, frames))) / pixels)
        self._decode_rounds.append(_cpu_ns(lambda: _exhaust(self._way.decode, payloads)) / pixels)

    def _prove(self, number: int, frame: Depth) -> None:
        payload = self._way.encode(frame)
        back = self._way.decode(payload)
        if not np.array_equal(back, frame):
            if not self._way.lossy or back.shape != frame.shape:
                raise NotLosslessError(f"{self._way.name} does not give frame {number} back bit for bit")
            error = np.abs(back.astype(np.int32) - frame.astype(np.int32))
            self._max_error = max(self._max_error, int(error.max()))
        self._raw_bytes += frame.nbytes
        self._payload_bytes += len(payload)
        self._frames += 1


def _exhaust(decode: Callable[[Any], Depth], payloads: Sequence[Any]) -> None:
    for payload in payloads:
        decode(payload)


def _cpu_ns(work: Callable[[], None]) -> int:
    before = time.process_time_ns()
    work()
    return time.process_time_ns() - before
