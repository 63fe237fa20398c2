"""What follows from which joint hangs on which, as tables for array arithmetic instead of loops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Int = npt.NDArray[np.intp]


def ancestors_of(parents: Sequence[int]) -> npt.NDArray[np.bool_]:
    """[joint, k]: k is the joint itself or stands above it."""
    above = np.eye(len(parents), dtype=bool)
    for joint in range(1, len(parents)):
        above[joint] |= above[parents[joint]]
    return above


def doublings_of(parents: Int) -> list[Int]:
    """Tables of jumps 1, 2, 4... joints upwards; after the last every joint has arrived at the world.

    `parents` (n + 1,): the last is the world, which is its own.

    Multiplying each rotation by that of the joint it jumps to, again and again, takes the logarithm of the
    depth of the tree in steps instead of the depth.
    """
    world = len(parents) - 1
    steps = []
    jumps = parents
    while (jumps != world).any():
        steps.append(jumps)
        jumps = jumps[jumps]
    return steps
