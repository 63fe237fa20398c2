"""Syncs files on threads of its own, by time and by amount, so that the thread that writes never waits.

What a power cut can take is what was appended since the last sync began: at most `interval_s` of it, or
`unsynced_limit_bytes` of one file where that comes first, and what came while the sync took place.

All files that are due are synced at the same moment. A file system with a journal makes every sync that
waits part of one entry in it; one after the other they take an entry each, of blocks that a camera of
little data would not fill.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from codec.durable.append import AppendFile
from codec.errors import StorageError

UNSYNCED_LIMIT_BYTES = 8 << 20
_AT_ONCE = 16


class SyncThread:
    """Calls sync() on a changing set of files.

    `on_error` is told once of each file that failed, which is then poisoned and left alone.
    """

    def __init__(
        self,
        interval_s: float,
        on_error: Callable[[AppendFile, StorageError], None],
        *,
        unsynced_limit_bytes: int = UNSYNCED_LIMIT_BYTES,
    ) -> None:
        self._on_error = on_error
        self._told: weakref.WeakSet[AppendFile] = weakref.WeakSet()
        self._interval_s, self._limit_bytes = interval_s, unsynced_limit_bytes
        self._files: set[AppendFile] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
        self._thread.start()

    def add(self, file: AppendFile) -> None:
        """Start syncing this file."""
        with self._lock:
            self._files.add(file)
        file.tell_when_unsynced(self._limit_bytes, self._wake.set)

    def remove(self, file: AppendFile) -> None:
        """Stop syncing this file; the caller syncs it for the last time."""
        file.tell_when_unsynced(self._limit_bytes, None)
        with self._lock:
            self._files.discard(file)

    def tell(self, file: AppendFile, error: StorageError) -> None:
        """Tell of a failure, unless that was done. Any thread may: whoever syncs a file for the last time may
        wait for a sync of ours that fails, and then both know of it."""
        with self._lock:
            if file in self._told:
                return
            self._told.add(file)
        self._on_error(file, error)

    def _run(self) -> None:
        due_s = time.monotonic() + self._interval_s
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sync") as waiting:
            while not self._closed:
                woken = self._wake.wait(max(0.0, due_s - time.monotonic()))
                self._wake.clear()  # before looking: what is appended from now on wakes us again
                if self._closed:
                    return
                now_s = time.monotonic()
                is_due = now_s >= due_s
                if is_due:
                    # From one beginning to the next: a slow disk makes the pause shorter, not the promise
                    # weaker.
                    due_s = max(now_s, due_s + self._interval_s)
                files = [
                    file
                    for file in self._current()
                    if is_due or (woken and file.unsynced_bytes >= self._limit_bytes)
                ]
                for file, error in zip(files, waiting.map(_sync, files), strict=True):
                    if error is not None:
                        self.tell(file, error)

    def _current(self) -> tuple[AppendFile, ...]:
        with self._lock:
            return tuple(self._files)

    def close(self) -> None:
        """Stop the thread; files keep what was synced."""
        self._closed = True
        self._wake.set()
        self._thread.join()


def _sync(file: AppendFile) -> StorageError | None:
    """What went wrong."""
    if file.poisoned:
        return None
    try:
        file.sync()
    except StorageError as error:
        return error
    return None
