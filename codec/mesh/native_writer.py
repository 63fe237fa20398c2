"""Writes native mesh files (.nrm): a third of bodycompress' bytes for a hundredth of its work.

A record file (codec.records) whose records are segments of two seconds and, from time to time, the model they
were predicted with. Promises: a segment is written in one piece and synced, so that a killed process loses
the open one and what its thread had in hand; what cannot be written is told by the next call; an existing
file is never touched. It begins in the `fast` way; as soon as enough meshes were seen it fits a model beside
the writing, and goes on in the `affine` way once the model is a small part of the file. Each model stands in
the file twice (see model_copies) and is written again every half an hour; the head is written again at the
end. So one bad record costs its own segment and nothing else.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from codec.errors import CodecError, NightrigError, StorageError
from codec.mesh import _mesh_native
from codec.mesh._affine_model import MAX_POINTS, AffineModel, PointOrder, pack_order
from codec.mesh._fast import walk_order
from codec.mesh._grid import COARSEST, FINEST
from codec.mesh._segment import (
    MAX_FRAMES,
    MAX_MESHES,
    Batch,
    GridFrame,
    Signature,
    make_batch,
    pack_segment,
    to_grid,
)
from codec.mesh._training import Training
from codec.mesh.model_copies import ModelCopies
from codec.mesh.msgpack_arrays import MAX_ENTRIES, MAX_OBJECT_BYTES, pack
from codec.mesh.segment_pool import Segment, SegmentPool
from codec.mesh.segment_writer import SegmentWriter
from codec.records.layout import MESH_HEAD, MESHES, pack_record
from codec.records.writer import RecordWriter

Way = Literal["auto", "fast", "affine"]

_SEGMENT_BYTES = 48 << 20  # of steps and entries: bounds memory where frames come faster than real time
assert _SEGMENT_BYTES <= MAX_OBJECT_BYTES - 4
_MODEL_EVERY_S = 1800.0
_MODEL_EVERY_SEGMENTS = 900  # as many as that takes, where frames come faster than they were seen
_REFIT_AFTER_S = (60.0, 300.0, 1800.0)
"""After so long since the first model another one is fitted, to more of what there is to be seen."""
_MODEL_PAYS_FROM = 6
"""The first model is written when it takes, with its copy, a third of what its meshes took until then: after
seventeen seconds of one person, four of four. A recording that ends just then is larger by that third at
most."""
_REFIT_PAYS_FROM = 40
"""Another one is fitted when it would take, with its copy, a twentieth of what its meshes took since the
last: it brings little unless people change."""
_HELD_KINDS = 4
"""Signatures whose models and training are kept: where uncertainties come and go, frames have two in turn.
Each takes 20 MB once it has seen enough, which takes a dozen such frames on end."""


class NativeMeshWriter(SegmentWriter):
    """One native mesh file being written.

    `quantization_mm`: coordinates come back within half of it, on the grid that bodycompress files have,
    too. `fps`: stands in the file, for readers that ask for a frame by time where frames have no
    `monotonic_ns`. `way`: "auto" goes from fast to affine where the kernels were built, and stays fast
    where not; "affine" does so in any case, and waits for the model, for what is not recorded just now.
    `segment_s`: the most that a crash may cost, by the clock; `by_frame_time`: by the frames' `monotonic_ns`
    as well. `models` brings models that were fitted beforehand (see
    codec.mesh.native_repack), `segment_frames` what a segment holds whatever the time, and `head` says more
    of the file in its own head.

    A point with a coordinate that is not finite, or too far away for the grid, comes back as NaN;
    `unknown_points` counts them. Appended by one thread. A frame counts as written once it is synced.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        metadata: object = None,
        quantization_mm: float = 0.5,
        fps: float | None = None,
        segment_s: float = 2.0,
        by_frame_time: bool = False,
        way: Way = "auto",
        models: Callable[[ModelCopies], Models] | None = None,
        segment_frames: int | None = None,
        head: dict[str, str] | None = None,
    ) -> None:
        """Create the file. Raises StorageError where it exists, CodecError for metadata or settings."""
        if not FINEST <= quantization_mm <= COARSEST:
            raise CodecError(f"quantization_mm must be from {FINEST} to {COARSEST}, got {quantization_mm}")
        if not 0.0 < segment_s < math.inf:
            raise CodecError(f"segment_s must be a positive number, got {segment_s}")
        if way not in ("auto", "fast", "affine"):
            raise CodecError(f"way must be auto, fast or affine, got {way!r}")
        if fps is not None and not 0.0 < fps < math.inf:
            raise CodecError(f"fps must be a positive number, got {fps}")
        said = {"metadata": metadata, "quantization_mm": float(quantization_mm), "fps": fps, **(head or {})}
        self._head = zlib.compress(pack(said, what="the head"))
        super().__init__(Path(path), segment_s=segment_s, by_frame_time=by_frame_time)
        self.unknown_points = 0
        self._steps_per_mm = 1.0 / quantization_mm
        self._segment_frames = segment_frames or _frames_of(segment_s, fps)
        self._fits = way == "affine" or (way == "auto" and _mesh_native.kernels is not None)
        self._writer = RecordWriter(path, info={"content": "meshes"})
        try:
            self._write_head()
            self._writer.file.sync()
        except BaseException:
            self._writer.file.discard()
            raise
        self._copies = ModelCopies(self._writer)
        self._models: Models = (
            _LiveModels(self._copies, self._fits, waits=way == "affine")
            if models is None
            else models(self._copies)
        )
        self._open_meshes = self._open_entries = 0
        self._synced_s = -math.inf
        self._pool = SegmentPool(
            threads=1,  # a model is written before the segments that name it
            name=f"mesh {self.path.name}",
            compress=self._compress,
            write=self._write,
            due_s=self._due_in_s,
            tick=self._seal,
        )

    @property
    def size_bytes(self) -> int:
        """The size of the file so far."""
        return self._writer.size

    @property
    def way(self) -> str:
        """How the next segment is going to be written: "fast" or "affine"."""
        return "affine" if self._models.has_model else "fast"

    def append(
        self,
        vertices: npt.NDArray[np.number] | None = None,
        joints: npt.NDArray[np.number] | None = None,
        **entries: object,
    ) -> None:
        """Add one frame: vertices (people, points, 3) and joints (people, joints, 3) in millimetres.

        Any other leading axes will do, as long as all arrays have the same. `vertex_uncertainties` and
        `joint_uncertainties` (people, points), in metres, are quantised; other `entries` are stored as they
        are: numbers, text, arrays, and lists and dicts of them. The arrays are free again when this returns.
        Raises CodecError for a frame that cannot be stored (the file stays good), and what the disk refused
        since the last call.
        """
        try:
            frame = to_grid({"vertices": vertices, "joints": joints, **entries}, self._steps_per_mm)
        except CodecError as error:
            raise CodecError(f"{self.path}: frame {self.frames_total}: {error}") from error
        with self._pool.changed:
            self._refuse_if_ended()
            if self._is_full(frame):
                self._make_room()
            if not self._open.frames:
                self._open.opened_s = time.monotonic()
                self._open.time_ns = frame.time_ns or 0
            self._open.frames.append(frame)
            self._open.count += 1
            self._open.size += frame.nbytes
            self._open_meshes += len(frame.steps)
            self._open_entries += frame.entry_count
            self.frames_total += 1
            if frame.known is not None:
                self.unknown_points += int(np.count_nonzero(~frame.known.all(axis=2)))
            # Wakes the thread, which closes the segment when its time has come and no frame follows.
            self._pool.changed.notify_all()

    def _is_full(self, frame: GridFrame) -> bool:
        """Whether the open segment must be closed before this frame."""
        held = self._open
        if not held.frames:
            return False
        first: GridFrame = held.frames[0]
        late = self._segment_frames is None and (self._due_in_s() or 0.0) <= 0.0
        return (
            late
            or self._is_of_next(frame.time_ns)
            or first.signature != frame.signature
            or held.count >= (self._segment_frames or MAX_FRAMES)
            or held.size + frame.nbytes > _SEGMENT_BYTES
            or self._open_meshes + len(frame.steps) > MAX_MESHES
            or self._open_entries + frame.entry_count > MAX_ENTRIES
        )

    def close(self, *, sealed: bool = True) -> None:
        """Write what is left, and the index, and close the file. Safe to call twice.

        Without being `sealed` it stays a file whose writer did not get to its end, for the copy of one.
        Raises what the disk refused, unless append() or flush() has told it already.
        """
        if not self._end():
            return
        with contextlib.suppress(StorageError):  # told below, or by what follows
            self._writer.file.sync()
            self.frames_written = self.frames_stored
        try:
            if self._pool.failure is None:
                self._copies.finish()
                self._write_head(epoch=1)
        finally:
            if self._pool.failure is None and sealed:
                self._writer.seal()
            else:
                self._writer.close()
        self._tell_failure_once()

    def __enter__(self) -> NativeMeshWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _seal(self) -> None:
        self._open_meshes = self._open_entries = 0
        super()._seal()

    def _write_head(self, *, epoch: int = 0) -> None:
        self._writer.append(pack_record(MESH_HEAD, self._head, epoch=epoch, monotonic_ns=time.monotonic_ns()))

    # ---- in the thread of the pool -----------------------------------------------------------------

    def _compress(self, segment: Segment) -> bytes:
        frames: list[GridFrame] = segment.frames
        batch = make_batch(frames, self._steps_per_mm, use_up=True)
        model = self._models.model_for(batch)
        return pack_segment(frames, batch, model, steps_per_mm=self._steps_per_mm, use_up=True)

    def _write(self, segment: Segment) -> None:
        assert segment.packed is not None
        self._copies.write_due()
        self._models.write_due(len(segment.packed))
        self._writer.append(
            pack_record(
                MESHES,
                segment.packed,
                number=self.frames_stored,
                monotonic_ns=segment.time_ns,
                raw_length=segment.count,
            )
        )
        self.frames_stored += segment.count
        # Where frames change their kind all the time, segments come faster than a disk can sync: the next
        # one, which waits already, syncs for this one too.
        now_s = time.monotonic()
        if self._pool.waiting == 0 or now_s - self._synced_s >= self._segment_s:
            self._writer.file.sync()
            self._synced_s, self.frames_written = now_s, self.frames_stored


