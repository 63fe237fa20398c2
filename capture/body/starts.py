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
_STIFF_WITHIN_M: Final = 0.3
"""Of a person's shoulders, hips and head, root mean square; more, and the points are no person's."""
_HIPS: Final = list(HIP_POINTS)


def start_in_space(setup: Setup, observations: Sequence[Observation]) -> Start | None:
    """The body's place in the world from depth and triangulation; None where too little is known."""
    points, weights = known_in_space(observations)
    stiff = np.zeros(len(points))
    stiff[list(_STIFF_POINTS)] = weights[list(_STIFF_POINTS)]
    if np.count_nonzero(stiff) < 3:
        return None
    motion = kabsch(setup.rest_points, points, stiff)
    if motion is None:
        return None
    rotation, shift = motion
    away = np.square(setup.rest_points @ rotation.T + shift - points).sum(axis=1)
    if float(stiff @ away) > _STIFF_WITHIN_M**2 * float(stiff.sum()):
        return None
    return _start(setup, rotation, shift)


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
