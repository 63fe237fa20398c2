"""MediaPipe's Pose Landmarker: 33 joints of several people, in the picture and in metres around the hips.

Runs on the processor through the package mediapipe (extra `mediapipe`) with a `.task` file of the user's;
`nightrig models pose` makes one. Without boxes it looks for people itself and follows them from picture to
picture. As it shrinks what it gets to a small square, it misses many people who are less than two fifths of a
wide picture high; smaller ones it finds in boxes, each of which it looks at anew.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from capture.keypoints import PersonKeypoints, Picture, seen_person
from capture.keypoints._mediapipe_library import (
    UnloadableLibraryError,
    hushed,
    load_mediapipe,
    why_it_does_not_load,
)
from capture.keypoints._pictures import Box, checked_boxes, colour_picture, cut_out
from codec.errors import ConfigError, EstimatorError

JOINT_SET: Final = "mediapipe33"
_PURPOSE: Final = 'key point source "mediapipe"'
_PARTS: Final = ("pose_detector.tflite", "pose_landmarks_detector.tflite")
_WAY_OUT: Final = "`nightrig models pose` makes one"
_MOST_PEOPLE: Final = 10
_CANVAS_PX: Final = 320
# Of a box: the detector was trained on people with some room around them.
_MARGIN: Final = 1.5


class MediaPipeSource:
    """See the module. `people` is how many it looks for where there are no boxes; pictures wider than
    `max_width_px` are shrunk to that first; below `least_confidence` nobody is there."""

    WAYS_OUT: Final = {"model": _WAY_OUT}

    def __init__(
        self, *, model: Path, people: int = 1, max_width_px: int = 1280, least_confidence: float = 0.5
    ) -> None:
        if not 1 <= people <= _MOST_PEOPLE:
            raise ConfigError(f"{_PURPOSE}: people = {people} is not within 1 and {_MOST_PEOPLE}")
        if max_width_px < 64:
            raise ConfigError(f"{_PURPOSE}: max_width_px = {max_width_px} is less than 64")
        if not 0 < least_confidence < 1:
            raise ConfigError(f"{_PURPOSE}: least_confidence = {least_confidence} is not between 0 and 1")
        _check_bundle(model)
        self._model, self._people, self._max_width_px = model, people, max_width_px
        self._least_confidence = least_confidence
        self._mediapipe = load_mediapipe(_PURPOSE)
        self._following = self._landmarker("VIDEO", people)
        self._looking: Any = None  # made when the first box comes
        self._last_ms: int | None = None
        self._is_warm: set[int] = set()

    def detect(
        self,
        image_bgr: Picture,
        *,
        time_s: float,
        boxes_px: npt.ArrayLike | None = None,
        number: int | None = None,
        meta: bytes = b"",
    ) -> list[PersonKeypoints]:
        """See KeypointSource. Raises EstimatorError once it is closed."""
        picture = colour_picture(image_bgr)
        if self._following is None:
            raise EstimatorError(f"{_PURPOSE} is closed")
        if boxes_px is not None:
            return self._in_boxes(picture, checked_boxes(boxes_px))
        full_size = picture.shape[1::-1]
        if picture.shape[1] > self._max_width_px:
            height = max(1, round(picture.shape[0] * self._max_width_px / picture.shape[1]))
            picture = _shrunk(picture, self._max_width_px, height)
        people = _people(self._ask(self._following, picture, self._next_ms(time_s)), picture)
        scale = np.array(full_size) / picture.shape[1::-1]
        # Half a pixel: coordinates begin at the middle of the first one.
        return [replace(person, points_px=(person.points_px + 0.5) * scale - 0.5) for person in people]

    def close(self) -> None:
        """Release both models. Safe to call twice."""
        with hushed():
            for landmarker in (self._following, self._looking):
                if landmarker is not None:
                    landmarker.close()
        self._following = self._looking = None

    def _in_boxes(self, picture: Picture, boxes: Sequence[tuple[int, Box]]) -> list[PersonKeypoints]:
        if self._looking is None:
            self._looking = self._landmarker("IMAGE", 1)
        found = []
        for index, box in boxes:
            cut = cut_out(picture, box, width=_CANVAS_PX, height=_CANVAS_PX, margin=_MARGIN)
            for person in _people(self._ask(self._looking, cut.canvas, None), cut.canvas):
                found.append(replace(person, points_px=cut.to_picture(person.points_px), box_index=index))
        return found

    def _next_ms(self, time_s: float) -> int:
        """Times must rise, in whole milliseconds; a clock that stands or jumps back is counted on."""
        now_ms = round(time_s * 1000) if np.isfinite(time_s) else 0
        self._last_ms = now_ms if self._last_ms is None else max(now_ms, self._last_ms + 1)
        return self._last_ms

    def _ask(self, landmarker: Any, picture: Picture, time_ms: int | None) -> Any:
        rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        image = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=rgb)
        try:
            if id(landmarker) in self._is_warm:
                return _call(landmarker, image, time_ms)
            with hushed():  # the first picture makes it talk
                result = _call(landmarker, image, time_ms)
        except (RuntimeError, ValueError) as error:
            raise EstimatorError(f"{_PURPOSE}: mediapipe failed: {_one_line(error)}") from error
        self._is_warm.add(id(landmarker))
        return result

    def _landmarker(self, mode: str, people: int) -> Any:
        vision = self._mediapipe.tasks.vision
        options = vision.PoseLandmarkerOptions(
            base_options=self._mediapipe.tasks.BaseOptions(model_asset_path=str(self._model)),
            running_mode=vision.RunningMode[mode],
            num_poses=people,
            min_pose_detection_confidence=self._least_confidence,
            min_pose_presence_confidence=self._least_confidence,
            min_tracking_confidence=self._least_confidence,
        )
        try:
            with hushed():
                return vision.PoseLandmarker.create_from_options(options)
        except (RuntimeError, ValueError, FileNotFoundError) as error:
            raise ConfigError(
                f"{_PURPOSE}: mediapipe refuses {self._model}: {_one_line(error)}; {_WAY_OUT}"
            ) from error
        except OSError as error:
            raise UnloadableLibraryError(f"{_PURPOSE}: {why_it_does_not_load(error)}") from error


def _check_bundle(model: Path) -> None:
    """Raises ConfigError for what is certainly no Pose Landmarker file, in words that help."""
    try:
        with zipfile.ZipFile(model) as archive:
            missing = set(_PARTS) - set(archive.namelist())
    except zipfile.BadZipFile:
        raise ConfigError(f"{_PURPOSE}: {model} is no Pose Landmarker file (.task); {_WAY_OUT}") from None
    except OSError as error:
        raise ConfigError(
            f"{_PURPOSE}: cannot read {model}: {error.strerror or error}; {_WAY_OUT}"
        ) from error
    if missing:
        raise ConfigError(
            f"{_PURPOSE}: {model} is no Pose Landmarker file: it has no {' and no '.join(sorted(missing))};"
            f" {_WAY_OUT}"
        )


def _call(landmarker: Any, image: Any, time_ms: int | None) -> Any:
    return landmarker.detect(image) if time_ms is None else landmarker.detect_for_video(image, time_ms)


def _shrunk(picture: Picture, width: int, height: int) -> Picture:
    small: Picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return small


def _people(result: Any, picture: Picture) -> list[PersonKeypoints]:
    """What the library found in a picture, in that picture's pixels."""
    people = []
    for joints, world in zip(result.pose_landmarks, result.pose_world_landmarks, strict=True):
        shares = np.array([(joint.x, joint.y) for joint in joints], dtype=np.float64)
        # Shares run from edge to edge, pixels from the middle of the first to that of the last.
        points = shares * picture.shape[1::-1] - 0.5
        visible = [joint.visibility or 0.0 for joint in joints]
        in_space = [(joint.x, joint.y, joint.z) for joint in world]
        people.append(seen_person(JOINT_SET, points, visible, world_m=in_space))
    return [person for person in people if person is not None]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
