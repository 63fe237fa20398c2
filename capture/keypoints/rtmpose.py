"""RTMPose and its kin: one person per box, by an ONNX file of the user's (extra `onnx`).

The network gives each joint as two histograms, one along x and one along y (SimCC: Li et al., ECCV 2022),
with several bins to a pixel. How many joints it has says which set they are in: 17 are COCO's, 26 are
Halpe's, which have head top, neck and feet. A box, say around the mesh of the frame before, is what it needs
to be good; without one it takes the whole picture for the box, which finds somebody who fills it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from capture.keypoints import PersonKeypoints, Picture, seen_person
from capture.keypoints._onnx import Array, Network
from capture.keypoints._pictures import Box, checked_boxes, colour_picture, cut_out, is_somebody, whole
from capture.keypoints.joint_sets import JOINT_SETS, joint_set_of_count
from codec.errors import ConfigError

_PURPOSE: Final = 'key point source "rtmpose"'
_TOLD_BY_COUNT: Final = ("coco17", "halpe26")
_HEIGHT, _WIDTH = 256, 192  # where the file leaves them free
_MEAN: Final = np.array((123.675, 116.28, 103.53), np.float32)  # red, green, blue
_DEVIATION: Final = np.array((58.395, 57.12, 57.375), np.float32)
_MARGIN: Final = 1.25


class RtmPoseSource:
    """See the module. `joint_set` is needed where the number of joints does not tell it. `threads` of the
    processor work on a picture; people below `least_confidence` are nobody."""

    def __init__(
        self, *, model: Path, joint_set: str | None = None, threads: int = 1, least_confidence: float = 0.3
    ) -> None:
        self._network = Network(model, purpose=_PURPOSE, threads=threads)
        _, channels, height, width = self._network.shape
        if channels not in (0, 3) or self._network.dtype is not np.float32:
            raise self._network.refused(f"its picture is {self._network.shape}, not (1, 3, height, width)")
        self._height, self._width = height or _HEIGHT, width or _WIDTH
        self._least_confidence = least_confidence
        blank = np.zeros((self._height, self._width, 3), np.uint8)
        outputs = self._network.tried(_input_of(blank))
        shapes = [output.shape for output in outputs]
        if len(shapes) != 2 or any(len(shape) != 3 or shape[0] != 1 for shape in shapes):
            raise self._network.refused(f"it gives arrays of {shapes}, not two of (1, joints, bins)")
        count = shapes[0][1]
        if shapes[1][1] != count or shapes[0][2] < self._width or shapes[1][2] < self._height:
            raise self._network.refused(
                f"it gives arrays of {shapes} for a picture of {self._width}x{self._height}"
            )
        self._joint_set = self._set_of(count, joint_set)

    def detect(
        self,
        image_bgr: Picture,
        *,
        time_s: float,
        boxes_px: npt.ArrayLike | None = None,
        number: int | None = None,
        meta: bytes = b"",
    ) -> list[PersonKeypoints]:
        """See KeypointSource."""
        picture = colour_picture(image_bgr)
        if boxes_px is None:
            person = self._person(picture, whole(picture), margin=1.0, index=None)
            return [] if person is None else [person]
        found = [
            self._person(picture, box, margin=_MARGIN, index=index) for index, box in checked_boxes(boxes_px)
        ]
        return [person for person in found if person is not None]

    def close(self) -> None:
        """Nothing is held that would not go by itself."""

    def _person(
        self, picture: Picture, box: Box, *, margin: float, index: int | None
    ) -> PersonKeypoints | None:
        cut = cut_out(picture, box, width=self._width, height=self._height, margin=margin)
        along_x, along_y = self._network.run(_input_of(cut.canvas))
        points, confidences = decode_simcc(along_x[0], along_y[0], (self._width, self._height))
        if not is_somebody(confidences, self._least_confidence):
            return None
        return seen_person(self._joint_set, cut.to_picture(points), confidences, box_index=index)

    def _set_of(self, count: int, wanted: str | None) -> str:
        if wanted is None:
            known = joint_set_of_count(count)
            if known is None or known.name not in _TOLD_BY_COUNT:
                raise self._network.refused(f"it gives {count} joints; say with joint_set which those are")
            return known.name
        if wanted not in JOINT_SETS:
            raise ConfigError(
                f"{_PURPOSE}: there is no joint set {wanted!r}; there are {', '.join(JOINT_SETS)}"
            )
        if len(JOINT_SETS[wanted].joints) != count:
            raise self._network.refused(f"it gives {count} joints, and {wanted} has others")
        return wanted


def decode_simcc(
    along_x: Array, along_y: Array, size: Sequence[int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Histograms (N, bins) along both sides of a picture (width, height) -> points (N, 2) in its pixels and
    confidences (N,): the lower one of the two maxima. NaN in either gives confidence 0.
    """
    points, peaks = [], []
    for histogram, side in zip((along_x, along_y), size, strict=True):
        values = np.where(np.isnan(histogram), -np.inf, histogram)
        points.append(np.argmax(values, axis=1) * (side / histogram.shape[1]))
        peaks.append(np.where(np.isnan(histogram).any(axis=1), 0.0, values.max(axis=1)))
    return np.stack(points, axis=1), np.minimum(*peaks).clip(0.0, 1.0).astype(np.float64)


def _input_of(canvas: Picture) -> Array:
    """(1, 3, height, width) float32, red first, scaled as the network was trained."""
    scaled = (cv2.cvtColor(canvas, cv2.COLOR_BGR2RGB).astype(np.float32) - _MEAN) / _DEVIATION
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[np.newaxis])
