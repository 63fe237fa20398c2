"""The index entries of a file that is being written, kept small until they are appended at its end.

A segment of ten minutes has tens of thousands of records, whose entries differ from one another by little:
the memory of a recorder would go up by megabytes until the segment is full, and down, all night. A sixth of
that is enough.
"""

from __future__ import annotations

import zlib

import numpy as np

from codec.records.layout import ENTRY

_BLOCK_BYTES = 512 * ENTRY.itemsize
_LEVEL = 1  # a quarter of a millisecond a block; higher levels gain next to nothing


class IndexEntries:
    """Takes packed entries one by one, gives all of them back as bytes."""

    def __init__(self) -> None:
        self._open = bytearray()
        self._squeezed: list[bytes] = []

    def add(self, entry: bytes) -> None:
        self._open += entry
        if len(self._open) >= _BLOCK_BYTES:
            self._squeezed.append(_squeeze(self._open))
            del self._open[:]

    def __len__(self) -> int:
        """Bytes of all entries, as they stand in the file."""
        return len(self._squeezed) * _BLOCK_BYTES + len(self._open)

    def as_bytes(self) -> bytes:
        return b"".join([*map(_spread, self._squeezed), self._open])


def _squeeze(block: bytearray) -> bytes:
    """Byte by byte against the entry before, the same byte of all entries together: mostly zeros and runs."""
    rows = np.frombuffer(block, np.uint8).reshape(-1, ENTRY.itemsize)
    return zlib.compress(np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1])).T.tobytes(), _LEVEL)


def _spread(squeezed: bytes) -> bytes:
    columns = np.frombuffer(zlib.decompress(squeezed), np.uint8).reshape(ENTRY.itemsize, -1)
    return np.cumsum(columns, axis=1, dtype=np.uint8).T.tobytes()
