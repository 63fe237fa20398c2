"""The beginning of a bodycompress file of any version: its header, its metadata, where its data begins.

    0.1     one .xz stream: the metadata, then the frames; no header
    0.2     header, zeros, metadata, frames: .xz streams; the header does not say where the metadata is
    0.2.2+  the same, and it does
    0.3     the same, .xz or zstd, with a vertex order

Where header or metadata cannot be read, a copy of them is looked for (see header_copies), and the data behind
what is left of them. Reads no more of the file than it must, and never more than a small multiple of what one
object may take.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from itertools import islice

from codec.errors import DamagedError, FormatError, NotOurFileError
from codec.mesh.bodycompress_format import Header, header_of_01, header_slot, is_header, parse_header
from codec.mesh.damage import Damage
from codec.mesh.header_copies import HeaderCopy, find_copy
from codec.mesh.msgpack_arrays import ObjectStream
from codec.mesh.stored_streams import XZ_MAGIC, ZSTD_MAGIC
from codec.mesh.streams import open_stream, padding_at
from codec.mesh.xz_streams import HOLD_BYTES, next_xz
from codec.mesh.zstd_streams import next_zstd


@dataclass(frozen=True, slots=True)
class Opening:
    """What the beginning of a file says.

    The frames are the objects from `data_start` on, but for the first `skip` of them. `searched`: they are
    not where the header says, and header and metadata may come before them. `has_metadata`: false where they
    are lost.
    """

    header: Header
    metadata: object
    data_start: int
    skip: int = 0
    damages: list[Damage] = field(default_factory=list)
    searched: bool = False
    has_metadata: bool = True


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
        compression = "zstd" if magic.startswith(ZSTD_MAGIC) else "xz" if magic == XZ_MAGIC else None
        if compression is None:
            return self._read_copy("no xz or zstd stream at its beginning", 0) or _refuse_magic()
        try:
            objects, _ = self._objects(compression, 0, 1, what="the header", to_the_end=False)
            if is_header(objects[0]):
                _, end = self._objects(compression, 0, 1, what="the header")
        except FormatError as error:
            if opening := self._read_copy(_reason(error), 1):
                return opening
            raise
        if not is_header(objects[0]):
            return self._read_copy("there is none at the beginning", 0) or self._read_01(compression)
        header = parse_header(objects[0])
        if header.compression != compression:
            raise FormatError(
                f"the header says {header.compression}, but is itself compressed with {compression}"
            )
        return self._read_metadata(header, end)

    def _read_copy(self, why: str, search_from: int) -> Opening | None:
        """What a copy of the header says, the data being whatever follows that place; None without a copy."""
        copy = find_copy(self._fd, max_object_bytes=self._max_object_bytes)
        if copy is None:
            return None
        header, metadata, has_metadata = copy.header, copy.metadata, copy.has_metadata
        if not has_metadata and header.metadata_start is not None and header.data_start is not None:
            # This copy is the end of what comes before the data, wherever that lies by now.
            slot_bytes = len(header_slot(header))
            start = header.metadata_start + copy.offset - (header.data_start - slot_bytes)
            with contextlib.suppress(FormatError):
                (metadata,), _ = self._objects(header.compression, start, 1, what="the metadata")
                has_metadata = True
        damages = [Damage(0, f"the header cannot be read: {why}; {_copy_read(copy)}")]
        if not has_metadata:
            damages.append(Damage(0, "the metadata cannot be read"))
        following = next_zstd if header.compression == "zstd" else next_xz
        start = following(self._fd, search_from, self._size)
        return Opening(header, metadata, start, damages=damages, searched=True, has_metadata=has_metadata)

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
        try:
            (metadata,), end = self._objects(header.compression, start, 1, what="the metadata")
        except DamagedError as error:
            if header.data_start is None:
                raise
            # The frames are worth having without it.
            copy = find_copy(self._fd, max_object_bytes=self._max_object_bytes) if header.is_ours else None
            if copy is None or not copy.has_metadata:
                # What would be found from here on may be the metadata itself, which is no frame.
                damages = [Damage(start, str(error))]
                return Opening(header, None, header.data_start, damages=damages, has_metadata=False)
            damages = [Damage(start, f"{error}; {_copy_read(copy)}")]
            return Opening(header, copy.metadata, header_end, damages=damages, searched=True)
        if header.data_start is None:
            return Opening(header, metadata, end)
        if header.is_ours and header.data_start not in (end, end + header_end):
            damages = [Damage(end, "the data does not begin where the header says")]
            return Opening(header, metadata, header_end, damages=damages, searched=True)
        return Opening(header, metadata, header.data_start)

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
        if len(found) < count or (to_the_end and stream.damage is not None):
            reason = stream.damage.reason if stream.damage else "cut short"
            raise DamagedError(f"{what} at byte {start} cannot be read: {reason}")
        return found, stream.end


def _copy_read(copy: HeaderCopy) -> str:
    return f"the copy of it at byte {copy.offset} was read"


def _reason(error: FormatError) -> str:
    return str(error).removeprefix("the header at byte 0 cannot be read: ")


def _refuse_magic() -> Opening:
    raise NotOurFileError("not a mesh file of bodycompress (no xz or zstd stream at its beginning)")
