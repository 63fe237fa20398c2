"""The record files of one camera: opens segments, rotates them by time and size, never leaves a hole.

Used by the writer's thread alone. A record that cannot be written stays in the caller's hands (an
exception says why); a poisoned segment is left as it is and another one begun. Sealing (index, last
sync) happens on a thread of its own, so that a slow disk does not hold up the next segment.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capture import session
from codec import durable
from codec.context_maps import write_map
from codec.durable import AppendFile, SyncThread
from codec.errors import FormatError, StorageError
from codec.records.layout import FRAME
from codec.records.reader import RecordFile
from codec.records.writer import Packed, RecordWriter

CLOCK_EVERY_S = 10.0

SyncError = Callable[[AppendFile, StorageError], None]
"""What is told of a file whose end may not be on the disk."""


@dataclass(frozen=True, slots=True)
class SegmentLimits:
    """When a segment is full: its age in seconds or its size in bytes."""

    seconds: float
    bytes: int


class CameraFiles:
    """The segments of one camera (or estimator) in one session."""

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        limits: SegmentLimits,
        sync: SyncThread,
        sealer: ThreadPoolExecutor,
        counters: Callable[[], dict[str, Any]],
        prefix: str = "",
        clock_pair: Callable[[], tuple[int, int] | None] = lambda: None,
    ) -> None:
        """`counters` gives what the clock records hold: the camera's own count of what came in. `clock_pair`
        is (monotonic ns, wall ns) where frames are not of now."""
        self._folder, self._name, self._prefix = folder, name, prefix
        self._limits, self._sync, self._sealer, self._counters = limits, sync, sealer, counters
        self._clock_pair = clock_pair
        self._writer: RecordWriter | None = None
        self._sealing: list[RecordWriter] = []
        self._camera: dict[str, Any] = {}
        self._epoch = 0
        self._opened_s = self._clocked_s = -math.inf
        self._head_bytes = 0
        self.file_bytes = 0

    def begin(self, camera: dict[str, Any], epoch: int) -> None:
        """The camera was opened (again): its streams from here on. Raises like append().

        They are on disk when this returns, so that a later writer process finds them there.
        """
        changed = bool(self._camera) and camera["streams"] != self._camera["streams"]
        self._camera, self._epoch = camera, epoch
        if self._writer is not None:
            if changed or self._writer.file.poisoned:
                self.rotate()
            else:
                self._describe(self._writer)
        self._current()

    def describe_as(self, camera: dict[str, Any], epoch: int = 0) -> None:
        """Go on with a camera that an earlier writer process has begun."""
        self._camera, self._epoch = camera, epoch

    def append(self, record: Packed) -> int:
        """Append a record; returns its bytes on disk. Raises DiskFullError or StorageError."""
        written = self._current().append(record)
        self.file_bytes += written
        return written

    def gap(self, stream: int, epoch: int, gap: dict[str, Any]) -> None:
        """Write a gap record. Raises like append()."""
        self._current().gap(stream, gap, epoch=epoch)

    def _current(self) -> RecordWriter:
        now_s = time.monotonic()
        if self._writer is not None:
            grown = self._writer.size - self._head_bytes
            full = grown >= self._limits.bytes or now_s - self._opened_s >= self._limits.seconds
            if full or self._writer.file.poisoned:
                self.rotate()
        if self._writer is None:
            self._writer = self._open()
        if now_s - self._clocked_s >= CLOCK_EVERY_S:
            self._clocked_s = now_s
            self._writer.clock(self._counters(), pair_ns=self._clock_pair())
        return self._writer

    def _open(self) -> RecordWriter:
        durable.make_directory(self._folder)
        number = session.next_segment_number(self._folder, prefix=self._prefix)
        path = session.segment_path(self._folder, number, prefix=self._prefix)
        writer = RecordWriter(path, info={"camera": self._name, "segment": number})
        try:
            self._describe(writer)
            if any(stream["pixel_format"] == "z16" for stream in self._camera["streams"]):
                write_map(writer)  # whatever the codec is now: the effort ladder may come to need it
        except StorageError:
            writer.file.discard()  # ours, just made, and without a single frame
            raise
        self._head_bytes = writer.size
        self._opened_s = time.monotonic()
        self._clocked_s = -math.inf  # each segment ties the clocks together at its beginning
        self._sync.add(writer.file)
        return writer

    def _describe(self, writer: RecordWriter) -> None:
        camera = {key: value for key, value in self._camera.items() if key != "streams"}
        for index, stream in enumerate(self._camera["streams"]):
            writer.stream(index, {**stream, "camera": camera}, epoch=self._epoch)

    def rotate(self) -> None:
        """Close the current segment; the next record begins another."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        self._sync.remove(writer.file)
        self._sealing.append(writer)
        # A poisoned one as well: closing waits for a sync under way.
        self._sealer.submit(_seal, writer, self._counters(), self._clock_pair(), self._sync.tell)

    @property
    def unsynced_bytes(self) -> int:
        """What was appended and is not yet on the disk, in the current segment and those being sealed."""
        self._sealing = [writer for writer in self._sealing if not writer.file.closed]
        writers = [*self._sealing, self._writer] if self._writer is not None else self._sealing
        return sum(writer.file.unsynced_bytes for writer in writers if not writer.file.poisoned)

    @property
    def poisoned(self) -> bool:
        """True where the current segment takes nothing any more."""
        return self._writer is not None and self._writer.file.poisoned


def what_is_on_disk(segments: Sequence[Path]) -> tuple[dict[str, Any] | None, dict[int, tuple[int, int]]]:
    """What an earlier writer process left: the camera as its newest stream records describe it, and for
    each stream the (epoch, number) of its last frame in the newest segment that has frames at all.

    At most one frame is on disk and still in the ring, the newest: older segments need not be read. The
    newest one may lack stream records (its writer was killed while it wrote them); those before it, of the
    same epoch, have them.
    """
    streams: dict[int, dict[str, Any]] = {}
    epoch = -1
    last: dict[int, tuple[int, int]] = {}
    for path in reversed(segments):
        with contextlib.suppress(FormatError, StorageError), RecordFile(path) as file:
            described = file.stream_records()
            epoch = max([epoch, *(of_epoch for _, of_epoch, _ in described)])
            of_now = {index: stream for index, of_epoch, stream in described if of_epoch == epoch}
            streams = {**of_now, **streams}
            frames = file.entries[file.of_kind(FRAME)]
            for index in set(frames["stream"].tolist()):
                own = frames[frames["stream"] == index]
                newest = max(zip(own["epoch"].tolist(), own["number"].tolist(), strict=True))
                last.setdefault(index, newest)
        if last and _camera(streams) is not None:
            break
    return _camera(streams), last


def _camera(streams: dict[int, dict[str, Any]]) -> dict[str, Any] | None:
    """The camera whose stream records these are; None where one is missing."""
    if not streams or set(streams) != set(range(len(streams))):
        return None
    described = [{k: v for k, v in streams[i].items() if k != "camera"} for i in range(len(streams))]
    return {**streams[0].get("camera", {}), "streams": described}


def _seal(
    writer: RecordWriter,
    counters: dict[str, Any],
    pair_ns: tuple[int, int] | None,
    tell: SyncError,
) -> None:
    """Without its index (where the disk is full) the file is scanned, every record in it is whole; but that
    its end may not be on the disk must be told, once."""
    file = writer.file
    if file.poisoned:
        writer.close()
        return
    with contextlib.suppress(StorageError):
        writer.clock(counters, pair_ns=pair_ns)
    try:
        writer.seal()
    except StorageError as error:
        if file.poisoned:
            tell(file, error)
