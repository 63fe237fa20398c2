"""How long to wait before something that failed is tried again. Never gives up, only slows down."""

from __future__ import annotations

from dataclasses import dataclass

HELD_S = 60.0
"""What has run this long failed anew, not again."""

_MAX_DOUBLINGS = 32


@dataclass(slots=True)
class Backoff:
    """Twice as long after each failure, up to `max_s`; from the beginning after something that held."""

    first_s: float
    max_s: float
    _failures: int = 0

    def after(self, lived_s: float) -> float:
        """Seconds to wait now that it has failed after it had run for `lived_s`."""
        if lived_s >= HELD_S:
            self._failures = 0
        delay_s = min(self.max_s, self.first_s * 2.0**self._failures)
        self._failures = min(self._failures + 1, _MAX_DOUBLINGS)
        return delay_s
