"""The camera process: one source, one ring, one thread.

Owns the device. Copies every new frame into the ring at once, keeps the ledger of what the device
skipped and what the ring refused, and reopens a lost camera with a back-off that never gives up. A
source that can wait (a file) is slowed down by a full ring; a camera is not, its frame is dropped and
accounted for. Told to stop by "stop" on its control pipe or by that pipe's end; if it dies or hangs, the
supervisor starts another one on the same ring, and what was pushed is still there.
"""

from __future__ import annotations

import json
import select
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from capture import ring as ring_kinds
from capture.backoff import CAMERA_HELD_S, HELD_S, Backoff, Lookout
from capture.counters import CounterPage
from capture.frames import CameraInfo, Frame, StreamInfo
from capture.ledger import RING_FULL, StreamLedger
from capture.ring import FrameRing, RingSpec, drain_event
from capture.sources import SlowToOpen, Source, make_source
from capture.spawn import Link
from capture.specs import CameraSpec
from codec.errors import (
    CameraError,
    CameraLostError,
    CameraNotFoundError,
    CameraProfileError,
    ConfigError,
    MissingExtraError,
    SourceEndedError,
)
from codec.records.layout import CLOCKS

MAX_STREAMS = 8
OPENING, READY, RUNNING, AWAY, DONE = range(5)
_READ_TIMEOUT_S = 0.2
_FIRST_RETRY_S = 1.0
_LOOK_AGAIN_S = (
    2.0  # for a camera that is not there: looking is cheap, and it is to be back soon after a replug
)
_FAILURES_BEFORE_A_NEW_PROCESS = 4
_LONGEST_MUTE = 4
_SILENT_FRAMES = 3.0
_END_WAIT_S = 3.0  # below the supervisor's patience, so that a stuck writer does not get us killed
_GAP_ROOM_BYTES = 4096  # what gap records before a frame may take in the ring
_LONGEST_PATIENCE_S = 3600.0  # with one stream that stays silent while the others go on
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


class _Stopped(Exception):
    """The supervisor wants us to end."""


class _WornOutError(Exception):
    """The camera is there and this process cannot open it, time and again."""


