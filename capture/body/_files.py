"""Opening a file that a user handed us: a regular one, of a size that a model can have."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from codec.errors import FormatError, StorageError

MAX_FILE_BYTES: Final = 1 << 29
"""SMPL with 300 shape directions and everything it was trained with stays below half of this."""


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, int]]:
    """The open file and its size in bytes. Raises StorageError, and FormatError where it is too large."""
    try:
        # Not to wait for the other end of a pipe that somebody took for a file.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no path
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise StorageError(f"cannot read {Path(path)}: it is not a file")
            if status.st_size > MAX_FILE_BYTES:
                raise FormatError(
                    f"{Path(path)} has {status.st_size >> 20} MB, a model {MAX_FILE_BYTES >> 20} at most: "
                    "it is something else"
                )
            yield file, status.st_size
    except OSError as error:
        raise StorageError(f"cannot read {Path(path)}: {error.strerror or error}") from error
