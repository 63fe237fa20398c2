"""Byte planes: all low bytes of an image, then all high bytes, each in row order; one plane for uint8.

The two bytes of a depth value change at very different rates; apart from each other they compress better.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from codec.depth._images import Image

_BLOCK = 65536
"""Pixels at a time, so that temporaries stay in the cache."""

Bytes = npt.NDArray[np.uint8]


class Planes:
    """Splits and merges byte planes with buffers of its own: one instance per thread."""

    def __init__(self) -> None:
        self._planes: Bytes = np.empty(0, np.uint8)
        self._high: npt.NDArray[np.uint16] = np.empty(_BLOCK, np.uint16)

    def split(self, image: Image) -> Bytes:
        """The planes of a C-contiguous image; valid until the next call."""
        if image.dtype.itemsize == 1:
            return image.reshape(-1)
        if self._planes.size != image.nbytes:
            self._planes = np.empty(image.nbytes, np.uint8)
        flat = image.reshape(-1)
        low, high = self._planes[: flat.size], self._planes[flat.size :]
        for start in range(0, flat.size, _BLOCK):
            part = flat[start : start + _BLOCK]
            shifted = self._high[: part.size]
            np.right_shift(part, 8, out=shifted)
            np.copyto(low[start : start + _BLOCK], part, casting="unsafe")
            np.copyto(high[start : start + _BLOCK], shifted, casting="unsafe")
        return self._planes

    def merge(self, planes: Bytes, target: Image) -> None:
        """Fill a C-contiguous image from planes of exactly its size."""
        flat: npt.NDArray[Any] = target.reshape(-1)
        if target.dtype.itemsize == 1:
            np.copyto(flat, planes)
            return
        low, high = planes[: flat.size], planes[flat.size :]
        for start in range(0, flat.size, _BLOCK):
            part = flat[start : start + _BLOCK]
            shifted = self._high[: part.size]
            np.copyto(shifted, high[start : start + _BLOCK])
            np.left_shift(shifted, 8, out=shifted)
            np.copyto(part, low[start : start + _BLOCK])
            np.bitwise_or(part, shifted, out=part)
