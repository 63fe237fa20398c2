"""One camera's intrinsics from its sightings of a board (OpenCV's calibrateCamera, after Zhang 2000).

Sightings that fit much worse than the others are left out, one after the other. How sure the focal length
is comes with it, so that whoever calibrates learns that a few more pictures, and more tilted ones, help.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from capture.calibration.board_pose import reprojection_errors, tilted_deg
from capture.calibration.boards import Sighting
from capture.frames import Intrinsics
from codec.errors import CalibrationError

Float64 = npt.NDArray[np.float64]

FEWEST_VIEWS: Final = 3
_LEAST_TILT_DEG: Final = 8.0
"""Between two of the boards, at least; else they count as parallel, and fit a lens of any focal length."""
_OUTLIER: Final = 3.0
"""Times the median error of the sightings."""
_LARGEST_RMS_PX: Final = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Lens:
    """Intrinsics, and how well they fit.

    rms_px              of all corners used
    focal_deviation_px  one standard deviation of fx, fy
    view_rms_px         (views,), NaN for sightings that were left out
    errors_px           one (n, 2) per view: seen minus projected; NaN for corners that no place explains
    """

    intrinsics: Intrinsics
    rms_px: float
    focal_deviation_px: float
    view_rms_px: Float64
    errors_px: tuple[Float64, ...]


def calibrate_lens(sightings: Sequence[Sighting], size: tuple[int, int], *, name: str) -> Lens:
    """Fit fx, fy, cx, cy, k1, k2, p1, p2 to what camera `name` saw in pictures of `size` (width, height).

    Raises CalibrationError where the pictures do not say enough.
    """
    if len(sightings) < FEWEST_VIEWS:
        raise CalibrationError(
            f"camera {name}: the board was seen in {len(sightings)} places, {FEWEST_VIEWS} are the least and"
            " ten, tilted in different ways, are good"
        )
    kept = list(range(len(sightings)))
    while True:
        rms_px, matrix, distortion, deviations, view_rms = _calibrate(
            [sightings[i] for i in kept], size, name
        )
        worst = int(np.argmax(view_rms))
        if len(kept) <= max(FEWEST_VIEWS, len(sightings) // 2) or view_rms[worst] <= _OUTLIER * max(
            float(np.median(view_rms)), 0.05
        ):
            break
        del kept[worst]
    fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    if not (np.isfinite(matrix).all() and rms_px <= _LARGEST_RMS_PX and min(fx, fy) > 0.1 * max(size)):
        raise CalibrationError(
            f"camera {name}: no lens fits what was seen (off by {rms_px:.1f} px): is the board as it was"
            " named, flat, and all pictures of one size and zoom?"
        )
    lens = Intrinsics(
        *size, float(fx), float(fy), float(cx), float(cy), "brown_conrady", tuple(map(float, distortion))
    )
    tilt_deg = tilted_deg(lens, [sightings[i] for i in kept])
    if tilt_deg < _LEAST_TILT_DEG:
        raise CalibrationError(
            f"camera {name}: the board was tilted by {tilt_deg:.0f} degrees at most from one place to"
            " another, which tells no focal length; tilt it more"
        )
    errors = tuple(reprojection_errors(lens, sighting) for sighting in sightings)
    told = np.full(len(sightings), np.nan)
    told[kept] = view_rms
    return Lens(lens, rms_px, float(max(deviations[:2])), told, errors)


def _calibrate(
    sightings: Sequence[Sighting], size: tuple[int, int], name: str
) -> tuple[float, Float64, Float64, Float64, Float64]:
    """rms, camera matrix, k1 k2 p1 p2 k3, standard deviations of the intrinsics, rms of each view."""
    board = [sighting.board_m.astype(np.float32) for sighting in sightings]
    pixels = [sighting.pixels.astype(np.float32) for sighting in sightings]
    # The sixth-order term is not seen by boards that leave the corners of the picture empty, and wanders off.
    try:
        rms, matrix, distortion, _, _, deviations, _, view_rms = cv2.calibrateCameraExtended(
            board, pixels, size, None, None, flags=cv2.CALIB_FIX_K3
        )
    except cv2.error as error:
        raise CalibrationError(
            f"camera {name}: the board was seen in too few ways to tell the lens ({error.err}); tilt it more"
        ) from error
    return (
        float(rms),
        np.asarray(matrix, np.float64),
        np.asarray(distortion, np.float64).ravel()[:5],
        np.asarray(deviations, np.float64).ravel(),
        np.asarray(view_rms, np.float64).ravel(),
    )
