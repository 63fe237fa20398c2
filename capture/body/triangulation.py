"""Points in space from several views, and the rigid motion that carries a body onto them.

Direct linear transformation for the points, Kabsch's method (Acta Cryst. A32, 1976) for the motion. With
both, a fit starts next to its answer wherever anything is known in three dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body.kinematics import Float64
from capture.body.points import POINT_COUNT
from capture.body.views import Observation

_LEAST_CONFIDENCE: Final = 0.1
_LEAST_ANGLE: Final = 0.03
"""Radians between two lines of sight: with less, what lies where they meet is mostly noise."""


def triangulated(observations: Sequence[Observation]) -> tuple[Float64, Float64]:
    """World points (14, 3) in metres and their weights (14,), 0 where fewer than two views see one.

    A point that comes out behind a camera that sees it, or whose lines of sight are nearly parallel, has
    weight 0 too.
    """
    views = [observation.view for observation in observations]
    motions = np.array([view.camera_from_world for view in views])
    confidences = np.array([o.confidences for o in observations])
    confidences[confidences < _LEAST_CONFIDENCE] = 0.0
    places = np.array([(o.points_px - o.view.centre_px) / o.view.focal_px for o in observations])
    # Two rows for each view and point: x * third row - first row, y * third row - second row.
    rows = places[:, :, :, None] * motions[:, None, 2:3] - motions[:, None, :2]
    rows *= confidences[:, :, None, None]
    stacked = rows.transpose(1, 0, 2, 3).reshape(POINT_COUNT, -1, 4)
    normal = stacked.transpose(0, 2, 1) @ stacked
    _, vectors = np.linalg.eigh(normal)
    homogeneous = vectors[:, :, 0]
    w = homogeneous[:, 3:]
    points = homogeneous[:, :3] / np.where(np.abs(w) < 1e-9, 1e-9, w)
    is_seen = confidences > 0
    in_front = points @ motions[:, 2, :3].T + motions[:, 2, 3] > 0
    usable = (is_seen.sum(axis=0) >= 2) & (in_front.T | ~is_seen).all(axis=0)
    usable &= _widest_angles(points, motions, is_seen) > _LEAST_ANGLE
    usable &= (np.abs(points) < 1e3).all(axis=1)
    weights = np.where(usable, confidences.mean(axis=0), 0.0)
    return np.where(usable[:, None], points, 0.0), weights


def _widest_angles(points: Float64, motions: Float64, is_seen: npt.NDArray[np.bool_]) -> Float64:
    """(14,) radians: the widest angle between the lines of sight of the views that see each point."""
    centres = -np.einsum("vji,vj->vi", motions[:, :3, :3], motions[:, :3, 3])
    rays = points[None] - centres[:, None]
    rays /= np.maximum(np.linalg.norm(rays, axis=2, keepdims=True), 1e-9)
    cosines = np.einsum("vpi,wpi->vwp", rays, rays)
    both = is_seen[:, None] & is_seen[None]
    angles: Float64 = np.arccos(np.clip(np.where(both, cosines, 1.0), -1.0, 1.0)).max(axis=(0, 1))
    return angles


def kabsch(source: Float64, target: Float64, weights: Float64) -> tuple[Float64, Float64] | None:
    """Rotation R (3, 3) and translation t with R source + t next to target, by weighted least squares.

    None where the weighted points do not fix a rotation: fewer than three, or all on a line.
    """
    total = float(weights.sum())
    if np.count_nonzero(weights) < 3 or not np.isfinite(total):
        return None
    share = weights / total
    source_middle, target_middle = share @ source, share @ target
    moment = (source - source_middle).T @ ((target - target_middle) * share[:, None])
    u, sizes, vt = np.linalg.svd(moment)
    if sizes[1] < 1e-6 * max(float(sizes[0]), 1e-12):
        return None
    sign = np.sign(np.linalg.det(vt.T @ u.T))
    rotation: Float64 = vt.T @ np.diag([1.0, 1.0, sign]) @ u.T
    return rotation, target_middle - rotation @ source_middle


def standing_at(observation: Observation, relative_m: Float64) -> Float64 | None:
    """Where in the camera's frame something of known form stands that is seen in the picture.

    `relative_m` (14, 3) along the camera's axes from some origin; the answer is that origin (3,), by least
    squares over the lines of sight. None with fewer than two points in view, or behind the camera.
    """
    used = observation.confidences > _LEAST_CONFIDENCE
    if np.count_nonzero(used) < 2:
        return None
    view = observation.view
    places = (observation.points_px[used] - view.centre_px) / view.focal_px
    form = relative_m[used]
    rows = np.zeros((len(form), 2, 3))
    rows[:, 0, 0] = rows[:, 1, 1] = 1.0
    rows[:, :, 2] = -places
    sides = places * form[:, 2:] - form[:, :2]
    weights = observation.confidences[used][:, None]
    A = (rows * weights[:, :, None]).reshape(-1, 3)
    origin, _, rank, _ = np.linalg.lstsq(A, (sides * weights).ravel(), rcond=None)
    place: Float64 = np.asarray(origin, dtype=np.float64)
    return place if rank == 3 and place[2] > 0 else None
