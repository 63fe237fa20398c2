"""One of our own recordings as a camera: a camera's folder, or a single .nrig file.

Frames come in the order in which they were recorded, with their numbers, device times and meta; JPEG is
passed on as it lies in the file. Where the recorded camera was opened again its numbers began anew: here
they go on, as they do when a loop starts again. A frame that is damaged is left out, which shows as a hole
in the numbers. Estimators' streams other than depth are not a camera's and are left out, too.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from capture.frames import CameraInfo, Frame, StreamInfo
from capture.given_files import given_path
from capture.recording import RecordedStream, Recording
from capture.sources._cv_pace import Pacer
from capture.specs import PlaybackSpec
from codec.errors import (
    CameraLostError,
    CameraNotFoundError,
    ConfigError,
    DamagedError,
    NightrigError,
    SourceEndedError,
)
from codec.records.layout import CLOCKS, CODEC_JPEG

_PLAYABLE = ("z16", "y8", "bgr8", "jpeg")


@dataclass(slots=True)
class _Track:
    """One stream being played. `offset` is added to recorded numbers so that they only grow."""

    stream: RecordedStream
    info: StreamInfo
    epoch: int = -1
    offset: int = 0
    last: int = -1

    def number(self, recorded: int, epoch: int) -> int:
        if epoch != self.epoch:
            self.offset = max(0, self.last + 1 - recorded)
            self.epoch = epoch
        self.last = recorded + self.offset
        return self.last


class RecordingSource:
    """A Source over one recorded camera."""

    def __init__(self, name: str, spec: PlaybackSpec) -> None:
        self._name, self._spec = name, spec
        self._pacer = Pacer(spec.pace)
        self._recording: Recording | None = None
        self._tracks: list[_Track] = []
        self._order: npt.NDArray[np.int64] = np.empty((0, 3), np.int64)
        self._position = 0
        self._pass_ns = 0
        self._shift_ns = 0

    def open(self) -> CameraInfo:
        self.close()
        try:
            self._recording = Recording(given_path(self._spec.path))
        except NightrigError as error:
            raise CameraNotFoundError(f"{self._name}: {error}") from error
        streams = [s for s in self._recording.streams.values() if s.info.pixel_format in _PLAYABLE and len(s)]
        cameras = {stream.camera.name: stream.camera for stream in streams}
        if len(cameras) != 1:
            found = ", ".join(sorted(cameras)) or "none with frames"
            raise ConfigError(f"{self._name}: {self._spec.path} holds {found}: name the folder of one camera")
        self._tracks = [_Track(stream, _as_played(stream)) for stream in streams]
        self._order = _in_time_order(streams)
        span_ns = int(self._order[-1, 0]) - int(self._order[0, 0])  # in 64 bits that may overflow
        self._pass_ns = span_ns + round(1e9 / (max(s.info.fps for s in streams) or self._spec.fps))
        self._position = self._shift_ns = 0
        self._pacer = Pacer(self._spec.pace)
        recorded = next(iter(cameras.values()))
        return replace(
            recorded,
            name=self._name,
            backend="playback",
            streams=tuple(track.info for track in self._tracks),
            can_wait=True,
            options={**recorded.options, "path": self._spec.path},
        )

    def read(self, timeout_s: float) -> list[Frame]:
        if self._recording is None:
            raise CameraLostError(f"{self._name}: {self._spec.path} is not open")
        if self._position == len(self._order):
            self._begin_again()
        recorded_ns, which, index = (int(value) for value in self._order[self._position])
        if not self._pacer.wait((recorded_ns + self._shift_ns) / 1e9, timeout_s):
            return []
        self._position += 1
        try:
            return [self._frame(self._tracks[which], index)]
        except DamagedError:
            return []

    def _begin_again(self) -> None:
        if not self._spec.loop:
            raise SourceEndedError(f"{self._name}: {self._spec.path} has been played to its end")
        self._position = 0
        self._shift_ns += self._pass_ns
        for track in self._tracks:
            track.epoch = -1

    def _frame(self, track: _Track, index: int) -> Frame:
        record = track.stream.record(index)
        header = record.header
        data: npt.NDArray[np.generic] = np.frombuffer(record.payload, np.uint8)
        if track.info.pixel_format != "jpeg":
            data = track.stream.frame(index).data
        time_s = header.device_time_s + self._shift_ns / 1e9
        return Frame(
            stream=track.info.name,
            number=track.number(header.number, header.epoch),
            data=data,
            device_time_s=None if math.isnan(time_s) else time_s,
            clock=CLOCKS[header.clock] if header.clock < len(CLOCKS) else "",
            monotonic_ns=time.monotonic_ns(),
            meta=record.meta,
        )

    def close(self) -> None:
        if self._recording is not None:
            self._recording.close()
            self._recording = None


def _as_played(stream: RecordedStream) -> StreamInfo:
    """Colour lies in the file as JPEG, whatever the camera gave, and is passed on as that."""
    if stream.info.pixel_format == "bgr8" and stream.record(0).header.codec == CODEC_JPEG:
        return replace(stream.info, pixel_format="jpeg")
    return stream.info


def _in_time_order(streams: list[RecordedStream]) -> npt.NDArray[np.int64]:
    """(monotonic_ns, stream, index) of every frame, oldest first; a stream's own order is kept."""
    parts = []
    for which, stream in enumerate(streams):
        times = np.maximum.accumulate(stream.monotonic_ns())
        parts.append(np.stack([times, np.full_like(times, which), np.arange(len(times))], axis=1))
    table = np.concatenate(parts)
    return table[np.argsort(table[:, 0], kind="stable")]
