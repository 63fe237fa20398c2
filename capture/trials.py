"""Short measurements on this machine: what the codec costs, what the disk takes, what memory is free."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codec.depth import get_codec
from codec.errors import StorageError

_CODEC_TRIAL_S = 2.0
_JPEG_TRIAL_S = 0.5
_DISK_TRIAL_S = 2.0
_DISK_TRIAL_BYTES = 256 << 20
_BLOCK_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class CodecTrial:
    """CPU per pixel of one thread, and by how much depth shrinks."""

    ns_per_pixel: float
    ratio: float


def depth_codec(name: str, *, seconds: float = _CODEC_TRIAL_S) -> CodecTrial:
    """Compress simulated D435 frames for a while."""
    from capture.sources.simulated import render_loop
    from capture.specs import SimulatedSpec, StreamSpec

    loop = render_loop(SimulatedSpec(depth=StreamSpec(424, 240, 30.0), loop_s=0.2), color_format="jpeg")
    codec = get_codec(name)
    pixels = raw = packed = 0
    frames = list(loop.depth)
    codec.encode(frames[0])
    started_s = time.process_time()
    while time.process_time() - started_s < seconds:
        for frame in frames:
            packed += len(codec.encode(frame))
            pixels, raw = pixels + frame.size, raw + frame.nbytes
    return CodecTrial(1e9 * (time.process_time() - started_s) / pixels, raw / packed)


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


def disk_write(folder: Path) -> float:
    """MB/s that reach the disk (written and synced), into a file that is removed again.

    Raises StorageError where the folder cannot be written.
    """
    path = folder / f".nightrig-trial-{os.getpid()}"
    block = np.random.default_rng(0).bytes(_BLOCK_BYTES)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"cannot write in {folder}: {error.strerror}") from error
    written, started_s = 0, time.monotonic()
    try:
        while written < _DISK_TRIAL_BYTES and time.monotonic() - started_s < _DISK_TRIAL_S:
            written += os.write(fd, block)
            os.fdatasync(fd)
    except OSError as error:
        raise StorageError(f"cannot write in {folder}: {error.strerror}") from error
    finally:
        os.close(fd)
        path.unlink()
    return written / 1e6 / (time.monotonic() - started_s)


def available_memory() -> int:
    """Bytes the kernel would give without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
