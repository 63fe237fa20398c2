"""What a conversion of a mesh file makes of each frame, and what it counts: see codec.mesh.conversion.

Writing and reading back go by the same rules here. Knows no paths but those it names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from codec.errors import CodecError, FormatError
from codec.mesh._grid import QUANTISED
from codec.mesh.bodycompress_frames import REJECTED
from codec.mesh.mesh_files import MeshReader

Frame = dict[str, Any]
Progress = Callable[[int], None]

DEFAULT_STEP_MM = 0.5
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
    quantization_mm: float = DEFAULT_STEP_MM
    skipped_numbers: set[int] = field(default_factory=set, repr=False)

    @property
    def lossless(self) -> bool:
        """Whether all that was in the old file is in the new one."""
        return not (self.damage or self.cut or self.bare or self.skipped)


def refuse_grids(steps_mm: tuple[float, ...], source: Path, frame: int | None) -> None:
    if len(steps_mm) > 1:
        told = " and ".join(f"{step:g}" for step in steps_mm[:3])
        where = "" if frame is None else f"frame {frame}: "
        raise CodecError(
            f"{source}: {where}its frames lie on grids of {told} mm; the new file would have one, and numbers"
            " would change: keep this file, or write its frames into a new one with MeshWriter"
        )


def numbered(reader: MeshReader, done: Converted, source: str) -> Iterator[tuple[int, Frame]]:
    """Every whole frame. What cannot be read is noted."""
    try:
        for number, frame in enumerate(reader):
            if reader.codec == "bodycompress":
                refuse_grids(reader.quantizations_mm, Path(source), number)
            yield number, frame
    except CodecError:
        raise
    except FormatError as error:  # it cannot be read any further
        done.damage = str(error)
    done.damage = done.damage or reader.damage


def fitting(frame: Frame, target: Target, done: Converted) -> Frame:
    """The frame as the writer takes it, and what had to change counted."""
    given = {str(key): value for key, value in frame.items()}
    if len(given) < len(frame) or target.codec == "native":
        return given
    camera = given.get("camera")
    if "camera" in given and not (isinstance(camera, dict) and all(key in camera for key in _CAMERA)):
        given = _renamed(given, "camera")
        done.renamed_cameras += 1
    unknown, partly, has_people = unknown_people(given)
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


def unknown_people(frame: Frame) -> tuple[Any, Any, bool]:
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
