"""Mesh files from one kind to the other, or packed anew: every whole number of the grid stays what it is.

    done = convert(Path("mesh-000.xz"), Path("mesh-000.nrm"), Target("native"))

The new file is written in a folder of its own beside its place (see _staging), synced, read back and held
against the old one frame by frame, on the grid; only then does it get its name. The old file is never
touched, and an existing file never overwritten. Of a damaged file everything that is whole is converted,
and the rest is told.

What native files hold and bodycompress files cannot: people who are not known, wholly or in part. They are
left out, and the frame lists their places as `rejected_people`; a frame without an axis of people keeps all
but its arrays. A `camera` that bodycompress would not take for one becomes `camera_recorded`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from codec import durable
from codec.errors import CodecError, ConfigError, DamagedError, FormatError, StorageError
from codec.mesh._grid import QUANTISED
from codec.mesh._segment_reader import read_head
from codec.mesh._staging import staged
from codec.mesh.bodycompress_frames import REJECTED
from codec.mesh.bodycompress_writer import THREADS_MAX
from codec.mesh.mesh_files import MeshReader, MeshWriter
from codec.mesh.msgpack_arrays import pack
from codec.mesh.native_repack import Stage, fitted_writer
from codec.records.layout import MESHES
from codec.records.reader import RecordFile

Frame = dict[str, Any]
Progress = Callable[[int], None]

WAYS = ("small", "affine", "fast")
_DEFAULT_STEP_MM = 0.5
_SEGMENT_S = {"bodycompress": 5.0, "native": 2.0}
_RATE = 30.0
_CAMERA = ("rotvec_w2c", "loc", "intr")


@dataclass(frozen=True, slots=True)
class Target:
    """What is to become of a file. `way` is for native ones; `compression`, `preset` and `vertex_order` for
    those of bodycompress, as its writer has them. `closed`: whether the new file says of itself that its
    writer got to its end; native only. `whole`: a damaged file is refused, before a model is fitted."""

    codec: str
    way: str = "small"
    compression: str = "xz"
    preset: int | None = None
    vertex_order: object = None
    closed: bool = True
    whole: bool = False

    @property
    def readings(self) -> int:
        """How often each frame is read on the way: progress is counted in that."""
        return 3 if self.codec == "native" and self.way != "fast" else 2


@dataclass(slots=True)
class Converted:
    """What was done. `left_out`: people of whom nothing was known, `cut`: people known in part, and `bare`:
    frames without an axis of people, that bodycompress has no room for. `skipped`: frames next to damage
    that no file can hold. `damage`: what else of the old file is missing. raw_bytes: as float32."""

    frames: int = 0
    people: int = 0
    left_out: int = 0
    cut: int = 0
    bare: int = 0
    renamed_cameras: int = 0
    skipped: int = 0
    damage: str = ""
    raw_bytes: int = 0
    before_bytes: int = 0
    after_bytes: int = 0
    quantization_mm: float = _DEFAULT_STEP_MM
    _skipped: set[int] = field(default_factory=set, repr=False)

    @property
    def lossless(self) -> bool:
        """Whether all that was in the old file is in the new one."""
        return not (self.damage or self.cut or self.bare or self.skipped)


def convert(
    source: Path,
    out: Path,
    target: Target,
    progress: Progress = lambda _: None,
    stage: Stage = lambda _: None,
) -> Converted:
    """Write `out`. `progress` is told of each frame `target.readings` times, `stage` of what takes long.

    Raises ConfigError where `out` exists, FileBusyError where somebody else is making it, CodecError for
    frames that cannot be stored (a file whose frames lie on different grids), NotOurFileError, StorageError.
    Whatever is raised, nothing bears the name `out`; what a killed conversion to it has left is cleared away.
    """
    if out.exists() or out.is_symlink():
        raise ConfigError(f"{out} exists already, and nothing is overwritten: name another file")
    with staged(out) as temporary:
        done = write_converted(source, temporary, target, progress, stage)
        durable.publish_file(temporary, out)
    return done


def write_converted(
    source: Path,
    temporary: Path,
    target: Target,
    progress: Progress = lambda _: None,
    stage: Stage = lambda _: None,
) -> Converted:
    """The same into a new file that stays where it is: written, synced, and compared with the old one."""
    done = Converted(before_bytes=_size(source))
    with MeshReader(source) as reader:
        done.quantization_mm = _step_of(reader, source)
        with _writer(reader, temporary, target, done, progress, stage) as writer:
            _write(reader, writer, temporary, target, done, progress)
            if not target.closed:
                writer.close(sealed=False)
        durable.drop_from_memory(temporary)
        _compare(reader, temporary, target, done, progress)
    done.after_bytes = _size(temporary)
    return done


def same_meshes(old: Path, new: Path, target: Target) -> bool:
    """Whether `new` is what `old` becomes. Raises FormatError or StorageError where one cannot be read."""
    done = Converted()
    with MeshReader(old) as reader:
        done.quantization_mm = _step_of(reader, old)
        try:
            _compare(reader, new, target, done, lambda _: None)
        except StorageError:
            return False
        return not reader.damage and not done.skipped


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise StorageError(f"cannot look at {path}: {error.strerror}") from error


# ---- reading ----


def _step_of(reader: MeshReader, source: Path) -> float:
    """The step of the file's grid; the usual one where it has no points. Raises CodecError."""
    if reader.codec == "native":
        steps = reader.quantizations_mm or _steps_in_segments(source)
    else:
        for frame in reader:
            if any(name in frame for name in QUANTISED):
                break
        steps = reader.quantizations_mm
    _refuse_grids(steps, source, None)
    return steps[0] if steps else _DEFAULT_STEP_MM


