"""events.jsonl of the session that is recorded: in order, none lost to a disk that is full for a while.

A line is handed to the system before note() returns, so that a kill of this process costs nothing, and synced
within half a second by a thread, so that a power cut costs no more than that: whoever tells an event never
waits for a disk.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from capture import session
from codec import durable
from codec.errors import DiskFullError, StorageError

_KEPT_MAX = 1000
_SYNC_S = 0.5
_LAST_SYNC_S = 10.0  # nobody waits longer than that for the end of a hanging disk


class EventLog:
    """Notes events; what the disk refuses is kept, and written before the next one that it takes.

    Used by one thread. Other processes may append lines of their own to the file.
    """

    def __init__(self, folder: Path, on_error: Callable[[str], None]) -> None:
        """`on_error` is told, in another thread and once, where the disk does not sync what it has taken."""
        self._folder, self._on_error = folder, on_error
        self._kept: deque[dict[str, Any]] = deque(maxlen=_KEPT_MAX)
        self._told = self._told_sync = False
        self._unsynced, self._closing = threading.Event(), threading.Event()
        self._named = False
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def note(self, event: dict[str, Any]) -> None:
        """One event more, with the time it is now. Raises StorageError once for as long as the disk refuses,
        and not where it is only full, which the writer tells."""
        self._kept.append({"wall_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns(), **event})
        try:
            while self._kept:
                session.append_event(self._folder, self._kept[0])
                self._kept.popleft()
                self._unsynced.set()
        except StorageError as error:
            told, self._told = self._told, True
            if not told and not isinstance(error, DiskFullError):
                raise
        else:
            self._told = False

    def _run(self) -> None:
        while not self._closing.wait(_SYNC_S):
            self._sync()
        self._sync()

    def _sync(self) -> None:
        if not self._unsynced.is_set():
            return
        self._unsynced.clear()  # first: what is noted from now on waits for the next time
        try:
            durable.sync_file(self._folder / session.EVENTS_FILE)
            if not self._named:
                durable.sync_directory(self._folder)
                self._named = True
        except StorageError as error:
            if not self._told_sync:
                self._told_sync = True
                self._on_error(str(error))

    def close(self) -> None:
        """Sync what there is, as far as the disk lets us. Safe to call twice."""
        self._closing.set()
        self._thread.join(_LAST_SYNC_S)
