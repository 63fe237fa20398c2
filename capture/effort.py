"""The effort ladder: which depth codec the writer uses now. Pure decisions, no clocks, no files.

Short of CPU it steps to a cheaper codec, short of disk to a denser one, and it goes to uncompressed only
while the disk is fast enough and has an hour of room (ten minutes where the rig asks for it). A disk that
refuses is short, however idle it looks; a queue that shrinks is short of nothing. Until there is depth no
step would help. No step loses a bit: `near` or `max`, where the rig asked for it, is left for the steps when
the CPU is short, and none but that rig ever comes to it. With time to spare it returns, step by step, to the
codec that was asked for; a return that does not hold makes it wait twice as long for the next, and so does
going to and fro for want of both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

# From dense and dear to large and cheap. `lz4` is not among them: it is larger than lattice-lz4 and takes
# more CPU as well (2.7 ns a pixel against 2.0), so nobody is helped by going there.
_STEPS = ("lattice-rans", "lattice-lz4", "raw")
_NATIVE = "lattice-rans"
"""Without its kernel a frame takes a tenth of a second or more: no step for a recording."""

_TIGHT_FILL = 0.25  # the queue fills: something is short
_EASY_FILL = 0.05
_EASY_SECONDS = 5  # how long it must stay easy before a step back
_EASY_MAX_SECONDS = 320
_HOLD_FACTOR = 4  # a return has held if it took this many times as long until the next want
_SETTLE_SECONDS = 2  # how long a step is given to show its effect
_SETTLE_MAX_SECONDS = 64
_RAW_DISK_MARGIN = 1.5
_RAW_ROOM_S = 3600.0
_RAW_ROOM_ASKED_S = 600.0


@dataclass(frozen=True, slots=True)
class Load:
    """What the writer saw in the last second.

    fill: fullest ring, 0 to 1. encode_busy: share of the compressing threads' time in use. disk_busy: share
    of the second spent waiting for the disk. disk_rate: bytes a second the disk takes when it is written
    to, 0 before the first of them; raw_rate: bytes a second the depth would be uncompressed; free_bytes:
    room above the reserve. refused: the disk took nothing for a while, and nothing says yet that it is over.
    """

    fill: float
    encode_busy: float
    disk_busy: float
    disk_rate: float
    raw_rate: float
    free_bytes: int
    refused: bool = False


def ladder_for(wanted: str, *, kernels: bool) -> tuple[str, ...]:
    """The steps for a rig that asks for this codec, from dense and dear to large and cheap.

    `kernels`: lattice-rans is native here. `lz4` has its place by size; a codec that is no step of its own
    stands above all others.
    """
    steps = tuple(step for step in _STEPS if kernels or step != _NATIVE)
    if wanted in steps:
        return steps
    return (*steps[:-1], wanted, steps[-1]) if wanted == "lz4" else (wanted, *steps)


class EffortLadder:
    """Call step() once a second; `codec` is the one to use until the next call."""

    def __init__(self, wanted: str, *, kernels: bool) -> None:
        """`wanted` is the codec of the rig file; `kernels` as in ladder_for()."""
        self.wanted = wanted
        self.codec = wanted
        self._ladder = ladder_for(wanted, kernels=kernels)
        # A codec that stands above the steps is returned to when it is easy, and never for want of disk.
        self._densest = self._ladder.index(_NATIVE if kernels else _STEPS[1])
        self._settle = self._easy = self._held = 0
        self._easy_seconds, self._settle_seconds = _EASY_SECONDS, _SETTLE_SECONDS
        self._last_want = ""
        self._last_fill = 0.0
        self._sees_depth = False

    def step(self, load: Load) -> str | None:
        """The reason for a change ("cpu", "disk", "room", "easy"), or None where the codec stays."""
        self._settle = max(0, self._settle - 1)
        self._easy = self._easy + 1 if load.fill < _EASY_FILL else 0
        self._held += 1
        self._sees_depth = self._sees_depth or load.raw_rate > 0
        tight = self._sees_depth and load.fill > _TIGHT_FILL and load.fill >= self._last_fill
        self._last_fill = load.fill
        place = self._ladder.index(self.codec)
        if tight and not self._settle:
            if load.refused or load.disk_busy > load.encode_busy:
                return self._give_way(place - 1, "disk") if place > self._densest else None
            if place + 1 < len(self._ladder) and self._may_use(self._ladder[place + 1], load):
                return self._give_way(place + 1, "cpu")
        if self.codec == "raw":
            # A disk that has shown nothing yet is none to go to raw for, but neither is it short.
            seen = load if load.disk_rate else replace(load, disk_rate=math.inf)
            if want := self._what_raw_lacks(seen):
                return self._give_way(place - 1, want)
        if self._easy >= self._easy_seconds:
            return self._return(place, load)
        return None

    def _give_way(self, place: int, want: str) -> str:
        """To what the want asks for; soon after a return or after the other want, with longer patience."""
        if self._last_want == "easy":
            soon = self._held < _HOLD_FACTOR * self._easy_seconds
            self._easy_seconds = min(2 * self._easy_seconds, _EASY_MAX_SECONDS) if soon else _EASY_SECONDS
        elif self._last_want not in ("", want):
            self._settle_seconds = min(2 * self._settle_seconds, _SETTLE_MAX_SECONDS)
        return self._go(place, want)

    def _return(self, place: int, load: Load) -> str | None:
        self._settle_seconds = _SETTLE_SECONDS
        wanted = self._ladder.index(self.wanted)
        nearer = place + (wanted > place) - (wanted < place)
        if nearer == place or not self._may_use(self._ladder[nearer], load):
            return None
        return self._go(nearer, "easy")

    def _may_use(self, codec: str, load: Load) -> bool:
        return codec != "raw" or not self._what_raw_lacks(load)

    def _what_raw_lacks(self, load: Load) -> str:
        """ "disk" where it is too slow for raw, "room" where it would soon be full, or ""."""
        if load.refused or not load.disk_rate > _RAW_DISK_MARGIN * load.raw_rate:
            return "disk"
        room_s = _RAW_ROOM_ASKED_S if self.wanted == "raw" else _RAW_ROOM_S
        return "" if load.free_bytes > load.raw_rate * room_s else "room"

    def _go(self, place: int, reason: str) -> str:
        self.codec = self._ladder[place]
        self._settle, self._easy, self._held = self._settle_seconds, 0, 0
        self._last_want = reason
        return reason
