"""People's joints over a picture: bones and points, left in one colour and right in another.

For overlays and previews. Draws into the picture it is given; what lies far outside or is not finite is left
out. Colours are BGR.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from capture.keypoints import PersonKeypoints, Picture
from capture.keypoints.joint_sets import joint_set

Color = tuple[int, int, int]

LEFT: Final[Color] = (80, 200, 255)
RIGHT: Final[Color] = (255, 160, 60)
MIDDLE: Final[Color] = (235, 235, 235)
_OUTLINE: Final[Color] = (20, 20, 20)
_LEAST_CONFIDENCE: Final = 0.3
# cv2 draws with 32-bit numbers, some of whose bits are a fraction; no picture is nearly so wide.
_FARTHEST_PX: Final = 30_000
_PX_PER_WIDTH: Final = 1 / 350


def draw_people(
    picture: Picture,
    people: Sequence[PersonKeypoints],
    *,
    scale: float = 1.0,
    least_confidence: float = _LEAST_CONFIDENCE,
) -> None:
    """Draw every person into a BGR picture. `scale` is its size over that of the one they were seen in."""
    for person in people:
        draw_joints(
            picture,
            person.joint_set,
            person.points_px * scale,
            person.confidences,
            least_confidence=least_confidence,
        )


def draw_joints(
    picture: Picture,
    joint_set_name: str,
    points_px: npt.ArrayLike,
    confidences: npt.ArrayLike,
    *,
    least_confidence: float = _LEAST_CONFIDENCE,
) -> None:
    """Draw the bones between points (N, 2) of a joint set, where both ends are trusted at least so much."""
    known = joint_set(joint_set_name)
    points = np.asarray(points_px, dtype=np.float64)
    trusted = np.asarray(confidences, dtype=np.float64) >= least_confidence
    # A comparison with NaN is false.
    trusted &= (np.abs(points) < _FARTHEST_PX).all(axis=1)
    thickness = max(2, round(max(picture.shape[:2]) * _PX_PER_WIDTH))
    # Thin dark lines below everything first, so that joints stand out from any ground.
    for wider, outline in ((2, _OUTLINE), (0, None)):
        for a, b in known.bones:
            if trusted[a] and trusted[b]:
                color = outline or _color(known.joints[a], known.joints[b])
                cv2.line(picture, _at(points[a]), _at(points[b]), color, thickness + wider, cv2.LINE_AA)
        for at in np.flatnonzero(trusted):
            color = outline or _color(known.joints[at])
            cv2.circle(picture, _at(points[at]), thickness + 1 + wider // 2, color, cv2.FILLED, cv2.LINE_AA)


def _at(point: npt.NDArray[np.float64]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _color(*joints: str) -> Color:
    """Of a joint, or of the bone between two; a bone between the sides is of neither."""
    sides = {"left" if "left" in joint else "right" if "right" in joint else "" for joint in joints} - {""}
    if len(sides) != 1:
        return MIDDLE
    return LEFT if sides == {"left"} else RIGHT
