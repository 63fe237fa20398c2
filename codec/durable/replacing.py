"""One file in the place of another, a name for a finished file, a file taken away: each in one step."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from codec.durable import system
from codec.durable.folders import sync_directory
from codec.durable.system import Name, storage_error
from codec.errors import StorageError


def write_atomically(path: Name, data: bytes, *, keep_mode: bool = False) -> None:
    """Replace a small file so that a reader finds the old content or the new, never a mixture.

    keep_mode: it is a file of the user's, whose mode stays as it is. Raises StorageError.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        fd = system.open_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            view = memoryview(data)
            while len(view):
                view = view[system.write(fd, view) :]
            if keep_mode and target.exists():
                system.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
            system.fsync(fd)
        finally:
            system.close(fd)
        system.rename(temporary, target)
    except OSError as error:
        remove_file(temporary)
        raise storage_error("write", target, error) from error
    sync_directory(target.parent)


def _take_after(new: Path, old: Path) -> None:
    """Give a file the mode, time and (where we may) owner of another."""
    status = old.stat()
    with contextlib.suppress(PermissionError):  # only root gives files away
        system.chown(new, status.st_uid, status.st_gid)
    system.chmod(new, stat.S_IMODE(status.st_mode))
    system.set_times(new, status.st_atime_ns, status.st_mtime_ns)


def replace_file(new: Name, old: Name) -> None:
    """Give a synced file the name, mode, time and (where we may) owner of another, which is then gone.

    At every moment the name stands for the whole old file or the whole new one. Raises StorageError.
    """
    source, target = Path(new), Path(old)
    try:
        _take_after(source, target)
        system.rename(source, target)
    except OSError as error:
        raise storage_error("replace", target, error) from error
    sync_directory(target.parent)


def publish_file(new: Name, name: Name) -> None:
    """Give a synced file the name it was written for, unless there is a file of that name by now.

    Raises StorageError, also where there is one.
    """
    source, target = Path(new), Path(name)
    try:
        try:
            system.link(source, target)  # refuses where the name is taken, in one step
        except FileExistsError:
            raise StorageError(f"{target} exists already and is never overwritten") from None
        except OSError:  # a file system without links; whoever takes the name now is faster than anybody is
            if target.exists():
                raise StorageError(f"{target} exists already and is never overwritten") from None
            system.rename(source, target)
        else:
            system.unlink(source)
    except OSError as error:
        raise storage_error("create", target, error) from error
    sync_directory(target.parent)


def supersede_file(new: Name, name: Name, old: Name) -> None:
    """Give a synced file a name of its own, with the mode and time of `old`, and then take `old` away.

    At every moment one of the two is there, and after a kill between the steps both. Raises StorageError,
    also where the name is taken.
    """
    source, former = Path(new), Path(old)
    try:
        _take_after(source, former)
    except OSError as error:
        raise storage_error("replace", former, error) from error
    publish_file(source, name)
    delete_file(former)


def delete_file(path: Name) -> None:
    """Take a file away, and make that survive a power cut. Raises StorageError."""
    former = Path(path)
    try:
        system.unlink(former)
    except OSError as error:
        raise storage_error("take away", former, error) from error
    sync_directory(former.parent)


def remove_file(path: Name) -> None:
    """Take a file away, as far as the disk allows it: for what nobody will miss."""
    with contextlib.suppress(OSError):  # a disk that is read-only by now refuses this as well
        system.unlink(path)


def drop_from_memory(path: Name) -> None:
    """Ask the system to forget its copy of a synced file, so that the next read comes from the disk."""
    with contextlib.suppress(OSError):  # where it cannot, the read comes from memory
        fd = system.open_file(path, os.O_RDONLY)
        try:
            system.drop_pages(fd)
        finally:
            system.close(fd)
