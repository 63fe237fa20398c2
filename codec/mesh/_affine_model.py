"""What a segment of a native mesh file must know beforehand: an order of the points, or a whole affine model.

Owns their layout in a file and every check that makes them safe to use. A model is named by the first eight
bytes of its SHA-256, so that segments find the very one they were written with. Fitting is `_affine_fit`'s.

    u8 kind | u8 intra neighbours | u8 inter neighbours | u8 before[0] | u8 before[1] | u8 0
    u16 levels | u32 vertices | u32 joints                                       16 bytes, little-endian
    an .xz stream of: order, then for an affine model level ends, neighbours, weights, classes, frequencies

Numbers of two bytes lie in it as all low bytes, then all high bytes.
"""

from __future__ import annotations

import hashlib
import lzma
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.errors import FormatError

KIND_ORDER, KIND_AFFINE = 1, 2
INTRA, INTER = 0, 1
WEIGHT_BITS = 12
PROBABILITY_BITS = 15
FOLDS, CLASSES, SYMBOLS = 8, 32, 64
CONTEXTS = CLASSES * FOLDS
MAX_POINTS = 65535
MAX_NEIGHBOURS = 48
_HEADER = struct.Struct("<6BHII")
_MEMORY_LIMIT_BYTES = 128 << 20
_LEAST_WINDOW_BYTES, _MAX_WINDOW_BYTES = 1 << 12, 8 << 20

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
I16 = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class PointOrder:
    """An order in which neighbours stand side by side. order: (points,) place -> point, joints last."""

    vertices: int
    joints: int
    order: U16
    content: bytes = field(repr=False, default=b"")

    @property
    def points(self) -> int:
        return self.vertices + self.joints

    @property
    def name(self) -> int:
        return model_name(self.content)


@dataclass(frozen=True, slots=True, eq=False)
class AffineModel(PointOrder):
    """How points are predicted; arrays by place in the order, coarse points first.

    level_ends: (levels,) where each level ends. neighbours: (points, width) places in earlier levels, nearest
    first. now: how many of them a prediction takes of the same mesh, with none before it and with two.
    before: how many of either mesh before it. weights: two arrays (points, taps) in 1/4096. classes: two
    arrays (points, 2), of the position and the uncertainty. sums: (256, 65) cumulated frequencies.
    """

    level_ends: U32 = field(default_factory=lambda: np.zeros(0, np.uint32))
    neighbours: U16 = field(default_factory=lambda: np.zeros((0, 0), np.uint16))
    now: tuple[int, int] = (0, 0)
    before: tuple[int, int] = (0, 0)
    weights: tuple[I16, I16] = field(default_factory=lambda: (np.zeros((0, 0), np.int16),) * 2)
    classes: tuple[U8, U8] = field(default_factory=lambda: (np.zeros((0, 2), np.uint8),) * 2)
    sums: U16 = field(default_factory=lambda: np.zeros((0, 0), np.uint16))


