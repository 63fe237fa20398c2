"""librealsense's own recordings (.bag, .db3) as a camera, played by librealsense itself.

Promises: every frame of the file, bit for bit, in the file's order, with its number, device time and
metadata. The library never plays in real time, for then it drops what is not fetched in time; where the
recorded intervals are wanted we keep them ourselves. A file that is cut short or damaged is an error
that says so, not an early end.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.frames import CameraInfo, Frame, StreamInfo
from capture.given_files import given_path
from capture.sources._bag_player import BagPlayer
from capture.sources._cv_pace import Pacer
from capture.sources._rs_frames import DeviceClock, StreamReader
from capture.sources._rs_profiles import stream_info, stream_key
from capture.sources._rs_sdk import info, load_sdk, sdk_version
from capture.specs import PlaybackSpec
from codec.errors import (
    CameraError,
    CameraLostError,
    CameraNotFoundError,
    CameraProfileError,
    SourceEndedError,
)

Array = npt.NDArray[np.generic]

_MOST_PER_READ = 16
# Where the library stops further than this, and so many frames, before the file's end, the file is damaged.
_END_SLACK_S = 0.5
_END_SLACK_FRAMES = 4
_FIRST_DB3_VERSION = (2, 58)
_ROS1_MAGIC = b"#ROSBAG V"
_SQLITE_MAGIC = b"SQLite format 3\0"


def _from_yuv(code: str) -> Callable[[Array], Array]:
    def convert(pixels: Array) -> Array:
        from capture.sources._cv_quiet import cv2  # only for recordings that hold this format

        packed = np.ascontiguousarray(pixels).view(np.uint8).reshape(*pixels.shape[:2], 2)
        converted: Array = cv2.cvtColor(packed, getattr(cv2, code))
        return converted

    return convert


def _in_order(*channels: int) -> Callable[[Array], Array]:
    return lambda pixels: np.ascontiguousarray(pixels[:, :, list(channels)])


# What a file may hold: our format for it, and what makes its pixels so.
_FORMATS: dict[str, tuple[str, Callable[[Array], Array] | None]] = {
    "z16": ("z16", None),
    "y8": ("y8", None),
    "bgr8": ("bgr8", None),
    "rgb8": ("bgr8", _in_order(2, 1, 0)),
    "bgra8": ("bgr8", _in_order(0, 1, 2)),
    "rgba8": ("bgr8", _in_order(2, 1, 0)),
    "yuyv": ("bgr8", _from_yuv("COLOR_YUV2BGR_YUY2")),
    "uyvy": ("bgr8", _from_yuv("COLOR_YUV2BGR_UYVY")),
}


class BagSource:
    """A .bag or .db3 file. Frames carry the recorded camera's numbers and clock; a loop counts both on."""

    def __init__(self, name: str, spec: PlaybackSpec) -> None:
        self._name = name
        self._spec = spec
        self._path = given_path(spec.path)
        self._pacer = Pacer(spec.pace)
        self._rs: Any = None
        self._player: BagPlayer | None = None
        self._readers: dict[tuple[int, int], StreamReader] = {}
        self._seam = _Seam()
        self._schedule = _Schedule()
        self._interval_s = 0.0  # of the slowest stream
        self._waiting: tuple[Frame, float] | None = None
        self._end: CameraError | None = None

    def open(self) -> CameraInfo:
        self.close()
        self._rs = load_sdk(f"camera {self._name}: {self._path.name}")
        self._check_file()
        self._pacer = Pacer(self._spec.pace)
        self._seam, self._schedule = _Seam(), _Schedule()
        self._waiting = self._end = None
        streams, left_out = self._begin()
        assert self._player is not None
        device = self._player.device
        options: dict[str, float | int | str | bool] = {
            "file": str(self._path),
            "duration_s": self._player.duration_s,
        }
        if left_out:
            options["streams_left_out"] = ", ".join(left_out)
        return CameraInfo(
            name=self._name,
            backend="playback",
            model=info(self._rs, device, "name"),
            streams=streams,
            serial=info(self._rs, device, "serial_number"),
            firmware=info(self._rs, device, "firmware_version"),
            usb_type=info(self._rs, device, "usb_type_descriptor"),
            can_wait=True,
            options=options,
        )

    def read(self, timeout_s: float) -> list[Frame]:
        if self._player is None:
            raise CameraLostError(f"{self._name}: {self._path} is not open")
        deadline_s = time.monotonic() + timeout_s
        frames: list[Frame] = []
        while len(frames) < _MOST_PER_READ:
            # Once there is a frame nothing is waited for any more.
            left_s = 0.0 if frames else max(0.0, deadline_s - time.monotonic())
            if self._waiting is None and (frame := self._next(left_s)) is not None:
                self._waiting = frame, self._schedule.stamp_s(frame)
                left_s = 0.0 if frames else max(0.0, deadline_s - time.monotonic())
            if self._waiting is None or not self._pacer.wait(self._waiting[1], left_s):
                break
            frames.append(replace(self._waiting[0], monotonic_ns=time.monotonic_ns()))
            self._waiting = None
        if not frames and self._waiting is None and self._end is not None:
            raise self._end
        return frames

    def close(self) -> None:
        if self._player is not None:
            self._player.stop()
            self._player = None
        self._readers = {}

    def _begin(self) -> tuple[tuple[StreamInfo, ...], list[str]]:
        """Load the file and play it from its start; its streams, and the names of those we cannot record."""
        try:
            player = BagPlayer(self._rs, self._path)
        except RuntimeError as error:
            raise CameraProfileError(f"{self._name}: {self._path} {_what_is_wrong(str(error))}") from error
        recorded = player.recorded()
        chosen = [choice for choice in recorded if choice.profile.format().name in _FORMATS]
        left_out = [choice.name for choice in recorded if choice.profile.format().name not in _FORMATS]
        if not chosen:
            raise CameraProfileError(
                f"{self._name}: {self._path} holds no depth, colour or infrared stream"
                + (f", only {', '.join(left_out)}" if left_out else "")
            )
        clock = DeviceClock()
        reference = next((c.profile for c in chosen if c.name == "depth"), chosen[0].profile)
        streams = []
        self._readers = {}
        for choice in chosen:
            pixel_format, convert = _FORMATS[choice.profile.format().name]
            stream = stream_info(
                choice.name,
                choice.profile,
                pixel_format=pixel_format,
                reference=reference,
                depth_scale_m=player.depth_scale_m(choice),
                baseline_m=player.baseline_m(choice),
            )
            streams.append(stream)
            self._readers[stream_key(choice.profile)] = StreamReader(self._rs, stream, clock, convert=convert)
        self._interval_s = 1.0 / max(1.0, min(stream.fps for stream in streams))
        player.start(chosen)
        self._player = player
        return tuple(streams), left_out

    def _next(self, timeout_s: float) -> Frame | None:
        """The next frame of the file, or None where none comes in time; sets `_end` at the end."""
        while self._end is None:
            assert self._player is not None
            sdk_frame = self._player.take(timeout_s)
            if sdk_frame is not None:
                reader = self._readers.get(stream_key(sdk_frame.get_profile()))
                # Without the host's clock, which knows nothing of the time between recorded frames.
                frame = reader.take(sdk_frame, 0) if reader is not None else None
                if frame is not None:
                    return self._seam.joined(frame)
            elif not self._player.has_ended:
                return None
            else:
                self._end = self._why_it_broke_off()
                if self._end is None and self._spec.loop:
                    self._player.stop()
                    streams, _ = self._begin()
                    self._seam.turn(1.0 / max(1.0, *(stream.fps for stream in streams)))
                elif self._end is None:
                    self._end = SourceEndedError(f"{self._name}: {self._path} has been played to its end")
        return None

    def _why_it_broke_off(self) -> CameraError | None:
        """The library ends a file it cannot read any further like any other; None at the true end."""
        assert self._player is not None
        unreadable = sum(reader.unreadable for reader in self._readers.values())
        whole_s = self._player.duration_s
        played_s = max(self._player.position_s, self._seam.played_s)
        if not self._seam.has_frames:
            return CameraError(
                f"{self._name}: {self._path} holds no frame this librealsense can read; was it recorded by a "
                "newer one?"
            )
        if whole_s - played_s > _END_SLACK_S + _END_SLACK_FRAMES * self._interval_s:
            return CameraError(
                f"{self._name}: {self._path} is damaged: librealsense stopped reading after {played_s:.1f} s "
                f"of {whole_s:.1f} s; every frame before that was played"
            )
        if unreadable:
            return CameraError(
                f"{self._name}: {self._path} is damaged: {unreadable} frames cannot be read; all others were "
                "played"
            )
        return None

    def _check_file(self) -> None:
        where = f"{self._name}: {self._path}"
        if self._path.exists() and not self._path.is_file():  # a pipe would keep us waiting
            raise CameraProfileError(f"{where} is not a file")
        try:
            with self._path.open("rb") as file:
                magic = file.read(len(_SQLITE_MAGIC))
        except FileNotFoundError:
            raise CameraNotFoundError(f"{self._name}: there is no recording {self._path}") from None
        except OSError as error:
            raise CameraNotFoundError(f"{where} cannot be read: {error.strerror}") from error
        is_db3 = self._path.suffix.lower() == ".db3"
        if not magic:
            raise CameraProfileError(f"{where} is empty: nothing was recorded into it")
        if is_db3 and magic.startswith(_ROS1_MAGIC):
            # librealsense before 2.58 writes its old format under any name, and later ones go by the name.
            raise CameraProfileError(f"{where} is a ROS 1 bag under a wrong name: rename it to .bag")
        if not magic.startswith(_SQLITE_MAGIC if is_db3 else _ROS1_MAGIC):
            raise CameraProfileError(f"{where} is no librealsense recording, whatever its name says")
        version = sdk_version(self._rs)
        if is_db3 and version and version < _FIRST_DB3_VERSION:
            raise CameraProfileError(
                f"{where}: .db3 is played by librealsense 2.58 and later, this is "
                f"{'.'.join(map(str, version))}: pip install 'pyrealsense2>=2.58,<2.60'"
            )


