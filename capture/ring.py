"""FrameRing: the queue between a camera process and those who read its frames.

Shared memory bounded in bytes; one producer, one consumer that is guaranteed every frame (the writer: a
frame's memory is not reused until it is released), any number of observers (they copy the newest frame
and then check that it was not overwritten meanwhile).

Frames of any size lie one behind another in an arena, each in one piece; a table of entries describes
them. Positions count bytes since the beginning and never wrap, their remainder is the place. A full
ring refuses a push: the producer keeps account of it, and may show what was refused to the observers (show,
glimpse), in memory beside the arena, of which one frame of each stream is taken when that happens. The
memory is a memfd whose descriptor children inherit, so nothing is left behind when the whole group is
killed; no lock is shared, so a killed process cannot hold one. A producer or consumer that takes over from
a killed one just attaches.

Memory order, where the processor needs telling (ARM): system calls on an eventfd of our own stand between
a frame and the word that publishes it, and between the word that announces its end and the overwriting.
"""

from __future__ import annotations

import contextlib
import mmap
import os

import numpy as np
import numpy.typing as npt

from capture._ring_layout import (
    ALIGN,
    CONTROL_BYTES,
    DTYPES,
    END,
    ENTRY,
    ENTRY_BYTES,
    FLOOR,
    FRAME,
    GAP,
    HEAD,
    INFO,
    KIND_AT,
    PUBLISHED,
    RELEASED,
    SHOWN_AT,
    SHOWN_SHARE,
    SHOWN_STREAMS,
    SHOWN_WORDS,
    STREAM_AT,
    TAIL,
    RingFrame,
    RingSpec,
    entry_bytes,
    mapping_bytes,
)

__all__ = ["END", "FRAME", "GAP", "INFO", "FrameRing", "RingFrame", "RingSpec", "drain_event"]

# An empty ring begins again at the front of its arena after this many bytes: what is used stays in caches,
# and memory that is never needed is never taken. Observers find what was pushed within this.
_LAP_BYTES = 16 << 20
_SHOWN_SPARE = 1.5  # a later JPEG may be larger than the first


