"""One mesh as a file for other programs: Wavefront OBJ and Stanford PLY.

Vertices in metres, faces as rows of three vertex numbers from 0. A file is replaced as a whole; a body of
no faces becomes a point cloud. Knows nothing of recordings.
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from codec.durable import write_atomically
from codec.errors import CodecError

_PLY_FACE = np.dtype([("count", "u1"), ("vertices", "<i4", (3,))])

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.integer]


def write_obj(
    path: str | os.PathLike[str], vertices_m: Floats, faces: Integers, *, comment: str = ""
) -> None:
    """Write an OBJ file, to the micrometre; `comment` is one line at its start. Raises CodecError or
    StorageError."""
    vertices, triangles = _check(vertices_m, faces)
    # One format operation for all rows is five times as fast as one per row.
    text = f"# {comment}\n" if comment else ""
    text += ("v %.6f %.6f %.6f\n" * len(vertices)) % tuple(vertices.ravel().tolist())
    text += ("f %d %d %d\n" * len(triangles)) % tuple((triangles + 1).ravel().tolist())
    write_atomically(path, text.encode("ascii"))


def write_ply(path: str | os.PathLike[str], vertices_m: Floats, faces: Integers) -> None:
    """Write a binary little-endian PLY file. Raises CodecError or StorageError."""
    vertices, triangles = _check(vertices_m, faces)
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"element vertex {len(vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(triangles)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.empty(len(triangles), _PLY_FACE)
    rows["count"] = 3
    rows["vertices"] = triangles
    write_atomically(path, header.encode("ascii") + vertices.astype("<f4").tobytes() + rows.tobytes())


def _check(vertices_m: Floats, faces: Integers) -> tuple[Floats, Integers]:
    vertices, triangles = np.asarray(vertices_m), np.asarray(faces)
    if vertices.dtype.kind != "f" or vertices.ndim != 2 or vertices.shape[1] != 3:
        raise CodecError(f"vertices must be floats (points, 3), got {vertices.dtype} {vertices.shape}")
    if triangles.dtype.kind not in "iu" or triangles.ndim != 2 or triangles.shape[1] != 3:
        raise CodecError(f"faces must be whole numbers (faces, 3), got {triangles.dtype} {triangles.shape}")
    triangles = triangles.astype(np.int64)
    if len(triangles) and not (triangles.min() >= 0 and triangles.max() < len(vertices)):
        raise CodecError(f"faces name vertices outside 0..{len(vertices) - 1}")
    return vertices, triangles
