"""What a child says on stderr, passed on to ours within bounds.

A driver that complains about every frame would fill a log file in a night. Of each name a burst is passed on,
then so much a second; what is held back is counted, and said. The budget belongs to the name, since a process
that dies every minute must not begin with a full one each time.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

_BURST_BYTES = 64 * 1024
_BYTES_PER_S = 32.0  # a megabyte in nine hours
_WORTH_A_WORD_BYTES = 4096.0
_STDERR = 2


@dataclass(slots=True)
class Voice:
    """One name's budget."""

    name: str
    _left_bytes: float = float(_BURST_BYTES)
    _filled_s: float = field(default_factory=time.monotonic)
    _held_back_bytes: int = 0

    def pass_on(self, said: bytes) -> None:
        """Pass on what there is room for."""
        if said := self.within_bounds(said, time.monotonic()):
            os.write(_STDERR, said)

    def within_bounds(self, said: bytes, now_s: float) -> bytes:
        """As much of it as may be passed on, after a word about what was not."""
        filled = self._left_bytes + (now_s - self._filled_s) * _BYTES_PER_S
        self._left_bytes, self._filled_s = min(float(_BURST_BYTES), filled), now_s
        word = b""
        if self._held_back_bytes:
            if self._left_bytes < _WORTH_A_WORD_BYTES:  # not a few bytes at a time
                self._held_back_bytes += len(said)
                return b""
            word = f"\n[{self.name} said {self._held_back_bytes} bytes more]\n".encode()
            self._held_back_bytes = 0
        passed = said[: int(self._left_bytes)]
        self._left_bytes -= len(passed)
        self._held_back_bytes += len(said) - len(passed)
        return word + passed


_voices: dict[str, Voice] = {}


def voice_of(name: str) -> Voice:
    """The budget of all processes with that name."""
    return _voices.setdefault(name, Voice(name))
