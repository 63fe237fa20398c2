"""The supervised processes: how each kind is started, watched, restarted and given up.

A camera that dies or hangs is started again with a back-off that never gives up; a worker (writer,
estimator, preview) as often as it was promised. What happens is told to a `Journal`; policy about the
recording as a whole belongs to capture.service.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import Any, Protocol

from capture.camera import OPENING, CameraJob
from capture.counters import CounterPage
from capture.frames import CameraInfo
from capture.ring import FrameRing
from capture.spawn import Child
from capture.specs import CameraSpec
from capture.wire import camera_info_from_dict

_HANG_S = 5.0  # a heart that stands still this long while frames should come
_OPEN_HANG_S = 120.0  # opening may render a loop, reset a device or import a large SDK
_FIRST_RESTART_S = 1.0
_HELD_S = 60.0  # a process that lived this long failed anew, not again


class Journal(Protocol):
    """Where things worth knowing are told."""

    def event(self, kind: str, /, **fields: Any) -> None:
        """One line in events.jsonl."""

    def problem(self, message: str, *, serious: bool = True) -> None:
        """One line for the user; a serious one is kept with the session."""

    def say(self, message: str) -> None:
        """One line for the user."""


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
    _restarts: int = 0
    _restart_at_s: float = 0.0
    _spawned_s: float = 0.0

    def spawn(self) -> None:
        """Start the process; once the recording has started it does not wait for "go"."""
        job = CameraJob(self.spec, self.ring.spec, self.counters.fd, self.started)
        self.counters["heartbeat_ns"] = time.monotonic_ns()
        self.counters["state"] = OPENING
        self._spawned_s = time.monotonic()
        fds = (self.counters.fd, *self.ring.spec.fds)
        self.child = Child(self.spec.name, "capture.camera:run", job, fds)

    def go(self) -> None:
        """From now on its frames count."""
        self.started = True
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
            self.failure = None
            self.journal.event("camera-opened", camera=name)
        elif kind in ("away", "error"):
            self.failure = event["message"]
            self.permanent = kind == "error"
            self.journal.event(f"camera-{kind}", camera=name, message=event["message"])
            if self.started:
                self.journal.problem(event["message"])
        elif kind == "done":
            self.finished = True
            self.broke_off = event["reason"] == "failed"
            self.journal.event("camera-done", camera=name, reason=event["reason"])

    def tend(self) -> None:
        """Kill it if it hangs, start it again if it has ended and its time has come."""
        now_s = time.monotonic()
        if self.child is None:
            if not self.finished and not self._hopeless and now_s >= self._restart_at_s:
                self.spawn()
            return
        code = self.child.exit_code()
        if code is None:
            self._kill_if_hanging(now_s)
            return
        self.pump()
        self.child.close()
        self.child = None
        if not self.finished and not self._hopeless:
            self._plan_restart(code, now_s)

    @property
    def _hopeless(self) -> bool:
        """Before the start somebody is there to mend a wrong profile; later on only trying again is left."""
        return self.permanent and not self.started

    def _kill_if_hanging(self, now_s: float) -> None:
        silent_s = now_s - self.counters["heartbeat_ns"] / 1e9
        patience_s = _OPEN_HANG_S if self.counters["state"] == OPENING else max(_HANG_S, self.spec.stall_s)
        if silent_s > patience_s and self.child is not None:
            self.journal.problem(
                f"camera {self.spec.name}: its process hangs; it is killed and started again"
            )
            self.child.kill()

    def _plan_restart(self, code: int, now_s: float) -> None:
        if now_s - self._spawned_s > _HELD_S:
            self._restarts = 0
        delay_s = min(self.spec.restart_max_s, _FIRST_RESTART_S * 2**self._restarts)
        self._restarts = min(self._restarts + 1, 16)
        self._restart_at_s = now_s + delay_s
        name = self.spec.name
        self.journal.event("camera-restart", camera=name, exit_code=code, delay_s=delay_s)
        message = f"camera {name}: its process ended ({ending(code)}); again in {delay_s:.0f} s"
        if self.failure is None and self.info is None:
            self.failure = message
        self.journal.problem(message)


@dataclass(slots=True)
class WorkerProcess:
    """The writer, an estimator or the preview. quit: its user asked for the end of the recording."""

    name: str
    entry: str
    job: Any
    fds: tuple[int, ...]
    restarts_left: int
    journal: Journal
    child: Child | None = None
    ready: bool = False
    done: bool = False
    quit: bool = False

    def spawn(self) -> None:
        """Start the process."""
        self.child = Child(self.name, self.entry, self.job, self.fds)

    def send(self, command: str) -> None:
        """Send a command, where there is somebody to take it."""
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
            self.done = True
        elif kind == "quit":
            self.quit = True
        else:
            self.journal.event(kind, process=self.name, **event)
            if kind in ("error", "storage", "notice"):
                self.journal.problem(event["message"], serious=kind != "notice" and not event.get("ok"))

    def tend(self) -> None:
        """Start it again if it has ended before its time."""
        if self.child is None or self.child.exit_code() is None:
            return
        code = self.child.exit_code()
        self.pump()
        self.child.close()
        self.child = None
        if self.done or code == 0:
            self.done = True
            return
        self.journal.event("restart", process=self.name, exit_code=code)
        if self.restarts_left > 0:
            self.restarts_left -= 1
            self.journal.problem(f"the {self.name} process ended ({ending(code)}) and is started again")
            self.spawn()
        else:
            self.done = True
            self.journal.problem(
                f"the {self.name} process ended ({ending(code)}); recording goes on without it"
            )
