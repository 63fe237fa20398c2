"""A few threads that compress segments side by side and hand them on in order.

Owns the threads and the segments between being filled and being written. Promises: `write` is called for
one segment at a time, in the order they were put, and a segment counts as done only after it; put() waits
where the threads are too far behind, which bounds memory; the first failure ends everything, and whatever
call comes next tells it. Threads are started as they are needed, and are daemons: a program that forgets
to close ends all the same.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from codec.errors import CodecError, NightrigError


@dataclass(slots=True)
class Segment:
    """Frames that are compressed together: `count` of them, let go once they are compressed.

    `numbers`: how many numbers they hold, `lasted_s`: from the first frame to the last.
    """

    frames: list[Any] = field(default_factory=list)
    count: int = 0
    size: int = 0
    numbers: int = 0
    opened_s: float = 0.0
    lasted_s: float = 0.0
    started: bool = False
    packed: bytes | None = None
    time_ns: int = 0  # of its first frame, where that is known


class SegmentPool:
    """`compress` runs in any thread, `write` in one at a time.

    `due_s` is asked while nobody puts anything: after how many seconds tick() should be called, or None.
    """

    def __init__(
        self,
        *,
        threads: int,
        name: str,
        compress: Callable[[Segment], bytes],
        write: Callable[[Segment], None],
        due_s: Callable[[], float | None],
        tick: Callable[[], None],
    ) -> None:
        self.changed = threading.Condition(threading.RLock())
        self._threads_max = threads
        self._name = name
        self._compress, self._write = compress, write
        self._due_s, self._tick = due_s, tick
        self._segments: deque[Segment] = deque()
        self._threads: list[threading.Thread] = []
        self._writing = False
        self._closing = False
        self.failure: NightrigError | None = None
        self._start_thread()

    @property
    def is_full(self) -> bool:
        """True while wait_for_room() would wait."""
        return len(self._segments) > self._threads_max

    @property
    def waiting(self) -> int:
        """Segments that no thread has begun with."""
        return sum(not segment.started for segment in tuple(self._segments))

    def wait_for_room(self) -> None:
        """Held lock: `changed`."""
        self.changed.wait_for(lambda: not self.is_full or self.failure is not None)

    def put(self, segment: Segment) -> None:
        """Held lock: `changed`."""
        segment.lasted_s = time.monotonic() - segment.opened_s
        self._segments.append(segment)
        if self.waiting > 1 and len(self._threads) < self._threads_max:
            self._start_thread()
        self.changed.notify_all()

    def drain(self) -> None:
        """Wait until everything is written, or something failed. Held lock: `changed`."""
        self.changed.wait_for(lambda: not self._segments or self.failure is not None)

    def close(self) -> None:
        """End the threads; what is not drained is lost. Not under the lock."""
        with self.changed:
            self._closing = True
            self.changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (segment := self._next_segment()) is not None:
            failure: NightrigError | None = None
            try:
                segment.packed = self._compress(segment)
                segment.frames.clear()
                self._write_what_is_ready()
            except NightrigError as error:
                failure = error
            except Exception as error:
                failure = CodecError(f"cannot compress frames for {self._name}: {error}")
                failure.__cause__ = error
            if failure is not None:
                with self.changed:
                    self.failure = self.failure or failure
                    self._segments.clear()
                    self.changed.notify_all()
                return

    def _write_what_is_ready(self) -> None:
        """The first segments, as far as they are compressed, unless another thread is at it."""
        while True:
            with self.changed:
                first = self._segments[0] if self._segments else None
                if self._writing or self.failure or first is None or first.packed is None:
                    return
                self._writing = True
            try:
                self._write(first)
            except BaseException:
                with self.changed:
                    self._writing = False
                raise
            with self.changed:
                self._writing = False
                if self._segments and self._segments[0] is first:  # a failure elsewhere empties it
                    self._segments.popleft()
                self.changed.notify_all()

    def _next_segment(self) -> Segment | None:
        with self.changed:
            while True:
                if self.failure is not None:
                    return None
                for segment in self._segments:
                    if not segment.started:
                        segment.started = True
                        return segment
                if self._closing:
                    return None
                due_s = self._due_s()
                if due_s is not None and due_s <= 0.0:
                    self._tick()
                else:
                    self.changed.wait(due_s)
