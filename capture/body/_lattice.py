"""A person made of blocks: the connectivity of the procedural body.

The surface of a solid built from unit cells is a closed quad mesh; one without holes has two vertices
more than quads. The boxes below are sized so that exactly 6888 quads come out: 6890 vertices and, each
quad cut in two, 13776 triangles. All of it is integer arithmetic, so faces and vertex order are the same
on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Box:
    """Cells from `low` (included) to `high` (excluded); `low[0] > 0` means there is a mirror image."""

    part: str
    low: tuple[int, int, int]
    high: tuple[int, int, int]


# Lattice axes as the body's: x to the left, y up, z to the front. Where boxes share a vertex, the box
# that stands first here places it.
BOXES: Final = (
    Box("torso", (-7, 0, -4), (7, 30, 4)),
    Box("neck", (-3, 30, -3), (3, 33, 3)),
    Box("head", (-4, 33, -5), (4, 48, 5)),
    Box("leg", (1, -44, -4), (7, 0, 4)),
    Box("foot", (1, -44, 4), (7, -40, 14)),
    Box("arm", (7, 24, -2), (49, 29, 3)),
    Box("thumb", (36, 26, 3), (39, 28, 8)),
)


@dataclass(frozen=True, slots=True)
class Lattice:
    """`points` (6890, 3) lattice coordinates, `quads` (6888, 4) corners, counter-clockwise from outside."""

    points: Int32
    quads: Int32


def person() -> Lattice:
    """The blocky person's surface."""
    low = np.array([box.low for box in BOXES]).min(axis=0)
    high = np.array([box.high for box in BOXES]).max(axis=0)
    low[0] = -high[0]
    low -= 1
    solid = np.zeros(high + 1 - low, dtype=bool)
    for box in BOXES:
        (x0, y0, z0), (x1, y1, z1) = np.array(box.low) - low, np.array(box.high) - low
        solid[x0:x1, y0:y1, z0:z1] = True
        if box.low[0] > 0:
            mirror0, mirror1 = -box.high[0] - low[0], -box.low[0] - low[0]
            solid[mirror0:mirror1, y0:y1, z0:z1] = True
    corners = np.concatenate([_surface_quads(solid, axis) for axis in range(3)])
    codes = np.ravel_multi_index(tuple(np.moveaxis(corners, -1, 0)), tuple(np.add(solid.shape, 1)))
    used, quads = np.unique(codes, return_inverse=True)
    points = np.stack(np.unravel_index(used, tuple(np.add(solid.shape, 1))), axis=1) + low
    return Lattice(points.astype(np.int32), quads.reshape(codes.shape).astype(np.int32))


def _surface_quads(solid: npt.NDArray[np.bool_], axis: int) -> npt.NDArray[np.int64]:
    """(n, 4, 3) corners of the faces across `axis`, between a full cell and an empty one."""
    step_u, step_v = np.eye(3, dtype=np.int64)[[(axis + 1) % 3, (axis + 2) % 3]]
    difference = np.diff(solid.astype(np.int8), axis=axis)
    quads = []
    for sign in (-1, 1):
        # A face lies at the upper side of the cell where the difference was taken. -1: full below, empty
        # above, so the outside is towards the positive axis and u x v shows there.
        origin = np.argwhere(difference == sign)
        origin[:, axis] += 1
        ring = [0 * step_u, step_u, step_u + step_v, step_v]
        if sign == 1:
            ring.reverse()
        quads.append(np.stack([origin + corner for corner in ring], axis=1))
    return np.concatenate(quads)


def triangles(quads: Int32) -> Int32:
    """Each quad cut along its first diagonal."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
