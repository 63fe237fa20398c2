"""Reads one record file: by its index where it has one, else by a single scan. Never writes.

Promises: lengths are checked before memory is taken; damage is stepped over and listed in `damage`; a
torn tail ends the file quietly and is listed in `damage` too; a payload is returned only if its CRC
holds; an index is believed only where it accounts for every byte before it, and what is not where it says is
looked for elsewhere; what the disk cannot read any more is damage like any other. A reader needs nothing but
the file.
"""

from __future__ import annotations

import errno
import os
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.errors import DamagedError, NotOurFileError, StorageError
from codec.records.layout import (
    END,
    END_BYTES,
    END_PAYLOAD,
    ENTRY,
    FILE,
    FORMAT_NAME,
    FORMAT_VERSION,
    FRAME,
    GAP,
    HEADER_BYTES,
    INDEX,
    LENGTH_BYTES,
    MAGIC,
    MAX_RECORD_BYTES,
    STREAM,
    Header,
    Record,
    entry_tuple,
    unpack_header,
)

_SEARCH_BYTES = 1 << 20
_SECTOR_BYTES = 4096


_Identity = tuple[int, ...]
_IDENTITY = ("kind", "stream", "codec", "epoch", "number", "length")
"""What a record is known by."""
_IDENTITY_PLACES = tuple(list(ENTRY.names or ()).index(name) for name in _IDENTITY)


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of a file that is no record. kind: "torn tail" (cut off at the end) or "damaged"."""

    offset: int
    length: int
    kind: str


class RecordFile:
    """One record file, open for reading. Not shared between threads.

    `entries` are its records (see ENTRY), `damage` what is none, `info` what its file record says; `sealed`
    where it has an index; `recompressed_to` the codec that its depth frames were recompressed to, if any.
    """

    def __init__(self, path: str | os.PathLike[str], *, use_index: bool = True) -> None:
        """Open and index the file. Raises NotOurFileError, or StorageError where it cannot be read."""
        self.path = Path(path)
        try:
            # Not to wait for the other end of a pipe that somebody took for a file.
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise StorageError(f"cannot open {self.path}: {error.strerror}") from error
        try:
            status = os.fstat(self._fd)
            if not stat.S_ISREG(status.st_mode):
                raise StorageError(f"cannot read {self.path}: it is not a file")
            self.size = status.st_size
            self.damage: list[Damage] = []
            self.sealed = False
            self.recompressed_to: int | None = None
            entries = self._read_index() if use_index else None
            self.sealed = entries is not None
            self._moved: dict[_Identity, int] | None = None
            self._spoken_of: set[_Identity] = set()
            if entries is None:
                entries, self.damage = self._scan()
            self.entries: npt.NDArray[np.void] = entries
            self.info = self._check_file_record()
        except BaseException:
            os.close(self._fd)
            raise

    def _check_file_record(self) -> dict[str, Any]:
        first = np.flatnonzero(self.entries["kind"] == FILE)
        if first.size == 0:
            if not len(self.entries):
                raise NotOurFileError(f"{self.path} is not a nightrig recording: no record found in it")
            return {}  # its first record is damaged; the others say all that is needed
        try:
            info = self.read(int(first[0])).json()
        except (DamagedError, ValueError):
            return {}
        if info.get("format") != FORMAT_NAME:
            raise NotOurFileError(f"{self.path} is a {info.get('format')!r} file, not {FORMAT_NAME}")
        version = info.get("version")
        if not isinstance(version, int) or version > FORMAT_VERSION:
            raise NotOurFileError(
                f"{self.path} has format version {version}, this program reads up to {FORMAT_VERSION}: "
                "update nightrig"
            )
        return info

    def _read_index(self) -> npt.NDArray[np.void] | None:
        if self.size < END_BYTES:
            return None
        tail = self._pread(END_BYTES, self.size - END_BYTES)
        end = unpack_header(tail)
        if end is None or end.kind != END or end.total_bytes != END_BYTES:
            return None
        if zlib.crc32(tail[HEADER_BYTES:]) != end.payload_crc:
            return None
        index_offset, records, _ = END_PAYLOAD.unpack_from(tail, HEADER_BYTES)
        header = self._header_at(index_offset) if index_offset < self.size else None
        if (
            header is None
            or header.kind != INDEX
            or index_offset + header.total_bytes != self.size - END_BYTES
        ):
            return None
        payload = self._pread(header.payload_length, index_offset + HEADER_BYTES)
        if zlib.crc32(payload) != header.payload_crc or len(payload) != records * ENTRY.itemsize:
            return None
        entries = np.frombuffer(payload, ENTRY)
        if not _covers(entries, index_offset):
            return None
        self.recompressed_to = header.number - 1 if header.number else None
        return entries

    def _pread(self, length: int, offset: int) -> bytes:
        """Bytes of the file; in place of a sector that the disk cannot read, zeros, which no CRC takes."""
        try:
            return os.pread(self._fd, length, offset)
        except OSError as error:
            if error.errno != errno.EIO:
                raise StorageError(f"cannot read {self.path}: {error.strerror}") from error
        pieces = []
        end = min(offset + length, self.size)
        while offset < end:
            wanted = min(end, offset - offset % _SECTOR_BYTES + _SECTOR_BYTES) - offset
            try:
                pieces.append(os.pread(self._fd, wanted, offset))
            except OSError:
                pieces.append(bytes(wanted))
            offset += wanted
        return b"".join(pieces)

    def _header_at(self, offset: int) -> Header | None:
        return unpack_header(self._pread(HEADER_BYTES, offset))

    def _scan(self) -> tuple[npt.NDArray[np.void], list[Damage]]:
        found: list[tuple[Any, ...]] = []
        damages: list[Damage] = []
        offset, header = 0, self._header_at(0)
        while offset < self.size:
            following: int | None = None
            if header is not None and offset + header.total_bytes <= self.size:
                end = offset + header.total_bytes
                next_header = self._header_at(end)
                if next_header is None and end < self.size and not self._is_whole_at(offset, header):
                    following = self._resynchronise(offset + 1)
                if following is None or following >= end:
                    if header.kind not in (INDEX, END):
                        found.append(entry_tuple(header, offset))
                    offset, header = end, next_header
                    continue
                # Bytes are missing in it: where it claims to end we are in the middle of a later one.
            else:
                following = self._resynchronise(offset + 1)
            torn = following is None and (header is not None or self._is_torn_start(offset))
            end = self.size if following is None else following
            damages.append(Damage(offset, end - offset, "torn tail" if torn else "damaged"))
            offset, header = end, self._header_at(end)
        return np.array(found, dtype=ENTRY), damages

    def _is_whole_at(self, offset: int, header: Header) -> bool:
        body = self._pread(header.total_bytes - HEADER_BYTES, offset + HEADER_BYTES)
        return zlib.crc32(body) == header.payload_crc

    def _is_torn_start(self, offset: int) -> bool:
        """True where the last bytes look like the beginning of a record that was never finished."""
        head = self._pread(LENGTH_BYTES + len(MAGIC), offset)
        if len(head) < LENGTH_BYTES + len(MAGIC):
            return True
        length = int.from_bytes(head[:LENGTH_BYTES], "little")
        return head[LENGTH_BYTES:] == MAGIC and length <= MAX_RECORD_BYTES

    def _resynchronise(self, offset: int) -> int | None:
        """Where the next whole record begins at or after `offset`, or None."""
        overlap = LENGTH_BYTES + len(MAGIC) - 1
        while offset < self.size:
            block = self._pread(_SEARCH_BYTES + overlap, offset)
            at = block.find(MAGIC, LENGTH_BYTES)
            while at >= 0:
                start = offset + at - LENGTH_BYTES
                header = self._header_at(start)
                if header is not None and start + header.total_bytes <= self.size:
                    return start
                at = block.find(MAGIC, at + 1)
            offset += max(1, len(block) - overlap)
        return None

    def __len__(self) -> int:
        return len(self.entries)

    def read(self, index: int) -> Record:
        """Record number `index` of `entries`. Raises DamagedError, naming file and offset."""
        header, data = self._whole(index)
        body = memoryview(data)[HEADER_BYTES:]
        split = header.payload_length
        return Record(header, bytes(body[:split]), bytes(body[split:]), int(self.entries[index]["offset"]))

    def read_bytes(self, index: int) -> bytes:
        """The same record as it lies in the file: header, payload and meta. Raises DamagedError."""
        return self._whole(index)[1]

    def _whole(self, index: int) -> tuple[Header, bytes]:
        entry = self.entries[index]
        offset, wanted = int(entry["offset"]), _identity(entry)
        header, data = self._record_at(offset, int(entry["length"]))
        if header is None or _identity(entry_tuple(header, offset)) != wanted:
            header, data, offset = self._found_again(header, data, offset, wanted)
        if header is None:
            raise DamagedError(f"{self.path}: no whole record at byte {offset}")
        if zlib.crc32(memoryview(data)[HEADER_BYTES:]) != header.payload_crc:
            raise DamagedError(f"{self.path}: the record at byte {offset} is damaged (its checksum is wrong)")
        return header, data

    def _record_at(self, offset: int, total: int) -> tuple[Header | None, bytes]:
        data = self._pread(total, offset) if total <= MAX_RECORD_BYTES else b""
        header = unpack_header(data)
        if header is None or header.total_bytes != total or len(data) != total:
            return None, data
        return header, data

    def _found_again(
        self, header: Header | None, data: bytes, offset: int, wanted: _Identity
    ) -> tuple[Header | None, bytes, int]:
        """A record that is not where the index says; or what is there, where no other entry speaks of it."""
        if self._moved is None:  # looked for once, by a scan
            entries = self._scan()[0] if self.sealed else self.entries
            self._moved = {_identity(entry): int(entry["offset"]) for entry in entries}
            self._spoken_of = {_identity(entry) for entry in self.entries}
        if wanted in self._moved:
            offset = self._moved[wanted]
            return *self._record_at(offset, wanted[-1]), offset
        if header is not None and _identity(entry_tuple(header, offset)) in self._spoken_of:
            header = None
        return header, data, offset

    def of_kind(self, kind: int, stream: int | None = None) -> npt.NDArray[np.intp]:
        """Positions in `entries` of the records of that kind (and stream), in file order."""
        mask = self.entries["kind"] == kind
        if stream is not None:
            mask &= self.entries["stream"] == stream
        return np.flatnonzero(mask)

    def streams(self) -> dict[int, dict[str, Any]]:
        """Stream number -> what its newest readable stream record says."""
        return {stream: value for stream, _, value in self.stream_records()}

    def stream_records(self) -> list[tuple[int, int, dict[str, Any]]]:
        """(stream, epoch, what it says) of every readable stream record, in file order."""
        return self._json_of(STREAM)

    def gaps(self) -> list[tuple[int, int, dict[str, Any]]]:
        """(stream, epoch, gap) of every readable gap record, in file order."""
        return self._json_of(GAP)

    def frames(self, stream: int) -> npt.NDArray[np.intp]:
        """Positions of the frames of a stream."""
        return self.of_kind(FRAME, stream)

    def _json_of(self, kind: int) -> list[tuple[int, int, dict[str, Any]]]:
        found = []
        for index in self.of_kind(kind):
            try:
                record = self.read(int(index))
                found.append((record.header.stream, record.header.epoch, record.json()))
            except (DamagedError, ValueError):
                continue
        return found

    def close(self) -> None:
        """Safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _identity(entry: np.void | tuple[Any, ...]) -> _Identity:
    return tuple(int(entry[place]) for place in _IDENTITY_PLACES)


def _covers(entries: npt.NDArray[np.void], end: int) -> bool:
    """Whether these records lie one behind another from the first byte to `end`, and nothing else does.

    Offsets and lengths come from a file: an index that points elsewhere, or leaves one out, is no index.
    """
    ends = np.cumsum(entries["length"], dtype=np.uint64)
    starts = np.concatenate((np.zeros(1, np.uint64), ends))
    return bool((starts[:-1] == entries["offset"]).all()) and int(starts[-1]) == end
