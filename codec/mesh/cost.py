"""What meshes cost on this machine in a file of either kind: measured in a second or two, nothing written.

For whoever has to say beforehand whether a recording fits. Meshes as a body tracker delivers them: the points
it is given, walking and bending, with a tracker's smooth noise of about 5 mm.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codec.mesh import _mesh_native
from codec.mesh._affine_model import PointOrder, pack_order
from codec.mesh._fast import walk_order
from codec.mesh._segment import make_batch, pack_segment, to_grid
from codec.mesh._training import Training
from codec.mesh.bodycompress_frames import encode_frame
from codec.mesh.live_preset import LADDER
from codec.mesh.segment_compression import compress_xz, wants_narrow

_QUANTIZATION_MM = 0.5
_MESHES = 72
_XZ_MESHES = 24
_FIT_RUNS = 3
_WAVES = 40
_NOISE_MM = 5.0
_JITTER_MM = 0.2  # from point to point: with it sizes are about those of real meshes

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MeshCost:
    """Of one person in one frame: CPU seconds, and bytes on the disk."""

    cpu_s: float
    bytes: float


def has_kernels() -> bool:
    """Whether the native kernels of the mesh codec are here."""
    return _mesh_native.kernels is not None


def mesh_costs(shape_mm: npt.NDArray[np.floating]) -> dict[str, MeshCost]:
    """By the names of MeshWriter's codecs. shape_mm: (points, 3), a body at rest. xz at its cheapest preset,
    native as live writing has it here: affine with the kernels, else fast."""
    meshes = _moving(np.asarray(shape_mm, np.float32))
    return {"bodycompress": _xz(meshes[:_XZ_MESHES]), "native": _native(meshes)}


def _moving(shape: Float32) -> Float32:
    """(meshes, points, 3)"""
    random = np.random.default_rng(0)
    waves = random.normal(0, 1 / 200, (3, _WAVES)).astype(np.float32)
    fields = np.cos(shape @ waves + random.uniform(0, 6.28, _WAVES).astype(np.float32))
    strength = random.normal(0, _NOISE_MM * np.sqrt(2 / _WAVES), (_MESHES, _WAVES, 3)).astype(np.float32)
    time_s = (np.arange(_MESHES, dtype=np.float32) / 30)[:, None]
    meshes = shape + np.einsum("pw,mwc->mpc", fields, strength)
    meshes[..., 0] += 100 * np.sin(4 * time_s + shape[:, 1] / 400)
    meshes[..., 2] += 3000 + 800 * time_s
    meshes += random.normal(0, _JITTER_MM, meshes.shape).astype(np.float32)
    return np.asarray(meshes, np.float32)


def _xz(meshes: Float32) -> MeshCost:
    preset = LADDER[0]
    narrow = wants_narrow("xz", preset)
    started_s = time.thread_time()
    packed = b"".join(
        encode_frame({"vertices": mesh[None]}, quantization_mm=_QUANTIZATION_MM, narrow=narrow)[0]
        for mesh in meshes
    )
    size = len(compress_xz(packed, preset))
    return MeshCost((time.thread_time() - started_s) / len(meshes), size / len(meshes))


def _native(meshes: Float32) -> MeshCost:
    steps = 1 / _QUANTIZATION_MM
    model = _model(meshes, steps)
    best = None
    for _ in range(2):  # the first time is that of cold memory
        started_s = time.thread_time()
        frames = [to_grid({"vertices": mesh[None]}, steps) for mesh in meshes]
        size = len(pack_segment(frames, make_batch(frames, steps), model, steps_per_mm=steps))
        cost = MeshCost((time.thread_time() - started_s) / len(meshes), size / len(meshes))
        best = cost if best is None else min(best, cost, key=lambda each: each.cpu_s)
    assert best is not None
    return best


def _model(meshes: Float32, steps: float) -> PointOrder:
    batch = make_batch([to_grid({"vertices": mesh[None]}, steps) for mesh in meshes], steps)
    if has_kernels():
        training = Training(batch.signature, runs=_FIT_RUNS)
        training.see(batch)
        training.start()
        fitted = training.take(wait=True)
        if fitted is not None:
            return fitted
    return pack_order(walk_order(batch.points[0, :, :3].view(np.int32), 0), 0)
