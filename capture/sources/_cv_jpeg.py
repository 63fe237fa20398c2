"""JPEG bytes as cameras deliver them: where they end, whether they decode.

Knows end markers, not sources. Nothing here changes a byte of the picture.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from capture.picture_headers import jpeg_size, jpeg_trouble
from capture.sources._cv_quiet import cv2

Bytes = npt.NDArray[np.uint8]

_START = b"\xff\xd8"
_END = b"\xff\xd9"


def trim_jpeg(packet: Bytes) -> Bytes | None:
    """The JPEG in a driver's buffer, without the padding behind its end marker.

    None if there is no whole one: the buffer does not begin as a JPEG, or the end marker never came (a torn
    transfer; OpenCV 5 refuses to decode it, OpenCV 4 makes up the rest).
    """
    data = packet.reshape(-1)
    if data[:2].tobytes() != _START:
        return None
    if data[-2:].tobytes() == _END:
        return data
    end = data.tobytes().rfind(_END)
    return None if end < 0 else data[: end + len(_END)]


def decodes(data: Bytes, *, width: int, height: int) -> bool:
    """Whether the JPEG decodes to one picture of that size.

    Motion JPEG of interlaced cameras keeps two half pictures in a packet; it fails here on its height.
    """
    if jpeg_size(data) != (width, height) or jpeg_trouble(data):  # before it takes memory
        return False
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return image is not None and tuple(image.shape[:2]) == (height, width)
