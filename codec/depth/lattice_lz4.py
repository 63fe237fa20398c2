"""`lattice-lz4` (id 2, the default): ranks, plane predictor, two bits a pixel with escapes, LZ4 block.

Lossless for every image. Payload, little-endian on every host: the 12-byte image header of `_images`, namely

    offset  type  meaning
    0       u8    mode: 0 byte planes, 1 plane residuals of the values, 2 plane residuals of ranks
    1       u8    bytes per pixel: 1 or 2; always 2 in modes 1 and 2
    2       u16   n, the number of values in the palette: 1 to 16384 in mode 2, else 0
    4       u32   height h
    8       u32   width w; at most 65536 in modes 1 and 2

Mode 0: the rest is one LZ4 block (the raw block format, no size in front of it) that holds all low bytes in
row order, then (2 bytes per pixel) all high bytes in row order. An image without pixels has no block.

Modes 1 and 2 (images with at least one pixel) go on with

    12      u32   e4: residuals that do not fit 2 bits
    16      u32   e8: of these, those that do not fit 4 bits
    20      u32   e16: of these, those that do not fit 8 bits
    24            one LZ4 block, which holds at most 2*h*w bytes, one after the other:
                  codes    ceil(h*w/4) bytes   2-bit codes, four a byte, the first in the lowest bits
                  nibbles  ceil(e4/2) bytes    4-bit codes, two a byte, the first in the lower half
                  bytes    e8 bytes            8-bit codes
                  low      e16 bytes           low bytes of the 16-bit residuals
                  high     e16 bytes           high bytes of the 16-bit residuals
                  palette  n low bytes, then n high bytes (none in mode 1)

To read them:
1. Residuals, one per pixel in row order. A 2-bit code c stands for the residual c - 1, but 3 means "the next
   4-bit code says"; a 4-bit code stands for c - 7, but 15 means "the next 8-bit code says"; an 8-bit code
   stands for c - 127, but 255 means "the next 16-bit residual says". Codes that fill up a last byte stand
   for 0.
2. Ranks: add the residuals up down each column, then take the running sum over the whole image in row order,
   not starting anew at a row; all modulo 65536. (So a residual is (r - left) - (above - above left), where
   left of a row's first pixel is the last pixel of the row before; whatever lies before the image is 0.)
3. Mode 1: the ranks are the pixels. Mode 2: every rank is below n, and the running sum of the palette's
   16-bit numbers, modulo 65536, gives the values of rank 0, 1, 2, ...

The order of the palette and the choice of mode are the encoder's. This one gives ranks to the values that a
sample of the rows shows in ascending order, and to late ones behind them. Images without a lattice (time of
flight, few pixels) take mode 1; noise, uint8 and images wider than 65536 take mode 0.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import lz4.block
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
)
from codec.depth._lattice import I16, MAX_RANKS, MAX_WIDTH, U8, U16, BlockCoder, TooManyValues
from codec.depth._planes import Planes
from codec.errors import CodecError

MODE_PLANES, MODE_VALUES, MODE_RANKS = 0, 1, 2
_COUNTS = struct.Struct("<III")
_ESCAPE_NIBBLE, _NIBBLE_BIAS = 15, 7
_ESCAPE_BYTE, _BYTE_BIAS = 255, 127


class _Sections(NamedTuple):
    """Where each part of the decompressed block of modes 1 and 2 ends."""

    codes: int
    nibbles: int
    bytes_: int
    low: int
    high: int
    end: int

    @classmethod
    def of(cls, *, pixels: int, e4: int, e8: int, e16: int, palette: int) -> _Sections:
        codes = -(-pixels // 4)
        nibbles = codes + -(-e4 // 2)
        bytes_ = nibbles + e8
        return cls(codes, nibbles, bytes_, bytes_ + e16, bytes_ + 2 * e16, bytes_ + 2 * e16 + 2 * palette)


class LatticeLz4Codec:
    """uint16 depth images at an eighth to a fifth of their size; uint8 and everything else as byte planes."""

    name = "lattice-lz4"
    id = 2
    lossless = True

    def __init__(self, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
        self._max_pixels = max_pixels
        self._planes = Planes()
        self._blocks = BlockCoder()
        self._body: U8 = np.empty(0, np.uint8)

    # ---- encode --------------------------------------------------------------------------------------------

    def encode(self, array: Image) -> bytes:
        image = contiguous_image(array, max_pixels=self._max_pixels)
        payload = None
        if image.dtype.itemsize == 2 and image.size > 0 and image.shape[1] <= MAX_WIDTH:
            payload = self._encode_residuals(image)
        # Noise: where a residual takes more than a byte, byte planes may be shorter. Try both.
        if payload is None or len(payload) > image.size:
            planes = self._encode_planes(image)
            payload = planes if payload is None or len(planes) < len(payload) else payload
        return payload

    def _encode_planes(self, image: Image) -> bytes:
        header = ImageHeader(MODE_PLANES, image.dtype.itemsize, 0, *image.shape).pack()
        if image.size == 0:
            return header
        return header + _compressed(self._planes.split(image))

    def _encode_residuals(self, image: U16) -> bytes | None:
        """Mode 1 or 2; None where the body would be longer than the image."""
        if self._body.size != image.nbytes:
            self._body = np.empty(image.nbytes, np.uint8)
        codes = self._body[: -(-image.size // 4)]
        palette = self._blocks.sample_palette(image)
        try:
            escaped, palette = self._blocks.encode(image, palette, codes)
        except TooManyValues:
            escaped, palette = self._blocks.encode(image, None, codes)
        nibbles, wide = _layer(escaped, escape=_ESCAPE_NIBBLE, bias=_NIBBLE_BIAS)
        bytes_, wider = _layer(wide, escape=_ESCAPE_BYTE, bias=_BYTE_BIAS)
        sections = _Sections.of(
            pixels=image.size, e4=escaped.size, e8=wide.size, e16=wider.size, palette=palette.size
        )
        if sections.end > image.nbytes:
            return None
        steps = np.diff(palette, prepend=np.uint16(0))
        body = self._body[: sections.end]
        body[sections.codes : sections.nibbles] = _pack_nibbles(nibbles)
        body[sections.nibbles : sections.bytes_] = bytes_
        body[sections.bytes_ : sections.high] = _split(wider)
        body[sections.high :] = _split(steps)
        mode = MODE_RANKS if palette.size else MODE_VALUES
        header = ImageHeader(mode, 2, palette.size, *image.shape).pack()
        return header + _COUNTS.pack(escaped.size, wide.size, wider.size) + _compressed(body)

    # ---- decode --------------------------------------------------------------------------------------------

    def decode(self, data: Payload, out: Image | None = None) -> Image:
        header, rest = read_header(data, codec=self.name, max_pixels=self._max_pixels)
        _check_mode(header)
        if header.mode == MODE_PLANES:
            planes = _decompressed(rest, header.pixels * header.itemsize)
            target, result = output_for(header, out)
            self._planes.merge(planes, target)
        else:
            body, escaped, palette = _read_residuals(header, rest)
            target, result = output_for(header, out)
            self._blocks.decode(body, escaped, palette, target)
        if result is not target:
            np.copyto(result, target)
        return result


def _compressed(body: U8) -> bytes:
    block: bytes = lz4.block.compress(body, store_size=False)
    return block


def _decompressed(block: memoryview, size: int) -> U8:
    """Exactly `size` bytes; CodecError where the block holds anything else."""
    if size == 0:
        # LZ4 would take the size from the block itself.
        if len(block):
            raise CodecError(
                f"lattice-lz4 payload of an empty image has {len(block)} bytes too many: damaged"
            )
        return np.empty(0, np.uint8)
    check_expansion(len(block), size, codec=LatticeLz4Codec.name)
    try:
        body = lz4.block.decompress(block, uncompressed_size=size)
    except lz4.block.LZ4BlockError as error:
        raise CodecError(f"lattice-lz4 payload does not decompress ({error}): damaged") from error
    if len(body) != size:
        raise CodecError(f"lattice-lz4 payload holds {len(body)} bytes, its header asks for {size}: damaged")
    return np.frombuffer(body, np.uint8)


def _check_mode(header: ImageHeader) -> None:
    """Refuse a mode this version does not know and sizes that its mode cannot have."""
    if header.mode == MODE_PLANES:
        good = header.palette == 0
    elif header.mode in (MODE_VALUES, MODE_RANKS):
        values = range(1, MAX_RANKS + 1) if header.mode == MODE_RANKS else range(1)
        good = header.itemsize == 2 and header.pixels > 0 and header.width <= MAX_WIDTH
        good = good and header.palette in values
    else:
        good = False
    if not good:
        raise CodecError(f"lattice-lz4 payload has an impossible header {tuple(header)}: damaged or too new")


def _read_residuals(header: ImageHeader, rest: memoryview) -> tuple[U8, I16, U16 | None]:
    """Packed 2-bit codes, escaped residuals and palette (None in mode 1), every count checked first."""
    if len(rest) < _COUNTS.size:
        raise CodecError(f"lattice-lz4 payload ends {len(rest)} bytes behind its image header: cut short")
    e4, e8, e16 = _COUNTS.unpack_from(rest)
    sections = _Sections.of(pixels=header.pixels, e4=e4, e8=e8, e16=e16, palette=header.palette)
    if not e16 <= e8 <= e4 <= header.pixels or sections.end > 2 * header.pixels:
        raise CodecError(f"lattice-lz4 payload claims impossible escapes {e4}, {e8}, {e16}: damaged")
    body = _decompressed(rest[_COUNTS.size :], sections.end)
    nibbles = _unpack_nibbles(body[sections.codes : sections.nibbles], e4)
    wider = _join(body[sections.bytes_ : sections.high]).view(np.int16)
    wide = _unlayer(body[sections.nibbles : sections.bytes_], wider, escape=_ESCAPE_BYTE, bias=_BYTE_BIAS)
    escaped = _unlayer(nibbles, wide, escape=_ESCAPE_NIBBLE, bias=_NIBBLE_BIAS)
    if header.mode == MODE_VALUES:
        return body[: sections.codes], escaped, None
    palette = np.add.accumulate(_join(body[sections.high :]), dtype=np.uint16)
    return body[: sections.codes], escaped, palette


# ---- the layers behind the 2-bit codes: a twentieth of the pixels, so plain NumPy is quick enough ----------


def _layer(residuals: U16, *, escape: int, bias: int) -> tuple[U8, U16]:
    """Codes of one layer, and the residuals that go on to the next."""
    biased = residuals + np.uint16(bias)
    escapes = np.flatnonzero(biased >= escape)
    codes = biased.astype(np.uint8)
    codes[escapes] = escape
    return codes, residuals[escapes]


def _unlayer(codes: U8, wider: I16, *, escape: int, bias: int) -> I16:
    residuals = codes.astype(np.int16)
    residuals -= bias
    escapes = np.flatnonzero(codes == escape)
    if escapes.size != wider.size:
        raise CodecError(
            f"lattice-lz4 payload has {wider.size} escapes where its codes ask for {escapes.size}: damaged"
        )
    residuals[escapes] = wider
    return residuals


def _pack_nibbles(codes: U8) -> U8:
    packed = codes[0::2].copy()
    packed[: codes.size // 2] |= codes[1::2] << 4
    if codes.size % 2:
        packed[-1] |= _NIBBLE_BIAS << 4
    return packed


def _unpack_nibbles(packed: U8, size: int) -> U8:
    codes = np.empty(packed.size * 2, np.uint8)
    np.bitwise_and(packed, 15, out=codes[0::2])
    np.right_shift(packed, 4, out=codes[1::2])
    return codes[:size]


def _split(numbers: U16) -> U8:
    """All low bytes, then all high bytes."""
    return np.concatenate((numbers.astype(np.uint8), (numbers >> 8).astype(np.uint8)))


def _join(planes: U8) -> U16:
    half = planes.size // 2
    numbers = planes[half:].astype(np.uint16)
    np.left_shift(numbers, 8, out=numbers)
    np.bitwise_or(numbers, planes[:half], out=numbers)
    return numbers
