"""Reads a whole recording and says whether every frame is there, and right.

Owns the verdict. Every byte is read, every checksum compared, every payload decoded to its declared
shape, every index held against its file, every hole in the frame numbers against the gap records, every
count against the files. Changes nothing.
"""

from __future__ import annotations

import contextlib
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from capture import session
from capture._missing_meshes import NO_NUMBERS, tell_missing_meshes
from capture._segment_survey import numbered_name
from capture._verify_file import BadStretch, FileCheck, check_file
from capture._verify_ledger import SeriesLedger, StreamCount
from capture.deleted import DeletedSegment, deleted_segments, deletion_notes, of_series
from capture.mesh_frames import whole_number
from capture.recording import RecordedGap, Recording, begins_with_record
from codec.errors import FormatError, NotOurFileError, StorageError
from codec.mesh import MeshReader
from codec.records import numbers
from codec.records.account import DELETED

CLEAN, EMPTY, LOSS, UNACCOUNTED, DAMAGE = "clean", "empty", "loss", "unaccounted", "damage"


@dataclass(slots=True)
class Report:
    """What was found. `gaps` are losses that the recording accounts for, `problems` those it does not.

    `deleted` are segments that made room for later ones. `meshes_lost` lay in the open segment of a mesh file
    when its writer was killed: the body parameters are all there and can rebuild them.
    """

    path: Path
    records: int = 0
    frames: int = 0
    meshes: int = 0
    meshes_lost: int = 0
    bytes: int = 0
    gaps: list[RecordedGap] = field(default_factory=list)
    damage: list[BadStretch] = field(default_factory=list)
    deleted: list[DeletedSegment] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ended: bool = True  # false where the recording was killed: what came last may never have been written
    is_session: bool = False
    cameras_known: bool = True  # false where nothing says which cameras there should be
    only_meshes: bool = False  # no body parameters beside them, which would tell how many there were

    @property
    def verdict(self) -> str:
        """CLEAN, EMPTY (nothing was recorded), LOSS (all of it accounted for), UNACCOUNTED or DAMAGE."""
        if self.damage:
            return DAMAGE
        if self.problems:
            return UNACCOUNTED
        if self.is_session and not (self.frames or self.meshes or self.meshes_lost or self.deleted):
            return EMPTY
        lost = [gap for gap in self.gaps if gap.reason != DELETED]
        return LOSS if lost or self.meshes_lost else CLEAN


def total_bytes(path: Path) -> int:
    """How much there is to read."""
    found = session.open_session(path)
    files = [*(segment for series in found.series for segment in series.segments), *found.meshes]
    return sum(session.file_size(file) for file in files)


def verify(path: Path, *, progress: Callable[[int], None] = lambda _: None) -> Report:
    """Read everything. Raises ConfigError (no such path), NotOurFileError or StorageError."""
    report = Report(path, deleted=deleted_segments(path))
    report.notes += deletion_notes(report.deleted)
    with Recording(path) as recording:
        report.gaps = recording.gaps
        trouble = recording.session_trouble
        names = [name.rpartition("/")[0] for name in recording.streams]
    found = session.open_session(path)
    report.notes += [
        f"{double} is a second copy of meshes, in the other kind of file, from an interrupted recompression:"
        " `nightrig recompress --meshes` compares the two and takes one away"
        for double in found.mesh_doubles
    ]
    threads = max(1, os.cpu_count() or 1)
    with _leaving_the_queue(ThreadPoolExecutor(threads, thread_name_prefix="verify")) as pool:
        meshes = _check_meshes(found.meshes, report, progress)
        report.notes += [_empty(path) for path in found.empty_meshes]
        report.only_meshes = bool(meshes) and not found.series
        meshes += [_MeshFile(path, 0, False, False, NO_NUMBERS) for path in found.empty_meshes]
        if report.only_meshes:
            report.ended = all(mesh.closed for mesh in meshes)
        # A copy that `recover` made of a killed recording is closed; that it was killed still stands in it.
        was_killed = found.is_session and bool(found.info) and not isinstance(found.info.get("totals"), dict)
        counts: dict[str, StreamCount] = {}
        for series in found.series:
            alone = path.is_file()
            gone = of_series(report.deleted, series.segments[0].parent.name)
            files = _check_files(series, report, pool, progress, alone=alone)
            if not alone:
                _miss_segments(series, gone, report)
            beside = [mesh for mesh in meshes if mesh.path.parent == series.segments[0].parent]
            name = names[0] if alone and names else series.name  # a single file knows whose it is
            ledger = SeriesLedger(
                name,
                files,
                meshes=sum(mesh.count for mesh in beside) + sum(segment.meshes for segment in gone),
                meshes_closed=all(mesh.closed for mesh in beside),
                deleted=gone,
                to_the_end=bool(files) and files[-1].path == series.segments[-1],
                alone=alone,
            )
            findings = ledger.compare()
            report.problems += findings.problems
            report.notes += findings.notes
            report.meshes_lost += findings.meshes_lost
            is_short = any(mesh.damaged or not mesh.closed for mesh in beside) or was_killed
            if beside and (is_short or findings.meshes_lost or ledger.killed):
                report.notes += _frames_without_meshes(name, files, beside)
            counts |= ledger.counts()
    there = {series.segments[0].parent.name for series in found.series}
    for name in {segment.series for segment in report.deleted} - there:
        counts |= SeriesLedger(name, (), deleted=of_series(report.deleted, name)).counts()
    report.frames = sum(count.frames for count in counts.values())
    report.is_session = found.is_session
    if path.is_dir() and (path / session.SESSION_FILE).exists():
        _compare_session(found.info, trouble, counts, report)
    elif found.is_session:
        report.cameras_known = False
        report.notes.append("no session.json: cannot tell whether whole cameras are missing")
    return report


