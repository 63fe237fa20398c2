"""Writes lenses and places into a rig file: the keys of its cameras. All other lines stay byte for byte:
comments, line ends, a mark of the byte order, the file's mode. A comment within or behind a replaced value is
lost.

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
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_KEY = re.compile(r"\s*(intrinsics|world_from_camera)\s*=")
_BYTE_ORDER_MARK: Final = "\ufeff"
_KEYS: Final = ("intrinsics", "world_from_camera")


def write_calibration(path: Path, cameras: Mapping[str, CameraCalibration]) -> None:
    """Put what is known of `cameras`, by name, into the rig file. Raises ConfigError and StorageError."""
    path = path.resolve()  # a link stays one
    try:
        text = path.read_bytes().decode()
        mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
        text = text.removeprefix(mark)
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
    durable.write_atomically(path, (mark + after).encode(), keep_mode=True)


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
    return "".join(
        statement
        for table, own in _tables(text)
        for statement in (_calibrated(own, cameras) if table == "cameras" else own)
    )


def _calibrated(own: list[str], cameras: Mapping[str, CameraCalibration]) -> list[str]:
    """The statements of a [[cameras]] table, with what is known of that camera in the place of what was said
    of it before, or at the end."""
    known = cameras.get(_name_of(own) or "")
    if known is None:
        return own
    line_end = _line_end(own[0]) or "\n"
    lines = {line.partition(" ")[0]: line for line in calibration_lines(known).splitlines()}
    told: list[str] = []
    for statement in own:
        match = _KEY.match(statement)
        line = lines.pop(match[1], None) if match else None
        if match and line is not None:
            statement = statement[: match.start(1)] + line + _line_end(statement)
        told.append(statement)
    if lines:
        # Blank lines and comments at the end belong to what comes next.
        last = max(i for i, statement in enumerate(told) if not _says_nothing(statement))
        whole = _line_end(told[last])
        told[last] = line_end.join([told[last].removesuffix(whole), *lines.values()]) + whole
    return told


def _tables(text: str) -> list[tuple[str, list[str]]]:
    """The statements before each table header and from it on, with the header's name; sub-tables are tables
    of their own."""
    tables: list[tuple[str, list[str]]] = [("", [])]
    for statement in _statements(text):
        match = _TABLE.fullmatch(statement.rstrip())
        if match:
            tables.append((match[1].replace(" ", ""), []))
        tables[-1][1].append(statement)
    return tables


def _statements(text: str) -> list[str]:
    """The file cut after each header, each value (over however many lines) and each line that says nothing,
    with the line ends as they are."""
    statements = [""]
    for line in _LINE.findall(text):
        if _is_whole(statements[-1]):
            statements.append("")
        statements[-1] += line
    return statements


def _line_end(statement: str) -> str:
    return "\r\n" if statement.endswith("\r\n") else "\n" if statement.endswith("\n") else ""


def _says_nothing(statement: str) -> bool:
    return not statement.strip() or statement.lstrip().startswith("#")


def _name_of(own: list[str]) -> str | None:
    names = (tomllib.loads(statement).get("name") for statement in own[1:])
    return next((name for name in names if isinstance(name, str)), None)


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