class Models(Protocol):
    """What the segments of a file are written with."""

    @property
    def has_model(self) -> bool:
        """Whether the next segment is going to be an affine one."""

    def model_for(self, batch: Batch) -> PointOrder | None:
        """What this segment is to be written with."""

    def write_due(self, size: int) -> None:
        """Write the model of the last segment that was asked for, where the file does not have it, or not for
        a long time. That segment, of `size` bytes, is the next to be written."""


def can_be_ordered(batch: Batch) -> bool:
    """Whether there are points at all for a model to be of."""
    signature = batch.signature
    return bool(len(batch.refs) and signature.arrays & 3) and 4 <= signature.points <= MAX_POINTS


@dataclass(slots=True)
class _Kind:
    """What is known of meshes of one signature. `written_s` is when the file got `model`, `segments_since`
    how many segments ago; `stored` counts the bytes of segments since it got another one than before."""

    training: Training | None
    model: PointOrder | None = None
    fitted: AffineModel | None = None
    written_s: float = -math.inf
    segments_since: int = 0
    stored: int = 0
    began_s: float = 0.0
    refits: list[float] = field(default_factory=lambda: list(_REFIT_AFTER_S))

    @property
    def has_model(self) -> bool:
        return isinstance(self.model, AffineModel)

    def use(self, model: PointOrder) -> None:
        self.model, self.written_s, self.stored = model, -math.inf, 0


