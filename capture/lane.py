"""One ring's way to disk: take, compress in the pool, append in order, release.

Owns the order of one camera (or estimator) in the writer process; what is missing on the way stands in its
account (capture.lane_account). A frame leaves the ring only after its record has been handed to the operating
system; where the disk refuses, the frame stays and the refusal is the caller's to handle. Knows no process
and no policy.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capture import ring as kinds
from capture.counters import CounterPage
from capture.encoding import StreamFormat, encode, stream_format
from capture.inheritance import left_on_disk
from capture.lane_account import QUIET_S, LaneAccount, LaneStream
from capture.ledger import DISK_FULL, ENCODE_FAILED, STOPPED, Gap
from capture.people import MeshSeries
from capture.ring import FrameRing, RingFrame
from capture.segments import CameraFiles, what_is_on_disk
from codec.errors import CodecError, StorageError
from codec.records.writer import Packed

# Up to this many frames waiting are compressed by the writer's own thread, one after the other. Handing a
# frame to another thread costs wake-ups, and two threads in NumPy at once cost a third more CPU each frame:
# that pays only where one thread is not enough.
_ALONE_UP_TO = 4


@dataclass(slots=True)
class _Job:
    """An entry of the ring on its way: a frame being compressed by the pool (`work`), one that is compressed
    when its turn comes, or something for the ledger."""

    frame: RingFrame
    stream: StreamFormat | None = None  # as it was when the frame was taken
    work: Future[tuple[Packed, float]] | None = None


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """How frames are compressed; `depth_codec` changes while the service runs."""

    jpeg_quality: int
    near_bound_subpixels: float
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
    go_ns: Callable[[], int] = lambda: 0  # when the frames of its camera began to count
    depth_codec: str = "lattice-lz4"
    load: LaneLoad = field(default_factory=LaneLoad)
    ended: bool = False
    account: LaneAccount = field(init=False)
    _files: CameraFiles | None = None
    _meshes: MeshSeries | None = None
    _formats: dict[int, StreamFormat] = field(default_factory=dict)  # of the frames that are taken now
    _jobs: deque[_Job] = field(default_factory=deque)
    _on_disk: dict[int, tuple[int, int]] = field(default_factory=dict)
    _refused_total: int = 0

    def __post_init__(self) -> None:
        self.account = LaneAccount(self.index, self.name, self.counters, self.report, self.settings.live)

    def resume(self, segments: Sequence[Path]) -> None:
        """Take over from a writer process that died: what it had learnt of the camera is on disk.

        So is what it had written but not yet counted.
        """
        camera, self._on_disk = what_is_on_disk(segments)
        if camera is None:
            return
        left = left_on_disk(segments)
        self._learn_formats(camera)
        self._make_files(camera).describe_as(camera, left.epoch)
        self.account.inherit(camera, left)

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
            self._learn_formats(_json(frame))
        stream = self._formats.get(frame.stream)
        if frame.kind != kinds.FRAME or stream is None or self._is_on_disk(frame):
            return _Job(frame)
        alone = stream.pixel_format != "bgr8" and self.ring.queued <= _ALONE_UP_TO
        if stream.pixel_format == "mesh" or alone:
            return _Job(frame, stream)
        work = self.pool.submit(self._encode, frame, stream, self.depth_codec)
        work.add_done_callback(lambda _: self.on_done())
        return _Job(frame, stream, work)

    def _learn_formats(self, camera: dict[str, Any]) -> None:
        for index, info in enumerate(camera["streams"]):
            self._formats[index] = stream_format(info, self.settings.near_bound_subpixels)

    def _encode(self, frame: RingFrame, stream: StreamFormat, depth_codec: str) -> tuple[Packed, float]:
        started_s = time.perf_counter()
        record = encode(frame, stream, depth_codec=depth_codec, jpeg_quality=self.settings.jpeg_quality)
        return record, time.perf_counter() - started_s

    def _is_on_disk(self, frame: RingFrame) -> bool:
        """Written (a mesh: or told to be lost) by a writer process that died before it could release it."""
        last = self._on_disk.get(frame.stream)
        if self._is_mesh(frame):
            return frame.monotonic_ns <= self.account.meshes_before_ns
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
            self.account.released()

    def _is_mesh(self, frame: RingFrame) -> bool:
        stream = self.account.streams.get(frame.stream)
        return frame.kind == kinds.FRAME and stream is not None and stream.pixel_format == "mesh"

    def _finish(self, job: _Job) -> None:
        frame, kind = job.frame, job.frame.kind
        if kind == kinds.INFO:
            self._begin(frame)
        elif kind == kinds.GAP:
            self._pass_on(frame)
        elif kind == kinds.END:
            self.ended = True
            if _json(frame)["reason"] != "ended":
                self.account.outages_until(frame.monotonic_ns)
        elif frame.stream not in self.account.streams:
            self._refuse(frame, f"nothing says what stream {frame.stream} is")
        elif not self._is_on_disk(frame):
            self._finish_frame(job, self.account.streams[frame.stream])

    def _begin(self, frame: RingFrame) -> None:
        """The camera was opened (again)."""
        camera = _json(frame)
        self._make_files(camera).begin(camera, frame.epoch)
        since_ns, go_ns = frame.monotonic_ns, self.go_ns()
        # A camera that is lost in the moment of the start, or comes later, has given no frame that counts.
        is_late = (
            self.account.epoch < 0
            and not camera.get("can_wait")
            and 0 < go_ns < since_ns - round(QUIET_S * 1e9)
        )
        self.account.begin(camera, frame.epoch, go_ns if is_late else since_ns, is_late=is_late)

    def _make_files(self, camera: dict[str, Any]) -> CameraFiles:
        if self._files is None:
            self._files, self._meshes = self.open_files(camera)
            self.account.files, self.account.meshes = self._files, self._meshes
        return self._files

    def _pass_on(self, frame: RingFrame) -> None:
        """A gap that the camera process found."""
        gap = _json(frame)
        if not self.account.is_told(frame.stream, frame.epoch, gap):
            self.account.tell(frame.stream, frame.epoch, gap)
        if frame.stream in self.account.streams:  # what it covers is not part of an outage that follows it
            stream = self.account.streams[frame.stream]
            stream.last_ns = max(stream.last_ns, gap["end_ns"])

    def _finish_frame(self, job: _Job, stream: LaneStream) -> None:
        frame = job.frame
        if stream.first_of_epoch:
            self.account.outage(frame.stream, stream, frame.monotonic_ns)
            stream.first_of_epoch = False
        started_s = time.perf_counter()
        try:
            written = self._write(job)
        except StorageError:
            self.account.count_lost_meshes()
            raise
        except Exception as error:
            # Whatever is wrong with one picture, with the next writer process it would be the same again.
            self._refuse(frame, str(error) if isinstance(error, CodecError) else repr(error))
            stream.last_ns = frame.monotonic_ns
            return
        self.load.disk_s += time.perf_counter() - started_s
        self.load.file_bytes += written
        if stream.pixel_format == "z16":
            self.load.raw_depth_bytes += frame.data.nbytes
        stream.last_ns = frame.monotonic_ns
        for what, amount in (("written", 1), ("raw", frame.data.nbytes), ("file", written)):
            self.counters.add(f"{what}{self.index}.{frame.stream}", amount)
        if stream.pixel_format == "mesh":
            self.counters[f"mesh_ns{self.index}"] = frame.monotonic_ns

    def _write(self, job: _Job) -> int:
        if self._is_mesh(job.frame):
            assert self._meshes is not None
            return self._meshes.append(job.frame)
        if job.work is None:
            assert job.stream is not None
            record, encode_s = self._encode(job.frame, job.stream, self.depth_codec)
        else:
            record, encode_s = job.work.result()
        assert self._files is not None
        written = self._files.append(record)
        self.load.encode_s += encode_s
        self.load.disk_s -= encode_s if job.work is None else 0.0  # it stands in the same stop-watch
        return written

    def _refuse(self, frame: RingFrame, why: str) -> None:
        at_ns = frame.monotonic_ns
        gap = Gap(ENCODE_FAILED, frame.number, frame.number, 1, at_ns, at_ns)
        if self.account.is_told(frame.stream, frame.epoch, gap.as_dict()):
            return
        self.account.tell(frame.stream, frame.epoch, gap.as_dict())
        self.counters.add(f"dropped{self.index}.{frame.stream}")
        self._refused_total += 1
        if (
            str(self._refused_total).strip("0") == "1"
        ):  # 1, 10, 100, ...: not a line for every frame of a night
            so_far = f" ({self._refused_total} frames so far)" if self._refused_total > 1 else ""
            self.report(
                "error", camera=self.name, message=f"{self.name}: frame {frame.number}: {why}{so_far}"
            )

    @property
    def unsynced_bytes(self) -> int:
        """What its record files have taken and not yet brought to the disk."""
        return self._files.unsynced_bytes if self._files is not None else 0

    # ---- the end ----

    @property
    def idle(self) -> bool:
        """Nothing queued, nothing under way."""
        return not self._jobs and self.ring.queued == 0

    def abandon(self, *, disk_full: bool) -> None:
        """Stop at once: what is still queued is counted as dropped, and written down if the disk lets us."""
        reason = DISK_FULL if disk_full else STOPPED
        runs: dict[tuple[int, int], Gap] = {}
        for frame in self._rest():
            if frame.kind == kinds.INFO:
                with contextlib.suppress(StorageError):
                    self._begin(frame)
            elif frame.kind == kinds.GAP:
                with contextlib.suppress(StorageError):
                    self._pass_on(frame)
            elif frame.kind == kinds.FRAME and not self._is_on_disk(frame):
                self._add_to_run(runs, frame, reason)
        for (stream, epoch), gap in runs.items():
            self.account.drop(stream, epoch, gap)

    def _add_to_run(self, runs: dict[tuple[int, int], Gap], frame: RingFrame, reason: str) -> None:
        """One gap for numbers that follow each other: what lies between others is accounted for elsewhere."""
        key, at_ns = (frame.stream, frame.epoch), frame.monotonic_ns
        run = runs.get(key)
        if run is not None and run.first is not None and run.last == frame.number - 1:
            runs[key] = Gap(reason, run.first, frame.number, run.count + 1, run.start_ns, at_ns)
            return
        if run is not None:
            self.account.drop(*key, run)
        runs[key] = Gap(reason, frame.number, frame.number, 1, at_ns, at_ns)

    def _rest(self) -> Iterator[RingFrame]:
        while self._jobs:
            yield self._jobs.popleft().frame
        while (frame := self.ring.take()) is not None:
            yield frame

    def finish(self, end_ns: int) -> None:
        """Seal the files. Without an END from the camera its silence until then is an outage."""
        if not self.ended:
            self.account.outages_until(end_ns)
        if self._meshes is not None:
            try:
                self._meshes.close()
            finally:
                self.account.count_lost_meshes()
        if self._files is not None:
            self._files.rotate()

    def rotate_if_poisoned(self) -> bool:
        """True where a segment had to be left because it takes nothing any more."""
        if self._files is None or not self._files.poisoned:
            return False
        self._files.rotate()
        return True


def _json(frame: RingFrame) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(bytes(frame.data))
    return value
