"""What a camera is and what it saw of one person: plain data for fitting.

Lengths are metres in a world that all cameras share (with one camera: its own frame); a camera looks along
+z with x to the right and y down. Points are in pixels of a picture without lens distortion: whoever makes
an observation undistorts. What cannot be used (NaN, infinities, confidences below zero) is turned into
confidence 0 on the way in, so that no sum behind this border meets it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from capture.body.kinematics import Float64
from capture.body.points import POINT_COUNT

ORIGINAL_FOCAL_PX = 5000.0
"""What SMPLify takes for pictures of unknown cameras."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A calibrated pinhole camera: focal lengths and principal point in pixels, and where it stands.

    Raises ValueError for wrong shapes, numbers that are not finite, focal lengths that are not positive, and
    a `camera_from_world` that is no rigid motion.
    """

    focal_px: Float64
    centre_px: Float64
    camera_from_world: Float64 = field(default_factory=lambda: np.eye(4))

    def __post_init__(self) -> None:
        for name, shape in (("focal_px", (2,)), ("centre_px", (2,)), ("camera_from_world", (4, 4))):
            array = np.array(getattr(self, name), dtype=np.float64)
            if array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"{name} of a view must be {shape} finite numbers, got shape {array.shape}")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.focal_px.min() <= 0:
            raise ValueError(f"focal_px of a view must be positive, got {self.focal_px.tolist()}")
        rotation = self.camera_from_world[:3, :3]
        is_rigid = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4) and np.linalg.det(rotation) > 0
        if not is_rigid or not np.allclose(self.camera_from_world[3], [0, 0, 0, 1]):
            raise ValueError("camera_from_world of a view must be a rotation and a translation in metres")

    @classmethod
    def of_picture(cls, width: int, height: int, focal_px: float = ORIGINAL_FOCAL_PX) -> View:
        """A camera of which only the picture is known: centred, at the origin, as SMPLify assumes."""
        return cls(np.array([focal_px, focal_px]), np.array([width / 2, height / 2]))

    def to_camera(self, world_m: Float64) -> Float64:
        """(n, 3) world points in the camera's frame."""
        return world_m @ self.camera_from_world[:3, :3].T + self.camera_from_world[:3, 3]

    def to_world(self, camera_m: Float64) -> Float64:
        """(n, 3) points of the camera's frame in the world."""
        moved: Float64 = (camera_m - self.camera_from_world[:3, 3]) @ self.camera_from_world[:3, :3]
        return moved

    def project(self, world_m: Float64) -> Float64:
        """(n, 3) world points -> (n, 2) pixels; NaN for what is not in front of the camera."""
        seen = self.to_camera(np.asarray(world_m, dtype=np.float64))
        z = np.where(seen[:, 2:] > 0, seen[:, 2:], np.nan)
        return seen[:, :2] / z * self.focal_px + self.centre_px


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """One person in one picture; every array in the order of `points.POINT_NAMES`.

    points_px       (14, 2) pixels                  confidences     (14,) 0 to 1, 0 for what was not seen
    targets_m       (14, 3) metres in the camera's frame, from depth, or None
    target_weights  (14,) 0 to 1, 0 where there is none; None: 1 wherever `targets_m` is finite
    world_m         (14, 3) metres along the camera's axes, from the middle of the hips, or None
    """

    view: View
    points_px: Float64
    confidences: Float64
    targets_m: Float64 | None = None
    target_weights: Float64 | None = None
    world_m: Float64 | None = None

    def __post_init__(self) -> None:
        points = _array(self.points_px, "points_px", (POINT_COUNT, 2))
        confidences = _array(self.confidences, "confidences", (POINT_COUNT,))
        # Far outside of every picture: such a number would overflow when it is squared.
        bad = ~(np.abs(points) < 1e6).all(axis=1) | ~np.isfinite(confidences)
        object.__setattr__(self, "points_px", np.where(bad[:, None], 0.0, points))
        object.__setattr__(self, "confidences", np.where(bad, 0.0, np.clip(confidences, 0.0, 1.0)))
        if self.targets_m is not None:
            weights = np.ones(POINT_COUNT) if self.target_weights is None else self.target_weights
            targets, weights = _cleaned(self.targets_m, weights, "targets_m", "target_weights")
            object.__setattr__(self, "targets_m", targets)
            object.__setattr__(self, "target_weights", weights)
        elif self.target_weights is not None:
            raise ValueError("target_weights of an observation weigh targets_m, which are missing")
        if self.world_m is not None:
            world = _array(self.world_m, "world_m", (POINT_COUNT, 3))
            object.__setattr__(self, "world_m", world if np.isfinite(world).all() else None)


def _array(values: npt.ArrayLike, name: str, shape: tuple[int, ...]) -> Float64:
    array = np.array(values, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} of an observation must have shape {shape}, got {array.shape}")
    return array


def _cleaned(values: npt.ArrayLike, weights: npt.ArrayLike, *names: str) -> tuple[Float64, Float64]:
    points = _array(values, names[0], (POINT_COUNT, 3))
    weight = _array(weights, names[1], (POINT_COUNT,))
    bad = ~(np.abs(points) < 1e3).all(axis=1) | ~np.isfinite(weight)
    return np.where(bad[:, None], 0.0, points), np.where(bad, 0.0, np.clip(weight, 0.0, 1.0))
