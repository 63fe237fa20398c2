"""Meshes in NumPy archives, `meshes-000.npz` and on, each of at most 128 MB of points.

Of each frame, in order:
  number, monotonic_ns   -1 where the file does not say it
  people                 how many meshes it has
  camera_...             rotvec_w2c, loc, intr, up and distcoef; NaN in frames without a camera
Of each mesh, those of a frame one after the other:
  frame                  its place among the frames of this archive
  vertices, joints       (meshes, points, 3) float32, in millimetres
  vertex_uncertainties, joint_uncertainties   (meshes, points) float32, in metres
And of all of them, where it is known:
  faces                  (triangles, 3) int32: three vertices each, counted from 0

What nobody knew is NaN, and so is an array that only other meshes have. A frame whose arrays have another
number of points, or other triangles, begins the next archive. Other entries of the frames stay in the mesh
files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.export._archive import write_archive
from capture.export.meshes import WantedMesh
from capture.mesh_faces import NO_FACES, Int32, faces_of
from capture.mesh_frames import whole_number

_CHUNK_BYTES = 128 << 20
_POINTS = {"vertices": 2, "joints": 2, "vertex_uncertainties": 1, "joint_uncertainties": 1}
"""Axes of one person's array."""

Arrays = dict[str, npt.NDArray[Any]]


def write_meshes(frames: Iterable[WantedMesh], out: Path, done: Callable[[int], None]) -> int:
    """Write frames into archives; how many there are. `done` is told of the places passed."""
    chunk, files, passed = _Chunk(), 0, 0
    for place, at_ns, frame, metadata in frames:
        points, camera = _points_of(frame), _camera_of(frame)
        faces = _faces_of(points, metadata)
        if not chunk.takes(points, camera, faces):
            chunk.write(out / f"meshes-{files:03d}.npz")
            chunk, files = _Chunk(), files + 1
        number = whole_number(frame.get("frame_number"))
        stamp = (-1 if number is None else number, -1 if at_ns is None else at_ns)
        chunk.add(stamp, points, camera, faces)
        done(place + 1 - passed)
        passed = place + 1
    if chunk.stamps:
        chunk.write(out / f"meshes-{files:03d}.npz")
        files += 1
    return files


def _points_of(frame: dict[str, Any]) -> Arrays:
    """(people, ...) each, whatever axes there were before those of one person."""
    found = {}
    for name, own in _POINTS.items():
        array = frame.get(name)
        if isinstance(array, np.ndarray) and array.dtype.kind == "f" and array.ndim >= own:
            people = int(np.prod(array.shape[: array.ndim - own], dtype=np.int64))
            found[name] = array.reshape(people, *array.shape[array.ndim - own :])
    return found


def _faces_of(points: Arrays, metadata: object) -> Int32 | None:
    """The triangles of a frame's meshes; None where it has none, for it goes with any triangles."""
    vertices = points.get("vertices")
    if vertices is None or not len(vertices):
        return None
    faces = faces_of(metadata, vertices[0])
    return NO_FACES if faces is None else faces


def _camera_of(frame: dict[str, Any]) -> Arrays:
    camera = frame.get("camera")
    entries = camera.items() if isinstance(camera, dict) else ()
    arrays = {f"camera_{name}": np.asarray(each) for name, each in entries if isinstance(each, np.ndarray)}
    return {name: each for name, each in arrays.items() if each.dtype.kind in "fiu"}


class _Chunk:
    """Frames whose arrays go together."""

    def __init__(self) -> None:
        self.stamps: list[tuple[int, int]] = []
        self._people: list[int] = []
        self._points: list[Arrays] = []
        self._cameras: list[Arrays] = []
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._faces: Int32 | None = None
        self._bytes = 0

    def takes(self, points: Arrays, camera: Arrays, faces: Int32 | None) -> bool:
        if not self.stamps:
            return True
        if faces is not None and self._faces is not None and not np.array_equal(faces, self._faces):
            return False
        shapes = _shapes(points, camera)
        fits = all(self._shapes.get(name, shape) == shape for name, shape in shapes.items())
        return fits and self._bytes + sum(each.nbytes for each in points.values()) <= _CHUNK_BYTES

    def add(self, stamp: tuple[int, int], points: Arrays, camera: Arrays, faces: Int32 | None) -> None:
        self._shapes |= _shapes(points, camera)
        self._faces = faces if self._faces is None else self._faces
        self.stamps.append(stamp)
        self._people.append(max((len(each) for each in points.values()), default=0))
        self._points.append(points)
        self._cameras.append(camera)
        self._bytes += sum(each.nbytes for each in points.values())

    def write(self, path: Path) -> None:
        number, monotonic_ns = zip(*self.stamps, strict=True)
        arrays: Arrays = {
            "number": np.array(number, np.int64),
            "monotonic_ns": np.array(monotonic_ns, np.int64),
            "people": np.array(self._people, np.int64),
            "frame": np.repeat(np.arange(len(self._people)), self._people),
        }
        one_each = [1] * len(self._people)
        for name, shape in self._shapes.items():
            if name in _POINTS:
                arrays[name] = _stacked(name, shape, self._points, self._people)
            else:
                given = [{key: each[None] for key, each in camera.items()} for camera in self._cameras]
                arrays[name] = _stacked(name, shape, given, one_each)
        if self._faces is not None and len(self._faces):
            arrays["faces"] = self._faces
        write_archive(path, arrays)


def _shapes(points: Arrays, camera: Arrays) -> dict[str, tuple[int, ...]]:
    """Of one person, or one camera. A frame without people goes with every other."""
    of_people = {name: each.shape[1:] for name, each in points.items() if len(each)}
    return of_people | {name: each.shape for name, each in camera.items()}


def _stacked(name: str, shape: tuple[int, ...], given: list[Arrays], rows: list[int]) -> npt.NDArray[Any]:
    dtype = np.result_type(np.float32, *{each[name].dtype for each in given if name in each})
    stacked = np.full((sum(rows), *shape), np.nan, dtype)
    at = 0
    for arrays, count in zip(given, rows, strict=True):
        if name in arrays and count:
            stacked[at : at + count] = arrays[name]
        at += count
    return stacked
