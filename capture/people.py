"""The mesh files of a session: one series of them beside the parameters, of either kind.

Used by the writer's thread alone. A new writer process begins a new file, as with record files.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from capture import session
from capture.ring import RingFrame
from codec import durable
from codec.errors import CodecError, FormatError, StorageError
from codec.mesh import MeshReader, MeshWriter

_NATIVE_SEGMENT_S = 1.75
"""With what is being compressed when a process is killed, that costs two seconds at most."""


class MeshSeries:
    """Appends mesh frames (millimetres, vertices then joints) to people/mesh-NNN.xz, or .nrm.

    codec: "bodycompress" or "native"; preset: of the first.
    """

    def __init__(
        self, folder: Path, *, metadata: dict[str, Any], codec: str, preset: int | Literal["auto"]
    ) -> None:
        self._folder, self._metadata, self._codec = folder, metadata, codec
        own = {"segment_s": _NATIVE_SEGMENT_S} if codec == "native" else {"preset": preset}
        self._settings: dict[str, Any] = {**own, "by_frame_time": True}
        self._writer: MeshWriter | None = None
        self._lost = 0

    @property
    def is_behind(self) -> bool:
        """True while compressing lags: the frame should wait in its ring, where it is in nobody's way."""
        return self._writer is not None and self._writer.is_behind

    def append(self, frame: RingFrame) -> int:
        """Append one frame; returns by how much the file has grown (it grows once a second).

        Raises StorageError, and the next call then begins another file; CodecError for what is no mesh.
        """
        split = _vertices_in(frame)
        if self._writer is None:
            durable.make_directory(self._folder)
            path = session.next_mesh_path(self._folder, self._codec)
            self._writer = MeshWriter(path, codec=self._codec, metadata=self._metadata, **self._settings)
        points = cast("npt.NDArray[np.float32]", frame.data)
        before, taken = self._writer.size_bytes, self._writer.frames_total
        try:
            self._writer.append(
                vertices=points[:, :split],
                joints=points[:, split:],
                frame_number=frame.number,
                monotonic_ns=frame.monotonic_ns,
            )
        except StorageError as error:
            broken, self._writer = self._writer, None
            with contextlib.suppress(StorageError):
                broken.close()
            lost = taken - broken.frames_stored
            self._lost += lost
            unsure = broken.frames_stored - broken.frames_written
            told = [f"{lost} meshes of {broken.path} are lost"] if lost else []
            told += [f"the last {unsure} of {broken.path} may be"] if unsure else []
            raise StorageError("; ".join([str(error), *told])) from error
        return self._writer.size_bytes - before

    def on_disk(self) -> tuple[int, int]:
        """How many whole meshes the files hold that were begun so far (a torn one counts up to its tear),
        and when the newest was taken, in monotonic ns; 0 where nothing says."""
        count = newest_ns = 0
        for path in session.list_meshes(self._folder):
            with contextlib.suppress(FormatError, StorageError), MeshReader(path) as meshes:
                count += len(meshes)
                if len(meshes):
                    taken_ns = meshes[-1].get("monotonic_ns")
                    newest_ns = max(newest_ns, taken_ns if isinstance(taken_ns, int) else 0)
        return count, newest_ns

    def take_lost(self) -> int:
        """How many frames were appended and then refused by the disk, since the last call."""
        lost, self._lost = self._lost, 0
        return lost

    def close(self) -> None:
        """Close the file; every frame is in it. Raises StorageError, and take_lost() says what was lost."""
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            finally:
                self._lost += writer.frames_total - writer.frames_stored


def _vertices_in(frame: RingFrame) -> int:
    """How many of the points are vertices. Estimators that others wrote may not say it, or say it wrong."""
    try:
        count = json.loads(frame.meta)["vertices"]
    except (ValueError, KeyError, TypeError):
        count = None
    if type(count) is not int or frame.data.ndim != 3 or not 0 <= count <= frame.data.shape[1]:
        raise CodecError('a mesh is (people, points, 3), and its meta says "vertices": how many are vertices')
    return count
