"""One ring's way to disk: take, compress in the pool, append in order, release.

Owns the order and the ledger of one camera (or estimator) in the writer process. A frame leaves the ring
only after its record has been handed to the operating system; where the disk refuses, the frame stays
and the refusal is the caller's to handle. Knows no process, no camera and no policy.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capture import ring as kinds
from capture.counters import CounterPage
from capture.encoding import StreamFormat, encode
from capture.ledger import DISK_FULL, ENCODE_FAILED, OUTAGE, STOPPED, Gap
from capture.people import MeshSeries
from capture.ring import FrameRing, RingFrame
from capture.segments import CameraFiles, what_is_on_disk
from codec.errors import CodecError, NightrigError, StorageError
from codec.records.writer import Packed

# An outage shorter than this (and than five frames) at the end of a recording is only the stop itself.
_QUIET_S = 1.0
_QUIET_FRAMES = 5


@dataclass(slots=True)
class _Stream:
    """What the lane remembers of a stream."""

    format: StreamFormat
    fps: float
    last_ns: int
    first_of_epoch: bool = False


@dataclass(slots=True)
class _Job:
    """An entry of the ring on its way: a frame being compressed, or something for the ledger."""

    frame: RingFrame
    work: Future[tuple[Packed, float]] | None = None


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """How frames are compressed; `depth_codec` changes while the service runs."""

    jpeg_quality: int
    live: bool  # a camera, whose silence is an outage; an estimator may have nothing to say
    in_flight: int


@dataclass(slots=True)
class LaneLoad:
    """Seconds of work since the last look."""

    encode_s: float = 0.0
    disk_s: float = 0.0
    raw_depth_bytes: int = 0
    file_bytes: int = 0


@dataclass(slots=True)
class Lane:
    """One ring, its files and its counters."""

    index: int
    name: str
    ring: FrameRing
    open_files: Callable[[dict[str, Any]], tuple[CameraFiles, MeshSeries | None]]
    pool: ThreadPoolExecutor
    counters: CounterPage
    settings: LaneSettings
    on_done: Callable[[], None]
    report: Callable[..., None]
    depth_codec: str = "lattice-lz4"
    load: LaneLoad = field(default_factory=LaneLoad)
    ended: bool = False
    _files: CameraFiles | None = None
    _meshes: MeshSeries | None = None
    _streams: dict[int, _Stream] = field(default_factory=dict)
    _jobs: deque[_Job] = field(default_factory=deque)
    _on_disk: dict[int, tuple[int, int]] = field(default_factory=dict)

    def resume(self, segments: Sequence[Path]) -> None:
        """Take over from a writer process that died: what it had learnt of the camera is on disk."""
        camera, self._on_disk = what_is_on_disk(segments)
        if camera is not None:
            self._open(camera, last_ns=time.monotonic_ns(), first_of_epoch=False)
            assert self._files is not None
            self._files.describe_as(camera)

    # ---- ring to pool ----

    def take(self) -> None:
        """Start compressing what the ring holds, a few frames ahead of the file."""
        while len(self._jobs) < self.settings.in_flight:
            frame = self.ring.take()
            if frame is None:
                return
            self._jobs.append(self._start(frame))

    def _start(self, frame: RingFrame) -> _Job:
        if frame.kind == kinds.INFO:
            again = self.settings.live and self._files is not None
            self._open(json.loads(bytes(frame.data)), last_ns=frame.monotonic_ns, first_of_epoch=again)
        stream = self._streams.get(frame.stream)
        if frame.kind != kinds.FRAME or stream is None or self._is_on_disk(frame):
            return _Job(frame)
        if self._is_mesh(frame):
            return _Job(frame)
        work = self.pool.submit(self._encode, frame, stream.format, self.depth_codec)
        work.add_done_callback(lambda _: self.on_done())
        return _Job(frame, work)

    def _encode(self, frame: RingFrame, stream: StreamFormat, depth_codec: str) -> tuple[Packed, float]:
        started_s = time.perf_counter()
        record = encode(frame, stream, depth_codec=depth_codec, jpeg_quality=self.settings.jpeg_quality)
        return record, time.perf_counter() - started_s

    def _open(self, camera: dict[str, Any], *, last_ns: int, first_of_epoch: bool) -> None:
        if self._files is None:
            self._files, self._meshes = self.open_files(camera)
        for index, info in enumerate(camera["streams"]):
            known = self._streams.get(index)
            self._streams[index] = _Stream(
                StreamFormat(info["pixel_format"], info["width"], info["height"]),
                info["fps"],
                last_ns=known.last_ns if known else last_ns,
                first_of_epoch=first_of_epoch,
            )

    def _is_on_disk(self, frame: RingFrame) -> bool:
        """Written by a writer process that died before it could release the frame."""
        last = self._on_disk.get(frame.stream)
        return last is not None and (frame.epoch, frame.number) <= last

    # ---- pool to file ----

    def append_ready(self) -> None:
        """Append, in order, what is compressed. Raises DiskFullError or StorageError; the frame stays."""
        while self._jobs:
            job = self._jobs[0]
            if job.work is not None and not job.work.done():
                return
            if self._meshes is not None and self._meshes.is_behind and self._is_mesh(job.frame):
                return
            self._finish(job)
            self._jobs.popleft()
            self.ring.release(job.frame)

    def _is_mesh(self, frame: RingFrame) -> bool:
        stream = self._streams.get(frame.stream)
        return frame.kind == kinds.FRAME and stream is not None and stream.format.pixel_format == "mesh"

    def _finish(self, job: _Job) -> None:
        frame, kind = job.frame, job.frame.kind
        if kind == kinds.INFO:
            assert self._files is not None
            self._files.begin(json.loads(bytes(frame.data)), frame.epoch)
        elif kind == kinds.GAP:
            self._write_gap(frame.stream, frame.epoch, json.loads(bytes(frame.data)))
        elif kind == kinds.END:
            self.ended = True
            if json.loads(bytes(frame.data))["reason"] != "ended":
                self._outages_until(frame.monotonic_ns, frame.epoch)
        elif frame.stream not in self._streams:
            self._refuse(frame, CodecError(f"nothing says what stream {frame.stream} is"))
        elif not self._is_on_disk(frame):
            self._finish_frame(job, self._streams[frame.stream])

    def _finish_frame(self, job: _Job, stream: _Stream) -> None:
        frame = job.frame
        if stream.first_of_epoch:
            self._outage(frame.stream, stream, frame.monotonic_ns, frame.epoch)
            stream.first_of_epoch = False
        started_s = time.perf_counter()
        if stream.format.pixel_format == "mesh":
            assert self._meshes is not None
            written = self._meshes.append(frame)
        else:
            assert job.work is not None
            assert self._files is not None
            try:
                record, encode_s = job.work.result()
            except CodecError as error:
                self._refuse(frame, error)
                return
            written = self._files.append(record)
            self.load.encode_s += encode_s
        self.load.disk_s += time.perf_counter() - started_s
        self.load.file_bytes += written
        if stream.format.pixel_format == "z16":
            self.load.raw_depth_bytes += frame.data.nbytes
        stream.last_ns = frame.monotonic_ns
        for what, amount in (("written", 1), ("raw", frame.data.nbytes), ("file", written)):
            self.counters.add(f"{what}{self.index}.{frame.stream}", amount)

    def _refuse(self, frame: RingFrame, error: NightrigError) -> None:
        self.report("error", camera=self.name, message=f"frame {frame.number}: {error}")
        at_ns = frame.monotonic_ns
        self._drop(frame.stream, frame.epoch, Gap(ENCODE_FAILED, frame.number, frame.number, 1, at_ns, at_ns))

    def _drop(self, stream: int, epoch: int, gap: Gap) -> None:
        self.counters.add(f"dropped{self.index}.{stream}", gap.count)  # first: the record may find no room
        self._write_gap(stream, epoch, gap.as_dict())

    def _write_gap(self, stream: int, epoch: int, gap: dict[str, Any]) -> None:
        if self._files is not None:
            self._files.gap(stream, epoch, gap)

    # ---- silence ----

    def _outage(self, index: int, stream: _Stream, until_ns: int, epoch: int) -> None:
        silent_s = (until_ns - stream.last_ns) / 1e9
        count = max(0, round(silent_s * stream.fps) - 1)
        gap = Gap(OUTAGE, None, None, count, stream.last_ns, until_ns, estimated=True)
        self._write_gap(index, epoch, gap.as_dict())
        self.counters.add(f"outage{self.index}.{index}", count)
        self.counters.add("outages")

    def _outages_until(self, end_ns: int, epoch: int) -> None:
        """A stream that was silent when the recording ended: write down since when."""
        if not self.settings.live:
            return
        for index, stream in self._streams.items():
            quiet_s = max(_QUIET_S, _QUIET_FRAMES / stream.fps if stream.fps > 0 else 0.0)
            if (end_ns - stream.last_ns) / 1e9 > quiet_s:
                self._outage(index, stream, end_ns, epoch)
                stream.last_ns = end_ns

    # ---- the end ----

    @property
    def idle(self) -> bool:
        """Nothing queued, nothing under way."""
        return not self._jobs and self.ring.queued == 0

    def abandon(self, *, disk_full: bool) -> None:
        """Stop at once: what is still queued is counted as dropped, and written down if the disk lets us."""
        reason = DISK_FULL if disk_full else STOPPED
        gaps: dict[tuple[int, int], Gap] = {}
        for frame in self._rest():
            if frame.kind != kinds.FRAME or frame.stream not in self._streams:
                continue
            key = (frame.stream, frame.epoch)
            old = gaps.get(key)
            first, count, start_ns = frame.number, 1, frame.monotonic_ns
            if old is not None and old.first is not None:
                first, count, start_ns = old.first, old.count + 1, old.start_ns
            gaps[key] = Gap(reason, first, frame.number, count, start_ns, frame.monotonic_ns)
        for (stream, epoch), gap in gaps.items():
            with contextlib.suppress(StorageError):
                self._drop(stream, epoch, gap)

    def _rest(self) -> list[RingFrame]:
        rest = [job.frame for job in self._jobs]
        self._jobs.clear()
        while (frame := self.ring.take()) is not None:
            rest.append(frame)
        return rest

    def finish(self, now_ns: int) -> None:
        """Seal the files. Without an END from the camera its silence until now is an outage."""
        if not self.ended:
            self._outages_until(now_ns, 0)
        if self._files is not None:
            self._files.rotate()
        if self._meshes is not None:
            self._meshes.close()

    def rotate_if_poisoned(self) -> bool:
        """True where a segment had to be left because it takes nothing any more."""
        if self._files is None or not self._files.poisoned:
            return False
        self._files.rotate()
        return True
