"""Rewrites one record file with its depth frames in another codec.

The new file is made beside the old one, synced, read back from the disk, and every frame in it decoded and
compared with the old one bit for bit; only then does it take the old one's name, in one step. At every
moment that name stands for the whole old file or the whole new one. All other records, and all other fields
of the frames, are carried over byte for byte; a file that was never sealed stays unsealed, because that
says how its recording ended. A frame that would get larger keeps its old payload. What a run that was killed
or interrupted has written of the new file is not compressed a second time.

Runs over the frames of one file in parallel, not over files, so that one file more at a time is all the
room it takes. Threads: compressing releases the interpreter's lock, and they end with the process, however
it is killed. Reads and writes in the calling thread alone; knows nothing of sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from capture import session
from capture._ordered_pool import OrderedPool
from capture._recompress_leftovers import Leftover
from capture._recompress_plan import pending_frames, refuse_damage
from capture.decoding import Array, decode, thread_codec
from codec import durable
from codec.context_maps import learn_maps
from codec.depth import DepthCodec
from codec.errors import CodecError, DamagedError, FormatError, StorageError
from codec.records.layout import (
    ENTRY,
    HEADER_BYTES,
    Header,
    differs_in_payload_only,
    entry_tuple,
    replace_payload,
    unpack_header,
)
from codec.records.reader import RecordFile
from codec.records.writer import Packed, RecordWriter


@dataclass(frozen=True, slots=True)
class Step:
    """Progress: so many frames rewritten and so many compared, and the bytes of payload they had and have
    now. `is_work` where that took the time it takes; false for what was done before, or will not be done."""

    written: int = 0
    compared: int = 0
    before_bytes: int = 0
    after_bytes: int = 0
    is_work: bool = True

    @property
    def halves(self) -> int:
        """The same as one number: a frame is done in two steps."""
        return self.written + self.compared


Progress = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What became of a segment: `frames` have another payload, `kept` were smaller as they were."""

    frames: int
    kept: int
    before_bytes: int
    after_bytes: int


@dataclass(frozen=True, slots=True)
class _Record:
    """A whole record of the old file. `is_pending` where it is a frame to be recompressed; `done` is what
    an earlier attempt has made of it."""

    path: Path
    offset: int
    header: Header
    data: bytes
    is_pending: bool
    done: bytes | None = None

    @property
    def packed(self) -> Packed:
        return _split(self.data)


def _split(record: bytes) -> Packed:
    return record[:HEADER_BYTES], record[HEADER_BYTES:], b""


def rewrite_segment(
    path: Path,
    codec: DepthCodec,
    pool: OrderedPool,
    progress: Progress,
    *,
    leftover: Path | None = None,
) -> Rewritten:
    """Recompress the depth frames of one file, in its place. `leftover` is what an earlier attempt wrote.

    Raises FormatError where something in it is damaged or not for us, DiskFullError or StorageError where
    the disk refuses or does not give back what was written, FileBusyError where another program writes it:
    the old file then stands as it was. What is written by a Ctrl-C stays for the next attempt.
    """
    segment = path.resolve()  # a link stays one, and the new file lies on the disk that the old one is on
    with durable.hold(segment), RecordFile(segment) as old:
        refuse_damage(old)
        learn_maps(old)
        pending = pending_frames(old, codec)
        temporary = session.temporary_segment(segment, codec.name)
        earlier = Leftover(leftover, codec)
        try:
            frames = _write(old, pending, earlier, temporary, codec, pool, progress)
            kept = int(pending.sum()) - frames
            durable.drop_from_memory(temporary)
            after_bytes = _compare(old, pending, temporary, pool, progress)
            if frames or old.sealed:  # else it is the same file, and nowhere to note what has been tried
                durable.replace_file(temporary, segment)
        except Exception:
            durable.remove_file(temporary)
            earlier.remove()
            raise
        finally:
            earlier.close()
        durable.remove_file(temporary)  # gone already where it has the old one's name now
        earlier.remove()
        return Rewritten(frames, kept, old.size, after_bytes)


