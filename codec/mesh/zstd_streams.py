"""One zstd frame out of a file that may be damaged, through the optional package zstandard.

Memory is bounded whatever the file holds. The stock writer makes one frame of a whole night, without a
checksum: its content is given out as it is decompressed, and damage may come out as wrong content. Ours has
a checksum, which stands at its end: it is read to there first, and a damaged one gives nothing rather than
something wrong. Where the end is not there (a killed writer, a cut) all that had been written comes out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import ModuleType

from codec.errors import MissingExtraError
from codec.mesh.damage import Damage
from codec.mesh.stored_streams import ZSTD_MAGIC

# Level 22, the highest, looks back 128 MiB.
_WINDOW_BYTES = 128 << 20
# Four bytes can stand for a block of 128 KiB, so this many give 16 MiB at most.
_FEED_BYTES = 512
_READ_BYTES = 64 << 10
_CHECKSUM_FLAG = 0x04  # in the frame header's descriptor


def require_zstandard(purpose: str) -> ModuleType:
    """The package, loaded when it is first needed. Raises MissingExtraError."""
    try:
        import zstandard
    except ImportError:
        raise MissingExtraError(package="zstandard", extra="zstd", purpose=purpose) from None
    return zstandard


class ZstdStream:
    """One zstd frame between two places of a file.

    After read(): where its `end` is, or which `damage` ended it; `cut_off` is true where nothing is
    wrong but that the end is not there yet. `whole`: a frame that has no checksum, or not its end, gives
    nothing either. Raises MissingExtraError.
    """

    def __init__(self, fd: int, start: int, limit: int, *, whole: bool = False) -> None:
        self._fd, self._start, self._limit, self._whole = fd, start, limit, whole
        self._zstandard = require_zstandard("reading a mesh file compressed with zstd")
        self.end = limit
        self.damage: Damage | None = None
        self.cut_off = False

    def read(self) -> Iterator[bytes]:
        if self._has_checksum():
            for _ in self._decompressed():
                pass
            if self.damage is not None and (self._whole or not self.cut_off):
                return
            self.damage, self.cut_off = None, False
        elif self._whole:
            self.damage = Damage(self._start, "a zstd frame without a checksum behind damage")
            return
        yield from self._decompressed()

    def _has_checksum(self) -> bool:
        descriptor = os.pread(self._fd, 1, self._start + len(ZSTD_MAGIC))
        return bool(descriptor and descriptor[0] & _CHECKSUM_FLAG)

    def _decompressed(self) -> Iterator[bytes]:
        whole = self._zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
        decompressor = whole.decompressobj()
        for position, part in self._parts():
            try:
                data = decompressor.decompress(part)
            except (self._zstandard.ZstdError, MemoryError) as error:
                reason = str(error).lower().rstrip(".") or "out of memory"
                self.damage = Damage(self._start, f"a broken zstd frame ({reason})")
                return
            if data:
                yield data
            if decompressor.eof:
                self.end = position + len(part) - len(decompressor.unused_data)
                return
        self.cut_off = True
        self.damage = Damage(self._start, "the zstd frame that begins here is cut off")

    def _parts(self) -> Iterator[tuple[int, bytes]]:
        position = self._start
        while position < self._limit:
            block = os.pread(self._fd, min(_READ_BYTES, self._limit - position), position)
            if not block:
                return
            for offset in range(0, len(block), _FEED_BYTES):
                yield position + offset, block[offset : offset + _FEED_BYTES]
            position += len(block)


def next_zstd(fd: int, position: int, end: int) -> int:
    """Where the next frame may begin, or `end`."""
    while position + len(ZSTD_MAGIC) <= end:
        block = os.pread(fd, min(_READ_BYTES, end - position), position)
        found = block.find(ZSTD_MAGIC)
        if found >= 0:
            return position + found
        position += max(len(block) - len(ZSTD_MAGIC) + 1, 1)
    return end
