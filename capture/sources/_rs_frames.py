"""From a librealsense frame to ours: the pixels as they lie, its number, its time, what it says of itself.

Promises: no picture twice (a camera whose colour has stalled may repeat its last one for ever), numbers
that never fall, a hardware clock that does not wrap. Owns one stream's state since it was opened; knows no
device and no queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.frames import Frame, StreamInfo

Array = npt.NDArray[np.generic]

# The device counts microseconds in 32 bits: 71 min 35 s.
CLOCK_PERIOD_S = 2.0**32 / 1e6
_CLOCKS = {"hardware_clock": "hardware", "system_time": "system", "global_time": "global"}
_REMEMBERED = 64

# Our name, and librealsense's.
_METADATA = (
    ("exposure", "actual_exposure"),
    ("gain", "gain_level"),
    ("auto_exposure", "auto_exposure"),
    ("laser_power", "frame_laser_power"),
    ("emitter_mode", "frame_emitter_mode"),
    ("white_balance", "white_balance"),
    ("temperature", "temperature"),
    ("frame_timestamp_us", "frame_timestamp"),
    ("sensor_timestamp_us", "sensor_timestamp"),
    ("arrival_wall_ms", "time_of_arrival"),
)


class DeviceClock:
    """Where the unwrapped hardware clock of a device should be by now; one for all its streams.

    Reckoned from the newest frame of any stream and the host's clock, so that a silence of hours, or a
    stream that begins just after the wrap, comes out right.
    """

    def __init__(self) -> None:
        self._latest_s: float | None = None
        self._latest_ns = 0

    def expected_s(self, monotonic_ns: int) -> float | None:
        """None before the first frame."""
        if self._latest_s is None:
            return None
        return self._latest_s + max(0, monotonic_ns - self._latest_ns) / 1e9

    def seen(self, time_s: float, monotonic_ns: int) -> None:
        if self._latest_s is None or time_s >= self._latest_s:
            self._latest_s, self._latest_ns = time_s, monotonic_ns


class StreamReader:
    """Turns the frames of one stream into ours.

    A frame that is not a picture of the stream's size is left out, and so is missing from the numbers;
    `unreadable` counts such.

    `process` is a filter of the library that each frame goes through first (decimation), `convert` what
    its pixels go through after that; without either they stay where the library put them.
    """

    def __init__(
        self,
        rs: Any,
        info: StreamInfo,
        clock: DeviceClock,
        *,
        process: Callable[[Any], Any] | None = None,
        convert: Callable[[Array], Array] | None = None,
    ) -> None:
        self._rs = rs
        self._info = info
        self._clock = clock
        self._process = process
        self._convert = convert
        self.unreadable = 0
        self._metadata: tuple[tuple[str, Any], ...] | None = None
        self._recent: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
        self._number = -1
        self._raw_number = -1
        self._number_shift = 0
        self._time_s = 0.0
        self._time_shift_s = 0.0
        self._frame_ns = 0

    def take(self, sdk_frame: Any, monotonic_ns: int) -> Frame | None:
        """Our frame, its data still in the library's memory; None for one that was here before or is none."""
        raw_number, raw_ms = sdk_frame.get_frame_number(), sdk_frame.get_timestamp()
        restarted = raw_number <= self._raw_number
        if restarted and (raw_number == self._raw_number or (raw_number, raw_ms) in self._recent):
            return None
        self._recent.append((raw_number, raw_ms))
        if restarted:
            self._number_shift = self._number + self._intervals_since_last(monotonic_ns) - raw_number
        clock = _CLOCKS.get(sdk_frame.get_frame_timestamp_domain().name, "")
        time_s = raw_ms / 1000.0
        if clock == "hardware":
            time_s = self._unwrapped_s(time_s, monotonic_ns)
        self._raw_number, self._number = raw_number, raw_number + self._number_shift
        self._frame_ns = monotonic_ns
        meta = self._meta(sdk_frame, restarted)
        if self._process is not None:
            sdk_frame = self._process(sdk_frame)
            sdk_frame.keep()  # out of the filter's own pool of 16
        data = np.asanyarray(sdk_frame.get_data())
        if data.shape[:2] != (self._info.height, self._info.width) or data.dtype.kind != "u":
            self.unreadable += 1
            return None
        if self._convert is not None:
            data = self._convert(data)
        return Frame(self._info.name, self._number, data, time_s, clock, monotonic_ns, meta)

    def _intervals_since_last(self, monotonic_ns: int) -> int:
        """How many frames on we are, when the counter began anew and only the host's clock knows."""
        return max(1, round((monotonic_ns - self._frame_ns) / 1e9 * self._info.fps))

    def _unwrapped_s(self, raw_s: float, monotonic_ns: int) -> float:
        expected_s = self._clock.expected_s(monotonic_ns)
        time_s = raw_s + self._time_shift_s
        if expected_s is not None:
            time_s += round((expected_s - time_s) / CLOCK_PERIOD_S) * CLOCK_PERIOD_S
            if time_s < self._time_s:
                # Not a wrap: the clock itself began anew. Go on from where it should be.
                behind_s = max(expected_s, self._time_s) - time_s
                self._time_shift_s += behind_s
                time_s += behind_s
        self._time_s = time_s
        self._clock.seen(time_s, monotonic_ns)
        return time_s

    def _meta(self, sdk_frame: Any, restarted: bool) -> bytes:
        if self._metadata is None:
            # What a stream supports does not change while it runs; asking every frame would cost more than
            # the answers.
            values = self._rs.frame_metadata_value.__members__
            self._metadata = tuple(
                (name, values[sdk_name])
                for name, sdk_name in _METADATA
                if sdk_name in values and sdk_frame.supports_frame_metadata(values[sdk_name])
            )
        parts = []
        for name, key in self._metadata:
            try:
                parts.append(f'"{name}":{sdk_frame.get_frame_metadata(key):d}')
            except RuntimeError:  # supported, but not in this frame
                continue
        if restarted:
            parts.append('"counter_restarted":true')
        return f"{{{','.join(parts)}}}".encode() if parts else b""
