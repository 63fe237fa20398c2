"""The compressed data of a mesh file from one place to its end, whatever befell the file.

After damage it goes on at the next .xz stream, or at the next zstd frame that is whole by its checksum.
Zeros at the end of a file, as a power cut leaves them, count as not written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from codec.mesh.damage import Damage
from codec.mesh.xz_streams import HOLD_BYTES, XzStream, next_xz
from codec.mesh.zstd_streams import ZstdStream, next_zstd

_BLOCK_BYTES = 1 << 20
_READ_BYTES = 64 << 10
# Real damage has a few places; a file made of nothing else would keep us busy for ever.
_DAMAGES_MAX = {"xz": 10_000, "zstd": 16}


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of the data. `begins`: they are the first of a stream; `resumed`: they do not continue the piece
    before, something is missing between."""

    data: bytes
    begins: bool = False
    resumed: bool = False


def open_stream(
    compression: str, fd: int, start: int, limit: int, *, hold_bytes: int = HOLD_BYTES, whole: bool = False
) -> XzStream | ZstdStream:
    """The stream that begins there. `whole`: of a zstd frame that is not whole by its checksum, nothing.

    Raises MissingExtraError.
    """
    if compression == "zstd":
        return ZstdStream(fd, start, limit, whole=whole)
    return XzStream(fd, start, limit, hold_bytes=hold_bytes)


def read_streams(
    compression: str, fd: int, start: int, damages: list[Damage], *, growing: bool = False
) -> Iterator[Piece]:
    """The data of the streams from `start` to the end of the file; what is wrong goes into `damages`.

    `growing`: the writer has not closed the file, so that a zstd frame without its end is as it should be.
    """
    size = os.fstat(fd).st_size
    # A zstd frame may end in zeros.
    end = end_without_zeros(fd, start, size) if compression == "xz" else size
    position, resumed = start, False
    while position < end:
        stream = open_stream(compression, fd, position, end, whole=bool(damages))
        begins = True
        for data in stream.read():
            yield Piece(data, begins, resumed)
            begins = resumed = False
        if stream.damage is None:
            position = stream.end + padding_at(fd, stream.end, end)
            continue
        if growing and isinstance(stream, ZstdStream) and stream.cut_off:
            return
        damages.append(stream.damage)
        if len(damages) >= _DAMAGES_MAX[compression]:
            damages.append(Damage(position, "too much is broken to go on from here"))
            return
        resumed = True
        position = (next_zstd if compression == "zstd" else next_xz)(fd, position + 1, end)
    if end < size and not damages:
        damages.append(Damage(end, f"{size - end} zero bytes end the file, as a power cut leaves them"))


def end_without_zeros(fd: int, start: int, size: int) -> int:
    """Where the zeros that end the file begin; a whole .xz stream never ends in one."""
    end = size
    while end > start:
        block_start = max(start, end - _BLOCK_BYTES)
        block = os.pread(fd, end - block_start, block_start).rstrip(b"\0")
        if block:
            return block_start + len(block)
        end = block_start
    return start


def padding_at(fd: int, position: int, end: int) -> int:
    """How many zero bytes stand there between two streams."""
    count = 0
    while position + count < end:
        block = os.pread(fd, min(_READ_BYTES, end - position - count), position + count)
        zeros = len(block) - len(block.lstrip(b"\0"))
        count += zeros
        if zeros < _READ_BYTES:
            break
    return count
