"""What cameras see of a body that follows held-out mocap: noisy key points, landmarks, depth.

Everything here is synthetic: the person is the procedural body, a detector is the truth plus noise, and it
has the joints of the model that is fitted. 640 x 480, f = 600 px, 3 m, hip height; 3 px of white noise on
each coordinate. Landmarks err by six centimetres, most of it the same through a clip. Depth is a D435's:
0.08 z^2 / (f 0.05 m) of noise that neighbours share, 5 % of holes, the body hiding itself.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from capture.body.depth_targets import targets_from_depth
from capture.body.model import BodyModel
from capture.body.points import POINT_COUNT, BodyPoints
from capture.body.views import Observation, View
from scripts.bench._motion_poses import Motion

Float64 = npt.NDArray[np.float64]

SIZE_PX: Final = (640, 480)
FOCAL_PX: Final = 600.0
DISTANCE_M: Final = 3.0
NOISE_PX: Final = 3.0
LANDMARK_ERROR_M: Final = 0.06
TWO_VIEWS_DEG: Final = (0.0, 60.0)
FOUR_VIEWS_DEG: Final = (0.0, 90.0, 180.0, 270.0)

_PATH_SHARE: Final = 0.35  # of the way people go, so that they stay at three metres and whole in the picture
_EYE_LEVEL_M: Final = 0.95
_BASELINE_M: Final = 0.05
_DISPARITY_NOISE_PX: Final = 0.08
_NOISE_LENGTH_PX: Final = 1.5
_HOLES: Final = 0.05
_HIPS: Final = (2, 3)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """One moment of a person: 24 joints in the world, key points in the world, and the skin where wanted."""

    joints_m: Float64
    points_m: Float64
    vertices_m: npt.NDArray[np.float32] | None


def truths(motion: Motion, body: BodyModel, moments: Sequence[int], *, skin: bool) -> list[Truth]:
    """The person at those frames."""
    points = BodyPoints(body)
    out = []
    for t in moments:
        pose, place = motion.pose[t], motion.translation[t] * (_PATH_SHARE, _PATH_SHARE, 1.0)
        joints = body.pose(np.concatenate([pose.ravel(), motion.betas[:10], place]))
        vertices = body.skin(pose, motion.betas, place) if skin else None
        out.append(Truth(joints, points.values(pose, motion.betas) + place, vertices))
    return out


def cameras(angles_deg: Sequence[float], heading_deg: float) -> list[View]:
    """Around the spot where people are, the first at `heading_deg`; z of the world is up."""
    views = []
    for angle in np.radians(np.array(angles_deg) + heading_deg):
        forward = -np.array([np.cos(angle), np.sin(angle), 0.0])
        down = np.array([0.0, 0.0, -1.0])
        rotation = np.stack([np.cross(down, forward), down, forward])
        motion = np.eye(4)
        motion[:3, :3] = rotation
        motion[:3, 3] = -rotation @ (np.array([0.0, 0.0, _EYE_LEVEL_M]) - DISTANCE_M * forward)
        views.append(View(np.full(2, FOCAL_PX), np.array(SIZE_PX) / 2, motion))
    return views


class Detector:
    """One camera's sights of one person through a clip; the same name and number see the same."""

    def __init__(self, view: View, clip: str, number: int, *, depth: bool, landmarks: bool) -> None:
        self._view = view
        self._rng = np.random.default_rng([zlib.crc32(clip.encode()), number])
        self._depth, self._landmarks = depth, landmarks
        # The greater part of a landmark's error is the detector's opinion of this person.
        self._bias_m = 0.6 * LANDMARK_ERROR_M * self._rng.standard_normal((POINT_COUNT, 3))

    def see(self, truth: Truth) -> Observation:
        view, rng = self._view, self._rng
        exact = view.project(truth.points_m)
        points = exact + NOISE_PX * rng.standard_normal((POINT_COUNT, 2))
        inside = ((points >= 0) & (points < SIZE_PX)).all(axis=1)
        confidences = np.where(inside, 1.0, 0.0)
        targets = weights = world = None
        if self._depth and truth.vertices_m is not None:
            depth = noisy_depth(view.to_camera(truth.vertices_m.astype(np.float64)), rng)
            targets, weights = targets_from_depth(depth, view, points, confidences)
        if self._landmarks:
            in_camera = view.to_camera(truth.points_m)
            white = 0.8 * LANDMARK_ERROR_M * rng.standard_normal((POINT_COUNT, 3))
            world = in_camera - in_camera[list(_HIPS)].mean(axis=0) + self._bias_m + white
        return Observation(view, points, confidences, targets, weights, world)


def noisy_depth(vertices_camera_m: Float64, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """(480, 640) metres as a D435 tells them, 0 where there is nothing."""
    depth = splatted(vertices_camera_m)
    noise = cv2.GaussianBlur(rng.standard_normal(depth.shape).astype(np.float32), (0, 0), _NOISE_LENGTH_PX)
    sigma = _DISPARITY_NOISE_PX * depth**2 / (FOCAL_PX * _BASELINE_M)
    depth += sigma * noise / noise.std()
    depth[rng.random(depth.shape) < _HOLES] = 0.0
    return np.maximum(depth, 0.0)


def splatted(vertices_camera_m: Float64) -> npt.NDArray[np.float32]:
    """The nearest vertex of each pixel and its neighbours: dense enough for a body of 6890 at 3 m."""
    width, height = SIZE_PX
    z = vertices_camera_m[:, 2]
    place = np.rint(vertices_camera_m[:, :2] / z[:, None] * FOCAL_PX + np.array(SIZE_PX) / 2).astype(int)
    seen = (z > 0.3) & (place >= 0).all(axis=1) & (place < SIZE_PX).all(axis=1)
    far = np.float32(1e3)
    depth = np.full((height, width), far, np.float32)
    np.minimum.at(depth, (place[seen, 1], place[seen, 0]), z[seen].astype(np.float32))
    depth = cv2.erode(depth, np.ones((5, 5), np.uint8))
    return np.where(depth < far, depth, np.float32(0.0))
