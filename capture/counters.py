"""Counters that every process can read and exactly one writes: a page of u64 in shared memory.

No lock is needed: a slot is one aligned machine word with a single writer. The page outlives its writer,
so a restarted process counts on where the killed one stopped.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence

_SLOT_BYTES = 8


class CounterPage:
    """Named u64 counters on a memfd. The creator owns the descriptor and hands it to children."""

    def __init__(self, names: Sequence[str], fd: int | None = None) -> None:
        """Create the page, or attach to the one behind `fd` (made with the same names)."""
        self.names = tuple(names)
        size = max(mmap.PAGESIZE, len(self.names) * _SLOT_BYTES)
        if fd is None:
            fd = os.memfd_create("nightrig-counters", os.MFD_CLOEXEC)
            os.ftruncate(fd, size)
        self.fd = fd
        self._map = mmap.mmap(fd, size)
        self._slots = memoryview(self._map).cast("Q")
        self._where = {name: i for i, name in enumerate(self.names)}

    def __getitem__(self, name: str) -> int:
        return int(self._slots[self._where[name]])

    def __setitem__(self, name: str, value: int) -> None:
        self._slots[self._where[name]] = value

    def add(self, name: str, amount: int = 1) -> None:
        """Only the page's one writer may call this."""
        self._slots[self._where[name]] += amount

    def as_dict(self) -> dict[str, int]:
        """All counters, by name."""
        return dict(zip(self.names, self._slots[: len(self.names)].tolist(), strict=True))

    def close(self) -> None:
        """Unmap and close; the memory goes when the last process has closed it."""
        self._slots.release()
        self._map.close()
        os.close(self.fd)