@contextlib.contextmanager
def _leaving_the_queue(pool: ThreadPoolExecutor) -> Iterator[Executor]:
    """The pool as a context manager of its own would leave it, but without what is only queued: after a
    Ctrl-C nobody wants to know."""
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _check_files(
    series: session.Series, report: Report, pool: Executor, progress: Callable[[int], None], *, alone: bool
) -> list[FileCheck]:
    files = []
    for place, path in enumerate(series.segments):
        if trouble := session.broken_link(path):
            report.damage.append(BadStretch(path, 0, 0, trouble))
            continue
        try:
            check = check_file(path, pool, progress)
        except NotOurFileError as error:
            if alone or begins_with_record(path):
                raise
            if session.is_empty(path):
                report.notes.append(_empty(path))
            else:
                report.damage.append(BadStretch(path, 0, path.stat().st_size, str(error)))
            continue
        files.append(check)
        report.records += check.records
        report.bytes += check.size
        report.damage += check.damage
        if not check.sealed and not check.damage:
            last = place == len(series.segments) - 1
            report.ended &= not last
            why = "the recording" if last else "the writer"
            report.notes.append(f"{path} was never closed ({why} was killed); every record in it is whole")
    return files


def _empty(path: Path) -> str:
    return f"{path} is empty: recording stopped before anything was in it"


def _miss_segments(series: session.Series, gone: Sequence[DeletedSegment], report: Report) -> None:
    """Segments are numbered without holes: one that is not there has been taken away."""
    names = [*series.segments, *(Path(segment.path) for segment in gone if segment.path.suffix == ".nrig")]
    there = numbers.runs(numbered_name(path)[1] for path in names)
    for first, last in numbers.subtract([(0, there[-1][1])], there):
        what = f"segment {first:03d} is" if first == last else f"segments {first:03d} to {last:03d} are"
        report.problems.append(f"{series.name}: {what} missing")


@dataclass(frozen=True, slots=True)
class _MeshFile:
    """How many frames came out of it, and of which numbers."""

    path: Path
    count: int
    closed: bool
    damaged: bool
    numbers: npt.NDArray[np.int64]


def _check_meshes(paths: Sequence[Path], report: Report, progress: Callable[[int], None]) -> list[_MeshFile]:
    found = []
    for path in paths:
        size, count, note, closed = session.file_size(path), 0, "", True
        seen = array("q")
        try:
            with MeshReader(path) as reader:
                for frame in reader:
                    count += 1
                    number = whole_number(frame.get("frame_number"))
                    if number is not None and 0 <= number < 1 << 62:
                        seen.append(number)
                note, closed = reader.damage, reader.closed
        except (FormatError, StorageError) as error:
            note = str(error).removeprefix(f"{path}: ")
        if note:
            report.damage.append(BadStretch(path, 0, size, note))
        elif not closed:
            report.notes.append(f"{path} was never closed (the writer was killed); every mesh in it is whole")
        found.append(_MeshFile(path, count, closed, bool(note), np.array(seen, np.int64)))
        report.meshes += count
        report.bytes += size
        progress(size)
    return found


def _frames_without_meshes(name: str, files: Sequence[FileCheck], meshes: Sequence[_MeshFile]) -> list[str]:
    """Which results of an estimator have body parameters, and no mesh any more."""
    results = [
        file.frames["number"][file.frames["stream"] == stream].astype(np.int64)
        for file in files
        for stream, described in file.streams.items()
        if described.get("pixel_format") == "f32"
    ]
    return tell_missing_meshes(name, results, [mesh.numbers for mesh in meshes])


def _compare_session(
    info: dict[str, Any], trouble: str, counts: dict[str, StreamCount], report: Report
) -> None:
    """The totals that the service wrote at the end against what is in the files."""
    path = report.path / session.SESSION_FILE
    if trouble:
        report.damage.append(BadStretch(path, 0, path.stat().st_size, trouble))
        return
    totals = info.get("totals")
    if not isinstance(totals, dict):
        report.notes.append("session.json has no totals: the recording was killed before it could end")
        report.ended = False
        return
    streams = totals.get("streams")
    for name, told in (streams if isinstance(streams, dict) else {}).items():
        if isinstance(told, dict):
            _compare_stream(name, told, counts.get(name), report)
    meshes = totals.get("meshes")
    accounted = sum(count.damaged for count in counts.values() if count.pixel_format == "mesh")
    gone = sum(segment.meshes for segment in report.deleted)
    if type(meshes) is int and meshes > report.meshes + report.meshes_lost + accounted + gone:
        report.problems.append(f"session.json says {meshes} meshes, the files hold {report.meshes}")


def _compare_stream(name: str, told: dict[str, Any], there: StreamCount | None, report: Report) -> None:
    there = there or StreamCount()
    written = there.frames + there.deleted
    found = {"written": written, "dropped": there.dropped, "lost_at_camera": there.lost_at_camera}
    claims = {key: value for key in found if type(value := told.get(key)) is int}
    short = sum(max(0, value - found[key]) for key, value in claims.items())
    for key, value in claims.items():
        words = f"{name}: session.json says {value} {key.replace('_', ' ')}, the files hold {found[key]}"
        if value > found[key] and short > there.damaged:
            report.problems.append(words)
        elif value != found[key]:
            report.notes.append(words)
    if told.get("written") == there.frames and not there.repeats and not there.deleted:
        for key, size in (("raw_bytes", there.raw_bytes), ("file_bytes", there.file_bytes)):
            value = told.get(key)
            if type(value) is int and value != size:
                what = key.replace("_", " ")
                report.problems.append(f"{name}: session.json says {value} {what}, the files hold {size}")
