"""What lies in a folder of PNGs: which pictures, of which stream, when each is due, and what is said of them.

Three layouts are known by what lies in the folder:

    TUM RGB-D   depth.txt and/or rgb.txt: lines "timestamp file", # for comments; 5000 units per metre
    Open3D      depth/*.png, color/*.jpg or *.png, camera_intrinsic.json or intrinsic.json
    bare        *.png, all of them depth

A folder that `nightrig export --format png` made is the second of these; its depth scale and its times are
taken from what the export wrote beside the pictures.

TUM's stamps are kept as they are; elsewhere picture n of the folder is due at n / fps, in the order of the
numbers in the files' names. Opens no picture.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median

from capture._recorded_info import SCALES_M
from capture.frames import Intrinsics
from capture.given_files import is_file, read_small
from capture.sources._png_export import read_depth_scale_m, read_times_s
from codec.errors import CameraNotFoundError, CameraProfileError

_TUM_LISTS = {"depth": "depth.txt", "color": "rgb.txt"}
_OPEN3D_INTRINSICS = ("camera_intrinsic.json", "intrinsic.json")
_DEPTH_SUFFIXES = (".png",)
_COLOR_SUFFIXES = (".jpg", ".jpeg", ".png")
_TUM_SCALE_M = 1 / 5000
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Entry:
    """One file and when it is due, in seconds."""

    time_s: float
    stream: str
    path: Path


@dataclass(frozen=True, slots=True)
class Layout:
    """What a folder says of itself. `depth_scale_m` and `intrinsics` are None where it does not."""

    kind: str
    entries: tuple[Entry, ...]
    fps: float
    depth_scale_m: float | None = None
    intrinsics: Intrinsics | None = None


def holds_pngs(folder: Path) -> bool:
    """Whether the folder looks like one of the layouts; opens no picture."""
    lists = any((folder / name).is_file() for name in _TUM_LISTS.values())
    return lists or any(folder.glob("*.png")) or any((folder / "depth").glob("*.png"))


def read_layout(name: str, folder: Path, fps: float) -> Layout:
    """The layout of camera `name`'s folder, at `fps` where it has no times of its own; at least one picture.

    Raises CameraNotFoundError (no folder, no pictures) and CameraProfileError (a list or calibration that is
    none).
    """
    if not folder.is_dir():
        raise CameraNotFoundError(f"{name}: there is no folder {folder}")
    lists = {stream: folder / file for stream, file in _TUM_LISTS.items() if (folder / file).is_file()}
    if lists:
        layout = _read_tum(name, folder, lists, fps)
    elif (folder / "depth").is_dir():
        layout = _read_open3d(name, folder, fps)
    else:
        files = {"depth": _pictures(folder, _DEPTH_SUFFIXES)}
        layout = Layout("PNG", _by_number(files, fps), fps)
    if not layout.entries:
        raise CameraNotFoundError(f"{name}: {folder} holds no depth PNGs")
    return layout


def _read_tum(name: str, folder: Path, lists: dict[str, Path], fps: float) -> Layout:
    entries: list[Entry] = []
    rates = []
    for stream, path in lists.items():
        of_stream = sorted(_read_tum_list(name, folder, path, stream), key=lambda entry: entry.time_s)
        rates.append(_rate(of_stream))
        entries += of_stream
    entries.sort(key=lambda entry: entry.time_s)
    scale_m = _TUM_SCALE_M if "depth" in lists else None
    return Layout("TUM", tuple(entries), round(max(rates), 3) or fps, scale_m)


def _read_tum_list(name: str, folder: Path, path: Path, stream: str) -> list[Entry]:
    entries = []
    try:
        text = read_small(path).decode(errors="replace")
    except OSError as error:
        raise CameraProfileError(f"{name}: {path}: {error.strerror}") from error
    for line_number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        where = f"{name}: {path} line {line_number}"
        try:
            time_s = float(words[0]) if len(words) == 2 else math.nan
        except ValueError:
            time_s = math.nan
        if not math.isfinite(time_s):
            raise CameraProfileError(f'{where}: {_shortened(line.strip())!r} is not "timestamp file"')
        if not is_file(folder / words[1]):
            raise CameraProfileError(f"{where}: there is no file {_shortened(words[1])}")
        entries.append(Entry(time_s, stream, folder / words[1]))
    return entries


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _read_open3d(name: str, folder: Path, fps: float) -> Layout:
    files = {
        "depth": _pictures(folder / "depth", _DEPTH_SUFFIXES),
        "color": _pictures(folder / "color", _COLOR_SUFFIXES),
    }
    layout = Layout("Open3D", _by_number(files, fps), fps)
    for file in _OPEN3D_INTRINSICS:
        path = folder / file
        if path.is_file():
            intrinsics, depth_scale_m = _read_intrinsics(name, path)
            layout = replace(layout, depth_scale_m=depth_scale_m, intrinsics=intrinsics)
            break
    try:
        depth_scale_m = read_depth_scale_m(folder)
    except ValueError as error:
        raise CameraProfileError(f"{name}: {error}") from None
    if depth_scale_m is not None:
        layout = replace(layout, depth_scale_m=depth_scale_m)
    return _at_exported_times(layout, read_times_s(folder))


def _at_exported_times(layout: Layout, times_s: dict[float, float]) -> Layout:
    """The same with the times an export wrote down, if it did for every picture."""
    numbers = {entry: _number_in(entry.path.stem) for entry in layout.entries}
    if not times_s or any(number not in times_s for number in numbers.values()):
        return layout
    entries = [
        replace(entry, time_s=times_s[number]) for entry, number in numbers.items() if number is not None
    ]
    entries.sort(key=lambda entry: entry.time_s)
    rate = _rate([entry for entry in entries if entry.stream == "depth"])
    return replace(layout, entries=tuple(entries), fps=round(rate, 3) or layout.fps)


def _rate(entries: Sequence[Entry]) -> float:
    """Pictures per second by their times; 0 where these do not tell."""
    steps = [b.time_s - a.time_s for a, b in pairwise(entries)]
    return 1 / median(steps) if steps and median(steps) > 0 else 0.0


def _read_intrinsics(name: str, path: Path) -> tuple[Intrinsics, float | None]:
    """Open3D's pinhole matrix (9 numbers, column by column), and its units per metre where it says them."""
    try:
        facts = json.loads(read_small(path))
        fx, _, _, _, fy, _, cx, cy, _ = map(float, facts["intrinsic_matrix"])
        units_per_m = float(facts.get("depth_scale", 0.0))
        intrinsics = Intrinsics(int(facts["width"]), int(facts["height"]), fx, fy, cx, cy)
    except (
        OSError,
        ArithmeticError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise CameraProfileError(
            f"{name}: {path} is not an Open3D intrinsic (width, height, intrinsic_matrix of 9): {error}"
        ) from None
    return intrinsics, 1 / units_per_m if 1 / SCALES_M[1] <= units_per_m <= 1 / SCALES_M[0] else None


def _pictures(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file()]


def _by_number(files: dict[str, list[Path]], fps: float) -> tuple[Entry, ...]:
    """Entries in the order of the numbers in their names, all streams on one count of n / fps.

    Names without numbers are put in alphabetical order, each stream by itself.
    """
    keys: dict[Path, float] = {}
    for paths in files.values():
        numbers = {path: _number_in(path.stem) for path in paths}
        clear = None not in numbers.values() and len(set(numbers.values())) == len(paths)
        for index, path in enumerate(sorted(paths)):
            number = numbers[path]
            keys[path] = number if clear and number is not None else float(index)
    places = {key: place for place, key in enumerate(sorted(set(keys.values())))}
    entries = [
        Entry(places[keys[path]] / fps, stream, path) for stream, paths in files.items() for path in paths
    ]
    return tuple(sorted(entries, key=lambda entry: entry.time_s))


def _number_in(stem: str) -> float | None:
    """The whole name where it is a number (a time stamp, say), else the last digits in it."""
    if re.fullmatch(r"\d+(\.\d+)?", stem):
        return float(stem)
    digits = re.findall(r"\d+", stem)
    return float(digits[-1]) if digits else None
