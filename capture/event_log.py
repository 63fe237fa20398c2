"""events.jsonl of a recording under way: each event is a whole line at once, and soon on the disk.

The line is handed to the system before append() returns, so that a kill of this process costs nothing, and
synced by a thread within half a second, so that a power cut costs no more than that: whoever tells an event
never waits for a disk. A disk that has refused a sync once gets lines all the same, for what they are worth.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from capture import session
from codec.durable import AppendFile, SyncThread
from codec.errors import StorageError

_SYNC_S = 0.5


class EventLog:
    """The events of one new session. Used by one thread."""

    def __init__(self, folder: Path, on_error: Callable[[str], None]) -> None:
        """Create the file. `on_error` is told, in another thread, what the disk did not sync. Raises
        StorageError."""
        self._folder = folder
        self._file = AppendFile(folder / session.EVENTS_FILE)
        self._sync = SyncThread(_SYNC_S, lambda _, error: on_error(str(error)))
        self._sync.add(self._file)

    def append(self, event: dict[str, Any]) -> None:
        """One line more. Raises StorageError."""
        if self._file.poisoned:
            session.append_event(self._folder, event)
        else:
            self._file.append(session.event_line(event))

    def close(self) -> None:
        """Sync what there is, as far as the disk lets us. Safe to call twice."""
        self._sync.close()
        with contextlib.suppress(StorageError):
            self._file.sync()
        self._file.close()
