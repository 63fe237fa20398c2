"""A folder of 16-bit depth PNGs, with or without colour beside it, played as a depth camera.

Three layouts are known by what lies in the folder:

    TUM RGB-D   depth.txt and/or rgb.txt: lines "timestamp file", # for comments; 5000 units per metre
    Open3D      depth/*.png, color/*.jpg or *.png, camera_intrinsic.json or intrinsic.json
    bare        *.png, all of them depth

A folder that `nightrig export --format png` made is the second of these; its depth scale and its times are
taken from what the export wrote beside the pictures.

Every picture comes out once, in the order of its time (TUM) or its file's number. TUM's stamps are kept as
they are, as times of the "media" clock; elsewhere picture n of the folder is due at n / fps. Colour and
depth with the same stamp or file number are delivered together; where one of the two is missing, the other
still keeps its time, and each stream counts its own pictures from 0. JPEG is passed on as it lies in the
file, colour PNG is decoded.

A file that cannot be decoded, or has another size or depth than the first, ends the playback with an error
that names it, after everything before it: skipping it would lose a picture in silence.

Knows files and times, not cameras.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt

from capture._recorded_info import SCALES_M
from capture.frames import CameraInfo, Frame, Intrinsics, StreamInfo
from capture.given_files import given_path, is_file, read_small
from capture.picture_headers import jpeg_size, jpeg_trouble, png_header, png_trouble
from capture.sources._cv_jpeg import trim_jpeg
from capture.sources._cv_pace import Pacer
from capture.sources._cv_quiet import cv2
from capture.sources._png_export import read_depth_scale_m, read_times_s
from capture.specs import PlaybackSpec
from codec.errors import (
    CameraLostError,
    CameraNotFoundError,
    CameraProfileError,
    ConfigError,
    SourceEndedError,
)

Image = npt.NDArray[np.generic]

_TUM_LISTS = {"depth": "depth.txt", "color": "rgb.txt"}
_OPEN3D_INTRINSICS = ("camera_intrinsic.json", "intrinsic.json")
_DEPTH_SUFFIXES = (".png",)
_COLOR_SUFFIXES = (".jpg", ".jpeg", ".png")
_TUM_SCALE_M = 1 / 5000
_PICTURE_BYTES_MAX = 64 << 20
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class _Entry:
    """One file and when it is due, in seconds."""

    time_s: float
    stream: str
    path: Path


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a folder says of itself. `depth_scale_m` and `intrinsics` are None where it does not."""

    kind: str
    entries: tuple[_Entry, ...]
    fps: float
    depth_scale_m: float | None = None
    intrinsics: Intrinsics | None = None


def holds_pngs(folder: Path) -> bool:
    """Whether the folder looks like one of the layouts; opens no picture."""
    lists = any((folder / name).is_file() for name in _TUM_LISTS.values())
    return lists or any(folder.glob("*.png")) or any((folder / "depth").glob("*.png"))


