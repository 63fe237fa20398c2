"""Mesh files told in words and numbers: what `info`, `convert` and `recompress` say of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from capture import session
from capture.cli._progress import size
from codec.errors import ConfigError, FormatError, StorageError
from codec.mesh import MeshReader
from codec.mesh.conversion import Target

_LOOKED_AT = 32
"""Frames of a file, evenly spread: `info` does not read a night."""
_ARRAYS = {"vertices": 2, "joints": 2, "vertex_uncertainties": 1, "joint_uncertainties": 1}

MESH_HEADER = ("meshes", "kind", "frames", "people", "points", "step", "file", "ratio", "closed")


def kind_of(reader: MeshReader) -> str:
    """ "native, fast", "native, affine", "native, small" or "bodycompress 0.3, xz". A small file in which no
    model pays is "native, small (fast)"."""
    if reader.codec == "native":
        if reader.way:
            return f"native, {reader.way}" + ("" if reader.has_models else " (fast)")
        return f"native, {'affine' if reader.has_models else 'fast'}"
    version = ".".join(map(str, (reader.version or ())[:2]))
    return f"bodycompress {version}, {reader.compression}"


def mesh_facts(path: Path) -> dict[str, Any]:
    """What is in a mesh file, as --json has it; `people` and `ratio` (against float32) by a few frames of it.

    A file that cannot be read has `trouble` alone.
    """
    facts: dict[str, Any] = {"file": str(path), "file_bytes": session.file_size(path)}
    try:
        with MeshReader(path) as reader:
            count = len(reader)
            places = np.unique(np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(int)).tolist()
            frames = _readable(reader, places)
            facts |= {"kind": kind_of(reader), "frames": count, "closed": reader.closed}
            people = [_people(frame) for frame in frames]
            facts["people"] = {"least": min(people), "most": max(people)} if people else None
            facts |= {"vertices": _points(frames, "vertices"), "joints": _points(frames, "joints")}
            facts["quantization_mm"] = next(iter(reader.quantizations_mm), None)
            raw = sum(map(_raw_bytes, frames)) / len(frames) * count if frames else 0.0
            facts["ratio"] = round(raw / facts["file_bytes"], 2) if raw and facts["file_bytes"] else None
            facts["fps"] = reader.fps
            facts["note"] = reader.damage
    except (FormatError, StorageError) as error:
        facts["trouble"] = str(error)
    return facts


def _readable(reader: MeshReader, places: list[int]) -> list[dict[str, Any]]:
    frames = []
    for place in places:
        try:
            frames.append(reader[place])
        except (FormatError, IndexError):  # `note` tells of it
            continue
    return frames


def _people(frame: dict[str, Any]) -> int:
    shapes = [(np.shape(frame[name]), axes) for name, axes in _ARRAYS.items() if name in frame]
    return int(np.prod(shapes[0][0][: -shapes[0][1]], dtype=np.int64)) if shapes else 0


def _points(frames: list[dict[str, Any]], name: str) -> int | None:
    """Of one person, in the first frame that has them."""
    shapes = (np.shape(frame[name]) for frame in frames if name in frame)
    return next((shape[-2] for shape in shapes if len(shape) >= 2), None)


def _raw_bytes(frame: dict[str, Any]) -> int:
    return sum(4 * int(np.size(frame[name])) for name in _ARRAYS if name in frame)


def mesh_row(facts: dict[str, Any]) -> tuple[str, ...]:
    """The same for the table under MESH_HEADER."""
    name = Path(facts["file"]).name
    if "trouble" in facts:
        return (name, "unreadable", "-", "-", "-", "-", size(facts["file_bytes"]), "-", "-")
    people, points = facts["people"], facts["vertices"]
    step = facts["quantization_mm"]
    return (
        name,
        facts["kind"],
        str(facts["frames"]),
        "-" if people is None else _span(people["least"], people["most"]),
        "-" if points is None else str(points),
        "-" if step is None else f"{step:g} mm",
        size(facts["file_bytes"]),
        f"{facts['ratio']:.1f}" if facts["ratio"] else "-",
        "yes" if facts["closed"] else "no",
    )


def _span(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} to {most}"


def parse_mesh_target(text: str) -> tuple[Target, bool]:
    """What `--meshes` names, and whether files of that kind are to be packed again. Raises ConfigError."""
    name, _, preset = text.partition(":")
    if name == "bodycompress":
        if preset and not (preset.isdecimal() and int(preset) <= 9):
            raise ConfigError(f"--meshes {text}: the preset of xz is 0 to 9")
        target = Target("bodycompress", preset=int(preset) if preset else 5, vertex_order="auto")
        return target, bool(preset)
    if name in ("small", "native") and not preset:
        return Target("native", way="small" if name == "small" else "affine"), False
    raise ConfigError(f"--meshes {text}: must be small, native, bodycompress or bodycompress:PRESET")
