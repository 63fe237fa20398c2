"""Whether a camera that is open has fallen silent, or one of its streams has: then it is to be opened again.

Knows when each stream gave its newest frame; opens and closes nothing.
"""

from __future__ import annotations

import time

from capture.backoff import HELD_S
from capture.counters import CounterPage
from capture.frames import CameraInfo, StreamInfo
from codec.errors import CameraLostError

_LONGEST_MUTE = 4
_SILENT_FRAMES = 3.0
_LONGEST_PATIENCE_S = 3600.0  # with one stream that stays silent while the others go on


class SilenceWatch:
    """Told of every opening and every new frame; asked now and then. Counts openings in vain as failures."""

    def __init__(self, stall_s: float, counters: CounterPage) -> None:
        self._stall_s, self._counters = stall_s, counters
        self._info: CameraInfo | None = None
        self._began_ns = 0
        self._mute = 0  # openings in a row that brought no frame
        self._heard = False
        self._fresh_ns: list[int] = []  # when each stream gave its newest frame
        self._patience_ns: list[int] = []  # how long each stream may be silent while others are not

    def begin(self, info: CameraInfo, now_ns: int) -> None:
        """The camera has been opened (again)."""
        self._info, self._began_ns, self._heard = info, now_ns, False
        self._fresh_ns = [now_ns for _ in info.streams]
        if len(self._patience_ns) != len(info.streams):
            self._patience_ns = [self._first_patience_ns(stream) for stream in info.streams]

    def hear(self, stream: int) -> None:
        """A new frame of that stream has come."""
        assert self._info is not None
        now_ns = time.monotonic_ns()
        self._fresh_ns[stream] = now_ns
        if not self._heard:
            self._heard, self._mute = True, 0
            self._counters["failures"] = 0
        if now_ns - self._began_ns > HELD_S * 1e9:
            self._patience_ns[stream] = self._first_patience_ns(self._info.streams[stream])

    def look(self) -> None:
        """Raises CameraLostError for a camera that gives nothing, or one of its streams nothing.

        While other streams go on, opening the camera again costs them: it is done more and more seldom.
        """
        assert self._info is not None
        now_ns, name = time.monotonic_ns(), self._info.name
        silent_s = (now_ns - max(self._fresh_ns, default=now_ns)) / 1e9
        if silent_s > self._longest_silence_s(self._info):
            if not self._heard:
                self._counters.add("failures")
                self._mute += 1
            raise CameraLostError(f"camera {name}: no frame for {silent_s:.0f} s; opening it again")
        for stream, info in enumerate(self._info.streams):
            silent_ns = now_ns - self._fresh_ns[stream]
            if silent_ns > self._patience_ns[stream]:
                longest_ns = max(self._first_patience_ns(info), round(1e9 * _LONGEST_PATIENCE_S))
                self._patience_ns[stream] = min(2 * self._patience_ns[stream], longest_ns)
                raise CameraLostError(
                    f"camera {name}: no {info.name} for {silent_ns / 1e9:.0f} s while its other streams"
                    " go on; opening it again"
                )

    def _longest_silence_s(self, info: CameraInfo) -> float:
        """Longer for a slow camera, and twice as long each time that opening it again brought nothing: a
        camera may need its time for the first picture."""
        fps = max((stream.fps for stream in info.streams), default=0.0)
        usual_s = max(self._stall_s, _SILENT_FRAMES / fps if fps > 0 else 0.0)
        return usual_s if self._heard else usual_s * 2.0 ** min(self._mute, _LONGEST_MUTE)

    def _first_patience_ns(self, stream: StreamInfo) -> int:
        slow_s = 10.0 / stream.fps if stream.fps > 0 else 0.0
        return round(1e9 * max(2.0 * self._stall_s, slow_s))
