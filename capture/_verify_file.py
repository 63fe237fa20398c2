"""Checks one record file to its last byte: framing, checksums, payloads, index. Judges nothing.

Every record is read here and decoded in a pool; what is found goes into a FileCheck.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.decoding import decode
from codec.context_maps import learn_maps
from codec.errors import CodecError, DamagedError
from codec.records.layout import (
    CLOCK,
    CODEC_JPEG,
    END,
    END_BYTES,
    FILE,
    FRAME,
    GAP,
    KIND_NAMES,
    STREAM,
    Record,
    unpack_header,
)
from codec.records.reader import RecordFile

Progress = Callable[[int], None]

_FRAME = np.dtype(
    [("number", "<u8"), ("epoch", "<u4"), ("length", "<u4"), ("raw_length", "<u4"), ("stream", "u1")]
)
NO_FRAMES = np.empty(0, _FRAME)

_IN_FLIGHT = 16
_JSON_KINDS = (FILE, STREAM, GAP, CLOCK)


@dataclass(frozen=True, slots=True)
class BadStretch:
    """Bytes of a file that are not what they should be."""

    path: Path
    offset: int
    length: int
    what: str


@dataclass(frozen=True, slots=True)
class ClockCheck:
    """A clock record's counters, and how many frames of each stream stand before it in its file."""

    frames_before: Counter[int]
    counters: dict[str, Any]


@dataclass(slots=True)
class FileCheck:
    """What one file holds. `frames`: number, epoch, length, raw_length and stream of its frames, in order
    and including damaged ones: all that is kept of them, a night has millions."""

    path: Path
    size: int
    sealed: bool
    records: int
    frames: npt.NDArray[np.void]
    streams: dict[int, dict[str, Any]]
    gaps: list[tuple[int, int, dict[str, Any]]]
    clocks: list[ClockCheck] = field(default_factory=list)
    damage: list[BadStretch] = field(default_factory=list)


def check_file(path: Path, pool: Executor, progress: Progress) -> FileCheck:
    """Read all of it. Raises NotOurFileError or StorageError."""
    with RecordFile(path, use_index=False) as file, RecordFile(path) as indexed:
        learn_maps(file)
        check = FileCheck(
            path=path,
            size=file.size,
            sealed=indexed.sealed,
            records=len(file),
            frames=_frames(file),
            streams=file.streams(),
            gaps=file.gaps(),
            damage=[BadStretch(path, d.offset, d.length, _what(d.kind)) for d in file.damage],
        )
        _check_index(check, file, indexed)
        _Reading(check, file, pool, progress).run()
    check.damage.sort(key=lambda stretch: stretch.offset)
    return check


def _frames(file: RecordFile) -> npt.NDArray[np.void]:
    entries = file.entries[file.of_kind(FRAME)]
    frames = np.empty(len(entries), _FRAME)
    for column in _FRAME.names or ():
        frames[column] = entries[column]
    return frames


def _what(kind: str) -> str:
    return "torn tail: cut off in the middle of a record" if kind == "torn tail" else "no record"


def _check_index(check: FileCheck, file: RecordFile, indexed: RecordFile) -> None:
    if indexed.sealed:
        agrees = file.entries.tobytes() == indexed.entries.tobytes()
        if not agrees and not file.damage:
            check.damage.append(
                BadStretch(check.path, 0, 0, "the index does not agree with the records in the file")
            )
    elif has_broken_index(indexed):
        at = file.size - END_BYTES
        check.damage.append(BadStretch(check.path, at, END_BYTES, "the file's index is damaged"))


def has_broken_index(file: RecordFile) -> bool:
    """Whether a file that was opened by its index ends as a sealed one does, and yet has no index."""
    if file.sealed or file.size < END_BYTES:
        return False
    with file.path.open("rb") as raw:
        raw.seek(-END_BYTES, 2)
        end = unpack_header(raw.read(END_BYTES))
    return end is not None and end.kind == END


class _Reading:
    """Reads the records in order and keeps the pool busy with payloads."""

    def __init__(self, check: FileCheck, file: RecordFile, pool: Executor, progress: Progress) -> None:
        self._check, self._file, self._pool, self._progress = check, file, pool, progress
        self._decoding: deque[tuple[Record, Future[str]]] = deque()
        self._frames_before: Counter[int] = Counter()

    def run(self) -> None:
        for index, entry in enumerate(self._file.entries):
            try:
                record = self._file.read(index)
            except DamagedError:
                name = KIND_NAMES.get(int(entry["kind"]), "unknown")
                self._bad(int(entry["offset"]), int(entry["length"]), f"{name} record: its checksum is wrong")
                self._progress(int(entry["length"]))
            else:
                self._look_at(record)
            self._frames_before[int(entry["stream"])] += int(entry["kind"]) == FRAME
        while self._decoding:
            self._collect()

    def _look_at(self, record: Record) -> None:
        kind = record.header.kind
        if kind == FRAME:
            described = self._check.streams.get(record.header.stream, {})
            pixel_format = str(described.get("pixel_format", ""))
            self._decoding.append((record, self._pool.submit(_decodes, record, pixel_format)))
            if len(self._decoding) >= _IN_FLIGHT:
                self._collect()
            return
        self._progress(record.header.total_bytes)
        if kind in _JSON_KINDS:
            try:
                value = record.json()
            except ValueError:
                what = f"{KIND_NAMES[kind]} record: it is not the JSON it should be"
                self._bad(record.offset, record.header.total_bytes, what)
                return
            counters = value.get("counters")
            if kind == CLOCK and isinstance(counters, dict):
                self._check.clocks.append(ClockCheck(Counter(self._frames_before), counters))

    def _collect(self) -> None:
        record, work = self._decoding.popleft()
        what = work.result()
        self._progress(record.header.total_bytes)
        if what:
            self._bad(record.offset, record.header.total_bytes, f"frame {record.header.number} {what}")

    def _bad(self, offset: int, length: int, what: str) -> None:
        self._check.damage.append(BadStretch(self._check.path, offset, length, what))


def _decodes(record: Record, pixel_format: str) -> str:
    """What is wrong with the payload, or ""."""
    try:
        data = decode(record.header, record.payload, pixel_format)
    except CodecError as error:
        return str(error)
    claimed, is_array = record.header.raw_length, record.header.codec != CODEC_JPEG
    if is_array and claimed and claimed != data.nbytes:
        return f"decodes to {data.nbytes} bytes, its header says {claimed}"
    return ""
