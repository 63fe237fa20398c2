"""How much of the disk stays free. Pure decisions: no clock, no disk.

A number in the rig file is what it says. "auto" is a GiB, or what a minute of recording takes where that is
more, at the rate at which this recording writes: whoever has to make room for it then has that minute.
"""

from __future__ import annotations

from typing import Literal

ReserveMb = float | Literal["auto"]

_MB = 1 << 20
_LEAST_BYTES = 1 << 30
_SECONDS = 60
_RESUME_SHARE = 16  # recording goes on when a sixteenth of the reserve more than that is free
_AHEAD_S = 5.0


def reserve_bytes(reserve_mb: ReserveMb, rate: float = 0.0) -> int:
    """What stays free where `rate` bytes a second are written."""
    if reserve_mb == "auto":
        return max(_LEAST_BYTES, round(_SECONDS * rate))
    return round(reserve_mb * _MB)


class Reserve:
    """Told every second what is free and what was written; says what may be written still.

    bytes: the reserve now. usable_bytes: room above it, and 0 from the moment there is none until there is
    clearly some again. lacking_bytes: what would have to be deleted so that there is always room ahead.
    """

    def __init__(self, reserve_mb: ReserveMb) -> None:
        self._asked = reserve_mb
        self._rate = 0.0
        self._seconds = 0
        self._waits = False
        self.bytes = reserve_bytes(reserve_mb)
        self.usable_bytes = 0
        self.lacking_bytes = 0

    def note_rate(self, rate: float) -> None:
        """So many bytes were written in the last second. Not to be told while recording waits for room:
        what it will need when it goes on is what it needed before."""
        self._seconds = min(self._seconds + 1, _SECONDS)
        self._rate += (rate - self._rate) / self._seconds
        self.bytes = reserve_bytes(self._asked, self._rate)

    def look(self, free_bytes: int) -> None:
        """So much is free on the disk."""
        margin = self.bytes // _RESUME_SHARE
        above = free_bytes - self.bytes
        self._waits = above <= (margin if self._waits else 0)
        self.usable_bytes = 0 if self._waits else above
        self.lacking_bytes = max(0, margin + round(_AHEAD_S * self._rate) + 1 - above)
