"""The mesh files of a session: one series of bodycompress-compatible files beside the parameters.

Used by the writer's thread alone. A new writer process begins a new file, as with record files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from capture import session
from capture.ring import RingFrame
from codec import durable
from codec.mesh import MeshWriter


class MeshSeries:
    """Appends mesh frames (millimetres, vertices then joints) to people/mesh-NNN.xz."""

    def __init__(self, folder: Path, *, metadata: dict[str, Any], preset: int) -> None:
        self._folder, self._metadata, self._preset = folder, metadata, preset
        self._writer: MeshWriter | None = None

    def append(self, frame: RingFrame) -> int:
        """Append one frame; returns its uncompressed bytes as the file's share is known only later."""
        if self._writer is None:
            durable.make_directory(self._folder)
            number = session.next_segment_number(self._folder, prefix=session.MESH_PREFIX, suffix="xz")
            path = session.segment_path(self._folder, number, prefix=session.MESH_PREFIX, suffix="xz")
            self._writer = MeshWriter(path, metadata=self._metadata, preset=self._preset)
        split = int(json.loads(frame.meta)["vertices"])
        before = self._writer.file_bytes
        self._writer.append(
            vertices=frame.data[:, :split],
            joints=frame.data[:, split:],
            frame_number=frame.number,
            monotonic_ns=frame.monotonic_ns,
        )
        return self._writer.file_bytes - before

    def close(self) -> None:
        """Close the file; every frame is in it."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
