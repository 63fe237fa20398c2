"""Linear blend skinning: a rest mesh follows its joints.

Everything is float32 and laid out one coordinate per row, (3, n) and (joints, n), because then each step
is one long pass over memory: a whole body of 6890 points takes a fraction of a millisecond. Where the native
kernel was built, it does the work (`_native_skin`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body._native_skin import NativeSkin, can_skin
from capture.body.kinematics import forward_kinematics, rotations_of

_BLOCK: Final = 1024
"""Points at a time: they stay in the cache, and the product is too small for the linear algebra library to
wake threads for, which would then burn a second core waiting for the next one."""

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


class Skin:
    """The mesh of one body, laid out for speed; remembers the rest mesh of the shape it was last asked for.

    Takes template (n, 3), weights (n, joints), shape directions (n, 3, B), pose directions (207, 3 * n), x of
    all points first, and the joint that each hangs on. May be used from several threads.
    """

    def __init__(
        self,
        template: Float32,
        weights: Float32,
        shape_directions: Float32,
        pose_directions: Float32 | None,
        parents: Sequence[int],
    ) -> None:
        self._parents = tuple(parents)
        # No copies where the caller's arrays are views of this layout.
        self._template = np.ascontiguousarray(template.T)
        self._weights = np.ascontiguousarray(weights.T)
        shape_rows = np.ascontiguousarray(shape_directions.transpose(2, 1, 0))
        self._shape = shape_rows.reshape(len(shape_rows), template.size)
        self._pose = None if pose_directions is None else np.ascontiguousarray(pose_directions)
        # One assignment replaces both, so that no thread sees the mesh of other shape numbers.
        self._last: tuple[bytes, Float32] = (b"", np.zeros(0, np.float32))

    @cached_property
    def _native(self) -> NativeSkin | None:
        """Made when the first mesh is asked for: not everybody who reads a model poses it."""
        if can_skin(len(self._parents), 0 if self._pose is None else len(self._pose)):
            return NativeSkin(self._weights, self._pose, self._parents)
        return None

    def posed(self, betas: Float64, pose: Float64, rest_joints: Float64, translation: Float64) -> Float32:
        """(n, 3) points; axis-angle `pose` and `rest_joints` (joints, 3), `translation` (3,)."""
        rest = self._rest(betas)
        if self._native is not None:
            return self._native.posed(rest, pose, rest_joints, translation)
        rotations = rotations_of(pose)
        world, positions = forward_kinematics(rotations, rest_joints, self._parents, translation)
        if self._pose is not None:
            bent = (rotations[1:] - np.eye(3)).astype(np.float32).ravel()
            rest = rest + (bent @ self._pose).reshape(rest.shape)
        return blend_skin(rest, self._weights, skinning_transforms(world, positions, rest_joints))

    def _rest(self, betas: Float64) -> Float32:
        """The rest mesh of these shape numbers: (3, n), or as the kernel wants it."""
        key = betas.tobytes()
        last_key, rest = self._last
        if key != last_key or not rest.size:
            # Of many directions mostly the first few are in use.
            used = len(np.trim_zeros(betas, "b"))
            shaped = betas[:used].astype(np.float32) @ self._shape[:used]
            rest = self._template + shaped.reshape(self._template.shape)
            if self._native is not None:
                rest = self._native.rest(rest)
            self._last = (key, rest)
        return rest


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
