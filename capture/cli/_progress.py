"""How far a long piece of work is, on stderr: a bar on a terminal, elsewhere a plain line every ten seconds.

    with Progress("verify", total_bytes, unit="B") as progress:
        progress(n)                                     # n more are done
        progress.say("something worth a line")

The bar is drawn at once, then a few times a second, by a thread of its own where nothing gets done: its
clock goes on while a single frame takes minutes. It wipes itself at the end, and nothing is printed after
close(). Any thread may call. A terminal that is gone is no reason to stop the work.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from codec.one_line import one_line

_EVERY_S = 0.1
_REDRAWN_S = 0.5
_PLAIN_EVERY_S = 10.0
_BAR, _SHORTEST_BAR = 24, 6
_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"))
_PREFIXES = ("", "k", "M", "G", "T")


class Progress:
    """One bar. `unit` "B" counts bytes; anything else is a name for what is counted.

    Where one of these takes several `steps`, amounts and the total are counted in steps. `note` is a word
    more at the end of the line. `left_s` says how many seconds are left, for work that is not even; None
    from it is "not known yet", and the time spent is shown instead.
    """

    def __init__(
        self,
        label: str,
        total: int,
        *,
        unit: str,
        steps: int = 1,
        left_s: Callable[[], float | None] | None = None,
        stream: TextIO | None = None,
    ) -> None:
        self._label, self._total, self._unit, self._steps = label, total, unit, steps
        self.note = self._stage = ""
        self._left_s = left_s or self._left_at_this_rate
        self._stream = sys.stderr if stream is None else stream
        self._shown = self._stream.isatty()
        self._done = 0
        self._began_s = self._drawn_s = time.monotonic()
        self._width = 0
        self._lock = threading.Lock()
        self._closed = threading.Event()
        if self._shown:
            self._draw()
        # A daemon, for whoever forgets to close; close() waits for it, so that it never writes at exit.
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)
        self._ticker.start()

    def __call__(self, amount: int = 1) -> None:
        """So much more is done."""
        with self._lock:
            self._done += amount
            if self._shown and time.monotonic() - self._drawn_s >= _EVERY_S and not self._closed.is_set():
                self._draw()

    def stage(self, what: str) -> None:
        """What is being done that nothing counts, instead of a time left that only grows; "" for none."""
        with self._lock:
            self._stage = what
            if self._shown and not self._closed.is_set():
                self._draw()

    def say(self, line: str) -> None:
        """A line that stays, above the bar; nothing once it is closed."""
        with self._lock:
            if not self._closed.is_set():
                self._wipe()
                self._print(f"{one_line(line)}\n")
                if self._shown:
                    self._draw()

    def _tick(self) -> None:
        while not self._closed.wait(_REDRAWN_S if self._shown else _PLAIN_EVERY_S):
            with self._lock:
                if self._closed.is_set():
                    return
                if self._shown:
                    self._draw()
                else:
                    self._drawn_s = time.monotonic()
                    self._print(f"{self._label}: {self._numbers().lstrip()}\n")

    def _draw(self) -> None:
        self._drawn_s = time.monotonic()
        numbers = self._numbers()
        columns = shutil.get_terminal_size().columns - 1
        # Numbers tell more than the bar does: it takes what they leave.
        bar = min(_BAR, columns - len(f"{self._label} [] {numbers}"))
        full = round(bar * self._share)
        drawn = f" [{'#' * full}{'.' * (bar - full)}]" if bar >= _SHORTEST_BAR else ""
        line = f"{self._label}{drawn} {numbers}"[:columns]
        self._print("\r" + line.ljust(self._width))
        self._width = len(line)

    @property
    def _share(self) -> float:
        return min(1.0, self._done / self._total) if self._total > 0 else 1.0

    def _numbers(self) -> str:
        return f"{100 * self._share:3.0f} %  {self._counts()}"

    def _counts(self) -> str:
        elapsed_s = self._drawn_s - self._began_s
        rate = self._done / elapsed_s if elapsed_s > 0 else 0.0
        left_s = self._left_s() if self._done < self._total and not self._stage else None
        time_told = f"{clock(elapsed_s)} so far" if left_s is None else f"{clock(left_s)} left"
        time_told += f", {self._stage}" if self._stage else ""
        if self._unit == "B":
            return f"{size(self._done)} of {size(self._total)}, {size(rate)}/s  {time_told}"
        done, total = self._done // self._steps, self._total // self._steps
        note = f"  {self.note}" if self.note else ""
        rate /= self._steps
        per_second = f"{rate:.0f}" if rate >= 10 else f"{rate:.2f}"
        return f"{done} of {total} {self._unit}, {per_second}/s  {time_told}{note}"

    def _left_at_this_rate(self) -> float | None:
        elapsed_s = self._drawn_s - self._began_s
        return (self._total - self._done) * elapsed_s / self._done if self._done else None

    def _wipe(self) -> None:
        if self._width:
            self._print("\r" + " " * self._width + "\r")
            self._width = 0

    def _print(self, text: str) -> None:
        with contextlib.suppress(OSError):
            print(text, end="", file=self._stream, flush=True)

    def close(self) -> None:
        """Wipe the bar. Safe to call twice."""
        with self._lock:
            self._closed.set()
            self._wipe()
        self._ticker.join()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def size(amount: float) -> str:
    """Bytes for people: 1.23 GB."""
    for prefix in _PREFIXES[:-1]:
        if abs(amount) < 999.5:
            return f"{amount:.0f} B" if not prefix else f"{amount:.3g} {prefix}B"
        amount /= 1000
    return f"{amount:.3g} {_PREFIXES[-1]}B"


def clock(seconds: float) -> str:
    """1:02:03."""
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def duration(seconds: float) -> str:
    """For an estimate: "40 seconds", "3 days"."""
    unit_s, word = next((each for each in _UNITS if seconds >= 2 * each[0]), (1, "second"))
    count = max(1, round(seconds / unit_s))
    return f"{count} {word}" + ("" if count == 1 else "s")
