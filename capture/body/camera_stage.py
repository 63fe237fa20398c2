"""Where a person stands whom one camera sees without depth: the start of a fit.

The camera stage of SMPLify: how far away follows from the length of the torso in the picture, orientation
and translation from the shoulders and hips of a body in T-pose. Where not all four are seen, other limbs and
points stand in. All of it in the frame of the camera.

Source: Bogo et al., "Keep it SMPL" (ECCV 2016), section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from capture.body.kinematics import Float64, axis_angle_of, rotations_of
from capture.body.point_terms import PERSON_HEIGHT_PX
from capture.body.setup import Setup, Start
from capture.body.views import Observation

_TORSO: Final = (2, 3, 8, 9)
_TRUNK_PAIRS: Final = ((9, 3), (8, 2))
_CHAINS: Final = (
    (3, 4),
    (4, 5),
    (2, 1),
    (1, 0),
    (3, 4, 5),
    (2, 1, 0),
    (9, 10),
    (8, 7),
    (9, 10, 11),
    (8, 7, 6),
)
_SHOULDERS: Final = (8, 9)
_DEPTH_PX_PER_M: Final = 100.0
_STAND_IN_WEIGHT: Final = 0.3
_MOST_STEPS: Final = 40
_LEAST_GAIN: Final = 1e-4
_FACING: Final = np.array([np.pi, 0.0, 0.0])
_FACING_AWAY: Final = np.array([0.0, 0.0, np.pi])
_SURE_APART_PX: Final = 10.0
"""Shoulders and hips of an upright person by so much in one order: he faces as they say."""
ORIGINAL_SHOULDERS_PX: Final = 25.0
"""Shoulders nearer to each other than this, at 300 pixels of person, are those of a side view."""


def depth_in_picture(setup: Setup, observation: Observation) -> float | None:
    """Metres from the camera by similar triangles from the length of the torso, as SMPLify has it.

    Where not all of the torso is seen, by the limb that is least foreshortened: a limb never looks longer
    than it is, so that the nearest answer is the best. None where no limb has both ends.
    """
    rest, seen = setup.rest_points, observation.confidences > 0
    if seen[list(_TORSO)].all():
        lengths_m = [_distance(rest, *pair) for pair in _TRUNK_PAIRS]
        lengths_px = [_distance(observation.points_px, *pair) for pair in _TRUNK_PAIRS]
        return _depth(observation, sum(lengths_m), sum(lengths_px))
    depths = [
        _depth(
            observation,
            sum(_distance(rest, a, b) for a, b in pairwise(chain)),
            _distance(observation.points_px, chain[0], chain[-1]),
        )
        for chain in (*_TRUNK_PAIRS, *_CHAINS)
        if seen[list(chain)].all()
    ]
    return min(depths, default=None)


def scale_at(setup: Setup, depth_m: float, observation: Observation) -> float:
    """By how much this picture is to be stretched for a person of 300 pixels."""
    return PERSON_HEIGHT_PX * depth_m / (setup.height_m * float(observation.view.focal_px.mean()))


def is_side_view(observation: Observation, scale: float, nearest_px: float = ORIGINAL_SHOULDERS_PX) -> bool:
    """Whether the shoulders are so close that front and back are easily taken for each other."""
    return scale * _distance(observation.points_px, *_SHOULDERS) < nearest_px


def headings_of(orientation: Float64, count: int) -> list[Float64]:
    """The orientation and others, turned about the body's own vertical by equal shares of a full turn."""
    angles = 2 * np.pi * np.arange(count) / count
    turns = rotations_of(np.outer(angles, [0.0, 1.0, 0.0]))
    rotation = rotations_of(orientation[None])[0]
    return [orientation, *(axis_angle_of(rotation @ turn) for turn in turns[1:])]


def place(setup: Setup, observation: Observation, scale: float, depth_m: float) -> Start:
    """Orientation and translation of a T-pose whose shoulders and hips lie where they were seen.

    Solved from facing the camera and from facing away. Left and right tell at once which is right, except
    where a shoulder is all but before the other: then both are solved.
    """
    rest, pelvis = setup.rest_points, setup.points.rest_pelvis
    weights = np.zeros(len(rest))
    weights[list(_TORSO)] = 1.0
    weights[observation.confidences <= 0] = 0.0
    if weights.sum() < len(_TORSO):
        weights[(observation.confidences > 0) & (weights == 0)] = _STAND_IN_WEIGHT
    used = np.flatnonzero(weights)
    view = observation.view
    arms = rest[used] - pelvis
    seen = (observation.points_px[used] - view.centre_px) / view.focal_px
    focal = scale * view.focal_px * weights[used, None]
    middle = np.append(np.average(seen, axis=0, weights=weights[used]), 1.0) * depth_m
    found = [
        _fitted(arms, pelvis, seen, focal, facing, middle - pelvis, depth_m)
        for facing in _facings(observation, scale)
    ]
    return min(found, key=lambda candidate: candidate[0])[1]