def _what_is_wrong(words: str) -> str:
    """librealsense's reason for not loading a file, in our words and in its own."""
    words = " ".join(words.split())
    if re.search(r"unindexed|wanted \d+ bytes|unexpected end", words, re.IGNORECASE):
        return f"was cut short, the recorder never finished it; `rosbag reindex` may save it ({words})"
    if "malformed" in words:
        return f"is damaged or cut short; `sqlite3 FILE .recover` may save part of it ({words})"
    return f"cannot be played ({words})"


class _Seam:
    """Joins the end of a recording to its beginning: numbers and device times count on."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}  # newest number of each stream, counted on
        self._number_shift: dict[str, int] = {}
        self._times: dict[str, tuple[float, float]] = {}  # first and last time of this pass, by clock
        self._time_shift: dict[str, float] = {}
        self._newest: dict[str, tuple[str, float]] = {}  # clock and time of each stream's newest frame
        self._played_s: dict[str, float] = {}  # how much of this pass each stream has covered
        self._passes = 0

    @property
    def has_frames(self) -> bool:
        return bool(self._times)

    @property
    def played_s(self) -> float:
        """How much of the file this pass has covered, by the frames' own clocks."""
        return max(self._played_s.values(), default=0.0)

    def joined(self, frame: Frame) -> Frame:
        time_s = frame.device_time_s or 0.0
        first_s, last_s = self._times.get(frame.clock, (time_s, time_s))
        self._times[frame.clock] = first_s, max(last_s, time_s)
        clock, before_s = self._newest.get(frame.stream, (frame.clock, time_s))
        step_s = max(0.0, time_s - before_s) if clock == frame.clock else 0.0
        self._played_s[frame.stream] = self._played_s.get(frame.stream, 0.0) + step_s
        self._newest[frame.stream] = frame.clock, time_s
        if self._passes and frame.stream not in self._number_shift:
            self._number_shift[frame.stream] = self._numbers.get(frame.stream, 0) + 1 - frame.number
        number = frame.number + self._number_shift.get(frame.stream, 0)
        self._numbers[frame.stream] = number
        shift_s = self._time_shift.get(frame.clock, 0.0)
        return replace(frame, number=number, device_time_s=time_s + shift_s)

    def turn(self, interval_s: float) -> None:
        """The file begins again, one frame interval after its last frame."""
        for clock, (first_s, last_s) in self._times.items():
            shift_s = self._time_shift.get(clock, 0.0)
            self._time_shift[clock] = shift_s + last_s - first_s + interval_s
        self._times, self._number_shift, self._newest, self._played_s = {}, {}, {}, {}
        self._passes += 1


class _Schedule:
    """When each frame is due, in seconds since the first, by device clock and across a change of clock."""

    def __init__(self) -> None:
        self._zero_s: dict[str, float] = {}
        self._latest_s = 0.0

    def stamp_s(self, frame: Frame) -> float:
        time_s = frame.device_time_s or 0.0
        zero_s = self._zero_s.setdefault(frame.clock, time_s - self._latest_s)
        self._latest_s = max(self._latest_s, time_s - zero_s)
        return time_s - zero_s
