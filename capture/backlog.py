"""Whether the disk is behind with what it was given, and for how long the writer has waited for it.

Linux takes a fifth of all memory into its cache before it lets a slow disk be felt by who writes: too late
for the effort ladder, and far beyond queue_mb. So the writer gives a file system only so much that is not
yet on the disk; what comes then waits in the rings, where it is counted. A disk that keeps up has less than
that at any time and never makes the writer wait. Pure: no clock, no files.
"""

from __future__ import annotations

UNSYNCED_LIMIT_BYTES = 32 << 20


class DiskBacklog:
    """Ask is_behind() before each round of writing."""

    def __init__(self, limit_bytes: int = UNSYNCED_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._since_s: float | None = None
        self._waited_s = 0.0

    def is_behind(self, unsynced_bytes: int, now_s: float) -> bool:
        """True where nothing more should be written now."""
        if unsynced_bytes < self._limit_bytes:
            self._count(now_s)
            self._since_s = None
        elif self._since_s is None:
            self._since_s = now_s
        return self._since_s is not None

    def _count(self, now_s: float) -> None:
        if self._since_s is not None:
            self._waited_s += now_s - self._since_s
            self._since_s = now_s

    def take_waited_s(self, now_s: float) -> float:
        """How long it was behind since the last call: time spent waiting for the disk."""
        self._count(now_s)
        waited_s, self._waited_s = self._waited_s, 0.0
        return waited_s
