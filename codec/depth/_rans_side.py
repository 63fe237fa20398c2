"""The side information of `lattice-rans`: palette, frequency tables, escapes.

Owns how these become bits and back: the twin of `palette.c` and `frequencies.c`. Knows no pixels and no
coder.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from codec.depth._bits import GOLOMB_BITS, BitReader, BitWriter, golomb_bits, unzigzag, zigzag
from codec.depth._context_model import MAX_FREQUENCY_CODE, MAX_RANKS, SYMBOLS, U8
from codec.errors import CodecError

U16 = npt.NDArray[np.uint16]

FREQUENCY_BITS = 12
FREQUENCY_SUM = 1 << FREQUENCY_BITS
_MANTISSA = (4096, 4467, 4871, 5312, 5793, 6317, 6889, 7512)
_BORDER = (4277, 4664, 5087, 5547, 6049, 6597, 7194, 7845)
_COUNT_ORDER, _RANKS_ORDER, _MAX_ORDER = 4, 8, 7
_LARGEST_ESCAPE = 65535 - 14


def escape_limit(pixels: int) -> int:
    """More escapes than this are not stored: such an image is no depth image."""
    return min(pixels // 4 + 64, (1 << GOLOMB_BITS) - 1)


def _damaged(what: str) -> CodecError:
    return CodecError(f"lattice-rans payload has an impossible {what}: damaged")


# ---- palette -----------------------------------------------------------------------------------------------


def write_palette(to: BitWriter, values: U16) -> None:
    """The distinct values of an image other than 0, ascending."""
    to.put_golomb(values.size, _RANKS_ORDER)
    step, before, repeats = 1, 0, 0
    for value in values.tolist():
        next_step = value - before
        before = value
        if next_step == step:
            repeats += 1
            continue
        to.put_golomb(repeats, 0)
        to.put_golomb(zigzag(next_step - step) - 1, 0)
        step, repeats = next_step, 0
    if repeats:
        to.put_golomb(repeats, 0)


def read_palette(from_: BitReader) -> U16:
    """uint16 (ranks + 1,): the value of rank 0 (which is 0), 1, 2, ..."""
    ranks = from_.get_golomb(_RANKS_ORDER)
    if ranks > MAX_RANKS:
        raise _damaged("number of values")
    values, step, value = [0], 1, 0
    while len(values) <= ranks:
        repeats = from_.get_golomb(0)
        if repeats > ranks + 1 - len(values) or value + repeats * step > 65535:
            raise _damaged("palette")
        values += range(value + step, value + step * (repeats + 1), step)
        value += repeats * step
        if len(values) > ranks:
            break
        change = from_.get_golomb(0)
        step += unzigzag(change + 1)
        value += step
        if change >= 2 * 65536 or step < 1 or value > 65535:
            raise _damaged("palette")
        values.append(value)
    return np.array(values, np.uint16)


# ---- frequency tables --------------------------------------------------------------------------------------


def _frequency_of_code(code: int) -> int:
    return _MANTISSA[(code - 1) % 8] << (code - 1) // 8 >> 12 if code else 0


def code_of_frequency(frequency: int) -> int:
    octave = frequency.bit_length() - 1
    mantissa = (frequency << 12) >> octave
    return 1 + 8 * octave + sum(mantissa >= border for border in _BORDER)


def _difference_bits(code: int, usual: int) -> int:
    return golomb_bits(zigzag(code - usual), 0)


def choose_codes(counts: Sequence[int], defaults: Sequence[int]) -> tuple[list[int], bool]:
    """The frequency codes a class is stored with, and whether they are its default ones."""
    total = sum(counts)
    codes, cost, default_cost, default_fits = [], 0, 0, True
    for count, default in zip(counts, defaults, strict=True):
        if count:
            code = code_of_frequency(max((count * FREQUENCY_SUM + total // 2) // total, 1))
            cost += count * (MAX_FREQUENCY_CODE - code)
            default_cost += count * (MAX_FREQUENCY_CODE - default)
            default_fits = default_fits and default > 0
        else:
            share = total * _frequency_of_code(default) * 23 // 16
            code = default if share < FREQUENCY_SUM * (_difference_bits(0, default) - 1) else 0
        codes.append(code)
        cost += 8 * _difference_bits(code, default)
    if not default_fits or cost < default_cost:
        return codes, False
    return list(defaults), True


def write_codes(to: BitWriter, codes: Sequence[int], defaults: Sequence[int], is_default: bool) -> None:
    to.put(not is_default, 1)
    if not is_default:
        for code, default in zip(codes, defaults, strict=True):
            to.put_golomb(zigzag(code - default), 0)


def read_codes(from_: BitReader, defaults: Sequence[int]) -> list[int]:
    if not from_.get(1):
        return list(defaults)
    codes = [default + unzigzag(from_.get_golomb(0)) for default in defaults]
    if min(codes) < 0 or max(codes) > MAX_FREQUENCY_CODE or not any(codes):
        raise _damaged("frequency")
    return codes


def frequencies_of(codes: Sequence[int]) -> list[int]:
    """Frequencies with the sum 4096, at least 1 for each code other than 0."""
    values = [_frequency_of_code(code) for code in codes]
    total = sum(values)
    scaled = [
        max(value * FREQUENCY_SUM // total, 1 if code else 0)
        for value, code in zip(values, codes, strict=True)
    ]
    most = max(range(SYMBOLS), key=scaled.__getitem__)  # the first of equals
    scaled[most] += FREQUENCY_SUM - sum(scaled)
    return scaled


def default_codes(defaults: U8) -> list[list[int]]:
    """The default tables of a map as plain numbers."""
    codes: list[list[int]] = defaults.tolist()
    return codes


# ---- escapes -----------------------------------------------------------------------------------------------


def write_escapes(to: BitWriter, of_lanes: Sequence[Sequence[int]]) -> None:
    everything = [number for lane in of_lanes for number in lane]
    cost = [sum(golomb_bits(number, order) for number in everything) for order in range(_MAX_ORDER + 1)]
    order = cost.index(min(cost))
    to.put(order, 3)
    for lane in of_lanes:
        to.put_golomb(len(lane), _COUNT_ORDER)
        for number in lane:
            to.put_golomb(number, order)


def read_escapes(from_: BitReader, lanes: int, limit: int) -> list[list[int]]:
    order = from_.get(3)
    of_lanes: list[list[int]] = []
    for _ in range(lanes):
        count = from_.get_golomb(_COUNT_ORDER)
        if count > limit:
            raise _damaged("number of escapes")
        limit -= count
        of_lanes.append([from_.get_golomb(order) for _ in range(count)])
        if of_lanes[-1] and max(of_lanes[-1]) > _LARGEST_ESCAPE:
            raise _damaged("escape")
    return of_lanes
