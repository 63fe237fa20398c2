"""A video file through OpenCV's FFmpeg, played at its rate, at another one, or as fast as it is read.

Every picture of the file comes out once, in order, numbered from 0; a file can wait, so nothing is dropped
for a slow reader. Times are the file's own ("media" clock, from 0), or number / fps where the spec sets a
rate; with `loop` numbers and times go on upwards. A packet that does not decode leaves its number out. A file
that breaks off before the length it promises ends in a CameraProfileError instead of a normal end: trying
again would not mend it.

Motion JPEG is passed on as it lies in the file, where this OpenCV also tells the times of raw packets
(4.10 and later do).

No thread: reading a local file does not block for long, and pictures are decoded into one buffer.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from capture.frames import CameraInfo, Frame, StreamInfo
from capture.picture_headers import PIXELS_MAX, jpeg_size
from capture.sources._cv_jpeg import decodes, trim_jpeg
from capture.sources._cv_pace import Pacer
from capture.sources._cv_quiet import cv2
from capture.specs import OpenCVSpec
from codec.errors import (
    CameraLostError,
    CameraNotFoundError,
    CameraProfileError,
    SourceEndedError,
)

Image = npt.NDArray[np.uint8]

_JPEG_FOURCCS = ("MJPG", "mjpg", "jpeg", "JPEG")
_UNKNOWN_SIZE = (0, 0)
_HIGHEST_FPS = 1000.0  # above it FFmpeg gives its time base, not a rate
_UNKNOWN_STEP_S = 1 / 30  # between pictures of a file that tells neither rate nor times
_LEAST_STEP_S = 1e-6  # past a time stamp that runs backwards
_TRIES = 64  # OpenCV's grab() fails once per damaged packet, and for ever at the end
# How much of its promised length a file may lack: some containers only estimate it.
_MISSING_SHARE = 0.02
_MISSING_FRAMES = 2


@dataclass(slots=True)
class _Picture:
    number: int
    time_s: float
    data: Image


class VideoFile:
    """A Source over one file; opened once."""

    def __init__(self, camera: str, path: str, spec: OpenCVSpec) -> None:
        self._camera = camera
        self._path = path
        self._spec = spec
        self._pacer = Pacer(spec.pace)
        self._capture = cv2.VideoCapture()
        self._jpeg = False
        self._size = _UNKNOWN_SIZE
        self._fps = 0.0
        self._promised = 0  # pictures in one pass, as the container says
        self._in_pass = 0  # pictures read or given up in this pass
        self._number = -1
        self._time_s = math.nan
        self._pass_start_s = 0.0
        self._position_s = 0.0  # of the last picture in the file, whatever clock it is played by
        self._buffer: Image | None = None
        self._next: _Picture | None = None

    def open(self) -> CameraInfo:
        self._check_file()
        self._open_capture()
        fourcc = int(self._capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("latin-1")
        width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > PIXELS_MAX:
            raise CameraProfileError(
                f"{self._camera}: {self._path} claims pictures of {width}x{height}; "
                f"up to {PIXELS_MAX >> 20} megapixels are read"
            )
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self._fps = fps if 0 < fps < _HIGHEST_FPS else 0.0
        self._promised = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        if self._spec.passthrough and fourcc in _JPEG_FOURCCS:
            self._jpeg = self._raw_packets_are_good(width, height)
            self._open_capture()
        self._next = self._advance()
        if self._next is None:
            raise CameraProfileError(f"{self._camera}: {self._path} holds no picture that can be decoded")
        width, height = self._size
        wish = self._spec.color
        if (width, height) != (wish.width or width, wish.height or height):
            raise CameraProfileError(
                f"{self._camera}: {self._path}: wished {wish.width or 'any'}x"
                f"{wish.height or 'any'}, the file has {width}x{height}; leave width and height out"
            )
        stream = StreamInfo(
            name="color",
            pixel_format="jpeg" if self._jpeg else "bgr8",
            width=width,
            height=height,
            fps=wish.fps or self._fps,
        )
        return CameraInfo(
            name=self._camera,
            backend="opencv",
            model=Path(self._path).name,
            streams=(stream,),
            can_wait=True,
            options={"file": self._path, "fourcc": fourcc, "frames": self._promised},
        )

    def read(self, timeout_s: float) -> list[Frame]:
        if not self._capture.isOpened():
            raise CameraLostError(f"{self._camera}: {self._path} is not open")
        if self._next is None:
            self._next = self._advance() or self._begin_again()
        picture = self._next
        if not self._pacer.wait(picture.time_s, timeout_s):
            return []
        self._next = None
        return [
            Frame("color", picture.number, picture.data, picture.time_s, "media", time.monotonic_ns()),
        ]

    def close(self) -> None:
        self._capture.release()

    def _check_file(self) -> None:
        path = Path(self._path)
        if not path.exists():
            raise CameraNotFoundError(f"{self._camera}: there is no file {self._path}")
        if path.is_dir():
            raise CameraProfileError(
                f"{self._camera}: {self._path} is a folder; recordings and folders of PNGs are for a "
                "playback camera"
            )
        try:
            with path.open("rb") as file:
                empty = not file.read(1)
        except PermissionError:
            raise CameraNotFoundError(f"{self._camera}: no permission to read {self._path}") from None
        if empty:
            raise CameraProfileError(f"{self._camera}: {self._path} is empty")

    def _open_capture(self) -> None:
        """Open the file at its beginning, in the mode found out so far."""
        if not self._capture.open(self._path, cv2.CAP_FFMPEG):
            raise CameraProfileError(
                f"{self._camera}: {self._path} is not a video that FFmpeg can read, or its header is missing"
            )
        if self._jpeg:
            self._capture.set(cv2.CAP_PROP_FORMAT, -1)
        self._in_pass = 0

    def _raw_packets_are_good(self, width: int, height: int) -> bool:
        """Whether the first packets are whole JPEGs and come with their times."""
        capture = self._capture
        if capture.get(cv2.CAP_PROP_ORIENTATION_META):
            return False  # a turned film: OpenCV turns the pictures, raw packets lie on their side
        capture.set(cv2.CAP_PROP_FORMAT, -1)
        stamps_ms = []
        for _ in range(2):
            done, packet = capture.read()
            data = trim_jpeg(packet) if done and packet is not None and packet.size else None
            if data is None or not decodes(data, width=width, height=height):
                return False
            stamps_ms.append(float(capture.get(cv2.CAP_PROP_POS_MSEC)))
        return 0 <= stamps_ms[0] < stamps_ms[1]

    def _advance(self) -> _Picture | None:
        """The next picture of this pass; None at its end."""
        for missed in range(_TRIES):
            grabbed = self._capture.grab()
            if not grabbed and self._in_pass >= self._promised > 0:
                return None
            data = self._retrieve() if grabbed else None
            if data is not None:
                self._in_pass += missed + 1
                self._number += missed + 1
                self._time_s = self._stamp_s()
                return _Picture(self._number, self._time_s, data)
        return None

    def _retrieve(self) -> Image | None:
        """The picture just grabbed; None if it is damaged."""
        done, self._buffer = self._capture.retrieve(self._buffer)
        if not done or self._buffer is None or self._buffer.size == 0:
            return None
        data = trim_jpeg(self._buffer) if self._jpeg else self._buffer
        if data is None:
            return None
        size = jpeg_size(data) if self._jpeg else (data.shape[1], data.shape[0])
        if size is not None and self._size == _UNKNOWN_SIZE:
            self._size = size
        if size is not None and size != self._size:
            raise CameraProfileError(
                f"{self._camera}: {self._path} changes from {self._size[0]}x{self._size[1]} to "
                f"{size[0]}x{size[1]} at picture {self._number + 1}: cut it there and play the parts"
            )
        return data

    def _stamp_s(self) -> float:
        """The time of the picture just read, on a clock that goes on over repeats and never backwards."""
        self._position_s = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        if self._spec.color.fps:
            return self._number / self._spec.color.fps
        if self._in_pass == 1:
            # FFmpeg counts from the first picture; OpenCV 4.8 may give it the time of a later one.
            return self._pass_start_s
        if math.isnan(self._time_s):
            return self._pass_start_s + (self._in_pass - 1) * self._step_s()
        if not self._position_s > 0:
            return self._time_s + self._step_s()  # a file without times
        return max(self._pass_start_s + self._position_s, self._time_s + _LEAST_STEP_S)

    def _step_s(self) -> float:
        return 1 / self._fps if self._fps else _UNKNOWN_STEP_S

    def _begin_again(self) -> _Picture:
        """The first picture of the next pass; raises at the end of the last one."""
        self._check_length()
        if not self._spec.loop:
            raise SourceEndedError(
                f"{self._camera}: {self._path} has been played to its end, {self._number + 1} pictures"
            )
        self._pass_start_s = self._time_s + self._step_s()
        self._open_capture()
        picture = self._advance()
        if picture is None:
            raise CameraProfileError(f"{self._camera}: {self._path} can no longer be read")
        return picture

    def _check_length(self) -> None:
        """Tell a normal end from a file that breaks off: both its pictures and its time are short."""
        least = self._promised * (1 - _MISSING_SHARE) - _MISSING_FRAMES
        if self._in_pass < least and self._position_s < least * self._step_s():
            raise CameraProfileError(
                f"{self._camera}: {self._path} breaks off after {self._in_pass} of {self._promised} "
                "pictures: the file is cut off or damaged there"
            )
