"""Where joints are: rotations, the joint tree, and the 85 numbers that describe a posed body.

The 85 parameters are SMPL's, in this order: 72 axis-angle numbers (24 joints, each relative to its
parent, the first one the root), 10 shape numbers, 3 numbers of translation in metres. The root turns
about its own joint; the translation is added to everything afterwards.

Arrays in, arrays out; knows no mesh.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body.joint_tree import Int, ancestors_of, doublings_of, world_rotations_of

Float64 = npt.NDArray[np.float64]

JOINT_COUNT: Final = 24
SHAPE_COUNT: Final = 10
PARAMETER_COUNT: Final = JOINT_COUNT * 3 + SHAPE_COUNT + 3


def split_parameters(parameters: npt.ArrayLike) -> tuple[Float64, Float64, Float64]:
    """(85,) -> pose (24, 3) axis-angle, betas (10,), translation (3,) in metres."""
    flat = np.asarray(parameters, dtype=np.float64)
    if flat.shape != (PARAMETER_COUNT,):
        raise ValueError(f"expected {PARAMETER_COUNT} body parameters, got an array of shape {flat.shape}")
    return flat[:72].reshape(JOINT_COUNT, 3), flat[72:82], flat[82:]


def join_parameters(pose: npt.ArrayLike, betas: npt.ArrayLike, translation: npt.ArrayLike) -> Float64:
    """The inverse of `split_parameters`."""
    return np.concatenate([np.ravel(pose), np.ravel(betas), np.ravel(translation)]).astype(np.float64)


def rotations_of(axis_angles: npt.ArrayLike) -> Float64:
    """Rodrigues: (n, 3) axis-angle vectors -> (n, 3, 3) rotation matrices."""
    vectors = np.asarray(axis_angles, dtype=np.float64)
    angles = np.sqrt(np.einsum("ni,ni->n", vectors, vectors))
    # sin(a)/a and (1 - cos(a))/a^2, both finite as a goes to 0.
    near_zero = angles < 1e-8
    safe = np.where(near_zero, 1.0, angles)
    first = np.where(near_zero, 1.0, np.sin(safe) / safe)
    second = np.where(near_zero, 0.5, (1.0 - np.cos(safe)) / (safe * safe))
    cross = np.zeros((len(vectors), 3, 3))
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -vectors[:, 2], vectors[:, 1], -vectors[:, 0]
    cross[:, 1, 0], cross[:, 2, 0], cross[:, 2, 1] = vectors[:, 2], -vectors[:, 1], vectors[:, 0]
    turned = first[:, None, None] * cross + second[:, None, None] * (cross @ cross)
    return np.eye(3) + turned


def axis_angle_of(rotation: npt.ArrayLike) -> Float64:
    """(3, 3) rotation matrix -> (3,) axis-angle with an angle of at most pi, stable at every angle."""
    m = np.asarray(rotation, dtype=np.float64)
    # The quaternion from its largest component, so that nothing is divided by a small number.
    squares = np.array([m.trace(), m[0, 0], m[1, 1], m[2, 2]])
    largest = int(np.argmax(squares))
    if largest == 0:
        quaternion = np.array([1.0 + m.trace(), m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]])
    else:
        i, j, k = [(0, 1, 2), (1, 2, 0), (2, 0, 1)][largest - 1]
        quaternion = np.empty(4)
        quaternion[0] = m[k, j] - m[j, k]
        quaternion[1 + i] = 1.0 + m[i, i] - m[j, j] - m[k, k]
        quaternion[1 + j] = m[j, i] + m[i, j]
        quaternion[1 + k] = m[k, i] + m[i, k]
    quaternion /= np.linalg.norm(quaternion)
    if quaternion[0] < 0:
        quaternion = -quaternion
    sine = float(np.linalg.norm(quaternion[1:]))
    if sine < 1e-12:
        return 2.0 * quaternion[1:]
    vector: Float64 = quaternion[1:] * (2.0 * np.arctan2(sine, quaternion[0]) / sine)
    return vector


def forward_kinematics(
    rotations: Float64, joints: Float64, parents: Sequence[int], translation: npt.ArrayLike
) -> tuple[Float64, Float64]:
    """World rotation (n, 3, 3) and position (n, 3) of every joint.

    `rotations` are relative to the parents; `joints` are the rest positions. A parent stands before its
    children.
    """
    above, carriers, doublings = _tree(tuple(parents))
    world = world_rotations_of(rotations, doublings)
    bones = joints - np.concatenate([joints, _ORIGIN])[carriers]
    turned = (world[carriers] @ bones[:, :, None])[:, :, 0]
    return world[:-1], above @ turned + np.asarray(translation, dtype=np.float64)


_ORIGIN: Final = np.zeros((1, 3))


@lru_cache(maxsize=8)
def _tree(parents: tuple[int, ...]) -> tuple[Float64, Int, list[Int]]:
    """Which joints stand above each, and itself (n, n); what carries it (n: the world); jumps upwards."""
    count = len(parents)
    carriers = np.array([count if parent < 0 else parent for parent in parents], dtype=np.intp)
    return ancestors_of(parents).astype(np.float64), carriers, doublings_of(np.append(carriers, count))
