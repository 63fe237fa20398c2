"""Reads bodycompress mesh files (.xz): ours, whole or torn, and those of bodycompress 0.2 and 0.3.

Promises: every frame that is whole on disk comes back, wherever the file was cut off or broken, and
`complete` and `note` say what is missing; nothing in a file can run code; memory stays within a small
multiple of `max_frame_bytes`; every error is one of codec.errors.

Not read (a clear error instead): zstd compression, a vertex order other than None, version 0.1.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from codec.errors import DamagedError, FormatError, NotOurFileError, StorageError
from codec.mesh.bodycompress_format import (
    XZ_MAGIC,
    ZSTD_MAGIC,
    Frame,
    Header,
    decode_frame,
    parse_header,
)
from codec.mesh.msgpack_arrays import MAX_OBJECT_BYTES, ObjectStream
from codec.mesh.xz_streams import (
    Damage,
    XzStream,
    end_without_zeros,
    ends_with_stream,
    padding_at,
    read_streams,
)

_DAMAGES_TOLD = 3
# A header that claims more frames than this is not believed: list() reserves room for len().
_BYTES_PER_FRAME_MIN = 16


class MeshReader:
    """The frames of a mesh file, as often as wanted: `for frame in reader`.

    A frame is a dict with `vertices` (people, points, 3) and, where they were given, `joints`, both in
    millimetres, and every other entry the writer was given. `metadata` is what stands at the head of the
    file. `closed` is false for a file whose writer was killed, or is still writing.

    `max_frame_bytes` bounds what one frame may take; raise it for crowds.
    """

    def __init__(self, path: str | os.PathLike[str], *, max_frame_bytes: int = MAX_OBJECT_BYTES) -> None:
        """Open the file. Raises NotOurFileError, DamagedError, FormatError or StorageError."""
        self.path = os.fspath(path)
        self._max_frame_bytes = max_frame_bytes
        self._opening_damages: list[Damage] = []
        self._data_damages: list[Damage] = []
        self._fd = -1
        with self._errors_named():
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._header, header_end = self._read_header()
                self.metadata, self._data_start = self._read_metadata(header_end)
                self.closed = self._header.closed
                self._length = self._survey()
            except BaseException:
                self.close()
                raise

    def __iter__(self) -> Iterator[Frame]:
        """Every frame, oldest first. Raises FormatError for content that is refused."""
        count = 0
        damages: list[Damage] = []
        with self._errors_named():
            for stored in self._objects(self._data_start, damages):
                try:
                    frame = decode_frame(stored)
                except FormatError as error:
                    raise FormatError(f"frame {count}: {error}") from error
                yield frame
                count += 1
        self._note_scan(count, damages)

    def __len__(self) -> int:
        """How many frames there are.

        Known at once where the header can be trusted; a file that was cut off is read through, once.
        After a full iteration it is the number that came out.
        """
        if self._length is None:
            damages: list[Damage] = []
            with self._errors_named():
                count = sum(1 for _ in self._objects(self._data_start, damages))
            self._note_scan(count, damages)
            return count
        return self._length

    @property
    def complete(self) -> bool:
        """Whether everything that had been written is here, as far as has been looked.

        Opening looks at the end of the file, a full iteration at every byte.
        """
        return not self._damages

    @property
    def note(self) -> str:
        """What is missing, and where; empty for a complete file."""
        told = "; ".join(str(damage) for damage in self._damages[:_DAMAGES_TOLD])
        more = len(self._damages) - _DAMAGES_TOLD
        return f"{told}; and {more} more" if more > 0 else told

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> MeshReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _damages(self) -> list[Damage]:
        return [*self._opening_damages, *self._data_damages]

    def _read_header(self) -> tuple[Header, int]:
        magic = os.pread(self._fd, len(XZ_MAGIC), 0)
        if magic.startswith(ZSTD_MAGIC):
            raise FormatError("zstd compression is not read; write the file again with compression='xz'")
        if magic != XZ_MAGIC:
            raise NotOurFileError("not a mesh file of bodycompress (no xz stream at its beginning)")
        value, end = self._read_object(0, what="the header")
        return parse_header(value), end

    def _read_metadata(self, header_end: int) -> tuple[object, int]:
        """The metadata and where the data begins."""
        size = os.fstat(self._fd).st_size
        start = self._header.metadata_start
        if start is None:
            start = header_end + padding_at(self._fd, header_end, size)
        data_start = self._header.data_start
        try:
            metadata, end = self._read_object(start, what="the metadata")
        except DamagedError as error:
            if data_start is None:
                raise
            # The frames are worth having without it.
            self._opening_damages.append(Damage(start, str(error)))
            metadata, end = None, data_start
        return metadata, end if data_start is None else data_start

    def _read_object(self, start: int, *, what: str) -> tuple[object, int]:
        """The object in the stream that begins there, and where that stream ends."""
        stream = XzStream(self._fd, start, os.fstat(self._fd).st_size)
        objects = ObjectStream(max_object_bytes=self._max_frame_bytes)
        found: list[object] = []
        total = 0
        for data in stream.read():
            total += len(data)
            if found and total > self._max_frame_bytes:
                break
            if not found:
                found.extend(objects.feed(data))
        if not found:
            reason = stream.damage.reason if stream.damage else "cut short"
            raise DamagedError(f"{what} at byte {start} cannot be read: {reason}")
        return found[0], stream.end

    def _survey(self) -> int | None:
        """The number of frames where that can be known without reading all; looks at the file's end."""
        header, size = self._header, os.fstat(self._fd).st_size
        if header.data_end is None and not header.closed:
            self._opening_damages.append(Damage(size, "the writer stopped before it could close the file"))
            return None
        end = end_without_zeros(self._fd, self._data_start, header.data_end or size)
        if not ends_with_stream(self._fd, end) or end < (header.data_end or 0):
            self._opening_damages.append(Damage(min(end, size), "the file is cut off here"))
            return None
        if header.length is None or header.length > (end - self._data_start) / _BYTES_PER_FRAME_MIN:
            return None
        return header.length + sum(1 for _ in self._objects(end, self._data_damages))

    def _objects(self, start: int, damages: list[Damage]) -> Iterator[object]:
        objects = ObjectStream(max_object_bytes=self._max_frame_bytes)
        for piece in read_streams(self._fd, start, damages):
            if piece.resumed:
                objects = ObjectStream(max_object_bytes=self._max_frame_bytes)
            yield from objects.feed(piece.data)
        if objects.pending_bytes and not damages:
            size = os.fstat(self._fd).st_size
            damages.append(Damage(size, "the data ends in the middle of a frame"))

    def _note_scan(self, count: int, damages: list[Damage]) -> None:
        length = self._header.length
        if length is not None and count < length and not damages and not self._opening_damages:
            size = os.fstat(self._fd).st_size
            damages.append(Damage(size, f"the header speaks of {length} frames, {count} are here"))
        self._length = count
        self._data_damages = damages

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        """Every error says which file it is about, and is one of ours."""
        try:
            yield
        except OSError as error:
            raise StorageError(f"cannot read {self.path}: {error.strerror or error}") from error
        except FormatError as error:
            raise type(error)(f"{self.path}: {error}") from error
