"""The frames of one stream of a recording, by index and by time, whatever segments they lie in.

Owns no file: segments are opened when a frame is wanted and closed by `OpenFiles`. See capture.recording.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from capture._recorded_series import RecordedGap
from capture._segment_survey import OpenFiles, Part
from capture.decoding import Array, decode
from capture.frames import CameraInfo, StreamInfo
from codec.errors import CodecError, DamagedError
from codec.records import Record
from codec.records.layout import CLOCKS

ESTIMATOR = "estimator"
"""The back end of a "camera" whose frames an estimator made."""

_MOST_NS = (1 << 63) - 1  # a file holds no later time


@dataclass(frozen=True, slots=True, eq=False)
class RecordedFrame:
    """One frame. data: see PIXEL_FORMATS, but JPEGs are decoded to bgr8; payload: the bytes in the file."""

    stream: str
    number: int
    epoch: int
    device_time_s: float | None
    clock: str
    monotonic_ns: int
    data: Array
    meta: dict[str, Any]
    payload: bytes
    codec: int


@dataclass(frozen=True, slots=True)
class RecordingDamage:
    """A stretch of a file that cannot be read; `what` says why."""

    path: Path
    offset: int
    length: int
    what: str


class RecordedStream:
    """The frames of one stream, in order: len(), [i], iteration, frame(i) and record(i)."""

    def __init__(
        self,
        name: str,
        info: StreamInfo,
        camera: CameraInfo,
        parts: list[Part],
        gaps: list[RecordedGap],
        files: OpenFiles,
        damage: list[RecordingDamage],
    ) -> None:
        self.name, self.info, self.camera = name, info, camera
        self.gaps = list(dict.fromkeys(gaps))  # a writer that took over may have written one again
        self.raw_bytes = sum(part.raw_bytes for part in parts)
        self.file_bytes = sum(part.file_bytes for part in parts)
        self._parts = [part for part in parts if part.count]
        self._ends = list(accumulate(part.count for part in self._parts))
        self._files, self._damage = files, damage

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> RecordedFrame:
        return self.frame(index)

    def __iter__(self) -> Iterator[RecordedFrame]:
        for _, frame in self.frames(range(len(self))):
            yield frame

    @property
    def is_estimate(self) -> bool:
        """Made by an estimator: it says when it has something to say, its numbers have holes by nature."""
        return self.camera.backend == ESTIMATOR

    @property
    def first_ns(self) -> int:
        """When the first frame came; 0 without frames."""
        return self._parts[0].first_ns if self._parts else 0

    @property
    def last_ns(self) -> int:
        """When the last frame came; 0 without frames."""
        return self._parts[-1].last_ns if self._parts else 0

    @property
    def fps(self) -> float:
        """The measured rate, outages included; 0 where one frame or none is all there is."""
        span_ns = self.last_ns - self.first_ns
        return (len(self) - 1) * 1e9 / span_ns if span_ns > 0 else 0.0

    def record(self, index: int) -> Record:
        """Frame `index` as it stands in the file. Raises DamagedError, StorageError or IndexError."""
        part, place = self._where(index)
        positions = self._files.positions(part)
        return self._files.file(part.path).read(int(positions[place]))

    def frame(self, index: int) -> RecordedFrame:
        """Frame `index`, decoded. Raises DamagedError, StorageError or IndexError."""
        record = self.record(index)
        header = record.header
        try:
            data = decode(header, record.payload, self.info.pixel_format)
        except CodecError as error:
            path = self._where(index)[0].path
            raise DamagedError(f"{path}: the frame at byte {record.offset} {error}") from error
        return RecordedFrame(
            stream=self.name,
            number=header.number,
            epoch=header.epoch,
            device_time_s=None if math.isnan(header.device_time_s) else header.device_time_s,
            clock=CLOCKS[header.clock] if header.clock < len(CLOCKS) else "",
            monotonic_ns=header.monotonic_ns,
            data=data,
            meta=_meta(record.meta),
            payload=record.payload,
            codec=header.codec,
        )

    def frames(self, indices: Iterable[int]) -> Iterator[tuple[int, RecordedFrame]]:
        """(index, frame) of these; a damaged one is left out and noted in the recording's `damage`."""
        for index in indices:
            try:
                frame = self.frame(index)
            except DamagedError as error:
                self.note_damage(index, str(error))
                continue
            yield index, frame

    def note_damage(self, index: int, what: str) -> None:
        """List frame `index` as damaged."""
        part, place = self._where(index)
        entry = self._files.file(part.path).entries[self._files.positions(part)[place]]
        damage = RecordingDamage(part.path, int(entry["offset"]), int(entry["length"]), what)
        known = {(d.path, d.offset) for d in self._damage}
        if (damage.path, damage.offset) not in known:
            self._damage.append(damage)

    def entries(self) -> Iterator[npt.NDArray[np.void]]:
        """What the index says of the frames (see codec.records.ENTRY), segment by segment."""
        for part in self._parts:
            yield self._files.file(part.path).entries[self._files.positions(part)]

    def index_at(self, monotonic_ns: int) -> int:
        """The last frame that had come by then; -1 for none."""
        at = bisect_right(self._parts, monotonic_ns, key=lambda part: part.first_ns) - 1
        if at < 0:
            return -1
        part = self._parts[at]
        own = self._files.file(part.path).entries[self._files.positions(part)]["monotonic_ns"]
        before = int(np.searchsorted(own, np.int64(min(monotonic_ns, _MOST_NS)), side="right"))
        return self._ends[at] - part.count + before - 1

    def time_ns(self, index: int) -> int:
        """When frame `index` came."""
        part, place = self._where(index)
        position = self._files.positions(part)[place]
        return int(self._files.file(part.path).entries["monotonic_ns"][position])

    def monotonic_ns(self) -> npt.NDArray[np.int64]:
        """The times of all frames: eight bytes each."""
        times = [entries["monotonic_ns"].astype(np.int64) for entries in self.entries()]
        return np.concatenate(times) if times else np.empty(0, np.int64)

    def _where(self, index: int) -> tuple[Part, int]:
        wanted = index + len(self) if index < 0 else index
        if not 0 <= wanted < len(self):
            raise IndexError(f"frame {index} of {len(self)} in {self.name}")
        at = bisect_right(self._ends, wanted)
        return self._parts[at], wanted - (self._ends[at] - self._parts[at].count)


def _meta(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
