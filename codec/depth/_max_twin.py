"""`max` without a compiler: the same bytes as native/max_mixer.c, and the same pixels, in Python.

Owns the walk over the image: which bits it is made of and in which contexts each is predicted. One class for
both directions, as in the kernel, so that they cannot drift apart. A 640x480 frame takes about ten seconds
either way: enough to read a file on a machine where nothing can be built, not to write many.
docs/FORMAT.md tells the stream in words.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from codec.depth._images import Image
from codec.depth._max_linear import (
    LEFT_TAPS,
    PAD,
    TAP_REACH,
    UNIT_BITS,
    WEIGHT_BITS,
    Fit,
    first_rows,
    from_above,
    push_row,
)
from codec.depth._max_model import (
    FRESH_REFINER,
    FRESH_SLOT,
    SQUASH,
    STRETCH,
    TRUST,
    Coder,
    Decoder,
    Encoder,
    learned,
    mix,
    mix_learn,
    refine,
    refine_learn,
)
from codec.errors import CodecError

_HEADER = struct.Struct("<H29h")
_WIDTH_LIMIT, _VALUES_LIMIT = 16384, 32767

_CONTEXTS, _HASH_BITS, _NODES = 7, 15, 16
_ZERO, _SIGN, _SIZE, _REFINED_NODES = 0, 1, 2, 2
_LARGEST_UNARY, _GAMMA_BITS = 20, 15
_ACTIVITY_STEPS = (24, 40, 56, 72, 96, 128, 192, 320, 640, 1600)
_ACTIVITIES, _FRACTIONS, _ERRORS = 11, 16, 16
_MASK_CONTEXTS, _MASK_HASH, _MASK_MIXERS = 3, 32768, 256

_BIAS_WORD = 256
_RESIDUAL_WEIGHT, _MASK_WEIGHT = 65536 * 4 // 25, 65536 * 3 // 10
_RESIDUAL_RATE, _MASK_RATE = 64, 20
_RESIDUAL_LIMIT, _MASK_LIMIT, _RUN_LIMIT, _PALETTE_LIMIT, _GAMMA_LIMIT = 160, 160, 255, 60, 60
_MASK_MARGIN, _RESIDUAL_MARGIN = 16, 32
_SALTS = tuple(i * 0x10000000 for i in range(_CONTEXTS))
_MASK32 = 2**32 - 1


def encode(image: Image) -> bytes | None:
    """The stream of a uint16 image with pixels, or None where it must be stored in another way."""
    width = image.shape[1]
    values = np.unique(image)
    values = values[values > 0]
    if width > _WIDTH_LIMIT or values.size > _VALUES_LIMIT:
        return None
    rank_of = np.zeros(65536, np.int64)
    rank_of[values] = np.arange(1, values.size + 1)
    ranks = rank_of[image].tolist()
    weights = _fitted(ranks)
    encoder = Encoder()
    walk = _Walk(encoder, width, weights, values.size)
    walk.palette(set(values.tolist()))
    for row in ranks:
        walk.row(row)
    return _HEADER.pack(values.size, *weights) + encoder.finish()


def decode(body: memoryview, target: Image) -> None:
    """Fill `target`, uint16 in C order, at least one pixel. Raises CodecError."""
    height, width = target.shape
    if len(body) < _HEADER.size or width > _WIDTH_LIMIT:
        raise CodecError(f"max payload has {len(body)} bytes for rows of {width} pixels: damaged")
    values, *weights = _HEADER.unpack_from(body)
    if values > _VALUES_LIMIT:
        raise CodecError(f"max payload claims {values} values, the limit is {_VALUES_LIMIT}: damaged")
    decoder = Decoder(bytes(body[_HEADER.size :]))
    walk = _Walk(decoder, width, list(weights), values)
    value_of = np.array([0, *walk.palette(None)], np.uint16)
    nothing = [0] * width
    for y in range(height):
        target[y] = value_of[walk.row(nothing)]
        if decoder.ran_over:
            break
    if not decoder.exhausted_exactly:
        raise CodecError("max payload is longer or shorter than its image: damaged")


def _fitted(ranks: list[list[int]]) -> list[int]:
    """The weights of the linear prediction for an image of ranks."""
    fit = Fit()
    width = len(ranks[0])
    lines, rows = _Lines(width), first_rows(width)
    for y, row in enumerate(ranks):
        lines.begin()
        for x, rank in enumerate(row, PAD):
            if rank:
                lines.put_valid(x, rank, error=0)
            else:
                lines.put_invalid(x)
        lines.end(first=y == 0)
        push_row(rows, lines.rank[0], first=y == 0)
        fit.add_row(rows, map(bool, row), y)
    return fit.weights()


class _Lines:
    """The current line and those above it as contexts see them, newest first, PAD pixels on both sides."""

    def __init__(self, width: int) -> None:
        self._width = width
        size = width + 2 * PAD
        self.rank = [[0] * size] * 3
        self.valid = [[1] * size] * 4
        self.error = [[0] * size] * 2

    def begin(self) -> None:
        """Left of a line lies what lies above its first pixel."""
        room = [0] * (self._width + PAD)
        self.rank = [[self.rank[0][PAD]] * PAD + room, *self.rank[:-1]]
        self.valid = [[self.valid[0][PAD]] * PAD + room, *self.valid[:-1]]
        self.error = [[0] * PAD + room, *self.error[:-1]]

    def end(self, *, first: bool) -> None:
        """Right of a line lies its last pixel; above the first line lie copies of it."""
        for line in (self.rank[0], self.valid[0]):
            line[-PAD:] = [line[-PAD - 1]] * PAD
        if first:
            self.rank = [self.rank[0]] * len(self.rank)

    def put_valid(self, x: int, rank: int, error: int) -> None:
        self.rank[0][x] = rank
        self.valid[0][x] = 1
        self.error[0][x] = error

    def put_invalid(self, x: int) -> None:
        upward = not self.valid[0][x - 1] and self.valid[1][x]
        self.rank[0][x] = self.rank[1][x] if upward else self.rank[0][x - 1]


class _Place(NamedTuple):
    """What is known about a pixel before its residual."""

    linear: int
    expected: int
    hashes: tuple[int, ...]
    activity2: int
    fraction: int
    refiners: tuple[int, int]


def _level(difference: int, reach: int) -> int:
    return 0 if difference < -reach else 2 * reach if difference > reach else difference + reach


class _Walk:
    """Model and position of one image; every method codes in the direction of its coder."""

    def __init__(self, coder: Coder, width: int, weights: list[int], values: int) -> None:
        self._coder = coder
        self._weights = weights
        self._values = values
        self._rows = first_rows(width)
        self._lines = _Lines(width)
        self._first = True
        words = _CONTEXTS + 1
        self._residual = [[FRESH_SLOT] * (1 << _HASH_BITS) for _ in range(_CONTEXTS)]
        self._by_activity = _mixers(_NODES * _ACTIVITIES * 2, words, _RESIDUAL_WEIGHT)
        self._by_fraction = _mixers(_NODES * _FRACTIONS, words, _RESIDUAL_WEIGHT)
        self._refine_activity = [FRESH_REFINER[:] for _ in range(_REFINED_NODES * _FRACTIONS * _ACTIVITIES)]
        self._refine_error = [FRESH_REFINER[:] for _ in range(_REFINED_NODES * _FRACTIONS * _ERRORS)]
        self._gamma = [FRESH_SLOT] * (_GAMMA_BITS + 1)
        self._mask = [[FRESH_SLOT] * _MASK_HASH for _ in range(_MASK_CONTEXTS)]
        self._mask_weights = _mixers(_MASK_MIXERS, _MASK_CONTEXTS + 1, _MASK_WEIGHT)
        self._runs = [FRESH_SLOT] * 16
        self._palette = [FRESH_SLOT] * 512

    def _slot(self, slots: list[int], at: int, limit: int, bit: int) -> int:
        """A bit predicted by one slot alone."""
        p1 = min(max(slots[at] >> 16, _MASK_MARGIN), 65536 - _MASK_MARGIN)
        bit = self._coder.code(p1, bit)
        slots[at] = learned(slots[at], bit, limit)
        return bit

    def palette(self, occurring: set[int] | None) -> list[int]:
        """The values in ascending order; a decoder passes None. Raises CodecError."""
        found: list[int] = []
        gap = gap1 = gap2 = gap3 = 1
        for value in range(1, 65536):
            if len(found) == self._values:
                break
            context = _level(gap - gap1, 3) | _level(gap2 - gap1, 2) << 3 | _level(gap3 - gap1, 1) << 6
            context |= (gap1 > 1) << 8
            if self._slot(self._palette, context, _PALETTE_LIMIT, bool(occurring and value in occurring)):
                found.append(value)
                gap, gap1, gap2, gap3 = 1, gap, gap1, gap2
            else:
                gap += 1
        if len(found) != self._values:
            raise CodecError(f"max payload lists {len(found)} values, not {self._values}: damaged")
        return found

    def row(self, ranks: list[int]) -> list[int]:
        """Code the next row; its ranks, 0 for an invalid pixel. Raises CodecError."""
        lines = self._lines
        lines.begin()
        sums = from_above(self._rows, self._weights)
        coded = []
        for x, (rank, above) in enumerate(zip(ranks, sums, strict=True), PAD):
            if not self._is_valid(x, int(rank > 0)):
                lines.put_invalid(x)
                coded.append(0)
                continue
            place = self._look_around(x, above)
            rank = place.expected + self._code_residual(place, rank - place.expected)
            if not 1 <= rank <= self._values:
                raise CodecError(f"max payload has rank {rank} among {self._values}: damaged")
            error = (rank << UNIT_BITS) - place.linear
            lines.put_valid(x, rank, -1024 if error < -1024 else 1024 if error > 1024 else error)
            coded.append(rank)
        lines.end(first=self._first)
        push_row(self._rows, lines.rank[0], first=self._first)
        self._first = False
        return coded

    # ---- valid or not --------------------------------------------------------------------------------------

    def _is_valid(self, x: int, bit: int) -> int:
        now, above, above2, above3 = self._lines.valid
        near = now[x - 1] | above[x] << 1 | above[x - 1] << 2 | above[x + 1] << 3
        near |= now[x - 2] << 4 | above2[x] << 5 | above[x + 2] << 6 | above[x - 2] << 7
        if near not in (0, 255):
            return self._mixed_mask(near, x, bit)
        far = now[x - 3] | now[x - 4] << 1 | above3[x] << 2
        return self._slot(self._runs, near & 8 | far, _RUN_LIMIT, bit)

    def _mixed_mask(self, near: int, x: int, bit: int) -> int:
        now, above, _ = self._lines.rank
        error, error_above = self._lines.error
        contexts = (
            near,
            near & 31
            | _level(now[x - 1] - above[x], 7) << 5
            | _level(above[x + 1] - above[x], 3) << 9
            | _level(now[x - 1] - now[x - 2], 3) << 12,
            near & 127 | _level(error[x - 1] >> 3, 7) << 7 | _level(error_above[x] >> 3, 7) << 11,
        )
        words = [_word(slots[at]) for slots, at in zip(self._mask, contexts, strict=True)]
        words.append(_BIAS_WORD)
        weights = self._mask_weights[near]
        p1 = SQUASH[mix(words, weights) + 2048]
        bit = self._coder.code(p1, bit)
        mix_learn(words, weights, ((bit << 16) - p1) * _MASK_RATE >> 8)
        for slots, at in zip(self._mask, contexts, strict=True):
            slots[at] = learned(slots[at], bit, _MASK_LIMIT)
        return bit

    # ---- residuals -----------------------------------------------------------------------------------------

    def _look_around(self, x: int, sum_: int) -> _Place:
        rank, rank1, rank2 = self._lines.rank
        error, error1 = self._lines.error
        valid, valid1 = self._lines.valid[:2]
        near = valid[x - 1] | valid1[x] << 1 | valid1[x - 1] << 2 | valid1[x + 1] << 3
        near |= valid[x - 2] << 4 | valid1[x + 2] << 5
        w, n, nw, ne = rank[x - 1], rank1[x], rank1[x - 1], rank1[x + 1]

        for tap in range(LEFT_TAPS):
            difference = rank[x + tap - LEFT_TAPS] - n
            sum_ += self._weights[tap] * (_level(difference, TAP_REACH) - TAP_REACH)
        linear = (n << UNIT_BITS) + (sum_ >> WEIGHT_BITS - UNIT_BITS)
        expected = linear + 32 >> UNIT_BITS
        expected = min(max(expected, min(w, n, nw, ne) - 3), max(w, n, nw, ne) + 3)
        if near & 3 != 3:
            expected = n if near & 2 else ne if near & 9 == 8 else w
        expected = min(max(expected, 1), self._values)

        beyond = linear - (expected << UNIT_BITS)
        fraction = (_level(beyond, 32) >> 2) - (beyond >= 32)
        e_w, e_n, e_ne = error[x - 1], error1[x], error1[x + 1]
        errors = abs(e_w) + abs(e_n) + abs(error1[x - 1]) + abs(e_ne)
        activity = sum(errors >= step for step in _ACTIVITY_STEPS)
        holes = near & 15 != 15
        w, n, nw, ne = w - expected, n - expected, nw - expected, ne - expected
        pattern = _level(w, 2)
        for other in (n, ne, nw, rank[x - 2] - expected, rank2[x] - expected):
            pattern = pattern * 5 + _level(other, 2)
        e_w7 = _level(e_w >> 3, 7)
        keys = (
            (fraction * 16 + activity) * 2 + holes,
            pattern,
            ((fraction // 2 * 16 + e_w7) * 16 + _level(e_n >> 3, 7)) * 16 + _level(e_ne >> 3, 7),
            (fraction * 32 + _level(e_w >> 2, 15)) * 12 + activity,
            ((_level(w, 9) * 19 + _level(n, 9)) * 9 + _level(ne, 4)) * 4 + fraction // 4,
            ((near * 16 + _level(beyond >> UNIT_BITS, 7)) * 8 + fraction // 2) * 12 + activity,
            ((near * 24 + _level(w, 11)) * 24 + _level(n, 11)) * 8 + _level(ne, 3),
        )
        hashes = tuple(_hashed(key + salt) for key, salt in zip(keys, _SALTS, strict=True))
        refiners = fraction * _ACTIVITIES + activity, fraction * _ERRORS + e_w7
        return _Place(linear, expected, hashes, activity * 2 + holes, fraction, refiners)

    def _code_node(self, place: _Place, node: int, bit: int) -> int:
        at = [hash_ ^ node for hash_ in place.hashes]
        slots = [table[i] for table, i in zip(self._residual, at, strict=True)]
        words = [_word(slot) for slot in slots]
        words.append(_BIAS_WORD)
        weights1 = self._by_activity[node * _ACTIVITIES * 2 + place.activity2]
        weights2 = self._by_fraction[node * _FRACTIONS + place.fraction]
        mixed1, mixed2 = mix(words, weights1), mix(words, weights2)
        mixed = mixed1 + mixed2 >> 1
        p1 = SQUASH[mixed + 2048]
        refined = node < _REFINED_NODES
        if refined:
            knots1 = self._refine_activity[node * _FRACTIONS * _ACTIVITIES + place.refiners[0]]
            knots2 = self._refine_error[node * _FRACTIONS * _ERRORS + place.refiners[1]]
            p1 = 2 * p1 + refine(knots1, mixed) + refine(knots2, mixed) >> 2
        p1 = min(max(p1, _RESIDUAL_MARGIN), 65536 - _RESIDUAL_MARGIN)

        bit = self._coder.code(p1, bit)

        mix_learn(words, weights1, ((bit << 16) - SQUASH[mixed1 + 2048]) * _RESIDUAL_RATE >> 8)
        mix_learn(words, weights2, ((bit << 16) - SQUASH[mixed2 + 2048]) * _RESIDUAL_RATE >> 8)
        for table, i, slot in zip(self._residual, at, slots, strict=True):
            table[i] = learned(slot, bit, _RESIDUAL_LIMIT)
        if refined:
            refine_learn(knots1, mixed, bit)
            refine_learn(knots2, mixed, bit)
        return bit

    def _code_residual(self, place: _Place, residual: int) -> int:
        if not self._code_node(place, _ZERO, int(residual != 0)):
            return 0
        negative = self._code_node(place, _SIGN, int(residual < 0))
        size, coded = abs(residual) - 1, 0
        while coded < _LARGEST_UNARY:
            step = coded if coded < 4 else 4 if coded < 8 else 5 if coded < 12 else 6
            if not self._code_node(place, _SIZE + 2 * step + negative, int(size > coded)):
                break
            coded += 1
        if coded == _LARGEST_UNARY:
            coded += self._code_gamma(size - _LARGEST_UNARY + 1) - 1
        return -(coded + 1) if negative else coded + 1

    def _code_gamma(self, number: int) -> int:
        """A number from 1 to 65535 in Elias gamma code, its length learned."""
        bits = 0
        while bits < _GAMMA_BITS and self._slot(
            self._gamma, bits, _GAMMA_LIMIT, int(number >> bits + 1 != 0)
        ):
            bits += 1
        coded = 1
        for i in range(bits - 1, -1, -1):
            coded = coded << 1 | self._coder.code(32768, number >> i & 1)
        return coded


def _mixers(count: int, words: int, weight: int) -> list[list[int]]:
    return [[weight] * words for _ in range(count)]


def _word(slot: int) -> int:
    return STRETCH[slot >> 20] * TRUST[slot & 255] >> 8


def _hashed(key: int) -> int:
    """The upper bits of a mixed-up key: a place in a table."""
    hash_ = key * 0x9E3779B1 & _MASK32
    hash_ ^= hash_ >> 15
    hash_ = hash_ * 0x85EBCA77 & _MASK32
    return (hash_ ^ hash_ >> 13) >> 32 - _HASH_BITS
