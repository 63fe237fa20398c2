"""What the segments of a recording hold, found out from indexes and headers; and a few of them held open.

`survey` looks at one segment and keeps a summary of some hundred bytes per stream, `OpenFiles` opens
segments when a record is wanted and closes those not used for the longest time. Reads no frame.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.context_maps import learn_maps
from codec.errors import DamagedError
from codec.records import numbers
from codec.records.layout import CLOCK, CODEC_F32, CODEC_JPEG, FILE, FRAME
from codec.records.reader import Damage, RecordFile

Key = tuple[int, int]
"""(epoch, number): what a frame is known by within its stream."""

_OPEN_FILES = 16


@dataclass(frozen=True, slots=True)
class Part:
    """The frames of one stream in one segment. `kept` are those that are no repeats; None means all."""

    path: Path
    stream: int
    count: int
    first_ns: int
    last_ns: int
    lowest: Key
    highest: Key
    raw_bytes: int
    file_bytes: int
    rising: bool
    width: int
    height: int
    codec: int
    kept: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class SegmentSurvey:
    """One segment: its streams as it describes them, its frames by stream, gaps, clocks and damage."""

    path: Path
    size: int
    sealed: bool
    info: dict[str, Any]
    streams: dict[int, dict[str, Any]]
    parts: dict[int, Part]
    gaps: tuple[tuple[int, int, dict[str, Any]], ...]
    clocks: tuple[tuple[int, int], ...]
    damage: tuple[Damage, ...] = field(default=())


def numbered_name(path: Path) -> tuple[str, int]:
    """The prefix and the number in a segment's name: ("parameters-", 0) of parameters-000.nrig."""
    prefix, dash, number = path.stem.rpartition("-")
    return prefix + dash, int(number)


def survey(file: RecordFile) -> SegmentSurvey:
    """Look at one open segment."""
    frames = file.entries[file.of_kind(FRAME)]
    parts = {}
    for stream in np.unique(frames["stream"]).tolist():
        parts[stream] = _part(file, stream, frames[frames["stream"] == stream])
    return SegmentSurvey(
        path=file.path,
        size=file.size,
        sealed=file.sealed,
        info=file.info,
        streams=file.streams(),
        parts=parts,
        gaps=tuple(file.gaps()),
        clocks=_clocks(file),
        damage=tuple(file.damage),
    )


def _part(file: RecordFile, stream: int, own: npt.NDArray[np.void]) -> Part:
    epochs, frame_numbers = own["epoch"].astype(np.int64), own["number"]
    rising = numbers.is_rising(epochs, frame_numbers)
    keys = [(int(e), int(n)) for e, n in zip(epochs, frame_numbers, strict=True)] if not rising else []
    ends = [(int(epochs[i]), int(frame_numbers[i])) for i in (0, -1)]
    width, height = _size_of(file, stream)
    return Part(
        path=file.path,
        stream=stream,
        count=len(own),
        first_ns=int(own["monotonic_ns"][0]),
        last_ns=int(own["monotonic_ns"][-1]),
        lowest=min(keys or ends),
        highest=max(keys or ends),
        raw_bytes=int(own["raw_length"].sum(dtype=np.int64)),
        file_bytes=int(own["length"].sum(dtype=np.int64)),
        rising=rising,
        width=width,
        height=height,
        codec=int(own["codec"][0]),
    )


def _size_of(file: RecordFile, stream: int) -> tuple[int, int]:
    try:
        header = file.read(int(file.frames(stream)[0])).header
    except DamagedError:
        return 0, 0
    return header.width, header.height


def _clocks(file: RecordFile) -> tuple[tuple[int, int], ...]:
    """(monotonic_ns, wall_ns) of the first and the last clock record, else of the file record."""
    clocks = file.of_kind(CLOCK)
    ends = sorted({int(index) for index in (*clocks[:1], *clocks[-1:])})
    return tuple(clock_pairs(file, ends or file.of_kind(FILE).tolist()))


def clock_pairs(file: RecordFile, places: Iterable[int]) -> Iterator[tuple[int, int]]:
    """(monotonic_ns, wall_ns) of these records, without those that cannot be read."""
    for index in places:
        try:
            record = file.read(int(index))
            wall_ns = record.json().get("wall_ns")
        except (DamagedError, ValueError):
            continue
        if type(wall_ns) is int:
            yield record.header.monotonic_ns, wall_ns


def assumed_stream(part: Part) -> dict[str, Any]:
    """What can be said of a stream whose description is damaged."""
    pixel_format = {CODEC_JPEG: "jpeg", CODEC_F32: "f32"}.get(part.codec, "z16")
    size = {"width": part.width, "height": part.height}
    return {"name": f"stream{part.stream}", "pixel_format": pixel_format, **size, "fps": 0.0}


class OpenFiles:
    """Segments held open, at most a few at a time. Not shared between threads."""

    def __init__(self) -> None:
        self._files: OrderedDict[Path, tuple[RecordFile, dict[int, npt.NDArray[np.intp]]]] = OrderedDict()

    def file(self, path: Path) -> RecordFile:
        """The open segment. Raises NotOurFileError or StorageError."""
        return self._held(path)[0]

    def positions(self, part: Part) -> npt.NDArray[np.intp]:
        """Where the frames of a part stand among the entries of its file, repeats left out."""
        file, known = self._held(part.path)
        if part.stream not in known:
            where = file.frames(part.stream)
            known[part.stream] = where if part.kept is None else where[list(part.kept)]
        return known[part.stream]

    def _held(self, path: Path) -> tuple[RecordFile, dict[int, npt.NDArray[np.intp]]]:
        if path not in self._files:
            while len(self._files) >= _OPEN_FILES:
                self._files.popitem(last=False)[1][0].close()
            file = RecordFile(path)
            learn_maps(file)
            self._files[path] = (file, {})
        self._files.move_to_end(path)
        return self._files[path]

    def close(self) -> None:
        """Safe to call twice."""
        while self._files:
            self._files.popitem()[1][0].close()