def _facings(observation: Observation, scale: float) -> Sequence[Float64]:
    if not (observation.confidences[list(_TORSO)] > 0).all():
        return (_FACING, _FACING_AWAY)
    x, y = scale * observation.points_px.T
    apart_px = (x[9] - x[8], x[3] - x[2])
    is_upright = min(y[2], y[3]) - max(y[8], y[9]) > _SURE_APART_PX
    if is_upright and min(apart_px) > _SURE_APART_PX:
        return (_FACING,)
    if is_upright and max(apart_px) < -_SURE_APART_PX:
        return (_FACING_AWAY,)
    return (_FACING, _FACING_AWAY)


def _fitted(
    arms: Float64,
    pelvis: Float64,
    seen: Float64,
    focal: Float64,
    orientation: Float64,
    translation: Float64,
    depth_m: float,
) -> tuple[float, Start]:
    """Levenberg-Marquardt over six unknowns; turns are taken about the camera's axes."""
    rotation = rotations_of(orientation[None])[0]
    damping = 1e-2
    cost, residuals, turned = _residuals(arms, pelvis, seen, focal, rotation, translation, depth_m)
    identity = np.eye(6)
    for _ in range(_MOST_STEPS):
        J = _slopes(turned, turned + pelvis + translation, focal)
        stiffness, pull = J.T @ J, J.T @ residuals
        while True:
            step = np.linalg.solve(stiffness * (1.0 + damping * identity) + 1e-9 * identity, -pull)
            moved = translation + step[:3]
            spun = rotations_of(step[None, 3:])[0] @ rotation
            trial = _residuals(arms, pelvis, seen, focal, spun, moved, depth_m)
            if trial[0] < cost or damping > 1e8:
                break
            damping *= 6.0
        if trial[0] >= cost:
            break
        gain = cost - trial[0]
        rotation, translation = spun, moved
        is_done = gain < _LEAST_GAIN * cost
        cost, residuals, turned = trial
        damping *= 0.2
        if is_done:
            break
    return cost, Start(axis_angle_of(rotation), translation)


def _residuals(
    arms: Float64,
    pelvis: Float64,
    seen: Float64,
    focal: Float64,
    rotation: Float64,
    translation: Float64,
    depth_m: float,
) -> tuple[float, Float64, Float64]:
    turned = arms @ rotation.T
    points = turned + (pelvis + translation)
    if points[:, 2].min() <= 0.05:
        return np.inf, np.zeros(2 * len(arms) + 1), turned
    residuals = np.empty(2 * len(arms) + 1)
    residuals[:-1] = ((points[:, :2] / points[:, 2:] - seen) * focal).ravel()
    residuals[-1] = _DEPTH_PX_PER_M * (translation[2] - depth_m)
    return float(residuals @ residuals), residuals, turned


def _slopes(turned: Float64, points: Float64, focal: Float64) -> Float64:
    """(2 n + 1, 6): by translation, then by turns about the camera's axes."""
    moves = np.zeros((len(points), 3, 6))
    moves[:, :, :3] = np.eye(3)
    x, y, z = turned.T
    moves[:, 0, 4], moves[:, 0, 5] = z, -y
    moves[:, 1, 3], moves[:, 1, 5] = -z, x
    moves[:, 2, 3], moves[:, 2, 4] = y, -x
    near = 1.0 / points[:, 2:]
    J = np.zeros((2 * len(points) + 1, 6))
    flat = (focal * near)[:, :, None] * (moves[:, :2] - (points[:, :2] * near)[:, :, None] * moves[:, 2:])
    J[:-1] = flat.reshape(-1, 6)
    J[-1, 2] = _DEPTH_PX_PER_M
    return J


def _depth(observation: Observation, length_m: float, length_px: float) -> float:
    return float(observation.view.focal_px.mean()) * length_m / max(length_px, 1e-6)


def _distance(points: Float64, first: int, second: int) -> float:
    return float(np.linalg.norm(points[first] - points[second]))
