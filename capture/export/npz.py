"""`npz`: NumPy archives, `<camera>/<stream>-000.npz` and on, each of at most 128 MB of pixels.

data            (frames, height, width) uint16, uint8 or float32; colour (..., 3) uint8 in OpenCV's order BGR
number, epoch   of each frame
device_time_s   NaN where the device has no clock
monotonic_ns    this host's monotonic clock

Meshes lie beside them, see npz_meshes. They belong to no camera, so that --camera leaves them out.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.export._archive import write_archive
from capture.export._job import ExportJob, counted
from capture.export.meshes import wanted_meshes
from capture.export.npz_meshes import write_meshes
from capture.recording import RecordedFrame, RecordedStream

_CHUNK_BYTES = 128 << 20
_FORMATS = ("z16", "jpeg", "bgr8", "y8", "f32")


def run(job: ExportJob) -> None:
    """Write every selected stream, and the meshes. Raises ConfigError or StorageError."""
    meshes = 0 if job.selection.cameras else job.recording.mesh_count()
    cameras = job.streams(_FORMATS, needed=not meshes)
    plan = [
        (stream, camera, job.chosen(stream.monotonic_ns()).tolist())
        for camera, streams in cameras.items()
        for stream in streams
    ]
    frames = sum(len(indices) for _, _, indices in plan)
    wanted = wanted_meshes(job) if meshes else iter(())
    first = list(islice(wanted, 1))  # read before anything is created: there may be none
    done = job.start(frames + meshes, selected=frames + len(first))
    for stream, camera, indices in plan:
        job.files += _write_stream(stream, job.folder(camera, cameras), indices, done)
    job.files += write_meshes(chain(first, wanted), job.out, done)


def _write_stream(
    stream: RecordedStream, folder: Path, indices: list[int], done: Callable[[int], None]
) -> int:
    """How many files it took."""
    chunk: _Chunk | None = None
    files = 0
    for _, frame in stream.frames(counted(indices, done)):
        if chunk is not None and not chunk.takes(frame):
            chunk.write(folder / f"{stream.info.name}-{files:03d}.npz")
            chunk, files = None, files + 1
        if chunk is None:
            chunk = _Chunk(frame, most=len(indices))
        chunk.add(frame)
    if chunk is not None:
        chunk.write(folder / f"{stream.info.name}-{files:03d}.npz")
        files += 1
    return files


class _Chunk:
    """Frames of one shape; their pixels are held once."""

    def __init__(self, first: RecordedFrame, *, most: int) -> None:
        room = min(most, max(1, _CHUNK_BYTES // max(1, first.data.nbytes)))
        self._data: npt.NDArray[Any] = np.empty((room, *first.data.shape), first.data.dtype)
        self._stamps: list[tuple[int, int, float, int]] = []

    def takes(self, frame: RecordedFrame) -> bool:
        fits = frame.data.shape == self._data.shape[1:] and frame.data.dtype == self._data.dtype
        return fits and len(self._stamps) < len(self._data)

    def add(self, frame: RecordedFrame) -> None:
        self._data[len(self._stamps)] = frame.data
        device_s = float("nan") if frame.device_time_s is None else frame.device_time_s
        self._stamps.append((frame.number, frame.epoch, device_s, frame.monotonic_ns))

    def write(self, path: Path) -> None:
        number, epoch, device_s, monotonic_ns = zip(*self._stamps, strict=True)
        arrays: dict[str, npt.NDArray[Any]] = {
            "data": self._data[: len(self._stamps)],
            "number": np.array(number, np.uint64),
            "epoch": np.array(epoch, np.uint32),
            "device_time_s": np.array(device_s, np.float64),
            "monotonic_ns": np.array(monotonic_ns, np.int64),
        }
        write_archive(path, arrays)