def _steps_in_segments(source: Path) -> tuple[float, ...]:
    """Where the head of a native file is lost."""
    found: list[float] = []
    with RecordFile(source) as file:
        for index in file.of_kind(MESHES):
            try:
                head = read_head(file.read(int(index)).payload)
            except FormatError:
                continue
            if head.signature.arrays and 1.0 / head.steps_per_mm not in found:
                found.append(1.0 / head.steps_per_mm)
    return tuple(found)


def _refuse_grids(steps_mm: tuple[float, ...], source: Path, frame: int | None) -> None:
    if len(steps_mm) > 1:
        told = " and ".join(f"{step:g}" for step in steps_mm[:3])
        where = "" if frame is None else f"frame {frame}: "
        raise CodecError(
            f"{source}: {where}its frames lie on grids of {told} mm; the new file would have one, and numbers"
            " would change: keep this file, or write its frames into a new one with MeshWriter"
        )


def _numbered(reader: MeshReader, done: Converted, source: str) -> Iterator[tuple[int, Frame]]:
    """Every whole frame. What cannot be read is noted."""
    try:
        for number, frame in enumerate(reader):
            if reader.codec == "bodycompress":
                _refuse_grids(reader.quantizations_mm, Path(source), number)
            yield number, frame
    except CodecError:
        raise
    except FormatError as error:  # it cannot be read any further
        done.damage = str(error)
    done.damage = done.damage or reader.damage


# ---- writing ----


def _writer(
    reader: MeshReader, temporary: Path, target: Target, done: Converted, progress: Progress, stage: Stage
) -> MeshWriter:
    common: dict[str, Any] = {
        "codec": target.codec,
        "metadata": reader.metadata,
        "quantization_mm": done.quantization_mm,
        "fps": reader.fps,
    }
    if target.codec == "bodycompress":
        preset: dict[str, Any] = {} if target.preset is None else {"preset": target.preset}
        return MeshWriter(
            temporary,
            **common,
            compression=target.compression,
            vertex_order=target.vertex_order,
            segment_s=_SEGMENT_S["bodycompress"],
            threads=min(THREADS_MAX, len(os.sched_getaffinity(0))),
            **preset,
        )
    if target.way != "fast":
        del common["codec"]
        frames = _looked_at(reader, target)
        return MeshWriter.around(
            fitted_writer(
                temporary, frames, count=len(reader), way=target.way, **common, progress=progress, stage=stage
            )
        )
    return MeshWriter(
        temporary,
        **common,
        way=target.way,
        segment_frames=round(_SEGMENT_S["native"] * (reader.fps or _RATE)),
    )


def _looked_at(reader: MeshReader, target: Target) -> Iterator[Frame]:
    """Every whole frame, for a first look. Raises DamagedError at the end where all of them are wanted."""
    seen = Converted()
    for _, frame in _numbered(reader, seen, reader.path):
        yield frame
    if seen.damage and target.whole:
        raise DamagedError(f"{reader.path}: {seen.damage}")


def _write(
    reader: MeshReader,
    writer: MeshWriter,
    temporary: Path,
    target: Target,
    done: Converted,
    progress: Progress,
) -> None:
    for number, frame in _numbered(reader, done, reader.path):
        progress(1)
        given = _fitting(frame, target, done)
        try:
            writer.append(**given)
        except CodecError as error:
            if not reader.damage:
                # Of the new file it says a name that is about to vanish, and the number once more.
                why = str(error).removeprefix(f"{temporary}: ").removeprefix(f"frame {number}: ")
                raise CodecError(f"{reader.path}: frame {number} cannot be converted: {why}") from error
            done._skipped.add(number)
            continue
        done.frames += 1
        _count(frame, done)
    done.skipped = len(done._skipped)


def _count(frame: Frame, done: Converted) -> None:
    people = 0
    for name, (axis, _) in QUANTISED.items():
        array = frame.get(name)
        if isinstance(array, np.ndarray):
            done.raw_bytes += 4 * array.size
            people = max(people, int(np.prod(array.shape[:axis], dtype=np.int64)))
    done.people += people


