"""Meshes that carry their name, so that each is known for what it is wherever it turns up.

Coordinates are whole steps of the 0.5 mm that mesh files keep, so that what was written comes back to the
bit; no two meshes are alike.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MESH_STREAM = 1
"""The stream of the test estimator that they are."""

VERTICES, JOINTS = 960, 24
_STEP_MM = 0.5
_BASE = np.random.default_rng(8117).integers(1, 3000, (1, VERTICES + JOINTS, 3)).astype(np.float32)


def numbered_mesh(epoch: int, number: int) -> npt.NDArray[np.float32]:
    """One person, (1, points, 3) in millimetres, vertices and then joints, that moves a little."""
    points = _BASE + np.float32(number % 97)
    points[0, 0] = (epoch, number, epoch + number)
    return points * np.float32(_STEP_MM)


def mesh_name(points: npt.NDArray[np.floating]) -> tuple[int, int]:
    """(epoch, number) of such a mesh."""
    epoch, number, _ = (round(float(value) / _STEP_MM) for value in points[0, 0])
    return epoch, number
