"""Webcams, network streams and video files through OpenCV.

What `device` names decides the way: a webcam is read by V4L2 (_cv_webcam), a URL by FFmpeg (_cv_stream), both
from a thread of their own, because a grab in OpenCV cannot be given a time-out (_cv_live); a file is read
straight, since it can wait (_cv_file). All deliver one stream, "color": JPEG as the camera made it where it
does, else bgr8.
"""

from __future__ import annotations

from capture.frames import CameraInfo, Frame
from capture.sources._cv_address import Address, parse_address
from capture.sources._cv_file import VideoFile
from capture.sources._cv_live import Feed, LiveVideo
from capture.sources._cv_stream import StreamFeed
from capture.sources._cv_v4l2 import list_webcams
from capture.sources._cv_webcam import WebcamFeed
from capture.specs import OpenCVSpec
from codec.errors import CameraError, CameraLostError, CameraNotFoundError

__all__ = ["OpenCVSource", "list_webcams"]


class OpenCVSource:
    """A Source; may be opened again after close()."""

    def __init__(self, name: str, spec: OpenCVSpec) -> None:
        self._name = name
        self._spec = spec
        self._video: VideoFile | LiveVideo | None = None

    def open(self) -> CameraInfo:
        self.close()
        address = parse_address(self._spec.device)
        self._video = self._make(address)
        try:
            return self._video.open()
        except CameraError as error:
            self.close()
            if address.kind == "stream" and isinstance(error, CameraLostError):
                # A server that takes connections and has no picture is on its way: to be looked for again
                # soon. Neither a bus nor a driver suffers from that.
                raise CameraNotFoundError(str(error)) from error
            raise

    def read(self, timeout_s: float) -> list[Frame]:
        if self._video is None:
            raise CameraLostError(f"{self._name}: not open")
        return self._video.read(timeout_s)

    def close(self) -> None:
        if self._video is not None:
            self._video.close()
            self._video = None

    def _make(self, address: Address) -> VideoFile | LiveVideo:
        spec = self._spec
        if address.kind == "file":
            return VideoFile(self._name, address.target, spec)
        feed: Feed
        if address.kind == "webcam":
            feed = WebcamFeed(self._name, address.target, spec)
        else:
            feed = StreamFeed(self._name, address, spec)
        return LiveVideo(
            self._name, feed, open_timeout_s=spec.open_timeout_s, read_timeout_s=spec.read_timeout_s
        )
