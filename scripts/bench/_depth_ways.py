"""Every way to compress a depth frame that the depth benchmark compares: ours by the registry, and the peers.

A way is a pair of functions made for one picture size, `encode(frame) -> payload` and
`decode(payload) -> frame`, each frame alone and in one thread, with whatever it keeps between frames ready
beforehand. Peers' libraries are imported only when a way is opened; one that is not installed is in
`missing_peers` and nowhere else. Knows neither times nor data.

    lz4.frame            librealsense issue 8117's way: the bytes as they come, default level
    lz4.block            the same without the frame around it; lz4.hc9 at high compression, level 9
    zstd-1, -3, -9       the bytes as they come
    planes+lz4, +zstd-1  all low bytes, then all high bytes
    png-1, png-3         16-bit PNG of OpenCV, by zlib level
    rvl                  Wilson's run length and variable length code, PyPI `rvl`
    blosc2-FILTER-CODEC  LZ4 at level 5, Zstandard at 1
    jpeg-ls              CharLS, lossless
    jpeg-xl-1, -7        libjxl, lossless, by effort
    ffv1                 FFmpeg, version 3, 16-bit grey, range coder, every frame a key frame
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.depth import CODEC_NAMES, get_codec
from codec.depth._context_model import ContextMap
from codec.depth.lattice_rans import LatticeRansCodec

Depth = npt.NDArray[np.uint16]
Shape = tuple[int, int]
Encode = Callable[[Depth], Any]
Decode = Callable[[Any], Depth]

LZ4_FRAME = "lz4.frame"
JPEG_XL_7 = "jpeg-xl-7"
RANS_UNSEEN = "lattice-rans, unseen"
"""lattice-rans with a context map that was trained without the set it is measured on, and for a simulated set
without the simulator: what it does for a camera that nobody has seen before."""


@dataclass(frozen=True, slots=True)
class Way:
    """One compressor for one picture size; payloads have a length in bytes."""

    name: str
    ours: bool
    lossy: bool
    encode: Encode
    decode: Decode


@dataclass(frozen=True, slots=True)
class _Peer:
    """`module` is what it needs, `package` what to install for it."""

    module: str
    package: str
    make: Callable[[Shape], tuple[Encode, Decode]]


def way_names() -> list[str]:
    """All there are, installed or not: ours, then the peers."""
    return [*CODEC_NAMES, *_PEERS]


def missing_peers(names: Sequence[str]) -> dict[str, str]:
    """Of these names, the peers whose library is not installed, with the package to install."""
    peers = {name: _PEERS[name] for name in names if name in _PEERS}
    return {name: peer.package for name, peer in peers.items() if find_spec(peer.module) is None}


def peer_packages() -> list[str]:
    """The packages that peers come from, once each."""
    return list(dict.fromkeys(peer.package for peer in _PEERS.values()))


def open_way(name: str, shape: Shape) -> Way:
    """A way for pictures of (height, width). Raises ImportError where its library does not load."""
    if name in CODEC_NAMES:
        codec = get_codec(name)
        return Way(name, True, not codec.lossless, codec.encode, codec.decode)
    encode, decode = _PEERS[name].make(shape)
    return Way(name, False, False, encode, decode)


def open_unseen_rans(trial_map: ContextMap) -> Way:
    """RANS_UNSEEN by this map."""
    codec = LatticeRansCodec(trial_map=trial_map)
    return Way(RANS_UNSEEN, True, False, codec.encode, codec.decode)


def _pixels(shape: Shape, raw: bytes | bytearray) -> Depth:
    return np.frombuffer(raw, np.uint16).reshape(shape)


# ---- the peers ---------------------------------------------------------------------------------------------


def _lz4_frame(shape: Shape) -> tuple[Encode, Decode]:
    import lz4.frame

    return lz4.frame.compress, lambda payload: _pixels(shape, lz4.frame.decompress(payload))


def _lz4_block(shape: Shape, **options: Any) -> tuple[Encode, Decode]:
    import lz4.block

    encode = partial(lz4.block.compress, **options)
    return encode, lambda payload: _pixels(shape, lz4.block.decompress(payload))


def _zstd(shape: Shape, *, level: int) -> tuple[Encode, Decode]:
    import zstandard

    compressor, decompressor = zstandard.ZstdCompressor(level=level), zstandard.ZstdDecompressor()
    return compressor.compress, lambda payload: _pixels(shape, decompressor.decompress(payload))


def _planes(shape: Shape, inner: Callable[[Shape], tuple[Encode, Decode]]) -> tuple[Encode, Decode]:
    """Byte planes before another way; the splitting is ours, the same that codec `lz4` has."""
    from codec.depth._planes import Planes

    planes = Planes()
    inner_encode, inner_decode = inner(shape)

    def decode(payload: Any) -> Depth:
        frame = np.empty(shape, np.uint16)
        planes.merge(inner_decode(payload).reshape(-1).view(np.uint8), frame)
        return frame

    return lambda frame: inner_encode(planes.split(frame)), decode


def _png(shape: Shape, *, level: int) -> tuple[Encode, Decode]:
    import cv2

    options = [cv2.IMWRITE_PNG_COMPRESSION, level]

    def encode(frame: Depth) -> Any:
        done, payload = cv2.imencode(".png", frame, options)
        if not done:
            raise RuntimeError("OpenCV has not encoded the PNG")
        return payload

    return encode, lambda payload: cv2.imdecode(payload, cv2.IMREAD_UNCHANGED)


def _rvl(shape: Shape) -> tuple[Encode, Decode]:
    import rvl

    return rvl.compress, lambda payload: _pixels(shape, rvl.decompress(payload))


def _blosc2(shape: Shape, *, bits: bool, codec: str, level: int) -> tuple[Encode, Decode]:
    import blosc2

    encode = partial(
        blosc2.compress2,
        typesize=2,
        nthreads=1,
        clevel=level,
        codec=blosc2.Codec[codec],
        filters=[blosc2.Filter.BITSHUFFLE if bits else blosc2.Filter.SHUFFLE],
        filters_meta=[0],
    )
    return encode, lambda payload: _pixels(shape, blosc2.decompress2(payload, nthreads=1))


def _jpeg_ls(shape: Shape) -> tuple[Encode, Decode]:
    import imagecodecs

    return imagecodecs.jpegls_encode, imagecodecs.jpegls_decode


def _jpeg_xl(shape: Shape, *, effort: int) -> tuple[Encode, Decode]:
    import imagecodecs

    encode = partial(imagecodecs.jpegxl_encode, lossless=True, effort=effort, numthreads=1)
    return encode, partial(imagecodecs.jpegxl_decode, numthreads=1)


def _ffv1(shape: Shape) -> tuple[Encode, Decode]:
    import av

    height, width = shape
    contexts = []
    for mode in "wr":
        context = av.CodecContext.create("ffv1", mode)
        context.width, context.height, context.pix_fmt = width, height, "gray16le"
        context.thread_count = 1
        contexts.append(context)
    encoder, decoder = contexts
    encoder.time_base = Fraction(1, 30)
    encoder.gop_size = 1
    encoder.options = {"level": "3", "coder": "range_tab", "context": "0"}
    encoder.open()
    decoder.extradata = encoder.extradata
    decoder.open()

    def encode(frame: Depth) -> bytes:
        (packet,) = encoder.encode(av.VideoFrame.from_ndarray(frame, format="gray16le"))
        return bytes(packet)

    def decode(payload: bytes) -> Depth:
        (picture,) = decoder.decode(av.Packet(payload))
        return picture.to_ndarray()

    return encode, decode


def _blosc2_peers() -> dict[str, _Peer]:
    return {
        f"blosc2-{'bitshuffle' if bits else 'shuffle'}-{codec.lower()}": _Peer(
            "blosc2", "blosc2", partial(_blosc2, bits=bits, codec=codec, level=level)
        )
        for bits in (False, True)
        for codec, level in (("LZ4", 5), ("ZSTD", 1))
    }


_HC9 = {"mode": "high_compression", "compression": 9}
_PEERS: dict[str, _Peer] = {
    LZ4_FRAME: _Peer("lz4", "lz4", _lz4_frame),
    "lz4.block": _Peer("lz4", "lz4", _lz4_block),
    "lz4.hc9": _Peer("lz4", "lz4", partial(_lz4_block, **_HC9)),
    **{f"zstd-{n}": _Peer("zstandard", "zstandard", partial(_zstd, level=n)) for n in (1, 3, 9)},
    "planes+lz4": _Peer("lz4", "lz4", partial(_planes, inner=_lz4_block)),
    "planes+zstd-1": _Peer("zstandard", "zstandard", partial(_planes, inner=partial(_zstd, level=1))),
    **{f"png-{n}": _Peer("cv2", "opencv-python", partial(_png, level=n)) for n in (1, 3)},
    "rvl": _Peer("rvl", "rvl", _rvl),
    **_blosc2_peers(),
    "jpeg-ls": _Peer("imagecodecs", "imagecodecs", _jpeg_ls),
    "jpeg-xl-1": _Peer("imagecodecs", "imagecodecs", partial(_jpeg_xl, effort=1)),
    JPEG_XL_7: _Peer("imagecodecs", "imagecodecs", partial(_jpeg_xl, effort=7)),
    "ffv1": _Peer("av", "av", _ffv1),
}
