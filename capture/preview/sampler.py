"""Rings and counters, looked at: what there is to show, and the numbers beside it.

An observer: copies the newest frame of a stream when asked for it and holds nothing. Frames are not
touched unless they are asked for; rates and silence come from the counters, so that they go on while
the picture is frozen. Knows no OpenCV and no window.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from capture import ring as kinds
from capture.camera import COUNTERS as CAMERA_COUNTERS
from capture.camera import DONE
from capture.counters import CounterPage
from capture.frames import CameraInfo, StreamInfo
from capture.preview.job import PreviewJob
from capture.preview.status import Rate, Status
from capture.ring import FrameRing, RingFrame
from capture.totals import count_totals
from capture.wire import camera_info_from_dict
from capture.writer import COUNTERS as WRITER_COUNTERS
from codec.depth import codec_by_id

_RATE_WINDOW_S = 3.0
_MEAN_LOOKS = 10  # over about so many looks goes the mean rate that the hours left are reckoned from


@dataclass(frozen=True, slots=True)
class Channel:
    """One stream of a camera or of an estimator. `owner` is the name of its ring."""

    owner: str
    index: int
    camera: CameraInfo
    stream: StreamInfo
    is_result: bool


@dataclass(slots=True)
class _Beat:
    """A counter through time: how fast it runs, and since when it stands still."""

    samples: deque[tuple[float, int]] = field(default_factory=deque)
    changed_s: float = 0.0

    def look(self, now_s: float, count: int) -> None:
        if not self.samples or self.samples[-1][1] != count:
            self.changed_s = now_s
        if len(self.samples) == 1 and self.samples[0][1] == count:
            self.samples.clear()  # it has not begun: the time until it does is no part of its rate
        self.samples.append((now_s, count))
        while len(self.samples) > 2 and now_s - self.samples[1][0] >= _RATE_WINDOW_S:
            self.samples.popleft()

    @property
    def fps(self) -> float:
        if len(self.samples) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self.samples[0], self.samples[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


class Sampler:
    """Attaches to everything in the job. Call `look` a few times a second, the rest when it is needed."""

    def __init__(self, job: PreviewJob, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._cameras: dict[str, CameraInfo] = dict(job.cameras)
        self._results: dict[str, CameraInfo] = {}
        self.camera_names = tuple(job.rings)
        self._rings = {name: FrameRing(spec) for name, spec in (job.rings | job.results).items()}
        self._lanes = {name: lane for lane, name in enumerate((*job.rings, *job.results))}
        self._pages = {name: CounterPage(CAMERA_COUNTERS, fd) for name, fd in job.camera_counters.items()}
        self._writer = CounterPage(WRITER_COUNTERS, job.writer_counters_fd)
        self._result_names = tuple(job.results)
        self._info_seen: dict[str, int] = {}
        self._scanned: dict[tuple[str, int], int] = {}
        self._seen_ns: dict[tuple[str, int], int] = {}
        self._beats: dict[tuple[str, int], _Beat] = {}
        self._started_s: float | None = None
        self._mean_rate = 0.0
        self._looks = 0
        self._wanted_codec = job.depth_codec
        self.look()

    # ---- what there is ----

    def look(self) -> None:
        """Notice cameras that opened (again) and estimators that began; note all counters."""
        for name in self._rings:
            self._look_for_info(name)
        now_s = self._clock()
        for channel in self.channels():
            beat = self._beats.setdefault((channel.owner, channel.index), _Beat())
            beat.look(now_s, self._count(channel))
            if self._started_s is None and not channel.is_result and self._count(channel):
                fps = channel.stream.fps
                self._started_s = now_s - (self._count(channel) / fps if fps > 0 else 0.0)

    def _look_for_info(self, name: str) -> None:
        """Read the entry in which the producer describes itself, before the ring writes over it."""
        ring = self._rings[name]
        before = self._info_seen.get(name, 0)
        published = ring.published
        entry = ring.newest(0, after=before, kind=kinds.INFO)
        self._info_seen[name] = published
        if entry is not None:
            infos = self._cameras if name in self._pages else self._results
            infos[name] = camera_info_from_dict(json.loads(bytes(entry.data)))

    def channels(self) -> list[Channel]:
        """All streams that are known by now: cameras in the rig's order, then estimators."""
        found = []
        for names, infos, is_result in (
            (self.camera_names, self._cameras, False),
            (self._result_names, self._results, True),
        ):
            for name in names:
                info = infos.get(name)
                for index, stream in enumerate(info.streams if info else ()):
                    assert info is not None
                    found.append(Channel(name, index, info, stream, is_result))
        return found

    def newest(self, channel: Channel) -> RingFrame | None:
        """A copy of the newest frame, or None where there is none that was not returned before.

        Where the queue is full, the newest is one that it refused: what is shown stays live all the same.
        """
        ring = self._rings[channel.owner]
        key = (channel.owner, channel.index)
        after = self._scanned.get(key, 0)
        published = ring.published
        frame = ring.newest(channel.index, after=after)
        self._scanned[key] = published if frame is None else frame.sequence
        seen_ns = max(self._seen_ns.get(key, 0), frame.monotonic_ns if frame is not None else 0)
        frame = ring.glimpse(channel.index, after_ns=seen_ns) or frame
        if frame is not None:
            self._seen_ns[key] = frame.monotonic_ns
        return frame

    # ---- how it goes ----

    def rate(self, channel: Channel) -> Rate:
        """Frames a second that came in (of a camera) or were written (of an estimator)."""
        beat = self._beats.get((channel.owner, channel.index), _Beat())
        nominal_fps = 0.0 if channel.is_result else channel.stream.fps
        return Rate(channel.owner, beat.fps, nominal_fps)

    def silent_s(self, channel: Channel) -> float:
        """For how long nothing has come."""
        beat = self._beats.get((channel.owner, channel.index))
        return self._clock() - beat.changed_s if beat else 0.0

    def ended(self, camera: str) -> bool:
        """True where the source has come to its end, or was told to stop."""
        return self._pages[camera]["state"] == DONE

    def status(self) -> Status:
        """The line of truth; call it once in about a second."""
        totals = count_totals(
            [(name, self._cameras.get(name), self._pages[name]) for name in self.camera_names],
            [],
            self._writer,
        )
        rate = self._writer["disk_rate"]
        self._looks = min(_MEAN_LOOKS, self._looks + 1) if rate else self._looks
        self._mean_rate += (rate - self._mean_rate) / max(1, self._looks)
        return Status(
            elapsed_s=0.0 if self._started_s is None else self._clock() - self._started_s,
            cameras=tuple(self._camera_rate(name) for name in self.camera_names),
            results=self._result_rates(),
            fill=max((ring.fill for ring in self._rings.values()), default=0.0),
            disk_rate=rate,
            mean_rate=self._mean_rate,
            free_bytes=self._writer["free_bytes"],
            dropped=sum(stream.dropped for stream in totals.streams.values()),
            lost=sum(stream.lost_at_camera for stream in totals.streams.values()),
            codec=codec_by_id(self._writer["depth_codec"]).name,
            wanted_codec=self._wanted_codec,
        )

    def _camera_rate(self, name: str) -> Rate:
        """The stream that lags most behind its nominal rate speaks for the camera."""
        rates = [self.rate(channel) for channel in self.channels() if channel.owner == name]
        if not rates:
            return Rate(name, 0.0, 1.0)
        return min(rates, key=lambda rate: rate.fps / rate.nominal_fps if rate.nominal_fps else 1.0)

    def _result_rates(self) -> tuple[Rate, ...]:
        rates: dict[str, Rate] = {}
        for channel in self.channels():
            if channel.is_result:
                rate = self.rate(channel)
                known = rates.get(channel.owner)
                rates[channel.owner] = rate if known is None or rate.fps > known.fps else known
        return tuple(rates.values())

    def _count(self, channel: Channel) -> int:
        if channel.is_result:
            return self._writer[f"written{self._lanes[channel.owner]}.{channel.index}"]
        return self._pages[channel.owner][f"captured{channel.index}"]
