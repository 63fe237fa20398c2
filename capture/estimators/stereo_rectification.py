"""How the two pictures of a stereo pair are warped for matching, and what a disparity then means.

A `Rectification` is made once from a calibrated pair. What holds for it: a point at depth Z (along the
optical axis of the rectified left camera) stands in the warped left picture at column x and in the right
one at x - d of the same row, with

    d = focal * baseline / Z + (cx_left - cx_right)

A vertical pair is warped transposed, so that this is true of it as well, and the depth map is turned back
at the end. Warped pictures have `margin` more columns on the left, because the matcher gives nothing for
as many columns as it searches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.estimators.stereo_calibration import Array, CalibrationError, Eye, Pair
from capture.frames import Intrinsics

# SGBM gives disparities in sixteenths of a pixel, as int16.
STEPS_PER_PIXEL = 16
_DISPARITY_MAX = 2**15 // STEPS_PER_PIXEL - 1
_SEARCH_UNIT = 16
# Where a match really lies, for each sixteenth that SGBM says. It pulls matches towards whole pixels, by
# up to a quarter ("pixel locking"): its cost hardly changes within half a pixel. Measured on slanted
# planes of noise; nearly the same for every mode, block size, sharpness and noise, for OpenCV 4.8 and 5.0.
# It halves the median error there and takes a tenth to a third off on pictures of rooms.
_TRUE_FRACTION = np.array(
    [-0.05, 0.15, 0.26, 0.34, 0.40, 0.44, 0.48, 0.51, 0.53, 0.55, 0.57, 0.59, 0.61, 0.65, 0.70, 0.77]
)
# Beyond these the two cameras hardly look at the same.
_ZOOM_MAX = 4.0
_TURN_MAX_DEG = 60.0

Depth = npt.NDArray[np.uint16]
Image = npt.NDArray[np.uint8]
FloatMap = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reach:
    """What is to be measured: the span of depth, and the columns to search (0: what the span needs)."""

    min_depth_m: float
    max_depth_m: float
    num_disparities: int
    depth_scale_m: float


@dataclass(frozen=True, slots=True)
class View:
    """One eye, the size its pictures are brought to, and where the pixels of the warped one come from."""

    eye: Eye
    size: tuple[int, int]
    maps: tuple[npt.NDArray[Any], npt.NDArray[Any]]

    def warp(self, grey: Image) -> Image:
        """The rectified picture; `grey` has `size`."""
        import cv2

        warped = cv2.remap(grey, *self.maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(warped, np.uint8)


@dataclass(frozen=True, slots=True)
class Rectification:
    """See the module. `intrinsics` and `left_from_rectified` describe the camera of the depth map."""

    left: View
    right: View
    intrinsics: Intrinsics
    left_from_rectified: Array
    focal_baseline_px_m: float
    disparity_min: int
    disparity_count: int
    margin: int
    transposed: bool
    _limit: npt.NDArray[np.int16]
    _depth_of_steps: Depth

    def depth(self, disparity: npt.NDArray[np.int16]) -> Depth:
        """The depth map of a matcher's result, 0 where there is no measurement."""
        inner = disparity[:, self.margin :]
        # A table over all 65536 disparities holds the formula, its limits and "no match" at once.
        depth = self._depth_of_steps[inner.view(np.uint16)]
        depth[inner > self._limit] = 0
        return np.ascontiguousarray(depth.T) if self.transposed else depth


