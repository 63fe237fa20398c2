"""The one module that opens, appends, syncs, renames and truncates. Everybody writes through it.

What it promises: an append is whole or not there at all, as far as the running system is concerned; a
file it created survives a power cut with its name and everything up to the last successful sync(); an
existing file is never overwritten by create; after a failed sync a file takes no more appends, because
Linux reports a lost page once and then calls it clean; a file that is being written is held, and
hold() tells others so.

What it cannot promise: what a drive does with a cache it does not flush. The degree to which sync()
reaches the platter depends on the file system and the hardware. Where a file system has no locks, nothing
is ever held.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from codec.errors import DiskFullError, FileBusyError, StorageError

Chunk = bytes | bytearray | memoryview

# Linux takes at most 1024 pieces in one writev.
_IOV_MAX = 1024
_MB = 1 << 20


def _storage_error(action: str, path: Path, error: OSError) -> StorageError:
    kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else StorageError
    return kind(f"cannot {action} {path}: {error.strerror or error}")


class AppendFile:
    """A file that only grows, in whole pieces, held until it is closed (see hold).

    Used by one thread, except sync(), which any may call.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Create the file; an existing one is an error. Raises StorageError."""
        self.path = Path(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            self._fd = os.open(self.path, flags, 0o644)
        except FileExistsError:
            raise StorageError(f"{self.path} exists already and is never overwritten") from None
        except OSError as error:
            raise _storage_error("create", self.path, error) from error
        _try_lock(self._fd)
        self._lock = threading.Lock()  # keeps close() away from a sync() under way
        self._poison: str | None = None
        self._dirty = False
        self.size = 0
        self.synced_size = 0
        try:
            sync_directory(self.path.parent)
        except StorageError:
            self.discard()
            raise

    def append(self, *chunks: Chunk) -> int:
        """Write the chunks as one piece at the end; returns the offset it begins at.

        A short write is completed; if that fails, the file is cut back to where it was and
        DiskFullError or StorageError raised, so that it always ends with a whole piece.
        """
        self._refuse_if_poisoned()
        if self._fd < 0:
            raise StorageError(f"{self.path} is closed and takes no more data")
        start = self.size
        try:
            total = self._write_all([memoryview(c).cast("B") for c in chunks if len(c)])
        except OSError as error:
            self._cut_back(start)
            raise _storage_error("write to", self.path, error) from error
        except BaseException:
            self._cut_back(start)  # a Ctrl-C in a program that uses this as a library
            raise
        self.size = start + total
        self._dirty = True
        return start

    def _write_all(self, views: list[memoryview]) -> int:
        total = 0
        while views:
            written = os.writev(self._fd, views[:_IOV_MAX])
            total += written
            while views and written >= len(views[0]):
                written -= len(views[0])
                del views[0]
            if written:
                views[0] = views[0][written:]
        return total

    def _cut_back(self, size: int) -> None:
        try:
            os.ftruncate(self._fd, size)
            os.lseek(self._fd, size, os.SEEK_SET)
        except OSError as error:
            self._poison = f"could not be cut back after a failed write: {error.strerror}"

    def write_at(self, offset: int, data: Chunk) -> None:
        """Overwrite bytes that were appended before (a header slot); never extends the file."""
        self._refuse_if_poisoned()
        view = memoryview(data).cast("B")
        if offset < 0 or offset + len(view) > self.size:
            raise ValueError(f"bytes {offset}..{offset + len(view)} are not all in {self.path}")
        try:
            while len(view):
                written = os.pwrite(self._fd, view, offset)
                view, offset = view[written:], offset + written
        except OSError as error:
            raise _storage_error("write to", self.path, error) from error
        finally:
            self._dirty = True  # afterwards: a sync() that came before may not have seen it

    def sync(self) -> None:
        """Wait until everything appended so far is on the disk (fdatasync).

        On failure the file is poisoned: no later append or sync will claim success.
        """
        with self._lock:
            self._refuse_if_poisoned()
            if self._fd < 0 or not self._dirty:
                return
            self._dirty = False  # first: what is appended from now on waits for the next call
            size = self.size
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                self._poison = f"a sync failed: {error.strerror}"
                raise _storage_error("sync", self.path, error) from error
            self.synced_size = size

    def _refuse_if_poisoned(self) -> None:
        if self._poison is not None:
            raise StorageError(f"{self.path} takes no more data: {self._poison}")

    @property
    def poisoned(self) -> bool:
        """True once a sync or a roll-back has failed; start another file."""
        return self._poison is not None

    @property
    def closed(self) -> bool:
        """True after close()."""
        return self._fd < 0

    def close(self) -> None:
        """Close without syncing. Safe to call twice."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def discard(self) -> None:
        """Close and take the name away again: for a file in which there is nothing yet to keep."""
        self.close()
        with contextlib.suppress(OSError):
            self.path.unlink()


