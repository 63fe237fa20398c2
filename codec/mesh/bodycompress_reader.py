"""Reads bodycompress mesh files: ours, whole or torn, and those of bodycompress 0.1, 0.2 and 0.3.

Promises: every frame that is whole on disk comes back, wherever the file was cut off or broken; `complete`
and `note` say what is missing or damaged, `lossless` whether anything is missing; nothing in a file can run
code; memory stays within a small multiple of `max_frame_bytes` (and 128 MiB for what a decompressor may look
back); every error is one of codec.errors.

A file compressed with zstd has no checksum but one at its end. One of ours that was closed and is damaged
gives nothing; in one of the stock writer, or cut off, damage in its middle may come out as wrong numbers
before it is noticed. .xz files of ours lose a second.
"""

from __future__ import annotations

import math
import operator
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import SupportsIndex, TypeVar

from codec.errors import DamagedError, FormatError, StorageError
from codec.mesh.bodycompress_format import usable_fps
from codec.mesh.bodycompress_frames import Frame, decode_frame, steps_per_mm
from codec.mesh.bodycompress_opening import read_opening
from codec.mesh.camera import decode_camera
from codec.mesh.damage import Damage
from codec.mesh.frame_cursor import TIME_KEY, FrameCursor, StreamDamagedError, time_ns
from codec.mesh.frame_index import FrameIndex, stream_starts
from codec.mesh.msgpack_arrays import MAX_OBJECT_BYTES, ObjectStream
from codec.mesh.stray_streams import StrayStreams
from codec.mesh.streams import end_without_zeros, read_streams
from codec.mesh.xz_streams import XzStream, ends_with_xz

_DAMAGES_TOLD = 3
# A header that claims more frames than this is not believed: list() reserves room for len().
_BYTES_PER_FRAME_MIN = 16
# Six days at 30 frames a second; more of them in one file were put there to keep us busy.
_FRAMES_MAX = 1 << 24

Result = TypeVar("Result")


