"""`lz4` (id 1): byte planes in a standard LZ4 frame, the payload that is simplest to read from anywhere.

Payload: the 12-byte image header of `_images` (mode 0, palette 0), then one LZ4 frame (the official frame
format, magic 04 22 4D 18; any lz4 tool or library opens payload[12:]). Nothing follows it.
What comes out of the frame: for uint16 all low bytes in row order, then all high bytes in row order; for
uint8 the pixels in row order.
"""

from __future__ import annotations

import lz4.frame
import numpy as np

from codec.depth._images import (
    DEFAULT_MAX_PIXELS,
    Image,
    ImageHeader,
    Payload,
    check_expansion,
    contiguous_image,
    output_for,
    read_header,
    require_plain,
)
from codec.depth._planes import Planes
from codec.errors import CodecError


class Lz4PlanesCodec:
    """uint16 and uint8 images through LZ4 at its default level."""

    name = "lz4"
    id = 1
    lossless = True

    def __init__(self, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
        self._max_pixels = max_pixels
        self._planes = Planes()

    def encode(self, array: Image) -> bytes:
        image = contiguous_image(array, max_pixels=self._max_pixels)
        header = ImageHeader(0, image.dtype.itemsize, 0, *image.shape)
        frame: bytes = lz4.frame.compress(self._planes.split(image))
        return header.pack() + frame

    def decode(self, data: Payload, out: Image | None = None) -> Image:
        header, body = read_header(data, codec=self.name, max_pixels=self._max_pixels)
        require_plain(header, codec=self.name)
        planes = self._decompress(body, header.pixels * header.itemsize)
        target, result = output_for(header, out)
        self._planes.merge(np.frombuffer(planes, np.uint8), target)
        if result is not target:
            np.copyto(result, target)
        return result

    def _decompress(self, body: memoryview, size: int) -> bytes:
        check_expansion(len(body), size, codec=self.name)
        # max_length, and not the size that the frame itself claims, decides what is allocated. The one byte
        # more lets the decompressor go past the last pixel and see the end mark.
        decompressor = lz4.frame.LZ4FrameDecompressor()
        try:
            planes: bytes = decompressor.decompress(body, max_length=size + 1)
        except RuntimeError as error:
            raise CodecError(f"lz4 payload does not decompress ({error}): damaged") from error
        if len(planes) != size or not decompressor.eof or decompressor.unused_data:
            raise CodecError(f"lz4 payload does not hold one frame of exactly {size} bytes: damaged")
        return planes
