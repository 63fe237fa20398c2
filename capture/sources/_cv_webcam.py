"""A webcam through OpenCV's V4L2 back end, read from one thread (see _cv_live).

MJPG is asked for before the size and the rate, since most webcams reach their larger sizes only with it, and
the camera's own JPEG is passed on as it is. Where the spec wants pixels it is decoded here: OpenCV's back end
hands out an empty picture for a JPEG that does not decode. A camera whose JPEGs do not decode is asked for
YUYV instead. Times are the driver's: CLOCK_MONOTONIC at the
capture, which stay right however late a buffer is read. Losses at the driver come out as missing numbers
(see _cv_losses).

A wished size or rate the camera does not grant is an error, not a surprise in the recording. Left open, size
and rate are what OpenCV asks for by itself, 640x480 at 30.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from capture.frames import CameraInfo, Frame, StreamInfo
from capture.picture_headers import jpeg_size
from capture.sources._cv_jpeg import decodes, trim_jpeg
from capture.sources._cv_losses import LossCounter
from capture.sources._cv_quiet import cv2
from capture.sources._cv_v4l2 import check_usable, frame_sizes, is_there
from capture.specs import OpenCVSpec
from codec.errors import CameraLostError, CameraProfileError

Image = npt.NDArray[np.uint8]

_JPEG_FOURCCS = ("MJPG", "JPEG")
# Twice OpenCV's default: what a busy machine may leave lying without the driver losing a picture.
_DRIVER_BUFFERS = 8
_FPS_TOLERANCE = 0.02  # 29.97 is 30
_FIRST_TRIES = 4  # a camera's first pictures may be torn
_QUICK_FAILURE_S = 0.5  # a grab that fails sooner did not time out
_QUICK_FAILURES = 3
_PAUSE_S = 0.02
# A driver's stamp is believed if it is not in the future and not older than its buffers can be.
_OLDEST_STAMP_S = 60.0
_STAMP_SLACK_S = 0.1


class WebcamFeed:
    """A Feed of one V4L2 device."""

    def __init__(self, camera: str, path: str, spec: OpenCVSpec) -> None:
        self._camera = camera
        self._path = path
        self._spec = spec
        self._capture = cv2.VideoCapture()
        self._jpeg = False
        self._size = (0, 0)
        self._fps = 0.0
        self._counter = LossCounter()
        self._waiting: deque[Frame] = deque()
        self._ready: list[Frame] = []
        self._quick_failures = 0

    def open(self) -> CameraInfo:
        webcam = check_usable(self._camera, self._path)
        if not self._capture.open(self._path, cv2.CAP_V4L2):
            raise CameraProfileError(
                f"{self._camera}: {self._path} ({webcam.name}) delivers no format that OpenCV can read; "
                f"it has {', '.join(webcam.formats) or 'none'}"
            )
        fourcc = self._negotiate("MJPG")
        if not self._take_first() and fourcc in _JPEG_FOURCCS:
            fourcc = self._negotiate("YUYV")
            self._take_first()
        if not self._ready:
            raise CameraLostError(
                f"{self._camera}: {self._path} opened but sends no whole picture; too many cameras on one "
                "USB bus (give them smaller sizes or other ports), or replug it"
            )
        width, height = self._size
        stream = StreamInfo(
            name="color",
            pixel_format="jpeg" if self._jpeg and self._spec.passthrough else "bgr8",
            width=width,
            height=height,
            fps=self._fps,
        )
        return CameraInfo(
            name=self._camera,
            backend="opencv",
            model=webcam.name,
            streams=(stream,),
            options={"device": self._path, "bus": webcam.bus, "fourcc": fourcc},
        )

    def next(self) -> list[Frame]:
        if self._ready:
            ready, self._ready = self._ready, []
            return ready
        began_s = time.monotonic()
        if not self._capture.grab():
            return self._after_failure(time.monotonic() - began_s)
        self._quick_failures = 0
        image = self._retrieve()
        if image is None:
            return []
        size = _size_of(image)
        if size is not None and size != self._size:
            raise CameraLostError(
                f"{self._camera}: {self._path} changed its picture from {self._size[0]}x{self._size[1]} "
                f"to {size[0]}x{size[1]}"
            )
        return self._number(image)

    def close(self) -> None:
        self._capture.release()

    def _negotiate(self, wished_fourcc: str) -> str:
        """Set format, buffers, size and rate, in this order; the FOURCC the camera has agreed to."""
        wish, capture = self._spec.color, self._capture
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*wished_fourcc))
        capture.set(cv2.CAP_PROP_BUFFERSIZE, _DRIVER_BUFFERS)
        if wish.width or wish.height:  # OpenCV applies them together, with the second one
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, wish.width or capture.get(cv2.CAP_PROP_FRAME_WIDTH))
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, wish.height or capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if wish.fps:
            capture.set(cv2.CAP_PROP_FPS, wish.fps)
        fourcc = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("latin-1")
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        given_fps = fps if 0 < fps < math.inf else 0.0  # a driver need not know it
        given = (
            int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )
        size_granted = given == (wish.width or given[0], wish.height or given[1])
        rate_granted = not (wish.fps and given_fps) or abs(given_fps / wish.fps - 1) <= _FPS_TOLERANCE
        if not (size_granted and rate_granted):
            wished = f"{wish.width or 'any'}x{wish.height or 'any'} at {wish.fps or 'any'} fps"
            sizes = ", ".join(f"{w}x{h}" for w, h in frame_sizes(self._path, fourcc))
            raise CameraProfileError(
                f"{self._camera}: {self._path}: wished {wished}, given {given[0]}x{given[1]} at "
                f"{given_fps:g} fps ({fourcc})" + (f"; its sizes are {sizes}" if sizes else "")
            )
        self._size, self._fps = given, given_fps
        self._jpeg = fourcc in _JPEG_FOURCCS
        capture.set(cv2.CAP_PROP_CONVERT_RGB, 0.0 if self._jpeg else 1.0)
        return fourcc

    def _take_first(self) -> bool:
        """Take a picture for the first next(), after making sure that it is whole and of the agreed size."""
        width, height = self._size
        for _ in range(_FIRST_TRIES):
            image = self._retrieve() if self._capture.grab() else None
            if image is None or _size_of(image) != self._size:
                continue
            if image.ndim > 1 or decodes(image, width=width, height=height):
                self._ready = self._number(image)
                return True
        return False

    def _retrieve(self) -> Image | None:
        """The picture just grabbed; None for a torn one, which then counts as lost at the camera."""
        image: Image | None
        done, image = self._capture.retrieve()
        if not done or image is None or image.size == 0:
            return None
        if self._jpeg:
            image = trim_jpeg(image)
            if image is not None and not self._spec.passthrough:
                image = cv2.imdecode(image, cv2.IMREAD_COLOR)
        return image

    def _number(self, image: Image) -> list[Frame]:
        arrival_ns = time.monotonic_ns()
        # Microseconds in a double of milliseconds: exact.
        stamp_us = round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1000)
        age_s = arrival_ns / 1e9 - stamp_us / 1e6
        stamped = -_STAMP_SLACK_S <= age_s <= _OLDEST_STAMP_S
        self._waiting.append(
            Frame(
                stream="color",
                number=-1,
                data=image,
                device_time_s=stamp_us / 1e6 if stamped else None,
                clock="monotonic" if stamped else "",
                monotonic_ns=stamp_us * 1000 if stamped else arrival_ns,
            )
        )
        return self._release(self._counter.push(stamp_us / 1e6 if stamped else None))

    def _release(self, numbers: list[int]) -> list[Frame]:
        return [replace(self._waiting.popleft(), number=number) for number in numbers]

    def _after_failure(self, took_s: float) -> list[Frame]:
        """What is left to deliver after a failed grab; raises once the device is gone for good."""
        held = self._release(self._counter.flush())
        if took_s >= _QUICK_FAILURE_S:
            return held  # nothing came for a while; whoever reads decides how long is too long
        self._quick_failures += 1
        if held:
            return held
        if not is_there(self._path):
            raise CameraLostError(f"{self._camera}: {self._path} was unplugged")
        if self._quick_failures >= _QUICK_FAILURES:
            raise CameraLostError(f"{self._camera}: {self._path} is there but refuses to deliver pictures")
        time.sleep(_PAUSE_S)
        return []


def _size_of(image: Image) -> tuple[int, int] | None:
    return jpeg_size(image) if image.ndim == 1 else (image.shape[1], image.shape[0])
