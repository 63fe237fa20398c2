"""The camera process: one source, one ring, one thread.

Owns the device. Hands every frame to the ring at once (capture.outlet, which keeps account of those that do
not get there), and reopens a camera that is lost or silent (capture.silence) with a back-off that never gives
up; "again" on its control pipe ends a pause of that. Told to stop by "stop" or by the end of that pipe; if it
dies or hangs, the supervisor starts another one on the same ring, and what was pushed is still there.
"""

from __future__ import annotations

import select
import time
from dataclasses import asdict, dataclass, replace

from capture.backoff import CAMERA_HELD_S, Backoff, Lookout
from capture.calibration.applied import with_lens
from capture.counters import CounterPage
from capture.frames import CameraInfo, Frame
from capture.outlet import Outlet, StoppedError
from capture.ring import FrameRing, RingSpec
from capture.silence import SilenceWatch
from capture.sources import SlowToOpen, Source, make_source
from capture.spawn import Link
from capture.specs import CameraSpec
from codec.errors import (
    CameraError,
    CameraNotFoundError,
    CameraProfileError,
    ConfigError,
    MissingExtraError,
    SourceEndedError,
)

MAX_STREAMS = 8
OPENING, READY, RUNNING, AWAY, DONE = range(5)
_READ_TIMEOUT_S = 0.2
_FIRST_RETRY_S = 1.0
_LOOK_AGAIN_S = 2.0  # for a camera that is not there: looking is cheap, and it is to be back soon
_FAILURES_BEFORE_A_NEW_PROCESS = 4
_PIXEL_BYTES = {"z16": 2, "y8": 1, "bgr8": 3, "f32": 4}  # a JPEG is as long as it is

COUNTERS = (
    "state",
    "heartbeat_ns",
    "failures",
    "epoch",
    "go_ns",  # when its frames began to count; written by the supervisor
    *(f"{what}{i}" for i in range(MAX_STREAMS) for what in ("captured", "dropped", "lost", "repeated")),
)


@dataclass(frozen=True, slots=True)
class CameraJob:
    """What a camera process is told. `go` false: open, then wait for the command "go"."""

    camera: CameraSpec
    ring: RingSpec
    counters_fd: int
    go: bool = False


def run(job: CameraJob, link: Link) -> int:
    """Entry of the process."""
    return _Camera(job, link).run()


class _WornOutError(Exception):
    """The camera is there and this process cannot open it, time and again."""


