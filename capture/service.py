"""The supervisor: starts, watches and stops the processes of a recording. Owns no frame.

Decides when: what runs is capture.crew's, how a single process is restarted capture.processes', how all end
capture.stopping's, and what is told of it capture.journal's. If this process is killed the children notice
the end of their pipes: the cameras stop, the writer drains and seals.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from capture import session
from capture.codec_decision import decide_codec
from capture.config import Rig
from capture.crew import Crew
from capture.deletion import anything_to_delete
from capture.journal import SessionJournal
from capture.reserve import reserve_bytes
from capture.stopping import stop
from capture.totals import Totals
from capture.versions import versions
from capture.vigil import Vigil
from codec import durable
from codec.depth import codec_by_id, get_codec, has_kernels
from codec.errors import CameraError, DiskFullError, StorageError

_MB = 1 << 20
_START_S = 120.0
_ONE_SIGTERM_S = 0.5  # `timeout` sends its SIGTERM twice: to us, and to our group


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
        vigil: Vigil | None = None,
    ) -> None:
        """`say` gets one line per thing worth telling, `on_status` a look every second."""
        self._vigil = vigil or Vigil()
        self._rig, self._root = rig, root
        self._duration_s = rig.duration_s if duration_s is None else duration_s
        self._wants_preview = rig.preview if preview is None else preview
        self._say, self._on_status = say, on_status
        self._journal = SessionJournal(say)
        self._signals = 0
        self._terminated_s = -_ONE_SIGTERM_S
        self._started_s = 0.0

    def run(self) -> Outcome:
        """Record until the duration is over, every source has ended, or SIGINT/SIGTERM arrives.

        Raises CameraError or StorageError where it cannot begin; once it has begun nothing is raised:
        what went wrong stands in the outcome, the events and the files.
        """
        self._check_room()
        planned_s = self._vigil.limit_s(self._duration_s)
        self._codec = decide_codec(self._rig, self._root, duration_s=planned_s, say=self._say)
        config = self._rig.model_dump(mode="json")
        self._folder = session.create_session(self._root, self._rig.name, config, versions())
        self._journal.begin(self._folder)
        with durable.hold(self._folder):  # nobody recompresses what is being recorded
            try:
                return self._record()
            finally:
                self._journal.close()

    def _record(self) -> Outcome:
        before = {n: signal.signal(n, self._on_signal) for n in (signal.SIGINT, signal.SIGTERM)}
        # A closed terminal must not end a night; children inherit that.
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            self._tell_codec()
            self._crew = Crew(self._rig, self._folder, self._codec, self._journal, self._vigil.look)
            try:
                try:
                    self._start()
                    self._watch()
                finally:
                    self._vigil.end()
                    # One signal more than it took to get here is the second Ctrl-C.
                    patience = max(1, self._signals)
                    stop(self._crew, self._journal, lambda: self._signals > patience)
                return self._finish()
            finally:
                self._crew.release()
        finally:
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
        return self._signals > 0 or any(worker.quit for worker in self._crew.previews)

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
        self._journal.event("codec", **choice.as_dict())
        self._journal.save({"depth_codec": choice.as_dict()})
        if choice.gives_way:
            way_out = "" if has_kernels() else "; `nightrig doctor` says how to get the native kernels"
            told = f"record.codec = {choice.asked!r} gives way to {choice.codec}: {choice.reason}"
            self._journal.problem(f"{told}{way_out}")
        elif choice.asked != choice.codec:
            self._say(f"depth codec {choice.codec}: {choice.reason}")
        if not get_codec(choice.codec).lossless:
            bound = self._rig.record.near_bound_subpixels
            self._say(f"depth is stored LOSSY, as the rig asks: disparity to within {bound:g}/32 pixel")

    # ---- starting ----

    def _start(self) -> None:
        crew = self._crew
        self._say(f"opening {', '.join(camera.spec.name for camera in crew.cameras)} ...")
        crew.writer.spawn()
        for camera in crew.cameras:
            camera.spawn()
        self._wait_until(lambda: all(c.info is not None or c.failure is not None for c in crew.cameras))
        self._refuse_hopeless_start()
        if self._told_to_stop:
            return
        crew.start_estimators()
        for spec in crew.waiting_estimators:
            self._journal.problem(f"estimator {spec.name} waits for its cameras: {', '.join(spec.cameras)}")
        if self._wants_preview:
            crew.start_preview()
        self._wait_until(lambda: all(w.ready or w.done for w in crew.estimators.values()))
        for name, worker in crew.estimators.items():
            if not (worker.ready or worker.done or self._told_to_stop):
                self._journal.problem(
                    f"estimator {name} is not ready after {_START_S:.0f} s; recording begins without it"
                )
        self._go()
        self._journal.event("started")
        self._vigil.begin(self._crew, self._journal)
        if not self._told_to_stop:
            self._say(f"recording to {self._folder}; Ctrl-C ends it")
        self._journal.save({"cameras": crew.infos_as_dicts()})

    def _go(self) -> None:
        """From now on frames count."""
        for camera in self._crew.cameras:
            camera.go()
        self._started_s = time.monotonic()

    def _wait_until(self, done: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + _START_S
        while not done() and not self._told_to_stop and time.monotonic() < deadline_s:
            self._crew.pump()
            self._tend()

    def _refuse_hopeless_start(self) -> None:
        """At the start somebody is there to mend things: say what is wrong instead of waiting all night."""
        failed = [camera for camera in self._crew.cameras if camera.info is None]
        fatal = [camera for camera in failed if camera.permanent]
        if self._told_to_stop:
            return
        if fatal or len(failed) == len(self._crew.cameras):
            worst = (fatal or failed)[0]
            raise CameraError(worst.failure or f"camera {worst.spec.name} did not open in {_START_S:.0f} s")
        for camera in failed:
            self._journal.problem(f"{camera.failure}; the others record, it is tried again and again")

    # ---- while it runs ----

    def _tend(self) -> None:
        self._crew.tend()
        if self._started_s and self._crew.waiting_estimators:
            self._crew.start_estimators()

    def _watch(self) -> None:
        next_status_s = self._started_s + 1.0
        while not self._told_to_stop and not self._over():
            self._crew.pump()
            self._tend()
            if time.monotonic() >= next_status_s:
                next_status_s += 1.0
                self._on_status(self.status())

    def _over(self) -> bool:
        if self._duration_s is not None and time.monotonic() - self._started_s >= self._duration_s:
            return True
        return self._vigil.over or all(camera.finished for camera in self._crew.cameras)

    def status(self) -> Status:
        """How it goes now."""
        return Status(
            elapsed_s=time.monotonic() - self._started_s,
            totals=self._crew.totals(),
            fill=self._crew.fill,
            disk_rate=self._crew.writer_page["disk_rate"],
            free_bytes=self._crew.writer_page["free_bytes"],
            depth_codec=codec_by_id(self._crew.writer_page["depth_codec"]).name,
        )

    # ---- the end ----

    def _finish(self) -> Outcome:
        totals = self._crew.totals()
        absent = any(camera.info is None or camera.broke_off for camera in self._crew.cameras)
        lossy = totals.incomplete or absent or self._crew.writer_page["storage_errors"] > 0
        code = 3 if lossy else 0
        if not any(stream.written for stream in totals.streams.values()):
            code = 1
            self._journal.problem("nothing was recorded")
        ended = {"wall_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
        problems: dict[str, object] = {"problems": self._journal.problems}
        if self._journal.problems_left_out:
            problems["problems_left_out"] = self._journal.problems_left_out
        facts = {"totals": totals.as_dict(), "ended": ended, "exit_code": code, **problems}
        self._journal.save({"cameras": self._crew.infos_as_dicts(), **facts})
        self._journal.end(exit_code=code)
        return Outcome(self._folder, totals, code, self._journal.problems)
