"""MoveNet, as an ONNX file of the user's (extra `onnx`): COCO's 17 joints.

The single-person files (Lightning, Thunder: output 1 x 1 x 17 x 3) find one person per box, or one in the
picture; the one for several people (MultiPose: output 1 x 6 x 56) finds up to six in the whole picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from capture.keypoints import PersonKeypoints, Picture, seen_person
from capture.keypoints._onnx import Array, Network
from capture.keypoints._pictures import (
    Box,
    Cutting,
    checked_boxes,
    colour_picture,
    cut_out,
    is_somebody,
    whole,
)

_PURPOSE: Final = 'key point source "movenet"'
_JOINT_SET: Final = "coco17"
_JOINTS: Final = 17
_NUMBERS: Final = 3 * _JOINTS  # y, x and score of each joint
_SIDE_PX: Final = 256  # where the file leaves it free
_MARGIN: Final = 1.25


class MoveNetSource:
    """See the module. `threads` of the processor work on a picture; people below `least_confidence` are
    nobody."""

    def __init__(self, *, model: Path, threads: int = 1, least_confidence: float = 0.3) -> None:
        self._network = Network(model, purpose=_PURPOSE, threads=threads)
        _, height, width, channels = self._network.shape
        if channels not in (0, 3):
            raise self._network.refused(f"its picture is {self._network.shape}, not (1, height, width, 3)")
        self._height, self._width = height or _SIDE_PX, width or _SIDE_PX
        self._least_confidence = least_confidence
        outputs = self._network.tried(self._input_of(np.zeros((self._height, self._width, 3), np.uint8)))
        if len(outputs) != 1 or _rows(outputs[0]) is None:
            shapes = [output.shape for output in outputs]
            raise self._network.refused(f"it gives arrays of {shapes}, not 17 times y, x and score")

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
            return self._people(picture, whole(picture), margin=1.0, index=None)
        found = []
        for index, box in checked_boxes(boxes_px):
            people = self._people(picture, box, margin=_MARGIN, index=index)
            found += sorted(people, key=lambda person: -float(person.confidences.mean()))[:1]
        return found

    def close(self) -> None:
        """Nothing is held that would not go by itself."""

    def _people(
        self, picture: Picture, box: Box, *, margin: float, index: int | None
    ) -> list[PersonKeypoints]:
        cut = cut_out(picture, box, width=self._width, height=self._height, margin=margin)
        rows = _rows(self._network.run(self._input_of(cut.canvas))[0])
        people = [self._person(row, cut, index) for row in ([] if rows is None else rows)]
        return [person for person in people if person is not None]

    def _person(self, row: Array, cut: Cutting, index: int | None) -> PersonKeypoints | None:
        joints = row.reshape(_JOINTS, 3).astype(np.float64)
        if not is_somebody(joints[:, 2], self._least_confidence):
            return None
        # Shares run from edge to edge, pixels from the middle of the first to that of the last.
        on_canvas = joints[:, 1::-1] * (self._width, self._height) - 0.5
        return seen_person(_JOINT_SET, cut.to_picture(on_canvas), joints[:, 2], box_index=index)

    def _input_of(self, canvas: Picture) -> Array:
        batch: Array = cv2.cvtColor(canvas, cv2.COLOR_BGR2RGB)[np.newaxis].astype(self._network.dtype)
        return batch


def _rows(output: Array) -> Array | None:
    """(people, 51) of either kind of output; None for another one."""
    if output.size == _NUMBERS and output.shape[-2:] == (_JOINTS, 3):
        return output.reshape(1, _NUMBERS)
    if output.ndim == 3 and output.shape[0] == 1 and output.shape[2] == _NUMBERS + 5:  # and box and score
        rows: Array = output[0, :, :_NUMBERS]
        return rows
    return None
