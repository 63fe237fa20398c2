"""Switches by which a campaign makes a test camera misbehave while it runs: a few bytes of a shared file.

The campaign writes, the camera process looks before each step. A file, since a camera that is killed and
started again has to find the switches as they were left.
"""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path
from typing import NoReturn

NAMES = ("absent", "hang_open", "hang_read", "hang_close", "silent", "stale", "skip", "stuck", "hang_reset")
"""absent: the device is gone (reads and opens fail). hang_*: that call never returns. silent: reads time
out. stale: the same frame again and again. These two end when the camera is opened again where they are 2,
not 1. skip: how many frame numbers the next read leaves out; the camera sets it back to 0. stuck: a RealSense
that cannot be started."""


HANGS_NOW = 2
"""What a hang_* switch becomes when the call has begun to hang."""


class Faults:
    """The switches of one camera; 0 is off."""

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.ftruncate(fd, len(NAMES))
            self._bytes = mmap.mmap(fd, len(NAMES))
        finally:
            os.close(fd)

    def __getitem__(self, name: str) -> int:
        return self._bytes[NAMES.index(name)]

    def __setitem__(self, name: str, value: int) -> None:
        self._bytes[NAMES.index(name)] = value

    def obey(self, switch: str) -> None:
        """Hang, as a broken driver does, where that switch is on."""
        if self[switch]:
            self[switch] = HANGS_NOW
            self._hang()

    @staticmethod
    def _hang() -> NoReturn:
        while True:
            time.sleep(3600.0)

    def close(self) -> None:
        self._bytes.close()
