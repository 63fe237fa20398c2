"""The supervisor: starts, watches and stops the processes of a recording. Owns no frame.

Owns the session folder's session.json and events.jsonl, and the rings' and counters' memory, which the
children inherit. How a single process is restarted stands in capture.processes. If this process is
killed the children notice the end of their pipes: the cameras stop, the writer drains and seals.
"""

from __future__ import annotations

import os
import re
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from capture import processes, session
from capture.camera import COUNTERS as CAMERA_COUNTERS
from capture.camera import MAX_STREAMS
from capture.codec_decision import decide_codec
from capture.config import Rig
from capture.counters import CounterPage
from capture.deletion import anything_to_delete
from capture.estimation import COUNTERS as ESTIMATION_COUNTERS
from capture.estimation import EstimationJob
from capture.frames import CameraInfo
from capture.preview import PreviewJob
from capture.processes import CameraProcess, WorkerProcess, kill
from capture.reserve import reserve_bytes
from capture.ring import FrameRing
from capture.spawn import Child
from capture.specs import EstimatorSpec
from capture.totals import Totals, count_totals
from capture.versions import versions
from capture.writer import COUNTERS as WRITER_COUNTERS
from capture.writer import LaneSpec, WriterJob
from codec import durable
from codec.depth import codec_by_id, get_codec, has_kernels
from codec.errors import CameraError, DiskFullError, NightrigError, StorageError

