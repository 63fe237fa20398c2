"""JPEG bytes as cameras deliver them: where they end, how large the picture is, whether it decodes.

Knows markers, not sources. Nothing here changes a byte of the picture.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from capture.sources._cv_quiet import cv2

Bytes = npt.NDArray[np.uint8]

_START = b"\xff\xd8"
_END = b"\xff\xd9"
# Start-of-frame markers carry the picture's size. C4, C8 and CC lie in their range but are others.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA


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


def jpeg_size(data: Bytes) -> tuple[int, int] | None:
    """(width, height) from the JPEG's header, without decoding; None if the header is broken."""
    position = len(_START)
    while position + 9 <= data.size and data[position] == 0xFF:
        marker = int(data[position + 1])
        if marker == 0xFF:  # a fill byte in front of a marker
            position += 1
            continue
        if marker in _START_OF_FRAME:
            # FF marker, length (2), precision (1), height (2), width (2)
            height, width = (int(data[position + i]) << 8 | int(data[position + i + 1]) for i in (5, 7))
            return width, height
        if marker == _START_OF_SCAN:
            return None
        position += 2 + (int(data[position + 2]) << 8 | int(data[position + 3]))
    return None


def decodes(data: Bytes, *, width: int, height: int) -> bool:
    """Whether the JPEG decodes to one picture of that size.

    Motion JPEG of interlaced cameras keeps two half pictures in a packet; it fails here on its height.
    """
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return image is not None and tuple(image.shape[:2]) == (height, width)