class BodycompressReader:
    """The frames of a mesh file, as often as wanted: `for frame in reader`, `reader[17]`, `reader.at(2.5)`.

    A frame is a dict with, where they were given, `vertices` (people, points, 3) and `joints`, both in
    millimetres, and every other entry the writer was given. `metadata` is what stands at the head of the
    file. `closed` is false for a file whose writer was killed, or is still writing.

    In files of ours compressed with xz, any frame is found by decompressing the second it lies in (the
    first time, perhaps others between it and a place whose number is known). Other files are one stream,
    which is read from the beginning up to the frame, and on from there for a later one.

    `max_frame_bytes` bounds what one frame may take; raise it for crowds. `decode_cameras` gives each
    `camera` as a codec.mesh.Camera instead of a dict. `fps` is for `at`, where the frames have no times.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_frame_bytes: int = MAX_OBJECT_BYTES,
        decode_cameras: bool = False,
        fps: float | None = None,
    ) -> None:
        """Open the file. Raises NotOurFileError, DamagedError, FormatError or StorageError.

        Raises MissingExtraError for a file compressed with zstd where zstandard is not installed.
        """
        self.path = os.fspath(path)
        self._max_frame_bytes = max_frame_bytes
        self._decode_cameras = decode_cameras
        self._data_damages: list[Damage] = []
        self._access: FrameIndex | FrameCursor | None = None
        self._fd = -1
        self._grids: list[float] = []
        with self._errors_named():
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                    raise StorageError(f"cannot read {self.path}: it is not a file")
                opening = read_opening(self._fd, max_object_bytes=max_frame_bytes)
                self._header, self.metadata = opening.header, opening.metadata
                self._data_start, self._skip = opening.data_start, opening.skip
                self._searched, self._has_metadata = opening.searched, opening.has_metadata
                self._opening_damages = opening.damages
                self.closed = self._header.closed
                self._fps = fps
                self._length = self._survey()
            except BaseException:
                self.close()
                raise

    @property
    def version(self) -> tuple[int, ...]:
        """The version of bodycompress whose format the file has: (0, 1, 0), (0, 2, 1), (0, 3, 0)."""
        return self._header.version

    @property
    def compression(self) -> str:
        """ "xz" or "zstd"."""
        return self._header.compression

    @property
    def steps_per_mm(self) -> tuple[float, ...]:
        """The grids of the frames that were read so far: more than one where they differ, which no file of
        ours does."""
        return tuple(self._grids)

    @property
    def fps(self) -> float | None:
        """Frames per second, where the caller, the header or the metadata (`fps`) says it."""
        if self._fps is not None:
            return self._fps
        said = self.metadata.get("fps") if isinstance(self.metadata, dict) else None
        return self._header.fps or usable_fps(said)

    def __iter__(self) -> Iterator[Frame]:
        """Every frame, oldest first. Raises FormatError for content that is refused."""
        count = 0
        damages: list[Damage] = []
        with self._errors_named():
            for stored in self._numbered_objects(damages):
                yield self._decode(stored, count)
                count += 1
        self._note_scan(count, damages)

    def __len__(self) -> int:
        """How many frames there are.

        Known at once where the header can be trusted; a file that was cut off is read through, once.
        After a full iteration it is the number that came out.
        """
        if self._length is None:
            self._count()
        assert self._length is not None
        return self._length

    def __getitem__(self, number: SupportsIndex) -> Frame:
        """The frame of that number, counted as iteration does; negative ones from the end.

        Raises IndexError where there is none, and FormatError for content that is refused.
        """
        wanted = operator.index(number)

        def find() -> Frame | None:
            count = len(self)
            place = wanted + count if wanted < 0 else wanted
            inside = 0 <= place < count
            return self._decode(self._frames().object_at(place), place) if inside else None

        frame = self._found(find)
        if frame is None:
            raise IndexError(f"{self.path} has {len(self)} frames, and no frame {wanted}")
        return frame

    def at(self, seconds: float) -> Frame:
        """The frame nearest to that many seconds after the first one.

        Times are those in the frames (`monotonic_ns`, as the service writes them), or else counted by
        `fps`. Before the first and after the last frame these are given. Raises FormatError where
        nothing says when frames were, IndexError where there are none, ValueError for NaN.
        """
        if math.isnan(seconds):
            raise ValueError("at() needs a number of seconds, not NaN")
        if not len(self):
            raise IndexError(f"{self.path} has no frames")
        first_ns = None if self._fps else self._found(lambda: time_ns(self._frames().object_at(0)))
        if first_ns is not None:
            ns = first_ns + int(min(max(seconds * 1e9, -(2.0**61)), 2.0**61))
            return self._found(lambda: self._decode(self._frames().nearest(ns), None))
        if self.fps is None:
            raise FormatError(f"{self.path}: its frames have no {TIME_KEY}; say fps= to count by")
        return self[round(min(max(seconds * self.fps, 0.0), len(self) - 1.0))]

    @property
    def complete(self) -> bool:
        """Whether everything that had been written is here, as far as has been looked.

        Opening looks at the end of the file, a full iteration at every byte.
        """
        return not self._damages

    @property
    def lossless(self) -> bool:
        """Whether all that had been written is here, as far as has been looked, although a copy of something
        may be damaged."""
        length = self._header.length if self._header.closed else None
        has_all = length is not None and self._length is not None and self._length >= length
        return self.complete or (self._has_metadata and has_all)

    @property
    def note(self) -> str:
        """What is missing or damaged, and where; empty for a complete file."""
        told = "; ".join(str(damage) for damage in self._damages[:_DAMAGES_TOLD])
        more = len(self._damages) - _DAMAGES_TOLD
        return f"{told}; and {more} more" if more > 0 else told

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> BodycompressReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _damages(self) -> list[Damage]:
        return [*self._opening_damages, *self._data_damages]

    def _survey(self) -> int | None:
        """The number of frames where that can be known without reading all; looks at the file's end."""
        header, size = self._header, os.fstat(self._fd).st_size
        if self._searched:
            return None
        if not header.is_ours and not header.closed:
            self._opening_damages.append(Damage(size, "the writer stopped before it could close the file"))
            return None
        end = size if header.data_end is None else min(header.data_end, size)
        if header.compression == "xz":
            end = end_without_zeros(self._fd, self._data_start, end)
            whole = ends_with_xz(self._fd, end)
        else:
            whole = end > self._data_start
        if not whole or end < (header.data_end or 0):
            self._opening_damages.append(Damage(min(end, size), "the file is cut off here"))
            return None
        if header.length is None or header.length > (end - self._data_start) / _BYTES_PER_FRAME_MIN:
            return None
        if header.compression == "zstd" and not (header.is_ours and header.closed):
            # Whether there is more than the header knows of cannot be seen without reading all.
            return header.length if size == end else None
        return header.length + sum(1 for _ in self._objects(end, self._data_damages))

    def _objects(self, start: int, damages: list[Damage], *, skip: int = 0) -> Iterator[object]:
        growing = self._header.is_ours and not self._header.closed
        objects = ObjectStream(max_object_bytes=self._max_frame_bytes)
        strays = StrayStreams(self._header, self.metadata, near_header=self._searched)
        count = -skip
        for piece in read_streams(self._header.compression, self._fd, start, damages, growing=growing):
            if piece.resumed:
                objects = ObjectStream(max_object_bytes=self._max_frame_bytes)
            for value in strays.frames_in(piece, objects):
                if count >= _FRAMES_MAX:
                    raise FormatError(f"more than {_FRAMES_MAX} frames, which no recording has")
                if count >= 0:
                    yield value
                count += 1
        if objects.pending_bytes and not damages:
            size = os.fstat(self._fd).st_size
            damages.append(Damage(size, "the data ends in the middle of a frame"))

    def _numbered_objects(self, damages: list[Damage]) -> Iterator[object]:
        """All of them; an error says which frame it is about."""
        count = 0
        try:
            for stored in self._objects(self._data_start, damages, skip=self._skip):
                yield stored
                count += 1
        except FormatError as error:
            raise type(error)(f"frame {count}: {error}") from error

    def _decode(self, stored: object, number: int | None) -> Frame:
        try:
            frame = decode_frame(stored, self._header.order)
            if self._decode_cameras and "camera" in frame:
                frame["camera"] = decode_camera(frame["camera"])
            for steps in steps_per_mm(stored):
                # Of uncertainties it stands in the file times a thousand, rounded once more.
                if not any(math.isclose(steps, each, rel_tol=1e-12) for each in self._grids):
                    self._grids.append(steps)
        except FormatError as error:
            raise FormatError(f"frame {'?' if number is None else number}: {error}") from error
        return frame

    def _count(self) -> None:
        damages: list[Damage] = []
        with self._errors_named():
            count = sum(1 for _ in self._objects(self._data_start, damages, skip=self._skip))
        self._note_scan(count, damages)

    def _note_scan(self, count: int, damages: list[Damage]) -> None:
        length = self._header.length
        if length is not None and count < length and not damages and not self._opening_damages:
            size = os.fstat(self._fd).st_size
            damages.append(Damage(size, f"the header speaks of {length} frames, {count} are here"))
        self._length = count
        self._data_damages = damages
        if damages:
            self._access = None  # whatever an index says, from here on numbers are those that came out

    # ---- any frame --------------------------------------------------------------------------------

    def _found(self, find: Callable[[], Result]) -> Result:
        """What `find` gives; where the file turns out to be damaged, once more without an index.

        The file is then counted as well, so that numbers are those that iteration gives.
        """
        with self._errors_named():
            for _ in range(2):
                try:
                    return find()
                except StreamDamagedError:
                    self._access = FrameCursor(self._all_objects)
                    self._count()
            raise DamagedError("frames cannot be found by number or time; read it from front to back")

    def _frames(self) -> FrameIndex | FrameCursor:
        if self._access is None:
            self._access = self._make_index() or FrameCursor(self._all_objects)
        return self._access

    def _all_objects(self) -> Iterator[object]:
        return self._objects(self._data_start, [], skip=self._skip)

    def _make_index(self) -> FrameIndex | None:
        header = self._header
        if header.data_end is None or header.length is None or header.compression != "xz":
            return None
        if header.length != self._length or self._damages:
            return None
        starts = stream_starts(self._fd, self._data_start, header.data_end)
        if starts is None:
            return None
        return FrameIndex(starts, length=header.length, seek=header.seek, read_stream=self._read_stream)

    def _read_stream(self, start: int) -> list[object]:
        stream = XzStream(self._fd, start, os.fstat(self._fd).st_size)
        objects = ObjectStream(max_object_bytes=self._max_frame_bytes)
        found: list[object] = []
        for data in stream.read():
            found.extend(objects.feed(data))
            if len(found) > len(self):
                raise StreamDamagedError
        if stream.damage is not None or objects.pending_bytes:
            raise StreamDamagedError
        return found

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        """Every error says which file it is about, and is one of ours."""
        try:
            yield
        except OSError as error:
            raise StorageError(f"cannot read {self.path}: {error.strerror or error}") from error
        except FormatError as error:
            if str(error).startswith(f"{self.path}: "):
                raise
            raise type(error)(f"{self.path}: {error}") from error
