"""Where a body stands, in closed form, wherever anything about it is known in three dimensions.

Depth, several views and landmarks relative to the hips each give points in space; the rigid motion that
carries shoulders, hips and head of the T-pose onto them is the start of a fit. It needs no camera stage, and
front and back are not confused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from capture.body.kinematics import Float64, axis_angle_of
from capture.body.point_terms import HIP_POINTS
from capture.body.setup import Setup, Start
from capture.body.triangulation import kabsch, standing_at, triangulated
from capture.body.views import Observation

_STIFF_POINTS: Final = (2, 3, 8, 9, 13)
"""Hips, shoulders and head: what moves least against each other."""
_TRUNK: Final = (2, 3, 8, 9)
"""What is left of them where somebody bows."""
_STIFF_WITHIN_M: Final = 0.3
"""Of a person's shoulders, hips and head, root mean square; more, and the points are no person's."""
_HIPS: Final = list(HIP_POINTS)
_PAIRS: Final = ((2, 3), (8, 9))
"""Right and left, which keep their distance."""
_TOO_SHORT: Final = 0.85


def starts_in_space(setup: Setup, observations: Sequence[Observation]) -> list[Start]:
    """Where the body may stand in the world by depth and triangulation; [] where too little is known.

    The depth of one camera is that of the arm or shoulder before a hidden joint: seen from the side, both
    shoulders seem to lie in one place. There are further starts then, with either side hidden.
    """
    points, weights = known_in_space(observations)
    known = [points]
    if len(observations) == 1 and any(
        weights[[right, left]].all()
        and np.linalg.norm(points[right] - points[left]) < _TOO_SHORT * _rest_distance(setup, right, left)
        for right, left in _PAIRS
    ):
        eye = observations[0].view.to_world(np.zeros((1, 3)))[0]
        known += [_with_side_hidden(setup, points, eye, side) for side in (0, 1)]
    starts = [_standing(setup, each, weights) for each in known]
    return [start for start in starts if start is not None]


def _standing(setup: Setup, points: Float64, weights: Float64) -> Start | None:
    """The rest pose laid onto points of the world, by all that is stiff or by the trunk alone."""
    for used in (_STIFF_POINTS, _TRUNK):
        stiff = np.zeros(len(points))
        stiff[list(used)] = weights[list(used)]
        motion = kabsch(setup.rest_points, points, stiff)
        if motion is None:
            continue
        rotation, shift = motion
        away = np.square(setup.rest_points @ rotation.T + shift - points).sum(axis=1)
        if float(stiff @ away) <= _STIFF_WITHIN_M**2 * float(stiff.sum()):
            return _start(setup, rotation, shift)
    return None


def _with_side_hidden(setup: Setup, points: Float64, eye: Float64, side: int) -> Float64:
    """The points, hip and shoulder of a side moved away from the eye to their distance from the others."""
    moved = points.copy()
    for pair in _PAIRS:
        hidden, seen = pair[side], pair[1 - side]
        ray = points[hidden] - eye
        ray /= max(float(np.linalg.norm(ray)), 1e-9)
        along = float(ray @ (points[seen] - eye))
        aside_m2 = float(np.square(eye + along * ray - points[seen]).sum())
        moved[hidden] = eye + ray * (along + np.sqrt(max(_rest_distance(setup, *pair) ** 2 - aside_m2, 0.0)))
    return moved


def _rest_distance(setup: Setup, first: int, second: int) -> float:
    return float(np.linalg.norm(setup.rest_points[first] - setup.rest_points[second]))


def start_from_landmarks(setup: Setup, observation: Observation) -> Start | None:
    """The same from landmarks relative to the hips and the lines of sight of one view."""
    if observation.world_m is None:
        return None
    view = observation.view
    relative = observation.world_m - observation.world_m[_HIPS].mean(axis=0)
    hips = standing_at(observation, relative)
    stiff = np.zeros(len(relative))
    stiff[list(_STIFF_POINTS)] = observation.confidences[list(_STIFF_POINTS)]
    if hips is None:
        return None
    motion = kabsch(setup.rest_points, relative + hips, stiff)
    if motion is None:
        return None
    # The hips' place is surer than that of the points' middle: it does not hang on the pose.
    rotation = motion[0]
    shift = hips - rotation @ setup.rest_points[_HIPS].mean(axis=0)
    return setup.in_world(_start(setup, rotation, shift), view)


def known_in_space(observations: Sequence[Observation]) -> tuple[Float64, Float64]:
    """World points (14, 3) in metres and weights (14,): triangulated where that can be, else from depth."""
    points, weights = np.zeros((14, 3)), np.zeros(14)
    for observation in observations:
        if observation.targets_m is None or observation.target_weights is None:
            continue
        share = observation.target_weights
        points += share[:, None] * observation.view.to_world(observation.targets_m)
        weights += share
    points /= np.maximum(weights, 1e-9)[:, None]
    if len(observations) > 1:
        crossed, sure = triangulated(observations)
        points = np.where(sure[:, None] > 0, crossed, points)
        weights = np.where(sure > 0, sure, weights)
    return points, weights


def _start(setup: Setup, rotation: Float64, shift: Float64) -> Start:
    """The motion of the body about the origin as one about its pelvis."""
    pelvis = setup.points.rest_pelvis
    return Start(axis_angle_of(rotation), rotation @ pelvis + shift - pelvis)
