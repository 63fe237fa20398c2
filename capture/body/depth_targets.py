"""From a depth picture to where key points are in space: targets for a fit.

A camera sees the skin, a key point of ours lies in the joint: the depth in a small window around the point,
plus how far the joint lies behind the surface. What cannot be a part of this person (a hand in front of the
lens, the wall beside a thin arm) is left out, so that the fit decides it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body.kinematics import Float64
from capture.body.points import POINT_COUNT
from capture.body.views import View

SURFACE_OFFSETS_M: Final = np.array(
    [0.045, 0.06, 0.10, 0.10, 0.06, 0.045, 0.03, 0.04, 0.065, 0.065, 0.04, 0.03, 0.085, 0.045]
)
"""How far behind the skin the points of `points.POINT_NAMES` lie, along the line of sight."""
WINDOW_PX: Final = 7

_LEAST_SHARE: Final = 0.12  # of a window's pixels that must have depth
_EDGE_M: Final = 0.25  # more between the near and the far pixels of a window: it looks past something
_REACH_M: Final = 1.3  # no part of a person is further away from the middle of the others


def targets_from_depth(
    depth: npt.NDArray[np.generic],
    view: View,
    points_px: npt.ArrayLike,
    confidences: npt.ArrayLike,
    *,
    depth_scale_m: float = 1.0,
    window_px: int = WINDOW_PX,
    offsets_m: Float64 = SURFACE_OFFSETS_M,
) -> tuple[Float64, Float64]:
    """Targets (14, 3) in metres in the camera's frame and weights (14,), 0 where there is none.

    `depth` (H, W) of any type, 0 or NaN where nothing was measured, times `depth_scale_m` metres; it shows
    what the picture shows, pixel on pixel, through the camera of `view`. `points_px` (14, 2) and
    `confidences` (14,) as in an `Observation`.
    """
    points = np.asarray(points_px, dtype=np.float64)
    height, width = depth.shape
    inside = (points >= 0).all(axis=1) & (points[:, 0] < width) & (points[:, 1] < height)
    usable = inside & (np.asarray(confidences, dtype=np.float64) > 0)
    middle = np.rint(np.where(usable[:, None], points, 0.0)).astype(np.intp)
    around = np.arange(window_px) - window_px // 2
    rows = np.clip(middle[:, 1, None] + around, 0, height - 1)
    columns = np.clip(middle[:, 0, None] + around, 0, width - 1)
    windows = depth[rows[:, :, None], columns[:, None, :]].reshape(POINT_COUNT, -1).astype(np.float64)
    windows *= depth_scale_m
    windows[~(np.isfinite(windows) & (windows > 0))] = np.nan
    usable &= np.isfinite(windows).mean(axis=1) >= _LEAST_SHARE
    z = np.zeros(POINT_COUNT)
    for point in np.flatnonzero(usable):
        z[point] = _surface_m(windows[point][np.isfinite(windows[point])]) + offsets_m[point]
    rays = (points - view.centre_px) / view.focal_px
    targets = np.column_stack([np.where(usable[:, None], rays, 0.0), np.ones(POINT_COUNT)]) * z[:, None]
    usable &= _belongs(targets, usable)
    return np.where(usable[:, None], targets, 0.0), usable.astype(np.float64)


def _surface_m(values: Float64) -> float:
    """The middle of what is seen; of its near part where the window looks past an edge at the background."""
    near, far = np.percentile(values, [10, 90])
    if far - near > _EDGE_M:
        values = values[values < near + _EDGE_M]
    return float(np.median(values))


def _belongs(targets: Float64, usable: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which targets are near enough to the middle of all to be of one person."""
    if not usable.any():
        return usable
    middle = np.median(targets[usable], axis=0)
    near: npt.NDArray[np.bool_] = np.linalg.norm(targets - middle, axis=1) < _REACH_M
    return near
