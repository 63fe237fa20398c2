"""Folders: names in them that survive a power cut, and the room on their disk."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from codec.durable import system
from codec.durable.system import Name, free_bytes, storage_error
from codec.errors import DiskFullError, StorageError

_MB = 1 << 20


def sync_directory(path: Name) -> None:
    """Make the names in a directory survive a power cut. Raises StorageError."""
    try:
        fd = system.open_file(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise storage_error("open the folder", path, error) from error
    try:
        system.fsync(fd)
    except OSError as error:
        # Some network and FUSE file systems have no such call for folders; nothing more can be done there.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise storage_error("sync the folder", path, error) from error
    finally:
        system.close(fd)


def make_directory(path: Name) -> Path:
    """Create a folder (and its parents) and make its name survive. Raises StorageError."""
    folder = Path(path)
    made = [folder]  # or there already, but perhaps made by somebody who never synced it
    try:
        while not made[-1].parent.exists():
            made.append(made[-1].parent)
        for each in reversed(made):
            _make_unless_there(each)
    except OSError as error:
        raise storage_error("create the folder", folder, error) from error
    for each in made:
        sync_directory(each.parent)
    return folder


def _make_unless_there(folder: Path) -> None:
    try:
        system.mkdir(folder)
    except OSError:  # on some systems a folder that is there is first of all on a read-only disk
        if not folder.is_dir():
            raise


def make_new_directory(path: Name) -> Path:
    """Create a folder that nobody has, and make its name survive. Raises StorageError, and FileExistsError
    where the name is taken."""
    folder = Path(path)
    try:
        system.mkdir(folder)
    except FileExistsError:
        raise
    except OSError as error:
        raise storage_error("create the folder", folder, error) from error
    try:
        sync_directory(folder.parent)
    except StorageError:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise
    return folder


def require_room(folder: Name, wanted_bytes: int) -> None:
    """Raise DiskFullError where fewer bytes than that are free for us, StorageError where nothing tells."""
    free = free_bytes(folder)
    if free < wanted_bytes:
        raise DiskFullError(
            f"{folder}: {free / _MB:.0f} MB free, {wanted_bytes / _MB:.0f} MB needed: make room first"
        )
