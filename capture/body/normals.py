"""Which way a surface faces at each of its vertices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


def vertex_normals(vertices: Float32, faces: npt.NDArray[np.int32]) -> Float32:
    """Vertices (V, 3), faces (F, 3) -> (V, 3) float32 unit normals; they point to where corners
    turn counter-clockwise.

    Each is the area-weighted mean of the triangles around the vertex, and zero where those have no area or
    there are none.
    """
    x, y, z = (vertices[:, axis][faces] for axis in range(3))
    ax, ay, az = (c[:, 1] - c[:, 0] for c in (x, y, z))
    bx, by, bz = (c[:, 2] - c[:, 0] for c in (x, y, z))
    corners = faces.ravel()
    summed = np.empty((len(vertices), 3), np.float32)
    for axis, crossed in enumerate((ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx)):
        summed[:, axis] = np.bincount(corners, weights=np.repeat(crossed, 3), minlength=len(vertices))
    summed /= np.sqrt(np.einsum("ni,ni->n", summed, summed))[:, None] + np.float32(1e-20)
    return summed
