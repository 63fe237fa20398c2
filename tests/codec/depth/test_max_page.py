"""What docs/FORMAT.md says of max is enough: a decoder written from that page alone reads the payloads."""

from __future__ import annotations

import math
import struct
import zlib
from collections import defaultdict

import numpy as np
import pytest

from codec.depth import get_codec
from tests.codec.depth.test_max import PICTURES

STEPS = (24, 40, 56, 72, 96, 128, 192, 320, 640, 1600)
K = [round(65536 / (1 + math.exp(-k / 4))) for k in range(-32, 33)]
WINDOW = [(0, dx) for dx in range(-5, 0)] + [(-1, dx) for dx in range(-4, 5) if dx]
WINDOW += [(-2, dx) for dx in range(-3, 4)] + [(-3, dx) for dx in range(-2, 3)]
WINDOW += [(-4, -1), (-4, 0), (-4, 1), (-5, 0)]


def clip(v, b):
    return max(-b, min(b, v))


def q(v, b):
    return clip(v, b) + b


def squash(t):
    i, j = divmod(t + 2048, 64)
    return (K[i] * (64 - j) + K[i + 1] * j + 32) // 64


STRETCH = [next((t for t in range(-2047, 2048) if squash(t) >= 16 * v + 8), 2047) for v in range(4096)]


