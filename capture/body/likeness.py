"""How far apart what cameras saw and where people are known to be: the measures that identities hang on.

All are robust: of the points that both sides have, the worst quarter is left out and no single one counts for
more than a body's height, so that a few wild key points do not make somebody another person. A measure that
cannot be taken, for want of common points, is infinite.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body.kinematics import Float64
from capture.body.points import POINT_NAMES
from capture.body.triangulation import triangulated
from capture.body.views import Observation

LEAST_CONFIDENCE: Final = 0.1
LEAST_POINTS: Final = 4
PERSON_HEIGHT_M: Final = 1.7

_COUNTED_SHARE: Final = 0.75
_LEAST_VIEW_POINTS: Final = 5
_TORSO_M: Final = (0.25, 0.9)
_REACH_M: Final = (0.4, 2.6)
_OTHER_SIDE: Final = [
    POINT_NAMES.index(
        name.replace("left", "right") if name.startswith("left") else name.replace("right", "left")
    )
    for name in POINT_NAMES
]
_SHOULDERS: Final = [POINT_NAMES.index("left_shoulder"), POINT_NAMES.index("right_shoulder")]
_HIPS: Final = [POINT_NAMES.index("left_hip"), POINT_NAMES.index("right_hip")]


def is_usable(observation: Observation) -> bool:
    """Whether enough of a person is seen to tell who it is."""
    return int(np.count_nonzero(observation.confidences >= LEAST_CONFIDENCE)) >= LEAST_POINTS


def body_apart(points_m: Float64, observation: Observation) -> float:
    """How far a body with these points (14, 3) is from what a camera saw, in heights of a person.

    In the picture; and as much in space, where the observation has targets from depth.
    """
    view = observation.view
    seen = observation.confidences >= LEAST_CONFIDENCE
    in_camera = view.to_camera(points_m)
    depth = float(np.median(in_camera[:, 2]))
    if depth <= 0.0:
        return np.inf
    with np.errstate(invalid="ignore"):
        away_px = view.project(points_m) - observation.points_px
    height_px = float(view.focal_px.mean()) * PERSON_HEIGHT_M / depth
    in_picture = _robust_mean(np.linalg.norm(away_px[seen], axis=1) / height_px)
    if observation.targets_m is None or observation.target_weights is None:
        return in_picture
    known = observation.target_weights > 0
    away_m = np.linalg.norm(in_camera[known] - observation.targets_m[known], axis=1)
    in_space = _robust_mean(away_m / PERSON_HEIGHT_M)
    return in_picture if np.isinf(in_space) else 0.5 * (in_picture + in_space)


def mirrored(observation: Observation) -> Observation:
    """The same sighting with left and right exchanged, which detectors confuse on people seen from behind."""
    targets, weights, world = observation.targets_m, observation.target_weights, observation.world_m
    return replace(
        observation,
        points_px=observation.points_px[_OTHER_SIDE],
        confidences=observation.confidences[_OTHER_SIDE],
        targets_m=None if targets is None else targets[_OTHER_SIDE],
        target_weights=None if weights is None else weights[_OTHER_SIDE],
        world_m=None if world is None else world[_OTHER_SIDE],
    )


def sightings_apart(first: Observation, second: Observation) -> float:
    """How far two sightings by one camera are from each other, in heights of what was seen of the person."""
    both = np.minimum(first.confidences, second.confidences) >= LEAST_CONFIDENCE
    size_px = max(_extent_px(first), _extent_px(second), 1.0)
    return _robust_mean(np.linalg.norm(first.points_px[both] - second.points_px[both], axis=1) / size_px)


def views_apart_m(first: Observation, second: Observation) -> float:
    """By how much the lines of sight of two cameras to the same points miss each other, in metres.

    Infinite too where the points in which they meet would be no body of a person's size.
    """
    points, weights = triangulated([first, second])
    usable = weights > 0
    if np.count_nonzero(usable) < _LEAST_VIEW_POINTS or not _has_size_of_a_person(points, usable):
        return np.inf
    miss_m = np.zeros(np.count_nonzero(usable))
    for observation in (first, second):
        view = observation.view
        away_px = np.linalg.norm(view.project(points[usable]) - observation.points_px[usable], axis=1)
        miss_m += away_px * view.to_camera(points[usable])[:, 2] / view.focal_px.mean()
    return _robust_mean(miss_m, cap=PERSON_HEIGHT_M)


def bodies_apart_m(first: Float64, second: Float64) -> float:
    """Mean distance of the points (14, 3) of two bodies, in metres."""
    return float(np.linalg.norm(first - second, axis=1).mean())


def _robust_mean(distances: Float64, cap: float = 1.0) -> float:
    """Mean of the nearest three quarters, each at most `cap`; infinite for too few."""
    distances = distances[np.isfinite(distances)]
    if len(distances) < LEAST_POINTS:
        return np.inf
    counted = max(LEAST_POINTS, int(np.ceil(_COUNTED_SHARE * len(distances))))
    return float(np.minimum(np.sort(distances)[:counted], cap).mean())


def _extent_px(observation: Observation) -> float:
    seen = observation.points_px[observation.confidences >= LEAST_CONFIDENCE]
    return float(np.linalg.norm(np.ptp(seen, axis=0))) if len(seen) else 0.0


def _has_size_of_a_person(points_m: Float64, usable: npt.NDArray[np.bool_]) -> bool:
    reach = float(np.linalg.norm(np.ptp(points_m[usable], axis=0)))
    if not _REACH_M[0] < reach < _REACH_M[1]:
        return False
    if not usable[_SHOULDERS + _HIPS].all():
        return True
    torso = points_m[_SHOULDERS].mean(axis=0) - points_m[_HIPS].mean(axis=0)
    return bool(_TORSO_M[0] < np.linalg.norm(torso) < _TORSO_M[1])
