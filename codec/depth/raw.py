"""`raw` (id 0): the image as it is, for when there is time for nothing else.

Payload: the 12-byte image header of `_images` (mode 0, palette 0), then height x width pixels in row order,
little-endian. Nothing follows.
"""

from __future__ import annotations

import numpy as np

from codec.depth._images import (
    DEFAULT_MAX_PIXELS,
    Image,
    ImageHeader,
    Payload,
    contiguous_image,
    output_for,
    read_header,
    require_plain,
)
from codec.errors import CodecError


class RawCodec:
    """uint16 and uint8 images without compression."""

    name = "raw"
    id = 0
    lossless = True

    def __init__(self, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
        self._max_pixels = max_pixels

    def encode(self, array: Image) -> bytes:
        image = contiguous_image(array, max_pixels=self._max_pixels)
        header = ImageHeader(0, image.dtype.itemsize, 0, *image.shape)
        little = image.astype(image.dtype.newbyteorder("<"), copy=False)
        return b"".join((header.pack(), little.data))

    def decode(self, data: Payload, out: Image | None = None) -> Image:
        header, body = read_header(data, codec=self.name, max_pixels=self._max_pixels)
        require_plain(header, codec=self.name)
        if len(body) != header.pixels * header.itemsize:
            raise CodecError(
                f"raw payload has {len(body)} bytes of pixels, its header asks for "
                f"{header.pixels * header.itemsize}: damaged"
            )
        _, result = output_for(header, out)
        pixels = np.frombuffer(body, header.dtype.newbyteorder("<")).reshape(header.shape)
        np.copyto(result, pixels)
        return result