class _Camera:
    def __init__(self, job: CameraJob, link: Link) -> None:
        self._job = job
        self._link = link
        self._ring = FrameRing(job.ring)
        self._counters = CounterPage(COUNTERS, job.counters_fd)
        self._going = job.go
        self._source: Source | None = None
        self._info: CameraInfo | None = None
        self._ledgers: list[StreamLedger] = []
        self._stream_of: dict[str, int] = {}
        self._backoff = Backoff(_FIRST_RETRY_S, job.camera.restart_max_s, CAMERA_HELD_S)
        self._mute = 0  # openings in a row that brought no frame
        self._heard = False
        self._spoken = ""
        self._began_ns = 0
        self._epoch_ns = 0
        self._info_owed = False  # what the camera is has not found room in the ring yet
        self._fresh_ns: list[int] = []  # when each stream gave its newest frame
        self._patience_ns: list[int] = []  # how long each stream may be silent while others are not
        self._told_misfit = False

    def run(self) -> int:
        try:
            ended = self._live()
            if ended:
                self._end(ended)  # before the device is closed, which may hang
            return 0 if ended else 1
        finally:
            self._close_source()

    def _live(self) -> str:
        """Until the end, and why it came; "" where trying again cannot mend what is wrong."""
        while True:
            try:
                self._open()
                self._stream_frames()
            except _Stopped:
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
            except _Stopped:
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
            self._beat()
            self._obey()
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
                if failed >= _FAILURES_BEFORE_A_NEW_PROCESS and not any(x.pending for x in self._ledgers):
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
        self._info = info
        if [s.name for s in info.streams] != list(self._stream_of):
            self._stream_of = {s.name: i for i, s in enumerate(info.streams)}
            self._ledgers = [StreamLedger() for _ in info.streams]
        self._spoken = ""
        self._link.event("opened", camera=asdict(info))
        self._counters["state"] = READY
        while not self._going:
            self._beat()
            self._obey()
            if info.can_wait:
                time.sleep(0.01)
            else:
                self._read()  # a live camera goes on delivering; what comes before "go" is not ours
        self._new_epoch()
        self._counters["state"] = RUNNING
        self._began_ns = time.monotonic_ns()
        self._fresh_ns = [self._began_ns for _ in info.streams]
        self._heard = False
        if len(self._patience_ns) != len(info.streams):
            self._patience_ns = [self._first_patience_ns(stream) for stream in info.streams]

    def _refuse_large_frames(self, info: CameraInfo) -> None:
        arena_bytes = self._job.ring.arena_bytes
        for stream in info.streams:
            frame_bytes = stream.width * stream.height * _PIXEL_BYTES.get(stream.pixel_format, 0)
            if 2 * frame_bytes > arena_bytes:
                raise ConfigError(
                    f"camera {info.name}: a {stream.name} frame of {frame_bytes / 1e6:.1f} MB needs a queue"
                    f" of twice that, its share of queue_mb is {arena_bytes / 1e6:.1f} MB; raise queue_mb"
                )

    def _first_patience_ns(self, stream: StreamInfo) -> int:
        slow_s = 10.0 / stream.fps if stream.fps > 0 else 0.0
        return round(1e9 * max(2.0 * self._job.camera.stall_s, slow_s))

    def _new_epoch(self) -> None:
        """Numbers begin anew: tell those behind the ring, who reckon the outage from it."""
        self._counters.add("epoch")
        for ledger in self._ledgers:
            ledger.restart(self._counters["epoch"])
        self._info_owed, self._epoch_ns = True, time.monotonic_ns()
        self._push_info()

    def _push_info(self) -> bool:
        """Say what the camera is before anything else of this epoch; False where that finds no room."""
        assert self._info is not None
        if self._info_owed:
            body, epoch = json.dumps(asdict(self._info)).encode(), self._counters["epoch"]
            self._info_owed = not self._ring.push(
                body, kind=ring_kinds.INFO, epoch=epoch, monotonic_ns=self._epoch_ns
            )
        return not self._info_owed

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
            self._beat()
            self._obey()
            for frame in self._read():
                self._handle(frame)
            if not self._info.can_wait:
                self._look_for_silence()

    def _look_for_silence(self) -> None:
        """Raises CameraLostError for a camera that gives nothing, or one of its streams nothing.

        While other streams go on, opening the camera again costs them: it is done more and more seldom.
        """
        assert self._info is not None
        now_ns, name = time.monotonic_ns(), self._info.name
        silent_s = (now_ns - max(self._fresh_ns, default=now_ns)) / 1e9
        if silent_s > self._longest_silence_s:
            if not self._heard:
                self._counters.add("failures")
                self._mute += 1
            raise CameraLostError(f"camera {name}: no frame for {silent_s:.0f} s; opening it again")
        for stream, info in enumerate(self._info.streams):
            silent_ns = now_ns - self._fresh_ns[stream]
            if silent_ns > self._patience_ns[stream]:
                longest_ns = max(self._first_patience_ns(info), round(1e9 * _LONGEST_PATIENCE_S))
                self._patience_ns[stream] = min(2 * self._patience_ns[stream], longest_ns)
                raise CameraLostError(
                    f"camera {name}: no {info.name} for {silent_ns / 1e9:.0f} s while its other streams"
                    " go on; opening it again"
                )

    @property
    def _longest_silence_s(self) -> float:
        """Longer for a slow camera, and twice as long each time that opening it again brought nothing: a
        camera may need its time for the first picture."""
        assert self._info is not None
        fps = max((stream.fps for stream in self._info.streams), default=0.0)
        usual_s = max(self._job.camera.stall_s, _SILENT_FRAMES / fps if fps > 0 else 0.0)
        return usual_s if self._heard else usual_s * 2.0 ** min(self._mute, _LONGEST_MUTE)

    def _read(self) -> list[Frame]:
        assert self._source is not None
        return self._source.read(_READ_TIMEOUT_S)

    def _handle(self, frame: Frame) -> None:
        stream = self._stream_of[frame.stream]
        ledger = self._ledgers[stream]
        verdict = ledger.observe(frame.number, frame.monotonic_ns)
        if not verdict.is_new:
            self._counters.add(f"repeated{stream}")
            return
        self._note_fresh(stream)
        if verdict.restarted:
            self._new_epoch()
            ledger.observe(frame.number, frame.monotonic_ns)
        if verdict.gap is not None:
            self._counters.add(f"lost{stream}", verdict.gap.count)
        self._counters.add(f"captured{stream}")
        try:
            passed_on = self._pass_on(stream, frame)
        except _Stopped:
            self._counters.add(f"captured{stream}", -1)  # a source that can wait: it still has the frame
            raise
        if not passed_on:
            self._counters.add(f"dropped{stream}")
            ledger.dropped(frame.number, frame.monotonic_ns, RING_FULL)

    def _note_fresh(self, stream: int) -> None:
        assert self._info is not None
        now_ns = time.monotonic_ns()
        self._fresh_ns[stream] = now_ns
        if not self._heard:
            self._heard, self._mute = True, 0
            self._counters["failures"] = 0
        if now_ns - self._began_ns > HELD_S * 1e9:
            self._patience_ns[stream] = self._first_patience_ns(self._info.streams[stream])

    def _pass_on(self, stream: int, frame: Frame) -> bool:
        """The frame, and before it what is owed; False where there is no room."""
        try:
            while not self._push_info():
                if not self._wait_for_space():
                    return False
            if self._push_gaps(stream, frame):
                return self._push(stream, frame)
            self._show(stream, frame)
            return False
        except ValueError as error:  # no ring takes this frame
            if not self._told_misfit:
                self._told_misfit = True
                self._link.event("problem", message=f"camera {self._job.camera.name}: {error}")
            return False

    def _push(self, stream: int, frame: Frame) -> bool:
        while True:
            if self._ring.push(
                frame.data,
                stream=stream,
                clock=CLOCKS.index(frame.clock) if frame.clock in CLOCKS else 0,
                epoch=self._counters["epoch"],
                number=frame.number,
                device_time_s=frame.device_time_s,
                monotonic_ns=frame.monotonic_ns,
                meta=frame.meta,
            ):
                return True
            if not self._wait_for_space():
                self._show(stream, frame)
                return False

    def _show(self, stream: int, frame: Frame) -> None:
        """Refused by a full ring, the picture is still the newest there is for those who look on."""
        self._ring.show(
            frame.data,
            stream=stream,
            number=frame.number,
            epoch=self._counters["epoch"],
            monotonic_ns=frame.monotonic_ns,
            meta=frame.meta,
        )

    def _wait_for_space(self) -> bool:
        """For a source that can wait: until the writer has released something. False for a camera."""
        assert self._info is not None
        if not self._info.can_wait:
            return False
        self._beat()
        self._obey()
        fd = self._job.ring.space_fd
        if select.select([fd, self._link.control_fd], [], [], _READ_TIMEOUT_S)[0]:
            drain_event(fd)
        return True

    def _push_gaps(self, stream: int, frame: Frame) -> bool:
        """Write down what went missing before this frame; False where there is no room for both.

        With room for a gap alone, a full ring would fill up with gaps of a single frame each.
        """
        assert self._info is not None
        pending = self._ledgers[stream].pending
        while pending:
            gap = pending[0]
            body = json.dumps(gap.as_dict()).encode()
            has_room = self._info.can_wait or self._has_room(frame)
            if has_room and self._ring.push(body, kind=ring_kinds.GAP, stream=stream, epoch=gap.epoch):
                del pending[0]
            elif not self._wait_for_space():
                return False
        return True

    def _has_room(self, frame: Frame) -> bool:
        free_bytes = (1.0 - self._ring.fill) * self._job.ring.arena_bytes
        return free_bytes >= frame.data.nbytes + len(frame.meta) + _GAP_ROOM_BYTES

    def _end(self, reason: str) -> None:
        """Push what is still owed and the end, waiting for room; but not for ever for a stuck writer."""
        deadline_s = time.monotonic() + _END_WAIT_S
        owed = [(stream, gap) for stream, ledger in enumerate(self._ledgers) for gap in ledger.pending]
        told = self._wait_until_pushed(self._push_info, deadline_s) if self._info_owed else True
        for stream, gap in owed:
            told = told and self._push_late(ring_kinds.GAP, gap.as_dict(), stream, gap.epoch, deadline_s)
        if told:
            self._push_late(ring_kinds.END, {"reason": reason}, 0, self._counters["epoch"], deadline_s)
        self._beat()  # the writer takes this for the moment of the end where it did not get the record
        self._counters["state"] = DONE
        self._link.event("done", reason=reason)

    def _push_late(
        self, kind: int, value: dict[str, object], stream: int, epoch: int, deadline_s: float
    ) -> bool:
        body, now_ns = json.dumps(value).encode(), time.monotonic_ns()
        return self._wait_until_pushed(
            lambda: self._ring.push(body, kind=kind, stream=stream, epoch=epoch, monotonic_ns=now_ns),
            deadline_s,
        )

    def _wait_until_pushed(self, push: Callable[[], bool], deadline_s: float) -> bool:
        while not push():
            self._beat()
            if time.monotonic() > deadline_s:
                return False
            select.select([self._job.ring.space_fd], [], [], _READ_TIMEOUT_S)
            drain_event(self._job.ring.space_fd)
        return True

    # ---- being told, and being watched ----

    def _obey(self) -> None:
        for command in self._link.commands():
            if command in ("stop", "orphaned"):
                raise _Stopped
            if command == "go":
                self._going = True

    def _beat(self) -> None:
        self._counters["heartbeat_ns"] = time.monotonic_ns()

    def _pause(self, seconds: float) -> None:
        """Wait, but not for the supervisor."""
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            self._beat()
            self._obey()
            select.select([self._link.control_fd], [], [], min(_READ_TIMEOUT_S, seconds))
