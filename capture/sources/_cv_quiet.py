"""cv2, told to keep its own log lines and FFmpeg's to itself.

Everything in this folder that opens a video takes cv2 from here. What went wrong reaches the user once, as
one of our errors; without this a lost webcam or a cut-off file also fills the terminal with library lines.
A variable the user has set stays as it is.
"""

from __future__ import annotations

import os

_SETTINGS = {
    "OPENCV_LOG_LEVEL": "SILENT",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",  # AV_LOG_QUIET
    # A webcam that sends nothing gives the reading thread back after a second instead of ten.
    "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "1",
}
for _variable, _value in _SETTINGS.items():
    os.environ.setdefault(_variable, _value)

import cv2  # noqa: E402 - reads these variables while it is imported

__all__ = ["cv2"]
