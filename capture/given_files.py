"""Files that a person, a rig or another file names: recordings to play, lists, settings, calibrations.

What is named may be no name at all, may be a pipe, and a file of a few hundred bytes on the disk may claim
to be terabytes. Here a name that is none is a file that is not there, and no more is read than such a file
can need.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

SETTINGS_BYTES_MAX = 16 << 20
"""More than any settings, list of pictures or session.json of a night has."""


def given_path(text: str) -> Path:
    """A path as it was written, with ~ for a home folder; one of nobody's home stays as it is."""
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def exists(path: Path) -> bool:
    """False, too, where the name is too long or none at all, or where it may not be looked at."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """The same, of files."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_small(path: Path, bytes_max: int = SETTINGS_BYTES_MAX) -> bytes:
    """All of a file. Raises OSError, also for one that is larger, and ValueError for a name that is none."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # not to wait at a pipe
    with os.fdopen(fd, "rb") as file:
        size = os.fstat(fd).st_size
        content = b"" if size > bytes_max else file.read(bytes_max + 1)
    if content is None:
        raise OSError(errno.EINVAL, "it is not a file", str(path))
    if max(size, len(content)) > bytes_max:
        raise OSError(errno.EFBIG, f"it is larger than {bytes_max >> 20} MB", str(path))
    return content
