"""Every call by which the rest of codec.durable touches a disk, through one object that can be replaced.

`calls` is that object. A test, or a campaign inside a child process, puts another one in its place to let
the k-th call fail with ENOSPC, EIO, EINTR or a short write; nothing else here goes round it. The functions
add two things: a call that a signal broke off is made again (Python does so itself for most calls, not for
those that take names, which network and FUSE file systems do break off), and an OSError becomes one of our
errors by storage_error().
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from codec.errors import DiskFullError, StorageError

Chunk = bytes | bytearray | memoryview
Name = str | os.PathLike[str]
_Answer = TypeVar("_Answer")


class Calls:
    """The calls themselves, as the system has them."""

    open = staticmethod(os.open)
    close = staticmethod(os.close)
    write = staticmethod(os.write)
    writev = staticmethod(os.writev)
    pwrite = staticmethod(os.pwrite)
    pread = staticmethod(os.pread)
    fdatasync = staticmethod(os.fdatasync)
    fsync = staticmethod(os.fsync)
    ftruncate = staticmethod(os.ftruncate)
    lseek = staticmethod(os.lseek)
    fstat = staticmethod(os.fstat)
    rename = staticmethod(os.rename)
    link = staticmethod(os.link)
    unlink = staticmethod(os.unlink)
    mkdir = staticmethod(os.mkdir)
    chown = staticmethod(os.chown)
    chmod = staticmethod(os.chmod)
    utime = staticmethod(os.utime)
    statvfs = staticmethod(os.statvfs)
    flock = staticmethod(fcntl.flock)
    fadvise = staticmethod(os.posix_fadvise)


calls = Calls()


def storage_error(action: str, path: Name, error: OSError) -> StorageError:
    """ "cannot <action> <path>: why", as the kind of error that says whether it is for want of room."""
    kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else StorageError
    return kind(f"cannot {action} {path}: {error.strerror or error}")


def _until_done(call: Callable[[], _Answer]) -> _Answer:
    while True:
        try:
            return call()
        except InterruptedError:
            continue


def open_file(path: Name, flags: int, mode: int = 0o644) -> int:
    """A descriptor, which no child inherits."""
    return _until_done(lambda: calls.open(path, flags | os.O_CLOEXEC, mode))


def close(fd: int) -> None:
    """Never fails, and is never made again: the descriptor is gone whatever the answer was, and what a file
    promises it promised by its last sync."""
    try:
        calls.close(fd)
    except OSError:
        return


def writev(fd: int, chunks: Sequence[memoryview]) -> int:
    """How many bytes it took, which may be fewer than there are."""
    return _until_done(lambda: calls.writev(fd, chunks))


def write(fd: int, chunk: Chunk) -> int:
    """How many bytes it took, which may be fewer than there are."""
    return _until_done(lambda: calls.write(fd, chunk))


def pwrite(fd: int, chunk: Chunk, offset: int) -> int:
    """How many bytes it took, which may be fewer than there are."""
    return _until_done(lambda: calls.pwrite(fd, chunk, offset))


def pread(fd: int, length: int, offset: int) -> bytes:
    """Up to that many bytes."""
    return _until_done(lambda: calls.pread(fd, length, offset))


def fdatasync(fd: int) -> None:
    """The content, and what is needed to find it."""
    _until_done(lambda: calls.fdatasync(fd))


def fsync(fd: int) -> None:
    """Everything, of a folder its names."""
    _until_done(lambda: calls.fsync(fd))


def ftruncate(fd: int, size: int) -> None:
    """Cut (or extend) a file, and leave its position where it was."""
    _until_done(lambda: calls.ftruncate(fd, size))


def seek(fd: int, offset: int) -> None:
    """The next write goes there."""
    _until_done(lambda: calls.lseek(fd, offset, os.SEEK_SET))


def fstat(fd: int) -> os.stat_result:
    """Of an open file."""
    return _until_done(lambda: calls.fstat(fd))


def rename(old: Name, new: Name) -> None:
    """In one step, in the place of what has that name."""
    _until_done(lambda: calls.rename(old, new))


def link(old: Name, new: Name) -> None:
    """A second name, refused where it is taken."""
    _until_done(lambda: calls.link(old, new))


def unlink(path: Name) -> None:
    """Take a name away."""
    _until_done(lambda: calls.unlink(path))


def mkdir(path: Name) -> None:
    """One folder, refused where there is one."""
    _until_done(lambda: calls.mkdir(path))


def chown(path: Name, user: int, group: int) -> None:
    """Give a file to somebody."""
    _until_done(lambda: calls.chown(path, user, group))


def chmod(path: Name, mode: int) -> None:
    """What who may do with it."""
    _until_done(lambda: calls.chmod(path, mode))


def set_times(path: Name, accessed_ns: int, modified_ns: int) -> None:
    """When it was used and changed."""
    _until_done(lambda: calls.utime(path, ns=(accessed_ns, modified_ns)))


def free_bytes(path: Name) -> int:
    """What we may still write on the disk of a folder. Raises StorageError."""
    try:
        disk = _until_done(lambda: calls.statvfs(path))
    except OSError as error:
        raise storage_error("look at the disk of", Path(path), error) from error
    return disk.f_bavail * disk.f_frsize


def try_lock(fd: int) -> bool:
    """False where another open file has the lock. The kernel lets go of it when the last holder dies."""
    try:
        _until_done(lambda: calls.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks, or without locks for those who only read (NFS)
    return True


def drop_pages(fd: int) -> None:
    """Forget the copy in memory of a synced file."""
    _until_done(lambda: calls.fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED))
