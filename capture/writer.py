"""The writer process: takes every frame of every ring, compresses in a thread pool, appends to files.

Owns all record files and the effort ladder. Nothing leaves a ring before it is written, so a full, failing
or slow disk holds frames in the rings for as long as they have room, and a writer that dies leaves them to
the next one, which goes on after the last number it finds on disk. Told "stop" it drains all rings and
seals the files; told "now" it writes down what it leaves and seals. If its control pipe ends (the
supervisor was killed) it waits for the cameras to end, drains and seals.
"""

from __future__ import annotations

import math
import os
import select
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from capture import session
from capture.backlog import DiskBacklog
from capture.backoff import Backoff
from capture.camera import COUNTERS as CAMERA_COUNTERS
from capture.camera import DONE, MAX_STREAMS
from capture.counters import CounterPage
from capture.effort import EffortLadder, Load
from capture.lane import Lane, LaneLoad, LaneSettings
from capture.lane_account import CameraCounts
from capture.mesh_faces import mesh_metadata
from capture.people import MeshSeries
from capture.reserve import Reserve, ReserveMb
from capture.ring import FrameRing, RingSpec, drain_event
from capture.room import RoomMaker
from capture.segments import CameraFiles, SegmentLimits
from capture.spawn import Link
from codec import durable
from codec.depth import get_codec, has_kernels
from codec.durable import AppendFile, SyncThread
from codec.errors import DiskFullError, StorageError

MAX_LANES = 16
_MB = 1 << 20
_TICK_S = 0.1
_DISK_RETRY_S = 1.0
_DISK_CALM_S = 3.0
_SYNC_RETRY_MAX_S = 60.0
_ORPHAN_PATIENCE_S = 10.0
_STOOD_STILL_S = 3.0

COUNTERS = (
    "heartbeat_ns",
    "free_bytes",
    "disk_rate",
    "depth_codec",
    "blocked",
    "storage_errors",
    "outages",
    *(
        f"{what}{lane}.{stream}"
        for lane in range(MAX_LANES)
        for stream in range(MAX_STREAMS)
        for what in ("written", "raw", "file", "dropped", "outage")
    ),
    *(f"{what}{lane}" for lane in range(MAX_LANES) for what in ("mesh_ns", "killed")),
)
"""By lane and stream what the lane has counted; by lane when the newest mesh was taken that a mesh file got,
and how many meshes that went with killed writers are no longer among those written."""


@dataclass(frozen=True, slots=True)
class LaneSpec:
    """A ring to be written, and whose it is. `counters_fd` is the page of the camera process, or -1."""

    name: str
    ring: RingSpec
    is_camera: bool
    counters_fd: int = -1


@dataclass(frozen=True, slots=True)
class WriterJob:
    """What the writer process is told."""

    session: Path
    lanes: tuple[LaneSpec, ...]
    counters_fd: int
    depth_codec: str
    jpeg_quality: int
    near_bound_subpixels: float
    sync_s: float
    sync_bytes: int
    segment_s: float
    segment_bytes: int
    reserve_mb: ReserveMb
    deletes_oldest: bool
    threads: int
    mesh_codec: str
    mesh_preset: int | Literal["auto"]


def run(job: WriterJob, link: Link) -> int:
    """Entry of the process."""
    return _Writer(job, link).run()