def _fitting(frame: Frame, target: Target, done: Converted) -> Frame:
    """The frame as the writer takes it, and what had to change counted."""
    given = {str(key): value for key, value in frame.items()}
    if len(given) < len(frame) or target.codec == "native":
        return given
    camera = given.get("camera")
    if "camera" in given and not (isinstance(camera, dict) and all(key in camera for key in _CAMERA)):
        given = _renamed(given, "camera")
        done.renamed_cameras += 1
    unknown, partly, has_people = _unknown_people(given)
    if has_people:
        if unknown.any() and REJECTED in given:  # the writer is about to give that name to its own list
            given = _renamed(given, REJECTED)
        done.left_out += int((unknown & ~partly).sum())
        done.cut += int(partly.sum())
    elif unknown.any():
        given = {key: value for key, value in given.items() if key not in QUANTISED}
        done.bare += 1
    return given


def _renamed(frame: Frame, key: str) -> Frame:
    """With `_recorded` behind that name, as often as it takes for the name to be free."""
    name = f"{key}_recorded"
    while name in frame:
        name += "_recorded"
    return {(name if each == key else each): value for each, value in frame.items()}


def _unknown_people(frame: Frame) -> tuple[Any, Any, bool]:
    """Who has a number that is none, who of these has others, and whether there is an axis of people."""
    some: Any = np.False_
    every: Any = np.True_
    has_people = False
    for name, (axis, _) in QUANTISED.items():
        array = frame.get(name)
        if not isinstance(array, np.ndarray):
            continue
        has_people = array.ndim == 1 - axis
        axes = tuple(range(1 if has_people else 0, array.ndim))
        nothing = np.isnan(array)
        some = some | nothing.any(axis=axes)
        every = every & nothing.all(axis=axes)
    return np.asarray(some), np.asarray(some & ~every), has_people


# ---- reading back ----


def _compare(
    reader: MeshReader, temporary: Path, target: Target, done: Converted, progress: Progress
) -> None:
    """Hold every frame of the new file against the old one. Raises StorageError."""
    try:
        new = MeshReader(temporary)
    except FormatError as error:
        raise _misread(temporary, 0, str(error)) from error
    with new:
        if pack(new.metadata, what="the metadata") != pack(reader.metadata, what="the metadata"):
            raise _misread(temporary, 0, "its metadata")
        written = iter(new)
        unused = Converted()
        for number, frame in _numbered(reader, unused, reader.path):
            progress(1)
            if number in done._skipped:
                continue
            try:
                got = next(written, None)
            except FormatError as error:
                raise _misread(temporary, number, str(error)) from error
            what = "it ends there" if got is None else _difference(_fitting(frame, target, unused), got, done)
            if what:
                raise _misread(temporary, number, what)
        if next(written, None) is not None or new.damage:
            raise _misread(temporary, len(new), new.damage or "there are more frames than were written")


def _difference(gave: Frame, got: Frame, done: Converted) -> str:
    """Which entry is not what it was; "" for none."""
    rejected: list[int] = []
    if REJECTED in got and REJECTED not in gave:
        rejected = list(got[REJECTED])
        got = {key: value for key, value in got.items() if key != REJECTED}
    if gave.keys() != got.keys():
        return f"the entries {', '.join(sorted(map(str, gave.keys() ^ got.keys())))}"
    for key, value in gave.items():
        is_same = _same_points if key in QUANTISED else _same_entry
        if key in QUANTISED and rejected:
            if not _are_unknown(gave, rejected):
                return f"{key}: somebody is left out who is known"
            value = np.delete(value, rejected, axis=0)
        if not is_same(key, value, got[key], done.quantization_mm):
            return f"the entry {key}"
    return ""


def _are_unknown(frame: Frame, people: list[int]) -> bool:
    unknown, _, has_people = _unknown_people(frame)
    return has_people and bool(unknown[people].all())


def _same_points(key: str, old: object, new: object, step_mm: float) -> bool:
    if not (isinstance(old, np.ndarray) and isinstance(new, np.ndarray)) or old.shape != new.shape:
        return False
    if old.dtype == new.dtype and np.array_equal(old, new, equal_nan=True):
        return True
    steps = QUANTISED[key][1] / step_mm
    on_grid = (np.rint(np.multiply(array, steps, dtype=np.float64)) for array in (old, new))
    return np.array_equal(next(on_grid), next(on_grid), equal_nan=True)


def _same_entry(key: str, old: object, new: object, step_mm: float) -> bool:
    return pack(old, what=key) == pack(new, what=key)


def _misread(temporary: Path, number: int, what: str) -> StorageError:
    return StorageError(
        f"{temporary}: frame {number} does not come back as it was written ({what}); the old file stays:"
        " check this machine's disk and memory"
    )


def suffix_of(target: Target) -> str:
    """What files of that kind are called."""
    return ".nrm" if target.codec == "native" else f".{'zst' if target.compression == 'zstd' else 'xz'}"


__all__ = ["WAYS", "Converted", "Target", "convert", "same_meshes", "suffix_of", "write_converted"]
