"""Writes one record file: appends whole records, keeps the index in memory, seals the file at the end.

Owns the file and the order in it; knows nothing of cameras, threads or what a payload means. A file that
was never sealed (a kill, a power cut) lacks only its index.
"""

from __future__ import annotations

import os
import struct
import time
from typing import Any

from codec.durable import AppendFile
from codec.records._index_memory import IndexEntries
from codec.records.layout import (
    CLOCK,
    CLOCKS,
    END,
    END_PAYLOAD,
    FILE,
    FORMAT_NAME,
    FORMAT_VERSION,
    FRAME,
    GAP,
    HEADER_BYTES,
    MAX_RECORD_BYTES,
    STREAM,
    pack_index,
    pack_json,
    pack_record,
)

Packed = tuple[bytes, bytes, bytes]

_ENTRY = struct.Struct("<QQqdIIIBBBB")
# Positions of what the index repeats, within a packed header (see layout).
_LENGTH = struct.Struct("<I")
_NUMBERING = struct.Struct("<IQdq")  # epoch, number, device_time_s, monotonic_ns at byte 20
_RAW_LENGTH_AT = 52


def boot_id() -> str:
    """Which boot of this machine CLOCK_MONOTONIC counts from; "" where the system does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123 - a kernel file, not a path of ours
            return file.read().strip()
    except OSError:
        return ""


class RecordWriter:
    """One record file under construction. Used by one thread."""

    def __init__(
        self, path: str | os.PathLike[str], *, info: dict[str, Any] | None = None, is_copy: bool = False
    ) -> None:
        """Create the file and write its file record. `info` joins the format's own keys in it.

        With `is_copy` the file record is left to the caller, who has one already. Raises StorageError where
        the file exists or cannot be made.
        """
        self.file = AppendFile(path)
        self._index = IndexEntries()
        self._records = 0
        self._frames = 0
        if is_copy:
            return
        now_ns, wall_ns = time.monotonic_ns(), time.time_ns()
        first = {
            "format": FORMAT_NAME,
            "version": FORMAT_VERSION,
            "boot_id": boot_id(),
            "wall_ns": wall_ns,
        }
        try:
            self.append(pack_json(FILE, {**first, **(info or {})}, monotonic_ns=now_ns))
        except BaseException:
            self.file.discard()
            raise

    def append(self, record: Packed) -> int:
        """Append a packed record; returns its bytes on disk. Raises DiskFullError or StorageError."""
        offset = self.file.append(*record)
        header = record[0]
        kind, stream, codec, clock = header[8:12]
        epoch, number, device_time_s, monotonic_ns = _NUMBERING.unpack_from(header, 20)
        (length,) = _LENGTH.unpack_from(header)
        (raw_length,) = _LENGTH.unpack_from(header, _RAW_LENGTH_AT)
        self._index.add(
            _ENTRY.pack(
                offset,
                number,
                monotonic_ns,
                device_time_s,
                length + _LENGTH.size,
                epoch,
                raw_length,
                kind,
                stream,
                codec,
                clock,
            )
        )
        self._records += 1
        self._frames += kind == FRAME
        return int(length) + _LENGTH.size

    def stream(self, index: int, info: dict[str, Any], *, epoch: int = 0) -> None:
        """Say what the frames of stream `index` are from here on."""
        self.append(pack_json(STREAM, info, stream=index, epoch=epoch, monotonic_ns=time.monotonic_ns()))

    def gap(self, index: int, gap: dict[str, Any], *, epoch: int = 0) -> None:
        """Account for missing frames of stream `index`; keys as in docs/FORMAT.md."""
        self.append(
            pack_json(
                GAP,
                gap,
                stream=index,
                epoch=epoch,
                number=max(0, int(gap.get("first") or 0)),
                monotonic_ns=int(gap["start_ns"]),
            )
        )

    def clock(self, counters: dict[str, Any], *, pair_ns: tuple[int, int] | None = None) -> None:
        """Tie CLOCK_MONOTONIC to the wall clock and write down the counters so far.

        pair_ns: (monotonic, wall) of another moment than now, on another machine perhaps.
        """
        if pair_ns is None:
            # One right after the other: they are a pair.
            wall_ns, monotonic_ns = time.time_ns(), time.monotonic_ns()
            value = {"wall_ns": wall_ns, "boot_id": boot_id()}
        else:
            monotonic_ns, value = pair_ns[0], {"wall_ns": pair_ns[1]}
        self.append(pack_json(CLOCK, {**value, "counters": counters}, monotonic_ns=monotonic_ns))

    def seal(self, *, recompressed_to: int | None = None) -> None:
        """Write index and end record, sync and close. The file then opens without a scan.

        `recompressed_to` is the codec that all its depth frames were offered to, for the index. Raises
        DiskFullError or StorageError; the file is closed all the same, and every record in it stays readable.
        Safe to call twice.
        """
        if self.file.closed:
            return
        try:
            try:
                if (
                    HEADER_BYTES + len(self._index) <= MAX_RECORD_BYTES
                ):  # five million records; it is optional
                    self._append_index(recompressed_to)
            finally:
                self.file.sync()  # what is in it, also where there is no room for an index
        finally:
            self.file.close()

    def _append_index(self, recompressed_to: int | None) -> None:
        index_offset, records, frames = self.file.size, self._records, self._frames
        self.file.append(*pack_index(self._index.as_bytes(), recompressed_to=recompressed_to))
        self.file.append(*pack_record(END, END_PAYLOAD.pack(index_offset, records, frames)))

    def close(self) -> None:
        """Close without sealing: every record stays readable. Safe to call twice, and after seal()."""
        self.file.close()

    @property
    def size(self) -> int:
        """Bytes appended so far."""
        return self.file.size


def clock_number(name: str) -> int:
    """The number of a clock domain in the header; unknown names count as none."""
    return CLOCKS.index(name) if name in CLOCKS else 0
