"""The parts that the twin of `max` predicts and codes bits with: what native/max_model.h and max_coder.h do.

Plain integers in lists, because a bit depends on all bits before it: NumPy has nothing to work on at once.
Slots are 24 bits of probability and 8 of count in one number. The logistic domain is in 1/256, within +-2047.
"""

from __future__ import annotations

from typing import Protocol

_KNOTS = (
    *(22, 28, 36, 47, 60, 77, 98, 126, 162, 208, 267, 342, 439, 562, 720, 922, 1179, 1506, 1921, 2446),
    *(3108, 3938, 4971, 6249, 7812, 9702, 11955, 14595, 17625, 21025, 24743, 28693, 32768, 36843, 40793),
    *(44511, 47911, 50941, 53581, 55834, 57724, 59287, 60565, 61598, 62428, 63090, 63615, 64030, 64357),
    *(64614, 64816, 64974, 65097, 65194, 65269, 65328, 65374, 65410, 65438, 65459, 65476, 65489, 65500),
    *(65508, 65514),
)
"""round(65536 / (1 + exp(-k / 4))) for k = -32 ... 32"""
FRESH_SLOT = 0x80000000
_TOP = 2**32 - 1
_CODER_BYTES = 4
_WEIGHT_LIMIT = (8 << 16) - 1


def _squash_table() -> list[int]:
    return [
        (_KNOTS[i // 64] * (64 - i % 64) + _KNOTS[i // 64 + 1] * (i % 64) + 32) // 64 for i in range(4096)
    ]


def _stretch_table(squash: list[int]) -> list[int]:
    table, at = [], 1
    for i in range(4096):
        while at < 4095 and squash[at] < i * 16 + 8:
            at += 1
        table.append(at - 2048)
    return table


SQUASH = _squash_table()
"""Probability in 1/65536 of (stretched + 2048)."""
STRETCH = _stretch_table(SQUASH)
"""Stretched of (probability in 1/4096)."""
STEP = [163840 // (5 * n + 8) for n in range(256)]
TRUST = [2240 * n // (7 * n + 10) for n in range(256)]
FRESH_REFINER = [SQUASH[min(max((k - 16) * 128, -2047), 2047) + 2048] for k in range(33)]


class Coder(Protocol):
    """Either direction of the arithmetic coder."""

    def code(self, p1: int, bit: int) -> int:
        """Code `bit`, or return the decoded one; p1 is the probability of a 1 in 1/65536."""
        ...


class Encoder:
    """Bits to bytes."""

    def __init__(self) -> None:
        self._low, self._high = 0, _TOP
        self._out = bytearray()

    def code(self, p1: int, bit: int) -> int:
        cut = self._low + ((self._high - self._low) * p1 >> 16)
        if bit:
            self._high = cut
        else:
            self._low = cut + 1
        while not (self._low ^ self._high) >> 24:
            self._out.append(self._high >> 24)
            self._low = self._low << 8 & _TOP
            self._high = self._high << 8 & _TOP | 255
        return bit

    def finish(self) -> bytes:
        return bytes(self._out) + self._low.to_bytes(_CODER_BYTES, "big")


class Decoder:
    """Bytes to bits; zeros behind the end, which `exhausted_exactly` tells afterwards."""

    def __init__(self, data: bytes) -> None:
        self._low, self._high = 0, _TOP
        self._data = data + bytes(_CODER_BYTES)
        self._size = len(data)
        self._position = _CODER_BYTES
        self._code = int.from_bytes(self._data[:_CODER_BYTES], "big")

    def code(self, p1: int, bit: int) -> int:
        cut = self._low + ((self._high - self._low) * p1 >> 16)
        bit = int(self._code <= cut)
        if bit:
            self._high = cut
        else:
            self._low = cut + 1
        while not (self._low ^ self._high) >> 24:
            byte = self._data[self._position] if self._position < self._size else 0
            self._position += 1
            self._code = self._code << 8 & _TOP | byte
            self._low = self._low << 8 & _TOP
            self._high = self._high << 8 & _TOP | 255
        return bit

    @property
    def ran_over(self) -> bool:
        return self._position > self._size

    @property
    def exhausted_exactly(self) -> bool:
        return self._position == self._size


def learned(slot: int, bit: int, limit: int) -> int:
    """The slot once it has seen the bit."""
    count = slot & 255
    p = slot >> 8
    if bit:
        p += ((0xFFFFFF - p) >> 9) * STEP[count] >> 6
    else:
        p -= (p >> 9) * STEP[count] >> 6
    return p << 8 | (count + 1 if count < limit else count)


def mix(words: list[int], weights: list[int]) -> int:
    total = 0
    for word, weight in zip(words, weights):  # noqa: B905 (a tenth of the whole time)
        total += word * (weight >> 4)
    total >>= 12
    return -2047 if total < -2047 else 2047 if total > 2047 else total


def mix_learn(words: list[int], weights: list[int], error: int) -> None:
    """`error` is (bit - p1) * rate; the weights change in place."""
    for i, word in enumerate(words):
        moved = weights[i] + (word * error + 8192 >> 14)
        weights[i] = (
            -_WEIGHT_LIMIT if moved < -_WEIGHT_LIMIT else _WEIGHT_LIMIT if moved > _WEIGHT_LIMIT else moved
        )


def refine(knots: list[int], mixed: int) -> int:
    at, part = mixed + 2048 >> 7, mixed + 2048 & 127
    return knots[at] * (128 - part) + knots[at + 1] * part >> 7


def refine_learn(knots: list[int], mixed: int, bit: int) -> None:
    at = mixed + 2112 >> 7
    knots[at] += (65535 - knots[at] >> 6) if bit else -(knots[at] >> 6)
