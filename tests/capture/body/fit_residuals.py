"""SMPLify's objective written as one vector of residuals, straight from its equations: the yardstick.

Slow and plain on purpose; shares no code with the terms of a fit but the rotations and the joint tree.
"""

from __future__ import annotations

import numpy as np

from capture.body.kinematics import forward_kinematics, rotations_of
from capture.body.model import BodyModel
from capture.body.prior import PosePrior
from capture.body.views import Observation

_JOINTS = [8, 5, 2, 1, 4, 7, 21, 19, 17, 16, 18, 20]


def mixture(seed: int = 0, count: int = 4) -> PosePrior:
    """A small random prior over poses."""
    rng = np.random.default_rng(seed)
    means = rng.normal(0, 0.2, (count, 69))
    roots = rng.normal(0, 0.12, (count, 69, 69)) / np.sqrt(69) + 0.2 * np.eye(69)
    weights = rng.uniform(0.5, 1.0, count)
    return PosePrior.from_mixture(means, roots @ roots.transpose(0, 2, 1), weights / weights.sum())


def points_of(model: BodyModel, pose: np.ndarray, betas: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """The thirteen points that SMPLify uses: twelve joints and the top of the head, by full skinning."""
    rest = model.rest_joints(betas)
    world, joints = forward_kinematics(rotations_of(pose.reshape(24, 3)), rest, model.parents, translation)
    top = model.head_top_vertex
    place = model.template_vertices[top].astype(float) + model.shape_directions[top].astype(float) @ betas
    weights = model.weights[top].astype(float)
    weights[weights < 1e-3] = 0.0
    weights /= weights.sum()
    skinned = sum(weights[j] * (world[j] @ (place - rest[j]) + joints[j]) for j in np.flatnonzero(weights))
    return np.vstack([joints[_JOINTS], skinned])


def residuals(
    model: BodyModel,
    prior: PosePrior,
    observation: Observation,
    scale: float,
    weights: tuple[float, float],
    pose: np.ndarray,
    betas: np.ndarray,
    translation: np.ndarray,
) -> np.ndarray:
    """The residuals of one stage: data, pose prior, bending, shape."""
    pose_weight, shape_weight = weights
    sigma = 100.0
    seen = [*range(12), 13]
    base = np.array([1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1.0])
    points = points_of(model, pose, betas, translation)
    view = observation.view
    points = points @ view.camera_from_world[:3, :3].T + view.camera_from_world[:3, 3]
    projected = points[:, :2] / points[:, 2:] * view.focal_px + view.centre_px
    error = scale * (observation.points_px[seen] - projected)
    data = (base * observation.confidences[seen])[:, None] * sigma * error / np.sqrt(sigma**2 + error**2)
    x = pose[3:]
    energies = [
        0.5 * (x - mean) @ precision @ (x - mean) + constant
        for mean, precision, constant in zip(prior.means, prior.precisions, prior.constants, strict=True)
    ]
    best = int(np.argmin(energies))
    root = np.linalg.cholesky(prior.precisions[best])
    away = pose_weight * np.sqrt(0.5) * root.T @ (x - prior.means[best])
    constant = pose_weight * np.sqrt(prior.constants[best])
    bending = 0.317 * pose_weight * np.sqrt(100.0) * np.exp([pose[55], -pose[58], -pose[12], -pose[15]])
    return np.concatenate([data.ravel(), away, [constant], bending, shape_weight * betas])
