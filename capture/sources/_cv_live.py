"""A live camera behind a blocking library: one thread waits for it, so that read() keeps its timeout.

Owns the thread and what lies between it and the reader. A picture that arrives is kept until it is read:
up to 64 of them and 64 MB, so that a reader which stalls for a second or two loses nothing and memory stays
bounded. Beyond that the oldest go; their numbers are missing then, which is how the writer learns of it.

The thread opens, reads and releases the device, because a device released under a waiting call crashes. A
call that hangs is therefore left behind by close(): the thread releases the device when the call returns. At
the end of the process every such thread is stopped and waited for, since one that comes back from C++ into a
dying interpreter aborts it.

Knows frames and errors, not OpenCV.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from typing import Protocol

from capture.frames import CameraInfo, Frame
from codec.errors import CameraLostError

_KEPT_FRAMES = 64
_KEPT_BYTES = 64 * 1024 * 1024
_CLOSE_WAIT_S = 1.0
_EXIT_WAIT_S = 6.0
_running: set[LiveVideo] = set()


@atexit.register
def _stop_all() -> None:
    deadline_s = time.monotonic() + _EXIT_WAIT_S
    for video in list(_running):
        video.stop(max(0.0, deadline_s - time.monotonic()))


class Feed(Protocol):
    """A device used from one thread, its calls blocking for about a second at most where that is possible."""

    def open(self) -> CameraInfo:
        """Open it and take the first picture, so that what it delivers is known."""

    def next(self) -> list[Frame]:
        """The next pictures, [] if none came for a while. Raises CameraLostError when it is gone."""

    def close(self) -> None:
        """Release it. Safe after a failed open()."""


class LiveVideo:
    """A Source over a Feed; opened once."""

    def __init__(self, camera: str, feed: Feed, *, open_timeout_s: float, read_timeout_s: float) -> None:
        self._camera = camera
        self._feed = feed
        self._open_timeout_s = open_timeout_s
        self._read_timeout_s = read_timeout_s
        self._news = threading.Condition()
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._info: CameraInfo | None = None
        self._failure: Exception | None = None
        self._stopping = False
        self._last_arrival_s = 0.0
        self._thread = threading.Thread(target=self._run, name=f"video {camera}", daemon=True)

    def open(self) -> CameraInfo:
        # Connecting and the first picture take up to a time-out each.
        patience_s = 2 * self._open_timeout_s
        _running.add(self)
        self._thread.start()
        with self._news:
            self._news.wait_for(lambda: self._info is not None or self._failure is not None, patience_s)
            if self._info is not None:
                return self._info
            if self._failure is None:
                self._failure = CameraLostError(
                    f"{self._camera}: opened, but no picture came within {patience_s:g} s; "
                    "too many cameras on one USB bus, or a stalled stream"
                )
            raise self._failure

    def read(self, timeout_s: float) -> list[Frame]:
        deadline_s = time.monotonic() + timeout_s
        with self._news:
            while not self._frames:
                if self._failure is not None:
                    raise self._failure
                now_s = time.monotonic()
                lost_at_s = self._last_arrival_s + self._read_timeout_s
                if now_s >= lost_at_s:
                    self._failure = CameraLostError(
                        f"{self._camera}: no picture for {self._read_timeout_s:g} s (read_timeout_s)"
                    )
                    raise self._failure
                if now_s >= deadline_s:
                    return []
                self._news.wait(min(deadline_s, lost_at_s) - now_s)
            frames = list(self._frames)
            self._frames.clear()
            self._bytes = 0
            return frames

    def close(self) -> None:
        self.stop(_CLOSE_WAIT_S)

    def stop(self, wait_s: float) -> None:
        """Tell the thread to end and wait that long for it."""
        with self._news:
            self._stopping = True
            self._failure = self._failure or CameraLostError(f"{self._camera}: closed")
        if self._thread.is_alive():
            self._thread.join(wait_s)

    def _run(self) -> None:
        try:
            info = self._feed.open()
            with self._news:
                self._info = info
                self._last_arrival_s = time.monotonic()
                self._news.notify_all()
            while not self._stopping:
                self._keep(self._feed.next())
        except Exception as error:  # whatever it is, it belongs to the reader: raised there
            with self._news:
                self._failure = self._failure or error
                self._news.notify_all()
        finally:
            self._feed.close()
            _running.discard(self)

    def _keep(self, frames: list[Frame]) -> None:
        if not frames:
            return
        with self._news:
            self._last_arrival_s = time.monotonic()
            for frame in frames:
                self._frames.append(frame)
                self._bytes += frame.data.nbytes
            while len(self._frames) > 1 and (len(self._frames) > _KEPT_FRAMES or self._bytes > _KEPT_BYTES):
                self._bytes -= self._frames.popleft().data.nbytes
            self._news.notify_all()
