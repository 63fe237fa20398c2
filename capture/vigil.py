"""What a recording owes the world around it: a service manager that watches, an hour at which it ends.

The supervisor calls `begin` when recording has begun, `look` many times a second from the first process to
the last, and `end` when it stops. Owns no process and ends nothing: it pings systemd's watchdog while the
recording is alive (capture.liveness says what that means), writes down why where it is not, keeps the manager
patient while the queues are being written, and knows when the time is over.
"""

from __future__ import annotations

import time
from enum import Enum

from capture.camera import AWAY, DONE, OPENING
from capture.closing import Closing
from capture.counters import CounterPage
from capture.crew import Crew
from capture.liveness import CameraSight, Liveness, WriterSight
from capture.processes import CameraProcess, Journal, WorkerProcess
from capture.schedule import Hours
from capture.sd_notify import Notifier

_LOOK_S = 0.5
_PINGS_PER_TIMEOUT = 4
_CLOCK_S = 5.0  # between two questions whether the clock is right by now
_PATIENCE_S = 60.0
"""What a start that goes on earns, and a queue that gets shorter: above the longest that the supervisor then
waits for the next frame to leave it, and for the end of all processes."""


class _Phase(Enum):
    STARTING = "starting"
    RECORDING = "recording"
    STOPPING = "stopping"


class Vigil:
    """One for each recording; without arguments it watches over one that nobody waits for."""

    def __init__(self, notifier: Notifier | None = None, hours: Hours | None = None) -> None:
        self._notifier = notifier or Notifier()
        self._closing = Closing(hours or Hours())
        self._liveness = Liveness()
        self._phase = _Phase.STARTING
        self._crew: Crew | None = None
        self._next_look_s = self._next_ping_s = self._next_clock_s = 0.0
        self._wrong: list[str] = []
        self._released = 0

    def begin(self, crew: Crew, journal: Journal) -> None:
        """Recording has begun."""
        self._crew, self._journal = crew, journal
        self._phase = _Phase.RECORDING
        self._note_clock()
        self._notifier.ready()

    def look(self) -> None:
        """Ping if all is well. Cheap: called too often it does nothing."""
        now_s = time.monotonic()
        if now_s < self._next_look_s:
            return
        self._next_look_s = now_s + min(_LOOK_S, self._ping_every_s)
        if self._phase is _Phase.RECORDING:
            self._look_at_recording(now_s)
            self._look_at_clock(now_s)
        elif self._phase is _Phase.STOPPING:
            self._keep_manager_patient()
        # While it starts and stops, the supervisor itself waits for nothing without an end.
        if now_s >= self._next_ping_s and not (self._phase is _Phase.RECORDING and self._wrong):
            self._next_ping_s = now_s + self._ping_every_s
            self._notifier.ping()
            if self._phase is _Phase.STARTING:
                self._notifier.extend_timeout(_PATIENCE_S)

    @property
    def _ping_every_s(self) -> float:
        return (self._notifier.watchdog_s or 60.0) / _PINGS_PER_TIMEOUT

    @property
    def over(self) -> bool:
        """Whether the hour has come at which recording ends."""
        return self._closing.over()

    def limit_s(self, duration_s: float | None) -> float | None:
        """How long it will go on from now, with a duration besides; None where nothing ends it."""
        limits = [limit for limit in (duration_s, self._closing.left_s) if limit is not None]
        return min(limits, default=None)

    def end(self) -> None:
        """The recording stops; what is queued is still written."""
        self._phase = _Phase.STOPPING
        self._notifier.stopping()

    # ---- alive? ----

    def _look_at_recording(self, now_s: float) -> None:
        assert self._crew is not None
        sights = [_camera_sight(camera) for camera in self._crew.cameras]
        writer = _writer_sight(self._crew.writer, self._crew.writer_page)
        wrong = self._liveness.look(now_s, sights, writer)
        if wrong and not self._wrong:
            self._journal.event("stands-still", what=wrong)
            left_to = "; systemd will start it again" if self._notifier.watchdog_s else ""
            self._journal.problem(f"recording stands still: {wrong[0]}{left_to}")
        elif self._wrong and not wrong:
            self._journal.event("goes-on")
            self._journal.say("recording goes on")
        self._wrong = wrong

    def _keep_manager_patient(self) -> None:
        released = 0 if self._crew is None else self._crew.released
        if released != self._released:
            self._released = released
            self._notifier.extend_timeout(_PATIENCE_S)

    # ---- the clock ----

    def _note_clock(self) -> None:
        left_s = self._closing.left_s
        ends = {} if left_s is None else {"ends_in_s": round(left_s, 1)}
        self._journal.event("clock", synchronised=self._closing.synchronised, **ends)

    def _look_at_clock(self, now_s: float) -> None:
        if now_s >= self._next_clock_s:
            self._next_clock_s = now_s + _CLOCK_S
            if self._closing.has_learnt_the_time():
                self._note_clock()


def _camera_sight(camera: CameraProcess) -> CameraSight:
    streams = camera.info.streams if camera.info is not None else ()
    stall_s = 2.0 * camera.spec.stall_s
    return CameraSight(
        name=camera.spec.name,
        streams=tuple(stream.name for stream in streams),
        captured=tuple(camera.counters[f"captured{index}"] for index in range(len(streams))),
        silence_s=tuple(max(stall_s, 10.0 / s.fps if s.fps > 0 else 0.0) for s in streams),
        away=camera.finished or camera.is_down or camera.counters["state"] in (OPENING, AWAY, DONE),
        epoch=camera.counters["epoch"],
        can_wait=camera.info is not None and camera.info.can_wait,
        queued=camera.ring.queued,
        released=camera.ring.released,
    )


def _writer_sight(writer: WorkerProcess, page: CounterPage) -> WriterSight:
    return WriterSight(
        heartbeat_ns=page["heartbeat_ns"],
        starting=not writer.done and not writer.ready,
        refused=page["blocked"] > 0,
    )