class _Writer:
    def __init__(self, job: WriterJob, link: Link) -> None:
        self._job, self._link = job, link
        self._counters = CounterPage(COUNTERS, job.counters_fd)
        self._pool = ThreadPoolExecutor(job.threads, thread_name_prefix="encode")
        self._sealer = ThreadPoolExecutor(1, thread_name_prefix="seal")
        self._sync = SyncThread(job.sync_s, self._sync_failed, unsynced_limit_bytes=job.sync_bytes)
        self._done_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._ladder = EffortLadder(job.depth_codec, kernels=has_kernels())
        self._counters["depth_codec"] = get_codec(self._ladder.codec).id
        self._camera_pages = {
            i: CounterPage(CAMERA_COUNTERS, lane.counters_fd)
            for i, lane in enumerate(job.lanes)
            if lane.counters_fd >= 0
        }
        self._lanes = [self._lane(i, spec) for i, spec in enumerate(job.lanes)]
        self._stopping = self._orphaned = self._at_once = False
        self._orphan_deadline_s = self._stopping_s = 0.0
        self._blocked_until_s = self._refused_s = 0.0
        self._sync_failed_s = -math.inf
        self._sync_backoff = Backoff(_DISK_RETRY_S, _SYNC_RETRY_MAX_S)
        self._disk_is_gone = ""
        self._reserve = Reserve(job.reserve_mb)
        self._room = RoomMaker(job.session, link.event) if job.deletes_oldest else None
        self._second_s = time.monotonic()
        self._backlog = DiskBacklog()
        self._disk_rate = 0.0
        self._people_taken = False
        self._look_at_disk()
        for lane in self._lanes:
            lane.resume(session.find_series(job.session, lane.name))

    def _lane(self, index: int, spec: LaneSpec) -> Lane:
        return Lane(
            index=index,
            name=spec.name,
            ring=FrameRing(spec.ring),
            open_files=lambda camera: self._open_files(index, spec, camera),
            pool=self._pool,
            counters=self._counters,
            settings=LaneSettings(
                jpeg_quality=self._job.jpeg_quality,
                near_bound_subpixels=self._job.near_bound_subpixels,
                live=spec.is_camera,
                in_flight=2 * self._job.threads + 2,
            ),
            on_done=lambda: os.eventfd_write(self._done_fd, 1),
            report=self._link.event,
            go_ns=lambda: self._camera_pages[index]["go_ns"] if index in self._camera_pages else 0,
            depth_codec=self._ladder.codec,
        )

    def _open_files(
        self, index: int, spec: LaneSpec, camera: dict[str, Any]
    ) -> tuple[CameraFiles, MeshSeries | None]:
        formats = {stream["pixel_format"] for stream in camera["streams"]}
        bodies = not spec.is_camera and formats <= {"mesh", "f32"}
        name = spec.name
        if bodies and not self._people_taken:
            name, self._people_taken = session.PEOPLE, True
        folder = self._job.session / name
        files = CameraFiles(
            folder,
            spec.name,
            limits=SegmentLimits(self._job.segment_s, self._job.segment_bytes),
            sync=self._sync,
            sealer=self._sealer,
            counters=lambda: self._lane_counters(index),
            prefix=session.PARAMETERS_PREFIX if bodies else "",
        )
        meshes = None
        if "mesh" in formats:
            metadata = mesh_metadata(camera)
            meshes = MeshSeries(
                folder, metadata=metadata, codec=self._job.mesh_codec, preset=self._job.mesh_preset
            )
        return files, meshes

    def _lane_counters(self, index: int) -> dict[str, Any]:
        """What clock records hold, by stream: the writer's account and the camera process's own count."""
        streams = range(MAX_STREAMS)
        counters = {
            what: [self._counters[f"{what}{index}.{stream}"] for stream in streams]
            for what in ("written", "dropped", "outage")
        }
        camera = self._camera_pages.get(index)
        if camera is not None:
            # The camera's "dropped" are those its full ring refused; the writer's are another sum.
            names = {"captured": "captured", "refused": "dropped", "lost": "lost", "repeated": "repeated"}
            for name, counter in names.items():
                counters[name] = [camera[f"{counter}{stream}"] for stream in streams]
        return counters

    # ---- the loop ----

    def run(self) -> int:
        self._link.event("ready")
        while not self._finished():
            if self._wait():
                self._obey()
            self._counters["heartbeat_ns"] = time.monotonic_ns()
            if time.monotonic() - self._second_s >= 1.0:
                self._each_second()
            self._move()
        self._finish()
        return 0

    def _wait(self) -> bool:
        """Until there is something to do; True where a command has come."""
        fds = [lane.ring.spec.data_fd for lane in self._lanes]
        control = [] if self._orphaned else [self._link.control_fd]
        ready = select.select([*fds, self._done_fd, *control], [], [], _TICK_S)[0]
        for fd in ready:
            if fd != self._link.control_fd:
                drain_event(fd)
        return self._link.control_fd in ready

    def _move(self) -> None:
        if time.monotonic() < self._blocked_until_s or self._disk_is_behind():
            return
        for lane in self._lanes:
            lane.take()
            if not self._append(lane):
                return
            lane.take()

    def _disk_is_behind(self) -> bool:
        return self._backlog.is_behind(sum(lane.unsynced_bytes for lane in self._lanes), time.monotonic())

    def _append(self, lane: Lane) -> bool:
        """False where the disk refused; frames wait in the rings and it is tried again in a second."""
        try:
            if self._disk_is_gone:
                raise StorageError(self._disk_is_gone)
            if not self._reserve.usable_bytes and not (self._room and self._room.finds_room):
                raise DiskFullError(self._reserve_words())
            lane.append_ready()
        except StorageError as error:
            if lane.rotate_if_poisoned():
                return self._append(lane)
            self._refused(error)
            return False
        calm_s = time.monotonic() - self._refused_s
        if self._counters["blocked"] and calm_s > _DISK_CALM_S:  # small records fit long after large ones
            self._counters["blocked"] = 0
            self._link.event("storage", message="the disk takes data again", ok=True)
        return True

    def _reserve_words(self) -> str:
        reserve = f"less than the reserve of {self._reserve.bytes / _MB:.0f} MB (record.reserve_mb)"
        left = ", and nothing is left to delete" if self._room else ""
        where = f"is free on the disk of {self._job.session}{left}"
        return f"{reserve} {where}; recording goes on when there is room"

    def _refused(self, error: StorageError) -> None:
        self._refused_s = time.monotonic()
        self._blocked_until_s = self._refused_s + _DISK_RETRY_S
        if not self._counters["blocked"]:
            self._counters["blocked"] = 1
            self._counters.add("storage_errors")
            self._link.event("storage", message=str(error), ok=False)

    def _sync_failed(self, file: AppendFile, error: StorageError) -> None:
        """On the thread that syncs, or the one that seals. After the first time recording goes on at once; on
        a disk that fails again and again each new file comes later, or a night would be full of them."""
        now_s = time.monotonic()
        since_s, self._sync_failed_s = now_s - self._sync_failed_s, now_s
        if since_s > self._job.sync_s / 2:  # else another file in the same round
            pause_s = self._sync_backoff.after(since_s) - _DISK_RETRY_S
            self._blocked_until_s = max(self._blocked_until_s, now_s + pause_s)
        self._counters.add("storage_errors")
        self._link.event(
            "storage", ok=False, message=f"{error}; its last {file.unsynced_bytes} bytes may be lost"
        )

    # ---- once a second ----

    def _each_second(self) -> None:
        now_s = time.monotonic()
        seconds, self._second_s = now_s - self._second_s, now_s
        total = LaneLoad()
        for lane in self._lanes:
            total.encode_s += lane.load.encode_s
            total.disk_s += lane.load.disk_s
            total.raw_depth_bytes += lane.load.raw_depth_bytes
            total.file_bytes += lane.load.file_bytes
            lane.load = LaneLoad()
        total.disk_s += self._backlog.take_waited_s(now_s)
        self._counters["disk_rate"] = round(total.file_bytes / seconds)
        if not self._counters["blocked"]:
            self._reserve.note_rate(total.file_bytes / seconds)
        self._look_at_disk()
        if total.disk_s > 0:
            self._disk_rate = total.file_bytes / total.disk_s
        if seconds - total.disk_s > _STOOD_STILL_S:
            return  # stopped, not short: a full queue then says nothing of processor or disk
        self._step_effort(
            Load(
                fill=max((lane.ring.fill for lane in self._lanes), default=0.0),
                encode_busy=total.encode_s / seconds / self._job.threads,
                disk_busy=total.disk_s / seconds,
                disk_rate=self._disk_rate,
                raw_rate=total.raw_depth_bytes / seconds,
                free_bytes=self._counters["free_bytes"],
                refused=self._counters["blocked"] > 0,
            )
        )

    def _step_effort(self, load: Load) -> None:
        reason = self._ladder.step(load)
        if reason is not None:
            for lane in self._lanes:
                lane.depth_codec = self._ladder.codec
            self._counters["depth_codec"] = get_codec(self._ladder.codec).id
            self._link.event("effort", codec=self._ladder.codec, reason=reason, fill=round(load.fill, 3))

    def _look_at_disk(self) -> None:
        try:
            self._reserve.look(durable.free_bytes(self._job.session))
        except StorageError as error:  # pulled out, or its folder removed
            self._disk_is_gone = str(error)
            self._counters["free_bytes"] = 0
            return
        self._disk_is_gone = ""
        self._counters["free_bytes"] = self._reserve.usable_bytes
        if self._room is not None and self._reserve.lacking_bytes:
            self._room.ask_for(self._reserve.lacking_bytes)

    # ---- the end ----

    def _obey(self) -> None:
        for command in self._link.commands():
            if command == "now":
                self._stopping = self._at_once = True
            elif command == "stop":
                self._stopping, self._stopping_s = True, time.monotonic()
                self._blocked_until_s = 0.0  # the disk gets one more chance, at once
                self._look_at_disk()
            elif command == "orphaned":
                self._orphaned = True
                self._orphan_deadline_s = time.monotonic() + _ORPHAN_PATIENCE_S

    def _finished(self) -> bool:
        if self._at_once:
            return True
        drained = all(lane.idle for lane in self._lanes)
        if self._orphaned:
            late = time.monotonic() > self._orphan_deadline_s
            ended = all(lane.ended for lane in self._lanes if lane.settings.live)
            return (drained and (ended or late)) or (late and self._refused_s > self._orphan_deadline_s)
        # Where the disk takes nothing even now, say so instead of waiting for ever.
        return self._stopping and (drained or self._refused_s > self._stopping_s)

    def _finish(self) -> None:
        self._pool.shutdown(wait=True)
        refusing = self._refused_s > self._stopping_s > 0.0 or time.monotonic() < self._blocked_until_s
        for lane in self._lanes:
            try:
                if not refusing:
                    lane.append_ready()
            except StorageError as error:
                self._refused(error)
                refusing = True
            lane.abandon(disk_full=refusing)
            self._settle(lane)
            try:
                lane.finish(self._end_ns(lane))
            except StorageError as error:
                self._refused(error)
        self._sync.close()
        self._sealer.shutdown(wait=True)
        if self._room is not None:
            self._room.close()
        self._link.event("done")
        sys.stderr.flush()

    def _settle(self, lane: Lane) -> None:
        page = self._camera_pages.get(lane.index)
        if page is not None:
            counts = {
                i: CameraCounts(page[f"captured{i}"], page[f"dropped{i}"], page[f"lost{i}"])
                for i in range(MAX_STREAMS)
            }
            lane.account.settle(counts, self._end_ns(lane))

    def _end_ns(self, lane: Lane) -> int:
        """When the camera stopped, which may be long ago where the disk was slow or we were stuck."""
        page = self._camera_pages.get(lane.index)
        return page["heartbeat_ns"] if page is not None and page["state"] == DONE else time.monotonic_ns()
