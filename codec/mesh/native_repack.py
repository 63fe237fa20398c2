"""Packs native mesh files for keeping: everything is known before the first byte is written.

A recording is read twice. The first time, short runs of meshes are taken from all of it and a few segments
are kept; models are fitted to the runs, and the kept segments say which of them pays, its own bytes
included: one with many neighbours, the one of live writing, or none. The second time everything is written
with that. Nothing here runs beside anything else, so that the same meshes always make the same file.

The `affine` way takes the same road with fewer runs and without the many neighbours: a short file gets no
model either way that would take more than it saves.

What it costs against the `affine` way, and what it brings, stands in docs/MESH.md and in the test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from codec.errors import CodecError, NightrigError
from codec.mesh import _training
from codec.mesh._affine_fit import LIVE, SMALL, FitSettings
from codec.mesh._affine_model import PointOrder, pack_order
from codec.mesh._fast import walk_order
from codec.mesh._segment import Batch, GridFrame, Signature, make_batch, pack_segment, to_grid
from codec.mesh._training import RUN_MESHES, Training
from codec.mesh.model_copies import ModelCopies
from codec.mesh.native_writer import NativeMeshWriter, can_be_ordered

Frame = dict[str, Any]
Stage = Callable[[str], None]
"""Told what takes long and cannot be counted, and "" when that is over."""

RUNS = 120
"""Four times as many as in live writing: what a fit of many neighbours takes to be better than one of few."""

SEGMENT_FRAMES = 60
"""Two seconds: five make files smaller by a thousandth, and any one frame takes as much longer to find."""

_LEAST_RUNS = 4
_LEAST_MODEL_BYTES = 80
"""A point: every model takes more than that. Where everything fits in less nothing needs to be fitted."""
_FITS: dict[str, tuple[tuple[FitSettings, ...], int]] = {
    "small": ((SMALL, LIVE), RUNS),
    "affine": ((LIVE,), _training.RUNS),
}
"""What is tried for each way, and by how many runs."""
_OFFERED_RUNS = 2 * RUNS
_SAMPLES = 3
_MODEL_EVERY_FRAMES = 54000
"""Half an hour, beside the two copies that every file has (see model_copies)."""
_REST_BYTES = 600
"""About what a record takes that is not its payload, with its entry in the index."""


@dataclass(slots=True)
class _Seen:
    """What the first reading keeps of meshes of one signature; `meshes` and `frames` are those looked at.

    order: by the first mesh, as in the `fast` way."""

    training: Training
    order: PointOrder | None = None
    meshes: int = 0
    frames: int = 0
    samples: list[tuple[list[GridFrame], Batch]] = field(default_factory=list)
    next_sample: int = 1


class Survey:
    """The first reading: see() every frame, in order, and then choose(). Looks at a bounded number of short
    runs of frames, evenly spread over `frames` of them."""

    def __init__(self, quantization_mm: float, *, frames: int, way: str = "small") -> None:
        self._settings, self._runs = _FITS[way]
        self._steps_per_mm = 1.0 / quantization_mm
        self._stride = max(RUN_MESHES, frames // _OFFERED_RUNS)
        self._seen: dict[Signature, _Seen] = {}
        self._run: list[GridFrame] = []
        self._count = 0
        self._stage: Stage = lambda _: None

    def see(self, frame: Frame) -> None:
        """Take notice of a frame. One that cannot be stored is passed over: writing it tells why."""
        place = self._count % self._stride
        self._count += 1
        if place == 0:
            self._end_run()
        if place >= RUN_MESHES:
            return
        try:
            grid = to_grid(frame, self._steps_per_mm)
        except CodecError:
            return
        if self._run and self._run[0].signature != grid.signature:
            self._end_run()
        self._run.append(grid)

    def _end_run(self) -> None:
        run, self._run = self._run, []
        if not run:
            return
        signature = run[0].signature
        if signature not in self._seen:
            self._seen[signature] = _Seen(Training(signature, runs=self._runs))
        seen = self._seen[signature]
        batch = make_batch(run, self._steps_per_mm)
        seen.training.see(batch)
        seen.meshes += len(batch.refs)
        seen.frames += len(run)
        if not can_be_ordered(batch):
            return
        if seen.order is None:
            first = batch.points[0, :, :3].view(np.int32)
            seen.order = pack_order(walk_order(first, batch.signature.joints), batch.signature.joints)
        # The newest ones at distances that double: from all of a recording, whatever its length.
        if self._count >= seen.next_sample:
            seen.next_sample = 2 * self._count
            seen.samples = [*seen.samples[1 - _SAMPLES :], (run, batch)]

    def choose(self, stage: Stage = lambda _: None) -> Chosen:
        """Fit, and say what each kind of meshes is to be written with. Takes up to a minute of a core, which
        `stage` is told of."""
        self._end_run()
        self._stage = stage
        return Chosen({signature: self._best(seen) for signature, seen in self._seen.items()})

    def _best(self, seen: _Seen) -> PointOrder | None:
        samples, order = seen.samples, seen.order
        if order is None or not samples:
            return order
        sampled = sum(len(batch.refs) for _, batch in samples)
        # What was looked at stands for all of it.
        share = self._stride / RUN_MESHES
        frames = share * seen.frames
        copies = 2 + frames // _MODEL_EVERY_FRAMES

        def total_bytes(model: PointOrder) -> float:
            packed = sum(
                len(pack_segment(run, batch, model, steps_per_mm=self._steps_per_mm))
                for run, batch in samples
            )
            return copies * (len(model.content) + _REST_BYTES) + packed / sampled * share * seen.meshes

        if total_bytes(order) < _LEAST_MODEL_BYTES * (order.vertices + order.joints):
            return order
        self._stage("fitting a model")
        try:
            return min([order, *self._fitted(seen.training)], key=total_bytes)
        finally:
            self._stage("")

    def _fitted(self, training: Training) -> list[PointOrder]:
        if not training.possible or training.kept < _LEAST_RUNS:
            return []
        found: list[PointOrder] = []
        for settings in self._settings:
            try:
                found.append(training.fit(settings))
            except (NightrigError, ArithmeticError, ValueError, MemoryError, np.linalg.LinAlgError):
                continue  # there is always a way without it
        return found


@dataclass(frozen=True, slots=True)
class Chosen:
    """A model for each kind of meshes in a recording; called with what writes models it serves a
    NativeMeshWriter."""

    models: dict[Signature, PointOrder | None]

    def __call__(self, copies: ModelCopies) -> _FixedModels:
        return _FixedModels(copies, self.models)


class _FixedModels:
    """Serves what was chosen, and writes it again from time to time."""

    def __init__(self, copies: ModelCopies, models: dict[Signature, PointOrder | None]) -> None:
        self._copies, self._models = copies, models
        self._model: PointOrder | None = None
        self._frames_to_go: dict[int, int] = {}

    @property
    def has_model(self) -> bool:
        return True

    def model_for(self, batch: Batch) -> PointOrder | None:
        self._model = self._models.get(batch.signature) if can_be_ordered(batch) else None
        return self._model

    def write_due(self, size: int) -> None:
        if self._model is None:
            return
        name = self._model.name
        to_go = self._frames_to_go.get(name)
        if to_go is None or to_go <= 0:
            (self._copies.add if to_go is None else self._copies.repeat)(self._model)
            to_go = _MODEL_EVERY_FRAMES
        self._frames_to_go[name] = to_go - SEGMENT_FRAMES


def fitted_writer(
    path: Path,
    frames: Iterable[Frame],
    *,
    count: int,
    way: str,
    metadata: object,
    quantization_mm: float,
    fps: float | None,
    progress: Callable[[int], None] = lambda _: None,
    stage: Stage = lambda _: None,
) -> NativeMeshWriter:
    """A writer that already knows the frames it is going to get: about `count` of them. way: small or affine.

    Raises StorageError where the file exists, CodecError for metadata or settings, and what reading raises.
    """
    survey = Survey(quantization_mm, frames=count, way=way)
    for frame in frames:
        survey.see(frame)
        progress(1)
    return NativeMeshWriter(
        path,
        metadata=metadata,
        quantization_mm=quantization_mm,
        fps=fps,
        models=survey.choose(stage),
        segment_frames=SEGMENT_FRAMES,
        head={"way": "small"} if way == "small" else None,
    )
