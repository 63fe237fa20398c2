"""What every export shares: which frames are wanted, where files go, and work on several cores."""

from __future__ import annotations

import csv
import errno
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import numpy.typing as npt

from capture.mesh_faces import Int32
from capture.recording import RecordedStream, Recording
from codec.errors import ConfigError, DamagedError, DiskFullError, StorageError
from codec.records import Record

_IN_FLIGHT_PER_THREAD = 4
_FAR_S = 4e9  # beyond every recording, and still a number of nanoseconds that fits an index


@dataclass(frozen=True, slots=True)
class Selection:
    """Which part of a recording: cameras by name (none: all), every Nth frame, seconds since its start."""

    cameras: tuple[str, ...] = ()
    every: int = 1
    from_s: float | None = None
    to_s: float | None = None


@dataclass(slots=True)
class ExportJob:
    """One export. `begin` is told how many steps there are and gives back what counts them.

    `faces` (F, 3) are the triangles of meshes whose files name none. After it, `files` is how many were
    written and `notes` are worth telling; frames that could not be read stand in the recording's `damage`.
    """

    recording: Recording
    out: Path
    format_name: str
    selection: Selection = field(default_factory=Selection)
    faces: Int32 | None = None
    begin: Callable[[int], Callable[[int], None]] = lambda _: lambda _: None
    files: int = 0
    notes: list[str] = field(default_factory=list)

    def streams(
        self, pixel_formats: Iterable[str], *, needed: bool = True
    ) -> dict[str, list[RecordedStream]]:
        """Camera -> its streams of these formats that have frames. Raises ConfigError without any that is
        `needed`."""
        wanted, formats = self.selection.cameras, tuple(pixel_formats)
        self.check_cameras()
        found: dict[str, list[RecordedStream]] = {}
        for stream in self.recording.streams.values():
            camera = camera_of(stream)
            if stream.info.pixel_format in formats and len(stream) and (not wanted or camera in wanted):
                found.setdefault(camera, []).append(stream)
        if needed and not found:
            raise ConfigError(f"{self.recording.path} has no frames that {self.format_name} could show")
        return found

    def check_cameras(self) -> None:
        """Raise ConfigError for a --camera that is not in the recording."""
        known = list(dict.fromkeys(camera_of(stream) for stream in self.recording.streams.values()))
        for name in self.selection.cameras:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'none'}"
                raise ConfigError(f"--camera {name}: no such camera in {self.recording.path}; {hint}")

    def start(self, steps: int, *, selected: int) -> Callable[[int], None]:
        """Create `out` and give back what counts the steps: all that could be refused has been looked at.

        Raises ConfigError, with nothing created, where no frame is selected; else StorageError.
        """
        if not selected:
            raise ConfigError(self._nothing_selected())
        make_folder(self.out)
        return self.begin(steps)

    def _nothing_selected(self) -> str:
        ends = ("--from", self.selection.from_s), ("--to", self.selection.to_s)
        asked = " ".join(f"{option} {value_s:g}" for option, value_s in ends if value_s is not None)
        long_s = (self.recording.last_ns - self.recording.first_ns) / 1e9
        return (
            f"{asked}: nothing to export lies there; {self.recording.path} is {long_s:.1f} s long"
            if asked
            else f"{self.recording.path} has nothing that {self.format_name} could show"
        )

    def folder(self, camera: str, cameras: Iterable[str]) -> Path:
        """With one camera `out` itself, with several one folder for each."""
        return make_folder(self.out / camera if len(list(cameras)) > 1 else self.out)

    def inside(self, monotonic_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        """Which of these moments lie between --from and --to, by their places."""
        begin_ns = self.recording.first_ns
        from_s, to_s = self.selection.from_s, self.selection.to_s
        wanted = np.ones(len(monotonic_ns), dtype=bool)
        if from_s is not None:
            wanted &= monotonic_ns >= begin_ns + round(min(from_s, _FAR_S) * 1e9)
        if to_s is not None:
            wanted &= monotonic_ns < begin_ns + round(min(to_s, _FAR_S) * 1e9)
        return np.flatnonzero(wanted)

    def chosen(self, monotonic_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        """Every Nth of those."""
        return self.inside(monotonic_ns)[:: self.selection.every]

    def moment(self, monotonic_ns: int) -> str:
        """UTC for a table, or nothing."""
        return self.recording.utc(monotonic_ns) or ""

    def write(self, path: Path, data: bytes | memoryview) -> None:
        """Write a new file. Raises DiskFullError or StorageError. Any thread may call it."""
        try:
            with path.open("xb") as file:
                file.write(data)
        except OSError as error:
            raise storage_error(path, error) from error

    def write_table(self, path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Write a CSV file, row by row."""
        try:
            with path.open("x", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(header)
                writer.writerows(rows)
        except OSError as error:
            raise storage_error(path, error) from error
        self.files += 1


def camera_of(stream: RecordedStream) -> str:
    """The camera's name in "<camera>/<stream>"."""
    return stream.name.rpartition("/")[0]


def make_folder(path: Path) -> Path:
    """Create a folder and those above it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error
    return path


def storage_error(path: Path, error: OSError) -> StorageError:
    """What the disk said, as one of our errors."""
    kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
    return kind(f"cannot write {path}: {error.strerror or error}")


def read_records(
    wanted: Iterable[tuple[RecordedStream, int]],
) -> Iterator[tuple[RecordedStream, int, Record | None]]:
    """The records of (stream, index), in that order; None for one that is damaged, which is then noted."""
    for stream, index in wanted:
        try:
            yield stream, index, stream.record(index)
        except DamagedError as error:
            stream.note_damage(index, str(error))
            yield stream, index, None


def counted(indices: Iterable[int], done: Callable[[int], None]) -> Iterator[int]:
    """The same, each reported as done when the next one is asked for."""
    for index in indices:
        yield index
        done(1)


class Workers:
    """Runs calls on all cores, a few ahead; what they raise comes out of submit() or close()."""

    def __init__(self) -> None:
        threads = max(1, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="export")
        self._most = threads * _IN_FLIGHT_PER_THREAD
        self._waiting: deque[Future[None]] = deque()

    def submit(self, call: Callable[[], None]) -> None:
        """Start a call; waits while too many are under way."""
        self._waiting.append(self._pool.submit(call))
        if len(self._waiting) >= self._most:
            self._waiting.popleft().result()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while self._waiting and kind is None:
                self._waiting.popleft().result()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
