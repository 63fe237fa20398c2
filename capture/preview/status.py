"""The line of truth: what a recording's counters say, as short labelled values.

Pure data: `Status` is what the sampler reads, `fields` says it in words, with a level wherever a number
deserves a look. Nothing is hidden: what was dropped or lost is in red from the first frame on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["plain", "good", "warn", "bad"]

_QUEUE_WARN, _QUEUE_BAD = 0.25, 0.75
_DISK_WARN_H, _DISK_BAD_H = 4.0, 1.0
_SLOW = 0.9  # of the nominal rate


@dataclass(frozen=True, slots=True)
class Field:
    """One labelled value of the line."""

    label: str
    value: str
    level: Level = "plain"


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast something comes; `nominal_fps` 0 where nobody knows how fast it should."""

    name: str
    fps: float
    nominal_fps: float = 0.0

    @property
    def level(self) -> Level:
        return "warn" if self.fps < _SLOW * self.nominal_fps else "plain"


@dataclass(frozen=True, slots=True)
class Status:
    """A look at a running recording.

    Rates in bytes a second, `disk_rate` of the last second and `mean_rate` of the last few; `free_bytes` is
    the room above the reserve.
    """

    elapsed_s: float
    cameras: tuple[Rate, ...]
    results: tuple[Rate, ...]
    fill: float
    disk_rate: float
    mean_rate: float
    free_bytes: int
    dropped: int
    lost: int
    codec: str
    wanted_codec: str


def fields(status: Status) -> tuple[Field, ...]:
    """The whole line, most needed first."""
    return (
        Field("recorded", clock(status.elapsed_s)),
        *(Field(rate.name, f"{rate.fps:.1f} fps", rate.level) for rate in status.cameras),
        *(Field(rate.name, f"{rate.fps:.1f} /s", rate.level) for rate in status.results),
        Field("queue", f"{100 * status.fill:.0f} %", _fill_level(status.fill)),
        Field("written", f"{status.disk_rate / 1e6:.1f} MB/s"),
        Field("dropped", str(status.dropped), "bad" if status.dropped else "good"),
        Field("lost", str(status.lost), "bad" if status.lost else "good"),
        _disk(status),
        Field("depth codec", status.codec, "plain" if status.codec == status.wanted_codec else "warn"),
    )


def clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    whole = max(0, int(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _fill_level(fill: float) -> Level:
    if fill > _QUEUE_BAD:
        return "bad"
    return "warn" if fill > _QUEUE_WARN else "plain"


def _disk(status: Status) -> Field:
    if status.free_bytes == 0:
        return Field("disk", "full", "bad")
    if status.mean_rate <= 0:
        return Field("disk", f"{status.free_bytes / 1e9:.1f} GB free")
    hours = status.free_bytes / status.mean_rate / 3600
    level: Level = "plain"
    if hours < _DISK_WARN_H:
        level = "bad" if hours < _DISK_BAD_H else "warn"
    text = f"{hours:.1f} h left" if hours < 100 else f"{hours / 24:.0f} days left"
    return Field("disk", text, level)
