"""Our ways to store meshes, as the mesh benchmark compares them; the peers are in `_mesh_peers`.

A way turns the vertices of a clip, float32 (frames, people, points, 3) in millimetres, into a payload and
gives them back, frame by frame, each coordinate within half a step of 0.5 mm. Payloads are parts that can be
read alone (segments of two seconds) or a file. Native ways by segment count the record around each, with its
checksum; a model is not in their payload but in `model_bytes`, because a night has few of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from codec.mesh import MeshReader, MeshWriter
from codec.mesh._affine_model import AffineModel, PointOrder, pack_order
from codec.mesh._fast import walk_order
from codec.mesh._segment import Batch, make_batch, pack_segment, to_grid
from codec.mesh._segment_reader import read_segment
from codec.mesh._training import Training
from codec.records.layout import HEADER_BYTES, MESHES, pack_record

Float32 = npt.NDArray[np.float32]
Payload = list[bytes] | Path
Order = npt.NDArray[np.uint16]

STEP_MM: Final = 0.5
STEPS_PER_MM: Final = 1.0 / STEP_MM
FPS: Final = 30.0
SEGMENT_FRAMES: Final = 60  # two seconds, as the writer closes them
MODEL_EVERY_S: Final = 300.0

FAST, AFFINE, REFITTED, SMALL = "native fast", "native affine", "native affine, refitted", "native small"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to store meshes. fit_cpu_s: what its model has cost once; model_bytes: what a file has of it
    every five minutes."""

    name: str
    ours: bool
    encode: Callable[[Float32], Payload]
    decode: Callable[[Any], Iterator[Float32]]
    fit_cpu_s: float = 0.0
    model_bytes: int = 0


def size_of(payload: Payload) -> int:
    """Its bytes on a disk."""
    return payload.stat().st_size if isinstance(payload, Path) else sum(map(len, payload))


def segments(vertices: Float32) -> Iterator[Float32]:
    """Two seconds after the other."""
    for first in range(0, len(vertices), SEGMENT_FRAMES):
        yield vertices[first : first + SEGMENT_FRAMES]


def walk_of(mesh: Float32) -> Order:
    """An order of the points (points, 3) in short steps, from a mesh: as the native writer makes it."""
    return walk_order(np.rint(mesh * STEPS_PER_MM).astype(np.int32), 0)


# ---- native, by segment ------------------------------------------------------------------------------------


def native(name: str, model: PointOrder, *, fit_cpu_s: float = 0.0) -> Way:
    """The way of the writer once it has this model: an order alone is fast."""
    return Way(
        name,
        True,
        partial(_encode_native, model),
        partial(_decode_native, model),
        fit_cpu_s,
        len(_record(model.content)),
    )


def order_model(order: Order) -> PointOrder:
    """What the fast way needs to know."""
    return pack_order(order, 0)


def batch_of(vertices: Float32) -> Batch:
    """Frames as the writer looks at them."""
    return make_batch([to_grid({"vertices": frame}, STEPS_PER_MM) for frame in vertices], STEPS_PER_MM)


def fitted(training_clip: Float32, **settings: Any) -> AffineModel:
    """A model for meshes like those, as the writer fits it; `settings` are those of Training."""
    batches = [batch_of(part) for part in segments(training_clip)]
    training = Training(batches[0].signature, **settings)
    for batch in batches:
        training.see(batch)
    training.start()
    model = training.take(wait=True)
    assert model is not None, "two runs of twelve meshes are enough"
    return model


def _encode_native(model: PointOrder, vertices: Float32) -> Payload:
    parts = []
    for part in segments(vertices):
        frames = [to_grid({"vertices": frame}, STEPS_PER_MM) for frame in part]
        batch = make_batch(frames, STEPS_PER_MM, use_up=True)
        parts.append(_record(pack_segment(frames, batch, model, steps_per_mm=STEPS_PER_MM, use_up=True)))
    return parts


def _decode_native(model: PointOrder, parts: Sequence[bytes]) -> Iterator[Float32]:
    for part in parts:
        for frame in read_segment(part[HEADER_BYTES:], model):
            yield frame["vertices"]


def _record(payload: bytes) -> bytes:
    return b"".join(pack_record(MESHES, payload))


# ---- whole files -------------------------------------------------------------------------------------------


def native_file(name: str, folder: Path, way: str) -> Way:
    """A whole native file: head, models, segments, index. "affine" waits for its model."""

    def encode(vertices: Float32) -> Payload:
        path = folder / "whole.nrm"
        path.unlink(missing_ok=True)
        with MeshWriter(path, codec="native", fps=FPS, way=way) as writer:
            for frame in vertices:
                writer.append(frame)
        return path

    return Way(name, True, encode, _decode_file)


def compatible(
    name: str, folder: Path, *, preset: int, block_s: float, order: Order | None, compression: str = "xz"
) -> Way:
    """Our file that bodycompress opens, closed every `block_s` of frames, in one thread."""

    def encode(vertices: Float32) -> Payload:
        path = folder / "compatible.xz"
        path.unlink(missing_ok=True)
        settings: dict[str, Any] = {"preset": preset, "compression": compression, "vertex_order": order}
        # Frames come faster than they were seen: blocks are closed by their number, not by the clock.
        with MeshWriter(path, threads=1, segment_s=3600.0, **settings) as writer:
            for number, frame in enumerate(vertices, 1):
                writer.append(frame)
                if number % round(block_s * FPS) == 0:
                    writer.flush()
        return path

    return Way(name, True, encode, _decode_file)


def _decode_file(path: Path) -> Iterator[Float32]:
    with MeshReader(path) as reader:
        for frame in reader:
            yield frame["vertices"]
