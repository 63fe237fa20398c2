"""What the points of a body are held against: pictures, depth, and landmarks relative to the hips.

Terms of the first kind (see `terms`): each adds its cost, its pull g = J'r and its stiffness H = J'J in the
space of the points, where J is the derivative of its residuals by the points. A view more costs next to
nothing there; the chain rule to pose and shape is applied once for all of them, by `objective`.

Sources: Bogo et al., "Keep it SMPL" (ECCV 2016) for the constants; Geman and McClure, "Statistical methods
for tomographic image reconstruction" (1987), for the robust function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from capture.body.kinematics import Float64
from capture.body.points import POINT_COUNT
from capture.body.views import Observation

PERSON_HEIGHT_PX: Final = 300.0
"""How tall the people of SMPLify are: what its constants are made for."""
ROBUST_PX: Final = 100.0
"""Where reprojection errors stop to count in full."""
TARGET_PX_PER_M: Final = 200.0
ROBUST_M: Final = 0.15
HIDDEN_M: Final = 0.05
"""The same for depth nearer than the point: something hides the point, perhaps the person's own arm."""
LANDMARK_PX_PER_M: Final = 40.0
"""Landmarks of a key point detector err by some six centimetres."""

ORIGINAL_POINT_WEIGHTS: Final = np.array([1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1.0])
"""SMPLify: hips are marked elsewhere in the Leeds pictures than SMPL's are, and the neck is not used."""
POINT_WEIGHTS: Final = np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1.0])
"""Hips of today's detectors are near the joints."""
HIP_POINTS: Final = (2, 3)

_TYPICAL: Final = 0.75
_NEAREST_M: Final = 0.05  # closer to a camera, or behind it, nothing is projected


class PointState(Protocol):
    """A term of the first kind at given points."""

    cost: float

    def add_to(self, pull: Float64, stiffness: Float64) -> None:
        """Adds g to `pull` (14, 3) and the points' own blocks of H to `stiffness` (14, 3, 3)."""


class PointTerm(Protocol):
    def at(self, points: Float64) -> PointState:
        """`points` (14, 3) in the world, or relative to the hips where the term is used so."""


def geman_mcclure(errors: Float64, sigma: float | Float64) -> tuple[Float64, Float64]:
    """Residuals sigma e / sqrt(sigma^2 + e^2), and their derivatives by e."""
    squares = errors * errors
    squares += sigma * sigma
    shrink = sigma / np.sqrt(squares)
    return errors * shrink, shrink * shrink * shrink


class Reprojection:
    """Points against where the cameras saw them, all views at once."""

    def __init__(
        self,
        observations: Sequence[Observation],
        scales: npt.ArrayLike,
        point_weights: Float64 = POINT_WEIGHTS,
        robust_px: float = ROBUST_PX,
    ) -> None:
        """`scales` (V,): by how much a picture's pixels are stretched for a person of 300."""
        views = [observation.view for observation in observations]
        motions = np.array([view.camera_from_world for view in views])
        scale = np.asarray(scales, dtype=np.float64)[:, None]
        self._focal = np.array([view.focal_px for view in views]) * scale  # (V, 2)
        centres = np.array([view.centre_px for view in views])
        # Point first, as everything is summed up by point: (14, V, 2) and (14, V, 1).
        seen = (np.array([o.points_px for o in observations]) - centres[:, None]) * scale[:, None]
        self._seen = np.ascontiguousarray(seen.transpose(1, 0, 2))
        confidences = np.array([o.confidences for o in observations]).T
        self._weights = (confidences * point_weights[:, None])[:, :, None]
        self._to_cameras = np.ascontiguousarray(motions[:, :3, :3].reshape(-1, 3).T)  # (3, V * 3)
        self._shifts = motions[:, :3, 3].ravel()
        self._across = motions[:, :2, :3]  # rows of the rotations: (V, 2, 3)
        self._along = motions[:, 2:3, :3]
        self._robust_px = robust_px
        self._is_seen = self._weights[:, :, 0] > 0
        kept = np.ceil(_TYPICAL * self._is_seen.sum(axis=0))
        self._is_kept = np.arange(POINT_COUNT)[:, None] < kept
        self._kept_count = max(2.0 * float(kept.sum()), 1.0)

    def at(self, points: Float64) -> ReprojectionState:
        return ReprojectionState(self, points)

    def errors_px(self, points: Float64) -> Float64:
        """(V, 14) distances in scaled pixels, whatever the confidence."""
        state = ReprojectionState(self, points)
        distances: Float64 = np.sqrt(np.square(state.errors).sum(axis=2)).T
        return distances


