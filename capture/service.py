"""The supervisor: starts, watches, restarts and stops the processes of a recording. Owns no frame.

Owns the session folder's session.json and events.jsonl, the rings' and counters' memory (which the
children inherit) and the processes. A camera that dies or hangs is started again with a back-off that
never gives up, a writer at once, an estimator a few times and a preview never. If this process is killed
the children notice the end of their pipes: the cameras stop, the writer drains and seals.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from capture import session
from capture.camera import COUNTERS as CAMERA_COUNTERS
from capture.camera import DONE, OPENING, RUNNING, CameraJob
from capture.config import Rig
from capture.counters import CounterPage
from capture.estimation import COUNTERS as ESTIMATION_COUNTERS
from capture.estimation import EstimationJob
from capture.frames import CameraInfo
from capture.preview import PreviewJob
from capture.ring import FrameRing
from capture.spawn import Child
from capture.specs import CameraSpec
from capture.totals import Totals, count_totals
from capture.wire import camera_info_from_dict
from capture.writer import COUNTERS as WRITER_COUNTERS
from capture.writer import LaneSpec, WriterJob
from codec.errors import CameraError, ConfigError, DiskFullError, NightrigError

_MB = 1 << 20
_ESTIMATOR_RING_BYTES = 16 * _MB
_START_S = 120.0  # rendering a long simulated loop on a Pi takes its time
_HANG_S = 5.0  # a heart that stands still this long while running
_OPEN_HANG_S = 120.0
_STOP_CAMERA_S = 5.0
_DRAIN_S = 60.0
_LAST_WORDS_S = 5.0
_FIRST_RESTART_S = 1.0
_ESTIMATOR_RESTARTS = 5
_TICK_S = 0.1


@dataclass(slots=True)
class _Camera:
    """A camera of the rig and the process that serves it now."""

    spec: CameraSpec
    ring: FrameRing
    counters: CounterPage
    child: Child | None = None
    info: CameraInfo | None = None
    failure: str | None = None  # what the last attempt to open it said
    permanent: bool = False
    restarts: int = 0
    restart_at_s: float = 0.0
    started_s: float = 0.0
    finished: bool = False


@dataclass(slots=True)
class _Worker:
    """The writer, an estimator or the preview."""

    name: str
    entry: str
    job: Any
    fds: tuple[int, ...]
    restarts_left: int
    child: Child | None = None
    ready: bool = False
    done: bool = False


@dataclass(slots=True)
class Status:
    """A look at a running recording, for the status line and the preview."""

    elapsed_s: float
    totals: Totals
    fill: float
    disk_rate: int
    free_bytes: int
    depth_codec: str


@dataclass(slots=True)
class Outcome:
    """How a recording ended."""

    session: Path
    totals: Totals
    exit_code: int
    problems: list[str] = field(default_factory=list)


class Service:
    """One recording, from the first process to the last byte."""

    def __init__(
        self,
        rig: Rig,
        *,
        root: Path,
        duration_s: float | None = None,
        preview: bool | None = None,
        say: Callable[[str], None] = lambda _: None,
        on_status: Callable[[Status], None] = lambda _: None,
    ) -> None:
        """`say` gets one line per thing worth telling, `on_status` a look every second."""
        self._rig, self._root = rig, root
        self._duration_s = rig.duration_s if duration_s is None else duration_s
        self._preview = rig.preview if preview is None else preview
        self._say, self._on_status = say, on_status
        self._stops = 0
        self._problems: list[str] = []
        self._started_s = 0.0

    # ---- the whole of it ----

    def run(self) -> Outcome:
        """Record until the duration is over, every source has ended, or SIGINT/SIGTERM arrives.

        Raises ConfigError, CameraError, StorageError where it cannot begin; once it has begun nothing
        is raised: what went wrong stands in the outcome, the events and the files.
        """
        self._check_room()
        self._folder = session.create_session(
            self._root, self._rig.name, self._rig.model_dump(mode="json"), _versions()
        )
        before = {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._create()
            try:
                self._start()
                self._watch()
            finally:
                self._stop()
            return self._finish()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self._release()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stops += 1

    def _check_room(self) -> None:
        folder = self._root
        while not folder.exists():
            folder = folder.parent
        disk = os.statvfs(folder)
        free, reserve = disk.f_bavail * disk.f_frsize, self._rig.record.reserve_mb * _MB
        if free <= reserve:
            raise DiskFullError(
                f"{self._root}: {free / _MB:.0f} MB free, the reserve alone is {reserve / _MB:.0f} MB;"
                " make room, choose another --root or lower record.reserve_mb"
            )

    def _create(self) -> None:
        """Rings and counters: made once, they outlive every child."""
        specs, estimators = self._rig.camera_specs(), self._rig.estimator_specs()
        observers = len(estimators) + 1
        budget = int(self._rig.queue_mb * _MB) - _ESTIMATOR_RING_BYTES * len(estimators)
        share = max(4 * _MB, budget // len(specs))
        self._cameras = [
            _Camera(s, FrameRing.create(share, observers=observers), CounterPage(CAMERA_COUNTERS))
            for s in specs
        ]
        self._result_rings = [FrameRing.create(_ESTIMATOR_RING_BYTES, observers=1) for _ in estimators]
        self._estimation_pages = [CounterPage(ESTIMATION_COUNTERS) for _ in estimators]
        self._writer_page = CounterPage(WRITER_COUNTERS)
        self._estimators: list[_Worker] = []
        self._previews: list[_Worker] = []
        self._writer = self._make_writer([e.name for e in estimators])

    def _make_writer(self, estimators: list[str]) -> _Worker:
        record = self._rig.record
        lanes = [LaneSpec(c.spec.name, c.ring.spec, True) for c in self._cameras]
        lanes += [LaneSpec(n, r.spec, False) for n, r in zip(estimators, self._result_rings, strict=True)]
        job = WriterJob(
            session=self._folder,
            lanes=tuple(lanes),
            counters_fd=self._writer_page.fd,
            depth_codec=record.codec,
            jpeg_quality=record.jpeg_quality,
            sync_s=record.sync_s,
            segment_s=record.segment_s,
            segment_bytes=int(record.segment_mb * _MB),
            reserve_bytes=int(record.reserve_mb * _MB),
            threads=record.threads or max(1, os.cpu_count() or 1),
            mesh_preset=record.mesh_preset,
        )
        fds = (self._writer_page.fd, *(fd for lane in lanes for fd in lane.ring.fds))
        return _Worker("writer", "capture.writer:run", job, fds, restarts_left=1_000_000)

    def _start(self) -> None:
        self._spawn(self._writer)
        for camera in self._cameras:
            self._spawn_camera(camera, go=False)
        self._wait_until(self._cameras_settled, _START_S)
        self._refuse_hopeless_start()
        self._start_observers()
        self._wait_until(lambda: all(w.ready or w.done for w in self._estimators), _START_S)
        for camera in self._cameras:
            if camera.child is not None:
                camera.child.send("go")
        self._started_s = time.monotonic()
        self._event("started")

    def _cameras_settled(self) -> bool:
        return all(c.info is not None or c.failure is not None for c in self._cameras)

    def _refuse_hopeless_start(self) -> None:
        """At the start somebody is there to mend things: say what is wrong instead of waiting all night."""
        if self._stops:
            return
        failed = [c for c in self._cameras if c.info is None]
        fatal = [c for c in failed if c.permanent]
        if fatal or len(failed) == len(self._cameras):
            worst = (fatal or failed)[0]
            raise CameraError(worst.failure or f"camera {worst.spec.name} did not open in {_START_S:.0f} s")
        for camera in failed:
            self._problem(f"{camera.failure}; the others record, it is tried again and again")

    def _start_observers(self) -> None:
        infos = {c.spec.name: c.info for c in self._cameras if c.info is not None}
        rings = {c.spec.name: c.ring.spec for c in self._cameras}
        for index, spec in enumerate(self._rig.estimator_specs()):
            job = EstimationJob(
                spec=spec,
                cameras={n: i for n, i in infos.items() if n in spec.cameras},
                rings={n: r for n, r in rings.items() if n in spec.cameras},
                observer=index,
                results=self._result_rings[index].spec,
                counters_fd=self._estimation_pages[index].fd,
            )
            fds = (self._estimation_pages[index].fd, *self._result_rings[index].spec.fds)
            fds += tuple(fd for ring in job.rings.values() for fd in ring.fds)
            worker = _Worker(spec.name, "capture.estimation:run", job, fds, _ESTIMATOR_RESTARTS)
            self._estimators.append(worker)
            self._spawn(worker)
        if self._preview:
            self._start_preview(infos)

    def _start_preview(self, infos: dict[str, CameraInfo]) -> None:
        names = [e.name for e in self._rig.estimator_specs()]
        job = PreviewJob(
            rig=self._rig.name,
            session=self._folder,
            cameras=infos,
            rings={c.spec.name: c.ring.spec for c in self._cameras},
            results={n: r.spec for n, r in zip(names, self._result_rings, strict=True)},
            camera_counters={c.spec.name: c.counters.fd for c in self._cameras},
            writer_counters_fd=self._writer_page.fd,
        )
        pages = (self._writer_page.fd, *(c.counters.fd for c in self._cameras))
        rings = [c.ring for c in self._cameras] + self._result_rings
        worker = _Worker(
            "preview", "capture.preview:run", job, (*pages, *(f for r in rings for f in r.spec.fds)), 0
        )
        self._previews.append(worker)
        self._spawn(worker)

    # ---- processes ----

    def _spawn(self, worker: _Worker) -> None:
        worker.child = Child(worker.name, worker.entry, worker.job, worker.fds)

    def _spawn_camera(self, camera: _Camera, *, go: bool) -> None:
        job = CameraJob(camera.spec, camera.ring.spec, camera.counters.fd, go)
        camera.counters["heartbeat_ns"] = time.monotonic_ns()
        camera.counters["state"] = OPENING
        camera.started_s = time.monotonic()
        fds = (camera.counters.fd, *camera.ring.spec.fds)
        camera.child = Child(camera.spec.name, "capture.camera:run", job, fds)

    def _children(self) -> list[Child]:
        workers = [self._writer, *self._estimators, *self._previews]
        return [c.child for c in (*self._cameras, *workers) if c.child is not None]

    def _pump(self) -> None:
        """Wait a moment for events, and act on them."""
        ready = select.select([child.event_fd for child in self._children()], [], [], _TICK_S)[0]
        if ready:
            for camera in self._cameras:
                for event in camera.child.events() if camera.child else ():
                    self._on_camera(camera, event)
            for worker in (self._writer, *self._estimators, *self._previews):
                for event in worker.child.events() if worker.child else ():
                    self._on_worker(worker, event)

    def _wait_until(self, done: Callable[[], bool], timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not done() and not self._stops and time.monotonic() < deadline_s:
            self._pump()
            self._tend()

    def _on_camera(self, camera: _Camera, event: dict[str, Any]) -> None:
        kind = event.pop("event")
        name = camera.spec.name
        if kind == "opened":
            camera.info = camera_info_from_dict(event["camera"])
            if camera.failure is not None:
                self._say(f"camera {name} is back")
            camera.failure = None
            self._event("camera-opened", camera=name, epoch=camera.counters["epoch"])
        elif kind in ("away", "error"):
            camera.failure = event["message"]
            camera.permanent = kind == "error"
            self._event(f"camera-{kind}", camera=name, message=event["message"])
            if self._started_s:
                self._problem(event["message"])
        elif kind == "done":
            camera.finished = True
            self._event("camera-done", camera=name, reason=event["reason"])

    def _on_worker(self, worker: _Worker, event: dict[str, Any]) -> None:
        kind = event.pop("event")
        if kind == "ready":
            worker.ready = True
        elif kind == "done":
            worker.done = True
        elif kind == "quit":
            self._stops += 1
        elif kind in ("error", "storage", "notice"):
            self._event(kind, process=worker.name, **event)
            self._problem(event["message"], serious=kind != "notice" and not event.get("ok", False))
        else:
            self._event(kind, process=worker.name, **event)

    def _tend(self) -> None:
        """Restart what died, kill what hangs."""
        for camera in self._cameras:
            self._tend_camera(camera)
        for worker in (self._writer, *self._estimators, *self._previews):
            self._tend_worker(worker)

    def _tend_camera(self, camera: _Camera) -> None:
        now_s = time.monotonic()
        if camera.child is None:
            if not camera.finished and now_s >= camera.restart_at_s:
                self._spawn_camera(camera, go=bool(self._started_s))
            return
        code = camera.child.exit_code()
        if code is None:
            silent_s = now_s - camera.counters["heartbeat_ns"] / 1e9
            opening = camera.counters["state"] == OPENING
            if silent_s > (_OPEN_HANG_S if opening else max(_HANG_S, camera.spec.stall_s)):
                self._problem(f"camera {camera.spec.name}: its process hangs; it is killed and started again")
                camera.child.kill()
            return
        for event in camera.child.events():
            self._on_camera(camera, event)
        camera.child.close()
        camera.child = None
        if camera.finished:
            return
        if code == 1 and camera.permanent and not self._started_s:
            camera.restart_at_s = float("inf")
            return
        if now_s - camera.started_s > camera.spec.restart_max_s:
            camera.restarts = 0  # it held for a good while: this is a new trouble
        delay_s = min(camera.spec.restart_max_s, _FIRST_RESTART_S * 2**camera.restarts)
        camera.restarts = min(camera.restarts + 1, 16)
        camera.restart_at_s = now_s + delay_s
        self._event("camera-restart", camera=camera.spec.name, exit_code=code, delay_s=delay_s)
        self._problem(
            f"camera {camera.spec.name}: its process ended ({_ending(code)}); again in {delay_s:.0f} s"
        )

    def _tend_worker(self, worker: _Worker) -> None:
        if worker.child is None or worker.child.exit_code() is None:
            return
        code = worker.child.exit_code()
        for event in worker.child.events():
            self._on_worker(worker, event)
        worker.child.close()
        worker.child = None
        if worker.done or code == 0:
            worker.done = True
            return
        self._event("restart", process=worker.name, exit_code=code)
        if worker.restarts_left:
            worker.restarts_left -= 1
            self._problem(f"the {worker.name} process ended ({_ending(code)}) and is started again")
            self._spawn(worker)
        else:
            worker.done = True
            self._problem(f"the {worker.name} process ended ({_ending(code)}); recording goes on without it")

    # ---- while it runs ----

    def _watch(self) -> None:
        next_status_s = self._started_s
        while not self._stops and not self._over():
            self._pump()
            self._tend()
            if time.monotonic() >= next_status_s:
                next_status_s += 1.0
                self._on_status(self.status())

    def _over(self) -> bool:
        if self._duration_s is not None and time.monotonic() - self._started_s >= self._duration_s:
            return True
        return all(camera.finished for camera in self._cameras)

    def status(self) -> Status:
        """How it goes now."""
        from capture.effort import LADDER

        rings = [camera.ring for camera in self._cameras]
        return Status(
            elapsed_s=time.monotonic() - self._started_s,
            totals=self._totals(),
            fill=max(ring.fill for ring in rings),
            disk_rate=self._writer_page["disk_rate"],
            free_bytes=self._writer_page["free_bytes"],
            depth_codec=LADDER[self._writer_page["effort"]],
        )

    def _totals(self) -> Totals:
        return count_totals(
            [(c.spec.name, c.info, c.counters) for c in self._cameras],
            [
                (e.name, page)
                for e, page in zip(self._rig.estimator_specs(), self._estimation_pages, strict=True)
            ],
            self._writer_page,
        )

    # ---- the end ----

    def _stop(self) -> None:
        """Cameras first, then those who look on, then the writer, which drains."""
        if not self._started_s:
            self._started_s = time.monotonic()
        urgent = self._stops
        for camera in self._cameras:
            if camera.child is not None:
                camera.child.send("stop")
        self._await_exit(lambda: [c.child for c in self._cameras if c.child], _STOP_CAMERA_S, urgent)
        for worker in (*self._estimators, *self._previews):
            if worker.child is not None:
                worker.child.send("stop")
        self._await_exit(
            lambda: [w.child for w in (*self._estimators, *self._previews) if w.child], _STOP_CAMERA_S, urgent
        )
        self._drain(urgent)

    def _await_exit(self, children: Callable[[], list[Child]], timeout_s: float, urgent: int) -> None:
        deadline_s = time.monotonic() + timeout_s
        while any(c.exit_code() is None for c in children()):
            self._pump()
            if time.monotonic() > deadline_s or self._stops > max(1, urgent):
                for child in children():
                    if child.exit_code() is None:
                        self._event("killed", process=child.name)
                        child.kill()
        self._pump()

    def _drain(self, urgent: int) -> None:
        if self._writer.child is not None and self._writer.child.exit_code() is not None:
            self._tend_worker(self._writer)
        if self._writer.child is None:
            return
        self._writer.child.send("stop")
        deadline_s, hurried = time.monotonic() + _DRAIN_S, False
        while self._writer.child is not None and self._writer.child.exit_code() is None:
            self._pump()
            if not hurried and (self._stops > max(1, urgent) or time.monotonic() > deadline_s):
                hurried, deadline_s = True, time.monotonic() + _LAST_WORDS_S
                self._problem("stopped with frames still queued; they are counted as dropped")
                self._writer.child.send("now")
            if hurried and time.monotonic() > deadline_s:
                self._problem("the writer did not end and was killed; its files lack only their index")
                self._writer.child.kill()
        self._pump()

    def _finish(self) -> Outcome:
        totals = self._totals()
        lost = totals.incomplete or bool(self._writer_page["storage_errors"])
        never = [c for c in self._cameras if c.info is None]
        code = 3 if lost or never else 0
        if not any(stream.written for stream in totals.streams.values()):
            code = 1
            self._problem("nothing was recorded")
        value = session.load_session(self._folder)
        value["cameras"] = {c.spec.name: asdict(c.info) for c in self._cameras if c.info is not None}
        ended = {"wall_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
        value |= {
            "totals": totals.as_dict(),
            "ended": ended,
            "exit_code": code,
            "problems": self._problems[-100:],
        }
        try:
            session.save_session(self._folder, value)
        except NightrigError as error:
            self._problem(str(error))
        self._event("ended", exit_code=code)
        return Outcome(self._folder, totals, code, self._problems)

    def _release(self) -> None:
        for child in self._children():
            if child.exit_code() is None:
                child.kill()
            child.close()
        for camera in self._cameras:
            camera.ring.close()
            camera.counters.close()
        for ring in self._result_rings:
            ring.close()
        for page in (*self._estimation_pages, self._writer_page):
            page.close()

    # ---- telling ----

    def _event(self, kind: str, **fields: Any) -> None:
        try:
            session.append_event(self._folder, {"event": kind, **fields})
        except OSError as error:
            self._say(f"cannot write {self._folder / session.EVENTS_FILE}: {error.strerror}")

    def _problem(self, message: str, *, serious: bool = True) -> None:
        if serious:
            self._problems.append(message)
        self._say(message)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def _versions() -> dict[str, str]:
    from capture.versions import versions

    return versions()
