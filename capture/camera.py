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
from dataclasses import asdict, dataclass, replace

from capture import ring as ring_kinds
from capture.counters import CounterPage
from capture.frames import CameraInfo, Frame
from capture.ledger import RING_FULL, StreamLedger
from capture.ring import FrameRing, RingSpec, drain_event
from capture.sources import Source, make_source
from capture.spawn import Link
from capture.specs import CameraSpec
from codec.errors import (
    CameraError,
    CameraLostError,
    CameraProfileError,
    ConfigError,
    MissingExtraError,
    SourceEndedError,
)
from codec.records.layout import CLOCKS

MAX_STREAMS = 8
OPENING, READY, RUNNING, AWAY, DONE = range(5)
_READ_TIMEOUT_S = 0.2
_FIRST_RETRY_S = 0.5
_END_WAIT_S = 3.0  # below the supervisor's patience, so that a stuck writer does not get us killed

COUNTERS = (
    "state",
    "heartbeat_ns",
    "epoch",
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
        self._spoken = ""
        self._last_frame_ns = 0

    def run(self) -> int:
        ended = "stopped"
        try:
            while True:
                self._open()
                try:
                    self._stream_frames()
                except SourceEndedError:
                    ended = "ended"
                    break
                except CameraError as error:
                    self._away(str(error))
                    if self._info is not None and self._info.can_wait:
                        ended = "failed"  # a file that is broken from here on: playing it again mends nothing
                        break
        except _Stopped:
            pass
        except (CameraProfileError, ConfigError, MissingExtraError) as error:
            # Trying again cannot mend these; the user is told at once.
            self._link.event("error", message=str(error), type=type(error).__name__)
            return 1
        finally:
            self._close_source()
        self._end(ended)
        return 0

    # ---- opening, and the time without a camera ----

    def _open(self) -> None:
        retry_s = _FIRST_RETRY_S
        while True:
            self._counters["state"] = OPENING
            self._beat()
            self._obey()
            try:
                self._source = make_source(self._job.camera)
                info = self._source.open()
                break
            except (CameraError, ConfigError) as error:
                # Before the first frame the user can mend a wrong profile; a camera that comes back with
                # another one (on a slow port, say) may yet come back right.
                if self._info is None and isinstance(error, CameraProfileError | ConfigError):
                    raise
                self._away(str(error))
                self._pause(retry_s)
                retry_s = min(2 * retry_s, self._job.camera.restart_max_s)
        self._begin(info)

    def _begin(self, info: CameraInfo) -> None:
        if len(info.streams) > MAX_STREAMS:
            raise ConfigError(
                f"camera {info.name} has {len(info.streams)} streams; {MAX_STREAMS} is the limit"
            )
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
        self._last_frame_ns = time.monotonic_ns()

    def _new_epoch(self) -> None:
        """Numbers begin anew: tell those behind the ring, who reckon the outage from it."""
        assert self._info is not None
        self._counters.add("epoch")
        for ledger in self._ledgers:
            ledger.restart(self._counters["epoch"])
        self._push_control(ring_kinds.INFO, asdict(self._info))

    def _away(self, why: str) -> None:
        self._counters["state"] = AWAY
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
        stall_ns = int(self._job.camera.stall_s * 1e9)
        while True:
            self._beat()
            self._obey()
            for frame in self._read():
                self._handle(frame)
            silent_ns = time.monotonic_ns() - self._last_frame_ns
            if silent_ns > stall_ns and not self._info.can_wait:
                raise CameraLostError(
                    f"camera {self._info.name}: no frame for {silent_ns / 1e9:.0f} s; opening it again"
                )

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
        self._last_frame_ns = time.monotonic_ns()
        if verdict.restarted:
            self._new_epoch()
            ledger.observe(frame.number, frame.monotonic_ns)
        if verdict.gap is not None:
            self._counters.add(f"lost{stream}", verdict.gap.count)
        self._counters.add(f"captured{stream}")
        if not (self._push_gaps(stream) and self._push(stream, frame)):
            self._counters.add(f"dropped{stream}")
            ledger.dropped(frame.number, frame.monotonic_ns, RING_FULL)

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
                return False

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

    def _push_gaps(self, stream: int) -> bool:
        """Write down what went missing before this frame; False where even that finds no room."""
        pending = self._ledgers[stream].pending
        while pending:
            gap = pending[0]
            body = json.dumps(gap.as_dict()).encode()
            if self._ring.push(body, kind=ring_kinds.GAP, stream=stream, epoch=gap.epoch):
                del pending[0]
            elif not self._wait_for_space():
                return False
        return True

    def _push_control(self, kind: int, value: dict[str, object]) -> None:
        """Push what must not be lost, waiting for room."""
        self._push_patiently(kind, value, stream=0, epoch=self._counters["epoch"])

    def _push_patiently(self, kind: int, value: dict[str, object], *, stream: int, epoch: int) -> bool:
        """Wait for room, but not for ever for a writer that is stuck: False then."""
        body, now_ns = json.dumps(value).encode(), time.monotonic_ns()
        deadline_s = time.monotonic() + _END_WAIT_S
        while not self._ring.push(body, kind=kind, stream=stream, epoch=epoch, monotonic_ns=now_ns):
            self._beat()
            if time.monotonic() > deadline_s:
                return False
            select.select([self._job.ring.space_fd], [], [], _READ_TIMEOUT_S)
            drain_event(self._job.ring.space_fd)
        return True

    def _end(self, reason: str) -> None:
        gaps = [(stream, gap) for stream, ledger in enumerate(self._ledgers) for gap in ledger.pending]
        for stream, gap in gaps:
            if not self._push_patiently(ring_kinds.GAP, gap.as_dict(), stream=stream, epoch=gap.epoch):
                break
        else:
            self._push_control(ring_kinds.END, {"reason": reason})
        self._counters["state"] = DONE
        self._link.event("done", reason=reason)

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
