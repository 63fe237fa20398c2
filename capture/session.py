"""The one place that knows folder and file names.

<root>/<YYYYmmddTHHMMSSZ>-<rig>/
    session.json                  what was recorded, with what, and the totals
    events.jsonl                  connects, losses, restarts, disk warnings
    <camera>/000.nrig, 001.nrig   all streams of one camera, in segments
    people/parameters-000.nrig    body parameters; people/mesh-000.xz (or .nrm) the meshes
    <estimator>/000.nrig          depth maps an estimator made
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capture.given_files import read_small
from codec import durable
from codec.errors import ConfigError, FormatError, NotOurFileError, StorageError
from codec.records.reader import RecordFile

SESSION_FILE = "session.json"
EVENTS_FILE = "events.jsonl"
PEOPLE = "people"
PARAMETERS_PREFIX = "parameters-"
MESH_PREFIX = "mesh-"
EVENTS_BYTES_MAX = 256 << 20
"""Events are limited in rate: a file that is larger is not ours."""
_MESH_SUFFIXES = {"bodycompress": "xz", "native": "nrm"}
_MESH_FILES = (".xz", ".zst", ".zstd", ".nrm")
"""What a mesh file that is named alone may be called; those of a session have the names above."""
_SEGMENT = re.compile(r"^(?P<prefix>[a-z]+-)?(?P<number>[0-9]{3,})\.(?P<suffix>nrig|xz|nrm)\Z")
_TEMPORARY_SUFFIX = ".recompress"
_TEMPORARY = re.compile(
    rf"^\.(?P<segment>.+)\.(?P<codec>[a-z0-9-]+)\.[0-9a-f]{{8}}{re.escape(_TEMPORARY_SUFFIX)}\Z"
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")

_SAME_SECOND = 10_000  # a machine without a clock of its own may begin every day at the same second

RESERVED_NAMES = (PEOPLE, SESSION_FILE, EVENTS_FILE)
"""What a camera or an estimator cannot be called: the session folder holds these itself."""


def is_name(name: str) -> bool:
    """Whether a rig, a camera or an estimator may be called that: it becomes (part of) a folder's name."""
    return _NAME.match(name) is not None


def segment_path(folder: Path, number: int, *, prefix: str = "", suffix: str = "nrig") -> Path:
    """Where segment `number` of a series lies."""
    return folder / f"{prefix}{number:03d}.{suffix}"


