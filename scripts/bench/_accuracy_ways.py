"""The ways of the accuracy benchmark: which cameras see what, and what the fit and the tracker make of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body.cold import fit_cold
from capture.body.model import BodyModel
from capture.body.tracker import Tracker
from capture.body.views import Observation
from scripts.bench._accuracy_errors import Errors, errors_mm
from scripts.bench._accuracy_scene import FOUR_VIEWS_DEG, TWO_VIEWS_DEG, Detector, Truth, cameras
from scripts.bench._mesh_clips import FPS

Float64 = npt.NDArray[np.float64]

SETTLING_FRAMES: Final = 3
"""Frames at the beginning of a clip that are not counted."""
_BETWEEN_S: Final = 0.003  # from one camera to the next, where they are taken in apart


@dataclass(frozen=True, slots=True)
class Way:
    """Cameras at these angles; with `staggered` one after the other, a tick each; `apart`: all at a tick, but
    each is taken in by itself, as they come live; `every` so many ticks, as on a small computer."""

    name: str
    angles_deg: tuple[float, ...]
    depth: bool = False
    landmarks: bool = False
    staggered: bool = False
    apart: bool = False
    every: int = 1


WAYS: Final = (
    Way("mono", (0.0,)),
    Way("mono + landmarks", (0.0,), landmarks=True),
    Way("mono + depth", (0.0,), depth=True),
    Way("two views", TWO_VIEWS_DEG),
    Way("four views", FOUR_VIEWS_DEG),
    Way("four staggered", FOUR_VIEWS_DEG, staggered=True),
    Way("four apart", FOUR_VIEWS_DEG, apart=True),
    Way("mono + depth, 4 Hz", (0.0,), depth=True, every=7),
    Way("two views, 4 Hz", TWO_VIEWS_DEG, apart=True, every=7),
    Way("four views, 4 Hz", FOUR_VIEWS_DEG, apart=True, every=7),
)


@dataclass(slots=True)
class Figures:
    """Of one way, cold or tracked: errors by clip, CPU by update, and how often there was a body at all."""

    way: str
    is_cold: bool
    by_clip: dict[str, Errors] = field(default_factory=dict)
    cpu_ms: list[float] = field(default_factory=list)
    asked: int = 0
    found: int = 0

    @property
    def errors(self) -> Errors:
        """The mean over clips, each of the same weight."""
        return Errors.mean(list(self.by_clip.values()))

    @property
    def found_share(self) -> float:
        return self.found / self.asked if self.asked else 0.0

    @property
    def name(self) -> str:
        return f"{self.way}, {'cold' if self.is_cold else 'tracked'}"


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    name: str
    heading_deg: float
    truths: list[Truth]


def sights(way: Way, clip: Clip) -> Iterator[tuple[Truth, list[Observation]]]:
    """Moment by moment what the cameras tell; all ways see the same noise."""
    views = cameras(way.angles_deg, clip.heading_deg)
    detectors = [
        Detector(view, clip.name, number, depth=way.depth, landmarks=way.landmarks)
        for number, view in enumerate(views)
    ]
    for moment, truth in enumerate(clip.truths):
        looking = [detectors[moment % len(detectors)]] if way.staggered else detectors
        yield truth, [detector.see(truth) for detector in looking]


def measure_cold(way: Way, clip: Clip, body: BodyModel, into: Figures, *, every: int) -> None:
    """Fits single moments of the clip, each without memory."""
    errors = []
    for moment, (truth, observations) in enumerate(sights(way, clip)):
        if moment % every == every // 2:
            before_s = time.process_time()
            fit = fit_cold(body, observations)
            into.cpu_ms.append(1e3 * (time.process_time() - before_s))
            into.asked += 1
            if fit is not None:
                into.found += 1
                errors.append(errors_mm(body.pose(fit.parameters()), truth.joints_m))
    if errors:
        into.by_clip[clip.name] = Errors.mean(errors)


def measure_tracked(way: Way, clip: Clip, body: BodyModel, into: Figures) -> None:
    """Follows the clip from its first moment on."""
    tracker = Tracker(body)
    errors = []
    for moment, (truth, observations) in enumerate(sights(way, clip)):
        if moment % way.every:
            continue
        groups = [[one] for one in observations] if way.apart else [observations]
        before_s = time.process_time()
        for number, group in enumerate(groups):
            track = tracker.update(moment / FPS + number * _BETWEEN_S, group)
        if moment >= SETTLING_FRAMES:
            into.cpu_ms.append(1e3 * (time.process_time() - before_s) / len(groups))
            into.asked += 1
            if track is not None:
                into.found += 1
                errors.append(errors_mm(body.pose(track.parameters()), truth.joints_m))
    if errors:
        into.by_clip[clip.name] = Errors.mean(errors)


def measure(ways: Sequence[Way], clips: Sequence[Clip], body: BodyModel, *, cold_every: int) -> list[Figures]:
    """Every way over every clip, cold (where cameras see at once) and tracked."""
    out = []
    for way in ways:
        if not (way.staggered or way.apart or way.every > 1):
            cold = Figures(way.name, True)
            for clip in clips:
                measure_cold(way, clip, body, cold, every=cold_every)
            out.append(cold)
        tracked = Figures(way.name, False)
        for clip in clips:
            measure_tracked(way, clip, body, tracked)
        out.append(tracked)
    return out
