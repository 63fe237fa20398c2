"""A progress bar on stderr, where that is a terminal; otherwise nothing at all.

    with Progress("verify", total_bytes, unit="B") as progress:
        progress(n)                                     # n more are done

Draws at most a few times a second and wipes itself at the end: stdout and stderr stay clean for pipes.
"""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

_EVERY_S = 0.1
_BAR, _SHORTEST_BAR = 24, 6
_PREFIXES = ("", "k", "M", "G", "T")


class Progress:
    """One bar. `unit` "B" counts bytes; anything else is a name for what is counted.

    Where one of these takes several `steps`, amounts and the total are counted in steps. `note` is a word
    more at the end of the line.
    """

    def __init__(
        self, label: str, total: int, *, unit: str, steps: int = 1, stream: TextIO | None = None
    ) -> None:
        self._label, self._total, self._unit, self._steps = label, total, unit, steps
        self.note = ""
        self._stream = sys.stderr if stream is None else stream
        self._shown = self._stream.isatty()
        self._done = 0
        self._began_s = self._drawn_s = time.monotonic()
        self._width = 0

    def __call__(self, amount: int = 1) -> None:
        """So much more is done."""
        self._done += amount
        if self._shown and time.monotonic() - self._drawn_s >= _EVERY_S:
            self._draw()

    def _draw(self) -> None:
        self._drawn_s = time.monotonic()
        share = min(1.0, self._done / self._total) if self._total > 0 else 1.0
        numbers = f"{100 * share:3.0f} %  {self._counts()}"
        columns = shutil.get_terminal_size().columns - 1
        # Numbers tell more than the bar does: it takes what they leave.
        bar = max(_SHORTEST_BAR, min(_BAR, columns - len(f"{self._label} [] {numbers}")))
        full = round(bar * share)
        line = f"{self._label} [{'#' * full}{'.' * (bar - full)}] {numbers}"[:columns]
        print("\r" + line.ljust(self._width), end="", file=self._stream, flush=True)
        self._width = len(line)

    def _counts(self) -> str:
        elapsed_s = self._drawn_s - self._began_s
        rate = self._done / elapsed_s if elapsed_s > 0 else 0.0
        left = f"  {clock((self._total - self._done) / rate)} left" if 0 < self._done < self._total else ""
        if self._unit == "B":
            return f"{size(self._done)} of {size(self._total)}, {size(rate)}/s{left}"
        done, total = self._done // self._steps, self._total // self._steps
        note = f"  {self.note}" if self.note else ""
        rate /= self._steps
        per_second = f"{rate:.0f}" if rate >= 10 else f"{rate:.2f}"
        return f"{done} of {total} {self._unit}, {per_second}/s{left}{note}"

    def close(self) -> None:
        """Wipe the bar."""
        if self._width:
            print("\r" + " " * self._width + "\r", end="", file=self._stream, flush=True)
            self._width = 0

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
