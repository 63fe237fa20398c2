"""XXH64, the checksum of zstd frames, for the little that is stored without a compressor."""

from __future__ import annotations

import struct

_MASK = (1 << 64) - 1
_PRIME_1 = 0x9E3779B185EBCA87
_PRIME_2 = 0xC2B2AE3D27D4EB4F
_PRIME_3 = 0x165667B19E3779F9
_PRIME_4 = 0x85EBCA77C2B2AE63
_PRIME_5 = 0x27D4EB2F165667C5
_STRIPE = struct.Struct("<4Q")


def xxh64(data: bytes) -> int:
    """With the seed 0."""
    whole = len(data) // _STRIPE.size * _STRIPE.size
    if whole:
        lanes = [(_PRIME_1 + _PRIME_2) & _MASK, _PRIME_2, 0, -_PRIME_1 & _MASK]
        for stripe in _STRIPE.iter_unpack(data[:whole]):
            lanes = [_round(lane, word) for lane, word in zip(lanes, stripe, strict=True)]
        total = sum(_rotated(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & _MASK
        for lane in lanes:
            total = ((total ^ _round(0, lane)) * _PRIME_1 + _PRIME_4) & _MASK
    else:
        total = _PRIME_5
    return _mixed(_with_rest((total + len(data)) & _MASK, data[whole:]))


def _with_rest(total: int, rest: bytes) -> int:
    """What is left of the data: words of eight bytes, then one of four, then bytes."""
    at = 0
    while at + 8 <= len(rest):
        word = int.from_bytes(rest[at : at + 8], "little")
        total = (_rotated(total ^ _round(0, word), 27) * _PRIME_1 + _PRIME_4) & _MASK
        at += 8
    if at + 4 <= len(rest):
        word = int.from_bytes(rest[at : at + 4], "little")
        total = (_rotated(total ^ (word * _PRIME_1 & _MASK), 23) * _PRIME_2 + _PRIME_3) & _MASK
        at += 4
    for byte in rest[at:]:
        total = _rotated(total ^ (byte * _PRIME_5 & _MASK), 11) * _PRIME_1 & _MASK
    return total


def _mixed(total: int) -> int:
    total = (total ^ total >> 33) * _PRIME_2 & _MASK
    total = (total ^ total >> 29) * _PRIME_3 & _MASK
    return total ^ total >> 32


def _round(lane: int, word: int) -> int:
    return _rotated((lane + word * _PRIME_2) & _MASK, 31) * _PRIME_1 & _MASK


def _rotated(value: int, by: int) -> int:
    return (value << by | value >> 64 - by) & _MASK
