"""Journals: text files to which several processes append whole lines."""

from __future__ import annotations

import os
from pathlib import Path

from codec.durable import system
from codec.durable.system import Name, storage_error


def append_line(path: Name, line: bytes, *, synced: bool = False) -> None:
    """Append one line to a file, which is made where there is none; other processes may append as well.

    The line is in it as a whole or not at all, and behind a torn one (a power cut, a full disk) it begins
    anew. With `synced` it is on the disk when this returns. Raises StorageError.
    """
    target = Path(path)
    try:
        fd = system.open_file(target, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            _append(fd, line.rstrip(b"\n") + b"\n")
            if synced:
                system.fdatasync(fd)
        finally:
            system.close(fd)
    except OSError as error:
        raise storage_error("write", target, error) from error


def _append(fd: int, line: bytes) -> None:
    start = system.fstat(fd).st_size
    if start and system.pread(fd, 1, start - 1) != b"\n":
        line = b"\n" + line
    view = memoryview(line)
    try:
        while len(view):  # in one piece, but for a disk that is just becoming full
            view = view[system.write(fd, view) :]
    except OSError:
        written = len(line) - len(view)
        if written and system.fstat(fd).st_size == start + written:  # else another's line stands behind it
            system.ftruncate(fd, start)
        raise
