"""Wrong values and wrong bytes: what hostile inputs are made of. The same random generator makes the same."""

from __future__ import annotations

import copy
import json
import random
import struct
import zlib
from typing import Any

_ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1 << 31,
    1 << 63,
    1 << 64,
    10**400,
    -(1 << 63) - 1,
    0.5,
    1e-320,
    1e308,
    float("inf"),
    float("nan"),
    "",
    "z16",
    "mesh",
    "../../escaped",
    "/tmp/escaped",
    "a/b",
    "\ud800",
    "nul\0",
    "two\nlines",
    "x" * 5000,
    [],
    {},
    [[]],
    [1, 2, 3],
    {"a": 1},
    [[0.0] * 4] * 4,
]
_TELLING = (
    b"\0" * 64,
    b"\xff" * 16,
    b"{",
    b"}",
    b"[" * 2000,
    b'"',
    b"NREC",
    b"\n",
    b"\xff\xfe",
    b"1e999",
    b"-",
)
_SIDES = (0, 1, 7, 300, 4096, 30_000, 1 << 31)
_JPEG_SIDES = (0, 1, 7, 14, 20, 300, 4096, 30_000, 65_535)


def odd(chance: random.Random) -> Any:
    """A value that nobody expects there."""
    return copy.deepcopy(chance.choice(_ODD))


def odd_json(chance: random.Random, value: Any) -> Any:
    """The same value with something in it that nobody expects: another value, one more, one less."""
    value = copy.deepcopy(value)
    for _ in range(chance.choice((1, 1, 2, 4))):
        place: Any = value
        while isinstance(place, dict | list) and place:
            key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if not isinstance(place[key], dict | list) or not place[key] or chance.random() < 0.2:
                if chance.random() < 0.15:
                    del place[key]
                else:
                    place[key] = odd(chance)
                break
            place = place[key]
    return odd(chance) if chance.random() < 0.03 else value


def odd_text(chance: random.Random, value: Any) -> bytes:
    """That as a JSON file; now and then one that is none."""
    try:
        text = json.dumps(odd_json(chance, value)).encode()
    except ValueError:
        text = b"{}"
    return damaged(chance, text) if chance.random() < 0.25 else text


def damaged(chance: random.Random, whole: bytes) -> bytes:
    """Bits turned over, stretches cut, doubled, zeroed, made random, or replaced by something telling."""
    out = bytearray(whole)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        if not out:
            break
        at, other = chance.randrange(len(out)), chance.randrange(len(out))
        length = chance.choice((1, 2, 4, 16, 300))
        kind = chance.randrange(8)
        if kind == 0:
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            out[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2 and chance.random() < 0.5:
            del out[at:]
        elif kind == 3:
            del out[at : at + length]
        elif kind == 4:
            out[at:at] = out[other : other + length]
        elif kind == 5:
            out[at : at + length] = chance.randbytes(length)
        elif kind == 6:
            out[at:at] = chance.choice(_TELLING)
        else:
            out[at : at + length] = bytes(length)
    return bytes(out)


def odd_png(chance: random.Random, whole: bytes) -> bytes:
    """A PNG with another head or other data behind checksums that are right, or one that is damaged."""
    if chance.random() < 0.4:
        return damaged(chance, whole)
    head = list(struct.unpack(">IIBBBBB", whole[16:29]))
    if chance.random() < 0.6:
        field = chance.randrange(7)
        head[field] = chance.choice((0, 1, 2, 3, 4, 6, 8, 16, 255) if field > 1 else _SIDES)
        if field < 2 and chance.random() < 0.5:
            head[1 - field] = chance.choice(_SIDES)
        head = [value % (256 if place > 1 else 1 << 32) for place, value in enumerate(head)]
    packed = struct.pack(">IIBBBBB", *head)
    rest = whole[33:]
    if chance.random() < 0.4:
        rest = damaged(chance, rest)
    return whole[:16] + packed + zlib.crc32(b"IHDR" + packed).to_bytes(4, "big") + rest


def odd_jpeg(chance: random.Random, whole: bytes) -> tuple[bytes, tuple[int, int]]:
    """A JPEG that claims another size (which is given too), with anything in front of that claim, or one
    that is damaged."""
    at = whole.find(b"\xff\xc0")
    if not 0 <= at <= len(whole) - 9:  # it has been spoilt before
        return damaged(chance, whole), (0, 0)
    height, width = struct.unpack_from(">HH", whole, at + 5)
    if chance.random() < 0.4:
        return damaged(chance, whole), (width, height)
    size = chance.choice(_JPEG_SIDES), chance.choice(_JPEG_SIDES)
    kind = chance.choice((0xC0, 0xC0, 0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xD9))
    before = chance.choice((b"", b"", b"\xff" * 5, b"\0\1\2", b"\xff\x01", b"\xff\xd0", b"\xff\xd8"))
    frame = struct.pack(">BBHBHH", 0xFF, kind, 17, 8, size[1], size[0])
    rest = whole[at + 9 :]
    if chance.random() < 0.3:
        rest = damaged(chance, rest)
    return whole[:at] + before + frame + rest, size
