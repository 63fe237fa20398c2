"""events.jsonl of the session that is recorded: in order, none lost to a disk that is full for a while."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Any

from capture import session
from codec.errors import DiskFullError, StorageError

_KEPT_MAX = 1000


class EventLog:
    """Notes events; what the disk refuses is kept, and written before the next one that it takes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: deque[dict[str, Any]] = deque(maxlen=_KEPT_MAX)
        self._told = False

    def note(self, event: dict[str, Any]) -> None:
        """One event more, with the time it is now. Raises StorageError once for as long as the disk refuses,
        and not where it is only full, which the writer tells."""
        self._kept.append({"wall_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns(), **event})
        try:
            while self._kept:
                session.append_event(self._folder, self._kept[0])
                self._kept.popleft()
        except StorageError as error:
            told, self._told = self._told, True
            if not told and not isinstance(error, DiskFullError):
                raise
        else:
            self._told = False
