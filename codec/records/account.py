"""Which frames of a series of record files are there, and what is missing without being accounted for.

Pure book-keeping over headers, gap records and the writer's own counters; reads no payload and writes
nothing. Used by recovery, which turns what is missing into gap records.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.records import numbers
from codec.records.layout import FRAME
from codec.records.reader import RecordFile

DAMAGED = "damaged"
"""The reason in gap records for frames that were in a file and can no longer be read."""
DELETED = "deleted"
"""The reason in gap records for frames whose file was taken away to make room for later ones."""

_Present = tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64], npt.NDArray[np.int32]]


@dataclass(frozen=True, slots=True)
class Missing:
    """Frames first..last of one numbering that no record accounts for."""

    stream: int
    epoch: int
    first: int
    last: int
    start_ns: int
    end_ns: int

    def as_gap(self) -> dict[str, Any]:
        """The payload of a gap record."""
        return {
            "reason": DAMAGED,
            "first": self.first,
            "last": self.last,
            "count": self.last - self.first + 1,
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "estimated": False,
        }


@dataclass(slots=True)
class _Numbering:
    """The frames of one (stream, epoch)."""

    claimed: list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64], npt.NDArray[np.int32]]] = field(
        default_factory=list
    )
    lost_copies: Counter[int] = field(default_factory=Counter)
    lost_ns: dict[int, int] = field(default_factory=dict)
    accounted: list[numbers.Range] = field(default_factory=list)

    def lose(self, number: int, monotonic_ns: int, *, copies: int) -> None:
        self.lost_copies[number] += copies
        self.lost_ns[number] = monotonic_ns

    def present(self) -> _Present:
        """The numbers that can be read, in order, with their times and the file each is in."""
        if not self.claimed:
            return np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int32)
        number, times, files = (np.concatenate(column) for column in zip(*self.claimed, strict=True))
        ordered, where, copies = np.unique(number, return_index=True, return_counts=True)
        for gone, lost in self.lost_copies.items():
            at = _find(ordered, gone)
            if at is not None:
                copies[at] -= lost
        there = copies > 0
        return ordered[there], times[where][there], files[where][there]


def _find(ordered: npt.NDArray[np.uint64], number: int) -> int | None:
    at = int(np.searchsorted(ordered, np.uint64(number)))
    return at if at < len(ordered) and int(ordered[at]) == number else None


class FrameAccount:
    """The account of one series, or of a single file of one. `numbered`: whether a hole in the numbers is a
    loss; of an estimator's results it is not, it only had no time for those frames.

    `counted_reasons` says which gap records stand for the counters of that name. `alone`: of a single file,
    before which there may have been others: what was written then stands in the clock record that begins it.
    """

    def __init__(
        self, counted_reasons: Mapping[str, Collection[str]] | None = None, *, alone: bool = False
    ) -> None:
        self.numbered = True
        self.unseen: set[int] = set()
        """Streams whose frames lie in files that nobody looks at: what was counted of them says nothing."""
        self._alone = alone
        self._written_before: Counter[int] | None = None
        self._counted_reasons = dict(counted_reasons or {})
        self._told: Counter[tuple[int, str]] = Counter()
        self._numberings: dict[tuple[int, int], _Numbering] = {}
        self._read: Counter[int] = Counter()
        self._elsewhere: Counter[int] = Counter()
        self._short: Counter[int] = Counter()
        self._gaps_seen: set[tuple[int, int, str]] = set()
        self._counted_ns = 0

    def claim(self, file: RecordFile, place: int) -> None:
        """Take in what the headers and the gap records of a file say; `place` orders the series' files."""
        frames = file.entries[file.of_kind(FRAME)]
        for key in sorted(set(zip(frames["stream"].tolist(), frames["epoch"].tolist(), strict=True))):
            own = frames[(frames["stream"] == key[0]) & (frames["epoch"] == key[1])]
            places = np.full(len(own), place, np.int32)
            self._of(*key).claimed.append((own["number"].copy(), own["monotonic_ns"].copy(), places))
        for stream, epoch, gap in file.gaps():
            covered = numbers.gap_range(gap)
            if covered is not None:
                self._of(stream, epoch).accounted.append(covered)
            # A writer that took over may have written down a gap once more.
            once = (stream, epoch, json.dumps(gap, sort_keys=True))
            if once not in self._gaps_seen:
                self._gaps_seen.add(once)
                self._told[stream, str(gap.get("reason"))] += numbers.gap_count(gap)

    def lose(self, stream: int, epoch: int, number: int, monotonic_ns: int, *, copies: int = 1) -> None:
        """A frame cannot be read: a claimed one, or (`copies` 0) one that was cut off behind its header."""
        self._of(stream, epoch).lose(number, monotonic_ns, copies=copies)

    def read(self, stream: int) -> None:
        """A frame has been read."""
        self._read[stream] += 1

    def counted(self, counters: object, at_ns: int, *, at_end: bool = False) -> None:
        """What had been counted by then, stream by stream: "written" are frames, those read so far among
        them; the other counters are frames that gap records account for. At the end, when all is read,
        frames that are there twice count once."""
        if not isinstance(counters, dict):
            return
        self._counted_ns = at_ns or self._counted_ns
        short: Counter[int] = Counter()
        totals = Counter(dict(_by_stream(counters.get("written"))))
        if self._written_before is None:
            self._written_before = totals if self._alone and not self._read else Counter()
        for stream, written in totals.items():
            there = self._different(stream) if at_end else self._read[stream]
            short[stream] += max(0, written - self._written_before[stream] - there)
        for name, reasons in self._counted_reasons.items():
            for stream, count in _by_stream(counters.get(name)):
                told = sum(self._told[stream, reason] for reason in reasons)
                short[stream] += max(0, count - told)
        for stream, count in short.items():
            self._short[stream] = max(self._short[stream], count)

    def found_elsewhere(self, stream: int, count: int) -> None:
        """So many frames of this stream lie in other files than these (meshes, say)."""
        self._read[stream] += count
        self._elsewhere[stream] += count

    def deleted(self, stream: int, frames: int, gaps: Mapping[str, int]) -> None:
        """So many frames of this stream, and gap records of these reasons, lay in files that made room."""
        self.found_elsewhere(stream, frames)
        for reason, count in gaps.items():
            self._told[stream, reason] += count

    def missing(self, up_to: int) -> list[Missing]:
        """What nothing accounts for in the files up to that place; from now on it is accounted for."""
        found = []
        for (stream, epoch), numbering in sorted(self._numberings.items()):
            number, times, places = numbering.present()
            gone = numbers.runs(n for n in numbering.lost_copies if _find(number, n) is None)
            if self.numbered:
                begun = places[:-1] <= up_to
                gone += numbers.holes(number, after=begun)
            for first, last in numbers.subtract(gone, numbering.accounted):
                start_ns, end_ns = _when(number, times, first, last, numbering.lost_ns)
                found.append(Missing(stream, epoch, first, last, start_ns, end_ns))
                numbering.accounted.append((first, last))
                self._told[stream, DAMAGED] += last - first + 1
        return found

    def uncounted(self) -> list[tuple[int, dict[str, Any]]]:
        """(stream, gap) for frames that were counted, that neither a file nor a gap record has, and whose
        numbers nobody knows any more. To be asked last, after missing()."""
        gaps = []
        for stream, short in sorted(self._short.items()):
            count = short - self._told[stream, DAMAGED] - self._told[stream, DELETED]
            if count > 0 and stream not in self.unseen:
                gap: dict[str, Any] = {"reason": DAMAGED, "first": None, "last": None, "count": count}
                gap |= {"start_ns": self._counted_ns, "end_ns": self._counted_ns, "estimated": True}
                gaps.append((stream, gap))
        return gaps

    def _different(self, stream: int) -> int:
        """How many frames of the stream there are, here or elsewhere, each counted once."""
        own = [numbering for (number, _), numbering in self._numberings.items() if number == stream]
        return self._elsewhere[stream] + sum(len(numbering.present()[0]) for numbering in own)

    def _of(self, stream: int, epoch: int) -> _Numbering:
        return self._numberings.setdefault((stream, epoch), _Numbering())


def _by_stream(values: object) -> list[tuple[int, int]]:
    """(stream, value) of a counter; older files may not have it."""
    if not isinstance(values, list):
        return []
    return [(stream, value) for stream, value in enumerate(values) if type(value) is int]


def _when(
    number: npt.NDArray[np.uint64],
    times: npt.NDArray[np.int64],
    first: int,
    last: int,
    lost_ns: dict[int, int],
) -> tuple[int, int]:
    """From the frame before to the frame after; where there is none, the times of the lost themselves."""
    before = int(np.searchsorted(number, np.uint64(first))) - 1
    after = int(np.searchsorted(number, np.uint64(last), side="right"))
    known = [lost_ns[n] for n in (first, last) if n in lost_ns] or [0]
    start_ns = int(times[before]) if before >= 0 else min(known)
    return start_ns, int(times[after]) if after < len(times) else max(known)
