"""A folder of 16-bit depth PNGs, with or without colour beside it, played as a depth camera.

Which kinds of folder there are, and what they say, is in _png_layout.py.

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

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from capture.frames import CameraInfo, Frame, StreamInfo
from capture.given_files import given_path, read_small
from capture.picture_headers import jpeg_size, jpeg_trouble, png_header, png_trouble
from capture.sources._cv_jpeg import trim_jpeg
from capture.sources._cv_pace import Pacer
from capture.sources._cv_quiet import cv2
from capture.sources._png_layout import Entry, Layout, read_layout
from capture.specs import PlaybackSpec
from codec.errors import (
    CameraLostError,
    CameraProfileError,
    ConfigError,
    SourceEndedError,
)

Image = npt.NDArray[np.generic]

_PICTURE_BYTES_MAX = 64 << 20


class PngFolderSource:
    """A Source over one folder; may be opened again after close()."""

    def __init__(self, name: str, spec: PlaybackSpec) -> None:
        if not spec.fps > 0:
            raise ConfigError(f"{name}: fps = {spec.fps:g}: it must be above 0")
        self._name = name
        self._spec = spec
        self._folder = given_path(spec.path)
        self._pacer = Pacer(spec.pace)
        self._groups: list[list[Entry]] = []
        self._streams: dict[str, StreamInfo] = {}
        self._numbers: dict[str, int] = {}
        self._position = 0
        self._offset_s = 0.0
        self._pass_s = 0.0
        self._next: list[Frame] = []
        self._failure: CameraProfileError | None = None

    def open(self) -> CameraInfo:
        self.close()
        layout = read_layout(self._name, self._folder, self._spec.fps)
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

    def _load(self, entry: Entry) -> Image:
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

    def _describe(self, first: Entry, layout: Layout, depth_scale_m: float) -> StreamInfo:
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


def _read_picture(entry: Entry, *, as_jpeg: bool) -> tuple[Image, int, int]:
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


def _group(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Entries that are due at the same time, together."""
    groups: list[list[Entry]] = []
    for entry in entries:
        if groups and groups[-1][0].time_s == entry.time_s:
            groups[-1].append(entry)
        else:
            groups.append([entry])
    return groups