def _records(
    file: RecordFile, pending: npt.NDArray[np.bool_], earlier: Leftover | None = None
) -> Iterator[_Record]:
    """Every record, checked. Raises DamagedError."""
    for index, entry in enumerate(file.entries):
        data, offset = file.read_bytes(index), int(entry["offset"])
        header = unpack_header(data)
        if header is None or np.array(entry_tuple(header, offset), dtype=ENTRY).tobytes() != entry.tobytes():
            raise DamagedError(f"{file.path}: its index does not agree with the record at byte {offset}")
        is_pending = bool(pending[index])
        done = earlier.record(index, data) if earlier is not None and is_pending else None
        yield _Record(file.path, offset, header, data, is_pending, done)


def _decoded(data: bytes, header: Header) -> Array:
    return decode(header, data[HEADER_BYTES : HEADER_BYTES + header.payload_length], "z16")


# ---- writing ----


def _write(
    old: RecordFile,
    pending: npt.NDArray[np.bool_],
    earlier: Leftover,
    temporary: Path,
    codec: DepthCodec,
    pool: OrderedPool,
    progress: Progress,
) -> int:
    """Write the new file and wait for the disk; how many frames have a new payload."""

    def work(record: _Record) -> tuple[_Record, Packed | None]:
        if record.done is not None:
            return record, _split(record.done) if record.done != record.data else None
        return record, _recompressed(record, codec.id) if record.is_pending else None

    writer = RecordWriter(temporary, is_copy=True)
    frames = 0
    try:
        for record, packed in pool.map(work, _records(old, pending, earlier)):
            writer.append(record.packed if packed is None else packed)
            if record.is_pending:
                frames += packed is not None
                before_bytes = record.header.payload_length
                after_bytes = before_bytes if packed is None else len(packed[1])
                progress(Step(1, 0, before_bytes, after_bytes, is_work=record.done is None))
        if old.sealed:
            writer.seal(recompressed_to=codec.id)
        else:
            writer.file.sync()
    finally:
        writer.close()
    return frames


def _recompressed(record: _Record, codec_id: int) -> Packed | None:
    """The record with its new payload; None where that would be larger."""
    where = f"{record.path}: the frame at byte {record.offset}"
    try:
        image = _decoded(record.data, record.header)
    except CodecError as error:
        raise DamagedError(f"{where} {error}") from error
    codec = thread_codec(codec_id)
    try:
        payload = codec.encode(image)
    except CodecError as error:
        raise CodecError(f"{where} cannot be stored as {codec.name}: {error}") from error
    if len(payload) > record.header.payload_length:
        return None
    return replace_payload(record.data, payload, codec=codec_id)


# ---- reading back ----


def _compare(
    old: RecordFile,
    pending: npt.NDArray[np.bool_],
    temporary: Path,
    pool: OrderedPool,
    progress: Progress,
) -> int:
    """Read the new file and hold every record against the old one; its size. Raises StorageError."""
    with _reopened(temporary) as new:
        if len(new) != len(old) or new.sealed != old.sealed or new.damage:
            raise _misread(temporary, 0)
        for record, is_same in pool.map(_is_same, _pairs(old, pending, new)):
            if not is_same:
                raise _misread(temporary, record.offset)
            if record.is_pending:
                progress(Step(compared=1))
        return new.size


def _reopened(temporary: Path) -> RecordFile:
    try:
        return RecordFile(temporary)
    except FormatError as error:
        raise _misread(temporary, 0) from error


def _pairs(
    old: RecordFile, pending: npt.NDArray[np.bool_], new: RecordFile
) -> Iterator[tuple[_Record, bytes]]:
    for index, record in enumerate(_records(old, pending)):
        try:
            data = new.read_bytes(index)
        except DamagedError as error:
            raise _misread(new.path, record.offset) from error
        yield record, data


def _is_same(pair: tuple[_Record, bytes]) -> tuple[_Record, bool]:
    """Whether the new record (its bytes) holds what the old one does."""
    record, data = pair
    if data == record.data:
        return record, True
    header = unpack_header(data)
    if not record.is_pending or header is None or not differs_in_payload_only(record.data, data):
        return record, False
    try:
        image = _decoded(data, header)
    except FormatError:
        return record, False
    return record, np.array_equal(image, _decoded(record.data, record.header))


def _misread(temporary: Path, offset: int) -> StorageError:
    return StorageError(
        f"{temporary}: what was written for the record at byte {offset} of the old file does not come back as"
        " it was; the old file stays: check this machine's disk and memory"
    )