class PngFolderSource:
    """A Source over one folder; may be opened again after close()."""

    def __init__(self, name: str, spec: PlaybackSpec) -> None:
        if not spec.fps > 0:
            raise ConfigError(f"{name}: fps = {spec.fps:g}: it must be above 0")
        self._name = name
        self._spec = spec
        self._folder = given_path(spec.path)
        self._pacer = Pacer(spec.pace)
        self._groups: list[list[_Entry]] = []
        self._streams: dict[str, StreamInfo] = {}
        self._numbers: dict[str, int] = {}
        self._position = 0
        self._offset_s = 0.0
        self._pass_s = 0.0
        self._next: list[Frame] = []
        self._failure: CameraProfileError | None = None

    def open(self) -> CameraInfo:
        self.close()
        layout = _read_layout(self._name, self._folder, self._spec.fps)
        # 0.001 is the spec's default: what the folder says is better than that, what the user says best.
        told = self._spec.depth_scale_m != PlaybackSpec(path="").depth_scale_m
        depth_scale_m = self._spec.depth_scale_m
        if not told and layout.depth_scale_m is not None:
            depth_scale_m = layout.depth_scale_m
        for stream in ("depth", "color"):
            first = next((entry for entry in layout.entries if entry.stream == stream), None)
            if first is not None:
                self._streams[stream] = self._describe(first, layout, depth_scale_m)
        self._groups = _group(layout.entries)
        self._numbers = dict.fromkeys(self._streams, -1)
        first_s, last_s = layout.entries[0].time_s, layout.entries[-1].time_s
        self._pass_s = last_s - first_s + 1 / layout.fps
        self._pacer = Pacer(self._spec.pace)
        return CameraInfo(
            name=self._name,
            backend="playback",
            model=f"{layout.kind} folder {self._folder.name}",
            streams=tuple(self._streams.values()),
            can_wait=True,
            options={"path": self._spec.path, "layout": layout.kind},
        )

    def read(self, timeout_s: float) -> list[Frame]:
        if not self._groups:
            raise CameraLostError(f"{self._name}: {self._spec.path} is not open")
        if not self._next:
            self._next = self._load_next()
        due_s = self._next[0].device_time_s
        assert due_s is not None
        if not self._pacer.wait(due_s, timeout_s):
            return []
        now_ns = time.monotonic_ns()
        frames, self._next = self._next, []
        return [replace(frame, monotonic_ns=now_ns) for frame in frames]

    def close(self) -> None:
        self._groups = []
        self._streams = {}
        self._next = []
        self._failure = None
        self._position = 0
        self._offset_s = 0.0

    def _load_next(self) -> list[Frame]:
        """The pictures due next, up to the first that is unusable; raises when that one's turn has come."""
        if self._failure is not None:
            raise self._failure
        if self._position == len(self._groups):
            if not self._spec.loop:
                raise SourceEndedError(f"{self._name}: {self._spec.path} has been played to its end")
            self._position = 0
            self._offset_s += self._pass_s
        frames: list[Frame] = []
        for entry in self._groups[self._position]:
            try:
                data = self._load(entry)
            except CameraProfileError as error:
                self._failure = error
                if not frames:
                    raise
                break
            self._numbers[entry.stream] += 1
            number, time_s = self._numbers[entry.stream], entry.time_s + self._offset_s
            frames.append(Frame(entry.stream, number, data, time_s, "media", 0))
        self._position += 1
        return frames

    def _load(self, entry: _Entry) -> Image:
        info = self._streams[entry.stream]
        try:
            data, width, height = _read_picture(entry, as_jpeg=info.pixel_format == "jpeg")
        except (OSError, _UnusableError) as error:
            raise CameraProfileError(
                f"{self._name}: {entry.path}: {_reason(error)}; remove it or restore it"
            ) from None
        if (width, height) != (info.width, info.height):
            raise CameraProfileError(
                f"{self._name}: {entry.path} is {width}x{height}, the pictures before it are "
                f"{info.width}x{info.height}"
            )
        return data

    def _describe(self, first: _Entry, layout: _Layout, depth_scale_m: float) -> StreamInfo:
        as_jpeg = first.path.suffix.lower() != ".png"
        try:
            _, width, height = _read_picture(first, as_jpeg=as_jpeg)
        except (OSError, _UnusableError) as error:
            raise CameraProfileError(f"{self._name}: {first.path}: {_reason(error)}") from None
        is_depth = first.stream == "depth"
        intrinsics = layout.intrinsics
        if intrinsics is not None and (intrinsics.width, intrinsics.height) != (width, height):
            intrinsics = None  # of the other stream
        return StreamInfo(
            name=first.stream,
            pixel_format="z16" if is_depth else "jpeg" if as_jpeg else "bgr8",
            width=width,
            height=height,
            fps=layout.fps,
            intrinsics=intrinsics,
            depth_scale_m=depth_scale_m if is_depth else None,
        )


