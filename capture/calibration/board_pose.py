"""Where the board lies before one camera of a known lens, of whatever model, and how far its corners are off.

What was seen is straightened once. A pixel there is not a pixel in the picture: near the edge of a fisheye's
it is many. So errors are turned back into those of the picture, by how the lens bends at each corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from capture.calibration.boards import Sighting
from capture.frames import Intrinsics
from capture.lenses import Lens, lens_of
from codec.errors import CalibrationError

Float64 = npt.NDArray[np.float64]

_FEWEST_CORNERS: Final = 4
_STEPS: Final = 20
_STILL: Final = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class StraightSighting:
    """A sighting as a lens without distortion would have had it, of the corners that it can show.

    board_m (n, 3), pixels (n, 2)
    bending (n, 2, 2): by how much a corner moves in the picture that was taken, for a pixel in this one
    matrix  (3, 3): the camera matrix
    """

    board_m: Float64
    pixels: Float64
    bending: Float64
    matrix: Float64

    def residuals(self, rotation: Float64, translation: Float64) -> tuple[Float64, Float64]:
        """Projected minus seen, (2n,) pixels of the picture that was taken, of a board that lies at
        camera_from_board, and the derivatives by its rotation vector and translation, (2n, 6)."""
        projected, jacobian = cv2.projectPoints(self.board_m, rotation, translation, self.matrix, None)
        off = np.asarray(projected, np.float64).reshape(-1, 2) - self.pixels
        by_pose = np.asarray(jacobian[:, :6], np.float64).reshape(-1, 2, 6)
        return (self.bending @ off[:, :, np.newaxis]).ravel(), (self.bending @ by_pose).reshape(-1, 6)

    def pose(self) -> tuple[Float64, Float64]:
        """camera_from_board where the corners fit best: rotation vector (3,), translation (3,), in metres."""
        found, turned, moved = cv2.solvePnP(
            self.board_m, self.pixels, self.matrix, None, flags=cv2.SOLVEPNP_IPPE
        )
        if not found:
            raise CalibrationError("a board's place before the camera cannot be found")
        pose = np.concatenate([np.ravel(turned), np.ravel(moved)]).astype(np.float64)
        errors, slopes = self.residuals(pose[:3], pose[3:])
        damping = 1e-3
        for _ in range(_STEPS):
            normal = slopes.T @ slopes
            step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), slopes.T @ errors)
            tried = pose - step
            tried_errors, tried_slopes = self.residuals(tried[:3], tried[3:])
            if not tried_errors @ tried_errors < errors @ errors:
                damping *= 10.0
                continue
            pose, errors, slopes, damping = tried, tried_errors, tried_slopes, damping * 0.1
            if np.abs(step).max() < _STILL:
                break
        return pose[:3], pose[3:]


def straightened(lens: Intrinsics, sighting: Sighting) -> StraightSighting:
    """Raises CalibrationError for a lens whose model is not known, or whose picture cannot show this."""
    bends = _bends(lens)
    pixels = bends.straightened(sighting.pixels)
    bending = bends.bending(pixels)
    shown = np.isfinite(pixels).all(axis=1) & np.isfinite(bending).all(axis=(1, 2))
    if shown.sum() < _FEWEST_CORNERS:
        raise CalibrationError(
            f"a {lens.model} lens as it is written down cannot have shown the board where it was seen: is it"
            " this camera's?"
        )
    matrix = np.array([[lens.fx, 0.0, lens.cx], [0.0, lens.fy, lens.cy], [0.0, 0.0, 1.0]])
    return StraightSighting(sighting.board_m[shown], pixels[shown], bending[shown], matrix)


def reprojection_errors(lens: Intrinsics, sighting: Sighting) -> Float64:
    """(n, 2) pixels: seen minus projected, with the board where it fits best; NaN for corners that the lens
    cannot show."""
    rotation, translation = straightened(lens, sighting).pose()
    placed = sighting.board_m @ cv2.Rodrigues(rotation)[0].T + translation
    return np.asarray(sighting.pixels - _bends(lens).pixels(placed[:, :2] / placed[:, 2:]))


def rms_px(errors_px: Sequence[Float64]) -> float:
    """Root mean square of the distances of all corners whose errors, (n, 2) per sighting, are told."""
    squares = np.concatenate([(errors**2).sum(axis=1) for errors in errors_px])
    squares = squares[np.isfinite(squares)]
    return float(np.sqrt(squares.mean())) if len(squares) else 0.0


def tilted_deg(lens: Intrinsics, sightings: Sequence[Sighting]) -> float:
    """The largest angle between the boards of two sightings."""
    normals = np.array([cv2.Rodrigues(straightened(lens, each).pose()[0])[0][:, 2] for each in sightings])
    return float(np.degrees(np.arccos(np.clip((normals @ normals.T).min(), -1.0, 1.0))))


def _bends(lens: Intrinsics) -> Lens:
    try:
        return lens_of(lens)
    except ValueError as error:
        raise CalibrationError(str(error)) from error
