"""Bit streams and Golomb codes: the Python twin of the native `bytes.h`.

The first bit is the lowest of the first byte. For side information: some thousands of numbers an image.
"""

from __future__ import annotations

import numpy as np

from codec.errors import CodecError

GOLOMB_BITS = 24
"""Numbers are below 2**24."""

_WINDOW_BYTES = 4096
"""Unpacked at a time: a bit takes a byte then, and what a payload has to say may be long."""


def zigzag(value: int) -> int:
    """0, -1, 1, -2, 2, ... become 0, 1, 2, 3, 4, ..."""
    return -2 * value - 1 if value < 0 else 2 * value


def unzigzag(code: int) -> int:
    return -(code // 2) - 1 if code & 1 else code // 2


def golomb_bits(number: int, order: int) -> int:
    """The length of `put_golomb`'s code."""
    return 2 * (number + (1 << order)).bit_length() - 1 - order


class BitWriter:
    """Collects bits."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def put(self, value: int, bits: int) -> None:
        self._bits += bytes(value >> i & 1 for i in range(bits))

    def put_golomb(self, number: int, order: int) -> None:
        """Exponential Golomb: with v = number + 2**order, n = floor(log2 v): n - order zeros, a one, the
        lowest n bits of v."""
        v = number + (1 << order)
        n = v.bit_length() - 1
        self.put(1 << (n - order), n - order + 1)
        self.put(v & ((1 << n) - 1), n)

    def to_bytes(self) -> bytes:
        """All bits, the last byte filled up with zeros."""
        return np.packbits(np.frombuffer(self._bits, np.uint8), bitorder="little").tobytes()


class BitReader:
    """Takes bits off. Raises CodecError where there are no more."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._bits = b""  # unpacked, one a byte; from _at on not yet taken
        self._at = 0

    def _unpack(self, wanted: int) -> None:
        """Have `wanted` bits ready, or all there are."""
        while len(self._bits) - self._at < wanted and len(self._data):
            window, self._data = self._data[:_WINDOW_BYTES], self._data[_WINDOW_BYTES:]
            unpacked = np.unpackbits(np.frombuffer(window, np.uint8), bitorder="little").tobytes()
            self._bits, self._at = self._bits[self._at :] + unpacked, 0

    def get(self, bits: int) -> int:
        self._unpack(bits)
        end = self._at + bits
        if end > len(self._bits):
            raise CodecError("lattice-rans payload ends within its side information: damaged")
        value = 0
        for i, bit in enumerate(self._bits[self._at : end]):
            value |= bit << i
        self._at = end
        return value

    def get_golomb(self, order: int) -> int:
        longest = GOLOMB_BITS - order + 1
        self._unpack(longest)
        one = self._bits.find(1, self._at, self._at + longest)
        if one < 0:
            raise CodecError("lattice-rans payload has an impossible number in its side information: damaged")
        n = one - self._at + order
        self._at = one + 1
        return (1 << n | self.get(n)) - (1 << order)

    def require_end(self) -> None:
        """Only what fills up the last byte may be left, and must be zero."""
        rest = self._bits[self._at :]
        if len(self._data) or len(rest) >= 8 or any(rest):
            raise CodecError("lattice-rans payload has too much side information: damaged")
