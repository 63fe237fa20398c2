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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from codec import durable
from codec.errors import CodecError, ConfigError, DamagedError, FormatError, StorageError
from codec.mesh._conversion_check import compare
from codec.mesh._converted import (
    DEFAULT_STEP_MM,
    Converted,
    Frame,
    Progress,
    Target,
    fitting,
    numbered,
    refuse_grids,
)
from codec.mesh._grid import QUANTISED
from codec.mesh._segment_reader import read_head
from codec.mesh._staging import staged
from codec.mesh.bodycompress_writer import THREADS_MAX
from codec.mesh.mesh_files import MeshReader, MeshWriter
from codec.mesh.native_repack import Stage, fitted_writer
from codec.records.layout import MESHES
from codec.records.reader import RecordFile

WAYS = ("small", "affine", "fast")
_SEGMENT_S = {"bodycompress": 5.0, "native": 2.0}
_RATE = 30.0
_STEPS_MM = (1e-9, 1e9)  # beyond these, numbers overflow that are those of people


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
        compare(reader, temporary, target, done, progress)
    done.after_bytes = _size(temporary)
    return done


def same_meshes(old: Path, new: Path, target: Target) -> bool:
    """Whether `new` is what `old` becomes. Raises FormatError or StorageError where one cannot be read."""
    done = Converted()
    with MeshReader(old) as reader:
        done.quantization_mm = _step_of(reader, old)
        try:
            compare(reader, new, target, done, lambda _: None)
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
        steps = tuple(filter(_is_grid, reader.quantizations_mm)) or _steps_in_segments(source)
    else:
        for frame in reader:
            if any(name in frame for name in QUANTISED):
                break
        steps = reader.quantizations_mm
    refuse_grids(steps, source, None)
    if steps and not _is_grid(steps[0]):
        raise CodecError(f"{source}: its frames lie on a grid of {steps[0]:g} mm, as none that is whole does")
    return steps[0] if steps else DEFAULT_STEP_MM


def _is_grid(step_mm: float) -> bool:
    return _STEPS_MM[0] <= step_mm <= _STEPS_MM[1]


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
    for _, frame in numbered(reader, seen, reader.path):
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
    for number, frame in numbered(reader, done, reader.path):
        progress(1)
        given = fitting(frame, target, done)
        try:
            writer.append(**given)
        except CodecError as error:
            if not reader.damage:
                # Of the new file it says a name that is about to vanish, and the number once more.
                why = str(error).removeprefix(f"{temporary}: ").removeprefix(f"frame {number}: ")
                raise CodecError(f"{reader.path}: frame {number} cannot be converted: {why}") from error
            done.skipped_numbers.add(number)
            continue
        done.frames += 1
        _count(frame, done)
    done.skipped = len(done.skipped_numbers)


def _count(frame: Frame, done: Converted) -> None:
    people = 0
    for name, (axis, _) in QUANTISED.items():
        array = frame.get(name)
        if isinstance(array, np.ndarray):
            done.raw_bytes += 4 * array.size
            people = max(people, int(np.prod(array.shape[:axis], dtype=np.int64)))
    done.people += people


def suffix_of(target: Target) -> str:
    """What files of that kind are called."""
    return ".nrm" if target.codec == "native" else f".{'zst' if target.compression == 'zstd' else 'xz'}"


__all__ = ["WAYS", "Converted", "Target", "convert", "same_meshes", "suffix_of", "write_converted"]
