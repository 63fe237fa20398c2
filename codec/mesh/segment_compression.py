"""How the bytes of a segment become bytes of the file: xz or zstd, at a level.

Each xz segment is a stream of its own, whatever thread compresses it. All zstd segments are one frame,
because the stock reader stops at the end of the first: they are compressed in order, each flushed so that
it can be read without the next.
"""

from __future__ import annotations

import lzma
from typing import Protocol

from codec.errors import CodecError
from codec.mesh.zstd_streams import require_zstandard

DEFAULT_LEVELS = {"xz": 1, "zstd": 3}
LEVELS = {"xz": range(10), "zstd": range(1, 23)}

# With these, differences of 16 bits make smaller files than those of 32, by up to a fifth, and from 4 on at a
# third of the cost; with 0 and from 5 on the wide ones do.
_XZ_NARROW = range(1, 5)

_DICTIONARY_MIN_BYTES = 4096
_DICTIONARY_BITS = (18, 20, 21, 22, 22, 23, 23, 24, 25, 26)


def wants_narrow(name: str, level: int) -> bool:
    """Whether differences should be stored in 16 bits where they fit."""
    return name != "xz" or level in _XZ_NARROW


class SegmentCompression(Protocol):
    """`in_order`: segments must be compressed one after the other."""

    in_order: bool

    def whole(self, data: bytes, level: int) -> bytes:
        """Data that is no segment (the metadata), as a stream of its own."""

    def segment(self, data: bytes, level: int) -> bytes:
        """The next segment, or with xz any."""

    def end(self) -> bytes:
        """What has to follow the last segment."""


def segment_compression(name: str, level: int) -> SegmentCompression:
    """Raises CodecError for settings that cannot work and MissingExtraError where zstandard is missing."""
    if name not in LEVELS:
        raise CodecError(f"compression must be xz or zstd, got {str(name)[:20]!r}")
    levels = LEVELS[name]
    if isinstance(level, bool) or not isinstance(level, int) or level not in levels:
        raise CodecError(f"the preset of {name} must be {levels[0]} to {levels[-1]}, got {level}")
    return XzSegments() if name == "xz" else ZstdSegments(level)


class XzSegments:
    """Independent streams."""

    in_order = False

    def whole(self, data: bytes, level: int) -> bytes:
        return compress_xz(data, level)

    def segment(self, data: bytes, level: int) -> bytes:
        return compress_xz(data, level)

    def end(self) -> bytes:
        return b""


def compress_xz(data: bytes, preset: int) -> bytes:
    """As lzma.compress(preset=), in the memory that this much data takes rather than that of the preset.

    Looking further back than the data is long finds nothing; preset 9 would take 674 MB. Where numbers
    have two bytes, the upper and the lower ones are told apart, which xz does not do by itself.
    """
    size = 1 << max(len(data) - 1, _DICTIONARY_MIN_BYTES - 1).bit_length()
    dictionary_bytes = min(size, 1 << _DICTIONARY_BITS[preset])
    lzma2 = {"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": dictionary_bytes}
    if preset in _XZ_NARROW:
        lzma2 |= {"lp": 1, "pb": 0 if preset == 4 else 1}
    return lzma.compress(data, lzma.FORMAT_XZ, filters=[lzma2])


class ZstdSegments:
    """One frame, with a checksum at its end."""

    in_order = True

    def __init__(self, level: int) -> None:
        self._zstandard = require_zstandard("writing a mesh file compressed with zstd")
        self._compressor = self._zstandard.ZstdCompressor(level=level, write_checksum=True).compressobj()

    def whole(self, data: bytes, level: int) -> bytes:
        return bytes(self._zstandard.ZstdCompressor(level=level, write_checksum=True).compress(data))

    def segment(self, data: bytes, level: int) -> bytes:
        flush = self._zstandard.COMPRESSOBJ_FLUSH_BLOCK
        return bytes(self._compressor.compress(data) + self._compressor.flush(flush))

    def end(self) -> bytes:
        return bytes(self._compressor.flush(self._zstandard.COMPRESSOBJ_FLUSH_FINISH))
