"""What a lens does to a picture, and how that is undone, for points.

A ray is (x, y) at distance 1 before the camera. A straight lens shows it at pixel focal * ray + centre,
others bend it first. Models, by the names that librealsense gives them:

    none
    brown_conrady           OpenCV's k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4 [tx ty]]]]
    modified_brown_conrady  k1 k2 p1 p2 [k3]; the tangential part is of what the radial part has made
    inverse_brown_conrady   the same: so librealsense reads it, whatever its name says
    kannala_brandt4         k1 k2 k3 k4 of the angle; OpenCV's fisheye lens

A polynomial that is followed far beyond the picture comes back into it; so rays far beyond have no place.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from capture.frames import Intrinsics

Float64 = npt.NDArray[np.float64]

_OPENCV_COUNTS: Final = (4, 5, 8, 12, 14)
_MODIFIED: Final = ("modified_brown_conrady", "inverse_brown_conrady")
_FISHEYE: Final = "kannala_brandt4"
_FISHEYE_COUNT: Final = 4
_TURNS: Final = 20
_CLOSE: Final = 1e-9
_STEP: Final = 1e-6
_ASIDE: Final = np.array([1.0, 0.0])
_DOWN: Final = np.array([0.0, 1.0])
_TRUSTED_PX: Final = 0.05
_BEYOND: Final = 1.15  # of the farthest ray in the picture
_FARTHEST: Final = 5.0  # 79 degrees off the axis; no lens of a polynomial goes there
_STEPS_OUT: Final = 500
_BORDER_POINTS: Final = 9


class Lens:
    """The lens of a camera.

    is_straight          whether it bends nothing
    opencv_coefficients  (4 or more,) those of a brown_conrady lens, zeros of a straight one; None of others
    """

    def __init__(self, intrinsics: Intrinsics) -> None:
        """Raises ValueError for a model, or a number of coefficients, that is not known."""
        self._focal = np.array([intrinsics.fx, intrinsics.fy])
        self._centre = np.array([intrinsics.cx, intrinsics.cy])
        self._model = intrinsics.model
        self._coefficients = np.array(intrinsics.coefficients, np.float64)
        self.is_straight = self._model != _FISHEYE and not self._coefficients.any()
        self.opencv_coefficients: Float64 | None = None
        if self.is_straight:
            self.opencv_coefficients = np.zeros(5)
        elif self._model == "brown_conrady" and len(self._coefficients) in _OPENCV_COUNTS:
            self.opencv_coefficients = self._coefficients
        elif self._model in _MODIFIED and len(self._coefficients) in (4, 5):
            self._coefficients = np.resize(np.append(self._coefficients, 0.0), 5)
        elif (
            self._model == _FISHEYE
            and len(self._coefficients) >= _FISHEYE_COUNT
            and not self._coefficients[_FISHEYE_COUNT:].any()
        ):
            self._coefficients = self._coefficients[:_FISHEYE_COUNT]
        else:
            raise ValueError(
                f"the lens model {self._model!r} with {len(self._coefficients)} coefficients is not known;"
                " those that are: brown_conrady (with 4, 5, 8, 12 or 14), modified_brown_conrady and"
                " inverse_brown_conrady (4 or 5), and kannala_brandt4 (4)"
            )
        self._reach = np.inf
        if not self.is_straight and self._model != _FISHEYE:
            self._reach = self._turning_point()
            border = np.linalg.norm(self._rays(_border(intrinsics.width, intrinsics.height)), axis=1)
            if np.isfinite(border).any():
                self._reach = min(self._reach, _BEYOND * float(np.nanmax(border)))

    def pixels(self, rays: Float64) -> Float64:
        """Rays (n, 2) -> pixels (n, 2); NaN for those that are far beyond the picture."""
        if self.is_straight or not len(rays):
            return np.asarray(rays * self._focal + self._centre)
        with np.errstate(invalid="ignore"):
            within = np.asarray(np.linalg.norm(rays, axis=1) <= self._reach)[:, np.newaxis]
        bent = self._bent(np.where(within, rays, 0.0))
        return np.where(within, bent * self._focal + self._centre, np.nan)

    def straightened(self, points_px: Float64) -> Float64:
        """Points (n, 2) in a picture of this lens -> where a straight one would show them; NaN for those that
        cannot be in such a picture."""
        if self.is_straight or not len(points_px):
            return points_px
        return np.asarray(self._rays(points_px) * self._focal + self._centre)

    def bending(self, straight_px: Float64) -> Float64:
        """(n, 2, 2): how far a point moves in a picture of this lens, for a pixel in a straight one's, where
        that shows it at `straight_px` (n, 2); NaN for those far beyond the picture."""
        rays = (straight_px - self._centre) / self._focal
        by_ray = [self.pixels(rays + step) - self.pixels(rays - step) for step in _STEP * np.eye(2)]
        return np.asarray(np.stack(by_ray, axis=2) / (2 * _STEP * self._focal))

    def _turning_point(self) -> float:
        """How far from the axis rays may be so that a farther one is seen farther out, in any direction."""
        outwards = np.linspace(0.0, _FARTHEST, _STEPS_OUT)
        turns = [_FARTHEST]
        for direction in ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)):
            way = np.array(direction) / np.linalg.norm(direction)
            seen = np.linalg.norm(self._bent(outwards[:, np.newaxis] * way), axis=1)
            turns += outwards[:-1][np.diff(seen) <= 0][:1].tolist()
        return float(min(turns))

    def _rays(self, points_px: Float64) -> Float64:
        wanted = (points_px - self._centre) / self._focal
        rays = self._unbent_fisheye(wanted) if self._model == _FISHEYE else self._unbent(wanted)
        with np.errstate(invalid="ignore", over="ignore"):
            off_px = np.linalg.norm((self._bent(rays) - wanted) * self._focal, axis=1)
            is_seen = (off_px <= _TRUSTED_PX) & (np.linalg.norm(rays, axis=1) <= self._reach)
            return np.where(is_seen[:, np.newaxis], rays, np.nan)

    def _bent(self, rays: Float64) -> Float64:
        if self._model == _FISHEYE:
            radius = np.linalg.norm(rays, axis=1)
            angle = np.arctan(radius)
            square = angle * angle
            k1, k2, k3, k4 = self._coefficients
            bent = angle * (1 + square * (k1 + square * (k2 + square * (k3 + square * k4))))
            shares = np.divide(bent, radius, out=np.ones_like(radius), where=radius > 0)
            return np.asarray(rays * shares[:, np.newaxis])
        if self._model in _MODIFIED:
            return _modified(rays, self._coefficients)
        points = np.column_stack([rays, np.ones(len(rays))])
        nowhere = np.zeros(3)
        bent = cv2.projectPoints(points, nowhere, nowhere, np.eye(3), self._coefficients)[0]
        return np.asarray(bent, np.float64).reshape(-1, 2)

    def _unbent_fisheye(self, wanted: Float64) -> Float64:
        rays = cv2.fisheye.undistortPoints(wanted[:, np.newaxis], np.eye(3), self._coefficients)
        return np.asarray(rays, np.float64).reshape(-1, 2)

    def _unbent(self, wanted: Float64) -> Float64:
        """By Newton's method: there is no formula, and OpenCV stops after five steps of a slower one."""
        rays = wanted.copy()
        with np.errstate(all="ignore"):  # what runs away is found out afterwards
            for _ in range(_TURNS):
                off = self._bent(rays) - wanted
                if not np.nanmax(np.abs(off), initial=0.0) > _CLOSE:
                    break
                by_x = (self._bent(rays + _STEP * _ASIDE) - off - wanted) / _STEP
                by_y = (self._bent(rays + _STEP * _DOWN) - off - wanted) / _STEP
                area = by_x[:, 0] * by_y[:, 1] - by_x[:, 1] * by_y[:, 0]
                step_x = (off[:, 0] * by_y[:, 1] - off[:, 1] * by_y[:, 0]) / area
                step_y = (by_x[:, 0] * off[:, 1] - by_x[:, 1] * off[:, 0]) / area
                rays = rays - np.column_stack([step_x, step_y])
        return rays


@lru_cache(maxsize=64)
def lens_of(intrinsics: Intrinsics) -> Lens:
    """The lens, made once. Raises ValueError as `Lens`."""
    return Lens(intrinsics)


def _modified(rays: Float64, coefficients: Float64) -> Float64:
    k1, k2, p1, p2, k3 = coefficients
    square = (rays * rays).sum(axis=1)
    x, y = (rays * (1 + square * (k1 + square * (k2 + square * k3)))[:, np.newaxis]).T
    return np.column_stack(
        [
            x + 2 * p1 * x * y + p2 * (square + 2 * x * x),
            y + 2 * p2 * x * y + p1 * (square + 2 * y * y),
        ]
    )


def _border(width: int, height: int) -> Float64:
    """Pixels all along the edge of a picture."""
    across, down = (np.linspace(-0.5, side - 0.5, _BORDER_POINTS) for side in (width, height))
    ends = [(x, y) for y in (down[0], down[-1]) for x in across]
    ends += [(x, y) for x in (across[0], across[-1]) for y in down]
    return np.array(ends, np.float64)
