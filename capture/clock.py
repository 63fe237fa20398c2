"""The clocks of this machine: is the one on the wall right, and one that nobody can set.

A Raspberry Pi 4 has no clock that runs without power: it wakes up in the past and learns the time from the
network, some seconds or some minutes later. The kernel knows whether that has happened.
"""

from __future__ import annotations

import ctypes
import time
from pathlib import Path

_TIME_ERROR = 5  # what adjtimex(2) returns while nothing disciplines the clock
_TIMEX_BYTES = 512  # more than struct timex has anywhere; all zeros ask for the state and change nothing
_SYNCHRONISED_ONCE = Path("/run/systemd/timesync/synchronized")


def is_synchronised() -> bool:
    """Whether something (NTP, PTP, a radio) keeps the wall clock right, or systemd-timesyncd has set it since
    the machine was started. False, too, where that cannot be known."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        state = -1
    return 0 <= state < _TIME_ERROR or _SYNCHRONISED_ONCE.exists()


def steady_s() -> float:
    """Seconds of a clock that nobody can set, and that counts the time a machine was suspended, too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
