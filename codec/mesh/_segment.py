"""A few seconds of frames as one payload: what stands between people's arrays and the point codecs.

Owns the layout of a segment (docs/FORMAT.md has it for strangers): which arrays each frame has, whose mesh is
whose, which points are not known, and all other entries of the frames; and its limits, which _segment_reader
holds every file to. Knows no files.

    u8 way | u8 arrays | u16 0 | u32 frames | u32 meshes | u32 vertices | u32 joints | f64 steps per mm
    u64 name of the model, 0 for none | five times u32: lengths of what follows       56 bytes, little-endian
    shapes, people, shifts, entries: zlib; points: as the way has them
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from codec.errors import CodecError
from codec.mesh import _fast
from codec.mesh._affine_model import AffineModel, PointOrder
from codec.mesh._affine_tables import costs_of
from codec.mesh._affine_twin import Segment
from codec.mesh._grid import QUANTISED, checked, to_steps
from codec.mesh._mesh_native import affine, aligned_points
from codec.mesh._tracks import Tracks
from codec.mesh.frame_cursor import time_ns
from codec.mesh.msgpack_arrays import MAX_OBJECT_BYTES, pack_counted

Frame = dict[str, Any]
U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I32 = npt.NDArray[np.int32]

WAY_FAST, WAY_AFFINE = 1, 2
MAX_FRAMES = 4096
MAX_NUMBERS = 1 << 25
"""Of one segment, known or not, four a point: 1,200 people of 6890 points, 128 MB."""
MAX_MESHES = 1 << 16
"""Of one segment."""
MAX_DIMENSIONS = 8
HEAD = struct.Struct("<BBHIIIIdQ5I")
NAMES = ("vertices", "joints", "vertex_uncertainties", "joint_uncertainties")
ALL_KNOWN, NONE_KNOWN, SOME_KNOWN = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Signature:
    """What the meshes of a segment have in common. arrays: which of the four there are, one bit each."""

    arrays: int
    vertices: int
    joints: int

    @property
    def points(self) -> int:
        return self.vertices + self.joints

    @property
    def channels(self) -> int:
        """Numbers of a point: three, or four with uncertainties."""
        return 4 if self.arrays & 0b1100 else 3

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for bit, name in enumerate(NAMES) if self.arrays >> bit & 1)

    def place(self, name: str) -> tuple[slice, slice]:
        """Which points and which of their numbers an array is."""
        points = slice(self.vertices) if name.startswith("vert") else slice(self.vertices, self.points)
        return points, slice(3, 4) if name.endswith("uncertainties") else slice(3)


def is_too_large(leading: tuple[int, ...], points: int) -> bool:
    """Whether a frame of that shape is above the limits. Axes of length 0 count as 1."""
    meshes = math.prod(max(1, length) for length in leading)
    return len(leading) > MAX_DIMENSIONS or meshes > MAX_MESHES or 4 * meshes * max(1, points) > MAX_NUMBERS


@dataclass(slots=True)
class GridFrame:
    """A frame on the grid. leading: the axes before the points. steps: (meshes, points, 4). known: (meshes,
    points, 2) for position and uncertainty, or None where everything is. entries: the rest, as msgpack bytes,
    and how many list and map entries that is; time_ns: when it was, where it says so."""

    signature: Signature
    leading: tuple[int, ...]
    steps: I32
    known: npt.NDArray[np.bool_] | None
    entries: bytes
    entry_count: int
    time_ns: int | None

    @property
    def nbytes(self) -> int:
        return self.steps.nbytes + len(self.entries)


def to_grid(frame: Mapping[str, object], steps_per_mm: float) -> GridFrame:
    """Round a frame to the grid. Raises CodecError for one that is wrong as a whole."""
    for key in frame:
        if not isinstance(key, str) or key.startswith("qd_"):
            raise CodecError(f"a frame cannot have the key {key!r}: it must be text and not begin with qd_")
    arrays = {name: checked(name, frame[name]) for name in NAMES if frame.get(name) is not None}
    rest = _packed_entries({key: value for key, value in frame.items() if key not in NAMES})
    if not arrays:
        return GridFrame(Signature(0, 0, 0), (), np.zeros((0, 0, 4), np.int32), None, *rest)
    leading = {name: array.shape[: array.ndim + QUANTISED[name][0]] for name, array in arrays.items()}
    counts = {name: array.shape[QUANTISED[name][0]] for name, array in arrays.items()}
    if len(set(leading.values())) > 1:
        raise CodecError(f"the arrays of a frame are not of the same people: {leading}")
    vertices = _agreed(counts, "vertices", "vertex_uncertainties")
    joints = _agreed(counts, "joints", "joint_uncertainties")
    signature = Signature(sum(1 << NAMES.index(name) for name in arrays), vertices, joints)
    shape = next(iter(leading.values()))
    if is_too_large(shape, signature.points):
        raise CodecError(
            f"people {shape} of {signature.points} points are too many: at most {MAX_NUMBERS // 4} points "
            f"of {MAX_MESHES} people, on {MAX_DIMENSIONS} axes"
        )
    meshes = int(np.prod(shape, dtype=np.int64))
    steps = np.zeros((meshes, signature.points, 4), np.int32)
    known: npt.NDArray[np.bool_] | None = None
    for name, array in arrays.items():
        own, own_known = to_steps(array, steps_per_mm * QUANTISED[name][1])
        points, numbers = signature.place(name)
        width = numbers.stop - (numbers.start or 0)
        steps[:, points, numbers] = own.reshape(meshes, counts[name], width)
        if own_known is not None:
            if known is None:
                known = np.ones((meshes, signature.points, 2), np.bool_)
            known[:, points, int(width == 1)] = own_known.reshape(meshes, counts[name], width).all(axis=2)
    return GridFrame(signature, shape, steps, known, *rest)


def _packed_entries(entries: Frame) -> tuple[bytes, int, int | None]:
    """Packed at once, so that the caller may change them; in a list, as the file has them, and out of it."""
    packed, count = pack_counted([entries], what="the frame")
    if len(packed) > MAX_OBJECT_BYTES - 4:  # the list of a whole segment begins with more than one byte
        raise CodecError(
            f"the frame takes {len(packed)} bytes beside its points, the most is {MAX_OBJECT_BYTES - 4}"
        )
    return packed[1:], count, time_ns(entries)


def _agreed(counts: Mapping[str, int], *names: str) -> int:
    found = {counts[name] for name in names if name in counts}
    if len(found) > 1:
        raise CodecError(f"{names[0]} and {names[1]} are not of the same points: {sorted(found)}")
    return found.pop() if found else 0


# ---- to bytes ----


@dataclass(slots=True)
class Batch:
    """The meshes of a segment that are to be coded, in one piece. refs: (meshes, 2); frames: of each mesh."""

    signature: Signature
    points: U32
    refs: I32
    known: U8 | None
    states: U8 = field(default_factory=lambda: np.zeros(0, np.uint8))


def make_batch(frames: Sequence[GridFrame], steps_per_mm: float, *, use_up: bool = False) -> Batch:
    """Frames of one signature as meshes that know who came before them. use_up: lets go of each frame's steps
    as soon as they are copied."""
    signature = frames[0].signature
    states = [_states(frame) for frame in frames]
    coded = [state != NONE_KNOWN for state in states]
    count = int(sum(map(np.count_nonzero, coded)))
    points = aligned_points(count, signature.points)
    known = np.full((count, signature.points), 3, np.uint8)
    is_all_known = True
    refs = np.full((count, 2), -1, np.int32)
    tracks, first = Tracks(steps_per_mm), 0
    for frame, own in zip(frames, coded, strict=True):
        end = first + int(np.count_nonzero(own))
        points[first:end] = frame.steps[own].view(np.uint32)
        if frame.known is not None and end > first:
            known[first:end] = frame.known[own] @ np.array([1, 2], np.uint8)
            is_all_known = False
        refs[first:end] = tracks.take(first, _centres(frame.steps[own]))
        if use_up:
            frame.steps = np.zeros((0, 0, 4), np.int32)
        first = end
    return Batch(signature, points, refs, None if is_all_known else known, np.concatenate(states))


def _states(frame: GridFrame) -> U8:
    states = np.zeros(len(frame.steps), np.uint8)
    if frame.known is not None:
        used = frame.known[..., : frame.signature.channels - 2].reshape(len(states), -1)
        states[~used.all(axis=1)] = SOME_KNOWN
        states[~used.any(axis=1)] = NONE_KNOWN
    return states


def _centres(steps: I32) -> npt.NDArray[np.float64]:
    every = max(1, steps.shape[1] // 256)
    return (
        steps[:, ::every, :3].mean(axis=1, dtype=np.float64) if steps.shape[1] else np.zeros((len(steps), 3))
    )


def pack_segment(
    frames: Sequence[GridFrame],
    batch: Batch,
    model: PointOrder | None,
    *,
    steps_per_mm: float,
    use_up: bool = False,
) -> bytes:
    """The payload of frames of one signature. With an AffineModel the affine way is taken.

    use_up: the points of the batch are not needed any more; a copy of them is a fifth of what a writer holds.
    """
    signature = batch.signature
    shifts = b""
    name = 0 if model is None else model.name
    if isinstance(model, AffineModel):
        points, chosen = _encode_affine(batch, model, use_up)
        way, shifts = WAY_AFFINE, zlib.compress(chosen.T.tobytes())
    else:
        filled = _filled(batch)
        order = None if model is None else model.order
        way, points = WAY_FAST, _fast.encode(filled, batch.refs[:, 0], order, signature.channels)
    shapes = zlib.compress(
        b"".join(struct.pack(f"<B{len(f.leading)}I", len(f.leading), *f.leading) for f in frames)
    )
    parts = [
        shapes,
        zlib.compress(_people(batch)),
        shifts,
        zlib.compress(msgpack.Packer().pack_array_header(len(frames)) + b"".join(f.entries for f in frames)),
        points,
    ]
    head = HEAD.pack(
        way,
        signature.arrays,
        0,
        len(frames),
        len(batch.refs),
        signature.vertices,
        signature.joints,
        steps_per_mm,
        name,
        *map(len, parts),
    )
    return head + b"".join(parts)


def _encode_affine(batch: Batch, model: AffineModel, use_up: bool) -> tuple[bytes, npt.NDArray[np.int8]]:
    codec, count = affine(), len(batch.refs)
    # Uncertainties that there are none of are as good as any: the predicted ones cost least.
    known = np.full(batch.points.shape[:2], 3, np.uint8) if batch.known is None else batch.known.copy()
    known &= _possible(batch.signature)
    points = batch.points if use_up else aligned_points(*batch.points.shape[:2])
    for mesh, placed in zip(batch.points, points, strict=True):
        placed[:] = mesh[model.order]
    segment = Segment(batch.refs, np.zeros((count, 2), np.int8), batch.signature.channels)
    coded = codec.predict(model, segment, points, np.ascontiguousarray(known[:, model.order]))
    shifts = codec.choose_shifts(model, segment.channels, coded, costs_of(model.sums))
    return codec.encode(model, Segment(batch.refs, shifts, segment.channels), coded), shifts


def _possible(signature: Signature) -> U8:
    """For each point which of position and uncertainty there can be."""
    bits = np.zeros(signature.points, np.uint8)
    for name in signature.names:
        points, numbers = signature.place(name)
        bits[points] |= 1 if numbers.start is None else 2
    return bits


def _filled(batch: Batch) -> U32:
    """Points with something cheap where nothing is known: what the mesh before has there."""
    if batch.known is None:
        return batch.points
    points = batch.points.copy()
    for mesh, (ref, known) in enumerate(zip(batch.refs[:, 0].tolist(), batch.known, strict=True)):
        for bit, numbers in ((1, slice(0, 3)), (2, slice(3, 4))):
            lacking = (known & bit) == 0
            points[mesh, lacking, numbers] = points[ref, lacking, numbers] if ref >= 0 else 0
    return points


def _people(batch: Batch) -> bytes:
    """Whose mesh each is, how much of it is known, and the masks of those known in part."""
    before = np.arange(len(batch.refs))[:, None] - batch.refs
    before[batch.refs < 0] = 0
    masks = b""
    if batch.known is not None:
        coded = batch.states[batch.states != NONE_KNOWN]
        bits = np.unpackbits(batch.known[coded == SOME_KNOWN, :, None], axis=2, bitorder="little")[..., :2]
        rows = bits.transpose(0, 2, 1).reshape(len(bits), 2 * batch.signature.points)  # of nobody, too
        masks = np.packbits(rows, axis=1).tobytes()
    return (
        struct.pack("<I", batch.states.size)
        + batch.states.tobytes()
        + before.T.astype("<u4").tobytes()
        + masks
    )
