"""What happened to the frames of one stream between the device and the ring: the numbers tell.

Pure book-keeping without clocks, rings or files. For every stream and at every moment:
captured = queued + written + dropped, and what the device never gave us stands beside it as lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

# Why frames are missing.
LOST_AT_CAMERA = "camera"  # the device skipped numbers: lost before us
RING_FULL = "ring-full"  # the writer was too slow for too long
DISK_FULL = "disk-full"
ENCODE_FAILED = "encode-failed"  # a picture that no codec takes
STOPPED = "stopped"  # told to stop at once, with frames still queued
KILLED = "killed"  # a writer process was killed with these in hand
OUTAGE = "outage"  # the camera (or its process) was away

# A number that falls back by at most this much is an old frame again; by more, the counter began anew.
_STALE_WITHIN = 64


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames first..last of a stream are missing, `count` of them, between two moments.

    `estimated` says that the count comes from the nominal rate, not from frame numbers; first and last
    are then None. `epoch` is the numbering that first and last belong to.
    """

    reason: str
    first: int | None
    last: int | None
    count: int
    start_ns: int
    end_ns: int
    estimated: bool = False
    epoch: int = 0

    def as_dict(self) -> dict[str, object]:
        """The payload of a gap record; its epoch stands in the record's header."""
        return {
            "reason": self.reason,
            "first": self.first,
            "last": self.last,
            "count": self.count,
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "estimated": self.estimated,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a frame number says: is it a new frame, did the counter restart, what went missing before it."""

    is_new: bool
    restarted: bool = False
    gap: Gap | None = None


class StreamLedger:
    """Follows the frame numbers of one stream and keeps the gaps that are not yet written down."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._last_ns = 0
        self._epoch = 0
        self.pending: list[Gap] = []

    def observe(self, number: int, monotonic_ns: int) -> Verdict:
        """Judge the next frame's number; a hole before it goes to `pending`."""
        last = self._last
        if last is not None and last - _STALE_WITHIN <= number <= last:
            return Verdict(is_new=False)
        gap = None
        if last is not None and number > last + 1:
            count = number - last - 1
            gap = self._gap(LOST_AT_CAMERA, last + 1, number - 1, count, self._last_ns, monotonic_ns)
            self._note(gap)
        restarted = last is not None and number < last
        self._last, self._last_ns = number, monotonic_ns
        return Verdict(is_new=True, restarted=restarted, gap=gap)

    def dropped(self, number: int, monotonic_ns: int, reason: str) -> None:
        """A captured frame could not be handed on."""
        self._note(self._gap(reason, number, number, 1, monotonic_ns, monotonic_ns))

    def _gap(self, reason: str, first: int, last: int, count: int, start_ns: int, end_ns: int) -> Gap:
        return Gap(reason, first, last, count, start_ns, end_ns, epoch=self._epoch)

    def _note(self, gap: Gap) -> None:
        """Add to `pending`; a hole that continues the newest one for the same reason joins it."""
        newest = self.pending[-1] if self.pending else None
        if (
            newest is not None
            and (newest.epoch, newest.reason) == (gap.epoch, gap.reason)
            and newest.last is not None
            and gap.first == newest.last + 1
        ):
            joined = replace(newest, last=gap.last, count=newest.count + gap.count, end_ns=gap.end_ns)
            self.pending[-1] = joined
        else:
            self.pending.append(gap)

    def restart(self, epoch: int = 0) -> None:
        """The device was opened again: its numbers begin anew. What is pending belongs to the old ones."""
        self._last = None
        self._epoch = epoch
