"""Holds what is in the files of one camera against what they say of themselves.

Frame numbers against gap records, both ways; the writer's own counters against what is there. Numbers
and records in, sentences out: `problems` are losses that nobody accounted for, `notes` are harmless.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from capture._verify_file import NO_FRAMES, FileCheck
from capture.deleted import DeletedSegment
from capture.ledger import DISK_FULL, ENCODE_FAILED, KILLED, LOST_AT_CAMERA, OUTAGE, RING_FULL, STOPPED
from capture.recording import ESTIMATOR
from codec.records import numbers
from codec.records.account import DAMAGED, DELETED

_RANGES_TOLD = 5
COUNTED_REASONS = {
    "dropped": (DISK_FULL, ENCODE_FAILED, KILLED, STOPPED),
    "outage": (OUTAGE,),
    "refused": (RING_FULL,),
    "lost": (LOST_AT_CAMERA,),
}
"""The counters in clock records, and the reasons of the gap records that they stand for."""

_CAPTURED_REASONS = (DISK_FULL, ENCODE_FAILED, STOPPED, RING_FULL)


@dataclass(slots=True)
class Findings:
    """What came out of a comparison. `meshes_lost` went with a writer that was killed, as it may happen."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    meshes_lost: int = 0


@dataclass(frozen=True, slots=True)
class StreamCount:
    """One stream of a camera: frames in the files, each counted once, what gap records say is missing, and
    frames that were in files which had to make room."""

    pixel_format: str = ""
    frames: int = 0
    repeats: int = 0
    raw_bytes: int = 0
    file_bytes: int = 0
    dropped: int = 0
    lost_at_camera: int = 0
    damaged: int = 0
    deleted: int = 0


