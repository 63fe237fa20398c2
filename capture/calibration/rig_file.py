"""Writes lenses and places into a rig file: the keys of its cameras, and nothing else, comments included.

What comes out is read back and compared with what went in plus what was to be written, before it takes the
old file's place; a rig file that is written in a way this does not understand is left alone, and the lines
to put into it are told.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from capture.calibration import CameraCalibration
from capture.frames import Intrinsics, Matrix4
from codec import durable
from codec.errors import ConfigError

_TABLE = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"\s*(intrinsics|world_from_camera)\s*=")
_KEYS: Final = ("intrinsics", "world_from_camera")


def write_calibration(path: Path, cameras: Mapping[str, CameraCalibration]) -> None:
    """Put what is known of `cameras`, by name, into the rig file. Raises ConfigError and StorageError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        before = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    after = _with_calibration(text, cameras)
    if not _is_right(before, after, cameras):
        wanted = "; ".join(
            f"{name}: {', '.join(calibration_lines(known).splitlines())}" for name, known in cameras.items()
        )
        raise ConfigError(
            f"{path} is written in a way that this does not change by itself; put into its cameras {wanted}"
        )
    durable.write_atomically(path, after.encode())


def calibration_lines(known: CameraCalibration) -> str:
    """The lines of a [[cameras]] table, as TOML."""
    lines = []
    if known.intrinsics is not None:
        lines.append(f"intrinsics = {_intrinsics(known.intrinsics)}")
    if known.world_from_camera is not None:
        lines.append(f"world_from_camera = {_matrix(known.world_from_camera)}")
    return "\n".join(lines)


def _intrinsics(lens: Intrinsics) -> str:
    numbers = ", ".join(f"{name} = {getattr(lens, name):.4f}" for name in ("fx", "fy", "cx", "cy"))
    distortion = ", ".join(f"{value:.6f}" for value in lens.coefficients)
    return f"{{ width = {lens.width}, height = {lens.height}, {numbers}, distortion = [{distortion}] }}"


def _matrix(pose: Matrix4) -> str:
    return "[" + ", ".join("[" + ", ".join(f"{value:.7f}" for value in row) + "]" for row in pose) + "]"


def _with_calibration(text: str, cameras: Mapping[str, CameraCalibration]) -> str:
    out: list[str] = []
    for table, lines in _tables(text):
        name = _name_of(lines) if table == "cameras" else None
        known = cameras.get(name) if name is not None else None
        if known is None:
            out += lines
            continue
        told = [key for key in _KEYS if getattr(known, key) is not None]
        kept = _without(lines, told)
        while len(kept) > 1 and not kept[-1].strip():
            kept.pop()
        blank = lines[len(lines) - _trailing_blanks(lines) :]
        out += [*kept, *calibration_lines(known).splitlines(), *blank]
    return "\n".join(out) + "\n"


def _tables(text: str) -> list[tuple[str, list[str]]]:
    """The file cut before each table header, with the header's name; sub-tables are tables of their own."""
    tables: list[tuple[str, list[str]]] = [("", [])]
    for line in text.splitlines():
        match = _TABLE.fullmatch(line)
        if match:
            tables.append((match[1].replace(" ", ""), []))
        tables[-1][1].append(line)
    return tables


def _trailing_blanks(lines: list[str]) -> int:
    """Blank lines and comments at the end: they belong to what comes next."""
    count = 0
    for line in reversed(lines):
        if line.strip() and not line.lstrip().startswith("#"):
            break
        count += 1
    return count


def _name_of(lines: list[str]) -> str | None:
    for line in lines[1:]:
        try:
            value = tomllib.loads(line).get("name")
        except ValueError:
            continue
        if isinstance(value, str):
            return value
    return None


def _without(lines: list[str], keys: list[str]) -> list[str]:
    """The lines without what sets these keys, values over several lines included, nor what trails."""
    kept: list[str] = []
    lines = lines[: len(lines) - _trailing_blanks(lines)]
    at = 0
    while at < len(lines):
        match = _KEY.match(lines[at])
        if not match or match[1] not in keys:
            kept.append(lines[at])
            at += 1
            continue
        end = at + 1
        while end <= len(lines) and not _is_whole("\n".join(lines[at:end])):
            end += 1
        at = end
    return kept


def _is_whole(text: str) -> bool:
    try:
        tomllib.loads(text)
    except ValueError:
        return False
    return True


def _is_right(before: dict[str, Any], text: str, cameras: Mapping[str, CameraCalibration]) -> bool:
    """Whether the new text says what the old one said, and of these cameras what is known."""
    try:
        after = tomllib.loads(text)
        for old, new in zip(before["cameras"], after["cameras"], strict=True):
            known = cameras.get(new["name"])
            for key in _KEYS:
                if known is not None and getattr(known, key) is not None:
                    wanted = tomllib.loads(calibration_lines(known))[key]
                    if new.pop(key) != wanted:
                        return False
                    old.pop(key, None)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return before == after
