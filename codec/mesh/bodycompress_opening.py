"""The beginning of a bodycompress file of any version: its header, its metadata, where its data begins.

    0.1     one .xz stream: the metadata, then the frames; no header
    0.2     header, zeros, metadata, frames: .xz streams; the header does not say where the metadata is
    0.2.2+  the same, and it does
    0.3     the same, .xz or zstd, with a vertex order

Reads no more of the file than it must, and never more than a small multiple of what one object may take.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import islice

from codec.errors import DamagedError, FormatError, NotOurFileError
from codec.mesh.bodycompress_format import Header, header_of_01, is_header, parse_header
from codec.mesh.damage import Damage
from codec.mesh.msgpack_arrays import ObjectStream
from codec.mesh.stored_streams import XZ_MAGIC, ZSTD_MAGIC
from codec.mesh.streams import open_stream, padding_at
from codec.mesh.xz_streams import HOLD_BYTES


@dataclass(frozen=True, slots=True)
class Opening:
    """What the beginning of a file says.

    The frames are the objects from `data_start` on, but for the first `skip` of them.
    """

    header: Header
    metadata: object
    data_start: int
    skip: int = 0
    damages: list[Damage] = field(default_factory=list)


def read_opening(fd: int, *, max_object_bytes: int) -> Opening:
    """Raises NotOurFileError, DamagedError, FormatError or MissingExtraError."""
    return _Opener(fd, max_object_bytes).read()


class _Opener:
    def __init__(self, fd: int, max_object_bytes: int) -> None:
        self._fd = fd
        self._size = os.fstat(fd).st_size
        self._max_object_bytes = max_object_bytes

    def read(self) -> Opening:
        magic = os.pread(self._fd, len(XZ_MAGIC), 0)
        if magic.startswith(ZSTD_MAGIC):
            compression = "zstd"
        elif magic == XZ_MAGIC:
            compression = "xz"
        else:
            raise NotOurFileError("not a mesh file of bodycompress (no xz or zstd stream at its beginning)")
        objects, _ = self._objects(compression, 0, 1, what="the header", to_the_end=False)
        if not is_header(objects[0]):
            return self._read_01(compression)
        _, end = self._objects(compression, 0, 1, what="the header")
        header = parse_header(objects[0])
        if header.compression != compression:
            raise FormatError(
                f"the header says {header.compression}, but is itself compressed with {compression}"
            )
        return self._read_metadata(header, end)

    def _read_01(self, compression: str) -> Opening:
        try:
            objects, _ = self._objects(compression, 0, 2, what="the first frame", to_the_end=False)
        except (DamagedError, FormatError):
            objects = []
        keys = objects[1] if len(objects) == 2 and isinstance(objects[1], dict) else {}
        if compression != "xz" or not any(str(key).startswith("qd_") for key in keys):
            raise NotOurFileError("neither a bodycompress header nor frames as bodycompress 0.1 has them")
        return Opening(header_of_01(objects[0]), objects[0], data_start=0, skip=1)

    def _read_metadata(self, header: Header, header_end: int) -> Opening:
        start = header.metadata_start
        if start is None:
            start = header_end + padding_at(self._fd, header_end, self._size)
        damages = []
        try:
            objects, end = self._objects(header.compression, start, 1, what="the metadata")
            metadata = objects[0]
        except DamagedError as error:
            if header.data_start is None:
                raise
            # The frames are worth having without it.
            damages.append(Damage(start, str(error)))
            metadata, end = None, header.data_start
        data_start = end if header.data_start is None else header.data_start
        return Opening(header, metadata, data_start, damages=damages)

    def _objects(
        self, compression: str, start: int, count: int, *, what: str, to_the_end: bool = True
    ) -> tuple[list[object], int]:
        """The first objects in the stream that begins there, and where that stream ends.

        Not `to_the_end`: as soon as they are there, with what follows (and any checksum) unread.
        """
        hold_bytes = HOLD_BYTES if to_the_end else 0
        stream = open_stream(compression, self._fd, start, self._size, hold_bytes=hold_bytes)
        objects = ObjectStream(max_object_bytes=self._max_object_bytes)
        found: list[object] = []
        total = 0
        for data in stream.read():
            if len(found) < count:
                try:
                    found.extend(islice(objects.feed(data), count - len(found)))
                except FormatError as error:
                    raise FormatError(f"{what}: {error}") from error
            total += len(data)
            if len(found) == count and (not to_the_end or total > self._max_object_bytes):
                break
        if len(found) < count:
            reason = stream.damage.reason if stream.damage else "cut short"
            raise DamagedError(f"{what} at byte {start} cannot be read: {reason}")
        return found, stream.end
