"""The array work of `lattice-lz4`: images to ranks to residuals to small codes, and back.

Everything runs in blocks of rows that stay in the second-level cache, in buffers that live as long as the
instance: one instance per thread. Nothing is remembered from one image to the next.

Why this shape: the depth of a stereo camera takes about a thousand values per frame, and the ranks of these
values lie on planes: 19 of 20 residuals are -1, 0 or 1, which is two bits each. The rest escape to 4, 8, then
16 bits. LZ4 sees a sixth of the image's bytes, and the time it saves pays for finding the ranks.
What the bytes mean is written in `lattice_lz4`; this module knows neither headers nor LZ4.
"""

from __future__ import annotations

import sys
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from codec.errors import CodecError

U8: TypeAlias = npt.NDArray[np.uint8]
U16: TypeAlias = npt.NDArray[np.uint16]
I16: TypeAlias = npt.NDArray[np.int16]
U64: TypeAlias = npt.NDArray[np.uint64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Index: TypeAlias = npt.NDArray[np.intp]

MAX_RANKS = 16384
"""Differences of differences of ranks below this fit 16 bits with their sign: sums need not wrap."""

_BLOCK_PIXELS = 65536
"""About a megabyte of buffers. Half of it costs a tenth more for Python's calls, double gains nothing."""
MAX_WIDTH = _BLOCK_PIXELS
"""Wider images would need buffers larger than the cache; they are no depth images and go as byte planes."""

_SAMPLE_PIXELS = 32768
"""The palette is looked for in every k-th row, with k as large as leaves this many pixels."""
_MAX_SAMPLE_STEP = 8
"""The limit of k: small things that lie between two sampled rows would bring too many late values."""
_PIXELS_PER_RANK = 16
"""Fewer sampled pixels than this per value: the image is no lattice and a palette would not pay."""
_NO_RANK = 65535

_ESCAPE = 3
"""The 2-bit code of a residual that does not fit; 0, 1, 2 stand for -1, 0, 1."""
_ESCAPE_MARK = 2
"""What the decoder's table gives for it: no 2-bit code stands for a residual of 2."""
_CODE_OF_ZERO = 1

# Four 16-bit codes c0..c3 in one 64-bit word: multiplied by this, the topmost 16 bits are
# c0 | c1 << 2 | c2 << 4 | c3 << 6. The products below bit 48 never overlap, so nothing carries into them.
_GATHER = (
    np.uint64(1 << 48 | 1 << 34 | 1 << 20 | 1 << 6)
    if sys.byteorder == "little"
    else np.uint64(1 | 1 << 18 | 1 << 36 | 1 << 54)
)


def _spread_table() -> U64:
    """For each byte of four codes their four 16-bit residuals, as one word to copy."""
    byte = np.arange(256)[:, None]
    code = byte >> np.array([0, 2, 4, 6]) & 3
    words: U64 = (code - _CODE_OF_ZERO).astype(np.int16).view(np.uint64).reshape(256)
    return words


_SPREAD = _spread_table()


class TooManyValues(Exception):
    """More ranks than the format allows: not an error, the encoder goes on without a palette."""


class _Block:
    """The buffers as one block of `pixels` sees them: cut once, because cutting costs as much as adding."""

    def __init__(self, buffers: _Buffers, pixels: int) -> None:
        groups = -(-pixels // 4)
        padded = groups * 4
        width = buffers.width
        self.pixels = pixels
        self.index = buffers.index[:pixels]
        self.ranks = buffers.ranks[1 : pixels + 1]
        self.left = buffers.ranks[:pixels]
        self.slopes = buffers.slopes[width : width + pixels]
        self.slopes_above = buffers.slopes[:pixels]
        self.last_slopes = buffers.slopes[pixels : pixels + width]
        self.residuals = buffers.residuals[:pixels]
        self.residual_rows = self.residuals.reshape(-1, width)
        self.residual_padding = buffers.residuals[pixels:padded]
        self.residual_words: U64 = buffers.residuals[:padded].view(np.uint64)
        # Codes, and words made of them, are wanted when the indices are done with: the same, cached memory.
        spare = buffers.index.view(np.uint16)
        self.codes = spare[:padded]
        self.code_rows = spare[:pixels].reshape(-1, width)
        self.code_words: U64 = self.codes.view(np.uint64)
        self.words: U64 = spare[padded : 2 * padded].view(np.uint64)
        self.group_index = buffers.index[:groups]
        self.marks = buffers.marks[:groups]
        self.hits = buffers.hits[:groups]


class _Buffers:
    """The buffers for images of one size, whole rows and a multiple of four pixels long."""

    def __init__(self, height: int, width: int) -> None:
        self.shape = (height, width)
        self.width = width
        rows = min(max(_BLOCK_PIXELS // width // 4, 1), -(-height // 4)) * 4
        self.rows = rows
        size = rows * width
        self.index: Index = np.empty(size, np.intp)
        self.ranks: U16 = np.empty(size + 1, np.uint16)
        self.slopes: U16 = np.empty(size + width, np.uint16)
        self.residuals: U16 = np.empty(size, np.uint16)
        self.marks: U8 = np.empty(size // 4, np.uint8)
        self.hits: Flags = np.empty(size // 4, np.bool_)
        self.above: U16 = np.empty(width, np.uint16)
        # A row, because NumPy's minimum with a single number is five times slower than with an array.
        self.escape_row: U16 = np.full(width, _ESCAPE, np.uint16)
        self.starts = range(0, height * width, size)
        whole = _Block(self, min(size, height * width))
        self.blocks = [whole] * (len(self.starts) - 1) + [_Block(self, height * width - self.starts[-1])]


class BlockCoder:
    """Both directions between a uint16 image and its (packed 2-bit codes, escaped residuals)."""

    def __init__(self) -> None:
        self._seen: Flags = np.zeros(65536, np.bool_)
        self._rank_of: U16 = np.empty(65536, np.uint16)
        self._buffers: _Buffers | None = None

    def _buffers_for(self, height: int, width: int) -> _Buffers:
        if self._buffers is None or self._buffers.shape != (height, width):
            self._buffers = _Buffers(height, width)
        return self._buffers

    # ---- forward -------------------------------------------------------------------------------------------

    def sample_palette(self, image: U16) -> U16 | None:
        """The distinct values of every k-th row in ascending order, or None where a palette would not pay.

        A look at every pixel would cost a third of the whole encoder; the few values that are missed here get
        their ranks when they are met (`_late_ranks`).
        """
        step = max(min(image.size // _SAMPLE_PIXELS, _MAX_SAMPLE_STEP, len(image)), 1)
        rows = image[step // 2 :: step]
        buffers = self._buffers_for(*image.shape)
        self._seen.fill(False)
        for start in range(0, len(rows), buffers.rows):
            part = rows[start : start + buffers.rows]
            index = buffers.index[: part.size]
            np.copyto(index.reshape(part.shape), part)
            self._seen[index] = True
        values = np.flatnonzero(self._seen)
        if values.size > MAX_RANKS or values.size * _PIXELS_PER_RANK > rows.size:
            return None
        return values.astype(np.uint16)

    def encode(self, image: U16, palette: U16 | None, packed: U8) -> tuple[U16, U16]:
        """Fill `packed` with four codes a byte; returns the escaped residuals and the palette that was used.

        Without a palette the values are their own ranks. Raises TooManyValues where late values overflow it.
        """
        buffers = self._buffers_for(*image.shape)
        flat = image.reshape(-1)
        if palette is not None:
            self._rank_of.fill(_NO_RANK)
            self._rank_of[palette] = np.arange(palette.size, dtype=np.uint16)
        buffers.ranks[0] = 0
        buffers.slopes[: buffers.width] = 0
        escaped: list[U16] = []
        for start, block in zip(buffers.starts, buffers.blocks, strict=True):
            values = flat[start : start + block.pixels]
            if palette is None:
                np.copyto(block.ranks, values)
            else:
                np.copyto(block.index, values)
                np.take(self._rank_of, block.index, out=block.ranks, mode="clip")
                if block.ranks.max() == _NO_RANK:
                    palette = self._late_ranks(values, block.ranks, palette)
            _plane_residuals(buffers, block)
            escaped.append(_pack_codes(buffers, block, packed[start // 4 :][: block.hits.size]))
        return np.concatenate(escaped), palette if palette is not None else np.empty(0, np.uint16)

    def _late_ranks(self, values: U16, ranks: U16, palette: U16) -> U16:
        """Give ranks to the values of this block that the sample missed; returns the longer palette."""
        where = np.flatnonzero(ranks == _NO_RANK)
        missed = values[where]
        late = np.array(sorted(set(missed.tolist())), np.uint16)
        longer = np.concatenate((palette, late))
        if longer.size > MAX_RANKS:
            raise TooManyValues
        self._rank_of[late] = np.arange(palette.size, longer.size, dtype=np.uint16)
        ranks[where] = self._rank_of[missed]
        return longer

    # ---- back ----------------------------------------------------------------------------------------------

    def decode(self, packed: U8, escaped: I16, palette: U16 | None, image: U16) -> None:
        """Fill the C-contiguous `image`; CodecError where escapes or ranks do not add up."""
        buffers = self._buffers_for(*image.shape)
        buffers.above.fill(0)
        flat = image.reshape(-1)
        used = 0
        last = 0
        for start, block in zip(buffers.starts, buffers.blocks, strict=True):
            used += _unpack_codes(block, packed[start // 4 :][: block.hits.size], escaped[used:])
            slopes = _sum_columns(buffers, block)
            # NumPy's running sum is four times slower in 16 bits, and take wants intp anyway.
            ranks = block.index
            np.copyto(ranks, slopes.view(np.int16))
            ranks[0] += last
            np.add.accumulate(ranks, out=ranks)
            last = int(ranks[-1])
            target = flat[start : start + block.pixels]
            if palette is None:
                np.copyto(target, ranks, casting="unsafe")
                last &= 0xFFFF
            elif ranks.view(np.uintp).max() >= palette.size:
                raise CodecError(
                    f"lattice-lz4 payload has a rank beyond its palette of {palette.size}: damaged"
                )
            else:
                np.take(palette, ranks, out=target, mode="clip")
        if used != escaped.size:
            raise CodecError(f"lattice-lz4 payload has {escaped.size} escapes and uses {used}: damaged")


def _plane_residuals(buffers: _Buffers, block: _Block) -> None:
    """Ranks to residuals + 1, so that -1, 0, 1 are the codes 0, 1, 2; keeps what the next block needs.

    Each pixel minus its left neighbour is a slope; each slope minus the one above it is a residual. Left of
    the first pixel of a row is the last one of the row before: one long subtraction instead of one per row,
    and it costs nothing, as both sides of an image change slowly from row to row.
    """
    np.subtract(block.ranks, block.left, out=block.slopes)
    np.subtract(block.slopes, block.slopes_above, out=block.residuals)
    np.add(block.residuals, _CODE_OF_ZERO, out=block.residuals)
    buffers.ranks[0] = block.ranks[-1]
    buffers.slopes[: buffers.width] = block.last_slopes


def _pack_codes(buffers: _Buffers, block: _Block, packed: U8) -> U16:
    """Residuals + 1 to 2-bit codes, four a byte, into `packed`; returns the residuals that escaped."""
    np.minimum(block.residual_rows, buffers.escape_row, out=block.code_rows)
    block.residual_padding.fill(_CODE_OF_ZERO)
    block.codes[block.pixels :] = _CODE_OF_ZERO
    np.multiply(block.code_words, _GATHER, out=block.words)
    np.right_shift(block.words, 48, out=block.words)
    np.copyto(packed, block.words, casting="unsafe")
    four = block.residual_words.take(_groups_with_escapes(block, packed)).view(np.uint16)
    return np.compress(four >= _ESCAPE, four) - np.uint16(_CODE_OF_ZERO)


def _groups_with_escapes(block: _Block, packed: U8) -> Index:
    """Which bytes hold a code 3: both bits of a pair set. Half the work of asking every pixel."""
    marks = block.marks
    np.right_shift(packed, 1, out=marks)
    np.bitwise_and(marks, packed, out=marks)
    np.bitwise_and(marks, 0x55, out=marks)
    np.not_equal(marks, 0, out=block.hits)
    return np.flatnonzero(block.hits)


def _unpack_codes(block: _Block, packed: U8, escaped: I16) -> int:
    """Packed codes to residuals with their escapes filled in; returns how many escapes were used."""
    np.copyto(block.group_index, packed)
    np.take(_SPREAD, block.group_index, out=block.residual_words, mode="clip")
    where = _groups_with_escapes(block, packed)
    four = block.residual_words.take(where).view(np.int16)
    holes = np.flatnonzero(four == _ESCAPE_MARK)
    if holes.size > escaped.size:
        raise CodecError("lattice-lz4 payload has fewer escapes than its codes ask for: damaged")
    four[holes] = escaped[: holes.size]
    block.residual_words[where] = four.view(np.uint64)
    return holes.size


def _sum_columns(buffers: _Buffers, block: _Block) -> U16:
    """Residuals to slopes: running sums down the columns, going on from the block above.

    Each step adds what lies 1, 2, 4, ... rows above: few long additions instead of one short one per row.
    """
    slopes, other = block.residuals, block.slopes_above
    lag = buffers.width
    slopes[:lag] += buffers.above
    while lag < block.pixels:
        np.add(slopes[lag:], slopes[:-lag], out=other[lag:])
        other[:lag] = slopes[:lag]
        slopes, other = other, slopes
        lag *= 2
    buffers.above[:] = slopes[-buffers.width :]
    return slopes
