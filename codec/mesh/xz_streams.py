"""Concatenated .xz streams out of a file that may be damaged.

Promises: memory is bounded whatever the file holds; the content of a stream of up to HOLD_BYTES is given
out only once its checksum has been verified, so a damaged one gives nothing rather than something wrong;
after damage it goes on at the next stream; of a stream that the end of the file cuts off, everything that
had been written comes out. Zeros at the end of a file, as a power cut leaves them, count as not written.

A stream longer than HOLD_BYTES (ours never are; the stock writer makes one of a whole night) is given out
as it is decompressed, and its checksum is known only at its end.
"""

from __future__ import annotations

import lzma
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

HOLD_BYTES = 32 << 20

_MAGIC = b"\xfd7zXZ\x00"
_FOOTER_MAGIC = b"YZ"
_HEADER_BYTES = 12
_FOOTER_BYTES = 12
# Preset 9 needs 65 MiB to decompress; a hostile stream may ask for 4 GiB.
_MEMORY_LIMIT_BYTES = 128 << 20
_OUTPUT_BYTES = 1 << 20
_READ_BYTES = 64 << 10
# Real damage has a few places; a file made of nothing else would keep us busy for ever.
_DAMAGES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Damage:
    """Something wrong at a place in the file."""

    offset: int
    reason: str

    def __str__(self) -> str:
        return f"at byte {self.offset}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of the data. `resumed`: they do not continue the piece before, something is missing between."""

    data: bytes
    resumed: bool = False


def read_streams(fd: int, start: int, damages: list[Damage]) -> Iterator[Piece]:
    """The data of the streams from `start` to the end of the file; what is wrong goes into `damages`."""
    size = os.fstat(fd).st_size
    end = end_without_zeros(fd, start, size)
    position, resumed = start, False
    while position < end:
        stream = XzStream(fd, position, end)
        for data in stream.read():
            yield Piece(data, resumed)
            resumed = False
        if stream.damage is None:
            position = stream.end + padding_at(fd, stream.end, end)
            continue
        damages.append(stream.damage)
        if len(damages) >= _DAMAGES_MAX:
            damages.append(Damage(position, "too much is broken to go on from here"))
            return
        resumed = True
        position = _next_stream(fd, position + 1, end)
    if end < size and not damages:
        damages.append(Damage(end, f"{size - end} zero bytes end the file, as a power cut leaves them"))


class XzStream:
    """One .xz stream between two places of a file.

    After read(): where its `end` is, or which `damage` ended it.
    """

    def __init__(self, fd: int, start: int, limit: int) -> None:
        self._fd, self._start, self._limit = fd, start, limit
        self._decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY_LIMIT_BYTES)
        self._position = start
        self.end = limit
        self.damage: Damage | None = None

    def read(self) -> Iterator[bytes]:
        held: list[bytes] = []
        held_bytes = 0
        try:
            for data in self._decompressed():
                held.append(data)
                held_bytes += len(data)
                if held_bytes > HOLD_BYTES:
                    yield from held
                    held.clear()
        except lzma.LZMAError as error:
            self.damage = Damage(self._start, f"a broken xz stream ({str(error).lower().rstrip('.')})")
            return
        yield from held

    def _decompressed(self) -> Iterator[bytes]:
        decompressor = self._decompressor
        while not decompressor.eof:
            compressed = b""
            if decompressor.needs_input:
                wanted = max(min(_READ_BYTES, self._limit - self._position), 0)
                compressed = os.pread(self._fd, wanted, self._position)
                self._position += len(compressed)
                if not compressed:
                    self.damage = Damage(self._start, "the xz stream that begins here is cut off")
                    return
            data = decompressor.decompress(compressed, _OUTPUT_BYTES)
            if data:
                yield data
        self.end = self._position - len(decompressor.unused_data)


def end_without_zeros(fd: int, start: int, size: int) -> int:
    """Where the zeros that end the file begin; a whole stream never ends in one."""
    end = size
    while end > start:
        block_start = max(start, end - _OUTPUT_BYTES)
        block = os.pread(fd, end - block_start, block_start).rstrip(b"\0")
        if block:
            return block_start + len(block)
        end = block_start
    return start


def ends_with_stream(fd: int, end: int) -> bool:
    """Whether the bytes before `end` are the footer of an .xz stream, its checksum included."""
    footer = os.pread(fd, _FOOTER_BYTES, max(end - _FOOTER_BYTES, 0))
    return (
        len(footer) == _FOOTER_BYTES
        and footer.endswith(_FOOTER_MAGIC)
        and zlib.crc32(footer[4:10]) == int.from_bytes(footer[:4], "little")
    )


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


def _next_stream(fd: int, position: int, end: int) -> int:
    """Where the next stream header with a right checksum begins, or `end`."""
    while position + _HEADER_BYTES <= end:
        block = os.pread(fd, min(_READ_BYTES, end - position), position)
        found = block.find(_MAGIC)
        if found < 0:
            position += max(len(block) - len(_MAGIC) + 1, 1)
            continue
        position += found
        header = os.pread(fd, _HEADER_BYTES, position)
        if zlib.crc32(header[6:8]) == int.from_bytes(header[8:12], "little"):
            return position
        position += 1
    return end