class _LiveModels:
    """What the segments are written with: an order at first, then models, each written before it is named.

    A model waits until it is a small part of what these meshes have taken anyway: a short recording does not
    become larger by one that never pays.
    """

    def __init__(self, copies: ModelCopies, fits: bool, *, waits: bool) -> None:
        self._copies = copies
        self._waits = waits
        self._fits = fits
        self._kinds: OrderedDict[Signature, _Kind] = OrderedDict()
        self._kind = _Kind(None)

    @property
    def has_model(self) -> bool:
        return self._kind.has_model

    def model_for(self, batch: Batch) -> PointOrder | None:
        """What this segment is to be written with."""
        if not can_be_ordered(batch):
            self._kind = _Kind(None)  # nobody is here, which is no reason to forget who was
            return None
        kind = self._kind = self._kind_of(batch.signature)
        if kind.model is None:
            first = batch.points[0, :, :3].view(np.int32)
            joints = batch.signature.joints
            kind.use(pack_order(walk_order(first, joints), joints))
        if kind.training is not None:
            self._train(kind, kind.training, batch)
        return kind.model

    def _kind_of(self, signature: Signature) -> _Kind:
        kind = self._kinds.get(signature)
        if kind is None:
            kind = self._kinds[signature] = _Kind(Training(signature) if self._fits else None)
        self._kinds.move_to_end(signature)
        while len(self._kinds) > _HELD_KINDS:
            self._kinds.popitem(last=False)
        return kind

    def _train(self, kind: _Kind, training: Training, batch: Batch) -> None:
        training.see(batch)
        try:
            if self._waits and training.enough and not kind.has_model and kind.fitted is None:
                training.start()
            fitted = training.take(wait=self._waits)
        except (NightrigError, ArithmeticError, ValueError, MemoryError, np.linalg.LinAlgError):
            kind.training = None  # what we have goes on
            return
        kind.fitted = fitted or kind.fitted
        if kind.fitted is not None:
            if kind.stored < _MODEL_PAYS_FROM * len(kind.fitted.content):
                return
            if not kind.has_model:
                kind.began_s = time.monotonic()
            kind.use(kind.fitted)
            kind.fitted = None
        elif not kind.has_model:
            if training.enough:
                training.start()
        elif self._wants_refit(kind):
            training.start()

    def _wants_refit(self, kind: _Kind) -> bool:
        assert kind.model is not None
        if kind.stored < _REFIT_PAYS_FROM * len(kind.model.content):
            return False
        age_s = time.monotonic() - kind.began_s
        due = [after_s for after_s in kind.refits if after_s < age_s]
        del kind.refits[: len(due)]
        return bool(due)

    def write_due(self, size: int) -> None:
        kind = self._kind
        now_s = time.monotonic()
        is_old = now_s - kind.written_s >= _MODEL_EVERY_S or kind.segments_since >= _MODEL_EVERY_SEGMENTS
        if kind.model is not None and is_old:
            (self._copies.repeat if kind.written_s > -math.inf else self._copies.add)(kind.model)
            kind.written_s, kind.segments_since = now_s, 0
        kind.segments_since += 1
        kind.stored += size


def _frames_of(segment_s: float, fps: float | None) -> int | None:
    """How many frames a segment has, where frames may come faster than they were seen."""
    return None if fps is None else max(1, round(min(MAX_FRAMES, segment_s * fps)))
