"""What follows from which joint hangs on which, as tables for array arithmetic instead of loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int = npt.NDArray[np.intp]

_EYE: Final = np.eye(3)


def ancestors_of(parents: Sequence[int]) -> npt.NDArray[np.bool_]:
    """[joint, k]: k is the joint itself or stands above it."""
    above = np.eye(len(parents), dtype=bool)
    for joint in range(1, len(parents)):
        above[joint] |= above[parents[joint]]
    return above


def doublings_of(parents: Int) -> list[Int]:
    """Tables of jumps 1, 2, 4... joints upwards; after the last every joint has arrived at the world.

    `parents` (n + 1,): the last is the world, which is its own.
    """
    world = len(parents) - 1
    steps = []
    jumps = parents
    while (jumps != world).any():
        steps.append(jumps)
        jumps = jumps[jumps]
    return steps


def world_rotations_of(rotations: Float64, doublings: Sequence[Int]) -> Float64:
    """(n, 3, 3) relative to the parents -> (n + 1, 3, 3) of the joints in the world, and of the world itself.

    Multiplying each rotation by that of the joint it jumps to, again and again, takes the logarithm of the
    depth of the tree in steps instead of the depth. `doublings`: see `doublings_of`.
    """
    world = np.empty((len(rotations) + 1, 3, 3))
    world[:-1] = rotations
    world[-1] = _EYE
    for jumps in doublings:
        world = world[jumps] @ world
    return world