class SyncThread:
    """Calls sync() on a changing set of files at a steady interval, away from the thread that writes.

    `on_error` is told of each failure once, on this thread; the file is then poisoned and left alone.
    """

    def __init__(self, interval_s: float, on_error: Callable[[AppendFile, StorageError], None]) -> None:
        self._interval_s = interval_s
        self._on_error = on_error
        self._files: set[AppendFile] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
        self._thread.start()

    def add(self, file: AppendFile) -> None:
        """Start syncing this file."""
        with self._lock:
            self._files.add(file)

    def remove(self, file: AppendFile) -> None:
        """Stop syncing this file; the caller syncs it for the last time."""
        with self._lock:
            self._files.discard(file)

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            with self._lock:
                files: Iterable[AppendFile] = tuple(self._files)
            for file in files:
                if file.poisoned:
                    continue
                try:
                    file.sync()
                except StorageError as error:
                    self._on_error(file, error)

    def close(self) -> None:
        """Stop the thread; files keep what was synced."""
        self._stop.set()
        self._thread.join()


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Make the names in a directory survive a power cut. Raises StorageError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _storage_error("open the folder", Path(path), error) from error
    try:
        os.fsync(fd)
    except OSError as error:
        # Some network and FUSE file systems have no such call for folders; nothing more can be done there.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise _storage_error("sync the folder", Path(path), error) from error
    finally:
        os.close(fd)


def _try_lock(fd: int) -> bool:
    """False where another open file has the lock. The kernel lets go of it when the last holder dies."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks, or without locks for those who only read (NFS)
    return True


@contextlib.contextmanager
def hold(path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep a file or folder for this program while the block runs; nobody waits, a second one is refused.

    Raises FileBusyError where another program (or another open file of this one) holds it or writes it,
    and StorageError where it cannot be opened.
    """
    fd = _open_held(Path(path))
    try:
        yield
    finally:
        os.close(fd)


def _open_held(path: Path) -> int:
    while True:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise _storage_error("open", path, error) from error
        try:
            if not _try_lock(fd):
                raise FileBusyError(
                    f"{path} is in use: another program records to it or recompresses it; wait for its end"
                )
            if os.path.samestat(os.fstat(fd), path.stat()):
                return fd
        except OSError as error:
            os.close(fd)
            raise _storage_error("open", path, error) from error
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # replaced before we had it: what we hold has lost its name to another file


def make_directory(path: str | os.PathLike[str]) -> Path:
    """Create a folder (and its parents) and make its name survive. Raises StorageError."""
    folder = Path(path)
    made = [folder]  # or there already, but perhaps made by somebody who never synced it
    try:
        while not made[-1].parent.exists():
            made.append(made[-1].parent)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _storage_error("create the folder", folder, error) from error
    for each in made:
        sync_directory(each.parent)
    return folder


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace a small file so that a reader finds the old content or the new, never a mixture."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            view = memoryview(data)
            while len(view):
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):  # a disk that is read-only by now refuses this as well
            temporary.unlink()
        raise _storage_error("write", target, error) from error
    sync_directory(target.parent)


def _take_after(new: Path, old: Path) -> None:
    """Give a file the mode, time and (where we may) owner of another."""
    status = old.stat()
    with contextlib.suppress(PermissionError):  # only root gives files away
        os.chown(new, status.st_uid, status.st_gid)
    new.chmod(stat.S_IMODE(status.st_mode))
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_file(new: str | os.PathLike[str], old: str | os.PathLike[str]) -> None:
    """Give a synced file the name, mode, time and (where we may) owner of another, which is then gone.

    At every moment the name stands for the whole old file or the whole new one. Raises StorageError.
    """
    source, target = Path(new), Path(old)
    try:
        _take_after(source, target)
        source.replace(target)
    except OSError as error:
        raise _storage_error("replace", target, error) from error
    sync_directory(target.parent)


def publish_file(new: str | os.PathLike[str], name: str | os.PathLike[str]) -> None:
    """Give a synced file the name it was written for, unless there is a file of that name by now.

    Raises StorageError, also where there is one.
    """
    source, target = Path(new), Path(name)
    try:
        try:
            os.link(source, target)  # refuses where the name is taken, in one step
        except FileExistsError:
            raise StorageError(f"{target} exists already and is never overwritten") from None
        except OSError:  # a file system without links; whoever takes the name now is faster than anybody is
            if target.exists():
                raise StorageError(f"{target} exists already and is never overwritten") from None
            source.rename(target)
        else:
            source.unlink()
    except OSError as error:
        raise _storage_error("create", target, error) from error
    sync_directory(target.parent)


def supersede_file(
    new: str | os.PathLike[str], name: str | os.PathLike[str], old: str | os.PathLike[str]
) -> None:
    """Give a synced file a name of its own, with the mode and time of `old`, and then take `old` away.

    At every moment one of the two is there, and after a kill between the steps both. Raises StorageError,
    also where the name is taken.
    """
    source, former = Path(new), Path(old)
    try:
        _take_after(source, former)
    except OSError as error:
        raise _storage_error("replace", former, error) from error
    publish_file(source, name)
    try:
        former.unlink()
    except OSError as error:
        raise _storage_error("take away", former, error) from error
    sync_directory(former.parent)


def remove_file(path: str | os.PathLike[str]) -> None:
    """Take a file away, as far as the disk allows it: for what nobody will miss."""
    with contextlib.suppress(OSError):
        Path(path).unlink()


def drop_from_memory(path: str | os.PathLike[str]) -> None:
    """Ask the system to forget its copy of a synced file, so that the next read comes from the disk."""
    with contextlib.suppress(OSError):  # where it cannot, the read comes from memory
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


def require_room(folder: str | os.PathLike[str], wanted_bytes: int) -> None:
    """Raise DiskFullError where fewer bytes than that are free for us, StorageError where nothing tells."""
    try:
        disk = os.statvfs(folder)
    except OSError as error:
        raise _storage_error("look at the disk of", Path(folder), error) from error
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes < wanted_bytes:
        raise DiskFullError(
            f"{folder}: {free_bytes / _MB:.0f} MB free, {wanted_bytes / _MB:.0f} MB needed: make room first"
        )