class FrameRing:
    """One ring, attached. Which of producer, consumer or observer a process is, is its own to keep to."""

    def __init__(self, spec: RingSpec) -> None:
        self.spec = spec
        self._size = mapping_bytes(spec.arena_bytes, spec.entry_count)
        self._map = mmap.mmap(spec.memory_fd, self._size)
        self._view = memoryview(self._map)
        self._words = self._view[:CONTROL_BYTES].cast("Q")
        self._arena_at = CONTROL_BYTES + spec.entry_count * ENTRY_BYTES
        self._arena = np.frombuffer(self._map, np.uint8, spec.arena_bytes, self._arena_at)
        self._taken = self._visible = int(self._words[RELEASED])
        self._fence_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    @classmethod
    def create(cls, arena_bytes: int, *, entry_count: int = 4096, observers: int = 0) -> FrameRing:
        """A new, empty ring of `arena_bytes` for data (rounded up to whole pages)."""
        arena_bytes = -(-arena_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        memory_fd = os.memfd_create("nightrig-ring", os.MFD_CLOEXEC)
        os.ftruncate(memory_fd, mapping_bytes(arena_bytes, entry_count))
        flags = os.EFD_NONBLOCK | os.EFD_CLOEXEC
        fds = [os.eventfd(0, flags) for _ in range(2 + observers)]
        return cls(RingSpec(memory_fd, fds[0], fds[1], tuple(fds[2:]), arena_bytes, entry_count))

    @classmethod
    def of_memory(cls, memory_fd: int, *, entry_count: int = 4096) -> FrameRing:
        """A ring to look at from outside, by its memory alone."""
        rest = os.fstat(memory_fd).st_size - CONTROL_BYTES - entry_count * ENTRY_BYTES
        arena_bytes = rest * SHOWN_SHARE // (SHOWN_SHARE + 1)
        return cls(RingSpec(memory_fd, -1, -1, (), arena_bytes, entry_count))

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

        Raises ValueError, with nothing changed, for a frame larger than half the arena (it might not fit
        even an empty one, since it has to lie in one piece) and for what an entry cannot hold: numbers
        below 0 or beyond 64 bits, more than three dimensions, other types than those of PIXEL_FORMATS.
        """
        array = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
        need = -(-(array.nbytes + len(meta)) // ALIGN) * ALIGN
        start = self._room_for(need)
        if start is None:
            return False
        words = self._words
        published = words[PUBLISHED]
        stamp = (number, float("nan") if device_time_s is None else device_time_s, monotonic_ns)
        entry = entry_bytes((published + 1, start, epoch, len(meta), kind, stream, clock), array, stamp)
        if not self.queued:
            words[FLOOR] = start
        words[HEAD] = start + need  # before the copy, so that observers see their frame being overwritten
        self._fence()
        self._copy_in(start % self.spec.arena_bytes, array, meta)
        at = CONTROL_BYTES + (published % self.spec.entry_count) * ENTRY_BYTES
        self._view[at : at + ENTRY_BYTES] = entry
        self._fence()
        words[PUBLISHED] = published + 1
        self._signal_readers()
        return True

    def show(
        self,
        data: npt.NDArray[np.generic],
        *,
        stream: int,
        number: int,
        epoch: int = 0,
        clock: int = 0,
        monotonic_ns: int = 0,
        meta: bytes = b"",
    ) -> None:
        """Let observers see a frame that the ring refused; it is no part of the queue and may be overwritten
        at any time. One that does not fit beside the arena is not shown."""
        need = ENTRY_BYTES + data.nbytes + len(meta)
        place = self._shown_place(stream, need)
        if place is None:
            return
        words, version = self._words, SHOWN_AT + stream * SHOWN_WORDS
        head = (0, 0, epoch, len(meta), FRAME, stream, clock)
        entry = entry_bytes(head, data, (number, float("nan"), monotonic_ns))
        words[version] = words[version] | 1
        self._fence()
        self._view[place : place + ENTRY_BYTES] = entry
        at = place + ENTRY_BYTES
        target = np.frombuffer(self._map, np.uint8, data.nbytes, at)
        np.copyto(target.view(data.dtype).reshape(data.shape), data)
        self._view[at + data.nbytes : at + data.nbytes + len(meta)] = meta
        self._fence()
        words[version] = words[version] + 1
        for fd in self.spec.observer_fds:
            _signal(fd)

    def _shown_place(self, stream: int, need: int) -> int | None:
        """Where in the mapping a frame of this stream is shown; None where there is no room for it."""
        words = self._words
        if not 0 <= stream < SHOWN_STREAMS:
            return None
        at = SHOWN_AT + stream * SHOWN_WORDS
        if words[at + 2] >= need:
            return int(words[at + 1])
        if words[at + 2]:
            return None
        taken = [SHOWN_AT + i * SHOWN_WORDS for i in range(SHOWN_STREAMS)]
        begin = max([self._arena_at + self.spec.arena_bytes, *(words[t + 1] + words[t + 2] for t in taken)])
        room = -(-int(need * _SHOWN_SPARE) // ALIGN) * ALIGN
        if begin + room > self._size:
            return None
        words[at + 1], words[at + 2] = begin, room
        return int(begin)

    def _room_for(self, need: int) -> int | None:
        """The position where so many bytes can lie in one piece; None where the ring is full."""
        words, arena_bytes = self._words, self.spec.arena_bytes
        if 2 * need > arena_bytes:
            raise ValueError(
                f"a frame of {need} bytes needs a ring of {2 * need}, not {arena_bytes}: raise queue_mb"
            )
        head, queued = words[HEAD], self.queued
        place = head % arena_bytes
        begin_again = not queued and place >= _LAP_BYTES
        start = head + arena_bytes - place if begin_again or place + need > arena_bytes else head
        # Nothing queued, nothing occupied: a producer killed within a push, or a consumer within a release,
        # leaves positions behind that nobody would ever give back.
        tail = self._tail if queued else start
        if start + need - tail > arena_bytes or queued >= self.spec.entry_count:
            return None
        return int(start)

    def _copy_in(self, place: int, array: npt.NDArray[np.generic], meta: bytes) -> None:
        if array.nbytes:
            target = self._arena[place : place + array.nbytes]
            np.copyto(target.view(array.dtype).reshape(array.shape), array)
        at = self._arena_at + place + array.nbytes
        self._view[at : at + len(meta)] = meta

    def _fence(self) -> None:
        """Order what was stored (or loaded) before against what comes after: x86 needs nothing, ARM does.

        Each of the two calls takes and gives back the eventfd's lock in the kernel: giving back orders what
        came before it, taking orders what comes after it, and the second taking comes after the first
        giving back.
        """
        os.eventfd_write(self._fence_fd, 1)
        os.eventfd_read(self._fence_fd)

    def _signal_readers(self) -> None:
        for fd in (self.spec.data_fd, *self.spec.observer_fds):
            _signal(fd)

    # ---- both ends ----

    @property
    def _tail(self) -> int:
        """Where what is queued begins."""
        return max(self._words[TAIL], self._words[FLOOR])

    @property
    def fill(self) -> float:
        """How full the ring is, 0 to 1, by bytes or by entries, whichever is nearer to full."""
        queued = self.queued
        by_bytes = (self._words[HEAD] - self._tail) / self.spec.arena_bytes if queued else 0.0
        return float(min(1.0, max(by_bytes, queued / self.spec.entry_count, 0.0)))

    @property
    def queued(self) -> int:
        """Entries published and not yet released."""
        return int(self._words[PUBLISHED] - self._words[RELEASED])

    @property
    def published(self) -> int:
        """Entries pushed since the ring was made, by every producer it had."""
        return int(self._words[PUBLISHED])

    @property
    def released(self) -> int:
        """Entries that have left the ring by its consumer since it was made."""
        return int(self._words[RELEASED])

    # ---- consumer ----

    def take(self) -> RingFrame | None:
        """The next entry, as views that stay valid until it is released; None where there is none."""
        if self._taken >= self._visible:
            self._visible = int(self._words[PUBLISHED])
            if self._taken >= self._visible:
                return None
            self._fence()
        frame = self._entry(self._taken, copy=False)
        self._taken += 1
        return frame

    def release(self, frame: RingFrame) -> None:
        """Give the memory of this entry, and of all before it, back to the producer."""
        self._fence()  # whoever read the frame has read it by now
        self._words[RELEASED] = frame.sequence  # first: killed in between, the memory is merely freed later
        self._words[TAIL] = frame.end_position
        try:
            os.eventfd_write(self.spec.space_fd, 1)
        except BlockingIOError:
            return

    # ---- observers ----

    def newest(self, stream: int, *, after: int = 0, kind: int = FRAME) -> RingFrame | None:
        """A copy of the newest entry of that stream with a sequence above `after`, or None.

        Also None where the frame was overwritten while it was copied: the next one is there by then.
        """
        published = int(self._words[PUBLISHED])
        self._fence()
        # The entry of the frame that is pushed now may be half written: it has the place of the oldest.
        oldest = max(after, published - self.spec.entry_count + 1, 0)
        for position in range(published - 1, oldest - 1, -1):
            at = CONTROL_BYTES + (position % self.spec.entry_count) * ENTRY_BYTES
            if self._map[at + KIND_AT] == kind and self._map[at + STREAM_AT] == stream:
                return self._entry(position, copy=True)
        return None

    def glimpse(self, stream: int, *, after_ns: int) -> RingFrame | None:
        """A copy of the frame of that stream which a full ring refused last, if it was taken after that
        moment; or None. Its sequence is 0: it was never in the queue."""
        words, at = self._words, SHOWN_AT + stream * SHOWN_WORDS
        version, place = int(words[at]), int(words[at + 1])
        if not version or version & 1:
            return None
        self._fence()
        fields = ENTRY.unpack_from(self._map, place)
        if fields[14] <= after_ns:
            return None
        _, _, epoch, meta_bytes, kind, _, clock, dtype_code = fields[:8]
        height, width, channels, ndim, number, device_time_s, monotonic_ns = fields[8:]
        dtype = DTYPES.get(dtype_code)
        data_bytes = height * width * channels * (dtype.itemsize if dtype else 0)
        if dtype is None or ENTRY_BYTES + data_bytes + meta_bytes > words[at + 2]:
            return None  # read while it was being written
        start = place + ENTRY_BYTES
        pixels = np.frombuffer(self._map, np.uint8, data_bytes, start).copy()
        meta = bytes(self._view[start + data_bytes : start + data_bytes + meta_bytes])
        self._fence()
        if words[at] != version:
            return None
        data = pixels.view(dtype).reshape((height, width, channels)[:ndim])
        return RingFrame(0, kind, stream, clock, epoch, number, device_time_s, monotonic_ns, data, meta, 0)

    def _entry(self, position: int, *, copy: bool) -> RingFrame | None:
        at = CONTROL_BYTES + (position % self.spec.entry_count) * ENTRY_BYTES
        fields = ENTRY.unpack_from(self._map, at)
        sequence, start, epoch, meta_bytes, kind, stream, clock, dtype_code = fields[:8]
        height, width, channels, ndim, number, device_time_s, monotonic_ns = fields[8:]
        if copy:
            self._fence()
        if sequence != position + 1 or (copy and not self._still_there(position, start)):
            return None
        dtype, place = DTYPES[dtype_code], start % self.spec.arena_bytes
        data_bytes = height * width * channels * dtype.itemsize
        end = -(-(start + data_bytes + meta_bytes) // ALIGN) * ALIGN
        pixels: npt.NDArray[np.generic] = self._arena[place : place + data_bytes].view(dtype)
        data = pixels.reshape((height, width, channels)[:ndim])
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
            epoch,
            number,
            device_time_s,
            monotonic_ns,
            data,
            meta,
            end,
        )

    def _still_there(self, position: int, start: int) -> bool:
        overwritten = self._words[HEAD] - start > self.spec.arena_bytes
        return not overwritten and self._words[PUBLISHED] - position < self.spec.entry_count

    def close(self) -> None:
        """Close the descriptors; the memory goes with the last process (and view) that holds it."""
        for fd in (*self.spec.fds, self._fence_fd):
            if fd >= 0:
                os.close(fd)


def _signal(fd: int) -> None:
    with contextlib.suppress(
        BlockingIOError
    ):  # nobody has read it for 2^64 frames; it is readable all the same
        os.eventfd_write(fd, 1)


def drain_event(fd: int) -> None:
    """Reset an eventfd after a wake-up."""
    try:
        os.eventfd_read(fd)
    except BlockingIOError:
        return
