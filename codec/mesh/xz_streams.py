"""One .xz stream out of a file that may be damaged, and where the next one begins.

Memory is bounded whatever the file holds. The content of a stream of up to HOLD_BYTES is given out only
once its checksum has been verified, so a damaged one gives nothing rather than something wrong; of a stream
that the end of the file cuts off, everything that had been written comes out. A longer stream (ours never
are; the stock writer makes one of a whole night) is given out as it is decompressed, and its checksum is
known only at its end.
"""

from __future__ import annotations

import lzma
import os
import zlib
from collections.abc import Iterator

from codec.mesh.damage import Damage
from codec.mesh.stored_streams import XZ_MAGIC

HOLD_BYTES = 32 << 20

HEADER_BYTES = 12
FOOTER_BYTES = 12
_FOOTER_MAGIC = b"YZ"
# Preset 9 needs 65 MiB to decompress; a hostile stream may ask for 4 GiB.
_MEMORY_LIMIT_BYTES = 128 << 20
_OUTPUT_BYTES = 1 << 20
_READ_BYTES = 64 << 10


class XzStream:
    """One .xz stream between two places of a file.

    After read(): where its `end` is, or which `damage` ended it.
    """

    def __init__(self, fd: int, start: int, limit: int, *, hold_bytes: int = HOLD_BYTES) -> None:
        self._fd, self._start, self._limit = fd, start, limit
        self._hold_bytes = hold_bytes
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
                if held_bytes > self._hold_bytes:
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


def ends_with_xz(fd: int, end: int) -> bool:
    """Whether the bytes before `end` are the footer of an .xz stream, its checksum included."""
    return xz_footer(os.pread(fd, FOOTER_BYTES, max(end - FOOTER_BYTES, 0))) is not None


def xz_footer(footer: bytes) -> int | None:
    """How long the index before this footer is, or None where it is no footer."""
    if (
        len(footer) == FOOTER_BYTES
        and footer.endswith(_FOOTER_MAGIC)
        and zlib.crc32(footer[4:10]) == int.from_bytes(footer[:4], "little")
    ):
        return (int.from_bytes(footer[4:8], "little") + 1) * 4
    return None


def next_xz(fd: int, position: int, end: int) -> int:
    """Where the next stream header with a right checksum begins, or `end`."""
    while position + HEADER_BYTES <= end:
        block = os.pread(fd, min(_READ_BYTES, end - position), position)
        found = block.find(XZ_MAGIC)
        if found < 0:
            position += max(len(block) - len(XZ_MAGIC) + 1, 1)
            continue
        position += found
        header = os.pread(fd, HEADER_BYTES, position)
        if zlib.crc32(header[6:8]) == int.from_bytes(header[8:12], "little"):
            return position
        position += 1
    return end
