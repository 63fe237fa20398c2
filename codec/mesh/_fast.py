"""The `fast` way of native mesh files: differences in time, then along an order of the points, then Huffman.

Needs NumPy and zlib alone, and no more of the past than the meshes it names. All sums are modulo 2**32.
Positions and uncertainties are two streams: for each number of (mesh, channel, place) order a byte, 255
saying that the rest of it follows among the escapes, as four planes of bytes.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

from codec.errors import FormatError

U32 = npt.NDArray[np.uint32]

_ESCAPE = 255
_LENGTHS = struct.Struct("<III")  # bytes of the symbols, number of escapes, bytes of the escapes
_CHANNELS = (slice(0, 3), slice(3, 4))
_CHUNK_MESHES = 4
"""Encoded at a time: what fits the cache of a core."""
_NONE = np.zeros(0, np.uint32)


def encode(
    points: U32, refs: npt.NDArray[np.int32], order: npt.NDArray[np.uint16] | None, channels: int
) -> bytes:
    """points: (meshes, points, 4). refs: (meshes,) what each differs from, or -1. order: place -> point."""
    meshes, count = points.shape[:2]
    parts = _CHANNELS[: channels - 2]
    symbols = [np.empty((meshes, part.stop - part.start, count), np.uint8) for part in parts]
    rests: list[list[U32]] = [[] for _ in parts]
    for first in range(0, meshes, _CHUNK_MESHES):
        chunk = slice(first, min(first + _CHUNK_MESHES, meshes))
        codes = _codes(points, chunk, refs[chunk], order, channels)
        for part, own_symbols, own_rests in zip(parts, symbols, rests, strict=True):
            own = codes[:, part]
            own_symbols[chunk] = np.minimum(own, np.uint32(_ESCAPE))
            own_rests.append(own[own_symbols[chunk] == _ESCAPE] - np.uint32(_ESCAPE))
    return b"".join(_pack(s, np.concatenate([_NONE, *r])) for s, r in zip(symbols, rests, strict=True))


def _codes(
    points: U32,
    chunk: slice,
    refs: npt.NDArray[np.int32],
    order: npt.NDArray[np.uint16] | None,
    channels: int,
) -> U32:
    """(meshes, channels, points) of some meshes: small where a mesh moves like its neighbours."""
    own = points[chunk]
    moved = own - points[np.maximum(refs, 0)]
    moved[refs < 0] = own[refs < 0]
    placed = moved if order is None else np.take(moved, order, axis=1)
    rows = np.ascontiguousarray(placed[..., :channels].transpose(0, 2, 1))
    steps = rows.copy()
    steps[..., 1:] -= rows[..., :-1]
    np.left_shift(steps, np.uint32(1), out=rows)
    steps >>= np.uint32(31)
    np.negative(steps, out=steps)
    rows ^= steps
    return rows


def decode(
    data: bytes,
    meshes: int,
    count: int,
    refs: npt.NDArray[np.int32],
    order: npt.NDArray[np.uint16] | None,
    channels: int,
) -> U32:
    """(meshes, count, 4). Raises FormatError."""
    rows = np.zeros((meshes, 4, count), np.uint32)
    at = 0
    for part in _CHANNELS[: channels - 2]:
        width = part.stop - part.start
        codes, at = _unpack(data, at, meshes * width * count)
        signs = 0 - (codes & np.uint32(1))
        codes >>= np.uint32(1)
        codes ^= signs
        np.cumsum(codes.reshape(meshes, width, count), axis=2, dtype=np.uint32, out=rows[:, part])
    if at != len(data):
        raise FormatError("a mesh segment has something behind its end: damaged")
    for mesh, ref in enumerate(refs.tolist()):
        if ref >= 0:
            rows[mesh] += rows[ref]
    points = np.empty((meshes, count, 4), np.uint32)
    points[:, slice(None) if order is None else order] = rows.transpose(0, 2, 1)
    return points


def _pack(symbols: npt.NDArray[np.uint8], rests: U32) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
    packed = compressor.compress(symbols.data) + compressor.flush()
    planes = rests.astype("<u4").view(np.uint8).reshape(-1, 4).T
    escapes = zlib.compress(planes.tobytes(), 1)
    return _LENGTHS.pack(len(packed), rests.size, len(escapes)) + packed + escapes


def _unpack(data: bytes, at: int, count: int) -> tuple[U32, int]:
    if len(data) - at < _LENGTHS.size:
        raise FormatError("a mesh segment ends in the middle: damaged")
    symbol_bytes, escapes, escape_bytes = _LENGTHS.unpack_from(data, at)
    at += _LENGTHS.size
    end = at + symbol_bytes + escape_bytes
    if end > len(data) or escapes > count:
        raise FormatError("a mesh segment ends in the middle: damaged")
    symbols = np.frombuffer(inflate(data[at : at + symbol_bytes], count, raw=True), np.uint8)
    planes = np.frombuffer(inflate(data[at + symbol_bytes : end], 4 * escapes), np.uint8)
    codes = symbols.astype(np.uint32)
    is_large = symbols == _ESCAPE
    if np.count_nonzero(is_large) != escapes:
        raise FormatError("a mesh segment has another number of large values: damaged")
    rests = np.ascontiguousarray(planes.reshape(4, escapes).T).view("<u4").ravel()
    codes[is_large] += rests.astype(np.uint32)
    return codes, end


def inflate(packed: bytes, size: int, *, raw: bool = False, exactly: bool = True) -> bytes:
    """`size` bytes (not `exactly`: at most so many) out of a zlib stream (raw: without its header), with
    nothing behind it. Raises FormatError."""
    inflater = zlib.decompressobj(-15 if raw else 15)
    try:
        data = inflater.decompress(packed, size + 1)
    except zlib.error as error:
        raise FormatError(f"a mesh segment does not inflate: {error}") from error
    if len(data) > size or (exactly and len(data) != size) or not inflater.eof or inflater.unused_data:
        raise FormatError(f"a mesh segment inflates to {len(data)} bytes, not {size}: damaged")
    return data


def walk_order(mesh: npt.NDArray[np.integer], joints: int) -> npt.NDArray[np.uint16]:
    """Places to points such that neighbours stand side by side: from each point to the nearest one left.

    mesh: (points, 3), vertices then joints, which stay behind.
    """
    vertices = (mesh[: len(mesh) - joints] - mesh[:1]).astype(np.float32)
    squares = (vertices**2).sum(axis=1)
    taken = np.zeros(len(vertices), np.float32)
    order, point = [], 0
    for _ in range(len(vertices)):
        order.append(point)
        taken[point] = np.inf
        point = int((squares - 2 * np.einsum("ij,j->i", vertices, vertices[point]) + taken).argmin())
    return np.array([*order, *range(len(vertices), len(mesh))], np.uint16)
