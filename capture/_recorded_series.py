"""Puts the segments of one camera together: which frames and gaps each of its streams has.

Knows surveys, not frames. A stream's description that is damaged in one segment is taken from another;
frames that a writer wrote again after it had taken over from a killed one are found and left out.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from capture._recorded_info import checked_camera, checked_stream
from capture._segment_survey import Key, OpenFiles, Part, SegmentSurvey, assumed_stream
from capture.frames import CameraInfo, StreamInfo
from capture.wire import stream_info_from_dict
from codec.errors import DamagedError
from codec.one_line import one_line
from codec.records.numbers import gap_count, gap_range

_MOMENTS = 1 << 63


@dataclass(frozen=True, slots=True)
class RecordedGap:
    """Missing frames of a stream; first and last are None where only an estimate of their count is known."""

    stream: str
    epoch: int
    reason: str
    first: int | None
    last: int | None
    count: int
    start_ns: int
    end_ns: int


@dataclass(slots=True)
class SeriesStream:
    """One stream of the series, under the name "<series>/<stream>"."""

    name: str
    info: StreamInfo
    camera: CameraInfo
    parts: list[Part]
    gaps: list[RecordedGap]


class SeriesStreams:
    """Puts the segments of one camera together, stream by stream."""

    def __init__(self, surveys: list[SegmentSurvey], files: OpenFiles) -> None:
        self._surveys, self._files = surveys, files

    def streams(self, series: str) -> list[SeriesStream]:
        found: dict[str, SeriesStream] = {}
        known: dict[int, dict[str, Any]] = {}
        for segment in self._surveys:  # what a damaged segment does not say another one does
            known = {**segment.streams, **known}
        for segment in self._surveys:
            known = {**known, **segment.streams}
            in_gaps = {stream for stream, _, _ in segment.gaps}
            for index in sorted({*segment.streams, *segment.parts, *in_gaps}):
                part = segment.parts.get(index)
                described = known.get(index) or (assumed_stream(part) if part else {})
                stream = self._join(found, series, described, index, part)
                if part is not None:
                    stream.parts.append(self._without_repeats(part, stream.parts))
                stream.gaps += [_gap(stream.name, e, gap) for s, e, gap in segment.gaps if s == index]
        return list(found.values())

    @staticmethod
    def _join(
        found: dict[str, SeriesStream], series: str, described: dict[str, Any], index: int, part: Part | None
    ) -> SeriesStream:
        try:
            info = checked_stream(described)
        except (KeyError, TypeError, ValueError):
            info = StreamInfo(f"stream{index}", "z16", 0, 0, 0.0)
            if part is not None:
                info = stream_info_from_dict(assumed_stream(part))
        camera = checked_camera(series, described.get("camera"))
        stream = found.setdefault(info.name, SeriesStream(f"{series}/{info.name}", info, camera, [], []))
        stream.info, stream.camera = info, camera
        return stream

    def _without_repeats(self, part: Part, earlier: list[Part]) -> Part:
        overlapping = [p for p in earlier if p.count and p.highest >= part.lowest]
        if part.rising and not overlapping:
            return part
        seen = {key for other in overlapping for key in self._keys(other)}
        places: dict[Key, list[int]] = {}
        for place, key in enumerate(self._keys(part)):
            if key not in seen:
                places.setdefault(key, []).append(place)
        kept = [self._best(part, copies) for _, copies in sorted(places.items())]
        if len(kept) == part.count:
            return part
        own = self._files.file(part.path).entries[self._files.positions(part)[kept]]
        self._files.close()  # what it remembers of this part is out of date
        return replace(
            part,
            kept=tuple(kept),
            count=len(kept),
            raw_bytes=int(own["raw_length"].sum(dtype=np.int64)),
            file_bytes=int(own["length"].sum(dtype=np.int64)),
            first_ns=int(own["monotonic_ns"][0]) if kept else 0,
            last_ns=int(own["monotonic_ns"][-1]) if kept else 0,
        )

    def _best(self, part: Part, copies: list[int]) -> int:
        """The first copy of a frame that can be read."""
        file, positions = self._files.file(part.path), self._files.positions(part)
        for place in copies if len(copies) > 1 else ():
            with contextlib.suppress(DamagedError):
                file.read(int(positions[place]))
                return place
        return copies[0]

    def _keys(self, part: Part) -> list[Key]:
        own = self._files.file(part.path).entries[self._files.positions(part)]
        return list(zip(own["epoch"].tolist(), own["number"].tolist(), strict=True))


def _gap(stream: str, epoch: int, gap: dict[str, Any]) -> RecordedGap:
    covered = gap_range(gap)
    start_ns, end_ns = gap.get("start_ns"), gap.get("end_ns")
    return RecordedGap(
        stream=stream,
        epoch=epoch,
        reason=one_line(str(gap.get("reason"))),
        first=covered[0] if covered else None,
        last=covered[1] if covered else None,
        count=gap_count(gap),
        start_ns=_moment_ns(start_ns),
        end_ns=_moment_ns(end_ns),
    )


def _moment_ns(value: object) -> int:
    """A moment as records have them, in 64 bits; 0 for anything else."""
    return value if type(value) is int and -_MOMENTS <= value < _MOMENTS else 0
