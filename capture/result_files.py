"""What an estimator makes of a recording, written to a session of its own, on whose end one can go on.

Record files for parameters and depth maps, mesh files for meshes, as a live recording has them. Results are
appended in the order of time; nothing that is there is touched: what goes on later begins new segments. Used
by one thread.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from capture import session
from capture.encoding import encode, stream_format
from capture.frames import CameraInfo, Frame
from capture.mesh_faces import mesh_metadata
from capture.people import MeshSeries
from capture.ring import FRAME, RingFrame
from capture.segments import CameraFiles, SegmentLimits
from codec.depth import BELOW_SENSOR_NOISE
from codec.durable import AppendFile, SyncThread
from codec.errors import FormatError, StorageError
from codec.records import RecordFile
from codec.records.layout import CLOCKS
from codec.records.layout import FRAME as FRAME_RECORD

_SYNC_S = 0.5
_LIMITS = SegmentLimits(seconds=math.inf, bytes=1 << 31)
_JPEG_QUALITY = 90
_BEHIND_S = 0.005

ClockPair = Callable[[], tuple[int, int]]
"""(monotonic ns, wall ns) of the moment in the recording that is being worked on."""


class ResultFiles:
    """The files of one estimator in the session folder `folder`."""

    def __init__(
        self,
        folder: Path,
        info: CameraInfo,
        *,
        depth_codec: str,
        mesh_codec: str,
        mesh_preset: int | Literal["auto"],
        clock_pair: ClockPair,
    ) -> None:
        formats = {stream.pixel_format for stream in info.streams}
        bodies = formats <= {"mesh", "f32"}
        self._folder = folder / (session.PEOPLE if bodies else info.name)
        self._prefix = session.PARAMETERS_PREFIX if bodies else ""
        self._info, self._depth_codec = info, depth_codec
        self._error: StorageError | None = None
        self._sync = SyncThread(_SYNC_S, self._sync_failed)
        self._sealer = ThreadPoolExecutor(1, thread_name_prefix="seal")
        self._files = CameraFiles(
            self._folder,
            info.name,
            limits=_LIMITS,
            sync=self._sync,
            sealer=self._sealer,
            counters=dict,
            prefix=self._prefix,
            clock_pair=clock_pair,
        )
        described = asdict(info)
        self._formats = [stream_format(stream, BELOW_SENSOR_NOISE) for stream in described["streams"]]
        self._index = {stream.name: i for i, stream in enumerate(info.streams)}
        metadata = mesh_metadata(described)
        self._meshes = MeshSeries(self._folder, metadata=metadata, codec=mesh_codec, preset=mesh_preset)
        self._described = described
        self._last_ns = self._on_disk()
        self._epoch = -1

    @property
    def last_ns(self) -> int:
        """Up to when all of its streams lie on disk, on the recording's clock; -1 where one has nothing."""
        return min(self._last_ns.values())

    def _on_disk(self) -> dict[str, int]:
        last = {stream.name: -1 for stream in self._info.streams}
        for path in session.list_segments(self._folder, prefix=self._prefix):
            with contextlib.suppress(FormatError, StorageError), RecordFile(path) as file:
                frames = file.entries[file.of_kind(FRAME_RECORD)]
                for name, index in self._index.items():
                    own = frames["monotonic_ns"][frames["stream"] == index]
                    last[name] = max(last[name], int(own.max(initial=-1)))
        for stream in self._info.streams:
            if stream.pixel_format == "mesh":
                count, newest_ns = self._meshes.on_disk()
                last[stream.name] = newest_ns if count else -1
        return last

    def append(self, result: Frame, epoch: int) -> None:
        """Write one result, unless an earlier run did. Raises StorageError, and CodecError for what cannot
        be stored."""
        if self._error is not None:
            raise self._error
        if result.monotonic_ns <= self._last_ns[result.stream]:
            return
        if epoch != self._epoch:
            self._files.begin(self._described, epoch)
            self._epoch = epoch
        index = self._index[result.stream]
        frame = _as_ring_frame(result, index, epoch)
        if self._formats[index].pixel_format == "mesh":
            while self._meshes.is_behind:
                time.sleep(_BEHIND_S)
            self._meshes.append(frame)
        else:
            record = encode(
                frame, self._formats[index], depth_codec=self._depth_codec, jpeg_quality=_JPEG_QUALITY
            )
            self._files.append(record)

    def _sync_failed(self, file: AppendFile, error: StorageError) -> None:
        self._error = self._error or error

    def close(self) -> None:
        """Everything is on the disk afterwards. Raises StorageError."""
        try:
            self._meshes.close()
        finally:
            self._files.rotate()
            self._sealer.shutdown(wait=True)
            self._sync.close()
        if self._error is not None:
            raise self._error


def _as_ring_frame(result: Frame, index: int, epoch: int) -> RingFrame:
    """What encoders take, which otherwise comes out of a ring."""
    clock: Any = CLOCKS.index(result.clock) if result.clock in CLOCKS else 0
    device_s = math.nan if result.device_time_s is None else result.device_time_s
    return RingFrame(
        0,
        FRAME,
        index,
        clock,
        epoch,
        result.number,
        device_s,
        result.monotonic_ns,
        result.data,
        result.meta,
        0,
    )
