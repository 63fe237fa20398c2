"""The slowest vibrations of a mesh: what smooth noise on a body is made of.

Eigenvectors of the cotangent Laplacian with the vertices' areas as masses. An eigenvalue is the square of a
wave number, so 1/sqrt(eigenvalue) is the length, in metres, on which its vector varies. They are computed
once (900 of 6890 take a minute) and kept in a file under `out/`, named by the mesh they belong to.

Wants scipy, of the extra `bench`; imports it only when there is no file yet.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]

ROOT: Final = Path(__file__).resolve().parents[2]
CACHE: Final = ROOT / "out" / "mesh-modes"
MODE_COUNT: Final = 900


class NoScipyError(Exception):
    """The modes are not in the cache, and what computes them is not installed."""


@dataclass(frozen=True, slots=True, eq=False)
class Modes:
    """`eigenvalues` (k,) float64 in 1/m2, ascending; `vectors` (n, k) float32, each of unit rms."""

    eigenvalues: Float64
    vectors: Float32


def modes_of(vertices: npt.ArrayLike, faces: Int32, *, count: int = MODE_COUNT, cache: Path = CACHE) -> Modes:
    """The `count` slowest modes of vertices (n, 3), in metres, with triangles (m, 3). Raises NoScipyError."""
    points = np.asarray(vertices, np.float64)
    # To a hundredth of a millimetre: last digits may differ from one numpy to the next.
    grid = np.rint(points * 1e5).astype(np.int64)
    key = hashlib.sha256(grid.tobytes() + faces.tobytes() + bytes(str(count), "ascii")).hexdigest()[:16]
    path = cache / f"{key}.npz"
    try:
        with np.load(path) as stored:
            return Modes(stored["eigenvalues"], stored["vectors"])
    except (FileNotFoundError, zipfile.BadZipFile, KeyError):
        pass
    modes = _compute(points, faces, count)
    cache.mkdir(parents=True, exist_ok=True)
    # Whole or not at all, also when two benchmarks start at once.
    unfinished = path.with_name(f"{key}.{os.getpid()}.npz")
    np.savez(unfinished, eigenvalues=modes.eigenvalues, vectors=modes.vectors)
    unfinished.replace(path)
    return modes


def _compute(points: Float64, faces: Int32, count: int) -> Modes:
    try:
        import scipy.sparse as sparse
        from scipy.sparse.linalg import eigsh
    except ImportError as error:
        raise NoScipyError(
            "noise on meshes is made of the mesh's vibrations, and scipy computes them: "
            "pip install scipy (it is in the extra `bench`)"
        ) from error
    stiffness, mass = _stiffness(points, faces, sparse), sparse.diags(_areas(points, faces))
    # Shifted below zero, so that the constant mode does not make it singular. The start is fixed for the
    # same answer every time.
    values, vectors = eigsh(stiffness, k=count, M=mass, sigma=-0.1, v0=np.ones(len(points)))
    vectors = vectors[:, np.argsort(values)]
    vectors /= np.sqrt((vectors**2).mean(axis=0))
    vectors *= np.where(vectors[np.abs(vectors).argmax(axis=0), np.arange(count)] < 0, -1.0, 1.0)
    return Modes(np.maximum(np.sort(values), 0.0), vectors.astype(np.float32))


def _stiffness(points: Float64, faces: Int32, sparse: Any) -> Any:
    """The cotangent Laplacian, (n, n) sparse."""
    rows, columns, entries = [], [], []
    for corner in range(3):
        i, j, apex = (faces[:, (corner + step) % 3] for step in range(3))
        u, v = points[i] - points[apex], points[j] - points[apex]
        area = np.maximum(np.linalg.norm(np.cross(u, v), axis=1), 1e-9)
        # Obtuse triangles would pull the wrong way: none pulls less than a little.
        half_cotangent = np.clip((u * v).sum(axis=1) / area, 0.01, 20.0) / 2
        rows += [i, j]
        columns += [j, i]
        entries += [half_cotangent, half_cotangent]
    at = (np.concatenate(rows), np.concatenate(columns))
    edges = sparse.coo_matrix((np.concatenate(entries), at), shape=(len(points), len(points))).tocsr()
    return (sparse.diags(np.asarray(edges.sum(axis=1)).ravel()) - edges).tocsc()


def _areas(points: Float64, faces: Int32) -> Float64:
    """(n,) a third of the triangles around each vertex, in square metres."""
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return np.maximum(np.bincount(faces.ravel(), np.repeat(area / 3, 3), minlength=len(points)), 1e-9)
