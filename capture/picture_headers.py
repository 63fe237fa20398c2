"""How large a compressed picture says it is: looked at before a decoder believes it and takes the memory.

A few hundred bytes can claim to be gigabytes of pixels. Knows the headers of JPEG and PNG, decodes nothing,
needs no OpenCV.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

PIXELS_MAX = 1 << 24
"""More than any camera here delivers (4096x4096): what claims more is not decoded."""
_JPEG_START_BYTES = 2
# Start-of-frame markers carry the picture's size. C4, C8 and CC lie in their range but are others.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN_OR_END = (0xDA, 0xD9)
_BARE_MARKERS = frozenset((0x01, *range(0xD0, 0xD9)))
"""Those without a length behind them."""
_MARKERS_MAX = 1000
_SEARCH_BYTES = 4096
_JPEG_PIXELS_PER_BYTE_MAX = 1024
"""The least a block of 64 pixels can take is a bit (a progressive picture without any detail): twice that."""
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = struct.Struct(">4sIIBB")
_PNG_HEADER_AT = len(_PNG_START) + 4
_PNG_CHUNK_BYTES = 12  # its length, kind and checksum
_PNG_CHUNKS_MAX = 1 << 16
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEFLATE_RATIO_MAX = 1032
"""No deflate stream is larger than that, unpacked, for each of its bytes."""


@dataclass(frozen=True, slots=True)
class PngHeader:
    """What a PNG says of itself."""

    width: int
    height: int
    bits: int
    channels: int

    @property
    def data_bytes(self) -> int:
        """Its rows as they come out of the deflate stream, each with its filter byte."""
        return self.height * (1 + (self.width * self.channels * self.bits + 7) // 8)


def png_header(data: Bytes) -> PngHeader | None:
    """None where it is no PNG, or an impossible one."""
    head = data[: _PNG_HEADER_AT + _PNG_HEADER.size].tobytes()
    if len(head) < _PNG_HEADER_AT + _PNG_HEADER.size or not head.startswith(_PNG_START):
        return None
    kind, width, height, bits, color = _PNG_HEADER.unpack_from(head, _PNG_HEADER_AT)
    if kind != b"IHDR" or not width or not height or color not in _PNG_CHANNELS:
        return None
    return PngHeader(width, height, bits, _PNG_CHANNELS[color])


def png_trouble(data: Bytes) -> str:
    """Why it should not be decoded: it claims more than it can hold, or more than we take; else ""."""
    header = png_header(data)
    if header is None or not _are_whole_chunks(data):
        return "damaged, it does not decode"
    claim = f"claims {header.width}x{header.height} pixels"
    if header.data_bytes > _DEFLATE_RATIO_MAX * data.size:
        return f"damaged, it {claim}, which its {data.size} bytes cannot hold"
    return _too_large(claim, header.width, header.height)


def _are_whole_chunks(data: Bytes) -> bool:
    """Whether no chunk claims to be longer than the file: its length is memory, too."""
    view, position = data.data, len(_PNG_START)
    for _ in range(_PNG_CHUNKS_MAX):
        if position + _PNG_CHUNK_BYTES > len(view):
            return False
        length, kind = struct.unpack_from(">I4s", view, position)
        position += _PNG_CHUNK_BYTES + int(length)
        if position > len(view):
            return False
        if kind == b"IEND":
            return True
    return False


def jpeg_size(data: Bytes) -> tuple[int, int] | None:
    """(width, height) from the JPEG's header, without decoding; None where there is none.

    Goes from marker to marker as libjpeg does, over whatever lies between them: what is found here is what
    would be decoded.
    """
    view = data.data
    position = _JPEG_START_BYTES
    for _ in range(_MARKERS_MAX):
        position = _next_marker(view, position)
        if position + 9 > len(view):
            return None
        marker = view[position + 1]
        if marker in _START_OF_FRAME:
            # FF marker, length (2), precision (1), height (2), width (2)
            height, width = (view[position + i] << 8 | view[position + i + 1] for i in (5, 7))
            return width, height
        if marker in _START_OF_SCAN_OR_END:
            return None
        bare = marker in _BARE_MARKERS
        position += 2 if bare else 2 + (view[position + 2] << 8 | view[position + 3])
    return None


def _next_marker(view: memoryview, position: int) -> int:
    """Where the next two bytes are 0xFF and neither 0xFF (a fill byte) nor 0x00 (none); the end for none."""
    while position + 1 < len(view):
        if view[position] != 0xFF:
            block = bytes(view[position : position + _SEARCH_BYTES])
            found = block.find(0xFF)
            position += len(block) if found < 0 else found
        elif view[position + 1] in (0x00, 0xFF):
            position += 1
        else:
            return position
    return len(view)


def jpeg_trouble(data: Bytes) -> str:
    """Why it should not be decoded: it claims more than it can hold, or more than we take; else ""."""
    size = jpeg_size(data)
    if size is None:
        return "damaged, its header is broken"
    claim = f"claims {size[0]}x{size[1]} pixels"
    if size[0] * size[1] > _JPEG_PIXELS_PER_BYTE_MAX * data.size:
        return f"damaged, it {claim}, which its {data.size} bytes cannot hold"
    return _too_large(claim, *size)


def _too_large(claim: str, width: int, height: int) -> str:
    if width * height <= PIXELS_MAX:
        return ""
    return f"it {claim}; pictures of up to {PIXELS_MAX >> 20} megapixels are read"
