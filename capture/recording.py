"""Reads a recording: a session, one camera's folder or a single file, its segments as one.

    with Recording("recordings/20250101T220000Z-demo") as recording:
        depth = recording.streams["front/depth"]
        print(len(depth), depth.frame(1000).data)

Promises: frames come in order across segments, each once, even where a writer that died left one twice;
any frame is found by its index in logarithmic time; only a few files are open at any moment and memory
does not grow with the length of the recording. Iteration steps over damage and lists it in `damage`;
asking for a damaged frame raises DamagedError. Never writes; not shared between threads.
"""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from capture import session
from capture._recorded_clock import WallClock
from capture._recorded_info import is_folder_name
from capture._recorded_series import RecordedGap, SeriesStreams
from capture._segment_survey import OpenFiles, SegmentSurvey, survey
from capture.given_files import read_small
from capture.mesh_frames import whole_number
from capture.recorded_stream import ESTIMATOR, RecordedFrame, RecordedStream, RecordingDamage
from codec.errors import FormatError, NotOurFileError, StorageError
from codec.mesh import MeshReader
from codec.records.layout import HEADER_BYTES, unpack_header

__all__ = ["ESTIMATOR", "RecordedFrame", "RecordedGap", "RecordedStream", "Recording", "RecordingDamage"]

_EPOCH = datetime(1970, 1, 1)
_MESH_REPEATS = 4096  # a writer that took over repeats no more than lay in its ring


