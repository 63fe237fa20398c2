"""What trouble does to the tracking of one person, and how soon it is over.

A second in which the person is out of view, in which detectors tell nonsense, or without a camera; and
detectors whose key points lie anywhere once in ten times, all the time.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body.model import BodyModel
from capture.body.tracker import Tracker
from capture.body.views import Observation
from scripts.bench._accuracy_errors import Errors, errors_mm
from scripts.bench._accuracy_scene import SIZE_PX
from scripts.bench._accuracy_ways import SETTLING_FRAMES, Clip, Way, sights
from scripts.bench._mesh_clips import FPS

Float64 = npt.NDArray[np.float64]
Change = Callable[[list[Observation], np.random.Generator], list[Observation]]

WILD_SHARE: Final = 0.1
BEFORE_FRAMES: Final = 30
TROUBLE_FRAMES: Final = 30
LEAST_FRAMES: Final = BEFORE_FRAMES + TROUBLE_FRAMES + 31

_AS_GOOD_MM: Final = 20.0
_FOR_FRAMES: Final = 5
_DEPTH_SPREAD_M: Final = 1.3  # further from the person's middle, depth is not taken for the person's


@dataclass(frozen=True, slots=True)
class Trouble:
    """Errors while it lasts, of those moments in which there is a body, and how long after its end a body is
    as good again as without it: within two centimetres for five frames. Infinite: not within the clip."""

    way: str
    what: str
    undisturbed: Errors
    during: Errors
    found_share: float
    recovery_s: tuple[float, ...] = ()


def scattered(share: float) -> Change:
    """That share of key points lies anywhere in the picture, and their depth anywhere near the person."""

    def change(observations: list[Observation], rng: np.random.Generator) -> list[Observation]:
        return [_scattered(one, rng, rng.random(len(one.points_px)) < share) for one in observations]

    return change


def _scattered(one: Observation, rng: np.random.Generator, is_wild: npt.NDArray[np.bool_]) -> Observation:
    anywhere = rng.uniform((0.0, 0.0), SIZE_PX, one.points_px.shape)
    points = np.where(is_wild[:, None], anywhere, one.points_px)
    targets = None
    if one.targets_m is not None and one.target_weights is not None:
        known = one.targets_m[one.target_weights > 0, 2]
        middle_m = float(np.median(known)) if len(known) else 3.0
        rays = np.column_stack([(points - one.view.centre_px) / one.view.focal_px, np.ones(len(points))])
        distance_m = middle_m + rng.uniform(-_DEPTH_SPREAD_M, _DEPTH_SPREAD_M, len(points))
        targets = np.where(is_wild[:, None], rays * distance_m[:, None], one.targets_m)
    return replace(one, points_px=points, targets_m=targets)


def out_of_view(observations: list[Observation], rng: np.random.Generator) -> list[Observation]:
    return []


def without_a_camera(observations: list[Observation], rng: np.random.Generator) -> list[Observation]:
    return observations[1:]


TROUBLES: Final[dict[str, Change]] = {
    "a second out of view": out_of_view,
    "a second of nonsense": scattered(1.0),
    "a second without a camera": without_a_camera,
}


def disturb(way: Way, clips: Sequence[Clip], body: BodyModel) -> list[Trouble]:
    """One way in all kinds of trouble. Clips that are too short for it are left out."""
    long = [clip for clip in clips if len(clip.truths) >= LEAST_FRAMES]
    if not long:
        return []
    calm = [list(_followed(way, clip, body, {})) for clip in long]
    out = [
        _measured(way, f"{100 * WILD_SHARE:.0f} % wild key points", scattered(WILD_SHARE), long, calm, body)
    ]
    for what, change in TROUBLES.items():
        if len(way.angles_deg) > 1 or change is not without_a_camera:
            out.append(_measured(way, what, change, long, calm, body, passes=True))
    return out


def _measured(
    way: Way,
    what: str,
    change: Change,
    clips: Sequence[Clip],
    calm: Sequence[Sequence[Errors | None]],
    body: BodyModel,
    *,
    passes: bool = False,
) -> Trouble:
    """`passes`: it lasts for a second; else always."""
    undisturbed, during, recoveries, asked = [], [], [], 0
    for clip, own in zip(clips, calm, strict=True):
        end = BEFORE_FRAMES + TROUBLE_FRAMES if passes else len(clip.truths)
        begin = BEFORE_FRAMES if passes else SETTLING_FRAMES
        changes = dict.fromkeys(range(begin if passes else 0, end), change)
        errors = list(_followed(way, clip, body, changes))
        undisturbed += [error for error in own[begin:end] if error is not None]
        during += [error for error in errors[begin:end] if error is not None]
        asked += end - begin
        if passes:
            recoveries.append(_recovery_s(errors[end:], own[end:]))
    share = len(during) / asked if asked else 0.0
    return Trouble(way.name, what, Errors.mean(undisturbed), Errors.mean(during), share, tuple(recoveries))


def _followed(way: Way, clip: Clip, body: BodyModel, changes: dict[int, Change]) -> Iterator[Errors | None]:
    tracker = Tracker(body)
    rng = np.random.default_rng([zlib.crc32(clip.name.encode()), 99])
    for moment, (truth, observations) in enumerate(sights(way, clip)):
        seen = changes[moment](observations, rng) if moment in changes else observations
        track = tracker.update(moment / FPS, seen)
        yield None if track is None else errors_mm(body.pose(track.parameters()), truth.joints_m)


def _recovery_s(errors: Sequence[Errors | None], calm: Sequence[Errors | None]) -> float:
    is_good = [
        error is not None and (other is None or error.root <= other.root + _AS_GOOD_MM)
        for error, other in zip(errors, calm, strict=True)
    ]
    for first in range(len(is_good) - _FOR_FRAMES + 1):
        if all(is_good[first : first + _FOR_FRAMES]):
            return first / FPS
    return float("inf")