class Slot:
    def __init__(self):
        self.P, self.c = 2**23, 0

    def learn(self, bit, m):
        s = 163840 // (5 * self.c + 8)
        self.P += ((2**24 - 1 - self.P) >> 9) * s >> 6 if bit else -((self.P >> 9) * s >> 6)
        self.c += self.c < m

    def word(self):
        return STRETCH[self.P >> 12] * (2240 * self.c // (7 * self.c + 10)) >> 8


class Mixer:
    def __init__(self, words, weight):
        self.weights = [weight] * (words + 1)

    def sum(self, words):
        return clip(sum(a * (b >> 4) for a, b in zip(words, self.weights, strict=True)) >> 12, 2047)

    def learn(self, words, t, bit, rate):
        e = (65536 * bit - squash(t)) * rate >> 8
        self.weights = [
            clip(b + (a * e + 8192 >> 14), 2**19 - 1) for a, b in zip(words, self.weights, strict=True)
        ]


class Stranger:
    def __init__(self, payload):
        mode, size, n, self.h, self.w = struct.unpack_from("<BBHII", payload)
        assert (mode, size, n) == (1, 2, 0)
        self.crc, self.R, *self.weights = struct.unpack_from("<IH29h", payload, 12)
        self.data, self.at = payload[76:], 4
        self.L, self.H, self.V = 0, 2**32 - 1, int.from_bytes(payload[76:80], "big")
        self.slots = defaultdict(Slot)
        self.masks = defaultdict(lambda: Mixer(3, 19660))
        self.mixers = defaultdict(lambda: Mixer(7, 10485))
        self.refiners = defaultdict(lambda: [squash(clip(128 * (k - 16), 2047)) for k in range(33)])
        self.f, self.measured, self.e = {}, {}, {}

    def bit(self, p):
        C = self.L + ((self.H - self.L) * p >> 16)
        bit = int(self.V <= C)
        self.L, self.H = (self.L, C) if bit else (C + 1, self.H)
        while self.L >> 24 == self.H >> 24:
            byte = self.data[self.at] if self.at < len(self.data) else 0
            self.at += 1
            self.L, self.H = self.L * 256 % 2**32, (self.H * 256 + 255) % 2**32
            self.V = (self.V * 256 + byte) % 2**32
        return bit

    def one_slot(self, name, m):
        bit = self.bit(max(16, min(65520, self.slots[name].P >> 8)))
        self.slots[name].learn(bit, m)
        return bit

    def palette(self):
        values, last, g1, g2, g3 = [0], 0, 1, 1, 1
        value = 0
        while len(values) <= self.R:
            value += 1
            g = value - last
            at = q(g - g1, 3) + 8 * q(g2 - g1, 2) + 64 * q(g3 - g1, 1) + 256 * (g1 > 1)
            if self.one_slot(("palette", at), 60):
                values.append(value)
                last, g1, g2, g3 = value, g, g1, g2
        return values

    def where(self, y, x):
        """A place outside the image is like another one: (row, column), or None above row 0 at first."""
        if y < 0:
            if not self.row0_done:
                return None
            y = 0
        while x < 0:
            if y == 0:
                return None
            y, x = y - 1, 0
        return y, min(x, self.w - 1)

    def rank(self, y, x):
        at = self.where(y, x)
        return 0 if at is None else self.f[at]

    def was(self, y, x):
        if y < 0 or (y == 0 and x < 0):
            return 1
        return self.was(y - 1, 0) if x < 0 else self.measured[y, min(x, self.w - 1)]

    def pixel(self, y, x):
        def f(dy, dx):
            return self.rank(y + dy, x + dx)

        def m(dy, dx):
            return self.was(y + dy, x + dx)

        def e(dy, dx):
            return self.e.get((y + dy, x + dx), 0)

        near = [(0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-1, 2), (-1, -2)]
        v = sum(m(*at) << i for i, at in enumerate(near))
        W, N, NW, NE, WW, NN = (f(*at) for at in near[:6])
        if v in (0, 255):
            far = m(0, -3) + 2 * m(0, -4) + 4 * m(-3, 0)
            measured = self.one_slot(("run", (v % 16 >> 3) * 8 + far), 255)
        else:
            places = (
                v,
                v % 32 + 32 * q(W - N, 7) + 512 * q(NE - N, 3) + 4096 * q(W - WW, 3),
                v % 128 + 128 * q(e(0, -1) >> 3, 7) + 2048 * q(e(-1, 0) >> 3, 7),
            )
            slots = [self.slots["mask", i, at] for i, at in enumerate(places)]
            words = [slot.word() for slot in slots] + [256]
            t = self.masks[v].sum(words)
            measured = self.bit(squash(t))
            self.masks[v].learn(words, t, measured, 20)
            for slot in slots:
                slot.learn(measured, 160)
        self.measured[y, x] = measured
        if not measured:
            self.f[y, x] = N if m(-1, 0) and not m(0, -1) else W
            return 0

        S = sum(a * clip(f(*at) - N, 12) for a, at in zip(self.weights, WINDOW, strict=True))
        P = 64 * N + (S >> 4)
        E = min(max(P + 32 >> 6, min(W, N, NW, NE) - 3), max(W, N, NW, NE) + 3)
        if v & 3 != 3:
            E = N if v & 2 else NE if v & 8 and not v & 1 else W
        E = min(max(E, 1), self.R)
        B = P - 64 * E
        F = (q(B, 32) >> 2) - (B >= 32)
        A = sum(s <= abs(e(0, -1)) + abs(e(-1, 0)) + abs(e(-1, -1)) + abs(e(-1, 1)) for s in STEPS)
        h = int(v & 15 != 15)
        u = v & 31 | (v >> 6 & 1) << 5
        w, n, nw, ne, ww, nn = W - E, N - E, NW - E, NE - E, WW - E, NN - E
        G, ew = F >> 1, q(e(0, -1) >> 3, 7)
        keys = [
            (16 * F + A) * 2 + h,
            ((((q(w, 2) * 5 + q(n, 2)) * 5 + q(ne, 2)) * 5 + q(nw, 2)) * 5 + q(ww, 2)) * 5 + q(nn, 2),
            ((16 * G + ew) * 16 + q(e(-1, 0) >> 3, 7)) * 16 + q(e(-1, 1) >> 3, 7),
            (32 * F + q(e(0, -1) >> 2, 15)) * 12 + A,
            ((q(w, 9) * 19 + q(n, 9)) * 9 + q(ne, 4)) * 4 + (F >> 2),
            ((16 * u + q(B >> 6, 7)) * 8 + G) * 12 + A,
            ((24 * u + q(w, 11)) * 24 + q(n, 11)) * 8 + q(ne, 3),
        ]
        hashes = []
        for i, key in enumerate(keys):
            k = (key + 2**28 * i) * 0x9E3779B1 % 2**32
            k ^= k >> 15
            k = k * 0x85EBCA77 % 2**32
            hashes.append((k ^ k >> 13) >> 17)

        def bit(z):
            slots = [self.slots["residual", i, at ^ z] for i, at in enumerate(hashes)]
            words = [slot.word() for slot in slots] + [256]
            one, two = self.mixers["A", z, 2 * A + h], self.mixers["F", z, F]
            t1, t2 = one.sum(words), two.sum(words)
            t = t1 + t2 >> 1
            p = squash(t)
            refiners = [self.refiners["A", z, F, A], self.refiners["e", z, F, ew]] if z < 2 else []
            if refiners:
                i, j = divmod(t + 2048, 128)
                p = 2 * p + sum(T[i] * (128 - j) + T[i + 1] * j >> 7 for T in refiners) >> 2
            bit = self.bit(max(32, min(65504, p)))
            one.learn(words, t1, bit, 64)
            two.learn(words, t2, bit, 64)
            for slot in slots:
                slot.learn(bit, 160)
            for T in refiners:
                i = (t + 2112) // 128
                T[i] += (65535 - T[i]) >> 6 if bit else -(T[i] >> 6)
            return bit

        d = 0
        if bit(0):
            negative, a = bit(1), 0
            while a < 20 and bit(2 + 2 * (a if a < 4 else 4 if a < 8 else 5 if a < 12 else 6) + negative):
                a += 1
            size = a + 1
            if a == 20:
                ones, number = 0, 1
                while ones < 15 and self.one_slot(("gamma", ones), 60):
                    ones += 1
                for _ in range(ones):
                    number = 2 * number + self.bit(32768)
                size = number + 20
            d = -size if negative else size
        r = E + d
        assert 1 <= r <= self.R
        self.f[y, x] = r
        self.e[y, x] = clip(64 * r - P, 1024)
        return r

    def read(self):
        values = self.palette()
        pixels = np.zeros((self.h, self.w), np.uint16)
        for y in range(self.h):
            self.row0_done = y > 0
            for x in range(self.w):
                pixels[y, x] = values[self.pixel(y, x)]
        assert self.at == len(self.data)
        assert zlib.crc32(pixels.astype("<u2").tobytes()) == self.crc
        return pixels


@pytest.mark.parametrize("case", ["a camera's", "holes", "edges", "narrower than the window", "all invalid"])
def test_a_decoder_written_from_the_page_alone_reads_it(case: str) -> None:
    image = PICTURES[case]
    payload = get_codec("max").encode(image)
    np.testing.assert_array_equal(Stranger(payload).read(), image)
