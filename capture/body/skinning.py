"""Linear blend skinning: a rest mesh follows its joints.

Everything is float32 and laid out one coordinate per row, (3, n) and (joints, n), because then each step
is one long pass over memory: a whole body of 6890 points takes a fraction of a millisecond.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

_BLOCK: Final = 1024
"""Points at a time: they stay in the cache, and the product is too small for the linear algebra library to
wake threads for, which would then burn a second core waiting for the next one."""

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


def skinning_transforms(world_rotations: Float64, positions: Float64, rest_joints: Float64) -> Float32:
    """(joints, 3, 4): where each joint carries a point of the rest pose."""
    transforms = np.empty((len(positions), 3, 4), np.float32)
    transforms[:, :, :3] = world_rotations
    transforms[:, :, 3] = positions - np.einsum("jab,jb->ja", world_rotations, rest_joints)
    return transforms


def blend_skin(rest_rows: Float32, weight_rows: Float32, transforms: Float32) -> Float32:
    """(n, 3) posed points of `rest_rows` (3, n) under `weight_rows` (joints, n)."""
    flat = np.ascontiguousarray(transforms.reshape(len(transforms), 12).T)
    points = np.empty((rest_rows.shape[1], 3), np.float32)
    for first in range(0, len(points), _BLOCK):
        block = slice(first, first + _BLOCK)
        # One matrix product blends the transforms of all points: rows 4*i + j hold element (i, j).
        blended = flat @ weight_rows[:, block]
        x, y, z = rest_rows[:, block]
        for axis in range(3):
            xx, xy, xz, shift = blended[4 * axis : 4 * axis + 4]
            xx *= x
            xx += np.multiply(xy, y, out=xy)
            xx += np.multiply(xz, z, out=xz)
            np.add(xx, shift, out=points[block, axis])
    return points
