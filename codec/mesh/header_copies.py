"""The copies of the header and the metadata in our bodycompress files, and how they are found again.

There are two. The header slot as it was at the creation stands behind the metadata, before the data: stock
readers seek past it. Header and metadata together stand behind the data of a file that was closed: of an .xz
file as msgpack bytes that are one short of the length they claim, an unfinished object, at which stock
readers end; of a zstd file behind the one frame that they read. So no single place that is damaged takes
all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from codec.errors import FormatError, MissingExtraError
from codec.mesh.bodycompress_format import Header, packed_header, parse_header
from codec.mesh.msgpack_arrays import ObjectStream
from codec.mesh.stored_streams import XZ_MAGIC, ZSTD_MAGIC
from codec.mesh.streams import open_stream

_MARK = b"\nnightrig: header and metadata once more\n"
_BIN, _MAP = b"\xc6", b"\xde"  # msgpack: bytes, their length in four bytes; a map, its size in two
_LENGTH_BYTES = 4
_PREFIX_BYTES = 1 + _LENGTH_BYTES

_SEARCH_BYTES = 4 << 20
"""At either end of a file: a copy that lies elsewhere, or is longer, is not found."""
# What a hostile file may keep us busy with: streams looked at, and what they decompress to.
_TRIES_MAX = 1024
_HEADER_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class HeaderCopy:
    """What a copy says, and the byte it begins at. `has_metadata`: only the one behind the data."""

    header: Header
    offset: int
    metadata: object = None
    has_metadata: bool = False


def pack_copy(header: Header, packed_metadata: bytes) -> bytes:
    """The content of the last stream, not compressed."""
    fields = packed_header(header)
    body = _MARK + len(fields).to_bytes(_LENGTH_BYTES, "big") + fields + packed_metadata
    return _BIN + (len(body) + 1).to_bytes(_LENGTH_BYTES, "big") + body


def begins_copy(content: bytes) -> bool:
    """Whether what a stream decompresses to is the beginning of such a copy, which is no frame."""
    return content[:1] == _BIN and content[_PREFIX_BYTES:].startswith(_MARK)


def find_copy(fd: int, *, max_object_bytes: int) -> HeaderCopy | None:
    """The copy behind the data, or else the one before it, whatever the file is compressed with."""
    return _Search(fd, max_object_bytes).find()


class _Search:
    def __init__(self, fd: int, max_object_bytes: int) -> None:
        self._fd = fd
        self._size = os.fstat(fd).st_size
        self._max_object_bytes = max_object_bytes
        self._bytes_left = 2 * (max_object_bytes + _HEADER_BYTES_MAX)

    def find(self) -> HeaderCopy | None:
        tail_start = max(0, self._size - _SEARCH_BYTES)
        tail = os.pread(self._fd, self._size - tail_start, tail_start)
        copies = (self._copy_at(tail_start + at, name) for at, name in islice(_backwards(tail), _TRIES_MAX))
        if found := next((copy for copy in copies if copy is not None and copy.has_metadata), None):
            return found
        head = os.pread(self._fd, _SEARCH_BYTES, 0)
        copies = (self._copy_at(at, name) for at, name in islice(_forwards(head), _TRIES_MAX))
        return next((copy for copy in copies if copy is not None), None)

    def _copy_at(self, offset: int, compression: str) -> HeaderCopy | None:
        content = b""
        try:
            stream = open_stream(compression, self._fd, offset, self._size, hold_bytes=0, whole=True)
            for data in stream.read():
                content += data
                self._bytes_left -= len(data)
                is_map = content[:1] == _MAP and len(content) <= _HEADER_BYTES_MAX
                if self._bytes_left < 0 or not (is_map or begins_copy(content)):
                    return None  # frames
            if stream.damage is not None:
                return None
            if begins_copy(content):
                return _parse(content, offset, self._max_object_bytes)
            value = next(iter(ObjectStream(max_object_bytes=self._max_object_bytes).feed(content)), None)
            header = parse_header(value)
        except (FormatError, MissingExtraError):
            return None
        return HeaderCopy(header, offset) if header.is_ours and not header.closed else None


def _backwards(block: bytes) -> Iterator[tuple[int, str]]:
    """Where in it streams begin, the last one first, and what they are compressed with."""
    end = len(block)
    while True:
        at = max(block.rfind(XZ_MAGIC, 0, end), block.rfind(ZSTD_MAGIC, 0, end))
        if at < 0:
            return
        yield at, _compression_at(block, at)
        end = at + len(ZSTD_MAGIC) - 1


def _forwards(block: bytes) -> Iterator[tuple[int, str]]:
    start = 0
    while True:
        found = [at for magic in (XZ_MAGIC, ZSTD_MAGIC) if (at := block.find(magic, start)) >= 0]
        if not found:
            return
        yield min(found), _compression_at(block, min(found))
        start = min(found) + 1


def _compression_at(block: bytes, at: int) -> str:
    return "xz" if block.startswith(XZ_MAGIC, at) else "zstd"


def _parse(content: bytes, offset: int, max_object_bytes: int) -> HeaderCopy | None:
    at = _PREFIX_BYTES + len(_MARK)
    end = at + _LENGTH_BYTES + int.from_bytes(content[at : at + _LENGTH_BYTES], "big")
    found = []
    for part in (content[at + _LENGTH_BYTES : end], content[end:]):
        found.append(next(iter(ObjectStream(max_object_bytes=max_object_bytes).feed(part)), None))
    header = parse_header(found[0])
    return HeaderCopy(replace(header, closed=True), offset, metadata=found[1], has_metadata=True)
