"""The program's own walker as cameras see him: observations with known truth, and a prior of walking."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from capture.body.gait import Walk
from capture.body.kinematics import axis_angle_of, join_parameters, rotations_of, split_parameters
from capture.body.points import BodyPoints
from capture.body.prior import PosePrior
from capture.body.procedural import procedural_body
from capture.body.views import Observation, View

BODY = procedural_body()
POINTS = BodyPoints(BODY)
BETAS = np.array([0.5, -0.5, 0.3, -0.2, 0.4, 0.0, 0.0, 0.0, 0.0, 0.0])
DISTANCE_M = 3.0


@lru_cache(maxsize=1)
def walking_poses() -> np.ndarray:
    """(60, 72) of two strides, the root facing its own front."""
    walk = Walk.lasting(BODY, 6.0)
    poses = np.array([split_parameters(walk.parameters(t / 60))[0].ravel() for t in range(60)])
    poses[:, :3] = 0.0
    return poses


@lru_cache(maxsize=1)
def walking_prior() -> PosePrior:
    """Two Gaussians around the strides; wide enough for others."""
    poses = walking_poses()[:, 3:]
    middle = poses.mean(axis=0)
    spread = np.cov(poses.T) + 0.05 * np.eye(69)
    return PosePrior.from_mixture([middle, 0.5 * middle], [spread, 1.5 * spread], [0.7, 0.3])


def seen_from(count: int) -> list[View]:
    """Cameras on a circle around the person, 60 degrees apart; the first is the world's frame."""
    views = []
    for k in range(count):
        motion = np.eye(4)
        motion[:3, :3] = rotations_of([[0.0, k * np.pi / 3, 0.0]])[0]
        middle = np.array([0.0, 0.0, DISTANCE_M])
        motion[:3, 3] = middle - motion[:3, :3] @ middle
        views.append(View(np.array([600.0, 600.0]), np.array([320.0, 240.0]), motion))
    return views


def person(frame: int, heading: float, *, aside_m: float = 0.0) -> np.ndarray:
    """85 parameters in the first camera's frame; heading 0 faces it, pi / 2 goes to its right."""
    pose = walking_poses()[frame % 60].copy()
    facing = rotations_of([[np.pi, 0.0, 0.0], [0.0, heading, 0.0]])
    pose[:3] = axis_angle_of(facing[0] @ facing[1])
    return join_parameters(pose, BETAS, [aside_m, 0.0, DISTANCE_M])


def observed(
    parameters: np.ndarray,
    views: Sequence[View],
    rng: np.random.Generator,
    *,
    noise_px: float = 2.0,
    depth_noise_m: float | None = None,
    landmark_noise_m: float | None = None,
) -> list[Observation]:
    """What detectors make of this person in each view."""
    pose, betas, translation = split_parameters(parameters)
    world = POINTS.values(pose, betas) + translation
    found = []
    for view in views:
        camera = view.to_camera(world)
        targets = landmarks = None
        if depth_noise_m is not None:
            targets = camera + rng.normal(0, depth_noise_m, (14, 3))
        if landmark_noise_m is not None:
            landmarks = camera - camera[2:4].mean(axis=0) + rng.normal(0, landmark_noise_m, (14, 3))
        pixels = view.project(world) + rng.normal(0, noise_px, (14, 2))
        found.append(Observation(view, pixels, np.full(14, 0.9), targets, world_m=landmarks))
    return found


def joint_error_m(found: np.ndarray, truth: np.ndarray, *, relative: bool = False) -> float:
    """Mean distance of joints, without hands and toes; `relative` to the pelvis."""
    joints = [0, 1, 2, 4, 5, 7, 8, 12, 15, 16, 17, 18, 19, 20, 21]
    a, b = BODY.pose(found), BODY.pose(truth)
    if relative:
        a, b = a - a[0], b - b[0]
    return float(np.linalg.norm((a - b)[joints], axis=1).mean())
