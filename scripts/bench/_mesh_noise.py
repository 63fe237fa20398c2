"""What an estimator adds to a body: noise of its vertices and joints, and how unsure it says it is.

The noise is of the kind that shared/reference/mesh-codecs.md, section 2, fitted to published figures of real
estimates. Its level is s millimetres: the rms, per coordinate, of a field that varies on 16 cm and more, half
of whose variance is new in every frame and half fades over twenty frames. On top of it come a jitter of the
whole person (s/2 across the picture, 1.5 s in depth), a field of s/10 that varies on 2 to 6 cm and is new in
every frame, and white noise. Level 5 is the one to work with; real estimates lie between 3 and 8.

Uncertainties are a guess at what such an estimator says: larger at the ends of limbs and on the side away
from the camera, drifting slowly. Nothing was published to calibrate them on.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from scripts.bench._mesh_modes import Modes

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

NOISE_LEVELS_MM: Final = (0.0, 3.0, 5.0, 8.0)
WHITE_MM: Final = (0.0, 0.05, 0.07, 0.1)
"""White noise at those levels; between them, what lies between."""

_SMOOTH_EIGENVALUE: Final = 40.0  # 1/m2: a length of 16 cm
_FINE_EIGENVALUES: Final = (300.0, 3000.0)  # 6 cm and 2 cm
_FADING: Final = 0.95
_JITTER_FADING: Final = 0.8
_JITTER: Final = np.array([0.5, 0.5, 1.5])
_FRAMES_AT_A_TIME: Final = 64  # keeps a block of products at 5 MB

_LEAST_UNCERTAINTY_M: Final = 0.022
_JOINT_REACH_M: Final = 0.04


def surface_noise(rng: np.random.Generator, modes: Modes, frames: int, level_mm: float) -> Float32:
    """(frames, n, 3) millimetres to be added to the vertices; axes of the camera, z its depth."""
    count = len(modes.eigenvalues)
    spectrum = 1.0 / (1.0 + (modes.eigenvalues / _SMOOTH_EIGENVALUE) ** 1.5)
    smooth = (spectrum * level_mm / np.linalg.norm(spectrum))[:, None]
    low, high = _FINE_EIGENVALUES
    spectrum = np.where(modes.eigenvalues > low, 1.0 / (1.0 + (modes.eigenvalues / high) ** 1.5), 0.0)
    # A coarse mesh may have no modes so fine.
    fine = (spectrum * 0.1 * level_mm / max(float(np.linalg.norm(spectrum)), 1e-9))[:, None]
    lasting = fading(rng, (frames, count, 3), _FADING)
    fresh = rng.standard_normal((frames, count, 3))
    coefficients = (lasting + fresh) * np.sqrt(0.5) * smooth + rng.standard_normal((frames, count, 3)) * fine
    jitter = fading(rng, (frames, 1, 3), _JITTER_FADING) * _JITTER * level_mm
    white = np.float32(np.interp(level_mm, NOISE_LEVELS_MM, WHITE_MM))
    out = np.empty((frames, len(modes.vectors), 3), np.float32)
    for first in range(0, frames, _FRAMES_AT_A_TIME):
        block = slice(first, first + _FRAMES_AT_A_TIME)
        columns = coefficients[block].astype(np.float32).transpose(1, 0, 2)
        field = modes.vectors @ columns.reshape(count, -1)
        out[block] = field.reshape(len(field), -1, 3).transpose(1, 0, 2)
        out[block] += jitter[block].astype(np.float32)
        out[block] += white * rng.standard_normal(out[block].shape, dtype=np.float32)
    return out


def fading(rng: np.random.Generator, shape: tuple[int, ...], keeps: float) -> Float64:
    """Unit Gaussian noise of `shape` whose first axis is time, each value keeping `keeps` of the last one."""
    steps = rng.standard_normal(shape)
    fresh = np.sqrt(1.0 - keeps * keeps)
    for t in range(1, len(steps)):
        steps[t] = keeps * steps[t - 1] + fresh * steps[t]
    return steps


def joint_regressor(vertices: npt.ArrayLike, joints: Float64) -> Float32:
    """(24, n) rows of sum one: which vertices (n, 3), in metres at rest, share their noise with a joint."""
    offsets = joints[:, None] - np.asarray(vertices, np.float64)
    distance = np.linalg.norm(offsets, axis=-1)
    distance -= distance.min(axis=1, keepdims=True)
    weights = np.exp(-0.5 * (distance / _JOINT_REACH_M) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def vertex_uncertainties(
    rng: np.random.Generator, fields: Float32, rest_vertices: Float32, vertices_mm: Float32
) -> Float32:
    """(T, n) metres for vertices (T, n, 3) in camera axes; `fields` (n, k) are smooth patterns on the body.

    `rest_vertices` (n, 3) in metres say how far out on a limb a vertex is.
    """
    reach = np.linalg.norm(rest_vertices * (1.0, 0.8, 1.0), axis=1)
    base = _LEAST_UNCERTAINTY_M * (1.0 + 1.2 * reach**2)
    frames, patterns = len(vertices_mm), fields.shape[1]
    drift = 0.1 * fading(rng, (frames, patterns), _FADING) + 0.03 * fading(rng, (frames, patterns), 0.5)
    depth = vertices_mm[:, :, 2]
    away = np.tanh((depth - depth.mean(axis=1, keepdims=True)) / 120.0)
    wander = drift.astype(np.float32) @ (fields.T / np.float32(np.sqrt(patterns)))
    return np.asarray(base * np.exp(wander + 0.3 * away), np.float32)