class Recording:
    """A session (or part of one), open for reading.

    streams   "<camera>/<stream>" -> RecordedStream, cameras in the order of their names
    gaps      what is missing, as the recording accounts for it, in order of time
    damage    what cannot be read, as far as has been looked: opening looks at headers and indexes
    session_trouble   why session.json tells nothing though it is there; "" where it does or is not
    """

    def __init__(self, path: str | Path) -> None:
        """Open it. Raises ConfigError (no such path), NotOurFileError or StorageError."""
        self.path = Path(path)
        found = session.open_session(self.path)
        self.info = found.info
        self.session_trouble = session_trouble(self.path)
        self.mesh_paths = found.meshes
        self.damage: list[RecordingDamage] = []
        self.empty_segments: list[Path] = []
        self.streams: dict[str, RecordedStream] = {}
        self.segments: list[SegmentSurvey] = []
        self._files = OpenFiles()
        try:
            for series in found.series:
                self._open_series(series, alone=found.folder != self.path)
        except BaseException:
            self._files.close()
            raise
        self.gaps = sorted((g for s in self.streams.values() for g in s.gaps), key=lambda gap: gap.start_ns)
        self._clock = WallClock(self.segments, self._files, _session_clock(self.info))

    def _open_series(self, series: session.Series, *, alone: bool) -> None:
        surveys = [s for s in (self._survey(path, alone=alone) for path in series.segments) if s is not None]
        self.segments += surveys
        name = series.name
        if alone and surveys:
            said = surveys[0].info.get("camera")
            name = str(said) if is_folder_name(said) else series.name
        for stream in SeriesStreams(surveys, self._files).streams(name):
            self.streams[stream.name] = RecordedStream(
                stream.name, stream.info, stream.camera, stream.parts, stream.gaps, self._files, self.damage
            )

    def _survey(self, path: Path, *, alone: bool) -> SegmentSurvey | None:
        """None where nothing in the file can be read."""
        if trouble := session.broken_link(path):
            self.damage.append(RecordingDamage(path, 0, 0, trouble))
            return None
        try:
            found = survey(self._files.file(path))
        except NotOurFileError as error:
            if alone or begins_with_record(path):
                raise  # ours, but of a newer version; or the only file there is
            if session.is_empty(path):
                self.empty_segments.append(path)
            else:
                self.damage.append(RecordingDamage(path, 0, path.stat().st_size, str(error)))
            return None
        self.damage += [RecordingDamage(path, d.offset, d.length, d.kind) for d in found.damage]
        return found

    @property
    def first_ns(self) -> int:
        """When the first frame of all came, on the recording machine's monotonic clock; of meshes, where
        there is nothing else."""
        return self._span_ns[0]

    @property
    def last_ns(self) -> int:
        """When the last frame of all came."""
        return self._span_ns[1]

    @cached_property
    def _span_ns(self) -> tuple[int, int]:
        """0, 0 where nothing says when it was."""
        filled = [stream for stream in self.streams.values() if len(stream)]
        if filled:
            return min(stream.first_ns for stream in filled), max(stream.last_ns for stream in filled)
        times_ns: list[int] = []
        for path in self.mesh_paths:
            with contextlib.suppress(FormatError, StorageError, IndexError), MeshReader(path) as reader:
                ends = (reader[0], reader[-1])
                times_ns += [at for end in ends if (at := whole_number(end.get("monotonic_ns"))) is not None]
        return min(times_ns, default=0), max(times_ns, default=0)

    @property
    def file_bytes(self) -> int:
        """Size of all record files."""
        return sum(segment.size for segment in self.segments)

    @property
    def mesh_bytes(self) -> int:
        """Size of all mesh files."""
        return sum(session.file_size(path) for path in self.mesh_paths)

    def wall_ns(self, monotonic_ns: int) -> int | None:
        """UTC, in nanoseconds since 1970, by the clock records around that moment; None without any."""
        return self._clock.wall_ns(monotonic_ns)

    def utc(self, monotonic_ns: int) -> str | None:
        """ISO 8601 with milliseconds; None where the recording has no clock record."""
        wall_ns = self.wall_ns(monotonic_ns)
        try:
            moment = None if wall_ns is None else _EPOCH + timedelta(microseconds=wall_ns // 1000)
        except OverflowError:
            return None
        return None if moment is None else f"{moment.isoformat(timespec='milliseconds')}Z"

    def meshes(self) -> Iterator[dict[str, Any]]:
        """Every mesh frame, in order and each once; vertices and joints in millimetres, where it has them.

        Files that cannot be read, wholly or in part, are listed in `damage`.
        """
        return (frame for _, frame in self.meshes_and_metadata())

    def meshes_and_metadata(self) -> Iterator[tuple[object, dict[str, Any]]]:
        """The same, each with the metadata of the file that it lies in."""
        recent: deque[tuple[int | None, int | None]] = deque(maxlen=_MESH_REPEATS)
        for path in self.mesh_paths:
            before = frozenset(recent)
            try:
                with MeshReader(path) as reader:
                    for frame in reader:
                        key = (
                            whole_number(frame.get("monotonic_ns")),
                            whole_number(frame.get("frame_number")),
                        )
                        if key[0] is None or key not in before:
                            recent.append(key)
                            yield reader.metadata, frame
                    note = reader.damage
            except (FormatError, StorageError) as error:
                note = str(error)
            if note:
                self._note_mesh_damage(path, note)

    def mesh_count(self) -> int:
        """How many mesh frames there are; quick where the files were closed properly."""
        return sum(self.mesh_counts().values())

    def mesh_counts(self) -> dict[Path, int]:
        """The same for each mesh file; those that cannot be read are listed in `damage` and left out."""
        counts = {}
        for path in self.mesh_paths:
            try:
                with MeshReader(path) as reader:
                    counts[path] = len(reader)
            except (FormatError, StorageError) as error:
                self._note_mesh_damage(path, str(error))
        return counts

    def _note_mesh_damage(self, path: Path, note: str) -> None:
        if all(damage.path != path for damage in self.damage):
            told = note.removeprefix(f"{path}: ").removeprefix(f"{path} ")
            self.damage.append(RecordingDamage(path, 0, session.file_size(path), told))

    def close(self) -> None:
        """Safe to call twice."""
        self._files.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def session_trouble(folder: Path) -> str:
    """Why the folder's session.json tells nothing though it is there; "" where it does or is not."""
    path = folder / session.SESSION_FILE
    if not folder.is_dir() or not path.exists():
        return ""
    try:
        if not (path.is_file() or path.is_dir()):  # a pipe, say, would keep us waiting
            return "it is not a file"
        value = json.loads(read_small(path))
    except OSError as error:
        return f"it is unreadable: {error.strerror}"
    except (ValueError, RecursionError):
        value = None
    return "" if isinstance(value, dict) and value else "it is not the JSON it should be"


def begins_with_record(path: Path) -> bool:
    """Whether a file begins with a whole record of ours, whatever the version."""
    try:
        with path.open("rb") as file:
            header = unpack_header(file.read(HEADER_BYTES))
        return header is not None and header.total_bytes <= path.stat().st_size
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error


def _session_clock(info: dict[str, Any]) -> list[tuple[int, int]]:
    started = info.get("started")
    if not isinstance(started, dict):
        return []
    pair = started.get("monotonic_ns"), started.get("wall_ns")
    return [pair] if type(pair[0]) is int and type(pair[1]) is int else []  # type: ignore[list-item]
