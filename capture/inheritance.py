"""What a writer process that died left on disk of one camera: all that its successor counts on from.

A killed writer may have written a frame that it did not live to count, or have known of an outage that it
did not live to write down. The files say which, and for files that were deleted to make room the events do.
Reads them; judges and writes nothing.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from capture.deleted import DeletedSegment, deleted_segments
from capture.ledger import OUTAGE
from codec.errors import FormatError, StorageError
from codec.records.layout import FRAME
from codec.records.reader import RecordFile


@dataclass(slots=True)
class StreamOnDisk:
    """One stream. last_epoch and last_ns: of its newest frame; last_ns covers what gap records tell, too.
    told: frames that gap records call missing, by reason. outages: the epochs that begin with one."""

    frames: int = 0
    raw_bytes: int = 0
    file_bytes: int = 0
    last_epoch: int = -1
    last_ns: int = 0
    told: Counter[str] = field(default_factory=Counter)
    outages: set[int] = field(default_factory=set)


GapName = tuple[int, int, str]
"""A gap record's stream, epoch, and all that it says: no other gap of a session has the same."""


@dataclass(slots=True)
class CameraOnDisk:
    """One camera. epoch: the newest described; first_epoch and since_ns: the oldest, and its beginning.
    gaps: those in its files. is_cut: there were older files, and of them their counts are left, of meshes in
    meshes_deleted."""

    epoch: int = 0
    first_epoch: int = 0
    since_ns: int = 0
    streams: dict[int, StreamOnDisk] = field(default_factory=dict)
    gaps: set[GapName] = field(default_factory=set)
    is_cut: bool = False
    meshes_deleted: int = 0


def gap_name(stream: int, epoch: int, gap: Mapping[str, object]) -> GapName:
    """What tells this gap from every other."""
    return stream, epoch, json.dumps(gap, sort_keys=True)


def left_on_disk(segments: Sequence[Path]) -> CameraOnDisk:
    """Look through all segments; sealed ones are quick, of the last one the headers are read."""
    left = CameraOnDisk()
    for path in segments:
        with contextlib.suppress(FormatError, StorageError), RecordFile(path) as file:
            _look_at_epochs(left, file)
            _count_frames(left, file)
            for stream, epoch, gap in file.gaps():
                name = gap_name(stream, epoch, gap)
                if name not in left.gaps:
                    left.gaps.add(name)
                    _count_gap(left.streams.setdefault(stream, StreamOnDisk()), epoch, gap)
    for segment in deleted_segments(segments[0].parent) if segments else ():
        _count_deleted(left, segment)
    return left


def _look_at_epochs(left: CameraOnDisk, file: RecordFile) -> None:
    described = [epoch for _, epoch, _ in file.stream_records()]
    if described and not left.since_ns:
        left.first_epoch = min(described)
        left.since_ns = int(file.entries["monotonic_ns"][0])
    left.epoch = max([left.epoch, *described])


def _count_frames(left: CameraOnDisk, file: RecordFile) -> None:
    frames = file.entries[file.of_kind(FRAME)]
    for index in np.unique(frames["stream"]).tolist():
        own, stream = frames[frames["stream"] == index], left.streams.setdefault(index, StreamOnDisk())
        stream.frames += len(own)
        stream.raw_bytes += int(own["raw_length"].sum(dtype=np.int64))
        stream.file_bytes += int(own["length"].sum(dtype=np.int64))
        stream.last_epoch = max(stream.last_epoch, int(own["epoch"].max()))
        stream.last_ns = max(stream.last_ns, int(own["monotonic_ns"].max()))
        left.epoch = max(left.epoch, stream.last_epoch)


def _count_gap(stream: StreamOnDisk, epoch: int, gap: dict[str, object]) -> None:
    count, end_ns = gap.get("count"), gap.get("end_ns")
    if isinstance(count, int) and isinstance(end_ns, int):
        stream.told[str(gap.get("reason"))] += count
        stream.last_ns = max(stream.last_ns, end_ns)
    if gap.get("reason") == OUTAGE:
        stream.outages.add(epoch)


def _count_deleted(left: CameraOnDisk, segment: DeletedSegment) -> None:
    left.is_cut = True
    left.meshes_deleted += segment.meshes
    if segment.first_ns:
        left.since_ns = min(left.since_ns or segment.first_ns, segment.first_ns)
    for index, part in segment.streams.items():
        stream = left.streams.setdefault(index, StreamOnDisk())
        stream.frames += part.frames
        stream.told.update(part.gaps)
