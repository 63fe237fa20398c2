"""One run through a librealsense recording: the library's playback device, its sensors and their queue.

Owns the order in which the library must be told things for no frame to get lost, and the way out of a
player that is waiting for us. Knows no formats and no pace.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from capture.sources._rs_options import stereo_baseline_m
from capture.sources._rs_profiles import Chosen, stream_key
from capture.sources._rs_sdk import SOFTWARE_ONLY, start_into_queue

# How far the library reads ahead before it waits for us. Not less: a player that has to wait before
# `resume` has returned holds it up for ten seconds, and nobody can make room meanwhile.
_QUEUED_BYTES = 64 << 20
_FEWEST_QUEUED, _MOST_QUEUED = 8, 256
_STEP_MS = 20
_BYTES_PER_PIXEL = {"y8": 1, "z16": 2, "yuyv": 2, "uyvy": 2, "rgba8": 4, "bgra8": 4}
_RANKS = {"depth": 0, "color": 1}


class BagPlayer:
    """Plays a file once. RuntimeError where the library cannot load it."""

    def __init__(self, rs: Any, path: Path) -> None:
        self._rs = rs
        self._context = rs.context(SOFTWARE_ONLY)
        self.device = self._context.load_device(str(path))
        self._playback = self.device.as_playback()
        # Before anything is started: with real time on, what we fetch too late is dropped.
        self._playback.set_real_time(False)
        self._queue: Any = None
        self._sensors = list(self.device.query_sensors())
        self._running: list[Any] = []
        self.duration_s: float = self._playback.get_duration().total_seconds()
        self.position_s = 0.0  # the furthest place the library was seen reading at

    def recorded(self) -> list[Chosen]:
        """Every recorded stream: depth, colour, and then the others by name."""
        found: dict[tuple[int, int], Chosen] = {}
        for number, sensor in enumerate(self._sensors):
            for profile in sensor.get_stream_profiles():
                found.setdefault(stream_key(profile), Chosen(_name(profile), number, profile))
        return sorted(found.values(), key=lambda choice: (_RANKS.get(choice.name, len(_RANKS)), choice.name))

    def depth_scale_m(self, choice: Chosen) -> float | None:
        sensor = self._sensors[choice.sensor]
        if choice.name != "depth" or not sensor.is_depth_sensor():
            return None
        return float(sensor.as_depth_sensor().get_depth_scale())

    def baseline_m(self, choice: Chosen) -> float | None:
        """Of a stereo camera's depth stream, where the recording has it."""
        return stereo_baseline_m(self._rs, self._sensors[choice.sensor]) if choice.name == "depth" else None

    def start(self, streams: Sequence[Chosen]) -> None:
        largest = max(_frame_bytes(choice.profile) for choice in streams)
        capacity = min(max(_FEWEST_QUEUED, _QUEUED_BYTES // largest), _MOST_QUEUED)
        self._queue = self._rs.frame_queue(capacity, keep_frames=True)
        # Paused while several sensors start: the file begins with the first of them, and the others would
        # miss what is read before their turn.
        several = len({choice.sensor for choice in streams}) > 1
        if several:
            self._playback.pause()
        for number, sensor in enumerate(self._sensors):
            profiles = [choice.profile for choice in streams if choice.sensor == number]
            if profiles:
                sensor.open(profiles)
                self._running.append(sensor)
        for sensor in self._running:
            start_into_queue(self._rs, sensor, self._queue)
        if several:
            self._playback.resume()

    def take(self, timeout_s: float) -> Any | None:
        """The next frame of the file; None where none came in time or the file is at its end."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            left_ms = max(0, round((deadline_s - time.monotonic()) * 1000))
            # In small steps, for the end of the file wakes nobody.
            frame = self._queue.try_wait_for_frame(min(left_ms, _STEP_MS))[1]
            self.position_s = max(self.position_s, self._playback.get_position() / 1e9)
            if frame:
                return frame
            if left_ms <= _STEP_MS or self.has_ended:
                return None

    @property
    def has_ended(self) -> bool:
        """The library has read all it can, and we have fetched it all."""
        stopped = self._playback.current_status() == self._rs.playback_status.stopped
        return bool(stopped) and self._queue.size() == 0

    def stop(self) -> None:
        """Let go of the file. The library may be waiting for room in the queue: that is emptied meanwhile."""
        stopper = threading.Thread(target=self._stop_sensors, name="bag stopper", daemon=True)
        stopper.start()
        while stopper.is_alive():
            self._queue.try_wait_for_frame(_STEP_MS)
        stopper.join()

    def _stop_sensors(self) -> None:
        for sensor in self._running:
            with contextlib.suppress(RuntimeError):  # at its end the library has stopped it already
                sensor.stop()
            with contextlib.suppress(RuntimeError):
                sensor.close()
        self._running = []


def _frame_bytes(profile: Any) -> int:
    video = profile.as_video_stream_profile()
    return int(video.width() * video.height()) * _BYTES_PER_PIXEL.get(profile.format().name, 3)


def _name(profile: Any) -> str:
    stream, index = str(profile.stream_type().name), int(profile.stream_index())
    if stream == "infrared":
        return f"infrared{index or 1}"
    return f"{stream}{index}" if index else stream
