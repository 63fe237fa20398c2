"""How long to wait before something that failed is tried again. Never gives up, only slows down."""

from __future__ import annotations

from dataclasses import dataclass, field

HELD_S = 60.0
"""What has run this long failed anew, not again."""

CAMERA_HELD_S = 10.0
"""The same for a camera. Shorter, since reopening one costs little and every second without it is lost; one
that fails every ten seconds all night is still opened a few thousand times only."""

_MAX_DOUBLINGS = 32


@dataclass(slots=True)
class Backoff:
    """At once after something that held for `held_s`; then `first_s`, twice as long each time, to `max_s`."""

    first_s: float
    max_s: float
    held_s: float = HELD_S
    _failures: int = 0

    def after(self, lived_s: float) -> float:
        """Seconds to wait now that it has failed after it had run for `lived_s`."""
        if lived_s >= self.held_s:
            self._failures = 0
            return 0.0
        delay_s = min(self.max_s, self.first_s * 2.0**self._failures)
        self._failures = min(self._failures + 1, _MAX_DOUBLINGS)
        return delay_s

    def forget(self) -> None:
        """Something has been done about it: begin anew."""
        self._failures = 0


@dataclass(slots=True)
class Lookout:
    """How long to wait between two looks for something that is not there: from the beginning of one look to
    that of the next, so that a look that takes its time (a host that is off answers nothing) adds nothing to
    it. It is to be found soon after it is back, however long it was away."""

    first_s: float
    max_s: float
    _pace: Backoff = field(init=False)

    def __post_init__(self) -> None:
        self._pace = Backoff(self.first_s, self.max_s)

    def after(self, look_s: float) -> float:
        """Seconds to wait after a look that took so long."""
        return max(0.0, self._pace.after(0.0) - look_s)
