"""`max` (id 5): the densest lossless depth there is, for recordings that are done: a hundred times the CPU.

Payload: the 12-byte image header of `_images` (palette 0); its mode says how to go on.

    mode 0   a whole payload of lattice-lz4, with an image header of its own: small images, noise, uint8
    mode 1   uint16, at most 16384 pixels wide, at most 32767 values other than 0; then

        offset  type     meaning (little-endian)
        0       u32      CRC-32 of the pixels, row by row, little-endian
        4       u16      n, the number of values other than 0
        6       29 i16   weights of the linear prediction, in 1/1024
        64      ...      arithmetic code, to the end: the palette, then pixel by pixel

Each rank is predicted by 29 neighbours with weights that were fitted to this very image; seven models of what
lies around say what to expect beyond that, mixed by weights that are learned on the way, and an arithmetic
coder codes the difference. All of it in integers: the same on every machine. docs/FORMAT.md says it all;
`native/max_mixer.c` does it in C and `_max_twin` in Python, to the same bit.
"""

from __future__ import annotations

import struct
import zlib
from types import ModuleType

import numpy as np

from codec.depth import _max_twin, _native
from codec.depth._images import (
    DEFAULT_MAX_PIXELS,
    Image,
    ImageHeader,
    Payload,
    contiguous_image,
    output_for,
    read_header,
)
from codec.depth._plain_mode import MODE_PLAIN, PlainMode
from codec.errors import CodecError

MODE_MIXED = 1
_CHECK = struct.Struct("<I")
_MAX_WIDTH = 16384
_PIXELS_PER_VALUE = 2
"""Fewer pixels than this for each value: noise, and not worth the time."""
_PIXELS_PER_BYTE = 23000
"""Each pixel takes a bit of a probability of at most 65520/65536 out of 32 bits and the 8 of each byte."""


class MaxCodec:
    """uint16 depth images at a sixteenth of their size, slowly; everything else as lattice-lz4 has it."""

    name = "max"
    id = 5
    lossless = True

    def __init__(self, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
        self._max_pixels = max_pixels
        self._plain = PlainMode(self.name, max_pixels=max_pixels)
        self._coder: _native.NativeMax | ModuleType = _max_twin
        if _native.kernels is not None:
            self._coder = _native.NativeMax(_native.kernels)

    def encode(self, array: Image) -> bytes:
        image = contiguous_image(array, max_pixels=self._max_pixels)
        payload = None
        if image.dtype == np.uint16 and image.size and image.shape[1] <= _MAX_WIDTH and _has_ranks(image):
            body = self._coder.encode(image)
            if body is not None:
                check = _CHECK.pack(_crc(image))
                payload = ImageHeader(MODE_MIXED, 2, 0, *image.shape).pack() + check + body
        return self._plain.unless_smaller(payload, image)

    def decode(self, data: Payload, out: Image | None = None) -> Image:
        header, body = read_header(data, codec=self.name, max_pixels=self._max_pixels)
        if header.mode == MODE_PLAIN:
            return self._plain.decode(header, body, out)
        possible = header.mode == MODE_MIXED and header.itemsize == 2 and not header.palette
        if not possible or not header.pixels or header.width > _MAX_WIDTH:
            raise CodecError(f"max payload has an impossible header {tuple(header)}: damaged or too new")
        if len(body) <= _CHECK.size or header.pixels > len(body) * _PIXELS_PER_BYTE:
            raise CodecError(f"max payload claims {header.pixels} pixels from {len(body)} bytes: damaged")
        target, result = output_for(header, out)
        self._coder.decode(body[_CHECK.size :], target)
        if _CHECK.unpack_from(body) != (_crc(target),):
            raise CodecError("max payload decodes to other pixels than were encoded: damaged")
        if result is not target:
            np.copyto(result, target)
        return result


def _has_ranks(image: Image) -> bool:
    seen = np.zeros(65536, np.bool_)
    seen[image] = True
    return int(np.count_nonzero(seen)) * _PIXELS_PER_VALUE <= image.size + _PIXELS_PER_VALUE


def _crc(image: Image) -> int:
    return zlib.crc32(image.astype("<u2", copy=False).data)
