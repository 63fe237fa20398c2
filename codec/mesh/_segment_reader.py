"""The frames in the payload of a segment, whatever its bytes are: the other side of _segment.

Promises: memory and time stay within what _segment's limits allow, and within what the bytes that are there
could hold; whatever is not as docs/FORMAT.md has it raises FormatError.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from codec.errors import FormatError
from codec.mesh import _fast
from codec.mesh._affine_model import AffineModel, PointOrder
from codec.mesh._affine_twin import Segment
from codec.mesh._grid import COARSEST, FINEST, QUANTISED, from_steps
from codec.mesh._mesh_native import affine
from codec.mesh._segment import (
    HEAD,
    I32,
    MAX_DIMENSIONS,
    MAX_FRAMES,
    MAX_MESHES,
    MAX_NUMBERS,
    NAMES,
    NONE_KNOWN,
    SOME_KNOWN,
    U8,
    WAY_AFFINE,
    WAY_FAST,
    Frame,
    Signature,
    is_too_large,
)
from codec.mesh.msgpack_arrays import MAX_DEPTH, MAX_OBJECT_BYTES, ObjectStream

_INFLATED_FROM_BYTE = 1032
"""The most that deflate makes of a byte."""
_NUMBERS_FROM_BYTE = 2900
"""The most that the affine way makes of a byte: the likeliest of symbols takes 0.0028 bits."""


@dataclass(frozen=True, slots=True)
class SegmentHead:
    """What a payload says of itself. model: the name of the one it needs, 0 for none."""

    way: int
    signature: Signature
    frames: int
    meshes: int
    steps_per_mm: float
    model: int
    parts: tuple[int, ...]

    @property
    def numbers(self) -> int:
        return self.meshes * self.signature.points * self.signature.channels


def read_head(payload: bytes) -> SegmentHead:
    """Raises FormatError."""
    if len(payload) < HEAD.size:
        raise FormatError(f"a mesh segment of {len(payload)} bytes is cut short")
    fields = HEAD.unpack_from(payload)
    way, arrays, zero, frames, meshes, vertices, joints, steps_per_mm, model, *parts = fields
    head = SegmentHead(
        way, Signature(arrays, vertices, joints), frames, meshes, steps_per_mm, model, tuple(parts)
    )
    if way not in (WAY_FAST, WAY_AFFINE) or zero or arrays > 15:
        raise FormatError(f"a mesh segment of the way {way} is not known here: a newer nightrig reads it")
    if not 1 <= frames <= MAX_FRAMES or is_too_large((meshes,), head.signature.points):
        raise FormatError(
            f"a mesh segment claims {frames} frames and {meshes} meshes of {head.signature.points} points"
        )
    if not 0.5 / COARSEST <= steps_per_mm <= 2.0 / FINEST:
        raise FormatError(f"a mesh segment has {steps_per_mm} steps a millimetre: damaged")
    if HEAD.size + sum(parts) != len(payload) or (way == WAY_FAST and parts[2]):
        raise FormatError("a mesh segment's header contradicts itself: damaged")
    # Before any memory is taken.
    from_byte = _INFLATED_FROM_BYTE if way == WAY_FAST else _NUMBERS_FROM_BYTE
    if head.numbers > from_byte * parts[4] or meshes > _INFLATED_FROM_BYTE * parts[1]:
        raise FormatError(f"a mesh segment claims {head.numbers} numbers in {parts[4]} bytes: damaged")
    return head


def read_segment(payload: bytes, model: PointOrder | None) -> SegmentFrames:
    """The frames. `model` is the one that the head names. Raises FormatError."""
    head = read_head(payload)
    signature = head.signature
    if model is not None and (model.vertices, model.joints) != (signature.vertices, signature.joints):
        raise FormatError("a mesh segment names a model of other points: damaged")
    ends = HEAD.size + np.cumsum(head.parts)
    parts = [payload[end - size : end] for end, size in zip(ends.tolist(), head.parts, strict=True)]
    shapes = _read_shapes(parts[0], head)
    counts = [math.prod(shape) if signature.arrays else 0 for shape in shapes]
    states, refs, known = _read_people(parts[1], head, sum(counts))
    if head.way == WAY_AFFINE:
        if not isinstance(model, AffineModel):
            raise FormatError("a mesh segment names no affine model: damaged")
        shifts = np.frombuffer(_fast.inflate(parts[2], 2 * head.meshes), np.int8).reshape(2, -1).T
        segment = Segment(refs, np.ascontiguousarray(shifts), signature.channels)
        placed = affine().decode(model, segment, parts[4])
        points = np.empty_like(placed)
        points[:, model.order] = placed
    else:
        order = None if model is None else model.order
        points = _fast.decode(parts[4], head.meshes, signature.points, refs[:, 0], order, signature.channels)
    entries = _read_entries(parts[3], head.frames)
    firsts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    return SegmentFrames(head, shapes, firsts, states, points.view(np.int32), known, entries)


def _read_shapes(packed: bytes, head: SegmentHead) -> list[tuple[int, ...]]:
    data = _fast.inflate(packed, head.frames * (1 + 4 * MAX_DIMENSIONS), exactly=False)
    shapes, at = [], 0
    for _ in range(head.frames):
        dimensions = data[at] if at < len(data) else MAX_DIMENSIONS + 1
        end = at + 1 + 4 * dimensions
        if dimensions > MAX_DIMENSIONS or end > len(data):
            raise FormatError("a mesh segment's shapes are damaged")
        shape = struct.unpack_from(f"<{dimensions}I", data, at + 1)
        if is_too_large(shape, head.signature.points):
            raise FormatError(f"a mesh segment claims people {shape} of {head.signature.points} points")
        shapes.append(shape)
        at = end
    if at != len(data):
        raise FormatError("a mesh segment's shapes are damaged")
    return shapes


def _read_people(packed: bytes, head: SegmentHead, total: int) -> tuple[U8, I32, U8 | None]:
    """States of all meshes, refs and masks of those that are coded."""
    points, meshes = head.signature.points, head.meshes
    if total > MAX_MESHES or 4 * total * points > MAX_NUMBERS:
        raise FormatError(f"a mesh segment claims {total} meshes of {points} points")
    mask_bytes = (2 * points + 7) // 8
    least = 4 + total + 8 * meshes
    data = _fast.inflate(packed, least + meshes * mask_bytes, exactly=False)
    if len(data) < least or int.from_bytes(data[:4], "little") != total:
        raise FormatError("a mesh segment speaks of other people than it has: damaged")
    states = np.frombuffer(data, np.uint8, total, 4)
    some = np.flatnonzero(states[states != NONE_KNOWN] == SOME_KNOWN)
    if (
        (states > SOME_KNOWN).any()
        or np.count_nonzero(states != NONE_KNOWN) != meshes
        or len(data) != least + some.size * mask_bytes
    ):
        raise FormatError("a mesh segment speaks of other people than it has: damaged")
    before = np.frombuffer(data, "<u4", 2 * meshes, 4 + total).reshape(2, -1).T.astype(np.int64)
    places = np.arange(meshes)[:, None]
    if (before > places).any() or ((before == 0).any(axis=1) != (before == 0).all(axis=1)).any():
        raise FormatError("a mesh segment predicts from meshes that come later: damaged")
    refs = np.ascontiguousarray(np.where(before == 0, -1, places - before).astype(np.int32))
    if not some.size:
        return states, refs, None
    known = np.full((meshes, points), 3, np.uint8)
    masks = np.frombuffer(data, np.uint8, offset=least).reshape(some.size, mask_bytes)
    bits = np.unpackbits(masks, axis=1)[:, : 2 * points].reshape(some.size, 2, points)
    known[some] = bits[:, 0] | bits[:, 1] << 1
    return states, refs, known


def _read_entries(packed: bytes, frames: int) -> list[Frame]:
    data = _fast.inflate(packed, MAX_OBJECT_BYTES, exactly=False)
    values = list(ObjectStream().feed(data))
    # Nothing in them may stand in for an array of the frame.
    if len(values) == 1 and isinstance(values[0], list) and len(values[0]) == frames:
        entries = values[0]
        if all(isinstance(each, dict) and not any(key in NAMES for key in each) for each in entries):
            if _is_deep(entries, MAX_DEPTH):
                raise FormatError(f"the entries of a mesh segment are nested deeper than {MAX_DEPTH}")
            return entries
    raise FormatError("a mesh segment has other entries than frames: damaged")


def _is_deep(value: Any, most: int) -> bool:
    within = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return within is not None and (most == 0 or any(_is_deep(each, most - 1) for each in within))


def _copied(value: Any) -> Any:
    """Like deepcopy, of what msgpack makes."""
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_copied(each) for each in value]
    return value.copy() if isinstance(value, np.ndarray) else value


@dataclass(frozen=True, slots=True)
class SegmentFrames(Sequence[Frame]):
    """The frames of a segment, each made anew whenever it is asked for: the caller may change it.

    firsts: of each frame the first of all meshes; points: (meshes that are coded, points, 4).
    """

    head: SegmentHead
    shapes: list[tuple[int, ...]]
    firsts: npt.NDArray[np.int64]
    states: U8
    points: I32
    known: U8 | None
    entries: list[Frame]

    def __len__(self) -> int:
        return len(self.shapes)

    @overload
    def __getitem__(self, number: int) -> Frame: ...
    @overload
    def __getitem__(self, number: slice) -> list[Frame]: ...
    def __getitem__(self, number: int | slice) -> Frame | list[Frame]:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        number = range(len(self))[number]
        first, last = self.firsts[number : number + 2].tolist()
        is_coded = self.states != NONE_KNOWN
        mesh = int(np.count_nonzero(is_coded[:first]))
        coded = is_coded[first:last]
        frame = {
            name: self._array(name, mesh, coded, self.shapes[number]) for name in self.head.signature.names
        }
        return {**frame, **_copied(self.entries[number])}

    def _array(
        self, name: str, mesh: int, coded: npt.NDArray[np.bool_], shape: tuple[int, ...]
    ) -> npt.NDArray[np.floating]:
        place, numbers = self.head.signature.place(name)
        end = mesh + int(np.count_nonzero(coded))
        own = self.points[mesh:end, place, numbers]
        is_known = None
        if self.known is not None:
            bit = 1 if numbers.start is None else 2
            is_known = np.broadcast_to((self.known[mesh:end, place, None] & bit) != 0, own.shape)
        if not coded.all():
            whole = np.zeros((len(coded), *own.shape[1:]), np.int32)
            whole_known = np.zeros(whole.shape, bool)
            whole[coded] = own
            whole_known[coded] = True if is_known is None else is_known
            own, is_known = whole, whole_known
        elif is_known is not None and is_known.all():
            is_known = None
        values = from_steps(own, self.head.steps_per_mm * QUANTISED[name][1], is_known)
        axes = own.shape[1:] if numbers.start is None else own.shape[1:2]
        return values.reshape(*shape, *axes)
