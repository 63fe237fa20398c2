"""Short measurements on this machine: what the codec costs, what the disk takes, what memory is free."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from codec.depth import DepthCodec, get_codec
from codec.errors import StorageError

if TYPE_CHECKING:
    from codec.mesh.cost import MeshCost

_CODEC_TRIAL_S = 0.7
_JPEG_TRIAL_S = 0.5
_DISK_TRIAL_S = 2.0
_DISK_TRIAL_BYTES = 256 << 20
_CODEC_TRIAL_SIZE = (848, 480)  # what most rigs record: caches and tables count
_CODEC_TRIAL_LOOP_S = 0.1
_STRIP_ROWS = 16
_LONGEST_FRAME_S = 2.0
_BLOCK_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class CodecTrial:
    """CPU per pixel of one thread, and by how much depth shrinks."""

    ns_per_pixel: float
    ratio: float


def depth_codecs(names: Sequence[str], *, seconds: float = _CODEC_TRIAL_S) -> dict[str, CodecTrial]:
    """Compress the same simulated D435 frames with each codec for so many CPU seconds, in the order given.

    One that takes seconds for a frame (max without its kernel) is judged by the upper rows of one.
    """
    from capture.sources.simulated import render_loop
    from capture.specs import SimulatedSpec, StreamSpec

    spec = SimulatedSpec(depth=StreamSpec(*_CODEC_TRIAL_SIZE, 30.0), loop_s=_CODEC_TRIAL_LOOP_S)
    loop = render_loop(spec, color_format="jpeg")
    return {name: _try_codec(get_codec(name), loop.depth, seconds) for name in names}


def _try_codec(codec: DepthCodec, frames: Sequence[npt.NDArray[np.uint16]], seconds: float) -> CodecTrial:
    strip = frames[0][:_STRIP_ROWS]
    started_s = time.process_time()
    packed = len(codec.encode(strip))
    spent_s = time.process_time() - started_s
    if spent_s * frames[0].size > _LONGEST_FRAME_S * strip.size:
        return CodecTrial(1e9 * spent_s / strip.size, strip.nbytes / packed)
    codec.encode(frames[0])  # its buffers
    pixels = raw = packed = 0
    started_s = time.process_time()
    for frame in itertools.cycle(frames):
        packed += len(codec.encode(frame))
        pixels, raw = pixels + frame.size, raw + frame.nbytes
        if (spent_s := time.process_time() - started_s) > seconds:
            break
    return CodecTrial(1e9 * spent_s / pixels, raw / packed)


def mesh_codecs() -> dict[str, MeshCost]:
    """What a person of 6890 points costs in a mesh file of either kind; takes two seconds."""
    from capture.body.procedural import procedural_body
    from codec.mesh.cost import mesh_costs

    return mesh_costs(1000 * procedural_body().template_vertices)


def jpeg_encode(quality: int, *, seconds: float = _JPEG_TRIAL_S) -> float:
    """CPU nanoseconds per pixel of turning bare colour into JPEG."""
    import cv2

    rows = np.linspace(0, 255, 480, dtype=np.float32)[:, None, None]
    noise = np.random.default_rng(0).normal(0, 8, (480, 640, 3)).astype(np.float32)
    picture = np.clip(rows + noise, 0, 255).astype(np.uint8)
    pixels, started_s = 0, time.process_time()
    while time.process_time() - started_s < seconds:
        cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, quality))
        pixels += picture.shape[0] * picture.shape[1]
    return 1e9 * (time.process_time() - started_s) / pixels


def disk_trial_path(folder: Path, pid: int) -> Path:
    """The file that the process with that pid tries the disk with."""
    return folder / f".nightrig-trial-{pid}"


def disk_write(folder: Path, *, seconds: float = _DISK_TRIAL_S, most_bytes: int = _DISK_TRIAL_BYTES) -> float:
    """MB/s that reach the disk (written and synced), into a file that is removed again.

    Raises StorageError where the folder cannot be written.
    """
    path = disk_trial_path(folder, os.getpid())
    most_bytes = min(most_bytes, _free_bytes(folder) // 4)  # a trial must not be what fills the disk
    block = np.random.default_rng(0).bytes(_BLOCK_BYTES)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"cannot write in {folder}: {error.strerror}") from error
    written, started_s = 0, time.monotonic()
    try:
        while written < most_bytes and time.monotonic() - started_s < seconds:
            written += os.write(fd, block[: most_bytes - written])
            os.fdatasync(fd)
    except OSError as error:
        raise StorageError(f"cannot write in {folder}: {error.strerror}") from error
    finally:
        os.close(fd)
        path.unlink()
    return written / 1e6 / (time.monotonic() - started_s)


def _free_bytes(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError as error:
        raise StorageError(f"cannot write in {folder}: {error.strerror}") from error


def available_memory() -> int:
    """Bytes the kernel would give without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
