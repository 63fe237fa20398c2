"""Makes clean, sealed record files out of damaged ones. The source is only read, the target is new.

Whole records whose checksums hold are copied byte for byte and in order; the rest is left out and
counted. Frames that are missing because of it get gap records with the reason "damaged", so that the
copy accounts for itself. The same source always gives the same bytes; a clean sealed file gives its own.

`recover_file` does one file. The files of a series (the segments of a camera) share a FrameAccount,
which knows what is missing across their borders, and have a `Salvage` each.
"""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from codec.durable import AppendFile
from codec.errors import StorageError
from codec.records.account import DAMAGED, FrameAccount
from codec.records.layout import (
    CLOCK,
    END,
    END_PAYLOAD,
    ENTRY,
    FILE,
    FORMAT_NAME,
    FORMAT_VERSION,
    FRAME,
    GAP,
    HEADER_BYTES,
    KIND_NAMES,
    MAX_RECORD_BYTES,
    Header,
    Record,
    entry_tuple,
    pack_index,
    pack_json,
    pack_record,
    unpack_header,
)
from codec.records.reader import RecordFile
from codec.records.writer import Packed

__all__ = ["DAMAGED", "FileReport", "Progress", "Salvage", "recover_file"]

Progress = Callable[[int], None]
"""Called with the number of bytes that have been dealt with since the last call."""


@dataclass(slots=True)
class FileReport:
    """What became of one file, by kind of record. `discarded_bytes` counts what was no record, too."""

    recovered: Counter[str] = field(default_factory=Counter)
    discarded: Counter[str] = field(default_factory=Counter)
    recovered_bytes: int = 0
    discarded_bytes: int = 0
    gaps_added: int = 0

    @property
    def lossless(self) -> bool:
        """Nothing had to be left out."""
        return self.discarded_bytes == 0

    def add(self, other: FileReport) -> None:
        """Take another file's figures in."""
        self.recovered += other.recovered
        self.discarded += other.discarded
        self.recovered_bytes += other.recovered_bytes
        self.discarded_bytes += other.discarded_bytes
        self.gaps_added += other.gaps_added


def recover_file(
    source: str | os.PathLike[str], target: str | os.PathLike[str], *, progress: Progress | None = None
) -> FileReport:
    """Write a clean copy of one file. Raises NotOurFileError, or StorageError (also where target exists)."""
    account = FrameAccount(alone=True)
    with RecordFile(source) as file, Salvage(Path(target), file) as salvage:
        account.claim(file, 0)
        salvage.copy(account, progress or (lambda _: None))
        for missing in account.missing(up_to=0):
            salvage.gap(missing.stream, missing.epoch, missing.as_gap())
        for stream, gap in account.uncounted():
            salvage.gap(stream, 0, gap)
        salvage.seal()
        return salvage.report


