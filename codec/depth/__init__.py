"""Image codecs by name and by number: `get_codec("lattice-lz4").encode(depth)`.

Owns the registry. A codec turns one 2-D uint16 or uint8 array into a payload that says by itself what shape
and type it has, and back: bit for bit, but for `near`, whose payloads say how far off they may be. A payload
depends on the image (and the version of LZ4), never on what the instance did before.

    id  name          what
    0   raw           as it is
    1   lz4           byte planes in a standard LZ4 frame
    2   lattice-lz4   ranks, plane predictor, two bits a pixel with escapes, LZ4 block: the default
    3   lattice-rans  ranks, contexts, rANS; native with a NumPy twin: the smallest in real time
    4   near          LOSSY, within a stated bound of disparity, then lattice-rans
    5   max           fitted linear prediction, context mixing, arithmetic code: the smallest, and slow
    16  jpeg          reserved: colour images as their camera or encoder made them

An id is one byte in every frame of every recording: it never changes its meaning and is never reused.

An instance keeps buffers for the last image size and belongs to one thread: make one per thread. NumPy and
LZ4 give the interpreter lock away, so threads really run side by side. Whatever a payload claims, `decode`
allocates at most about 20 bytes for each of `max_pixels`.
"""

from __future__ import annotations

import difflib
from typing import Protocol

from codec.depth import _native
from codec.depth._context_model import has_map, learn_map, newest_map
from codec.depth._images import DEFAULT_MAX_PIXELS, Image, Payload, read_header
from codec.depth.lattice_lz4 import LatticeLz4Codec
from codec.depth.lattice_rans import LatticeRansCodec
from codec.depth.lz4_planes import Lz4PlanesCodec
from codec.depth.max_codec import MaxCodec
from codec.depth.near import BELOW_SENSOR_NOISE, NearCodec, NearSettings, StatedLoss, stated_loss
from codec.depth.raw import RawCodec
from codec.errors import CodecError

__all__ = [
    "BELOW_SENSOR_NOISE",
    "CODEC_NAMES",
    "DEFAULT_CODEC",
    "DEFAULT_MAX_PIXELS",
    "DepthCodec",
    "NearSettings",
    "StatedLoss",
    "codec_by_id",
    "codec_name",
    "declared_shape",
    "get_codec",
    "has_kernels",
    "has_map",
    "learn_map",
    "newest_map",
    "stated_loss",
]


class DepthCodec(Protocol):
    """One image in, one payload out, and back. Not to be shared between threads."""

    @property
    def name(self) -> str: ...

    @property
    def id(self) -> int: ...

    @property
    def lossless(self) -> bool: ...

    def encode(self, array: Image) -> bytes:
        """The payload of a 2-D uint16 or uint8 array of any strides; CodecError for anything else."""
        ...

    def decode(self, data: Payload, out: Image | None = None) -> Image:
        """The image of a payload, in `out` where one is given (same shape and dtype, any strides).

        Raises CodecError, and nothing else, for bytes that are no payload of this codec, for more than
        max_pixels and for an `out` that does not fit. After an error the content of `out` means nothing.
        """
        ...


_CODECS = (RawCodec, Lz4PlanesCodec, LatticeLz4Codec, LatticeRansCodec, NearCodec, MaxCodec)
_BY_NAME = {codec.name: codec for codec in _CODECS}
_BY_ID = {codec.id: codec for codec in _CODECS}
_RESERVED = {16: "jpeg"}

CODEC_NAMES: tuple[str, ...] = tuple(_BY_NAME)
DEFAULT_CODEC = LatticeLz4Codec.name


def get_codec(
    name: str, *, max_pixels: int = DEFAULT_MAX_PIXELS, near: NearSettings | None = None
) -> DepthCodec:
    """A codec of the caller's own; CodecError names the nearest one if there is none of that name.

    `near` says how much the codec of that name may lose; it means nothing to the others.
    """
    codec = _BY_NAME.get(name)
    if codec is None:
        similar = difflib.get_close_matches(name, CODEC_NAMES, n=1)
        hint = f"; did you mean {similar[0]!r}?" if similar else ""
        raise CodecError(f"no codec is called {name!r}, there are {', '.join(CODEC_NAMES)}{hint}")
    if codec is NearCodec:
        return NearCodec(max_pixels=max_pixels, settings=near)
    return codec(max_pixels=max_pixels)


def has_kernels() -> bool:
    """Whether lattice-rans is native here: its NumPy twin takes a tenth of a second and more for a frame."""
    return _native.kernels is not None


def codec_by_id(codec_id: int, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> DepthCodec:
    """The codec that wrote a frame, by the number in its record."""
    codec = _BY_ID.get(codec_id)
    if codec is None:
        known = f" ({_RESERVED[codec_id]})" if codec_id in _RESERVED else ""
        raise CodecError(f"this version has no image codec {codec_id}{known}: a newer nightrig reads it")
    return codec(max_pixels=max_pixels)


def codec_name(codec_id: int) -> str:
    """What the codec of a frame is called, also where this version cannot decode it."""
    codec = _BY_ID.get(codec_id)
    return codec.name if codec is not None else _RESERVED.get(codec_id, f"codec {codec_id}")


def declared_shape(data: Payload) -> tuple[int, int]:
    """Height and width of the image that a payload of any of these codecs claims to be. Raises CodecError."""
    return read_header(data, codec="image", max_pixels=2**64)[0].shape
