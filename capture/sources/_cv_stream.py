"""A stream from the network through OpenCV's FFmpeg: HTTP MJPEG, RTSP, UDP, or a FIFO.

Read from one thread (see _cv_live). Motion JPEG is passed on as the server's own bytes (FFmpeg's raw
packets), everything else is decoded. Streams tell no capture time: a frame's time is that of its arrival.
Numbers count what arrived; what the network lost nobody knows. The end of the connection and a silence
longer than the read time-out are losses of the camera.

A size cannot be asked for; a wished one is checked. `color.fps` is believed, since FFmpeg invents 25 fps for
HTTP MJPEG.
"""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from capture.frames import CameraInfo, Frame, StreamInfo
from capture.picture_headers import jpeg_size
from capture.sources._cv_address import Address
from capture.sources._cv_jpeg import decodes, trim_jpeg
from capture.sources._cv_knock import knock
from capture.sources._cv_quiet import cv2
from capture.specs import OpenCVSpec
from codec.errors import CameraLostError, CameraProfileError

Image = npt.NDArray[np.uint8]

_JPEG_FOURCCS = ("MJPG", "mjpg", "jpeg", "JPEG")
_FIRST_TRIES = 4
_UNKNOWN_SIZE = (0, 0)
_HIGHEST_FPS = 1000.0  # above it FFmpeg gives its time base, not a rate


class StreamFeed:
    """A Feed of one URL."""

    def __init__(self, camera: str, address: Address, spec: OpenCVSpec) -> None:
        self._camera = camera
        self._address = address
        self._spec = spec
        self._capture = cv2.VideoCapture()
        self._jpeg = False
        self._size = _UNKNOWN_SIZE
        self._number = -1
        self._first: list[Frame] = []

    def open(self) -> CameraInfo:
        fourcc = self._connect()
        self._jpeg = self._spec.passthrough and fourcc in _JPEG_FOURCCS
        if not self._take_first():
            self._jpeg = False
            self._connect()
            if not self._take_first():
                raise CameraProfileError(f"{self._camera}: {self._address.shown} sends no whole picture")
        self._check_wish()
        stream = StreamInfo(
            name="color",
            pixel_format="jpeg" if self._jpeg else "bgr8",
            width=self._size[0],
            height=self._size[1],
            fps=self._nominal_fps(fourcc),
        )
        return CameraInfo(
            name=self._camera,
            backend="opencv",
            model=urlsplit(self._address.shown).hostname or self._address.shown,
            streams=(stream,),
            options={"url": self._address.shown, "fourcc": fourcc},
        )

    def next(self) -> list[Frame]:
        if self._first:
            first, self._first = self._first, []
            return first
        return self._take()

    def close(self) -> None:
        self._capture.release()

    def _connect(self) -> str:
        """Open the URL (anew); the codec's FOURCC."""
        self.close()
        knock(self._camera, self._address, self._spec.open_timeout_s)
        timeouts = {
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: self._spec.open_timeout_s,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC: self._spec.read_timeout_s,
        }
        parameters = [value for key, seconds in timeouts.items() for value in (key, round(seconds * 1000))]
        if not self._capture.open(self._address.target, cv2.CAP_FFMPEG, parameters):
            from capture.sources._cv_reach import explain_failure  # with it comes all of http.client

            raise explain_failure(self._camera, self._address, self._spec.open_timeout_s)
        return int(self._capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("latin-1")

    def _take_first(self) -> bool:
        """Take the picture that says what the stream delivers; False if it is no good this way."""
        self._number = -1
        if self._jpeg:
            self._capture.set(cv2.CAP_PROP_FORMAT, -1)  # raw packets
        width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        # What FFmpeg says of a stream it decodes may differ from what comes: there the first picture counts.
        self._size = (width, height) if self._jpeg else _UNKNOWN_SIZE
        for _ in range(_FIRST_TRIES):
            self._first = self._take()
            if self._first:
                data = self._first[0].data.view(np.uint8)
                return not self._jpeg or decodes(data, width=width, height=height)
        return False

    def _take(self) -> list[Frame]:
        began_s = time.monotonic()
        if not self._capture.grab():
            raise self._lost(time.monotonic() - began_s)
        arrival_ns = time.monotonic_ns()
        self._number += 1
        done, image = self._capture.retrieve()
        picture = self._checked(image) if done and image is not None and image.size else None
        if picture is None:
            return []  # arrived torn: its number stays a gap
        return [Frame("color", self._number, picture, None, "", arrival_ns)]

    def _checked(self, image: Image) -> Image | None:
        """The picture, or the JPEG in the packet; None if there is none."""
        picture = trim_jpeg(image) if self._jpeg else image
        if picture is None:
            return None
        size = jpeg_size(picture) if picture.ndim == 1 else (image.shape[1], image.shape[0])
        if self._size == _UNKNOWN_SIZE and size is not None:
            self._size = size
        if size is not None and size != self._size:
            raise CameraLostError(
                f"{self._camera}: {self._address.shown} changed its picture from "
                f"{self._size[0]}x{self._size[1]} to {size[0]}x{size[1]}"
            )
        return picture

    def _lost(self, silent_s: float) -> CameraLostError:
        if silent_s >= 0.9 * self._spec.read_timeout_s:
            why = f"sent nothing for {silent_s:.1f} s (read_timeout_s)"
        else:
            why = "closed the connection"
        after = f" after {self._number + 1} pictures" if self._number >= 0 else " before the first picture"
        return CameraLostError(f"{self._camera}: {self._address.shown} {why}{after}")

    def _check_wish(self) -> None:
        wish, given = self._spec.color, self._size
        if given != (wish.width or given[0], wish.height or given[1]):
            raise CameraProfileError(
                f"{self._camera}: {self._address.shown}: wished {wish.width or 'any'}x"
                f"{wish.height or 'any'}, given {given[0]}x{given[1]}; set the size at the "
                "camera, or leave width and height out"
            )

    def _nominal_fps(self, fourcc: str) -> float:
        if self._spec.color.fps or fourcc in _JPEG_FOURCCS:
            return self._spec.color.fps
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        return fps if 0 < fps < _HIGHEST_FPS else 0.0