def model_name(content: bytes) -> int:
    """The number that segments name a model by; never 0, which names none."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little") or 1


def low_bits(classes: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """How many low bits of a residual have no table in a class."""
    wide = classes.astype(np.int64)
    return np.where(wide < 16, 0, (wide - 13) // 3)


def taps(now: tuple[int, int], before: tuple[int, int], kind: int) -> int:
    """How many weights a point has."""
    return now[kind] + (2 + before[0] + before[1] if kind == INTER else 0)


# ---- to bytes ----


def pack_order(order: U16, joints: int) -> PointOrder:
    """An order ready to be written. order: as in PointOrder."""
    head = _HEADER.pack(KIND_ORDER, 0, 0, 0, 0, 0, 0, order.size - joints, joints)
    content = head + _compressed(_planes(order), 6)
    return PointOrder(order.size - joints, joints, order, content)


def pack_model(
    *,
    order: U16,
    joints: int,
    level_ends: U32,
    neighbours: U16,
    now: tuple[int, int],
    before: tuple[int, int],
    weights: tuple[I16, I16],
    classes: tuple[U8, U8],
    frequencies: U16,
    draft: bool = False,
) -> AffineModel:
    """A model ready to be used and written. frequencies: (256, 64), each row with the sum 2**15. draft: it is
    not going to be written, and need not be small."""
    vertices = order.size - joints
    head = _HEADER.pack(KIND_AFFINE, *now, *before, 0, level_ends.size, vertices, joints)
    body = b"".join(
        [
            _planes(order),
            level_ends.astype("<u4").tobytes(),
            # Neighbour by neighbour and weight by weight: alike stands beside alike.
            _planes(neighbours.T),
            *(_planes(each.T) for each in weights),
            *(each.T.tobytes() for each in classes),
            _planes(frequencies),
        ]
    )
    model = read_model(head + _compressed(body, 0 if draft else 6))
    assert isinstance(model, AffineModel)
    return model


def _compressed(body: bytes, preset: int) -> bytes:
    # A window beyond the body's end finds nothing, and costs ten times its size in memory.
    window = 1 << max(len(body) - 1, _LEAST_WINDOW_BYTES - 1).bit_length()
    filters = [{"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": min(window, _MAX_WINDOW_BYTES)}]
    return lzma.compress(body, lzma.FORMAT_XZ, filters=filters)


def _planes(numbers: npt.NDArray[np.integer[Any]]) -> bytes:
    flat = np.ascontiguousarray(numbers).astype(np.uint16).ravel()
    return (flat & 255).astype(np.uint8).tobytes() + (flat >> 8).astype(np.uint8).tobytes()


# ---- from bytes ----


def read_model(content: bytes) -> PointOrder:
    """The PointOrder or AffineModel in a record, safe to use. Raises FormatError."""
    if len(content) < _HEADER.size:
        raise FormatError(f"a mesh model of {len(content)} bytes is cut short")
    kind, intra, inter, before0, before1, zero, levels, vertices, joints = _HEADER.unpack_from(content)
    points = vertices + joints
    is_affine = kind == KIND_AFFINE
    now, before = (intra, inter), (before0, before1)
    width = max(*now, *before)
    if kind not in (KIND_ORDER, KIND_AFFINE) or zero or not 1 <= points <= MAX_POINTS:
        raise FormatError(f"a mesh model of kind {kind} for {points} points is not known here")
    if is_affine and not (1 <= levels <= points and min(now) >= 1 and width <= MAX_NEIGHBOURS):
        raise FormatError(f"a mesh model has {levels} levels and {width} neighbours: damaged")
    shapes: list[tuple[int, ...]] = [(points,)]
    if is_affine:
        shapes += [(width, points), (taps(now, before, INTRA), points), (taps(now, before, INTER), points)]
    sizes = [2 * int(np.prod(shape)) for shape in shapes]
    total = sum(sizes) + (4 * levels + 4 * points + 2 * CONTEXTS * SYMBOLS if is_affine else 0)
    take = _Taker(_decompressed(content[_HEADER.size :], total))
    order = take.u16((points,))
    if not np.array_equal(np.sort(order), np.arange(points)) or (order[vertices:] < vertices).any():
        raise FormatError("a mesh model's order is none: damaged")
    if not is_affine:
        return PointOrder(vertices, joints, order, content)
    level_ends = take.u32(levels)
    neighbours = np.ascontiguousarray(take.u16(shapes[1]).T)
    _check_levels(level_ends, neighbours, points)
    weights = tuple(np.ascontiguousarray(take.u16(shape).view(np.int16).T) for shape in shapes[2:])
    classes = tuple(np.ascontiguousarray(take.u8((2, points)).T) for _ in range(2))
    if max(int(each.max()) for each in classes) >= CLASSES:
        raise FormatError("a mesh model has a class that there is not: damaged")
    return AffineModel(
        vertices,
        joints,
        order,
        content,
        level_ends=level_ends,
        neighbours=neighbours,
        now=now,
        before=before,
        weights=(weights[0], weights[1]),
        classes=(classes[0], classes[1]),
        sums=_sums(take.u16((CONTEXTS, SYMBOLS))),
    )


def _decompressed(packed: bytes, total: int) -> bytes:
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY_LIMIT_BYTES)
    try:
        body = decompressor.decompress(packed, total + 1)
    except lzma.LZMAError as error:
        raise FormatError(f"a mesh model cannot be decompressed ({error})") from error
    if len(body) != total or not decompressor.eof or decompressor.unused_data:
        raise FormatError(f"a mesh model holds {len(body)} bytes, not {total}: damaged")
    return body


class _Taker:
    """One array after the other from a body of the right length."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def u8(self, shape: tuple[int, ...]) -> U8:
        count = int(np.prod(shape))
        array = np.frombuffer(self._body, np.uint8, count, self._at).reshape(shape)
        self._at += count
        return array

    def u16(self, shape: tuple[int, ...]) -> U16:
        low, high = self.u8(shape), self.u8(shape)
        return low.astype(np.uint16) | high.astype(np.uint16) << np.uint16(8)

    def u32(self, count: int) -> U32:
        array = np.frombuffer(self._body, "<u4", count, self._at).astype(np.uint32)
        self._at += 4 * count
        return array


def _check_levels(level_ends: U32, neighbours: U16, points: int) -> None:
    starts = np.concatenate([[0], level_ends[:-1]]).astype(np.int64)
    if level_ends[0] != 1 or level_ends[-1] != points or not (np.diff(level_ends.astype(np.int64)) > 0).all():
        raise FormatError("a mesh model's levels do not follow each other: damaged")
    first_of_level = np.repeat(starts, level_ends.astype(np.int64) - starts)
    if (neighbours[1:] >= first_of_level[1:, None]).any() or neighbours[0].any():
        raise FormatError("a mesh model predicts from points that come later: damaged")


def _sums(frequencies: U16) -> U16:
    sums = np.zeros((CONTEXTS, SYMBOLS + 1), np.int64)
    np.cumsum(frequencies, axis=1, out=sums[:, 1:])
    if not frequencies.all() or (sums[:, -1] != 1 << PROBABILITY_BITS).any():
        raise FormatError("a mesh model's frequencies do not sum up: damaged")
    return sums.astype(np.uint16)
