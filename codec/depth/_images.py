"""What every payload shares: the 12-byte image header and the checks around it.

    offset  type  meaning (little-endian on every host)
    0       u8    mode: how the body is to be read; its meaning belongs to the codec, 0 where it has only one
    1       u8    bytes per pixel: 1 for uint8, 2 for uint16
    2       u16   palette: belongs to the codec, 0 where it has no use for it
    4       u32   height in pixels
    8       u32   width in pixels

Owns the header, the bound on the number of pixels, and the rules for `out=`. Knows nothing of compression
but how far LZ4 can expand: a header that promises more than that is refused before anything is allocated.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from codec.errors import CodecError

Image: TypeAlias = npt.NDArray[Any]
Payload: TypeAlias = bytes | bytearray | memoryview

DEFAULT_MAX_PIXELS = 64 * 2**20
_HEADER = struct.Struct("<BBHII")
HEADER_BYTES = _HEADER.size
_DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype(np.uint8), 2: np.dtype(np.uint16)}
_SIDE_LIMIT = 2**32
_LZ4_EXPANSION_LIMIT = 255
"""One byte of an LZ4 match length stands for at most 255 bytes."""


class ImageHeader(NamedTuple):
    """The first 12 bytes of every payload."""

    mode: int
    itemsize: int
    palette: int
    height: int
    width: int

    def pack(self) -> bytes:
        return _HEADER.pack(*self)

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def dtype(self) -> np.dtype[Any]:
        return _DTYPES[self.itemsize]


def contiguous_image(image: Image, *, max_pixels: int) -> Image:
    """The image in C order, native bytes and aligned, as kernels want it, copied only where it is not.

    Raises CodecError if it is no image.
    """
    if not isinstance(image, np.ndarray) or image.ndim != 2:
        shape = getattr(image, "shape", type(image).__name__)
        raise CodecError(f"an image to encode must be a two-dimensional array, this is {shape}")
    if image.dtype.kind != "u" or image.dtype.itemsize not in _DTYPES:
        raise CodecError(
            f"an image to encode must be uint16 or uint8, this is {image.dtype}: convert it first"
        )
    if image.size > max_pixels or max(image.shape) >= _SIDE_LIMIT:
        raise CodecError(f"the image has {_described(image.shape)}, the limit is {max_pixels} (max_pixels=)")
    ours: Image = np.require(np.asarray(image), _DTYPES[image.dtype.itemsize], ("C", "A"))
    return ours


def read_header(data: Payload, *, codec: str, max_pixels: int) -> tuple[ImageHeader, memoryview]:
    """The header and the bytes behind it; CodecError where they cannot be a payload."""
    view = memoryview(data).cast("B")
    if len(view) < HEADER_BYTES:
        raise CodecError(
            f"{codec} payload has {len(view)} bytes, its header alone has {HEADER_BYTES}: cut short"
        )
    header = ImageHeader(*_HEADER.unpack_from(view))
    if header.itemsize not in _DTYPES:
        raise CodecError(f"{codec} payload claims {header.itemsize} bytes per pixel, must be 1 or 2")
    if header.pixels > max_pixels:
        raise CodecError(
            f"{codec} payload claims {_described(header.shape)}, the limit is {max_pixels} (max_pixels=)"
        )
    return header, view[HEADER_BYTES:]


def require_plain(header: ImageHeader, *, codec: str) -> None:
    """Refuse a mode or a palette where the codec has neither."""
    if header.mode or header.palette:
        raise CodecError(f"{codec} payload has mode {header.mode}, palette {header.palette}: both must be 0")


def check_expansion(compressed_bytes: int, expanded_bytes: int, *, codec: str) -> None:
    """Refuse sizes that no LZ4 data can have, before the memory for them is allocated."""
    if expanded_bytes > compressed_bytes * _LZ4_EXPANSION_LIMIT:
        raise CodecError(f"{codec} payload claims {expanded_bytes} bytes from {compressed_bytes}: damaged")


def output_for(header: ImageHeader, out: Image | None) -> tuple[Image, Image]:
    """Where to decode to (C order, aligned) and what to return; they differ where `out` is not so."""
    if out is None:
        fresh: Image = np.empty(header.shape, header.dtype)
        return fresh, fresh
    if out.shape != header.shape or out.dtype != header.dtype or not out.flags.writeable:
        raise CodecError(
            f"out= must be a writeable {header.dtype} array of shape {header.shape}, "
            f"this is {out.dtype} of shape {out.shape}"
        )
    return (out if out.flags.carray else np.empty(header.shape, header.dtype)), out


def _described(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]} pixels"
