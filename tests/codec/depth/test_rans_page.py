"""docs/FORMAT.md is enough to read lattice-rans: a reader written from it, without any of our code."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from codec.depth import get_codec
from tests.codec.depth.test_lattice_lz4 import disparity_image
from tests.codec.depth.test_lattice_rans import PICTURES

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parent / "golden"
MANTISSA = (4096, 4467, 4871, 5312, 5793, 6317, 6889, 7512)
WEIGHED = ("W", "WW", "NW", "NE", "NN", "NWW", "NEE", "NNW", "NNE", "NNEE", "NNWW")


class Bits:
    def __init__(self, data: bytes) -> None:
        self.bits = [byte >> i & 1 for byte in data for i in range(8)]
        self.at = 0

    def take(self, count: int) -> int:
        self.at += count
        return sum(bit << i for i, bit in enumerate(self.bits[self.at - count : self.at]))

    def golomb(self, k: int) -> int:
        z = 0
        while not self.take(1):
            z += 1
        return 2 ** (z + k) + self.take(z + k) - 2**k


def unzigzag(code: int) -> int:
    return -(code // 2) - 1 if code % 2 else code // 2


def palette(bits: Bits) -> list[int]:
    count, values, step = bits.golomb(8), [0], 1
    while len(values) <= count:
        for _ in range(bits.golomb(0)):
            values.append(values[-1] + step)
        if len(values) <= count:
            step += unzigzag(bits.golomb(0) + 1)
            values.append(values[-1] + step)
    return values


def frequencies(bits: Bits, codes: list[int]) -> list[int]:
    if bits.take(1):
        codes = [code + unzigzag(bits.golomb(0)) for code in codes]
    raw = [MANTISSA[(code - 1) % 8] * 2 ** ((code - 1) // 8) // 4096 if code else 0 for code in codes]
    table = [max(f * 4096 // sum(raw), int(code > 0)) for f, code in zip(raw, codes, strict=True)]
    table[table.index(max(table))] += 4096 - sum(table)
    return table


def wrapped(number: int) -> int:
    return (number + 32768) % 65536 - 32768


def sign(number: int) -> int:
    return (wrapped(number) > 0) - (wrapped(number) < 0)


class Rows:
    """f(y, x) and whether it was measured, outside of the image too."""

    def __init__(self, h: int, w: int) -> None:
        self.f = np.zeros((h + 2, w + 4), int)
        self.measured = np.zeros((h + 2, w + 4), bool)

    def look(self, y: int, x: int) -> tuple[dict[str, int], dict[str, bool]]:
        names = ("N", *WEIGHED)
        places = [(y + 2 - n.count("N"), x + 2 + n.count("E") - n.count("W")) for n in names]
        ranks = {n: int(self.f[p]) for n, p in zip(names, places, strict=True)}
        return ranks, {n: bool(self.measured[p]) for n, p in zip(names, places, strict=True)}

    def put(self, y: int, x: int, rank: int | None) -> None:
        self.measured[y + 2, x + 2] = rank is not None
        self.f[y + 2, x + 2] = self.f[y + 1, x + 2] if rank is None else rank
        if x == self.f.shape[1] - 5:
            self.f[y + 2, -2:] = self.f[y + 2, x + 2]

    def begin(self, y: int) -> None:
        self.f[y + 2, :2] = self.f[y + 1, 2]


def expected(f: dict[str, int], v: dict[str, bool], weights: list[int]) -> tuple[int, int]:
    """Context and prediction."""
    plane = min(max(f["W"] + f["N"] - f["NW"], min(f["W"], f["N"]) - 1), max(f["W"], f["N"]) + 1)
    across, down = f["N"] - f["NW"], f["W"] - f["NW"]
    if v["W"] and v["N"] and v["NW"] and v["NE"]:
        off = sum(weight * f[name] for weight, name in zip(weights, WEIGHED, strict=True))
        off += (96 - sum(weights)) * f["N"] - 96 * plane
        score = max(min(wrapped(wrapped(off) + 4) >> 3, 10), -10)
        context = (
            2551 + 243 * score + 81 * sign(down) + 27 * sign(across) + 9 * sign(f["NE"] - f["N"] - across)
        )
        return context + 3 * sign(f["N"] - f["NN"] - down) + sign(f["W"] - f["WW"] - across), plane
    which = sum(2**i * v[name] for i, name in enumerate(("W", "N", "NW", "NE", "WW", "NEE", "NN")))
    context = 5107 + 9 * which + 3 * sign(down) + sign(across)
    if v["W"]:
        return context, plane if v["N"] else f["W"]
    return context, f["NE"] if v["NE"] and not v["N"] else f["N"]


def stranger_reads(payload: bytes) -> npt.NDArray[Any]:
    mode, _, number, h, w = struct.unpack_from("<BBHII", payload)
    assert mode == 1
    lanes, side = struct.unpack_from("<BI", payload, 12)
    trained = (ROOT / "codec" / "depth" / "maps" / f"{number}.map").read_bytes()
    classes, *weights = struct.unpack_from("<H11h", trained, 2)
    class_of, defaults = trained[26 : 26 + 6255], trained[26 + 6255 :]
    bits = Bits(payload[17 : 17 + side])
    values = palette(bits)
    tables = [frequencies(bits, list(defaults[16 * c : 16 * c + 16])) for c in range(classes)]
    k = bits.take(3)
    escapes = [[bits.golomb(k) for _ in range(bits.golomb(4))] for _ in range(lanes)]
    states = list(struct.unpack_from(f"<{lanes}I", payload, 17 + side))
    words = [word for (word,) in struct.iter_unpack("<H", payload[17 + side + 4 * lanes :])]
    period = max(-(-(w + 4) // 8) * 8, 16 * lanes)
    order = sorted(
        (y // lanes * period + 16 * (y % lanes) + x + 2, y % lanes, y, x) for y in range(h) for x in range(w)
    )
    rows, pixels = Rows(h, w), np.zeros((h, w), np.uint16)
    for _, lane, y, x in order:
        if x == 0:
            rows.begin(y)
        context, prediction = expected(*rows.look(y, x), weights)
        table, state = tables[class_of[context]], states[lane]
        symbol, begin, q = 0, 0, state % 4096
        while q >= begin + table[symbol]:
            begin += table[symbol]
            symbol += 1
        state = table[symbol] * (state // 4096) + q - begin
        states[lane] = state if state >= 2**15 else state * 65536 + words.pop(0)
        z = 14 + escapes[lane].pop(0) if symbol == 14 else symbol
        rank = None if symbol == 15 else wrapped(prediction + unzigzag(z))
        rows.put(y, x, rank)
        pixels[y, x] = 0 if rank is None else values[rank]
    assert states == [2**15] * lanes
    assert not words
    assert not any(escapes)
    return pixels


@pytest.mark.parametrize("case", sorted(path.stem for path in GOLDEN.glob("lattice-rans-map*.bin")))
def test_a_stranger_reads_the_stored_payloads(case: str) -> None:
    payload = (GOLDEN / f"{case}.bin").read_bytes()
    np.testing.assert_array_equal(stranger_reads(payload), get_codec("lattice-rans").decode(payload))


@pytest.mark.parametrize("case", ["one lane busy", "fewer rows than lanes", "all invalid", "last value"])
def test_a_stranger_reads_what_is_written_today(case: str) -> None:
    image = PICTURES[case]
    np.testing.assert_array_equal(stranger_reads(get_codec("lattice-rans").encode(image)), image)


def test_a_stranger_reads_the_payload_inside_near() -> None:
    image = disparity_image(40, 90, seed=31)
    payload = get_codec("near").encode(image)
    np.testing.assert_array_equal(stranger_reads(payload[18:]), get_codec("near").decode(payload))
