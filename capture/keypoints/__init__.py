"""Where people's joints are in a picture: one file per kind of source, all behind `KeypointSource`.

    source = open_source("mediapipe", {"model": "pose_landmarker.task", "people": 2})
    for person in source.detect(picture, time_s=1.5):
        points, confidences = to_lsp14(person.joint_set, person.points_px, person.confidences)

Kinds: "mediapipe" (MediaPipe Pose Landmarker), "rtmpose" and "movenet" (ONNX files), "file" (detections that
somebody made before) and "truth" (what a simulated camera knows, with noise). Model files come from the user;
packages that a kind needs are imported when it is opened. One source serves one camera: some kinds remember
the picture before.

Knows arrays and frames, never rings, sessions or the service.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import numpy as np
import numpy.typing as npt

from capture.keypoints._options import checked_options
from capture.keypoints._pictures import Picture
from capture.keypoints.joint_sets import Float64, joint_set
from codec.errors import ConfigError, EstimatorError

__all__ = ["KINDS", "KeypointSource", "PersonKeypoints", "Picture", "open_source", "seen_person"]

_MODULES: Final = {
    "mediapipe": ("capture.keypoints.mediapipe_pose", "MediaPipeSource"),
    "rtmpose": ("capture.keypoints.rtmpose", "RtmPoseSource"),
    "movenet": ("capture.keypoints.movenet", "MoveNetSource"),
    "file": ("capture.keypoints.detection_files", "FileSource"),
    "truth": ("capture.keypoints.truth", "TruthSource"),
}
KINDS: Final = tuple(_MODULES)


@dataclass(frozen=True, slots=True, eq=False)
class PersonKeypoints:
    """The joints of one person in one picture.

    joint_set     a name of `joint_sets.JOINT_SETS`, which says what the N points are
    points_px     (N, 2) float64: column and row in the picture as it was given, also outside of it
    confidences   (N,) float64, 0 to 1; 0 where a joint was not seen and its point means nothing
    world_m       (N, 3) float64 metres from the middle of the hips, axes as the camera's (x right, y down,
                  z forward); None where the source knows only the picture
    box_index     which of `boxes_px` this person was found in; None where there were none
    """

    joint_set: str
    points_px: Float64
    confidences: Float64
    world_m: Float64 | None = None
    box_index: int | None = None


class KeypointSource(Protocol):
    """Finds people in the pictures of one camera. Every method is called from one thread."""

    def detect(
        self,
        image_bgr: Picture,
        *,
        time_s: float,
        boxes_px: npt.ArrayLike | None = None,
        number: int | None = None,
        meta: bytes = b"",
    ) -> list[PersonKeypoints]:
        """The people in a picture (height, width, 3), or (height, width) where it is grey, uint8.

        `time_s` is the picture's time on the camera's clock. `boxes_px` (n, 4), left, top, right, bottom, say
        where to look; each gives one person at most. Without them a source looks for itself. `number` and
        `meta` are the frame's, for the sources that do not look at the picture. [] is nobody in view. Raises
        EstimatorError for something that is no picture, and where the source fails.
        """

    def close(self) -> None:
        """Release what is held. Safe to call twice."""


def open_source(kind: str, options: Mapping[str, Any]) -> KeypointSource:
    """A source of this kind, ready. The options are the keyword arguments of its class.

    Raises ConfigError for a wrong kind, option or model file, MissingExtraError for a missing package, and
    StorageError or FormatError for a file of detections that cannot be read.
    """
    if kind not in _MODULES:
        raise ConfigError(f"there is no key point source {kind!r}; there are {', '.join(KINDS)}")
    module, name = _MODULES[kind]
    make = getattr(importlib.import_module(module), name)
    return cast("KeypointSource", make(**checked_options(kind, make, options)))


def seen_person(
    joint_set_name: str,
    points_px: npt.ArrayLike,
    confidences: npt.ArrayLike,
    *,
    world_m: npt.ArrayLike | None = None,
    box_index: int | None = None,
) -> PersonKeypoints | None:
    """What a detector says, made safe to calculate with; None where it sees nothing of anybody.

    Confidences end up within 0 and 1, and a joint whose numbers are not finite is one that was not seen.
    Points in space are kept only where all of them are finite. Raises EstimatorError for arrays of another
    size than the joint set's.
    """
    count = len(joint_set(joint_set_name).joints)
    points = np.array(points_px, dtype=np.float64)
    trust = np.array(confidences, dtype=np.float64)
    if points.shape != (count, 2) or trust.shape != (count,):
        raise EstimatorError(
            f"{joint_set_name} has {count} joints; the detector gave points of shape {points.shape} and"
            f" confidences of {trust.shape}"
        )
    unseen = ~(np.isfinite(points).all(axis=1) & np.isfinite(trust)) | (trust <= 0)
    points[unseen], trust[unseen] = 0.0, 0.0
    if unseen.all():
        return None
    world = None if world_m is None else np.array(world_m, dtype=np.float64)
    if world is not None and (world.shape != (count, 3) or not np.isfinite(world).all()):
        world = None
    return PersonKeypoints(joint_set_name, points, np.minimum(trust, 1.0), world, box_index)
