"""Detections that somebody made before, read from files: SMPLify's, Detectron's, OpenPose's, plain arrays.

See `_detection_arrays` and `_openpose_folder` for the kinds. Pictures are not looked at: one is told by its
number, or by its time where `fps` says how many there are to a second.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import numpy.typing as npt

from capture.keypoints import PersonKeypoints, Picture, seen_person
from capture.keypoints._detection_arrays import Detections, read_detections
from capture.keypoints._openpose_folder import OpenPoseFolder
from codec.errors import ConfigError, EstimatorError

__all__ = ["Detections", "FileSource", "read_detections"]

_PURPOSE: Final = 'key point source "file"'


class FileSource:
    """`path` is a file, or a folder of OpenPose's. `joint_set` overrules what the layout says; the picture of
    number `first` is the first one in the file; with `fps` pictures are told by their time instead."""

    def __init__(
        self, *, path: Path, joint_set: str | None = None, first: int = 0, fps: float | None = None
    ) -> None:
        if fps is not None and not (math.isfinite(fps) and fps > 0):
            raise ConfigError(f"{_PURPOSE}: fps = {fps} is not above 0")
        self._path, self._first, self._fps = path, first, fps
        self._folder: OpenPoseFolder | None = None
        self._detections: Detections | None = None
        if path.is_dir():
            self._folder = OpenPoseFolder(path)
        else:
            self._detections = read_detections(path, joint_set=joint_set)

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self._folder or self._detections or ())

    def people(self, index: int) -> list[PersonKeypoints]:
        """Who is in the picture at this place of the file; [] beyond its ends."""
        if self._folder is not None:
            return self._folder.people(index)
        found = self._detections
        if found is None or not 0 <= index < len(found):
            return []
        people = [
            seen_person(found.joint_set, points, trust)
            for points, trust in zip(found.points_px[index], found.confidences[index], strict=True)
        ]
        return [person for person in people if person is not None]

    def detect(
        self,
        image_bgr: Picture,
        *,
        time_s: float,
        boxes_px: npt.ArrayLike | None = None,
        number: int | None = None,
        meta: bytes = b"",
    ) -> list[PersonKeypoints]:
        """See KeypointSource. Raises EstimatorError where neither the number nor `fps` tells the picture."""
        if self._fps is not None:
            if not math.isfinite(time_s):
                raise EstimatorError(f"{_PURPOSE}: the picture has no time to find it by in {self._path}")
            return self.people(round(time_s * self._fps) - self._first)
        if number is None:
            raise EstimatorError(f"{_PURPOSE}: the picture has no number to find it by; set fps")
        return self.people(number - self._first)

    def close(self) -> None:
        """Let the file's arrays go."""
        self._folder = self._detections = None
