"""Holds every frame of a converted mesh file against the old one, on the grid: see codec.mesh.conversion."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from codec.errors import FormatError, StorageError
from codec.mesh._converted import Converted, Frame, Progress, Target, fitting, numbered, unknown_people
from codec.mesh._grid import QUANTISED
from codec.mesh.bodycompress_frames import REJECTED
from codec.mesh.mesh_files import MeshReader
from codec.mesh.msgpack_arrays import pack


def compare(reader: MeshReader, temporary: Path, target: Target, done: Converted, progress: Progress) -> None:
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
        for number, frame in numbered(reader, unused, reader.path):
            progress(1)
            if number in done.skipped_numbers:
                continue
            try:
                got = next(written, None)
            except FormatError as error:
                raise _misread(temporary, number, str(error)) from error
            what = "it ends there" if got is None else _difference(fitting(frame, target, unused), got, done)
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
    unknown, _, has_people = unknown_people(frame)
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
