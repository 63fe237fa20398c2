"""A reader of lattice-rans and near payloads written from docs/FORMAT.md alone, pixel by pixel.

It knows nothing of codec/: where the page and the codec part ways, this reader fails. It is there to be held
against the page, not to be fast, and is no guard against damage: of that it names (ValueError) what the page
says of ranks and of the end; before, a damaged payload may end in any error of Python's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[Any]
Reader = Callable[[bytes], Image]
Rows = list[list[int]]
MANTISSAS = (4096, 4467, 4871, 5312, 5793, 6317, 6889, 7512)


class Bits:
    """The numbers of the side information."""

    def __init__(self, data: bytes) -> None:
        self.bits = "".join(f"{byte:08b}"[::-1] for byte in data)
        self.at = 0

    def plain(self, count: int) -> int:
        self.at += count
        return int("0" + self.bits[self.at - count : self.at][::-1], 2)

    def golomb(self, k: int) -> int:
        zeros = self.bits.index("1", self.at) - self.at
        self.at += zeros + 1
        return (1 << zeros + k) + self.plain(zeros + k) - (1 << k)


def unzigzag(number: int) -> int:
    return -(number + 1 >> 1) if number & 1 else number >> 1


def sign(number: int) -> int:
    return (number > 0) - (number < 0)


def palette(bits: Bits) -> list[int]:
    """The value of rank 0, 1, ..., R."""
    count, step, values = bits.golomb(8), 1, [0]
    while len(values) <= count:
        values += [values[-1] + step * (i + 1) for i in range(bits.golomb(0))]
        if len(values) <= count:
            step += unzigzag(bits.golomb(0) + 1)
            values.append(values[-1] + step)
    return values


def frequencies(bits: Bits, default: bytes) -> list[int]:
    """The 16 frequencies of a class, 4096 together."""
    codes = [code + unzigzag(bits.golomb(0)) for code in default] if bits.plain(1) else list(default)
    rough = [code and MANTISSAS[(code - 1) % 8] * 2 ** ((code - 1) // 8) // 4096 for code in codes]
    found = [code and max(1, f * 4096 // sum(rough)) for code, f in zip(codes, rough, strict=True)]
    found[found.index(max(found))] += 4096 - sum(found)
    return found


def rans_image(payload: bytes, context_map: bytes, lattice_lz4: Reader) -> Image:
    """The pixels of a lattice-rans payload, uint8 or uint16 (h, w); `lattice_lz4` reads what mode 0 wraps."""
    mode, _, number, h, w = struct.unpack_from("<BBHII", payload)
    if mode == 0:
        return lattice_lz4(payload[12:])
    map_number, classes, *weights = struct.unpack_from("<HH11h", context_map)
    if map_number != number:
        raise ValueError(f"the payload wants context map {number}")
    class_of, defaults = context_map[26:6281], context_map[6281:]
    lanes, side = struct.unpack_from("<BI", payload, 12)
    bits = Bits(payload[17 : 17 + side])
    values = palette(bits)
    tables = [frequencies(bits, defaults[16 * c : 16 * c + 16]) for c in range(classes)]
    k = bits.plain(3)
    escapes = [iter([bits.golomb(k) for _ in range(bits.golomb(4))]) for _ in range(lanes)]
    states = list(struct.unpack_from(f"<{lanes}I", payload, 17 + side))
    words = iter(np.frombuffer(payload, "<u2", offset=17 + side + 4 * lanes).tolist())

    period = max((w + 4 + 7) // 8 * 8, 16 * lanes)
    order = sorted(
        (y // lanes * period + 16 * (y % lanes) + x + 2, y % lanes, y, x) for y in range(h) for x in range(w)
    )
    # Rows -2, -1, 0, ... and columns -2, -1, 0, ..., w + 1: ranks as filled, and whether they were measured.
    filled = [[0] * (w + 4) for _ in range(h + 2)]
    measured = [[0] * (w + 4) for _ in range(h + 2)]
    pixels = np.zeros((h, w), np.uint16)
    for _, lane, y, x in order:
        row, above = filled[y + 2], filled[y + 1]
        if x == 0:
            row[1] = above[2]
        context, prediction = expect(filled[y : y + 3], measured[y : y + 3], x + 2, weights)
        table = tables[class_of[context]]
        high, q = divmod(states[lane], 4096)
        symbol = 0
        while q >= table[symbol]:
            q -= table[symbol]
            symbol += 1
        states[lane] = table[symbol] * high + q
        if states[lane] < 1 << 15:
            states[lane] = states[lane] * 65536 + next(words)
        if symbol == 15:
            row[x + 2] = above[x + 2]
        else:
            rank = prediction + unzigzag(symbol if symbol < 14 else 14 + next(escapes[lane]))
            if not 1 <= rank < len(values):
                raise ValueError(f"rank {rank} at row {y}, column {x}")
            row[x + 2], measured[y + 2][x + 2], pixels[y, x] = rank, 1, values[rank]
        if x == w - 1:
            row[w + 2] = row[w + 1]
    if set(states) != {1 << 15} or next(words, None) is not None or any([*e] for e in escapes):
        raise ValueError("the lanes do not end as they began")
    return pixels


def expect(r: Rows, m: Rows, i: int, weights: list[int]) -> tuple[int, int]:
    """(context, prediction) of the pixel at place i of the last of three rows: r as filled, m if measured."""
    NNWW, NNW, NN, NNE, NNEE = r[0][i - 2 : i + 3]
    NWW, NW, N, NE, NEE = r[1][i - 2 : i + 3]
    WW, W = r[2][i - 2 : i]
    had_NN, (had_NW, had_N, had_NE, had_NEE), (had_WW, had_W) = m[0][i], m[1][i - 1 : i + 3], m[2][i - 2 : i]
    plane = min(max(W + N - NW, min(W, N) - 1), max(W, N) + 1)
    if had_W and had_N and had_NW and had_NE:
        neighbours = (W, WW, NW, NE, NN, NWW, NEE, NNW, NNE, NNEE, NNWW, N, plane)
        full = (*weights, 96 - sum(weights), -96)
        off = sum(weight * neighbour for weight, neighbour in zip(full, neighbours, strict=True))
        score = max(-10, min(10, ((off + 4 + 32768) % 65536 - 32768) >> 3))
        across, down = N - NW, W - NW
        signs = 81 * sign(down) + 27 * sign(across) + 9 * sign(NE - N - across) + 3 * sign(N - NN - down)
        return 2551 + 243 * score + signs + sign(W - WW - across), plane
    had = (had_W, had_N, had_NW, had_NE, had_WW, had_NEE, had_NN)
    v = sum(bit << place for place, bit in enumerate(had))
    context = 5107 + 9 * v + 3 * sign(W - NW) + sign(N - NW)
    if had_W:
        return context, plane if had_N else W
    return context, NE if had_NE and not had_N else N


def near_image(payload: bytes, context_map: bytes, lattice_lz4: Reader) -> tuple[Image, int, int]:
    """The pixels of a near payload, its bound in 1/256 of 1/32 pixel, and its C."""
    bound, C = struct.unpack_from("<HI", payload, 12)
    return rans_image(payload[18:], context_map, lattice_lz4), bound, C
