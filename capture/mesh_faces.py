"""The triangles of recorded meshes: which vertices make one, told once for a whole stream.

An estimator that knows them says so in its mesh stream's StreamInfo, as text; the writer puts them as an
array into the metadata of each mesh file. A number of points says nothing of them: other bodies of as many
have others. Older recordings name none; meshes of our own body are recognised by their shape.
"""

from __future__ import annotations

import base64
import binascii
import io
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.given_files import read_small
from codec.errors import FormatError, StorageError

Int32 = npt.NDArray[np.int32]

NO_FACES: Final[Int32] = np.zeros((0, 3), np.int32)
METADATA_KEY: Final = "faces"
_FACES_MAX: Final = 1 << 20
_LONGEST_EDGE: Final = 0.2
"""Of the body's extent. Of our own body in any pose it is 0.05; with triangles of another body, 0.7."""


def checked_faces(array: npt.NDArray[Any]) -> Int32:
    """Triangles (F, 3) of whole numbers from 0. Raises ValueError for what is none."""
    if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != 3:
        raise ValueError(f"triangles are whole numbers (triangles, 3), not {array.dtype} {array.shape}")
    if not 0 < len(array) <= _FACES_MAX:
        raise ValueError(f"{len(array)} triangles; from 1 to {_FACES_MAX} are expected")
    if array.min() < 0 or array.max() > np.iinfo(np.int32).max:
        raise ValueError("triangles name vertices by their numbers from 0")
    return array.astype(np.int32)


def pack_faces(faces: npt.NDArray[np.integer]) -> str:
    """(F, 3) as the text of StreamInfo.faces: some kilobytes. Raises ValueError for what is no triangles."""
    steps = np.diff(checked_faces(faces).ravel(), prepend=np.int32(0)).astype("<i4")
    return base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode("ascii")


def unpack_faces(text: str) -> Int32 | None:
    """(F, 3) int32; None for "", which says that nobody knows them. Raises ValueError for any other text."""
    if not text:
        return None
    try:
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(base64.b64decode(text, validate=True), 12 * _FACES_MAX)
    except (binascii.Error, zlib.error) as error:
        raise ValueError("packed triangles that are none") from error
    if not unpacking.eof or len(data) % 12:
        raise ValueError("packed triangles that are cut off")
    numbers = np.cumsum(np.frombuffer(data, "<i4"), dtype=np.int64)
    return checked_faces(numbers.reshape(-1, 3))


def mesh_metadata(camera: Mapping[str, Any]) -> dict[str, Any]:
    """What stands at the head of the mesh files of an estimator, from asdict() of its CameraInfo."""
    metadata: dict[str, Any] = {"camera": {key: camera[key] for key in ("name", "backend", "model")}}
    for stream in camera["streams"]:
        if stream["pixel_format"] == "mesh" and stream.get("faces"):
            metadata[METADATA_KEY] = unpack_faces(stream["faces"])
    return metadata


def faces_of(metadata: object, vertices: npt.NDArray[Any]) -> Int32 | None:
    """The triangles of a mesh (vertices, 3) in a file with that metadata; None where nobody knows them."""
    told = metadata.get(METADATA_KEY) if isinstance(metadata, Mapping) else None
    if isinstance(told, np.ndarray):
        try:
            faces = checked_faces(told)
        except ValueError:
            return None
        return faces if faces.max() < len(vertices) else None
    return _own_faces(vertices)


def _own_faces(vertices: npt.NDArray[Any]) -> Int32 | None:
    """Those of our body where they fit: what is joined by an edge then lies side by side."""
    from capture.body.procedural import procedural_body  # a fraction of a second, for old recordings only

    body = procedural_body()
    if len(vertices) != len(body.template_vertices):
        return None
    points = np.asarray(vertices, np.float32)
    extent = float(np.linalg.norm(np.ptp(points, axis=0)))
    corners = points[body.faces]
    edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    # Written so that it is false for coordinates that are not finite, too.
    return body.faces if extent > 0 and float(edges.max()) < _LONGEST_EDGE * extent else None


def read_faces(path: Path) -> Int32:
    """The triangles in a file of a user's: a SMPL model (.pkl, .npz), or an array (triangles, 3) (.npy).

    Raises FormatError and StorageError, which name the file.
    """
    if path.suffix.lower() != ".npy":
        from capture.body.model_files import read_body_model

        return read_body_model(path).faces
    try:
        array = np.load(io.BytesIO(read_small(path)), allow_pickle=False)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, EOFError, MemoryError) as error:
        raise FormatError(f"{path} is no .npy file that can be read") from error
    try:
        return checked_faces(np.asarray(array))
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error
