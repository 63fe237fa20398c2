"""Anti-aliased text on a BGR picture, by cap height in pixels.

OpenCV 5 has a real font behind the old calls; OpenCV 4 only has strokes, which are drawn large and shrunk
here, as they are ragged at the sizes of a caption. ASCII only: neither has more. Masks are cached, since
captions hardly change from picture to picture. Knows nothing of what the text says.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Color = tuple[int, int, int]
"""Blue, green, red."""

_ZOOM: Final = 1 if int(cv2.__version__.split(".")[0]) >= 5 else 4
_FONTS: Final = {False: cv2.FONT_HERSHEY_SIMPLEX, True: cv2.FONT_HERSHEY_DUPLEX}
_ABOVE, _BELOW = 0.5, 0.7  # room for accents and for descenders, in cap heights


def text_width(text: str, cap_px: float, *, bold: bool = False) -> int:
    """How wide the text will be, in pixels."""
    return int(_mask(text, cap_px, bold).shape[1])


def draw_text(
    picture: Picture,
    text: str,
    x: int,
    middle: int,
    cap_px: float,
    color: Color,
    *,
    bold: bool = False,
    align: str = "left",
) -> int:
    """Write `text` with its capitals centred on row `middle`; x is its "left", "center" or "right".

    Returns the column where it ends. What lies outside of the picture is cut off.
    """
    mask = _mask(text, cap_px, bold)
    height, width = mask.shape
    left = x - {"left": 0, "center": width // 2, "right": width}[align]
    top = round(middle - cap_px / 2 - cap_px * _ABOVE)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(picture.shape[1], left + width), min(picture.shape[0], top + height)
    if x0 < x1 and y0 < y1:
        place = picture[y0:y1, x0:x1]
        alpha = mask[y0 - top : y1 - top, x0 - left : x1 - left, None].astype(np.uint16)
        ink = np.array(color, np.uint16)
        place[:] = (place * (255 - alpha) + ink * alpha + 127) // 255
    return int(left + width)


@lru_cache(maxsize=1024)
def _mask(text: str, cap_px: float, bold: bool) -> npt.NDArray[np.uint8]:
    font, zoom = _FONTS[bold], _ZOOM
    scale = cap_px * zoom / _cap_height(bold)
    (width, _), _ = cv2.getTextSize(text, font, scale, zoom)
    columns = max(1, -(-width // zoom))
    rows = round(cap_px * (1 + _ABOVE + _BELOW))
    large = np.zeros((rows * zoom, columns * zoom), np.uint8)
    baseline = round(cap_px * (1 + _ABOVE) * zoom)
    cv2.putText(large, text, (0, baseline), font, scale, 255, zoom, cv2.LINE_AA)
    mask: npt.NDArray[np.uint8] = cv2.resize(large, (columns, rows), interpolation=cv2.INTER_AREA)
    return mask


@lru_cache(maxsize=2)
def _cap_height(bold: bool) -> float:
    """Pixels of ink in an "H" at scale 1, measured: the two OpenCVs mean different things by a scale."""
    large = np.zeros((400, 400), np.uint8)
    cv2.putText(large, "H", (40, 300), _FONTS[bold], 8.0, 255, 1, cv2.LINE_AA)
    return float(np.count_nonzero(large.max(axis=1) > 127)) / 8.0