class _Camera:
    def __init__(self, job: CameraJob, link: Link) -> None:
        self._job = job
        self._link = link
        self._counters = CounterPage(COUNTERS, job.counters_fd)
        self._outlet = Outlet(
            job.camera.name,
            FrameRing(job.ring),
            self._counters,
            link,
            beat=self._beat,
            turn=self._turn,
        )
        self._silence = SilenceWatch(job.camera.stall_s, self._counters)
        self._going = job.go
        self._source: Source | None = None
        self._info: CameraInfo | None = None
        self._backoff = Backoff(_FIRST_RETRY_S, job.camera.restart_max_s, CAMERA_HELD_S)
        self._spoken = ""
        self._began_ns = 0
        self._again = False  # told not to wait any longer before the next attempt

    def run(self) -> int:
        try:
            ended = self._live()
            if ended:
                self._end(ended)
            return 0 if ended else 1
        finally:
            self._close_source()

    def _end(self, reason: str) -> None:
        """Before the device is closed, which may hang."""
        self._outlet.end(reason)
        self._beat()  # the writer takes this for the moment of the end where it did not get the record
        self._counters["state"] = DONE
        self._link.event("done", reason=reason)

    def _live(self) -> str:
        """Until the end, and why it came; "" where trying again cannot mend what is wrong."""
        while True:
            try:
                self._open()
                self._stream_frames()
            except StoppedError:
                return "stopped"
            except _WornOutError:
                return ""
            except SourceEndedError:
                return "ended"
            except (CameraProfileError, ConfigError, MissingExtraError) as error:
                if self._began_ns == 0:  # else it worked, and does not any more
                    self._link.event("error", message=str(error), type=type(error).__name__)
                    return ""
                self._away(str(error))
            except CameraError as error:
                self._away(str(error))
            if self._info is not None and self._info.can_wait:
                return "failed"  # a file that is broken from here on: playing it again mends nothing
            try:
                self._wait_to_reopen()
            except StoppedError:
                return "stopped"

    # ---- opening, and the time without a camera ----

    def _wait_to_reopen(self) -> None:
        """A camera that had held is tried at once; one that comes and goes, more and more seldom."""
        held_s = (time.monotonic_ns() - self._began_ns) / 1e9 if self._began_ns else 0.0
        self._pause(self._backoff.after(held_s))

    def _open(self) -> None:
        """Raises _WornOutError where a new process may have more luck."""
        self._began_ns = 0
        lookout = Lookout(_FIRST_RETRY_S / 2, min(_LOOK_AGAIN_S, self._job.camera.restart_max_s))
        failed = 0
        while True:
            began_s = time.monotonic()
            self._counters["state"] = OPENING
            self._turn()
            try:
                self._source = make_source(self._job.camera)
                if isinstance(self._source, SlowToOpen):
                    self._source.progress = lambda *_: self._beat()
                info = self._source.open()
                break
            except (CameraError, ConfigError) as error:
                # Before the first frame the user can mend a wrong profile; a camera that comes back with
                # another one (on a slow port, say) may yet come back right.
                if self._info is None and isinstance(error, CameraProfileError | ConfigError):
                    raise
                self._counters.add("failures")
                self._away(str(error))
                if isinstance(error, CameraNotFoundError):
                    failed, delay_s = 0, lookout.after(time.monotonic() - began_s)
                else:
                    failed, delay_s = failed + 1, self._backoff.after(0.0)
                self._pause(delay_s)
                # A library may have gone bad for good in this process. What is still owed only we know.
                if failed >= _FAILURES_BEFORE_A_NEW_PROCESS and not self._outlet.owes:
                    raise _WornOutError from error
        self._begin(info)

    def _begin(self, info: CameraInfo) -> None:
        if len(info.streams) > MAX_STREAMS:
            raise ConfigError(
                f"camera {info.name} has {len(info.streams)} streams; {MAX_STREAMS} is the limit"
            )
        self._refuse_large_frames(info)
        if info.world_from_camera is None and self._job.camera.world_from_camera is not None:
            info = replace(info, world_from_camera=self._job.camera.world_from_camera)
        if self._job.camera.intrinsics is not None:
            info = with_lens(info, self._job.camera.intrinsics)
        self._info = info
        self._outlet.describe(info)
        self._spoken = ""
        self._link.event("opened", camera=asdict(info))
        self._counters["state"] = READY
        while not self._going:
            self._turn()
            if info.can_wait:
                time.sleep(0.01)
            else:
                self._read()  # a live camera goes on delivering; what comes before "go" is not ours
        self._outlet.new_epoch()
        self._counters["state"] = RUNNING
        self._began_ns = time.monotonic_ns()
        self._silence.begin(info, self._began_ns)

    def _refuse_large_frames(self, info: CameraInfo) -> None:
        arena_bytes = self._job.ring.arena_bytes
        for stream in info.streams:
            frame_bytes = stream.width * stream.height * _PIXEL_BYTES.get(stream.pixel_format, 0)
            if 2 * frame_bytes > arena_bytes:
                raise ConfigError(
                    f"camera {info.name}: a {stream.name} frame of {frame_bytes / 1e6:.1f} MB needs a queue"
                    f" of twice that, its share of queue_mb is {arena_bytes / 1e6:.1f} MB; raise queue_mb"
                )

    def _away(self, why: str) -> None:
        self._counters["state"] = AWAY
        self._beat()  # closing, which may hang, has its own time
        if why != self._spoken:
            self._link.event("away", message=why)
            self._spoken = why
        self._close_source()

    def _close_source(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    # ---- streaming ----

    def _stream_frames(self) -> None:
        assert self._info is not None
        while True:
            self._turn()
            for frame in self._read():
                stream = self._outlet.take(frame)
                if stream is not None:
                    self._silence.hear(stream)
            if not self._info.can_wait:
                self._silence.look()

    def _read(self) -> list[Frame]:
        assert self._source is not None
        return self._source.read(_READ_TIMEOUT_S)

    # ---- being told, and being watched ----

    def _turn(self) -> None:
        self._beat()
        self._obey()

    def _obey(self) -> None:
        for command in self._link.commands():
            if command in ("stop", "orphaned"):
                raise StoppedError
            if command == "go":
                self._going = True
            if command == "again":
                self._again = True

    def _beat(self) -> None:
        self._counters["heartbeat_ns"] = time.monotonic_ns()

    def _pause(self, seconds: float) -> None:
        """Wait, but not for the supervisor."""
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s and not self._again:
            self._turn()
            select.select([self._link.control_fd], [], [], min(_READ_TIMEOUT_S, seconds))
        if self._again:
            self._again = False
            self._backoff.forget()