class ReprojectionState:
    """`errors` (14, V, 2): seen minus projected, in scaled pixels."""

    __slots__ = ("_places", "_residuals", "_slopes", "_term", "_z", "cost", "errors")

    def __init__(self, term: Reprojection, points: Float64) -> None:
        seen = (points @ term._to_cameras + term._shifts).reshape(len(points), -1, 3)
        z = seen[:, :, 2:]
        is_in_front = bool((z > _NEAREST_M).all())
        if not is_in_front:
            z = np.maximum(z, _NEAREST_M)
        self._term = term
        self._z = z
        self._places = seen[:, :, :2] / z
        self.errors = term._seen - self._places * term._focal
        residuals, self._slopes = geman_mcclure(self.errors, term._robust_px)
        residuals *= term._weights
        self._residuals = residuals
        # A body that reaches behind a camera that sees it is no answer: the solvers turn back.
        hopeless = not is_in_front and bool(((term._weights > 0) & (seen[:, :, 2:] <= _NEAREST_M)).any())
        self.cost = np.inf if hopeless else float(np.vdot(residuals, residuals))

    def typical_cost(self) -> float:
        """What one coordinate costs at ROBUST_PX, without a quarter of each view's points: the worst.

        A few key points that lie anywhere say nothing against a body; a camera of which most do, does.
        """
        if not np.isfinite(self.cost):
            return np.inf
        term = self._term
        residuals = geman_mcclure(self.errors, ROBUST_PX)[0]
        residuals *= term._weights
        residuals *= residuals
        costs = np.sort(np.where(term._is_seen, residuals[:, :, 0] + residuals[:, :, 1], np.inf), axis=0)
        return float(costs[term._is_kept].sum() / term._kept_count)

    def add_to(self, pull: Float64, stiffness: Float64) -> None:
        term = self._term
        slopes = self._slopes * term._weights
        slopes *= term._focal
        slopes /= self._z
        rows = self._places[:, :, :, None] * term._along - term._across
        rows *= slopes[:, :, :, None]
        rows = rows.reshape(len(rows), -1, 3)
        turned = rows.transpose(0, 2, 1)
        pull += (turned @ self._residuals.reshape(len(rows), -1, 1))[:, :, 0]
        stiffness += turned @ rows


class SpaceTargets:
    """Points against where they were measured in space, each coordinate robustly on its own."""

    def __init__(
        self,
        targets: Float64,
        weights: Float64,
        axes: Float64 | None = None,
        robust_m: float = ROBUST_M,
        hidden_m: float | None = None,
    ) -> None:
        """`targets` (n, 14, 3) and `weights` (n, 14) in pixels per metre, of n measurements.

        `axes` (n, 3, 3): rotations of the cameras, along whose axes errors are taken. `hidden_m`: where
        errors of targets that lie before their points stop to count; by default as all others.
        """
        self._axes = np.broadcast_to(np.eye(3), (len(targets), 3, 3)) if axes is None else axes
        self._targets = targets
        self._weights = weights[:, :, None]
        self._robust_m = robust_m
        self._hidden_m = robust_m if hidden_m is None else hidden_m

    def at(self, points: Float64) -> PointState:
        return _TargetState(self, points)


class _TargetState:
    __slots__ = ("_residuals", "_slopes", "_term", "cost")

    def __init__(self, term: SpaceTargets, points: Float64) -> None:
        errors = (term._targets - points) @ term._axes.transpose(0, 2, 1)
        robust_m = np.full(errors.shape, term._robust_m)
        robust_m[:, :, 2] = np.where(errors[:, :, 2] < 0, term._hidden_m, term._robust_m)
        residuals, slopes = geman_mcclure(errors, robust_m)
        residuals *= term._weights
        slopes *= term._weights
        self._term, self._residuals, self._slopes = term, residuals, slopes
        self.cost = float(np.vdot(residuals, residuals))

    def add_to(self, pull: Float64, stiffness: Float64) -> None:
        axes = self._term._axes
        pull -= ((self._residuals * self._slopes) @ axes).sum(axis=0)
        rows = self._slopes[:, :, :, None] * axes[:, None]  # (n, 14, 3 residuals, 3 coordinates)
        stiffness += (rows.transpose(0, 1, 3, 2) @ rows).sum(axis=0)


def depth_term(observations: Sequence[Observation], px_per_m: float = TARGET_PX_PER_M) -> SpaceTargets | None:
    """Targets from the depth of the views that have some."""
    having = [o for o in observations if o.targets_m is not None]
    targets = [o.view.to_world(o.targets_m) for o in having if o.targets_m is not None]
    weights = [o.target_weights for o in having if o.target_weights is not None]
    if not targets or not np.any(weights):
        return None
    axes = np.array([o.view.camera_from_world[:3, :3] for o in having])
    return SpaceTargets(np.array(targets), px_per_m * np.array(weights), axes, hidden_m=HIDDEN_M)


def landmark_term(
    observations: Sequence[Observation], px_per_m: float = LANDMARK_PX_PER_M
) -> SpaceTargets | None:
    """Targets relative to the hips, from the detectors that tell them."""
    having = [(o, o.world_m) for o in observations if o.world_m is not None]
    if not having:
        return None
    axes = np.array([o.view.camera_from_world[:3, :3] for o, _ in having])
    relative = np.array([world - world[list(HIP_POINTS)].mean(axis=0) for _, world in having]) @ axes
    used = np.ones(POINT_COUNT)
    used[12] = 0.0  # what a detector calls the neck lies elsewhere than the joint
    weights = np.array([px_per_m * o.confidences * used for o, _ in having])
    return SpaceTargets(relative, weights, axes)
