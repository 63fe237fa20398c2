"""The frames of a recording as an estimator wants them: set by set, in the order of time.

The first stream sets the pace; the others give the frame nearest to it, within half a frame. Where one has
none there is no set; without a frame of an optional stream there is. An estimator that takes cameras one at a
time (`by_camera`) gets a set per camera instead, each when it was taken. Video files that were played belong
together by their own times: how fast each of them was read says nothing. Knows recordings and times, no
estimator.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from capture.calibration import CameraCalibration
from capture.calibration.applied import with_lens
from capture.frames import CameraInfo, Frame
from capture.recording import RecordedFrame, RecordedStream, Recording
from codec.errors import DamagedError, EstimatorError
from codec.records.layout import CLOCKS

InputKey = tuple[str, str]
"""(camera name, stream name)"""

_DEFAULT_SKEW_S = 0.05
_LONGEST_S = 1e7  # of a film


def recorded_cameras(
    recording: Recording, calibration: Mapping[str, CameraCalibration] | None = None
) -> dict[str, CameraInfo]:
    """The cameras of a recording as they were opened, with what was found out about them since.

    JPEGs come decoded from a recording, so their streams are said to be bgr8.
    """
    cameras: dict[str, CameraInfo] = {}
    for stream in recording.streams.values():
        if stream.is_estimate:
            continue
        name, _, _ = stream.name.rpartition("/")
        info = stream.info
        info = replace(info, pixel_format="bgr8") if info.pixel_format == "jpeg" else info
        known = cameras.get(name, replace(stream.camera, name=name, streams=()))
        cameras[name] = replace(known, streams=(*known.streams, info))
    for name, later in (calibration or {}).items():
        if name in cameras:
            if later.world_from_camera is not None:
                cameras[name] = replace(cameras[name], world_from_camera=later.world_from_camera)
            if later.intrinsics is not None:
                cameras[name] = with_lens(cameras[name], later.intrinsics)
    return cameras


@dataclass(frozen=True, slots=True, eq=False)
class FrameSet:
    """Frames taken at nearly the same moment; `is_pace` where the first input is among them."""

    at_ns: int
    epoch: int
    frames: dict[InputKey, Frame]
    is_pace: bool


class FrameSets:
    """All sets of a recording; len() is how many, and frames_from() reads them."""

    def __init__(
        self,
        recording: Recording,
        keys: Sequence[InputKey],
        *,
        by_camera: bool,
        optional: Collection[InputKey] = (),
    ) -> None:
        """Raises EstimatorError where the recording lacks one of the streams."""
        self._streams = [_stream(recording, key) for key in keys]
        self._keys, self._optional = list(keys), frozenset(optional)
        self._taken_ns = _times_ns(self._streams)
        cameras = dict.fromkeys(camera for camera, _ in keys)
        groups = (
            [[i for i, key in enumerate(keys) if key[0] == camera] for camera in cameras]
            if by_camera
            else [list(range(len(keys)))]
        )
        times: list[npt.NDArray[np.int64]] = []
        rows: list[npt.NDArray[np.int64]] = []
        for group in groups:
            at_ns, indices = self._together(group)
            row = np.full((len(at_ns), len(keys)), -1, np.int64)
            row[:, group] = indices
            times.append(at_ns)
            rows.append(row)
        order = np.argsort(np.concatenate(times), kind="stable")
        self._times_ns, self._rows = np.concatenate(times)[order], np.concatenate(rows)[order]
        self.pace_total = len(times[0])

    def _together(self, group: list[int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """When the sets of these streams were taken, and the index of each one's frame."""
        pace = self._streams[group[0]]
        fps = pace.info.fps or pace.fps
        skew_ns = round(1e9 * (0.5 / fps if fps > 0 else _DEFAULT_SKEW_S))
        at_ns = self._taken_ns[group[0]]
        columns, whole = [np.arange(len(at_ns))], np.ones(len(at_ns), bool)
        for other in group[1:]:
            own_ns = self._taken_ns[other]
            if not len(own_ns):
                return at_ns[:0], np.empty((0, len(group)), np.int64)
            after = np.searchsorted(own_ns, at_ns).clip(0, len(own_ns) - 1)
            before = (after - 1).clip(0)
            nearer = np.abs(own_ns[before] - at_ns) <= np.abs(own_ns[after] - at_ns)
            nearest = np.where(nearer, before, after)
            is_near = np.abs(own_ns[nearest] - at_ns) <= skew_ns
            if self._keys[other] in self._optional:
                nearest = np.where(is_near, nearest, -1)
            else:
                whole &= is_near
            columns.append(nearest)
        return at_ns[whole], np.stack(columns, 1)[whole]

    def __len__(self) -> int:
        return len(self._times_ns)

    def first_after(self, at_ns: int) -> int:
        """The first set that was taken later than that."""
        return int(np.searchsorted(self._times_ns, at_ns, side="right"))

    def time_ns(self, index: int) -> int:
        """When set `index` was taken."""
        return int(self._times_ns[index])

    def frames_from(self, index: int) -> Iterator[FrameSet | str]:
        """Every set from that one on; a sentence in place of one that cannot be read."""
        for row in range(index, len(self)):
            try:
                yield self._read(row)
            except DamagedError as error:
                yield str(error)

    def _read(self, row: int) -> FrameSet:
        frames: dict[InputKey, Frame] = {}
        epoch = 0
        for column in np.flatnonzero(self._rows[row] >= 0).tolist():
            key = self._keys[column]
            index = int(self._rows[row, column])
            recorded = self._streams[column].frame(index)
            epoch = epoch if frames else recorded.epoch
            frames[key] = _frame(key, recorded, int(self._taken_ns[column][index]))
        return FrameSet(int(self._times_ns[row]), epoch, frames, bool(self._rows[row, 0] >= 0))


def _stream(recording: Recording, key: InputKey) -> RecordedStream:
    stream = recording.streams.get("/".join(key))
    if stream is None or not len(stream):
        raise EstimatorError(f"{recording.path} has no frames of {'/'.join(key)}, which the estimator needs")
    return stream


def _times_ns(streams: Sequence[RecordedStream]) -> list[npt.NDArray[np.int64]]:
    """When the frames of each stream were taken, on the recording's clock."""
    came_ns = [stream.monotonic_ns() for stream in streams]
    entries = [np.concatenate(list(stream.entries())) for stream in streams]
    media_s = [own["device_time_s"] for own in entries]
    is_media = all((own["clock"] == CLOCKS.index("media")).all() for own in entries)
    if not is_media or not all(np.isfinite(s).all() and np.abs(s).max() < _LONGEST_S for s in media_s):
        return came_ns
    begin_ns = min(int(ns[0]) for ns in came_ns)
    return [begin_ns + np.rint(1e9 * s).astype(np.int64) for s in media_s]


def _frame(key: InputKey, recorded: RecordedFrame, taken_ns: int) -> Frame:
    device_s = recorded.device_time_s
    return Frame(
        stream=key[1],
        number=recorded.number,
        data=recorded.data,
        device_time_s=None if device_s is None or math.isnan(device_s) else device_s,
        clock=recorded.clock,
        monotonic_ns=taken_ns,
        meta=json.dumps(recorded.meta).encode() if recorded.meta else b"",
    )
