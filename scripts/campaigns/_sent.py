"""What a test camera has sent: a log of its own, kept outside everything that is being tried.

One fixed-size entry per frame, appended with a single write before the frame is handed on, so that
whatever is killed afterwards, the frame stands in the log. A torn last entry is left out.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

SENT = np.dtype(
    [
        ("number", "<u8"),
        ("monotonic_ns", "<i8"),
        ("crc", "<u4"),
        ("epoch", "<u4"),
        ("process", "<u4"),
        ("stream", "u1"),
        ("kind", "u1"),
        ("padding", "u1", 2),
    ]
)
"""One entry: a frame number of an epoch, when, by which process, and the CRC-32 of its pixels (or of its
JPEG file; 0 where the recorder makes another file of it)."""

DELIVERED, SKIPPED = 1, 2
"""A frame that was handed on; a number that the camera lost itself (see `Faults.skip`)."""


class SentLog:
    """The log of one camera, for the camera's side. Its processes append one after the other."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._entry = np.zeros(1, SENT)
        self._entry["process"] = os.getpid()

    def note(self, kind: int, *, stream: int, epoch: int, number: int, monotonic_ns: int, crc: int) -> None:
        """Append one entry."""
        entry = self._entry
        entry["kind"], entry["stream"], entry["epoch"] = kind, stream, epoch
        entry["number"], entry["monotonic_ns"], entry["crc"] = number, monotonic_ns, crc
        os.write(self._fd, entry.tobytes())

    def close(self) -> None:
        os.close(self._fd)


def read_sent(path: Path) -> npt.NDArray[np.void]:
    """Every whole entry; none where the camera never opened its log."""
    data = path.read_bytes() if path.exists() else b""
    return np.frombuffer(data[: len(data) // SENT.itemsize * SENT.itemsize], SENT)
