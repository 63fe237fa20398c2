"""Mode 0 of lattice-rans and max: behind the image header a whole payload of lattice-lz4."""

from __future__ import annotations

from codec.depth._images import Image, ImageHeader, read_header
from codec.depth.lattice_lz4 import LatticeLz4Codec
from codec.errors import CodecError

MODE_PLAIN = 0


class PlainMode:
    """What a codec falls back on for images that its own mode cannot hold, or holds no smaller."""

    def __init__(self, codec_name: str, *, max_pixels: int) -> None:
        self._codec_name = codec_name
        self._max_pixels = max_pixels
        self._plain = LatticeLz4Codec(max_pixels=max_pixels)

    def unless_smaller(self, payload: bytes | None, image: Image) -> bytes:
        """The payload of the codec's own mode, or this one's where there is none or it is no smaller."""
        # Noise, or so small that what must be told first is most of it: try both.
        if payload is not None and len(payload) <= image.size // 2:
            return payload
        plain = ImageHeader(MODE_PLAIN, image.dtype.itemsize, 0, *image.shape).pack()
        plain += self._plain.encode(image)
        return plain if payload is None or len(plain) < len(payload) else payload

    def decode(self, header: ImageHeader, body: memoryview, out: Image | None) -> Image:
        """The image of a payload of this mode. Raises CodecError."""
        inner, _ = read_header(body, codec=self._codec_name, max_pixels=self._max_pixels)
        if header.palette or (inner.itemsize, inner.shape) != (header.itemsize, header.shape):
            raise CodecError(
                f"{self._codec_name} payload contradicts itself: {tuple(header)}, {tuple(inner)}: damaged"
            )
        return self._plain.decode(body, out)
