"""`nightrig record` before it records: waits for a clock that is right, then for the hour.

Ctrl-C or SIGTERM ends the waiting at once: nothing has begun yet that would have to be finished. A service
manager is told that we wait and live.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

from capture.cli._progress import clock
from capture.closing import Clocks
from capture.schedule import Hours
from capture.sd_notify import Notifier

_TICK_S = 1.0
_START_PATIENCE_S = 60.0  # what a start that waits for the clock asks of systemd, again with every tick


class EndingSignals:
    """While `with` lasts, Ctrl-C and SIGTERM end a wait and nothing else. Main thread only."""

    def __init__(self) -> None:
        self.come = False

    def __enter__(self) -> EndingSignals:
        # The pipe, since any thread may get the signal, which interrupts no wait but that one's own.
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._pipe_before = signal.set_wakeup_fd(self._write_fd)
        self._before = {n: signal.signal(n, self._note) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._pipe_before)
        os.close(self._read_fd)
        os.close(self._write_fd)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.come = True

    def wait(self, timeout_s: float) -> bool:
        """True at once where one has come, else after that time."""
        if not self.come and select.select([self._read_fd], [], [], timeout_s)[0]:
            os.read(self._read_fd, 512)
        return self.come


@dataclass(slots=True)
class Waiting:
    """Both waits. wait: takes a while, and is true where we are told to end; told: it was."""

    notifier: Notifier
    say: Callable[[str], None]
    show: Callable[[str], None]
    wait: Callable[[float], bool]
    clocks: Clocks = field(default_factory=Clocks)
    told: bool = False

    def for_the_clock(self, limit_s: float) -> None:
        """Until the kernel calls the wall clock right, but not longer than `limit_s`."""
        began_s = self.clocks.steady_s()
        while not self.told and not self.clocks.is_synchronised():
            left_s = limit_s - (self.clocks.steady_s() - began_s)
            if left_s <= 0:
                self.say(
                    f"the clock is not synchronised after {limit_s:.0f} s; going on with the time it has"
                )
                return
            self.notifier.extend_timeout(_START_PATIENCE_S)
            self._show(f"waiting for the clock to be synchronised, at most {clock(left_s)} more")
            self._tick(left_s)

    def for_the_hour(self, hours: Hours) -> None:
        """Until the hours begin. The wall clock is asked again and again: one that is set right while we
        wait is believed."""
        waited = False
        while not self.told:
            now_s = self.clocks.wall_s()
            opens_s = hours.opens_s(now_s)
            if opens_s <= now_s:
                return
            if not waited:
                waited = True
                # A start that lasts until the evening would hold up the machine's own.
                self.notifier.ready()
                at = time.strftime("%a %H:%M:%S", time.localtime(opens_s))
                self.say(f"recording begins at {at}; Ctrl-C ends the waiting")
            self.notifier.ping()
            self._show(f"recording begins in {clock(opens_s - now_s)}")
            self._tick(opens_s - now_s)

    def _show(self, line: str) -> None:
        self.show(line)
        self.notifier.status(line)

    def _tick(self, left_s: float) -> None:
        longest_s = min(_TICK_S, (self.notifier.watchdog_s or 60.0) / 4)
        self.told = self.wait(min(left_s, longest_s))
