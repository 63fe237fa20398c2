"""The supervised processes: how each kind is started, watched, restarted and given up.

A camera that dies or hangs is started again with a back-off that never gives up; a worker (writer,
estimator, preview) as often in a row as it was promised. Nothing here waits for a process. What happens
is told to a `Journal`; policy about the recording as a whole belongs to capture.service.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from capture.backoff import CAMERA_HELD_S, HELD_S, Backoff
from capture.camera import OPENING, READY, RUNNING, CameraJob
from capture.counters import CounterPage
from capture.frames import CameraInfo
from capture.recover_command import RecoverCommand
from capture.ring import FrameRing
from capture.spawn import Child
from capture.specs import CameraSpec, OpenCVSpec
from capture.watchdog import OpeningPatience, Pulse
from capture.wire import camera_info_from_dict

CAMERA_ENTRY = "capture.camera:run"
ESTIMATOR_ENTRY = "capture.estimation:run"
PREVIEW_ENTRY = "capture.preview.process:run"
"""What camera and estimator processes run; campaigns put test ones in their place."""

WRITER_ENTRY = "capture.writer:run"
"""What the writer process runs; campaigns let its disk fail."""

# A heart beats five times a second, so two seconds of silence without an excuse (capture.watchdog) is a hang.
# Another second goes by until a new process runs and one or two until its camera is open: five in all.
_HANG_S = 2.0
_CLOSE_HANG_S = 3.0  # stopping a device takes longer than reading it; sources wait a second for a thread
_FILE_HANG_S = 60.0  # nobody loses a frame of a file by waiting for a slow disk, but by starting it anew
_UNDYING_S = 5.0
_WORKER_HANG_S = 60.0  # a worker may be at one large model or one slow disk for a while
_FIRST_RESTART_S = 1.0
_FIRST_WORKER_RESTART_S = 0.05  # frames wait in the rings, for as long as these have room
_LONGEST_WORKER_RESTART_S = 10.0

_STATES = ("opening", "ready", "running", "away", "done")
_EFFORT = {
    "cpu": "the processor is short",
    "disk": "the disk is too slow",
    "room": "the disk has no room for more",
    "easy": "there is time to spare again",
}


class Journal(Protocol):
    """Where things worth knowing are told."""

    def event(self, kind: str, /, **fields: Any) -> None:
        """One line in events.jsonl."""

    def problem(self, message: str, *, serious: bool = True) -> None:
        """One line for the user; a serious one is kept with the session."""

    def say(self, message: str) -> None:
        """One line for the user."""


def kill(child: Child) -> None:
    """SIGKILL without waiting: a process in the hands of a broken driver may take its time to die."""
    if child.exit_code() is None:
        os.kill(child.pid, signal.SIGKILL)


def ending(code: int | None) -> str:
    """How a process ended, in words."""
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


@dataclass(slots=True)
class CameraProcess:
    """A camera of the rig, its ring and counters (which outlive every process), and its process now.

    info: what the camera said of itself when it last opened. failure: what the last attempt to open it
    said. permanent: trying again cannot mend that. finished: it has delivered its last frame; broke_off: a
    damaged file, whose last frame was not its end.
    """

    spec: CameraSpec
    ring: FrameRing
    counters: CounterPage
    journal: Journal
    child: Child | None = None
    info: CameraInfo | None = None
    failure: str | None = None
    permanent: bool = False
    finished: bool = False
    broke_off: bool = False
    started: bool = False
    _killed_at_s: float = 0.0  # 0: not killed
    _restart_at_s: float = 0.0
    _opened_s: float = 0.0  # 0: not in this life
    _pulse: Pulse = field(default_factory=Pulse)
    _opening: OpeningPatience = field(init=False)
    _recover: RecoverCommand = field(init=False)
    _backoff: Backoff = field(init=False)

    def __post_init__(self) -> None:
        source = self.spec.source
        self._opening = OpeningPatience()
        if isinstance(source, OpenCVSpec):  # it gives up by itself: connecting and a first picture
            self._opening.least_s = max(self._opening.least_s, 2.0 * source.open_timeout_s + 1.0)
        self._recover = RecoverCommand(self.spec.recover_command, self.spec.recover_after)
        self._backoff = Backoff(_FIRST_RESTART_S, self.spec.restart_max_s, CAMERA_HELD_S)

    def spawn(self) -> None:
        """Start the process; once the recording has started it does not wait for "go"."""
        job = CameraJob(self.spec, self.ring.spec, self.counters.fd, self.started)
        self.counters["heartbeat_ns"] = time.monotonic_ns()
        self.counters["state"] = OPENING
        self._killed_at_s = self._opened_s = 0.0
        self._pulse = Pulse()
        self._opening.begun()
        fds = (self.counters.fd, *self.ring.spec.fds)
        try:
            self.child = Child(self.spec.name, CAMERA_ENTRY, job, fds)
        except OSError as error:  # no memory, no process, no descriptor left: later there may be
            self._plan_restart(f"its process cannot be started ({error.strerror})")

    def go(self) -> None:
        """From now on its frames count."""
        self.started = True
        self.counters["go_ns"] = time.monotonic_ns()
        if self.child is not None:
            self.child.send("go")

    def pump(self) -> None:
        """Act on what the process has told."""
        for event in self.child.events() if self.child else ():
            self._on_event(event.pop("event"), event)

    def _on_event(self, kind: str, event: dict[str, Any]) -> None:
        name = self.spec.name
        if kind == "opened":
            self.info = camera_info_from_dict(event["camera"])
            if self.failure is not None:
                self.journal.say(f"camera {name} is back")
            self.failure, self.permanent = None, False
            self._opened_s = time.monotonic()
            self._opening.opened()
            self.journal.event("camera-opened", camera=name)
        elif kind in ("away", "error"):
            self._opening.begun()
            self.failure = event["message"]
            self.permanent = kind == "error"
            self.journal.event(f"camera-{kind}", camera=name, message=event["message"])
            if self.started:
                self.journal.problem(event["message"])
        elif kind == "problem":
            self.journal.event("camera-problem", camera=name, message=event["message"])
            self.journal.problem(event["message"])
        elif kind == "done":
            self.finished = True
            self.broke_off = event["reason"] == "failed"
            self.journal.event("camera-done", camera=name, reason=event["reason"])

    def tend(self) -> None:
        """Kill it if it hangs, start it again if it has ended and its time has come."""
        now_s = time.monotonic()
        self._tend_recovery()
        if self.child is None:
            if not self.finished and not self._hopeless and now_s >= self._restart_at_s:
                self.spawn()
            return
        code = self.child.exit_code()
        if code is None:
            self._look_after(self.child)
            return
        self.pump()
        self.child.close()
        self.child = None
        if not self.finished and not self._hopeless:
            self.counters.add("failures")  # its process is gone: we are the one who writes
            self._plan_restart(f"its process ended ({ending(code)})")

    @property
    def is_down(self) -> bool:
        """There is no process now, or one that was killed and is not gone yet; the journal has it."""
        return self.child is None or bool(self._killed_at_s)

    @property
    def _hopeless(self) -> bool:
        """Before the start somebody is there to mend a wrong profile; later on only trying again is left."""
        return self.permanent and not self.started

    @property
    def _patience_s(self) -> float:
        state = self.counters["state"]
        if state == OPENING:
            return self._opening.patience_s
        if state not in (READY, RUNNING):
            return _CLOSE_HANG_S
        if self.info is not None and self.info.can_wait:
            return _FILE_HANG_S
        return max(_HANG_S, 2.0 / 3.0 * self.spec.stall_s)  # silence costs a reopening, a hang a process

    def _look_after(self, child: Child) -> None:
        now_s, name = time.monotonic(), self.spec.name
        if self._killed_at_s:
            if now_s - self._killed_at_s > _UNDYING_S:
                self._killed_at_s = now_s
                self.counters.add("failures")  # only what cuts its power may still help
                self.journal.event("camera-undying", camera=name)
                self.journal.problem(f"camera {name}: its process cannot be killed; a driver holds it")
            return
        silent_s = self._pulse.silent_s(self.counters["heartbeat_ns"], child.pid)
        opening = self.counters["state"] == OPENING
        if opening:
            self._opening.note_silence(silent_s)
        if silent_s <= self._patience_s:
            return
        self._killed_at_s = now_s
        if opening:
            self._opening.killed()
        self.journal.event("camera-hangs", camera=name, state=_STATES[self.counters["state"]], for_s=silent_s)
        if not self.finished:  # else it hangs in closing its device, which no longer matters
            self.journal.problem(f"camera {name}: its process hangs; it is killed and started again")
        kill(child)

    def _tend_recovery(self) -> None:
        name = self.spec.name
        if (ended := self._recover.ended()) is not None:
            self.journal.event("recover-command-ended", camera=name, trouble=ended)
            if ended:
                self.journal.problem(f"camera {name}: recover_command: {ended}", serious=False)
            self._try_again()
        failures = self.counters["failures"]
        if self.started and not self.finished and self._recover.is_due(failures):
            self.journal.event("recover-command", camera=name, failures=failures)
            serial = self.info.serial if self.info is not None else getattr(self.spec.source, "serial", "")
            facts = {"NIGHTRIG_CAMERA": name, "NIGHTRIG_SERIAL": serial, "NIGHTRIG_FAILURES": str(failures)}
            if trouble := self._recover.start(facts):
                self.journal.problem(f"camera {name}: recover_command: {trouble}", serious=False)

    def _try_again(self) -> None:
        """Something was done about it: whatever pause it was to make, it is to be back soon."""
        self._restart_at_s = 0.0
        self._backoff.forget()
        if self.child is not None:
            self.child.send("again")

    def release(self) -> None:
        """Give back what outlives its processes."""
        self._recover.close()
        self.ring.close()
        self.counters.close()

    def _plan_restart(self, what: str) -> None:
        now_s, name = time.monotonic(), self.spec.name
        delay_s = self._backoff.after(now_s - self._opened_s if self._opened_s else 0.0)
        self._restart_at_s = now_s + delay_s
        self.journal.event("camera-restart", camera=name, why=what, delay_s=delay_s)
        message = f"camera {name}: {what}; again {f'in {delay_s:.0f} s' if delay_s else 'at once'}"
        if self.failure is None:
            self.failure = message
            self.journal.problem(message)
        elif self.started:
            self.journal.problem(message)


@dataclass(slots=True)
class WorkerProcess:
    """The writer, an estimator or the preview. quit: its user asked for the end of the recording.

    heartbeat: when it last showed life (monotonic ns), for a process that is to be replaced when it hangs.
    may_leave: it may end when it likes, as a preview does whose window is closed. Any other that ends before
    it was told to has died, whatever it says of it.
    """

    name: str
    entry: str
    job: Any
    fds: tuple[int, ...]
    restarts: int
    journal: Journal
    heartbeat: Callable[[], int] | None = None
    may_leave: bool = False
    child: Child | None = None
    ready: bool = False
    done: bool = False
    quit: bool = False
    _told: str = ""
    _killed: bool = False
    _left: int = field(init=False)
    _restart_at_s: float | None = None
    _spawned_s: float = 0.0
    _pulse: Pulse = field(default_factory=Pulse)
    _backoff: Backoff = field(
        default_factory=lambda: Backoff(_FIRST_WORKER_RESTART_S, _LONGEST_WORKER_RESTART_S)
    )

    def __post_init__(self) -> None:
        self._left = self.restarts

    def spawn(self) -> None:
        """Start the process; one that takes the place of another is told what that was told."""
        self._spawned_s, self._restart_at_s = time.monotonic(), None
        self.ready, self._killed, self._pulse = False, False, Pulse()
        try:
            self.child = Child(self.name, self.entry, self.job, self.fds)
        except OSError as error:
            self._plan_restart(f"the {self.name} process cannot be started ({error.strerror})")
            return
        if self._told:
            self.child.send(self._told)

    def send(self, command: str) -> None:
        """Send a command, also to whoever takes the place of a process that dies."""
        self._told = command
        if self.child is not None:
            self.child.send(command)

    def pump(self) -> None:
        """Act on what the process has told."""
        for event in self.child.events() if self.child else ():
            self._on_event(event.pop("event"), event)

    def _on_event(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "ready":
            self.ready = True
        elif kind == "done":
            self.done = self._may_end
        elif kind == "quit":
            self.quit = True
        else:
            self.journal.event(kind, process=self.name, **event)
            if kind == "effort":
                self.journal.say(f"depth codec is {event['codec']} from here on: {_EFFORT[event['reason']]}")
            if kind == "summary":
                self.journal.say(event["message"])
            if kind in ("error", "storage", "notice"):
                self.journal.problem(event["message"], serious=kind != "notice" and not event.get("ok"))

    def tend(self) -> None:
        """Kill it if it hangs, start it again if it has ended before its time."""
        if self.child is None:
            if self._restart_at_s is not None and time.monotonic() >= self._restart_at_s:
                self.spawn()
            return
        code = self.child.exit_code()
        if code is None:
            self._kill_if_hanging(self.child)
            return
        self.pump()
        self.child.close()
        self.child = None
        if self.done or (code == 0 and self._may_end):
            self.done = True
            return
        self.journal.event("restart", process=self.name, exit_code=code)
        self._plan_restart(f"the {self.name} process ended ({ending(code)})")

    @property
    def _may_end(self) -> bool:
        return self.may_leave or bool(self._told)

    def _kill_if_hanging(self, child: Child) -> None:
        if self.heartbeat is None or not self.ready or self._killed:
            return
        if self._pulse.silent_s(self.heartbeat(), child.pid) > _WORKER_HANG_S:
            self._killed = True
            self.journal.event("hangs", process=self.name)
            self.journal.problem(f"the {self.name} process hangs; it is killed")
            kill(child)

    def _plan_restart(self, what: str) -> None:
        lived_s = time.monotonic() - self._spawned_s
        delay_s = self._backoff.after(lived_s)
        if lived_s >= HELD_S:
            self._left = self.restarts
        if self._left > 0:
            self._left -= 1
            self._restart_at_s = time.monotonic() + delay_s
            self.journal.problem(f"{what} and is started again")
        else:
            self.done = True
            self.journal.problem(f"{what}; recording goes on without it")