def rectify(pair: Pair, *, scale: float, reach: Reach) -> Rectification:
    """Rectify a pair; its left (or upper) eye becomes the left view. Raises CalibrationError."""
    eyes, turns, projections = _stereo_rectify(pair, scale)
    if _second_stands_before(projections[1]):
        pair = pair.swapped()
        eyes, turns, projections = _stereo_rectify(pair, scale)
    axis = _search_axis(projections[1])
    size = eyes[0].size
    # The right projection is that of a point seen from the left one's place: -focal * baseline is in it.
    focal_baseline = -float(projections[1][axis, 3])
    offset_px = float(projections[0][axis, 2] - projections[1][axis, 2])
    first, count = _search_range(focal_baseline, offset_px, reach, size[axis])
    margin = max(first + count, 0)
    left_maps, right_maps = (
        _maps(eye, turn, projection, size, axis, margin)
        for eye, turn, projection in zip(eyes, turns, projections, strict=True)
    )
    left_from_rectified = np.eye(4)
    left_from_rectified[:3, :3] = turns[0].T
    fx, fy, cx, cy = (float(projections[0][place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return Rectification(
        left=View(pair.left, eyes[0].size, _fixed_point(left_maps)),
        right=View(pair.right, eyes[1].size, _fixed_point(right_maps)),
        intrinsics=Intrinsics(*size, fx=fx, fy=fy, cx=cx, cy=cy),
        left_from_rectified=left_from_rectified,
        focal_baseline_px_m=focal_baseline,
        disparity_min=first,
        disparity_count=count,
        margin=margin,
        transposed=axis == 1,
        _limit=_disparity_limit(right_maps, eyes[1].size, margin),
        _depth_of_steps=_depth_table(focal_baseline, offset_px, first, reach),
    )


def _stereo_rectify(pair: Pair, scale: float) -> tuple[list[Eye], list[Array], list[Array]]:
    """Both eyes at the size they are matched at, how each is turned, and its new projection."""
    import cv2

    eyes = [eye.resized(_shrunk(eye.size, scale)) for eye in (pair.left, pair.right)]
    size = eyes[0].size
    try:
        # It knows one size for both; the maps are made with the true one of each.
        turns_and_projections = cv2.stereoRectify(
            eyes[0].matrix,
            eyes[0].distortion,
            eyes[1].resized(size).matrix,
            eyes[1].distortion,
            size,
            pair.rotation,
            pair.translation.reshape(3, 1),
            flags=cv2.CALIB_ZERO_DISPARITY,
            alpha=0,  # cut to what is seen by both: black borders would be matched with each other
        )[:4]
    except cv2.error as error:
        raise CalibrationError(f"OpenCV cannot rectify this calibration: {error}") from error
    turns, projections = list(turns_and_projections[:2]), list(turns_and_projections[2:])
    zoom = float(projections[0][0, 0] / eyes[0].matrix[0, 0])
    turn_deg = max(float(np.degrees(np.arccos(np.clip(turn[2, 2], -1.0, 1.0)))) for turn in turns)
    if not (
        all(np.isfinite(p).all() for p in projections) and 0.0 < zoom < _ZOOM_MAX and turn_deg < _TURN_MAX_DEG
    ):
        raise CalibrationError(
            f"cameras {pair.left.key[0]} and {pair.right.key[0]} hardly look at the same: they would have to "
            f"be turned by {turn_deg:.0f} degrees; set them side by side, or check R, T, world_from_camera"
        )
    return eyes, turns, projections


def _shrunk(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(round(size[0] / scale), 1), max(round(size[1] / scale), 1)


def _search_axis(right_projection: Array) -> int:
    """0 where the second eye stands beside the first, 1 where it stands above or below."""
    return 0 if abs(right_projection[0, 3]) >= abs(right_projection[1, 3]) else 1


def _second_stands_before(right_projection: Array) -> bool:
    """Whether the second eye is the left (or upper) one: stereoRectify then gives -focal * baseline > 0."""
    return bool(right_projection[_search_axis(right_projection), 3] > 0.0)


def _search_range(focal_baseline: float, offset_px: float, reach: Reach, extent_px: int) -> tuple[int, int]:
    """The first disparity to search and how many."""
    first = int(np.floor(focal_baseline / reach.max_depth_m + offset_px))
    last = int(np.ceil(focal_baseline / reach.min_depth_m + offset_px))
    count = reach.num_disparities
    if count == 0:
        # More than half the width finds what hardly two pictures share, at great cost.
        most = max(extent_px // 2 // _SEARCH_UNIT, 1) * _SEARCH_UNIT
        count = min(-(-(last - first + 1) // _SEARCH_UNIT) * _SEARCH_UNIT, most)
    if first + count > min(_DISPARITY_MAX, extent_px) or first < -extent_px:
        raise CalibrationError(
            f"disparities {first} to {first + count} are too large for pictures of {extent_px} pixels; "
            "set a smaller num_disparities or a larger min_depth_m"
        )
    return first, count


def _maps(
    eye: Eye, turn: Array, projection: Array, size: tuple[int, int], axis: int, margin: int
) -> tuple[FloatMap, FloatMap]:
    """Where each pixel of the warped picture comes from, with its margin, transposed for a vertical pair."""
    import cv2

    wide = (size[0] + margin, size[1]) if axis == 0 else (size[0], size[1] + margin)
    shifted = projection[:, :3].copy()
    shifted[axis, 2] += margin
    x, y = cv2.initUndistortRectifyMap(eye.matrix, eye.distortion, turn, shifted, wide, cv2.CV_32FC1)
    return (x, y) if axis == 0 else (np.ascontiguousarray(x.T), np.ascontiguousarray(y.T))


def _fixed_point(maps: tuple[FloatMap, FloatMap]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The same maps as OpenCV warps fastest with."""
    import cv2

    return cv2.convertMaps(*maps, cv2.CV_16SC2)


def _disparity_limit(
    right_maps: tuple[FloatMap, FloatMap], size: tuple[int, int], margin: int
) -> npt.NDArray[np.int16]:
    """The largest disparity at each pixel whose match lies in the right picture, not left of it."""
    x, y = right_maps
    seen = (x > -1) & (x < size[0]) & (y > -1) & (y < size[1])
    first_seen = np.where(seen.any(axis=1), seen.argmax(axis=1), seen.shape[1])
    columns = np.arange(margin, seen.shape[1])
    steps = (columns[None, :] - first_seen[:, None]) * STEPS_PER_PIXEL
    limit: npt.NDArray[np.int16] = np.clip(steps, -(2**15), 2**15 - 1).astype(np.int16)
    return limit


def _depth_table(focal_baseline: float, offset_px: float, first: int, reach: Reach) -> Depth:
    """Depth units for every int16 disparity, indexed by its bits as uint16."""
    steps = np.arange(2**16).astype(np.uint16).view(np.int16).astype(np.int32)
    ray_px = steps // STEPS_PER_PIXEL + _TRUE_FRACTION[steps % STEPS_PER_PIXEL] - offset_px
    depth_m = np.divide(focal_baseline, ray_px, out=np.zeros(2**16), where=ray_px > 0.0)
    units = np.rint(depth_m / reach.depth_scale_m)
    good = (depth_m >= reach.min_depth_m) & (depth_m <= reach.max_depth_m) & (units <= 65535)
    # One pixel below the first disparity is the matcher's word for "no match".
    good &= steps >= first * STEPS_PER_PIXEL
    return np.where(good, units, 0.0).astype(np.uint16)