class _UnusableError(Exception):
    """A picture is not what its stream needs; says why."""


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _read_picture(entry: _Entry, *, as_jpeg: bool) -> tuple[Image, int, int]:
    """The picture in its stream's format, its width and its height. Raises OSError and _UnusableError."""
    raw = np.frombuffer(read_small(entry.path, _PICTURE_BYTES_MAX), np.uint8)
    if as_jpeg:
        data = trim_jpeg(raw)
        size = None if data is None else jpeg_size(data)
        if data is None or size is None:
            raise _UnusableError("not a whole JPEG")
        _refuse(jpeg_trouble(data))
        return data, *size
    is_depth = entry.stream == "depth"
    header = png_header(raw)
    if is_depth and header is not None and (header.bits, header.channels) != (16, 1):
        raise _UnusableError(_not_depth(header.bits, header.channels))
    _refuse(png_trouble(raw))
    image = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED if is_depth else cv2.IMREAD_COLOR) if raw.size else None
    if image is None:
        raise _UnusableError("damaged, it does not decode")
    if is_depth and (image.dtype != np.uint16 or image.ndim != 2):
        channels = 1 if image.ndim == 2 else image.shape[2]
        raise _UnusableError(_not_depth(8 * image.itemsize, channels))
    return image, image.shape[1], image.shape[0]


def _refuse(trouble: str) -> None:
    if trouble:
        raise _UnusableError(trouble)


def _not_depth(bits: int, channels: int) -> str:
    return f"{bits} bits and {channels} channels; depth is a PNG of 16 bits and 1 channel"


def _group(entries: Sequence[_Entry]) -> list[list[_Entry]]:
    """Entries that are due at the same time, together."""
    groups: list[list[_Entry]] = []
    for entry in entries:
        if groups and groups[-1][0].time_s == entry.time_s:
            groups[-1].append(entry)
        else:
            groups.append([entry])
    return groups


def _read_layout(name: str, folder: Path, fps: float) -> _Layout:
    if not folder.is_dir():
        raise CameraNotFoundError(f"{name}: there is no folder {folder}")
    lists = {stream: folder / file for stream, file in _TUM_LISTS.items() if (folder / file).is_file()}
    if lists:
        layout = _read_tum(name, folder, lists, fps)
    elif (folder / "depth").is_dir():
        layout = _read_open3d(name, folder, fps)
    else:
        files = {"depth": _pictures(folder, _DEPTH_SUFFIXES)}
        layout = _Layout("PNG", _by_number(files, fps), fps)
    if not layout.entries:
        raise CameraNotFoundError(f"{name}: {folder} holds no depth PNGs")
    return layout


def _read_tum(name: str, folder: Path, lists: dict[str, Path], fps: float) -> _Layout:
    entries: list[_Entry] = []
    rates = []
    for stream, path in lists.items():
        of_stream = sorted(_read_tum_list(name, folder, path, stream), key=lambda entry: entry.time_s)
        rates.append(_rate(of_stream))
        entries += of_stream
    entries.sort(key=lambda entry: entry.time_s)
    scale_m = _TUM_SCALE_M if "depth" in lists else None
    return _Layout("TUM", tuple(entries), round(max(rates), 3) or fps, scale_m)


def _read_tum_list(name: str, folder: Path, path: Path, stream: str) -> list[_Entry]:
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
        entries.append(_Entry(time_s, stream, folder / words[1]))
    return entries


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _read_open3d(name: str, folder: Path, fps: float) -> _Layout:
    files = {
        "depth": _pictures(folder / "depth", _DEPTH_SUFFIXES),
        "color": _pictures(folder / "color", _COLOR_SUFFIXES),
    }
    layout = _Layout("Open3D", _by_number(files, fps), fps)
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


def _at_exported_times(layout: _Layout, times_s: dict[float, float]) -> _Layout:
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


def _rate(entries: Sequence[_Entry]) -> float:
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


def _by_number(files: dict[str, list[Path]], fps: float) -> tuple[_Entry, ...]:
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
        _Entry(places[keys[path]] / fps, stream, path) for stream, paths in files.items() for path in paths
    ]
    return tuple(sorted(entries, key=lambda entry: entry.time_s))


def _number_in(stem: str) -> float | None:
    """The whole name where it is a number (a time stamp, say), else the last digits in it."""
    if re.fullmatch(r"\d+(\.\d+)?", stem):
        return float(stem)
    digits = re.findall(r"\d+", stem)
    return float(digits[-1]) if digits else None
