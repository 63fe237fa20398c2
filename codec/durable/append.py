"""A file that only grows, in whole pieces: what every recording is written through.

A piece is in it as a whole or not at all. After a failed sync, or a failed write that could not be cut back,
the file takes nothing any more (it is poisoned), because Linux reports a lost page once and then calls it
clean: whoever writes begins another file.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from codec.durable import system
from codec.durable.folders import sync_directory
from codec.durable.system import Chunk, storage_error
from codec.errors import StorageError

# Linux takes at most 1024 pieces in one writev.
_IOV_MAX = 1024


class AppendFile:
    """A file that only grows, in whole pieces, held until it is closed (see hold).

    Used by one thread, except sync(), which any may call.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Create the file; an existing one is an error. Raises StorageError."""
        self.path = Path(path)
        try:
            self._fd = system.open_file(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            raise StorageError(f"{self.path} exists already and is never overwritten") from None
        except OSError as error:
            raise storage_error("create", self.path, error) from error
        system.try_lock(self._fd)
        self._lock = threading.Lock()  # keeps close() away from a sync() under way
        self._poison: str | None = None
        self._dirty = False
        self._wants_sync: Callable[[], None] | None = None
        self._unsynced_limit_bytes = 0
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
            raise storage_error("write to", self.path, error) from error
        except BaseException:
            self._cut_back(start)  # a Ctrl-C in a program that uses this as a library
            raise
        self.size = start + total
        self._dirty = True
        if self._wants_sync is not None and self.unsynced_bytes >= self._unsynced_limit_bytes:
            self._wants_sync()
        return start

    def _write_all(self, views: list[memoryview]) -> int:
        total = 0
        while views:
            written = system.writev(self._fd, views[:_IOV_MAX])
            total += written
            while views and written >= len(views[0]):
                written -= len(views[0])
                del views[0]
            if written:
                views[0] = views[0][written:]
        return total

    def _cut_back(self, size: int) -> None:
        try:
            system.ftruncate(self._fd, size)
            system.seek(self._fd, size)
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
                written = system.pwrite(self._fd, view, offset)
                view, offset = view[written:], offset + written
        except OSError as error:
            raise storage_error("write to", self.path, error) from error
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
                system.fdatasync(self._fd)
            except OSError as error:
                self._poison = f"a sync failed: {error.strerror}"
                raise storage_error("sync", self.path, error) from error
            self.synced_size = size

    def tell_when_unsynced(self, limit_bytes: int, wants_sync: Callable[[], None] | None) -> None:
        """Call `wants_sync`, which must not wait, at each append that leaves so much (or more) unsynced."""
        self._unsynced_limit_bytes, self._wants_sync = limit_bytes, wants_sync

    @property
    def unsynced_bytes(self) -> int:
        """How much a power cut could take now."""
        return self.size - self.synced_size

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
                system.close(self._fd)
                self._fd = -1

    def discard(self) -> None:
        """Close and take the name away again: for a file in which there is nothing yet to keep."""
        self.close()
        try:
            system.unlink(self.path)
        except OSError:
            return  # an empty file stays behind, which readers step over
