"""The way of frames into the ring, and the account of those that do not get there.

Owns the ledgers of a camera's streams in its process: what the device skipped and what the ring refused is
told before the next frame that finds room. A source that can wait (a file) is slowed down by a full ring; a
camera is not, its frame is dropped and accounted for.
"""

from __future__ import annotations

import json
import select
import time
from collections.abc import Callable
from dataclasses import asdict

from capture import ring as ring_kinds
from capture.counters import CounterPage
from capture.frames import CameraInfo, Frame
from capture.ledger import RING_FULL, StreamLedger
from capture.ring import FrameRing, drain_event
from capture.spawn import Link
from codec.records.layout import CLOCKS

_WAIT_S = 0.2
_END_WAIT_S = 3.0  # below the supervisor's patience, so that a stuck writer does not get us killed
_GAP_ROOM_BYTES = 4096  # what gap records before a frame may take in the ring


class StoppedError(Exception):
    """The supervisor wants us to end."""


class Outlet:
    """The producer's end of one ring.

    `beat` shows life; `turn`, called while a source waits for room, does that and obeys commands: it raises
    StoppedError where the waiting is to end.
    """

    def __init__(
        self,
        name: str,
        ring: FrameRing,
        counters: CounterPage,
        link: Link,
        *,
        beat: Callable[[], None],
        turn: Callable[[], None],
    ) -> None:
        self._name, self._ring, self._counters, self._link = name, ring, counters, link
        self._beat, self._turn = beat, turn
        self._info: CameraInfo | None = None
        self._ledgers: list[StreamLedger] = []
        self._stream_of: dict[str, int] = {}
        self._epoch_ns = 0
        self._info_owed = False  # what the camera is has not found room in the ring yet
        self._told_misfit = False

    @property
    def owes(self) -> bool:
        """Whether there is something to tell that only this process knows."""
        return any(ledger.pending for ledger in self._ledgers)

    def describe(self, info: CameraInfo) -> None:
        """The camera has been opened (again), and is this."""
        self._info = info
        if [s.name for s in info.streams] != list(self._stream_of):
            self._stream_of = {s.name: i for i, s in enumerate(info.streams)}
            self._ledgers = [StreamLedger() for _ in info.streams]

    def new_epoch(self) -> None:
        """Numbers begin anew: tell those behind the ring, who reckon the outage from it."""
        self._counters.add("epoch")
        for ledger in self._ledgers:
            ledger.restart(self._counters["epoch"])
        self._info_owed, self._epoch_ns = True, time.monotonic_ns()
        self._push_info()

    # ---- frames ----

    def take(self, frame: Frame) -> int | None:
        """Pass a frame on, or keep account of it; its stream, or None for a frame that was there before."""
        stream = self._stream_of[frame.stream]
        ledger = self._ledgers[stream]
        verdict = ledger.observe(frame.number, frame.monotonic_ns)
        if not verdict.is_new:
            self._counters.add(f"repeated{stream}")
            return None
        if verdict.restarted:
            self.new_epoch()
            ledger.observe(frame.number, frame.monotonic_ns)
        if verdict.gap is not None:
            self._counters.add(f"lost{stream}", verdict.gap.count)
        self._counters.add(f"captured{stream}")
        try:
            passed_on = self._pass_on(stream, frame)
        except StoppedError:
            self._counters.add(f"captured{stream}", -1)  # a source that can wait: it still has the frame
            raise
        if not passed_on:
            self._counters.add(f"dropped{stream}")
            ledger.dropped(frame.number, frame.monotonic_ns, RING_FULL)
        return stream

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
                self._link.event("problem", message=f"camera {self._name}: {error}")
            return False

    def _push_info(self) -> bool:
        """Say what the camera is before anything else of this epoch; False where that finds no room."""
        assert self._info is not None
        if self._info_owed:
            body, epoch = json.dumps(asdict(self._info)).encode(), self._counters["epoch"]
            self._info_owed = not self._ring.push(
                body, kind=ring_kinds.INFO, epoch=epoch, monotonic_ns=self._epoch_ns
            )
        return not self._info_owed

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
        self._turn()
        fd = self._ring.spec.space_fd
        if select.select([fd, self._link.control_fd], [], [], _WAIT_S)[0]:
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
        free_bytes = (1.0 - self._ring.fill) * self._ring.spec.arena_bytes
        return free_bytes >= frame.data.nbytes + len(frame.meta) + _GAP_ROOM_BYTES

    # ---- the end ----

    def end(self, reason: str) -> None:
        """Push what is still owed and the end, waiting for room; but not for ever for a stuck writer."""
        deadline_s = time.monotonic() + _END_WAIT_S
        owed = [(stream, gap) for stream, ledger in enumerate(self._ledgers) for gap in ledger.pending]
        told = self._wait_until_pushed(self._push_info, deadline_s) if self._info_owed else True
        for stream, gap in owed:
            told = told and self._push_late(ring_kinds.GAP, gap.as_dict(), stream, gap.epoch, deadline_s)
        if told:
            self._push_late(ring_kinds.END, {"reason": reason}, 0, self._counters["epoch"], deadline_s)

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
            select.select([self._ring.spec.space_fd], [], [], _WAIT_S)
            drain_event(self._ring.spec.space_fd)
        return True
