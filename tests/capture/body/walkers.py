"""People who walk along straight lines before a ring of cameras: what tests of several people look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from capture.body.gait import STRIDE_M, Walk
from capture.body.kinematics import axis_angle_of, rotations_of, split_parameters
from capture.body.points import POINT_COUNT, BodyPoints
from capture.body.procedural import procedural_body
from capture.body.views import Observation, View

Float64 = npt.NDArray[np.float64]

# So large a circle that a few metres of it are straight; he starts at its rightmost point, along +y.
_STRIDES = 1000
_FOCAL_PX = 600.0
SIZE_PX = (640, 480)


@dataclass(frozen=True)
class Body:
    """Pose (72,), shape (10,) and translation (3,), as a tracker's result has them."""

    pose: Float64
    betas: Float64
    translation: Float64


@dataclass(frozen=True)
class Walker:
    """Starts at `start_m` and walks at a heading (degrees from +x, the floor's), at an easy pace."""

    start_m: tuple[float, float]
    heading_deg: float
    speed_m_s: float = 1.35
    strides_ahead: float = 0.0

    def body(self, time_s: float) -> Body:
        strides = self.strides_ahead + time_s * self.speed_m_s / STRIDE_M
        pose, betas, translation = split_parameters(_walk().parameters(strides / _STRIDES))
        pose = pose.copy()
        turn_deg = self.heading_deg - 90.0 - 360.0 * strides / _STRIDES
        turned = rotations_of([np.radians([0.0, 0.0, turn_deg]), pose[0]])
        pose[0] = axis_angle_of(turned[0] @ turned[1])
        way = np.radians(self.heading_deg)
        place = np.array(self.start_m) + time_s * self.speed_m_s * np.array([math.cos(way), math.sin(way)])
        return Body(pose.ravel(), betas, np.array([*place, translation[2]]))


@cache
def _walk() -> Walk:
    return Walk(procedural_body(), strides=_STRIDES)


@cache
def _points() -> BodyPoints:
    return BodyPoints(procedural_body())


def points_of(body: Body) -> Float64:
    """(14, 3) in the world, metres."""
    return _points().values(body.pose, body.betas) + body.translation


def ring(count: int, distance_m: float = 4.0) -> dict[str, View]:
    """Cameras at a man's chest that look at the middle of the room, a quarter of the circle apart."""
    views = {}
    for number in range(count):
        angle = 0.5 * math.pi * number
        forward = -np.array([math.cos(angle), math.sin(angle), 0.0])
        down = np.array([0.0, 0.0, -1.0])
        rotation = np.stack([np.cross(down, forward), down, forward])
        motion = np.eye(4)
        motion[:3, :3] = rotation
        motion[:3, 3] = -rotation @ (np.array([0.0, 0.0, 1.1]) - distance_m * forward)
        centre = np.array(SIZE_PX) / 2
        views[f"camera{number}"] = View(np.full(2, _FOCAL_PX), centre, motion)
    return views


def seen_by(
    view: View, bodies: Sequence[Body], rng: np.random.Generator, *, noise_px: float = 3.0, hides: float = 0.0
) -> list[Observation]:
    """What a detector finds, nearest first; nobody of whom more than `hides` lies behind somebody nearer.

    With `hides` 0 everybody is found. Points outside of the picture have no confidence.
    """
    places = [points_of(body) for body in bodies]
    order = sorted(range(len(bodies)), key=lambda n: view.to_camera(places[n])[:, 2].mean())
    boxes: list[Float64] = []
    found = []
    for n in order:
        if view.to_camera(places[n])[:, 2].min() < 0.5:
            continue
        points = view.project(places[n])
        hidden = [_share_inside(points, box) for box in boxes]
        boxes.append(np.stack([points.min(axis=0), points.max(axis=0)]))
        if hides and max(hidden, default=0.0) > hides:
            continue
        inside = ((points > 0) & (points < SIZE_PX)).all(axis=1)
        points = points + noise_px * rng.standard_normal((POINT_COUNT, 2))
        found.append(Observation(view, points, np.where(inside, 1.0, 0.0)))
    return found


def _share_inside(points: Float64, box: Float64) -> float:
    return float(((points >= box[0]) & (points <= box[1])).all(axis=1).mean())
