"""`lattice-rans` in NumPy: the twin of the native kernel, for machines without a compiler.

The same bytes and the same pixels, at a hundredth of the speed: about half a second a frame. Rows advance
together as in `wavefront.h`, so each step is NumPy over all lanes; what the rows above say is worked out for
eight steps at once.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from codec.depth import _rans_side as side
from codec.depth._bits import BitReader, BitWriter
from codec.depth._context_model import (
    ESCAPE,
    INVALID,
    MARGIN,
    MAX_RANKS,
    NEIGHBOUR_PLACES,
    SYMBOLS,
    Above,
    ContextMap,
    expect,
    fill,
    look_above,
    look_left,
)
from codec.depth._images import Image
from codec.errors import CodecError

Numbers = npt.NDArray[np.int64]

MIN_LANES, MAX_LANES, DELAY, BLOCK = 2, 32, 16, 8
_LOW = 1 << 15
_FIXED = struct.Struct("<BI")


class Wavefront(NamedTuple):
    """Which pixel a lane codes at a step: see docs/FORMAT.md."""

    height: int
    width: int
    lanes: int
    row_steps: int
    period: int
    steps: int

    @classmethod
    def of(cls, height: int, width: int, lanes: int) -> Wavefront:
        row_steps = -(-(width + 2 * MARGIN) // BLOCK) * BLOCK
        period = max(row_steps, DELAY * lanes)
        last_round, last_lane = divmod(height - 1, lanes)
        steps = last_round * period + last_lane * DELAY + row_steps
        return cls(height, width, lanes, row_steps, period, steps)

    @property
    def has_few_steps(self) -> bool:
        """Whether it is a payload at all: each step takes a tenth of a millisecond, and a narrow image of
        millions of rows would have two for each pixel."""
        return self.steps <= self.height * self.width // 16 + 65536

    def places(self, first: int, count: int) -> tuple[Numbers, Numbers]:
        """Row and column of each (step, lane); outside of the image where there is no pixel."""
        local = np.arange(first, first + count)[:, None] - DELAY * np.arange(self.lanes)
        rounds, position = np.divmod(local, self.period)
        row = rounds * self.lanes + np.arange(self.lanes)
        return np.where((row < self.height) & (position < self.row_steps), row, -1), position - MARGIN

    def is_pixel(self, row: Numbers, column: Numbers) -> npt.NDArray[np.bool_]:
        return (row >= 0) & (column >= 0) & (column < self.width)


def lanes_for(height: int, width: int) -> int:
    """As many as the width feeds and the number of pixels is worth."""
    lanes = min((width + 2 * MARGIN) // DELAY, height * width // 4096, height, MAX_LANES)
    return max(lanes, MIN_LANES)


# ---- encode ------------------------------------------------------------------------------------------------


def encode(image: Image, context_map: ContextMap) -> bytes | None:
    """The body of a payload, or None where the image must be stored in another way."""
    height, width = image.shape
    lanes = lanes_for(height, width)
    if not Wavefront.of(height, width, lanes).has_few_steps:
        return None
    seen = np.zeros(65536, np.bool_)
    seen[image] = True
    seen[0] = False
    values = np.flatnonzero(seen).astype(np.uint16)
    if values.size > MAX_RANKS:
        return None
    rank_of = np.zeros(65536, np.int16)
    rank_of[values] = np.arange(1, values.size + 1)
    ranks = rank_of[image]
    expected = expect(fill(ranks), context_map.weights)
    residual = ranks - expected.prediction
    codes = ((residual << 1) ^ (residual >> 15)).view(np.uint16).astype(np.int64)
    measured = ranks > 0
    symbols = np.where(measured, np.minimum(codes, ESCAPE), INVALID)
    symbols += context_map.class_of[expected.context].astype(np.int64) * SYMBOLS

    escapes: list[list[int]] = [[] for _ in range(lanes)]
    escaping = measured & (codes >= ESCAPE)
    if np.count_nonzero(escaping) > side.escape_limit(image.size):
        return None
    for y in np.flatnonzero(escaping.any(axis=1)).tolist():
        escapes[y % lanes] += (codes[y, escaping[y]] - ESCAPE).tolist()

    bits = BitWriter()
    side.write_palette(bits, values)
    frequency, begin = _write_tables(bits, np.bincount(symbols.ravel(), minlength=0), context_map)
    side.write_escapes(bits, escapes)
    states, words = _put_symbols(symbols, lanes, frequency, begin)
    side_bytes = bits.to_bytes()
    return _FIXED.pack(lanes, len(side_bytes)) + side_bytes + states.astype("<u4").tobytes() + words


def _write_tables(to: BitWriter, counted: Numbers, context_map: ContextMap) -> tuple[Numbers, Numbers]:
    """Frequency and begin of each class * 16 + symbol, and behind them of what is not coded."""
    counts = np.zeros(context_map.classes * SYMBOLS, np.int64)
    counts[: counted.size] = counted
    frequencies: list[int] = []
    for of_class, defaults in zip(
        counts.reshape(-1, SYMBOLS).tolist(), context_map.defaults.tolist(), strict=True
    ):
        codes, is_default = side.choose_codes(of_class, defaults)
        side.write_codes(to, codes, defaults, is_default)
        frequencies += side.frequencies_of(codes)
    return _tables(frequencies)


def _tables(frequencies: list[int]) -> tuple[Numbers, Numbers]:
    frequency = np.zeros(len(frequencies) + SYMBOLS, np.int64)
    frequency[:-SYMBOLS] = frequencies
    frequency[-SYMBOLS] = side.FREQUENCY_SUM
    table = frequency.reshape(-1, SYMBOLS)
    return frequency, (np.cumsum(table, axis=1) - table).ravel()


def _put_symbols(symbols: Numbers, lanes: int, frequency: Numbers, begin: Numbers) -> tuple[Numbers, bytes]:
    height, width = symbols.shape
    wave = Wavefront.of(height, width, lanes)
    row, column = wave.places(0, wave.steps)
    is_pixel = wave.is_pixel(row, column)
    coded = np.full(row.shape, frequency.size - SYMBOLS, np.int64)
    coded[is_pixel] = symbols[row[is_pixel], column[is_pixel]]
    frequencies, begins = frequency[coded], begin[coded]
    limits = frequencies << 31 - side.FREQUENCY_BITS
    state = np.full(lanes, _LOW, np.int64)
    words: list[Numbers] = []
    for step in range(wave.steps - 1, -1, -1):
        full = state >= limits[step]
        if full.any():
            words.append(state[full] & 0xFFFF)
            np.right_shift(state, 16, out=state, where=full)
        quotient, rest = np.divmod(state, frequencies[step])
        state = (quotient << side.FREQUENCY_BITS) + rest + begins[step]
    words.reverse()
    return state, np.concatenate([np.empty(0, np.int64), *words]).astype("<u2").tobytes()


# ---- decode ------------------------------------------------------------------------------------------------


def check_sizes(body: memoryview, height: int, width: int) -> tuple[int, int]:
    """The number of lanes and the bytes of side information. Raises CodecError where it cannot be the body of
    such an image."""
    if len(body) < _FIXED.size:
        raise CodecError(f"lattice-rans payload ends {len(body)} bytes behind its image header: cut short")
    lanes, side_bytes = _FIXED.unpack_from(body)
    rest = len(body) - _FIXED.size - side_bytes - 4 * lanes
    if not MIN_LANES <= lanes <= MAX_LANES or rest < 0 or rest % 2:
        raise CodecError(
            f"lattice-rans payload cannot have {lanes} lanes and {side_bytes} bytes of tables: damaged"
        )
    if not Wavefront.of(height, width, lanes).has_few_steps:
        raise CodecError(
            f"lattice-rans payload cannot have {lanes} lanes for {height} x {width} pixels: damaged"
        )
    return lanes, side_bytes


def decode(body: memoryview, context_map: ContextMap, target: Image) -> None:
    """Fill `target`, uint16 in C order. Raises CodecError."""
    height, width = target.shape
    lanes, side_bytes = check_sizes(body, height, width)
    at = _FIXED.size + side_bytes
    bits = BitReader(body[_FIXED.size : at])
    value_of = side.read_palette(bits)
    frequencies: list[int] = []
    for defaults in side.default_codes(context_map.defaults):
        frequencies += side.frequencies_of(side.read_codes(bits, defaults))
    escapes = side.read_escapes(bits, lanes, side.escape_limit(target.size))
    bits.require_end()
    state = np.frombuffer(body, "<u4", count=lanes, offset=at).astype(np.int64)
    words = np.frombuffer(body, "<u2", offset=at + 4 * lanes)
    decoder = _Decoder(Wavefront.of(height, width, lanes), context_map, frequencies, escapes, state, words)
    decoder.run(value_of, target)
    if not decoder.ended_well():
        raise CodecError("lattice-rans payload does not decode: damaged")


class _Decoder:
    """All lanes, step by step. `rank[line, lane + 2]`, a line a step; columns 0, 1: the rows above lane 0.

    Lines are a window of the steps, which moves on when it is full: what a payload claims to hold decides how
    long the work takes, but not what it costs in memory beside the image.
    """

    _BACK = 2 * DELAY + MARGIN
    _LINES = _BACK + 64 * BLOCK

    def __init__(
        self,
        wave: Wavefront,
        context_map: ContextMap,
        frequencies: list[int],
        escapes: list[list[int]],
        state: Numbers,
        words: npt.NDArray[np.uint16],
    ) -> None:
        self._wave = wave
        self._map = context_map
        self._class_begin = context_map.class_of.astype(np.int64)
        self._frequency, self._begin = _tables(frequencies)
        symbols = np.tile(np.arange(SYMBOLS, dtype=np.int64), self._frequency.size // SYMBOLS)
        self._symbol_at = np.repeat(symbols, self._frequency)
        self._escapes = [iter(lane) for lane in escapes]
        self._state, self._words, self._used = state, words, 0
        self._good = bool(((state >= _LOW) & (state < _LOW << 16)).all())
        self.rank = np.zeros((self._LINES, wave.lanes + 2), np.int16)
        self.valid = np.zeros(self.rank.shape, np.bool_)
        self._now = self._BACK  # the line of the block's first step
        # By position: the rows of the last lane, and of the one before it.
        self._last_rank = np.zeros((2, wave.period), np.int16)
        self._last_valid = np.zeros((2, wave.period), np.bool_)

    def run(self, value_of: npt.NDArray[np.uint16], target: Image) -> None:
        """Fill `target` with the values of the ranks, as far as the payload is good."""
        pixels = target.reshape(-1)
        for first in range(0, self._wave.steps, BLOCK):
            if self._good:
                self._block(first, value_of, pixels)

    def ended_well(self) -> bool:
        used_up = self._used == self._words.size and all(next(lane, None) is None for lane in self._escapes)
        return self._good and used_up and bool((self._state == _LOW).all())

    def _block(self, first: int, value_of: npt.NDArray[np.uint16], pixels: Image) -> None:
        if self._now == self._LINES:
            for lines in (self.rank, self.valid):
                lines[: self._BACK] = lines[-self._BACK :]
            self._now = self._BACK
        wave = self._wave
        row, column = wave.places(first, BLOCK)
        is_pixel = wave.is_pixel(row, column)
        is_margin = (row >= 0) & ~is_pixel
        has_margins = [bool(margins.any()) for margins in is_margin]
        above = look_above(
            lambda name: self._above(self.rank, name),
            lambda name: self._above(self.valid, name),
            self._map.weights,
        )
        fields: tuple[npt.NDArray[Any], ...] = above
        rows = list(zip(*fields, strict=True))  # of each step
        for j in range(BLOCK):
            at = self._now + j
            self._step(at, Above(*rows[j]), is_pixel[j])
            if has_margins[j]:
                self._set_margins(at, np.flatnonzero(is_margin[j]), column[j])
        self._pass_on(first)
        self._write(is_pixel, (row * wave.width + column)[is_pixel], value_of, pixels)
        self._now += BLOCK

    def _write(
        self, is_pixel: npt.NDArray[np.bool_], where: Numbers, value_of: npt.NDArray[np.uint16], pixels: Image
    ) -> None:
        lines = slice(self._now, self._now + BLOCK)
        rank, measured = self.rank[lines, 2:][is_pixel], self.valid[lines, 2:][is_pixel]
        if ((rank < 1) | (rank >= value_of.size))[measured].any():
            self._good = False
            return
        pixels[where] = value_of[np.where(measured, rank, 0)]

    def _above(self, lines: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
        dy, dx = NEIGHBOUR_PLACES[name]
        start = self._now + DELAY * dy + dx
        return lines[start : start + BLOCK, 2 + dy : 2 + dy + self._wave.lanes]

    def _step(self, at: int, above: Above, is_pixel: npt.NDArray[np.bool_]) -> None:
        rank, valid = self.rank, self.valid
        left = rank[at - 1, 2:], rank[at - 2, 2:], valid[at - 1, 2:], valid[at - 2, 2:]
        expected = look_left(above, *left, self._map.weights)
        class_ = np.where(is_pixel, self._class_begin[expected.context], self._map.classes)
        symbol = self._get_symbols(class_)
        measured = symbol != INVALID
        if symbol.max() >= ESCAPE:
            for lane in np.flatnonzero(symbol == ESCAPE).tolist():
                number = next(self._escapes[lane], None)
                self._good = self._good and number is not None
                symbol[lane] = ESCAPE + (number or 0)
        residual = ((symbol >> 1) ^ -(symbol & 1)).astype(np.int16)
        residual += expected.prediction
        rank[at, 2:] = np.where(measured, residual, above.N)
        np.logical_and(measured, is_pixel, out=valid[at, 2:])

    def _get_symbols(self, class_: Numbers) -> Numbers:
        place = self._state & side.FREQUENCY_SUM - 1
        symbol = self._symbol_at[(class_ << side.FREQUENCY_BITS) + place]
        which = class_ * SYMBOLS + symbol
        state = self._frequency[which] * (self._state >> side.FREQUENCY_BITS) + place - self._begin[which]
        empty = state < _LOW
        wanted = int(np.count_nonzero(empty))
        if wanted:
            words = self._words[self._used : self._used + wanted]
            if words.size < wanted:
                self._good = False
                words = np.zeros(wanted, np.uint16)
            self._used += wanted
            state[empty] = state[empty] << 16 | words
        self._state = state
        return symbol

    def _set_margins(self, at: int, lanes: Numbers, column: Numbers) -> None:
        for lane in lanes.tolist():
            if column[lane] < 0:  # the first pixel of the row above
                self.rank[at, lane + 2] = self.rank[at - DELAY - column[lane], lane + 1]
            else:  # the last of the row
                self.rank[at, lane + 2] = self.rank[at - 1, lane + 2]

    def _pass_on(self, first: int) -> None:
        """Keep the rows of the last two lanes, and lay out left of lane 0 those of the round before."""
        wave = self._wave
        lines = slice(self._now, self._now + BLOCK)
        for back in (1, 2):
            for kept, current in ((self._last_rank, self.rank), (self._last_valid, self.valid)):
                since = first - DELAY * (wave.lanes - back)
                if since >= 0:
                    position = since % wave.period
                    kept[back - 1, position : position + BLOCK] = current[lines, 2 + wave.lanes - back]
                if first + DELAY * back >= wave.period:  # else the row above the image: zeros
                    position = (first + DELAY * back) % wave.period
                    current[lines, 2 - back] = kept[back - 1, position : position + BLOCK]
