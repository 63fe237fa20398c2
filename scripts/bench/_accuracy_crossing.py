"""Two people who pass each other again and again: do they keep their identities?

Both follow held-out mocap and are carried past each other every two seconds, one 0.6 m behind the other as
the first camera sees it. Whoever is hidden by more than forty percent is not detected.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body.assignment import assign
from capture.body.model import BodyModel
from capture.body.people import People
from capture.body.points import BodyPoints
from capture.body.tracker import Track, Tracker
from capture.body.views import Observation, View
from scripts.bench._accuracy_scene import NOISE_PX, SIZE_PX, cameras
from scripts.bench._mesh_clips import FPS
from scripts.bench._motion_poses import Motion

Float64 = npt.NDArray[np.float64]

_SWING_M: Final = 0.9
_PERIOD_S: Final = 4.0
_APART_M: Final = 0.6
_MOST_HIDDEN: Final = 0.4
_CLEAR_M: Final = 0.4
_NEAR_PX: Final = 60.0  # a body that is further from everybody is nobody's


@dataclass(frozen=True, slots=True)
class Crossing:
    """`switches`: how often a person's identity became another, both persons together. `idf1`: the share of
    moments at which a person has the identity that is best for them (Ristani et al., 2016)."""

    cameras: int
    crossings: int
    switches: int
    identities: int
    seen_share: float
    idf1: float


def cross(
    motions: Sequence[Motion], body: BodyModel, *, angles_deg: Sequence[float], seconds: float
) -> Crossing:
    """Two motions before cameras at these angles."""
    views = cameras(angles_deg, 0.0)
    points = BodyPoints(body)
    rng = np.random.default_rng(11)
    people: People[Track] = People(body, lambda: Tracker(body))
    owner: dict[int, int] = {}
    together: Counter[tuple[int, int]] = Counter()  # at how many moments a person had an identity
    identities: set[int] = set()
    switches = seen = 0
    frames = round(seconds * FPS)
    for frame in range(frames):
        places, roots = [], []
        for n, motion in enumerate(motions):
            t = _back_and_forth(frame, len(motion.pose))
            root = np.array([0.0, 0.0, motion.translation[t, 2]])
            side = 1.0 - 2.0 * n
            root[:2] = side * _APART_M / 2, side * _SWING_M * math.cos(2 * math.pi * frame / FPS / _PERIOD_S)
            places.append(points.values(motion.pose[t], motion.betas) + root)
            roots.append(root)
        detections = {f"camera{k}": _detected(view, places, rng) for k, view in enumerate(views)}
        found = people.update(frame / FPS, detections)
        bodies = [points.values(each.track.pose, each.track.betas) + each.track.translation for each in found]
        owners = _whose(bodies, places, views[0])
        for n, person in enumerate(found):
            identities.add(person.identity)
            seen += 1
            who = owners.get(n)
            if who is None:
                continue
            together[who, person.identity] += 1
            # While both are in one place nobody can say whose a body is.
            if abs(roots[0][1] - roots[1][1]) > _CLEAR_M:
                switches += owner.get(who, person.identity) != person.identity
                owner[who] = person.identity
    crossings = int(2 * seconds / _PERIOD_S)
    own = len(motions) * frames
    table = np.array([[together[who, name] for name in sorted(identities)] for who in range(len(motions))])
    right = int(sum(table[who, name] for who, name in assign(-table, 0.0))) if identities else 0
    idf1 = 2 * right / (own + seen)
    return Crossing(len(views), crossings, switches, len(identities), seen / own, idf1)


def _whose(bodies_m: Sequence[Float64], places: Sequence[Float64], view: View) -> dict[int, int]:
    """Which body is whose, in the first camera's picture: one view tells distances poorly."""
    away = [
        [np.linalg.norm(view.project(body) - view.project(place), axis=1).mean() for place in places]
        for body in bodies_m
    ]
    return dict(assign(np.reshape(away, (len(bodies_m), len(places))), _NEAR_PX))


def _back_and_forth(frame: int, length: int) -> int:
    """A clip played forwards and backwards for ever."""
    turn = frame % (2 * length - 2)
    return min(turn, 2 * length - 2 - turn)


def _detected(view: View, places: Sequence[Float64], rng: np.random.Generator) -> list[Observation]:
    found: list[Observation] = []
    boxes: list[tuple[Float64, Float64]] = []
    for points_m in sorted(places, key=lambda points: float(view.to_camera(points)[:, 2].mean())):
        exact = view.project(points_m)
        hidden = [((exact >= box[0]) & (exact <= box[1])).all(axis=1).mean() for box in boxes]
        boxes.append((exact.min(axis=0), exact.max(axis=0)))
        if max(hidden, default=0.0) <= _MOST_HIDDEN:
            inside = ((exact >= 0) & (exact < SIZE_PX)).all(axis=1)
            noisy = exact + NOISE_PX * rng.standard_normal(exact.shape)
            found.append(Observation(view, noisy, np.where(inside, 1.0, 0.0)))
    return found