class Salvage:
    """One file on its way into a clean copy: copy(), then gap() for what is missing, then seal().

    Without a source (nothing in it could be read) the copy is an empty recording.
    """

    def __init__(self, target: Path, source: RecordFile | None) -> None:
        """Create the target. Raises StorageError where it exists or cannot be made."""
        self.report = FileReport()
        self._source = source
        self._input = -1
        if source is not None:
            try:
                self._input = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise StorageError(f"cannot open {source.path}: {error.strerror}") from error
        try:
            self._out = AppendFile(target)
        except StorageError:
            self._close_input()
            raise
        self._index = bytearray()
        self._records = self._frames = 0

    def copy(self, account: FrameAccount, progress: Progress) -> None:
        """Copy every record that is whole, and tell the account what was read and what is lost.

        Raises DiskFullError or StorageError.
        """
        source = self._source
        if source is None or not (source.entries["kind"] == FILE).any():
            self._append(_file_record())
        if source is None:
            return
        for entry in source.entries:
            offset, length = int(entry["offset"]), int(entry["length"])
            data = self._read(offset, length)
            header = _whole(data)
            if header is None:
                self._discard(entry, account)
            else:
                self._keep(header, data, account)
            progress(length)
        self._step_over_damage(account, progress)

    def _read(self, offset: int, length: int) -> bytes:
        try:
            return os.pread(self._input, min(length, MAX_RECORD_BYTES), offset)
        except OSError:
            return b""  # a bad sector: lost like everything else that cannot be read

    def _keep(self, header: Header, data: bytes, account: FrameAccount) -> None:
        self._append((data[:HEADER_BYTES], data[HEADER_BYTES:], b""))
        self.report.recovered[_kind_name(header.kind)] += 1
        self.report.recovered_bytes += len(data)
        if header.kind == FRAME:
            account.read(header.stream)
        elif header.kind == CLOCK:
            counters = _json(header, data).get("counters")
            account.counted(counters, header.monotonic_ns)

    def _discard(self, entry: np.void, account: FrameAccount) -> None:
        self.report.discarded[_kind_name(int(entry["kind"]))] += 1
        self.report.discarded_bytes += int(entry["length"])
        if entry["kind"] == FRAME:
            where = (int(entry["stream"]), int(entry["epoch"]), int(entry["number"]))
            account.lose(*where, int(entry["monotonic_ns"]))
        elif entry["kind"] == FILE:
            self._append(_file_record())

    def _step_over_damage(self, account: FrameAccount, progress: Progress) -> None:
        assert self._source is not None
        for damage in self._source.damage:
            self.report.discarded[damage.kind] += 1
            self.report.discarded_bytes += damage.length
            header = unpack_header(self._read(damage.offset, HEADER_BYTES))
            if header is not None and header.kind == FRAME:
                # Cut off behind its header: which frame it was is known all the same.
                account.lose(header.stream, header.epoch, header.number, header.monotonic_ns, copies=0)
            progress(damage.length)

    def gap(self, stream: int, epoch: int, gap: dict[str, object]) -> None:
        """Write down what is missing. Raises DiskFullError or StorageError."""
        first = gap["first"]
        number = first if isinstance(first, int) else 0
        start_ns = gap["start_ns"]
        assert isinstance(start_ns, int)
        self._append(pack_json(GAP, gap, stream=stream, epoch=epoch, number=number, monotonic_ns=start_ns))
        self.report.gaps_added += 1

    def _append(self, record: Packed) -> None:
        offset = self._out.append(*record)
        header = unpack_header(record[0])
        assert header is not None
        self._index += np.array([entry_tuple(header, offset)], dtype=ENTRY).tobytes()
        self._records += 1
        self._frames += header.kind == FRAME

    def seal(self) -> None:
        """Write index and end, wait for the disk, close. Raises DiskFullError or StorageError."""
        if HEADER_BYTES + len(self._index) <= MAX_RECORD_BYTES:  # as in RecordWriter: it is optional
            index_offset = self._out.size
            recompressed_to = None if self._source is None else self._source.recompressed_to
            self._out.append(*pack_index(bytes(self._index), recompressed_to=recompressed_to))
            self._out.append(*pack_record(END, END_PAYLOAD.pack(index_offset, self._records, self._frames)))
        self._out.sync()
        self.close()

    def close(self) -> None:
        """Close both files. Safe to call twice."""
        self._out.close()
        self._close_input()

    def _close_input(self) -> None:
        if self._input >= 0:
            os.close(self._input)
            self._input = -1

    def __enter__(self) -> Salvage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _kind_name(kind: int) -> str:
    return KIND_NAMES.get(kind, f"kind {kind}")


def _whole(data: bytes) -> Header | None:
    """The header of a record that is whole and right, or None."""
    header = unpack_header(data)
    if header is None or header.total_bytes != len(data):
        return None
    return header if zlib.crc32(memoryview(data)[HEADER_BYTES:]) == header.payload_crc else None


def _json(header: Header, data: bytes) -> dict[str, object]:
    split = HEADER_BYTES + header.payload_length
    try:
        return Record(header, data[HEADER_BYTES:split], data[split:], 0).json()
    except ValueError:
        return {}


def _file_record() -> Packed:
    """In place of one that is lost; when the file was recorded stands in its clock records."""
    info = {"format": FORMAT_NAME, "version": FORMAT_VERSION, "recovered": True}
    return pack_json(FILE, info)