def list_segments(folder: Path, *, prefix: str = "", suffix: str = "nrig") -> list[Path]:
    """The segments of a series that exist, in order. Raises StorageError."""
    found: list[tuple[int, Path]] = []
    try:
        paths = list(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise StorageError(f"cannot read the folder {folder}: {error.strerror}") from error
    for path in paths:
        match = _SEGMENT.match(path.name)
        if match and (match["prefix"] or "") == prefix and match["suffix"] == suffix:
            found.append((int(match["number"]), path))
    return [path for _, path in sorted(found)]


def is_segment_name(name: str) -> bool:
    """Whether a file of a camera's folder (or of people/) may be called that."""
    return _SEGMENT.match(name) is not None


def broken_link(segment: Path) -> str:
    """What is wrong with a segment that is a link to nowhere, as when a disk is not mounted; else ""."""
    if segment.is_symlink() and not segment.exists():
        return f"it is a link to {segment.readlink()}, which is not there"
    return ""


def file_size(path: Path) -> int:
    """In bytes; 0 for what cannot be looked at, as a link to nowhere."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def next_segment_number(folder: Path, *, prefix: str = "", suffix: str = "nrig") -> int:
    """One above the highest there is: a segment is never opened for appending again."""
    existing = list_segments(folder, prefix=prefix, suffix=suffix)
    if not existing:
        return 0
    return _segment_number(existing[-1]) + 1


def list_meshes(folder: Path) -> list[Path]:
    """The mesh files of a folder, of either kind, in order, and each number once. Raises StorageError."""
    return [paths[0] for paths in _meshes_by_number(folder)]


def list_mesh_doubles(folder: Path) -> list[Path]:
    """Mesh files beside one of the same number and the other kind: whole copies that an interrupted
    recompression has not taken away yet, or that somebody made by hand. Raises StorageError."""
    return [path for paths in _meshes_by_number(folder) for path in paths[1:]]


def _meshes_by_number(folder: Path) -> list[list[Path]]:
    found: dict[int, list[Path]] = {}
    for suffix in _MESH_SUFFIXES.values():
        for path in list_segments(folder, prefix=MESH_PREFIX, suffix=suffix):
            found.setdefault(_segment_number(path), []).append(path)
    return [sorted(paths, key=is_empty) for _, paths in sorted(found.items())]


def is_empty(path: Path) -> bool:
    """Whether it is a file in which nothing is: its writer was killed, or lost its power, before it began."""
    return path.is_file() and not file_size(path)


def is_mesh_path(path: Path) -> bool:
    """Whether a file is a mesh file, by its name."""
    return path.suffix in _MESH_FILES


def mesh_path_as(path: Path, codec: str) -> Path:
    """What that mesh file is called as one of the other kind; the same name where it is of that kind."""
    return path if path.suffix[1:] == _MESH_SUFFIXES[codec] else path.with_suffix(f".{_MESH_SUFFIXES[codec]}")


def next_mesh_path(folder: Path, codec: str) -> Path:
    """Where the next mesh file of a folder lies: no two have the same number, whatever their kinds."""
    existing = list_meshes(folder)
    number = _segment_number(existing[-1]) + 1 if existing else 0
    return segment_path(folder, number, prefix=MESH_PREFIX, suffix=_MESH_SUFFIXES[codec])


def _segment_number(path: Path) -> int:
    match = _SEGMENT.match(path.name)
    assert match is not None
    return int(match["number"])


@dataclass(frozen=True, slots=True)
class TemporarySegment:
    """A file that was to replace `segment`, with its depth in the codec of that name."""

    path: Path
    segment: Path
    codec: str

    @property
    def size(self) -> int:
        """In bytes; 0 where it is gone."""
        return file_size(self.path)


def temporary_segment(segment: Path, codec: str) -> Path:
    """A new name beside a segment for what is to replace it; nothing that looks for segments finds it."""
    return segment.with_name(f".{segment.name}.{codec}.{secrets.token_hex(4)}{_TEMPORARY_SUFFIX}")


def list_temporary_segments(segments: Iterable[Path]) -> list[TemporarySegment]:
    """What a killed program left beside these segments. Raises StorageError."""
    names: dict[Path, set[str]] = {}
    for segment in segments:
        names.setdefault(segment.parent, set()).add(segment.name)
    found = []
    for folder, own in names.items():
        try:
            paths = list(folder.iterdir())
        except OSError as error:
            raise StorageError(f"cannot read the folder {folder}: {error.strerror}") from error
        for path in paths:
            match = _TEMPORARY.match(path.name)
            if match and match["segment"] in own:
                found.append(TemporarySegment(path, folder / match["segment"], match["codec"]))
    return sorted(found, key=lambda left: left.path)


def create_session(root: Path, rig: str, config: dict[str, Any], versions: dict[str, str]) -> Path:
    """Make the folder and its session.json; two starts in one second get two folders.

    Raises DiskFullError or StorageError.
    """
    durable.make_directory(root)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for attempt in range(_SAME_SECOND):
        suffix = f"-{attempt}" if attempt else ""
        folder = root / f"{stamp}-{rig}{suffix}"
        try:
            durable.make_new_directory(folder)
        except FileExistsError:
            continue
        now = {"wall_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
        save_session(
            folder,
            {"format": "nightrig-session", "version": 1, "rig": rig, "started": now}
            | {"config": config, "versions": versions, "cameras": {}, "totals": None},
        )
        return folder
    raise StorageError(f"cannot find a free name for a session in {root}")


def save_session(folder: Path, value: dict[str, Any]) -> None:
    """Replace session.json, whole or not at all."""
    durable.write_atomically(folder / SESSION_FILE, (json.dumps(value, indent=1) + "\n").encode())


def load_session(folder: Path) -> dict[str, Any]:
    """session.json, or {} where there is none or it is broken: the record files say all that is needed."""
    try:
        path = folder / SESSION_FILE
        value = json.loads(read_small(path)) if path.is_file() else {}  # a pipe would keep us waiting
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def append_event(folder: Path, event: dict[str, Any], *, synced: bool = False) -> None:
    """One line more in events.jsonl, with `synced` on the disk when this returns. Raises StorageError."""
    stamp = {"wall_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
    line = json.dumps({**stamp, **event}, separators=(",", ":"))
    durable.append_line(folder / EVENTS_FILE, line.encode(), synced=synced)


def find_series(session: Path, name: str) -> list[Path]:
    """The record files of a camera or estimator so far, in order; an estimator's may lie in people/."""
    return list_segments(session / name) or [
        path
        for path in list_segments(session / PEOPLE, prefix=PARAMETERS_PREFIX)
        if _written_by(path) == name
    ]


def _written_by(path: Path) -> str | None:
    try:
        with RecordFile(path) as file:
            return str(file.info.get("camera"))
    except (FormatError, StorageError):
        return None


@dataclass(frozen=True, slots=True)
class Series:
    """The segments of one camera or estimator, in order. `name` is the camera's, "people" for bodies."""

    name: str
    segments: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class SessionFiles:
    """What is in a session folder (or a single camera folder, or one file).

    `empty_meshes` are the mesh files of a folder that were created and never begun; none of `meshes` is.
    """

    folder: Path
    info: dict[str, Any]
    series: tuple[Series, ...]
    meshes: tuple[Path, ...]
    is_session: bool = False
    mesh_doubles: tuple[Path, ...] = ()
    empty_meshes: tuple[Path, ...] = ()


def enclosing_session(path: Path) -> Path | None:
    """The session folder that a session, a camera's folder or a segment is or lies in, as far as one says
    so by its session.json."""
    for place in (path.absolute(), Path(os.path.realpath(path))):
        for folder in (place, place.parent, place.parent.parent)[place.is_file() : 2 + place.is_file()]:
            if (folder / SESSION_FILE).is_file():
                return folder
    return None


def open_session(path: Path) -> SessionFiles:
    """Find the files of a session, of one camera's folder, or a single .nrig file.

    Raises ConfigError where the path does not exist, NotOurFileError where nothing of ours is in it, and
    StorageError where it cannot be looked into.
    """
    try:
        return _open_session(path)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error


def _open_session(path: Path) -> SessionFiles:
    if path.is_file():
        if is_mesh_path(path):
            return SessionFiles(path.parent, {}, (), (path,))
        return SessionFiles(path.parent, {}, (Series(path.stem, (path,)),), ())
    if path.exists() and not path.is_dir():
        raise ConfigError(
            f"{path} is not a file or folder; name a session folder, a camera folder or a .nrig file"
        )
    if not path.is_dir():
        raise ConfigError(
            f"{path} does not exist; name a session folder, a camera folder, a .nrig or a mesh file"
        )
    own = list_segments(path) or list_segments(path, prefix=PARAMETERS_PREFIX)
    meshes, doubles = list_meshes(path), list_mesh_doubles(path)
    if own or meshes:
        found = (Series(path.name, tuple(own)),) if own else ()
        begun, empty = _begun(meshes)
        return SessionFiles(path, {}, found, begun, mesh_doubles=tuple(doubles), empty_meshes=empty)
    series = []
    for folder in sorted(p for p in path.iterdir() if p.is_dir()):
        segments = list_segments(folder) or list_segments(folder, prefix=PARAMETERS_PREFIX)
        if segments:
            series.append(Series(folder.name, tuple(segments)))
        meshes += list_meshes(folder)
        doubles += list_mesh_doubles(folder)
    if not series and not meshes and not (path / SESSION_FILE).is_file():
        raise NotOurFileError(
            f"{path} holds no recording: no session.json and no camera folder with .nrig files"
        )
    info = load_session(path)
    begun, empty = _begun(meshes)
    return SessionFiles(path, info, tuple(series), begun, True, tuple(doubles), empty)


def _begun(meshes: list[Path]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Those in which there is something, and those in which there is nothing."""
    empty = tuple(path for path in meshes if is_empty(path))
    return tuple(path for path in meshes if path not in empty), empty
