"""Makes a clean copy of a damaged recording: every whole record and mesh, nothing that is not.

The recording is only read, the copy is a new folder laid out like it: sealed record files, session.json,
events.jsonl and mesh files. What is lost stands in the copy as gap records with the reason "damaged", so
that it accounts for itself. What was deleted on purpose is not lost: the copy of a session has the events
that tell of it, and that of a camera's folder gap records with the reason "deleted". Recovering the same
recording again gives the same record files, byte for byte. Other files in the folder are left where they are.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from capture import session
from capture._missing_meshes import NO_NUMBERS, Numbers, tell_missing_meshes
from capture._new_folder import make_new_folder
from capture._segment_survey import numbered_name
from capture._verify_ledger import COUNTED_REASONS
from capture.deleted import DeletedSegment, deleted_segments, deletion_notes, of_series
from capture.ledger import DISK_FULL, ENCODE_FAILED, KILLED, LOST_AT_CAMERA, OUTAGE, RING_FULL, STOPPED
from capture.mesh_frames import whole_number
from capture.recording import ESTIMATOR, begins_with_record, session_trouble
from codec import durable
from codec.durable import AppendFile
from codec.errors import CodecError, FormatError, NotOurFileError, StorageError
from codec.mesh import MeshReader, MeshWriter
from codec.records.account import DELETED, FrameAccount
from codec.records.layout import FRAME
from codec.records.reader import RecordFile
from codec.records.recovery import FileReport, Salvage, recover_file

# What session.json adds up, under names of our own, and the gap records that stand for it.
_TOTALLED_REASONS = {
    "dropped_total": (DISK_FULL, ENCODE_FAILED, KILLED, STOPPED, RING_FULL),
    "lost_total": (LOST_AT_CAMERA, OUTAGE),
}
_TOTAL_NAMES = {"written": "written", "dropped_total": "dropped", "lost_total": "lost_at_camera"}
_COPY_BYTES = 1 << 20
_PLACEHOLDERS_MAX = 1000

Progress = Callable[[int], None]


@dataclass(slots=True)
class RecoveryReport:
    """What was saved and what was not. `notes` say what befell single files, `path` is the copy, `deleted`
    are segments that made room for later ones.

    `meshes_killed`: the writer of a mesh file was killed. What it had in hand was never in the recording;
    `notes` name it where body parameters tell.
    """

    path: Path
    records: FileReport = field(default_factory=FileReport)
    meshes: int = 0
    mesh_loss: bool = False
    meshes_killed: bool = False
    frames_missing: int = 0
    deleted: list[DeletedSegment] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def lossless(self) -> bool:
        """Everything that was in the recording is in the copy."""
        return self.records.lossless and not self.mesh_loss and not self.frames_missing


def recover(path: Path, out: Path, *, progress: Progress = lambda _: None) -> RecoveryReport:
    """Write the clean copy of a session, a camera's folder or a file into the new (or empty) folder `out`.

    Raises ConfigError for paths that do not go, NotOurFileError where nothing can be recovered,
    StorageError.
    """
    found = session.open_session(path)
    make_new_folder(out, source=path)
    report = RecoveryReport(out, deleted=deleted_segments(path))
    report.notes += deletion_notes(report.deleted)
    report.meshes_killed = bool(found.empty_meshes)
    report.notes += [f"{mesh} is empty: its writer was killed before it began" for mesh in found.empty_meshes]
    meshes = {out / mesh.relative_to(found.folder): NO_NUMBERS for mesh in found.empty_meshes}
    for mesh in found.meshes:
        target = _target(found.folder, mesh, out)
        meshes[target] = _recover_mesh(mesh, target, report, alone=not found.series)
        progress(session.file_size(mesh))
    for series in found.series:
        gone = of_series(report.deleted, series.segments[0].parent.name)
        # In the copy of a session the events say what is gone; elsewhere something has to stand in its place.
        left_out = gone if found.is_session else ()
        places = _places(found.folder, series, out, left_out, alone=path.is_file())
        beside = [numbers for mesh, numbers in meshes.items() if mesh.parent == places[0][1].parent]
        recovery = _Series(
            places,
            sum(map(len, beside)),
            report,
            gone=gone,
            tells_gone=not found.is_session,
            alone=path.is_file(),
        )
        if beside and report.meshes_killed:
            report.notes += tell_missing_meshes(series.name, recovery.results, beside)
        recovery.recover(_totals(found.info, series.name), progress)
    if not (report.records.recovered or report.meshes or report.deleted):
        raise NotOurFileError(f"{path}: there is nothing in it that can be recovered")
    if path.is_dir():
        _copy_session_files(path, out, report)
    elif found.meshes:
        report.path = out / path.name
    else:
        report.path = session.segment_path(out, 0)
    return report


def _target(folder: Path, source: Path, out: Path) -> Path:
    target = out / source.relative_to(folder)
    if target.parent != out:
        durable.make_directory(target.parent)
    return target


def _totals(info: dict[str, Any], camera: str) -> dict[str, dict[str, int]]:
    """Stream name -> what session.json says was written, dropped and lost in the end."""
    totals = info.get("totals")
    streams = totals.get("streams") if isinstance(totals, dict) else None
    found: dict[str, dict[str, int]] = {}
    for name, told in (streams if isinstance(streams, dict) else {}).items():
        owner, _, stream = name.rpartition("/")
        if owner == camera and isinstance(told, dict):
            values = {key: told.get(own) for key, own in _TOTAL_NAMES.items()}
            found[stream] = {key: value for key, value in values.items() if type(value) is int}
    return found


_Place = tuple[Path | None, Path]
"""A segment and where its copy goes; None for a segment that is no longer there."""


def _places(
    folder: Path, series: session.Series, out: Path, gone: Sequence[DeletedSegment], *, alone: bool
) -> list[_Place]:
    if alone:  # whatever it is called: in its new folder it is the first and only segment
        return [(series.segments[0], session.segment_path(out, 0))]
    found: list[_Place] = [
        (None if session.broken_link(segment) else segment, _target(folder, segment, out))
        for segment in series.segments
    ]
    prefix, last = numbered_name(series.segments[-1])
    without = {numbered_name(Path(segment.path))[1] for segment in gone if segment.path.suffix == ".nrig"}
    if last - len(found) - len(without) > _PLACEHOLDERS_MAX:
        return found  # whoever numbered these meant something else
    there: dict[int, _Place] = {numbered_name(place[1])[1]: place for place in found}
    parent = found[0][1].parent
    return [
        there.get(number, (None, session.segment_path(parent, number, prefix=prefix)))
        for number in range(last + 1)
        if number in there or number not in without
    ]


class _Series:
    """One camera's segments on their way into the copy. What cannot be read keeps its place, empty.

    meshes: how many lie beside them. gone: segments, and mesh files, that were deleted on purpose; with
    `tells_gone` gap records in the first copy tell of them.
    """

    def __init__(
        self,
        places: list[_Place],
        meshes: int,
        report: RecoveryReport,
        *,
        gone: Sequence[DeletedSegment],
        tells_gone: bool,
        alone: bool,
    ) -> None:
        self._places, self._report = places, report
        self._gone, self._tells_gone = gone, tells_gone
        self._gone_names = {segment.path.name for segment in gone}
        # Of a single file nothing says whether what was counted as missing by its end stands in the next one.
        reasons = {} if alone else {**COUNTED_REASONS, **_TOTALLED_REASONS}
        self._account = FrameAccount(reasons, alone=alone)
        self._mesh_streams: set[int] = set()
        self._names: dict[int, str] = {}
        self._totals: dict[str, dict[str, int]] = {}
        self.results: list[Numbers] = []
        """Frame numbers of body parameters."""
        self._readable = [self._survey(place, path, alone=alone) for place, (path, _) in enumerate(places)]
        if alone:
            self._account.unseen = self._mesh_streams
        for stream in self._mesh_streams:
            self._account.found_elsewhere(stream, meshes)
        for stream, (frames, gaps) in self._deleted().items():
            self._account.deleted(stream, frames, gaps)

    def _survey(self, place: int, path: Path | None, *, alone: bool) -> bool:
        """Take in what a segment claims to hold; False where no record is in it."""
        if path is None:
            return False
        try:
            file = RecordFile(path)
        except NotOurFileError:
            if alone or begins_with_record(path):
                raise  # a newer version: nothing is wrong with it
            return False
        with file:
            self._account.claim(file, place)
            frames = file.entries[file.of_kind(FRAME)]
            for index, stream in file.streams().items():
                if stream.get("pixel_format") == "f32":
                    self.results.append(frames["number"][frames["stream"] == index].astype(np.int64))
                camera = stream.get("camera")
                if isinstance(camera, dict) and camera.get("backend") == ESTIMATOR:
                    self._account.numbered = False
                if stream.get("pixel_format") == "mesh":
                    self._mesh_streams.add(index)
                self._names[index] = str(stream.get("name"))
        return True

    def _deleted(self) -> dict[int, tuple[int, Counter[str]]]:
        """By stream: how many frames (or meshes) were in files that are gone, and what gap records in these
        told of, by reason."""
        found: dict[int, tuple[int, Counter[str]]] = {}
        for segment in self._gone:
            for stream, told in segment.streams.items():
                frames, gaps = found.get(stream, (0, Counter()))
                found[stream] = frames + told.frames, gaps + told.gaps
            for stream in self._mesh_streams if segment.meshes else ():
                frames, gaps = found.get(stream, (0, Counter()))
                found[stream] = frames + segment.meshes, gaps
        return found

    def recover(self, totals: dict[str, dict[str, int]], progress: Progress) -> None:
        """Write all copies; `totals` is what the service counted in the end. Raises StorageError."""
        self._totals = totals
        for place, (path, target) in enumerate(self._places):
            if path is not None and self._readable[place]:
                with RecordFile(path) as file, Salvage(target, file) as salvage:
                    self._copy(salvage, place, progress)
            else:
                with Salvage(target, None) as salvage:
                    salvage.report.discarded_bytes = path.stat().st_size if path is not None else 0
                    self._copy(salvage, place, progress)
            self._report.records.add(salvage.report)
            if path is None and target.name not in self._gone_names:
                self._report.notes.append(f"{target.name} is missing; an empty one stands in its place")
            elif path is not None and not salvage.report.lossless:
                self._report.notes.append(f"{path}: {salvage.report.discarded_bytes} bytes are lost")

    def _copy(self, salvage: Salvage, place: int, progress: Progress) -> None:
        salvage.copy(self._account, progress)
        if place == 0 and self._tells_gone:
            self._tell_gone(salvage)
        for missing in self._account.missing(up_to=place):
            salvage.gap(missing.stream, missing.epoch, missing.as_gap())
            self._report.frames_missing += missing.last - missing.first + 1
        if place == len(self._places) - 1:
            self._account.counted(self._counters(), at_ns=0, at_end=True)
            for stream, gap in self._account.uncounted():
                salvage.gap(stream, 0, gap)
                self._report.frames_missing += gap["count"]
        salvage.seal()

    def _tell_gone(self, salvage: Salvage) -> None:
        known = [segment for segment in self._gone if segment.first_ns]
        span = {
            "start_ns": min((segment.first_ns for segment in known), default=0),
            "end_ns": max((segment.last_ns for segment in known), default=0),
        }
        for stream, (frames, gaps) in sorted(self._deleted().items()):
            for reason, count in ((DELETED, frames), *sorted(gaps.items())):
                if count:
                    gap = {"reason": reason, "first": None, "last": None, "count": count, **span}
                    salvage.gap(stream, 0, {**gap, "estimated": False})

    def _counters(self) -> dict[str, list[int]]:
        """The totals as clock records have them: a list by stream."""
        streams = range(max(self._names, default=-1) + 1)
        own = [self._totals.get(self._names.get(stream, ""), {}) for stream in streams]
        return {key: [totals.get(key, 0) for totals in own] for key in ("written", *_TOTALLED_REASONS)}


def _recover_mesh(source: Path, target: Path, report: RecoveryReport, *, alone: bool) -> Numbers:
    """Copy a mesh file that is whole, write what is left of one that is not; the number of each frame there,
    -1 for one that has none. `alone`: nothing else tells of what it should hold."""
    numbers = NO_NUMBERS
    try:
        with MeshReader(source) as reader:
            refused: list[str] = []
            numbers = np.array([_number_of(frame) for frame in _readable(reader, refused)], np.int64)
            count = len(numbers)
            note = "; ".join(filter(None, [reader.damage, *refused]))
            if not note and reader.closed:
                _copy(source, target)
            elif count and reader.codec == "native":
                recover_file(source, target)  # segments that are whole, as they are
            elif count:
                count = _rewrite(reader, target)
            if not reader.closed:
                report.meshes_killed = True
                if alone and not note:
                    report.notes.append(f"{source}: its writer was killed: what came last may be missing")
    except (FormatError, StorageError) as error:
        if target.exists():
            raise  # the copy failed, not the source
        count, note = 0, str(error)
    numbers = numbers[:count]  # fewer than were read, where damage left frames that nobody could have written
    if note:
        report.mesh_loss = True
        report.notes.append(f"{source}: {count} meshes saved; {note}")
    report.meshes += count
    return numbers


def _number_of(frame: dict[str, Any]) -> int:
    number = whole_number(frame.get("frame_number"))
    return number if number is not None and 0 <= number < 1 << 62 else -1


def _readable(reader: MeshReader, refused: list[str]) -> Iterator[dict[str, Any]]:
    """Every frame up to one that is refused, if there is one: a pickle in it, or what no writer makes."""
    try:
        yield from reader
    except FormatError as error:
        refused.append(str(error))


def _rewrite(reader: MeshReader, target: Path) -> int:
    """How many frames went into the new file; what damage left of a frame does not."""
    count = 0
    step_mm = min(reader.quantizations_mm, default=0.5)  # of all frames: they were read once already
    with MeshWriter(target, metadata=reader.metadata, quantization_mm=step_mm, fps=reader.fps) as writer:
        for frame in _readable(reader, []):
            entries = {str(key): value for key, value in frame.items()}
            if "rejected_people" in entries:  # the writer has that name for itself
                entries["rejected_people_recorded"] = entries.pop("rejected_people")
            with contextlib.suppress(CodecError):  # damage can leave a frame that nobody could have written
                writer.append(**entries)
                count += 1
    return count


def _copy(source: Path, target: Path) -> None:
    out = AppendFile(target)
    try:
        for block in _blocks(source):
            out.append(block)
        out.sync()
    finally:
        out.close()


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(_COPY_BYTES):
                yield block
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error


def _copy_session_files(path: Path, out: Path, report: RecoveryReport) -> None:
    if (path / session.SESSION_FILE).exists():
        if session.load_session(path):
            _copy(path / session.SESSION_FILE, out / session.SESSION_FILE)
        else:
            report.notes.append(
                f"{path / session.SESSION_FILE} is left out, {session_trouble(path)}; the rest tells as much"
            )
    events = path / session.EVENTS_FILE
    if session.file_size(events) > session.EVENTS_BYTES_MAX:
        report.notes.append(f"{events} is left out: it is larger than a session's events can be")
    elif events.is_file():
        lines = b"".join(_blocks(events)).splitlines(keepends=True)
        whole = [line for line in lines if _is_json(line)]
        durable.write_atomically(out / session.EVENTS_FILE, b"".join(whole))
        if len(whole) < len(lines):
            report.notes.append(f"{events}: {len(lines) - len(whole)} broken lines are left out")


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return line.endswith(b"\n")