_MB = 1 << 20
_ESTIMATOR_RING_BYTES = 16 * _MB
_MIN_RING_BYTES = 4 * _MB
_START_S = 120.0
_STOP_S = 5.0
_DYING_S = 3.0
_DRAIN_S = 30.0  # without a frame that leaves a ring
_LAST_WORDS_S = 5.0
_ONE_SIGTERM_S = 0.5  # `timeout` sends its SIGTERM twice: to us, and to our group
_WRITER_RESTARTS = 1_000_000
_ESTIMATOR_RESTARTS = 5
_TICK_S = 0.1
_EXIT_TICK_S = 0.01  # a process whose pipe has ended is about to end too
_PROBLEMS_KEPT = 100
_TOLD_AT_ONCE = 5
_LINES_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Status:
    """A look at a running recording, for the status line."""

    elapsed_s: float
    totals: Totals
    fill: float
    disk_rate: int
    free_bytes: int
    depth_codec: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a recording ended; `problems` are the lines that were told on the way."""

    session: Path
    totals: Totals
    exit_code: int
    problems: list[str]


@dataclass(slots=True)
class Repeats:
    """Which lines are worth telling again: a camera that flaps all night must not fill the terminal.

    The first few are told, then one in a minute, two minutes, four ... up to an hour.
    """

    _seen: dict[str, tuple[int, int, float]] = field(default_factory=dict)

    def worth_telling(self, message: str, now_s: float) -> str:
        """The line to tell, with what was left out since the last one; "" for none."""
        # The same line with another number in it is the same line; "cam1" and "camera 1:" are names.
        key = re.sub(r"\b[0-9]+\b(?!:)", "", message)
        if len(self._seen) > _LINES_REMEMBERED:
            self._seen.clear()
        told, held_back, next_s = self._seen.get(key, (0, 0, 0.0))
        if now_s < next_s:
            self._seen[key] = (told, held_back + 1, next_s)
            return ""
        pause_s = 0.0 if told < _TOLD_AT_ONCE else min(3600.0, 60.0 * 2 ** min(told - _TOLD_AT_ONCE, 6))
        self._seen[key] = (told + 1, 0, now_s + pause_s)
        return f"{message} (and {held_back} times before)" if held_back else message


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
        self._wants_preview = rig.preview if preview is None else preview
        self._say, self._on_status = say, on_status
        self._repeats = Repeats()
        self._signals = 0
        self._terminated_s = -_ONE_SIGTERM_S
        self._problems: list[str] = []
        self._started_s = 0.0
        self._cameras: list[CameraProcess] = []
        self._estimators: dict[str, WorkerProcess] = {}
        self._previews: list[WorkerProcess] = []

    def run(self) -> Outcome:
        """Record until the duration is over, every source has ended, or SIGINT/SIGTERM arrives.

        Raises CameraError or StorageError where it cannot begin; once it has begun nothing is raised:
        what went wrong stands in the outcome, the events and the files.
        """
        self._check_room()
        self._codec = decide_codec(self._rig, self._root, duration_s=self._duration_s, say=self._say)
        config = self._rig.model_dump(mode="json")
        self._folder = session.create_session(self._root, self._rig.name, config, versions())
        with durable.hold(self._folder):  # nobody recompresses what is being recorded
            return self._record()

    def _record(self) -> Outcome:
        before = {n: signal.signal(n, self._on_signal) for n in (signal.SIGINT, signal.SIGTERM)}
        # A closed terminal must not end a night; children inherit that.
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            self._tell_codec()
            self._create()
            try:
                self._start()
                self._watch()
            finally:
                self._stop()
            return self._finish()
        finally:
            self._release()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if number == signal.SIGTERM and now_s - self._terminated_s < _ONE_SIGTERM_S:
            return
        self._signals += 1
        if number == signal.SIGTERM:
            self._terminated_s = now_s

    @property
    def _told_to_stop(self) -> bool:
        return self._signals > 0 or any(worker.quit for worker in self._previews)

    # ---- before anything runs ----

    def _check_room(self) -> None:
        folder = self._root.absolute()
        try:
            while not folder.exists():
                folder = folder.parent
        except OSError as error:
            raise StorageError(f"cannot record to {self._root}: {error.strerror}") from error
        free, reserve = durable.free_bytes(folder), reserve_bytes(self._rig.record.reserve_mb)
        deletes = self._rig.record.when_full == "delete-oldest" and anything_to_delete(self._root)
        if free <= reserve and not deletes:
            raise DiskFullError(
                f"{self._root}: {free / _MB:.0f} MB free, the reserve alone is {reserve / _MB:.0f} MB;"
                " make room, choose another --root or lower record.reserve_mb"
            )

    def _tell_codec(self) -> None:
        """What depth is recorded with, and why: beside the rig as it was written, which is kept as it is."""
        choice = self._codec
        self.event("codec", **choice.as_dict())
        self._save({"depth_codec": choice.as_dict()})
        if choice.gives_way:
            way_out = "" if has_kernels() else "; `nightrig doctor` says how to get the native kernels"
            told = f"record.codec = {choice.asked!r} gives way to {choice.codec}: {choice.reason}"
            self.problem(f"{told}{way_out}")
        elif choice.asked != choice.codec:
            self._say(f"depth codec {choice.codec}: {choice.reason}")
        if not get_codec(choice.codec).lossless:
            bound = self._rig.record.near_bound_subpixels
            self._say(f"depth is stored LOSSY, as the rig asks: disparity to within {bound:g}/32 pixel")

    def _create(self) -> None:
        """Rings and counters: made once, they outlive every child."""
        specs, estimators = self._rig.camera_specs(), self._rig.estimator_specs()
        budget = int(self._rig.queue_mb * _MB) - _ESTIMATOR_RING_BYTES * len(estimators)
        share = max(_MIN_RING_BYTES, budget // len(specs))
        self._cameras = [
            CameraProcess(
                spec,
                FrameRing.create(share, observers=len(estimators) + 1),
                CounterPage(CAMERA_COUNTERS),
                journal=self,
            )
            for spec in specs
        ]
        self._results = [FrameRing.create(_ESTIMATOR_RING_BYTES, observers=1) for _ in estimators]
        self._estimation_pages = [CounterPage(ESTIMATION_COUNTERS) for _ in estimators]
        self._writer_page = CounterPage(WRITER_COUNTERS)
        self._writer = self._make_writer([estimator.name for estimator in estimators])

    def _make_writer(self, estimators: Sequence[str]) -> WorkerProcess:
        record = self._rig.record
        lanes = [LaneSpec(c.spec.name, c.ring.spec, True, c.counters.fd) for c in self._cameras]
        lanes += [LaneSpec(n, r.spec, False) for n, r in zip(estimators, self._results, strict=True)]
        job = WriterJob(
            session=self._folder,
            lanes=tuple(lanes),
            counters_fd=self._writer_page.fd,
            depth_codec=self._codec.codec,
            jpeg_quality=record.jpeg_quality,
            near_bound_subpixels=record.near_bound_subpixels,
            sync_s=record.sync_s,
            sync_bytes=int(record.sync_mb * _MB),
            segment_s=record.segment_s,
            segment_bytes=int(record.segment_mb * _MB),
            reserve_mb=record.reserve_mb,
            deletes_oldest=record.when_full == "delete-oldest",
            threads=record.threads or max(1, os.cpu_count() or 1),
            mesh_codec=record.mesh_codec,
            mesh_preset=record.mesh_preset,
        )
        pages = (self._writer_page.fd, *(camera.counters.fd for camera in self._cameras))
        fds = (*pages, *(fd for lane in lanes for fd in lane.ring.fds))
        return WorkerProcess(
            "writer",
            "capture.writer:run",
            job,
            fds,
            _WRITER_RESTARTS,
            self,
            heartbeat=lambda: self._writer_page["heartbeat_ns"],
        )

    # ---- starting ----

    def _start(self) -> None:
        self._say(f"opening {', '.join(camera.spec.name for camera in self._cameras)} ...")
        self._writer.spawn()
        for camera in self._cameras:
            camera.spawn()
        self._wait_until(lambda: all(c.info is not None or c.failure is not None for c in self._cameras))
        self._refuse_hopeless_start()
        if self._told_to_stop:
            return
        self._start_estimators()
        for spec in self._rig.estimator_specs():
            if spec.name not in self._estimators:
                self.problem(f"estimator {spec.name} waits for its cameras: {', '.join(spec.cameras)}")
        if self._wants_preview:
            self._start_preview(self._infos())
        self._wait_until(lambda: all(w.ready or w.done for w in self._estimators.values()))
        for name, worker in self._estimators.items():
            if not (worker.ready or worker.done or self._told_to_stop):
                self.problem(
                    f"estimator {name} is not ready after {_START_S:.0f} s; recording begins without it"
                )
        for camera in self._cameras:
            camera.go()
        self._started_s = time.monotonic()
        self.event("started")
        if not self._told_to_stop:
            self._say(f"recording to {self._folder}; Ctrl-C ends it")
        self._save({})

    def _wait_until(self, done: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + _START_S
        while not done() and not self._told_to_stop and time.monotonic() < deadline_s:
            self._pump()
            self._tend()

    def _refuse_hopeless_start(self) -> None:
        """At the start somebody is there to mend things: say what is wrong instead of waiting all night."""
        failed = [camera for camera in self._cameras if camera.info is None]
        fatal = [camera for camera in failed if camera.permanent]
        if self._told_to_stop:
            return
        if fatal or len(failed) == len(self._cameras):
            worst = (fatal or failed)[0]
            raise CameraError(worst.failure or f"camera {worst.spec.name} did not open in {_START_S:.0f} s")
        for camera in failed:
            self.problem(f"{camera.failure}; the others record, it is tried again and again")

    def _infos(self) -> dict[str, CameraInfo]:
        return {camera.spec.name: camera.info for camera in self._cameras if camera.info is not None}

    def _start_estimators(self) -> None:
        """Those whose cameras are all there; an estimator of a camera that comes later is started then."""
        infos = self._infos()
        for index, spec in enumerate(self._rig.estimator_specs()):
            if spec.name not in self._estimators and infos.keys() >= set(spec.cameras):
                self._start_estimator(index, spec, {name: infos[name] for name in spec.cameras})

    def _start_estimator(self, index: int, spec: EstimatorSpec, infos: dict[str, CameraInfo]) -> None:
        rings = {camera.spec.name: camera.ring.spec for camera in self._cameras}
        page = self._estimation_pages[index]
        job = EstimationJob(
            spec=spec,
            cameras=infos,
            rings={name: ring for name, ring in rings.items() if name in infos},
            observer=index,
            results=self._results[index].spec,
            counters_fd=page.fd,
        )
        worker = WorkerProcess(
            f"estimator {spec.name}",
            processes.ESTIMATOR_ENTRY,
            job,
            (page.fd, *self._results[index].spec.fds, *(fd for r in job.rings.values() for fd in r.fds)),
            _ESTIMATOR_RESTARTS,
            self,
            heartbeat=lambda: page["heartbeat_ns"],
        )
        self._estimators[spec.name] = worker
        worker.spawn()

    def _start_preview(self, infos: dict[str, CameraInfo]) -> None:
        names = [estimator.name for estimator in self._rig.estimator_specs()]
        job = PreviewJob(
            rig=self._rig.name,
            session=self._folder,
            cameras=infos,
            rings={camera.spec.name: camera.ring.spec for camera in self._cameras},
            results={name: ring.spec for name, ring in zip(names, self._results, strict=True)},
            camera_counters={camera.spec.name: camera.counters.fd for camera in self._cameras},
            writer_counters_fd=self._writer_page.fd,
            depth_codec=self._codec.codec,
        )
        fds = [self._writer_page.fd, *job.camera_counters.values()]
        fds += [fd for ring in (*job.rings.values(), *job.results.values()) for fd in ring.fds]
        worker = WorkerProcess("preview", processes.PREVIEW_ENTRY, job, tuple(fds), 0, self)
        self._previews.append(worker)
        worker.spawn()

    # ---- while it runs ----

    def _workers(self) -> list[WorkerProcess]:
        return [self._writer, *self._estimators.values(), *self._previews]

    def _children(self) -> list[Child]:
        children = [camera.child for camera in self._cameras]
        children += [worker.child for worker in self._workers()]
        return [child for child in children if child is not None]

    def _pump(self, wait_s: float = _TICK_S) -> None:
        """Wait a moment for events, and act on them."""
        speaking = [child.event_fd for child in self._children() if not child.silent]
        select.select(speaking, [], [], wait_s if speaking else min(wait_s, _EXIT_TICK_S))
        for camera in self._cameras:
            camera.pump()
        for worker in self._workers():
            worker.pump()

    def _tend(self) -> None:
        for camera in self._cameras:
            camera.tend()
        for worker in self._workers():
            worker.tend()
        if self._started_s and len(self._estimators) < len(self._results):
            self._start_estimators()

    def _watch(self) -> None:
        next_status_s = self._started_s + 1.0
        while not self._told_to_stop and not self._over():
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
        return Status(
            elapsed_s=time.monotonic() - self._started_s,
            totals=self._totals(),
            fill=max(camera.ring.fill for camera in self._cameras),
            disk_rate=self._writer_page["disk_rate"],
            free_bytes=self._writer_page["free_bytes"],
            depth_codec=codec_by_id(self._writer_page["depth_codec"]).name,
        )

    def _totals(self) -> Totals:
        names = [estimator.name for estimator in self._rig.estimator_specs()]
        return count_totals(
            [(camera.spec.name, camera.info, camera.counters) for camera in self._cameras],
            list(zip(names, self._estimation_pages, strict=True)),
            self._writer_page,
        )

    # ---- the end ----

    def _stop(self) -> None:
        """Cameras first, then those who look on, then the writer, which drains."""
        patience = max(1, self._signals)  # one signal more than it took to get here is the second Ctrl-C
        self._started_s = self._started_s or time.monotonic()
        for camera in self._cameras:
            if camera.child is not None:
                camera.child.send("stop")
        self._await_exit([camera.child for camera in self._cameras], patience)
        observers = [*self._estimators.values(), *self._previews]
        for worker in observers:
            worker.send("stop")
        self._await_exit([worker.child for worker in observers], patience)
        self._drain(patience)

    def _await_exit(self, children: Sequence[Child | None], patience: int) -> None:
        deadline_s, killed = time.monotonic() + _STOP_S, False
        while running := [c for c in children if c is not None and c.exit_code() is None]:
            self._pump()
            self._writer.tend()  # somebody must take what is still coming
            now_s = time.monotonic()
            if not killed and (now_s > deadline_s or self._signals > patience):
                killed, deadline_s = True, now_s + _DYING_S
                for child in running:
                    self.event("killed", process=child.name)
                    kill(child)
            elif killed and now_s > deadline_s:  # in the hands of a broken driver; nobody can wait for that
                self.problem(
                    f"{', '.join(child.name for child in running)} cannot be killed and stays behind"
                )
                break
        self._pump(0.0)

    def _drain(self, patience: int) -> None:
        """The writer writes what is queued, for as long as it gets anywhere; one that dies is replaced."""
        self._writer.send("stop")
        hurried, queued, deadline_s = False, -1, time.monotonic() + _DRAIN_S
        while not self._writer.done:
            now_s, left = time.monotonic(), self._queued()
            if left != queued and not hurried:
                queued, deadline_s = left, now_s + _DRAIN_S
            if not hurried and (self._signals > patience or now_s > deadline_s):
                hurried, deadline_s = True, now_s + _LAST_WORDS_S
                if left:
                    self.problem("stopped with frames still queued; they are counted as dropped")
                self._writer.send("now")
            elif hurried and now_s > deadline_s:
                self.problem("the writer did not end and was killed; its files lack only their index")
                break
            self._pump()
            self._writer.tend()
        if self._writer.child is not None and not self._writer.child.wait(
            _DYING_S if self._writer.done else 0
        ):
            kill(self._writer.child)
            self._writer.child.wait(_DYING_S)
        self._pump(0.0)
        if not self._writer.done:
            self._count_unwritten()

    def _queued(self) -> int:
        return sum(ring.queued for ring in (*(c.ring for c in self._cameras), *self._results))

    def _count_unwritten(self) -> None:
        """The writer is gone for good: what it has not accounted for is dropped."""
        for lane, camera in enumerate(self._cameras):
            for stream in range(MAX_STREAMS):
                passed_on = sum(
                    self._writer_page[f"{what}{lane}.{stream}"] for what in ("written", "dropped")
                )
                refused = camera.counters[f"dropped{stream}"]
                left = camera.counters[f"captured{stream}"] - refused - passed_on
                if left > 0:
                    self._writer_page.add(f"dropped{lane}.{stream}", left)

    def _finish(self) -> Outcome:
        totals = self._totals()
        absent = any(camera.info is None or camera.broke_off for camera in self._cameras)
        lossy = totals.incomplete or absent or self._writer_page["storage_errors"] > 0
        code = 3 if lossy else 0
        if not any(stream.written for stream in totals.streams.values()):
            code = 1
            self.problem("nothing was recorded")
        ended = {"wall_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
        kept = self._problems[-_PROBLEMS_KEPT:]
        self._save({"totals": totals.as_dict(), "ended": ended, "exit_code": code, "problems": kept})
        self.event("ended", exit_code=code)
        return Outcome(self._folder, totals, code, self._problems)

    def _save(self, facts: dict[str, Any]) -> None:
        """session.json anew: what it had, the cameras as they are, and these facts."""
        cameras = {c.spec.name: asdict(c.info) for c in self._cameras if c.info is not None}
        try:
            session.save_session(
                self._folder, {**session.load_session(self._folder), "cameras": cameras, **facts}
            )
        except NightrigError as error:
            self.problem(str(error))

    def _release(self) -> None:
        if not self._cameras:
            return
        for child in self._children():
            if child.exit_code() is None:
                kill(child)
                child.wait(_DYING_S)
            child.close()
        for camera in self._cameras:
            camera.ring.close()
            camera.counters.close()
        for ring in self._results:
            ring.close()
        for page in (*self._estimation_pages, self._writer_page):
            page.close()

    # ---- the journal ----

    def event(self, kind: str, /, **fields: Any) -> None:
        """One line in events.jsonl."""
        try:
            session.append_event(self._folder, {"event": kind, **fields})
        except StorageError as error:
            self.say(str(error))

    def say(self, message: str) -> None:
        """One line for the user, unless it was told often enough."""
        line = self._repeats.worth_telling(message, time.monotonic())
        if line:
            self._say(line)

    def problem(self, message: str, *, serious: bool = True) -> None:
        """One line for the user; a serious one is kept with the session."""
        line = self._repeats.worth_telling(message, time.monotonic())
        if line:
            if serious:
                self._problems.append(line)
            self._say(line)
