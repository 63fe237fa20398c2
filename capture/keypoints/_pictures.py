"""Pictures as detectors want them: checked, in colour, cut out around a box, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from capture.keypoints.joint_sets import Float64
from codec.errors import EstimatorError

Picture = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]
"""left, top, right, bottom in pixels"""


def colour_picture(image: npt.NDArray[np.generic]) -> Picture:
    """(height, width, 3) BGR of a colour or a grey picture. Raises EstimatorError for anything else."""
    array = np.asarray(image)
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))
    if array.dtype != np.uint8 or not is_picture or array.size == 0:
        raise EstimatorError(
            f"an array of shape {array.shape} and type {array.dtype} is no picture: (height, width, 3) or"
            " (height, width) of uint8 is one"
        )
    picture: Picture = np.ascontiguousarray(array, dtype=np.uint8)
    if picture.ndim == 2 or picture.shape[2] == 1:
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    return picture


def checked_boxes(boxes_px: npt.ArrayLike) -> list[tuple[int, Box]]:
    """Boxes with their places in the list; those that are not finite or hold no pixel are left out.

    Raises EstimatorError unless they are (n, 4).
    """
    boxes = np.asarray(boxes_px, dtype=np.float64)
    if boxes.size == 0:
        return []
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise EstimatorError(f"boxes are (n, 4): left, top, right, bottom; got an array of {boxes.shape}")
    good = (
        np.isfinite(boxes).all(axis=1) & (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
    )
    return [(int(i), (boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3])) for i in np.flatnonzero(good)]


@dataclass(frozen=True, slots=True)
class Cutting:
    """A part of a picture on a canvas of its own: pixel = left, top + canvas pixel * scale."""

    canvas: Picture
    left: float
    top: float
    scale: float

    def to_picture(self, points: npt.ArrayLike) -> Float64:
        """Points (n, 2) on the canvas -> in the picture."""
        return np.array([self.left, self.top]) + np.asarray(points, dtype=np.float64) * self.scale


def cut_out(picture: Picture, box: Box, *, width: int, height: int, margin: float) -> Cutting:
    """The box, `margin` times as large and widened to the canvas's shape, on a canvas of width x height.

    What lies outside of the picture is black, as it was for the detectors when they were trained.
    """
    left, top, right, bottom = box
    scale = margin * max((right - left) / width, (bottom - top) / height)
    x = (left + right) / 2 - scale * width / 2
    y = (top + bottom) / 2 - scale * height / 2
    # Pixel centres lie half a pixel from the corner, at both scales.
    shift = 0.5 * scale - 0.5
    cut = Cutting(np.zeros((height, width, 3), np.uint8), x + shift, y + shift, scale)
    part, corner = _part(picture, x, y, x + scale * width, y + scale * height)
    if part.size == 0:
        return cut
    part, ratio = _halved(part, int(scale))
    offset = (np.array([cut.left, cut.top]) - corner + 0.5) * ratio - 0.5
    canvas_to_part = np.array([[scale * ratio[0], 0.0, offset[0]], [0.0, scale * ratio[1], offset[1]]])
    cv2.warpAffine(
        part,
        canvas_to_part,
        (width, height),
        dst=cut.canvas,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0, 0, 0),
    )
    return cut


def _part(picture: Picture, left: float, top: float, right: float, bottom: float) -> tuple[Picture, Float64]:
    """The picture's pixels within these edges and a little more, and where their first one lies.

    cv2 warps no picture of 32767 pixels and more in a row, and the rest would only cost time.
    """
    height, width = picture.shape[:2]
    first_x, first_y = (int(min(max(edge - 2, 0), 1e9)) for edge in (left, top))
    last_x, last_y = int(min(max(right + 3, 0), width)), int(min(max(bottom + 3, 0), height))
    return picture[first_y:last_y, first_x:last_x], np.array([first_x, first_y], dtype=np.float64)


def _halved(part: Picture, factor: int) -> tuple[Picture, Float64]:
    """A picture made smaller by a whole factor, and by how much: where the canvas is so much smaller, each of
    its pixels must be a mean, or thin limbs fall through."""
    if factor < 2:
        return part, np.ones(2)
    height, width = (max(1, side // factor) for side in part.shape[:2])
    small: Picture = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
    return small, np.array([width / part.shape[1], height / part.shape[0]])


def whole(picture: Picture) -> Box:
    """The box around all of it."""
    return 0.0, 0.0, float(picture.shape[1]), float(picture.shape[0])


def is_somebody(confidences: npt.ArrayLike, least: float) -> bool:
    """Whether the better half of these joints is trusted so much, as of a person of whom half is in view.

    Networks for one person always answer; where nobody is, they trust no answer.
    """
    trust = np.nan_to_num(np.asarray(confidences, dtype=np.float64))
    better = np.sort(trust)[len(trust) // 2 :]
    return bool(better.mean() >= least)
