"""Who writes a file holds it: a lock that others see and that dies with its holder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from codec.durable import system
from codec.durable.system import Name, storage_error
from codec.errors import FileBusyError


@contextlib.contextmanager
def hold(path: Name) -> Iterator[None]:
    """Keep a file or folder for this program while the block runs; nobody waits, a second one is refused.

    Raises FileBusyError where another program (or another open file of this one) holds it or writes it,
    and StorageError where it cannot be opened.
    """
    fd = _open_held(Path(path))
    try:
        yield
    finally:
        system.close(fd)


def _open_held(path: Path) -> int:
    while True:
        try:
            fd = system.open_file(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise storage_error("open", path, error) from error
        try:
            if not system.try_lock(fd):
                raise FileBusyError(
                    f"{path} is in use: another program records to it or recompresses it; wait for its end"
                )
            if os.path.samestat(system.fstat(fd), path.stat()):
                return fd
        except OSError as error:
            system.close(fd)
            raise storage_error("open", path, error) from error
        except BaseException:
            system.close(fd)
            raise
        system.close(fd)  # replaced before we had it: what we hold has lost its name to another file
