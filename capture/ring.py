"""FrameRing: the queue between a camera process and those who read its frames.

Shared memory bounded in bytes; one producer, one consumer that is guaranteed every frame (the writer: a
frame's memory is not reused until it is released), any number of observers (they copy the newest frame
and then check that it was not overwritten meanwhile).

Frames of any size lie one behind another in an arena, each in one piece; a table of entries describes
them. Positions count bytes since the beginning and never wrap, their remainder is the place. A full
ring refuses a push: the producer keeps account of it. The memory is a memfd whose descriptor children
inherit, so nothing is left behind when the whole group is killed; every hand-over goes through a system
call on an eventfd, which also orders memory on ARM; no lock is shared, so a killed process cannot hold one.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# Control words (u64) at the head of the mapping: the first two are the producer's, the others the consumer's.
_PUBLISHED, _HEAD, _RELEASED, _TAIL = range(4)
_CONTROL_BYTES = mmap.PAGESIZE
_ENTRY = struct.Struct("<QQIIBBBBIIIQdq")  # sequence, start, data and meta bytes, kind, stream, ...
_ENTRY_BYTES = 64
_ALIGN = 64

# What an entry is.
FRAME, INFO, GAP, END = 1, 2, 3, 4

_DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype(np.uint8), 2: np.dtype("<u2"), 3: np.dtype("<f4")}
_DTYPE_CODES = {dtype: code for code, dtype in _DTYPES.items()}


@dataclass(frozen=True, slots=True)
class RingSpec:
    """What a child needs to attach: descriptors it inherited (-1: none), and the sizes."""

    memory_fd: int
    data_fd: int
    space_fd: int
    observer_fds: tuple[int, ...]
    arena_bytes: int
    entry_count: int

    @property
    def fds(self) -> tuple[int, ...]:
        """All descriptors a child must inherit."""
        return (self.memory_fd, self.data_fd, self.space_fd, *self.observer_fds)


@dataclass(frozen=True, slots=True)
class RingFrame:
    """One entry of the ring. `data` and `meta` are views into it (consumer) or copies (observer).

    kind FRAME: data has the frame's shape and dtype. INFO, GAP and END: data is UTF-8 JSON.
    """

    sequence: int
    kind: int
    stream: int
    clock: int
    epoch: int
    number: int
    device_time_s: float
    monotonic_ns: int
    data: npt.NDArray[np.generic]
    meta: bytes
    end_position: int


class FrameRing:
    """One ring, attached. Which of producer, consumer or observer a process is, is its own to keep to."""

    def __init__(self, spec: RingSpec) -> None:
        self.spec = spec
        self._size = _CONTROL_BYTES + spec.entry_count * _ENTRY_BYTES + spec.arena_bytes
        self._map = mmap.mmap(spec.memory_fd, self._size)
        self._view = memoryview(self._map)
        self._words = self._view[:_CONTROL_BYTES].cast("Q")
        self._arena_at = _CONTROL_BYTES + spec.entry_count * _ENTRY_BYTES
        self._arena = np.frombuffer(self._map, np.uint8, spec.arena_bytes, self._arena_at)
        self._taken = self._visible = int(self._words[_RELEASED])
        self._fence_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    @classmethod
    def create(cls, arena_bytes: int, *, entry_count: int = 4096, observers: int = 0) -> FrameRing:
        """A new, empty ring of `arena_bytes` for data (rounded up to whole pages)."""
        arena_bytes = -(-arena_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        memory_fd = os.memfd_create("nightrig-ring", os.MFD_CLOEXEC)
        os.ftruncate(memory_fd, _CONTROL_BYTES + entry_count * _ENTRY_BYTES + arena_bytes)
        flags = os.EFD_NONBLOCK | os.EFD_CLOEXEC
        fds = [os.eventfd(0, flags) for _ in range(2 + observers)]
        return cls(RingSpec(memory_fd, fds[0], fds[1], tuple(fds[2:]), arena_bytes, entry_count))

    # ---- producer ----

    def push(
        self,
        data: npt.NDArray[np.generic] | bytes,
        *,
        kind: int = FRAME,
        stream: int = 0,
        clock: int = 0,
        epoch: int = 0,
        number: int = 0,
        device_time_s: float | None = None,
        monotonic_ns: int = 0,
        meta: bytes = b"",
    ) -> bool:
        """Copy one frame in and publish it; False, with nothing changed, where there is no room.

        Raises ValueError for a frame larger than half the arena: it might not fit even an empty one,
        since it has to lie in one piece.
        """
        array = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
        shape = array.shape + (1,) * (3 - array.ndim)
        need = -(-(array.nbytes + len(meta)) // _ALIGN) * _ALIGN
        arena_bytes = self.spec.arena_bytes
        if 2 * need > arena_bytes:
            raise ValueError(
                f"a frame of {need} bytes needs a ring of {2 * need}, not {arena_bytes}: raise queue_mb"
            )
        words = self._words
        published, start = words[_PUBLISHED], words[_HEAD]
        place = start % arena_bytes
        if place + need > arena_bytes:  # a frame lies in one piece: leave the rest of the arena empty
            start += arena_bytes - place
            place = 0
        if start + need - words[_TAIL] > arena_bytes or published - words[_RELEASED] >= self.spec.entry_count:
            return False
        words[_HEAD] = start + need  # before the copy, so that observers see their frame being overwritten
        target = self._arena[place : place + array.nbytes]
        if array.nbytes:
            np.copyto(target.view(array.dtype).reshape(array.shape), array)
        if meta:
            at = self._arena_at + place + array.nbytes
            self._view[at : at + len(meta)] = meta
        self._write_entry(
            published,
            (start, array.nbytes, len(meta), kind, stream, clock, _DTYPE_CODES[array.dtype]),
            (*shape, array.ndim),
            (epoch, number, float("nan") if device_time_s is None else device_time_s, monotonic_ns),
        )
        self._fence()
        words[_PUBLISHED] = published + 1
        self._signal_readers()
        return True

    def _fence(self) -> None:
        """Order what was stored (or loaded) before against what comes after: x86 needs nothing, ARM does."""
        os.eventfd_write(self._fence_fd, 1)
        os.eventfd_read(self._fence_fd)

    def _write_entry(
        self,
        published: int,
        place: tuple[int, int, int, int, int, int, int],
        shape: tuple[int, ...],
        stamp: tuple[int, int, float, int],
    ) -> None:
        at = _CONTROL_BYTES + (published % self.spec.entry_count) * _ENTRY_BYTES
        start, data_bytes, meta_bytes, kind, stream, clock, dtype = place
        height, width, channels, ndim = shape
        epoch, number, device_time_s, monotonic_ns = stamp
        _ENTRY.pack_into(
            self._map,
            at,
            published + 1,
            start,
            data_bytes,
            meta_bytes,
            kind,
            stream,
            clock,
            dtype,
            height,
            width,
            epoch << 16 | ndim << 8 | channels,
            number,
            device_time_s,
            monotonic_ns,
        )

    def _signal_readers(self) -> None:
        for fd in (self.spec.data_fd, *self.spec.observer_fds):
            try:
                os.eventfd_write(fd, 1)
            except BlockingIOError:  # nobody has read it for 2^64 frames; it is readable all the same
                continue

    # ---- both ends ----

    @property
    def fill(self) -> float:
        """How full the ring is, 0 to 1, by bytes or by entries, whichever is nearer to full."""
        words = self._words
        by_bytes = (words[_HEAD] - words[_TAIL]) / self.spec.arena_bytes
        by_entries = (words[_PUBLISHED] - words[_RELEASED]) / self.spec.entry_count
        return float(min(1.0, max(by_bytes, by_entries, 0.0)))

    @property
    def queued(self) -> int:
        """Entries published and not yet released."""
        return int(self._words[_PUBLISHED] - self._words[_RELEASED])

    @property
    def published(self) -> int:
        """Entries pushed since the ring was made, by every producer it had."""
        return int(self._words[_PUBLISHED])

    # ---- consumer ----

    def take(self) -> RingFrame | None:
        """The next entry, as views that stay valid until it is released; None where there is none."""
        if self._taken >= self._visible:
            self._visible = int(self._words[_PUBLISHED])
            self._fence()
            if self._taken >= self._visible:
                return None
        frame = self._entry(self._taken, copy=False)
        self._taken += 1
        return frame

    def release(self, frame: RingFrame) -> None:
        """Give the memory of this entry, and of all before it, back to the producer."""
        self._words[_RELEASED] = frame.sequence  # first: killed in between, the memory is merely freed later
        self._words[_TAIL] = frame.end_position
        try:
            os.eventfd_write(self.spec.space_fd, 1)
        except BlockingIOError:
            return

    # ---- observers ----

    def newest(self, stream: int, *, after: int = 0, kind: int = FRAME) -> RingFrame | None:
        """A copy of the newest entry of that stream with a sequence above `after`, or None.

        Also None where the frame was overwritten while it was copied: the next one is there by then.
        """
        published = int(self._words[_PUBLISHED])
        self._fence()
        oldest = max(after, published - self.spec.entry_count, 0)
        for position in range(published - 1, oldest - 1, -1):
            at = _CONTROL_BYTES + (position % self.spec.entry_count) * _ENTRY_BYTES
            if self._map[at + 24] == kind and self._map[at + 25] == stream:
                return self._entry(position, copy=True)
        return None

    def _entry(self, position: int, *, copy: bool) -> RingFrame | None:
        at = _CONTROL_BYTES + (position % self.spec.entry_count) * _ENTRY_BYTES
        fields = _ENTRY.unpack_from(self._map, at)
        sequence, start, data_bytes, meta_bytes, kind, stream, clock, dtype = fields[:8]
        height, width, packed, number, device_time_s, monotonic_ns = fields[8:]
        end = -(-(start + data_bytes + meta_bytes) // _ALIGN) * _ALIGN
        if sequence != position + 1 or (copy and not self._still_there(position, start)):
            return None
        place = start % self.spec.arena_bytes
        shape = (height, width, packed & 255)[: packed >> 8 & 255]
        pixels: npt.NDArray[np.generic] = np.frombuffer(
            self._map, np.uint8, data_bytes, self._arena_at + place
        ).view(_DTYPES[dtype])
        data = pixels.reshape(shape)
        meta_at = self._arena_at + place + data_bytes
        meta = bytes(self._view[meta_at : meta_at + meta_bytes])
        if copy:
            data = data.copy()
            self._fence()
            if not self._still_there(position, start):
                return None
        return RingFrame(
            sequence,
            kind,
            stream,
            clock,
            packed >> 16,
            number,
            device_time_s,
            monotonic_ns,
            data,
            meta,
            end,
        )

    def _still_there(self, position: int, start: int) -> bool:
        overwritten = self._words[_HEAD] - start > self.spec.arena_bytes
        return not overwritten and self._words[_PUBLISHED] - position <= self.spec.entry_count

    def close(self) -> None:
        """Close the descriptors; the memory goes with the last process (and view) that holds it."""
        for fd in (*self.spec.fds, self._fence_fd):
            if fd >= 0:
                os.close(fd)


def drain_event(fd: int) -> None:
    """Reset an eventfd after a wake-up."""
    try:
        os.eventfd_read(fd)
    except BlockingIOError:
        return
