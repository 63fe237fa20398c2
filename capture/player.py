"""What a recording shows at a moment, and how that moment moves on: a player without a window.

Positions are nanoseconds on the recording's monotonic clock. Knows no screen, keys or real time: whoever
shows it says how much time has passed, and draws `tiles()` and `fields()`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capture._picture_streams import picture_streams
from capture.decoding import decode
from capture.preview.depth_colors import DEFAULT_RANGE, DepthRange, follow
from capture.preview.status import Field
from capture.preview.tiles import Tile
from capture.recording import RecordedStream, Recording
from codec.errors import CodecError, DamagedError
from codec.records import CODEC_JPEG

_SILENT_S = 1.0
_SILENT_FRAMES = 5
_DEFAULT_FPS = 30.0


@dataclass(slots=True)
class _Shown:
    """The frame of a stream that is on the screen."""

    stream: RecordedStream
    index: int = -2
    at_ns: int = 0
    number: int = 0
    data: npt.NDArray[np.generic] | None = None
    pixel_format: str = ""
    note: str = ""

    def show(self, index: int) -> None:
        """Read that frame, unless it is the one already shown; -1 is none."""
        if index == self.index:
            return
        self.index, self.data, self.note = index, None, ""
        self.pixel_format = self.stream.info.pixel_format
        if index < 0:
            return
        try:
            record = self.stream.record(index)
            self.at_ns, self.number = record.header.monotonic_ns, record.header.number
            if record.header.codec == CODEC_JPEG:  # decoded later, no larger than it is shown
                self.data, self.pixel_format = np.frombuffer(record.payload, np.uint8), "jpeg"
            else:
                self.data = decode(record.header, record.payload, self.pixel_format)
        except (DamagedError, CodecError):
            self.note = "this frame is damaged"


class Player:
    """The picture streams of a recording (of one camera, if named) at one position."""

    def __init__(
        self, recording: Recording, *, camera: str | None = None, speed: float = 1.0, loop: bool = False
    ) -> None:
        """Start at the beginning. Raises ConfigError where there is nothing to show."""
        self._recording = recording
        self._shown = [_Shown(stream) for stream in picture_streams(recording, camera)]
        self.speed, self.loop = speed, loop
        self.playing = True
        self.begin_ns = min(shown.stream.first_ns for shown in self._shown)
        self.end_ns = max(shown.stream.last_ns for shown in self._shown)
        self.position_ns = self.begin_ns
        self.span: DepthRange = DEFAULT_RANGE
        self._look()

    @property
    def at_end(self) -> bool:
        return self.position_ns >= self.end_ns

    @property
    def frame_s(self) -> float:
        """The interval of the stream that steps go by, as it is played."""
        return 1.0 / (self._pace_fps * self.speed)

    def advance(self, seconds: float) -> None:
        """So much real time has passed. At the end it begins again (loop) or stops."""
        if not self.playing:
            return
        self.position_ns += round(seconds * self.speed * 1e9)
        if self.at_end:
            self.position_ns = self.begin_ns if self.loop else self.end_ns
            self.playing = self.loop
        self._look()

    def toggle(self) -> None:
        """Pause or play; at the end, play from the beginning."""
        if not self.playing and self.at_end:
            self.position_ns = self.begin_ns
        self.playing = not self.playing

    def step(self, frames: int) -> None:
        """Pause, and go so many frames of the first stream on (or back)."""
        self.playing = False
        pace = self._shown[0].stream
        index = min(len(pace) - 1, max(0, pace.index_at(self.position_ns) + frames))
        self.position_ns = pace.time_ns(index)
        self._look()

    @property
    def _pace_fps(self) -> float:
        stream = self._shown[0].stream
        return stream.info.fps or stream.fps or _DEFAULT_FPS

    def _look(self) -> None:
        # What belongs to the same moment came a little later: wait a quarter of a frame for it.
        slack_ns = round(0.25e9 / self._pace_fps)
        for shown in self._shown:
            shown.show(shown.stream.index_at(self.position_ns + slack_ns))
        depths = [
            (np.asarray(s.data, np.uint16), s.stream.info.depth_scale_m or 0.001)
            for s in self._shown
            if s.pixel_format == "z16" and s.data is not None
        ]
        self.span = follow(self.span, depths)

    # ---- what to draw ----

    def tiles(self) -> list[Tile]:
        """One for each stream."""
        return [self._tile(shown) for shown in self._shown]

    def _tile(self, shown: _Shown) -> Tile:
        info = shown.stream.info
        group, _, name = shown.stream.name.rpartition("/")
        return Tile(
            group=group,
            name=name,
            width=info.width,
            height=info.height,
            pixel_format=shown.pixel_format,
            data=shown.data,
            depth_scale_m=info.depth_scale_m or 0.001,
            rate=Field("", f"#{shown.number}" if shown.index >= 0 else ""),
            note=shown.note or self._silence(shown),
        )

    def _silence(self, shown: _Shown) -> str:
        if shown.index < 0:
            return "nothing yet"
        fps = shown.stream.info.fps
        silent_s = (self.position_ns - shown.at_ns) / 1e9
        if silent_s <= max(_SILENT_S, _SILENT_FRAMES / fps if fps > 0 else 0.0):
            return ""
        return f"no frame for {silent_s:.0f} s"

    def fields(self) -> tuple[Field, ...]:
        """Where we are, for the line along the bottom."""
        into_s = (self.position_ns - self.begin_ns) / 1e9
        whole_s = (self.end_ns - self.begin_ns) / 1e9
        utc = self._recording.utc(self.position_ns)
        told = [Field("position", f"{_clock(into_s)} of {_clock(whole_s)}")]
        if utc is not None:
            told.append(Field("UTC", utc[:-1].replace("T", " ")))
        told.append(Field("speed", f"{self.speed:g}x"))
        missing = self._missing_now()
        if missing:
            told.append(Field("missing here", missing, "bad"))
        return tuple(told)

    def _missing_now(self) -> str:
        names = {shown.stream.name for shown in self._shown}
        slack_ns = round(1e9 / self._pace_fps)
        here = [
            gap
            for gap in self._recording.gaps
            if gap.stream in names and gap.start_ns - slack_ns <= self.position_ns <= gap.end_ns + slack_ns
        ]
        return ", ".join(dict.fromkeys(f"{gap.stream}: {gap.count} {gap.reason}" for gap in here))


def _clock(seconds: float) -> str:
    tenths = max(0, round(seconds * 10))
    return f"{tenths // 36000}:{tenths // 600 % 60:02d}:{tenths // 10 % 60:02d}.{tenths % 10}"
