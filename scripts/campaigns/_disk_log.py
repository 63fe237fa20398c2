"""The log of a disk: every write and flush that reached it, in order, with its moment.

Whatever a power cut may leave can be made from it: everything that had reached the disk (a snapshot), or
everything before the last flush and anything of what came after it, in any order and cut between any two
sectors, which is all that a disk with a cache promises.
"""

from __future__ import annotations

import mmap
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WRITE, FLUSH = 1, 2
SECTOR_BYTES = 512
_HEAD = struct.Struct("<BQQI")  # kind, monotonic ns, offset, length
_LOST, _TORN = 0.5, 0.2  # of the writes that no flush has made sure of


@dataclass(frozen=True, slots=True)
class Entry:
    """A write (data from `offset` on) or a flush."""

    kind: int
    monotonic_ns: int
    offset: int
    data: bytes

    def pack(self) -> bytes:
        """As it stands in a log."""
        return entry_head(self.kind, self.monotonic_ns, self.offset, len(self.data)) + self.data


def entry_head(kind: int, monotonic_ns: int, offset: int, length: int) -> bytes:
    """What stands before the data of an entry."""
    return _HEAD.pack(kind, monotonic_ns, offset, length)


class DiskLog:
    """A log to be read. Holds where entries begin; their data stays in the file."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
        heads, at = [], 0
        while at + _HEAD.size <= len(self._bytes):
            kind, monotonic_ns, _, length = _HEAD.unpack_from(self._bytes, at)
            if at + _HEAD.size + length > len(self._bytes):
                break  # torn: its disk was killed
            heads.append((kind, monotonic_ns, at))
            at += _HEAD.size + length
        columns = np.array(heads, np.int64).reshape(-1, 3).T
        self.kinds, self.times_ns, self._at = columns

    def __len__(self) -> int:
        return len(self.kinds)

    def __getitem__(self, index: int) -> Entry:
        at = int(self._at[index])
        kind, monotonic_ns, offset, length = _HEAD.unpack_from(self._bytes, at)
        at += _HEAD.size
        return Entry(kind, monotonic_ns, offset, self._bytes[at : at + length])

    def index_at(self, monotonic_ns: int) -> int:
        """How many entries there were by that moment."""
        return int(np.searchsorted(self.times_ns, monotonic_ns, side="right"))

    def sure(self, count: int) -> int:
        """How many of the first `count` entries a flush has made sure of."""
        flushes = np.flatnonzero(self.kinds[:count] == FLUSH)
        return int(flushes[-1]) + 1 if flushes.size else 0


class Replay:
    """An image file on its way through a log; it only goes forward."""

    def __init__(self, image: Path, log: DiskLog) -> None:
        self._log = log
        with image.open("r+b") as file:
            self._content = mmap.mmap(file.fileno(), 0)
        self._count = 0

    def advance(self, count: int) -> None:
        """Do again what the first `count` entries did."""
        for index in range(self._count, count):
            apply(self._log[index], self._content)
        self._count = max(self._count, count)

    def close(self) -> None:
        self._content.close()


def apply(entry: Entry, content: mmap.mmap) -> None:
    """Do a write again."""
    if entry.kind == WRITE:
        content[entry.offset : entry.offset + len(entry.data)] = entry.data


def torn(writes: Sequence[Entry], chance: random.Random) -> list[Entry]:
    """What a disk may have kept of writes that no flush had made sure of, in the order it came to them."""
    kept = []
    for entry in writes:
        fate = chance.random()
        if fate < _LOST:
            continue
        kept.append(_piece(entry, chance) if fate < _LOST + _TORN else entry)
    chance.shuffle(kept)
    return kept


def _piece(entry: Entry, chance: random.Random) -> Entry:
    """Some sectors of a write, from its beginning or up to its end."""
    cut = chance.randint(0, len(entry.data) // SECTOR_BYTES) * SECTOR_BYTES
    if chance.random() < 0.5:
        return Entry(entry.kind, entry.monotonic_ns, entry.offset, entry.data[:cut])
    return Entry(entry.kind, entry.monotonic_ns, entry.offset + cut, entry.data[cut:])
