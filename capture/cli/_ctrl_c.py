"""Ctrl-C while threads have frames in hand that nothing can take from them.

    with CtrlC(progress.say):
        ...                                             # the first raises KeyboardInterrupt, as ever

The first one says so where stopping takes a moment. The second ends the process at once, without a word to
anybody: only for work that leaves everything whole when it is killed. Where Ctrl-C is ignored, as in what a
shell started in the background, it stays ignored.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

INTERRUPTED = 130
_PATIENCE_S = 0.5


class CtrlC:
    """The handler of SIGINT while the block runs. Main thread only; elsewhere it does nothing."""

    def __init__(self, say: Callable[[str], None], *, at_once: str = "stopped at once") -> None:
        """`say` gets the line after the first, from another thread; `at_once` is told after the second."""
        self._say, self._at_once = say, at_once
        self._count = 0
        self._timer = threading.Timer(_PATIENCE_S, self._tell)
        self._timer.daemon = True
        self._before: signal.Handlers | Callable[..., object] | int | None = None

    def _tell(self) -> None:
        self._say("stopping after the frames in hand; Ctrl-C again stops at once")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count == 1:
            self._timer.start()
            raise KeyboardInterrupt
        # Whatever we have interrupted may be in the middle of a print: past Python's own buffers.
        new_line = "\n" if sys.stderr.isatty() else ""
        os.write(2, f"{new_line}nightrig: {self._at_once}\n".encode())
        os._exit(INTERRUPTED)

    def __enter__(self) -> CtrlC:
        is_ours = threading.current_thread() is threading.main_thread()
        if is_ours and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
