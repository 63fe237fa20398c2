"""`near` (id 4): LOSSY. Depth within a stated bound of what was measured, at a thirtieth of its size.

A stereo camera measures disparity, d = C / z, with a noise of about 2.6/32 pixel. `near` keeps the disparity
of each pixel to within a bound and lets lattice-rans store that. The default, 2.5/32 pixel, is below the
noise. Zero (not measured) stays zero, and nothing else becomes zero.

    offset  type  meaning (little-endian), behind the 12-byte image header of `_images`; palette 0
    12      u16   bound in 1/256 of 1/32 pixel; 0 in mode 0
    14      u32   C = focal length in pixels * baseline * 32, in units of the depth values; 0 in mode 0
    18      ...   a whole payload of lattice-rans, with an image header of its own

Mode 1 is a uint16 image: for each pixel z and what came of it, z', |C / z - C / z'| <= bound. Mode 0 is
lossless: uint8, which is no depth. A reader that does not care for the bound reads the payload from byte 18.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from codec.depth._images import (
    DEFAULT_MAX_PIXELS,
    Image,
    ImageHeader,
    Payload,
    contiguous_image,
    read_header,
)
from codec.depth.lattice_rans import LatticeRansCodec
from codec.errors import CodecError

MODE_LOSSLESS, MODE_NEAR = 0, 1
SUBPIXELS = 32
BELOW_SENSOR_NOISE = 2.5
"""In 1/32 pixel: the temporal noise of D4xx cameras has a standard deviation of 2.4 to 3.0 at every depth."""
_BOUND_UNIT = 256
_LOSS = struct.Struct("<HI")
_LARGEST_CONSTANT = 2**32 - 1
TYPICAL_FOCAL_BASELINE_PX_M = 0.5 * 0.050
"""For each column of the image, of a D435: the focal length is about half the width, the baseline 50 mm."""
_MILLIMETRES = 1000


@dataclass(frozen=True, slots=True)
class NearSettings:
    """How much may be lost.

    bound_subpixels: largest change of a pixel's disparity, in 1/32 pixel; above 0, below 256.
    disparity_constant: focal length in pixels * baseline * 32, in units of the depth values (606,000 for a
    D435 at 640x480 with millimetres). None takes what is typical for the width of the image in millimetres.
    """

    bound_subpixels: float = BELOW_SENSOR_NOISE
    disparity_constant: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.bound_units < 2**16:
            raise CodecError(f"near: a bound of {self.bound_subpixels}/32 pixel is not between 0 and 256")
        constant = self.disparity_constant
        if constant is not None and not (math.isfinite(constant) and 1 <= constant <= _LARGEST_CONSTANT):
            raise CodecError(f"near: a disparity constant of {constant} is not between 1 and 2**32 - 1")

    @property
    def bound_units(self) -> int:
        return int(self.bound_subpixels * _BOUND_UNIT) if math.isfinite(self.bound_subpixels) else 0


class StatedLoss(NamedTuple):
    """What a payload says of itself: |C / z - C / z'| <= bound, disparities in 1/32 pixel."""

    bound_subpixels: float
    disparity_constant: int


class NearCodec:
    """uint16 depth within a bound; uint8 images without loss."""

    name = "near"
    id = 4
    lossless = False

    def __init__(self, *, max_pixels: int = DEFAULT_MAX_PIXELS, settings: NearSettings | None = None) -> None:
        self._max_pixels = max_pixels
        self._settings = settings or NearSettings()
        self._inner = LatticeRansCodec(max_pixels=max_pixels)

    def quantise(self, image: Image) -> Image:
        """What comes back of a uint16 image, uint16 of the same shape."""
        quantised: Image = np.take(_table(self._settings.bound_units, self._constant(image)), image)
        return quantised

    def _constant(self, image: Image) -> int:
        constant = self._settings.disparity_constant
        if constant is None:
            constant = TYPICAL_FOCAL_BASELINE_PX_M * image.shape[1] * SUBPIXELS * _MILLIMETRES
        return min(round(constant), _LARGEST_CONSTANT)

    def encode(self, array: Image) -> bytes:
        image = contiguous_image(array, max_pixels=self._max_pixels)
        if image.dtype.itemsize != 2 or not image.size:
            header = ImageHeader(MODE_LOSSLESS, image.dtype.itemsize, 0, *image.shape)
            return header.pack() + _LOSS.pack(0, 0) + self._inner.encode(image)
        header = ImageHeader(MODE_NEAR, 2, 0, *image.shape)
        loss = _LOSS.pack(self._settings.bound_units, self._constant(image))
        return header.pack() + loss + self._inner.encode(self.quantise(image))

    def decode(self, data: Payload, out: Image | None = None) -> Image:
        header, body = read_header(data, codec=self.name, max_pixels=self._max_pixels)
        stated_loss(data)
        inner_body = body[_LOSS.size :]
        inner, _ = read_header(inner_body, codec=self.name, max_pixels=self._max_pixels)
        if (inner.itemsize, inner.shape) != (header.itemsize, header.shape):
            raise CodecError(f"near payload contradicts itself: {tuple(header)}, {tuple(inner)}: damaged")
        return self._inner.decode(inner_body, out)


def stated_loss(data: Payload) -> StatedLoss | None:
    """The bound that a payload of `near` states, None where it is lossless. Raises CodecError."""
    header, body = read_header(data, codec=NearCodec.name, max_pixels=2**64)
    if len(body) < _LOSS.size:
        raise CodecError(f"near payload ends {len(body)} bytes behind its image header: cut short")
    bound, constant = _LOSS.unpack_from(body)
    is_lossy = header.mode == MODE_NEAR and header.itemsize == 2 and bound and constant
    is_lossless = header.mode == MODE_LOSSLESS and not bound and not constant
    if header.palette or not (is_lossy or is_lossless):
        raise CodecError(
            f"near payload has an impossible header {tuple(header)}, {bound}, {constant}: damaged"
        )
    return StatedLoss(bound / _BOUND_UNIT, constant) if is_lossy else None


@lru_cache(maxsize=16)
def _table(bound_units: int, constant: int) -> npt.NDArray[np.uint16]:
    """What becomes of each of the 65,536 values.

    From the nearest on, as many values as one can stand for within the bound are given to it. In whole
    numbers, |C / z - C / r| <= b / 256 is 256 * C * |z - r| <= b * z * r: the farthest r that may stand for z
    is 256 * C * z / (256 * C - b * z), and r in turn stands for values as far beyond itself.
    """
    scaled = _BOUND_UNIT * constant

    def reach(value: int) -> int:
        left = scaled - bound_units * value
        return min(scaled * value // left, 65535) if left > 0 else 65535

    table = np.zeros(65536, np.uint16)
    nearest = 1
    while nearest <= 65535:
        middle = reach(nearest)
        farthest = reach(middle)
        table[nearest : farthest + 1] = middle
        nearest = farthest + 1
    table.flags.writeable = False
    return table