class SeriesLedger:
    """All files of one camera (or estimator), checked. `meshes` lie beside them in files of their own;
    `meshes_closed` is false where a writer was killed before it could close one of these. `deleted` are those
    that made room: what was in them is as good as there. `to_the_end` is false where another segment had been
    begun after these, in which there is nothing. `alone`: a single file, before and behind which there may
    have been others, and meshes beside it."""

    def __init__(
        self,
        name: str,
        files: Sequence[FileCheck],
        *,
        meshes: int = 0,
        meshes_closed: bool = True,
        deleted: Sequence[DeletedSegment] = (),
        to_the_end: bool = True,
        alone: bool = False,
    ) -> None:
        self.name = name
        self._alone = alone
        self._files, self._meshes, self._meshes_closed = files, meshes, meshes_closed
        self._deleted, self._to_the_end = deleted, to_the_end and not alone
        self._described: dict[int, dict[str, Any]] = {}
        for file in files:
            self._described |= file.streams
        self._frames: npt.NDArray[np.void] = np.concatenate([NO_FRAMES, *(f.frames for f in files)])
        # A writer that took over may have written down a gap once more.
        gaps = {(s, e, json.dumps(gap, sort_keys=True)): (s, e, gap) for f in files for s, e, gap in f.gaps}
        self._gaps = list(gaps.values())

    def compare(self) -> Findings:
        """Everything that can be held against each other within these files."""
        findings = Findings()
        for stream, epoch, own in self._numberings():
            self._compare_order(stream, epoch, own, findings)
            self._compare_holes(stream, epoch, own["number"], findings)
        self._compare_counters(findings)
        return findings

    @property
    def killed(self) -> int:
        """Meshes that went with a writer process, as the one that took over has written down."""
        return sum(self._gap_total(stream, (KILLED,)) for stream in self._described)

    def stream_name(self, stream: int) -> str:
        """ "<camera>/<stream>"."""
        known = self._deleted_names().get(stream, f"stream{stream}")
        return f"{self.name}/{self._described.get(stream, {}).get('name', known)}"

    def counts(self) -> dict[str, StreamCount]:
        """What the files hold, stream by stream."""
        found = {}
        seen = np.unique(self._frames["stream"]).tolist()
        for stream in sorted({*self._described, *seen, *self._deleted_names()}):
            every = self._frames[self._frames["stream"] == stream]
            own = _once(every)
            reasons = self._deleted_gaps(stream)
            for _, _, gap in self._gaps_of(stream):
                reasons[str(gap.get("reason"))] += numbers.gap_count(gap)
            before_us = reasons[LOST_AT_CAMERA] + reasons[OUTAGE]
            found[self.stream_name(stream)] = StreamCount(
                pixel_format=str(self._described.get(stream, {}).get("pixel_format", "")),
                frames=len(own),
                repeats=len(every) - len(own),
                raw_bytes=int(own["raw_length"].sum(dtype=np.int64)),
                file_bytes=int(own["length"].sum(dtype=np.int64)),
                dropped=reasons.total() - before_us - reasons[DAMAGED] - reasons[DELETED],
                lost_at_camera=before_us,
                damaged=reasons[DAMAGED],
                deleted=self._deleted_frames(stream) + reasons[DELETED],
            )
        return found

    def _deleted_names(self) -> dict[int, str]:
        return {number: told.name for segment in self._deleted for number, told in segment.streams.items()}

    def _deleted_frames(self, stream: int) -> int:
        own = [segment.streams[stream] for segment in self._deleted if stream in segment.streams]
        return sum(told.frames for told in own)

    def _deleted_gaps(self, stream: int) -> Counter[str]:
        gaps: Counter[str] = Counter()
        for segment in self._deleted:
            if stream in segment.streams:
                gaps += segment.streams[stream].gaps
        return gaps

    def _numberings(self) -> Iterator[tuple[int, int, npt.NDArray[np.void]]]:
        keys = {(s, e) for s, e in zip(*(self._frames[c].tolist() for c in ("stream", "epoch")), strict=True)}
        keys |= {(stream, epoch) for stream, epoch, _ in self._gaps}
        for stream, epoch in sorted(keys):
            chosen = (self._frames["stream"] == stream) & (self._frames["epoch"] == epoch)
            yield stream, epoch, self._frames[chosen]

    def _gaps_of(self, stream: int, epoch: int | None = None) -> list[tuple[int, int, dict[str, Any]]]:
        return [g for g in self._gaps if g[0] == stream and epoch in (None, g[1])]

    def _compare_order(self, stream: int, epoch: int, own: npt.NDArray[np.void], findings: Findings) -> None:
        name = self.stream_name(stream)
        _, first_places = np.unique(own["number"], return_index=True)
        repeats = len(own) - len(first_places)
        if repeats:
            findings.notes.append(
                f"{name}: {_frames(repeats)} twice in the files (a writer was killed and another took over)"
            )
        once = own["number"][np.sort(first_places)]
        falls = np.flatnonzero(once[1:] < once[:-1])
        if falls.size:
            at = int(falls[0])
            findings.problems.append(f"{name}: frame {once[at + 1]} stands behind frame {once[at]}")

    def _compare_holes(
        self, stream: int, epoch: int, own: npt.NDArray[np.uint64], findings: Findings
    ) -> None:
        name, ordered = self.stream_name(stream), np.unique(own)
        covered = []
        for _, _, gap in self._gaps_of(stream, epoch):
            span = numbers.gap_range(gap)
            if span is None:
                continue
            covered.append(span)
            if numbers.gap_count(gap) > numbers.total([span]):
                findings.problems.append(
                    f"{name}: a gap record counts {gap['count']} in {told_ranges([span])}"
                )
        if self._has_holes_by_nature():
            return
        silent = numbers.subtract(numbers.holes(ordered), covered)
        if silent:
            findings.problems.append(f"{name}: missing without a gap record: {told_ranges(silent)}")
        present = numbers.within(ordered, covered)
        if present:
            findings.problems.append(f"{name}: {_frames(present)} in the files that gap records call missing")

    def _has_holes_by_nature(self) -> bool:
        """Whether these are the results of an estimator."""
        cameras = [stream.get("camera") for stream in self._described.values()]
        return any(isinstance(camera, dict) and camera.get("backend") == ESTIMATOR for camera in cameras)

    # ---- the writer's counters ----

    def _compare_counters(self, findings: Findings) -> None:
        shortest: Counter[int] = Counter()
        surplus: Counter[int] = Counter()
        before = Counter({stream: self._deleted_frames(stream) for stream in self._deleted_names()})
        if self._alone:
            before = self._written_before()
        for file in self._files:
            for clock in file.clocks:
                for stream, written in _numbers_in(clock.counters, "written"):
                    there = before[stream] + clock.frames_before[stream]
                    if self._alone and self._is_mesh(stream):
                        continue
                    if self._is_mesh(stream):
                        there = self._meshes
                    shortest[stream] = max(shortest[stream], written - there)
                    surplus[stream] = 0 if self._is_mesh(stream) else there - written
            for stream, count in zip(*np.unique(file.frames["stream"], return_counts=True), strict=True):
                before[int(stream)] += int(count)
        for stream, short in sorted(shortest.items()):
            self._tell_shortage(stream, short, findings)
        for stream, more in sorted(surplus.items()):
            if more > 0:
                findings.notes.append(
                    f"{self.stream_name(stream)}: {_frames(more)} more than the writer had counted "
                    "when it was killed"
                )
        self._compare_gap_counters(findings)

    def _written_before(self) -> Counter[int]:
        """What had been written when the file was begun, as the clock record that begins it tells."""
        first = [clock for file in self._files for clock in file.clocks[:1]]
        counters = first[0].counters if first and not first[0].frames_before.total() else {}
        return Counter(dict(_numbers_in(counters, "written")))

    def _tell_shortage(self, stream: int, short: int, findings: Findings) -> None:
        explained = self._gap_total(stream, (DAMAGED, DELETED, KILLED))
        if short > explained and self._is_mesh(stream) and not self._meshes_closed:
            findings.meshes_lost += short - explained
        elif short > explained:
            findings.problems.append(
                f"{self.stream_name(stream)}: {_frames(short - explained)} written and no longer there"
            )

    def _compare_gap_counters(self, findings: Findings) -> None:
        """What was counted as missing against the gap records, once everything is written down."""
        last = self._files[-1] if self._files and self._to_the_end else None
        if last is None or not last.sealed or not last.clocks:
            return  # cut short: what was counted in the end may have been on its way into a file
        counters = last.clocks[-1].counters
        for key, reasons in COUNTED_REASONS.items():
            for stream, counted in _numbers_in(counters, key):
                told = self._gap_total(stream, reasons)
                # A recovered file accounts with the reason "damaged" for what it can no longer read.
                if counted > told + self._gap_total(stream, (DAMAGED,)):
                    findings.problems.append(
                        f"{self.stream_name(stream)}: {_frames(counted)} counted as {key}, "
                        f"{told} named in gap records"
                    )
        for stream, captured in _numbers_in(counters, "captured"):
            there = int((self._frames["stream"] == stream).sum()) + self._deleted_frames(stream)
            known = there + self._gap_total(stream, (*_CAPTURED_REASONS, DAMAGED, DELETED))
            if captured > known:
                findings.problems.append(
                    f"{self.stream_name(stream)}: {_frames(captured)} captured, {known} accounted for"
                )

    def _gap_total(self, stream: int, reasons: Sequence[str]) -> int:
        gaps = [gap for _, _, gap in self._gaps_of(stream) if gap.get("reason") in reasons]
        gone = self._deleted_gaps(stream)
        return sum(numbers.gap_count(gap) for gap in gaps) + sum(gone[reason] for reason in reasons)

    def _is_mesh(self, stream: int) -> bool:
        return self._described.get(stream, {}).get("pixel_format") == "mesh"


def _once(frames: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Each (epoch, number) the first time it comes."""
    firsts = []
    for epoch in np.unique(frames["epoch"]):
        places = np.flatnonzero(frames["epoch"] == epoch)
        firsts.append(places[np.unique(frames["number"][places], return_index=True)[1]])
    return frames[np.concatenate(firsts)] if firsts else frames


def _numbers_in(counters: dict[str, Any], key: str) -> list[tuple[int, int]]:
    """(stream, value) of a counter; older files may not have it."""
    values = counters.get(key)
    if not isinstance(values, list):
        return []
    return [(i, value) for i, value in enumerate(values) if type(value) is int and value > 0]


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def told_ranges(ranges: Sequence[numbers.Range]) -> str:
    """ "3, 7-9", and how many more there are beyond the first few."""
    shown = ", ".join(
        str(first) if first == last else f"{first}-{last}" for first, last in ranges[:_RANGES_TOLD]
    )
    more = len(ranges) - _RANGES_TOLD
    return f"{shown} and {more} more ranges" if more > 0 else shown
