"""What both kinds of mesh writers do: gather frames into segments for a pool, and tell what it could not do.

Owns the open segment and the end. What a segment is made of, and when it is full, is the writer's own.
"""

from __future__ import annotations

import time
from pathlib import Path

from codec.errors import CodecError
from codec.mesh.segment_pool import Segment, SegmentPool


class SegmentWriter:
    """Base of the writers, which make `_pool` once their file is there. Appended by one thread.

    `frames_total` were appended; `frames_stored` stand in the file as a whole; `frames_written` of these are
    certainly on the disk.
    """

    _pool: SegmentPool

    def __init__(self, path: Path, *, segment_s: float, by_frame_time: bool = False) -> None:
        self.path = path
        self.frames_total = 0
        self.frames_stored = 0
        self.frames_written = 0
        self._segment_s = segment_s
        self._by_frame_time = by_frame_time
        self._open = Segment()
        self._closed = False
        self._failure_told = False

    @property
    def is_behind(self) -> bool:
        """True while append() may have to wait for what compresses."""
        return self._pool.is_full

    def flush(self) -> None:
        """Close the open segment and wait until everything appended is on the disk."""
        with self._pool.changed:
            self._refuse_if_ended()
            self._seal()
            self._pool.drain()
            self._tell_failure()

    def _end(self) -> bool:
        """Write what is left and end the threads; False where that was done before."""
        with self._pool.changed:
            if self._closed:
                return False
            self._closed = True
            self._seal()
            self._pool.drain()
        self._pool.close()
        return True

    def _tell_failure_once(self) -> None:
        """Raise what the disk refused, unless append() or flush() has told it already."""
        if not self._failure_told:
            self._tell_failure()

    def _refuse_if_ended(self) -> None:
        if self._closed:
            raise CodecError(f"{self.path} is closed and takes no more frames")
        self._tell_failure()

    def _tell_failure(self) -> None:
        if self._pool.failure is not None:
            self._failure_told = True
            raise self._pool.failure

    def _due_in_s(self) -> float | None:
        if not self._open.frames:
            return None
        return self._open.opened_s + self._segment_s - time.monotonic()

    def _is_of_next(self, taken_ns: object) -> bool:
        """Whether the open segment ends before a frame that was taken then: one that catches up, with frames
        that had waited, must hold no more than one that keeps pace."""
        first_ns = self._open.time_ns
        if not self._by_frame_time or not first_ns or not isinstance(taken_ns, int):
            return False
        return taken_ns - first_ns >= self._segment_s * 1e9

    def _make_room(self) -> None:
        """Close the open segment, as soon as the pool takes another one. Held lock: that of the pool."""
        self._pool.wait_for_room()
        self._tell_failure()
        self._seal()

    def _seal(self) -> None:
        if self._open.frames:
            segment, self._open = self._open, Segment()
            self._pool.put(segment)
