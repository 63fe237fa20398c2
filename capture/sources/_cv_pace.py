"""When a picture of a recording is due: absolute deadlines, so that a long run does not drift.

Knows time stamps only. The first one is due at once; each other one as much later as its stamp is. A
reader that falls behind gets the overdue pictures at once until it has caught up.
"""

from __future__ import annotations

import math
import time

from codec.errors import ConfigError

PACES = ("realtime", "fast")


class Pacer:
    """Holds pictures back until they are due, or, with pace "fast", not at all."""

    def __init__(self, pace: str) -> None:
        if pace not in PACES:
            raise ConfigError(f"pace {pace!r}: it is one of {', '.join(PACES)}")
        self._waits = pace == "realtime"
        self._start_s = math.nan

    def wait(self, stamp_s: float, timeout_s: float) -> bool:
        """Sleep until the picture with this stamp is due; False if that is after the timeout."""
        if not self._waits:
            return True
        now_s = time.monotonic()
        if math.isnan(self._start_s):
            self._start_s = now_s - stamp_s
        left_s = self._start_s + stamp_s - now_s
        if left_s > timeout_s:
            time.sleep(max(0.0, timeout_s))
            return False
        if left_s > 0:
            time.sleep(left_s)
        return True
