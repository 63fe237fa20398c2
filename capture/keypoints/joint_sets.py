"""Which joints a detector finds, in which order, and how every set becomes the fourteen points of a fit.

Six sets are known: "mediapipe33" (MediaPipe Pose), "coco17" (MoveNet, RTMPose, YOLO), "halpe26" (RTMPose),
"body25" (OpenPose), "lsp14" (what the fit works with) and "cpm14" (the heat maps of SMPLify's article, whose
order begins at the head and has the left side first). "left" and "right" are the person's own.

Arrays in, arrays out; knows no pictures and no detectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from codec.errors import ConfigError

Float64 = npt.NDArray[np.float64]
Bone = tuple[int, int]

LSP14_NAMES: Final = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    *("neck", "head_top"),
)
_LIMB_NAMES: Final = LSP14_NAMES[:12]
_NECK, _HEAD_TOP = 12, 13
# How far the top of the head is above the ears, in lengths from the neck to the ears.
_HEAD_REACH: Final = 0.6
# What an extrapolated head is worth: from both ears, from the one ear that a side view shows, from the nose.
_BOTH_EARS, _ONE_EAR, _NOSE = 0.5, 0.25, 0.1

_COCO17: Final = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
_FEET: Final = (
    *("left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe", "left_heel", "right_heel"),
)
_LIMB_BONES: Final = (
    *("left_shoulder left_elbow", "left_elbow left_wrist", "left_hip left_knee", "left_knee left_ankle"),
    *("right_shoulder right_elbow", "right_elbow right_wrist"),
    *("right_hip right_knee", "right_knee right_ankle"),
)
_TRUNK_BONES: Final = (
    *("left_shoulder right_shoulder", "left_hip right_hip"),
    *("left_shoulder left_hip", "right_shoulder right_hip"),
)
_FACE_BONES: Final = ("nose left_eye", "left_eye left_ear", "nose right_eye", "right_eye right_ear")
_FOOT_BONES: Final = (
    *("left_ankle left_heel", "left_ankle left_big_toe", "left_big_toe left_small_toe"),
    *("right_ankle right_heel", "right_ankle right_big_toe", "right_big_toe right_small_toe"),
)


@dataclass(frozen=True, slots=True)
class JointSet:
    """The joints of a detector. `bones` are pairs of indices, for drawing."""

    name: str
    joints: tuple[str, ...]
    bones: tuple[Bone, ...]

    def index(self, joint: str) -> int:
        """Where a joint stands. Raises ValueError for one that the set has not."""
        return self.joints.index(joint)


def _joint_set(name: str, joints: Sequence[str], bones: Sequence[str]) -> JointSet:
    pairs = [bone.split() for bone in bones]
    return JointSet(name, tuple(joints), tuple((joints.index(a), joints.index(b)) for a, b in pairs))


_SETS: Final = (
    _joint_set(
        "mediapipe33",
        (
            *("nose", "left_eye_inner", "left_eye", "left_eye_outer"),
            *("right_eye_inner", "right_eye", "right_eye_outer", "left_ear", "right_ear"),
            *("mouth_left", "mouth_right", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
            *("left_wrist", "right_wrist", "left_pinky", "right_pinky", "left_index", "right_index"),
            *("left_thumb", "right_thumb", "left_hip", "right_hip", "left_knee", "right_knee"),
            *("left_ankle", "right_ankle", "left_heel", "right_heel", "left_big_toe", "right_big_toe"),
        ),
        (
            *(*_LIMB_BONES, *_TRUNK_BONES, *_FACE_BONES, "mouth_left mouth_right"),
            *("left_wrist left_thumb", "left_wrist left_index", "left_wrist left_pinky"),
            *("right_wrist right_thumb", "right_wrist right_index", "right_wrist right_pinky"),
            *("left_ankle left_heel", "left_heel left_big_toe", "left_ankle left_big_toe"),
            *("right_ankle right_heel", "right_heel right_big_toe", "right_ankle right_big_toe"),
        ),
    ),
    _joint_set("coco17", _COCO17, (*_LIMB_BONES, *_TRUNK_BONES, *_FACE_BONES)),
    _joint_set(
        "halpe26",
        (*_COCO17, "head_top", "neck", "pelvis", *_FEET),
        (
            *(*_LIMB_BONES, *_FACE_BONES, *_FOOT_BONES, "head_top neck", "neck pelvis"),
            *("neck left_shoulder", "neck right_shoulder", "pelvis left_hip", "pelvis right_hip"),
        ),
    ),
    _joint_set(
        "body25",
        (
            *("nose", "neck", "right_shoulder", "right_elbow", "right_wrist"),
            *("left_shoulder", "left_elbow", "left_wrist", "pelvis", "right_hip", "right_knee"),
            *("right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye"),
            *("right_ear", "left_ear", "left_big_toe", "left_small_toe", "left_heel"),
            *("right_big_toe", "right_small_toe", "right_heel"),
        ),
        (
            *(*_LIMB_BONES, *_FACE_BONES, *_FOOT_BONES, "nose neck", "neck pelvis"),
            *("neck left_shoulder", "neck right_shoulder", "pelvis left_hip", "pelvis right_hip"),
        ),
    ),
    _joint_set("lsp14", LSP14_NAMES, (*_LIMB_BONES, *_TRUNK_BONES, "neck head_top")),
    _joint_set(
        "cpm14",
        (
            *("head_top", "neck", "left_shoulder", "left_elbow", "left_wrist"),
            *("right_shoulder", "right_elbow", "right_wrist"),
            *("left_hip", "left_knee", "left_ankle", "right_hip", "right_knee", "right_ankle"),
        ),
        (*_LIMB_BONES, *_TRUNK_BONES, "neck head_top"),
    ),
)
JOINT_SETS: Final = {each.name: each for each in _SETS}


def joint_set(name: str) -> JointSet:
    """A set by its name. Raises ConfigError for a name that is none."""
    if name not in JOINT_SETS:
        raise ConfigError(f"there is no joint set {name!r}; there are {', '.join(JOINT_SETS)}")
    return JOINT_SETS[name]


def joint_set_of_count(count: int) -> JointSet | None:
    """The set that detections of so many joints are in; None where no set has so many.

    Fourteen joints are taken for LSP's: say so where they are in CPM's order.
    """
    return next((each for each in _SETS if len(each.joints) == count), None)


def to_lsp14(name: str, points: npt.ArrayLike, confidences: npt.ArrayLike) -> tuple[Float64, Float64]:
    """Points (N, 2) in pixels or (N, 3) in metres with confidences (N,) of the set of that name
    -> (14, 2 or 3) and (14,), in LSP's order.

    A set without a neck gets the middle of the shoulders, one without a head top a point beyond the ears
    (where they are not seen, beyond the nose) on the way from the neck, which is trusted half as much as
    the ears or less. A joint that is not known has confidence 0. Raises ConfigError for an unknown set and
    ValueError for arrays of another size.
    """
    known = joint_set(name)
    values = np.asarray(points, dtype=np.float64)
    trust = np.asarray(confidences, dtype=np.float64)
    count = len(known.joints)
    if values.shape not in ((count, 2), (count, 3)) or trust.shape != (count,):
        raise ValueError(
            f"{name} has {count} joints; got points of shape {values.shape} and confidences of {trust.shape}"
        )
    out, out_trust = np.zeros((14, values.shape[1])), np.zeros(14)
    limbs = [known.index(joint) for joint in _LIMB_NAMES]
    out[:12], out_trust[:12] = values[limbs], trust[limbs]
    if "neck" in known.joints:
        at = known.index("neck")
        out[_NECK], out_trust[_NECK] = values[at], trust[at]
    else:
        left, right = known.index("left_shoulder"), known.index("right_shoulder")
        out[_NECK], out_trust[_NECK] = (values[left] + values[right]) / 2, min(trust[left], trust[right])
    if "head_top" in known.joints:
        at = known.index("head_top")
        out[_HEAD_TOP], out_trust[_HEAD_TOP] = values[at], trust[at]
    else:
        out[_HEAD_TOP], out_trust[_HEAD_TOP] = _head_top(known, values, trust, out[_NECK], out_trust[_NECK])
    return out, out_trust


def _head_top(
    known: JointSet, values: Float64, trust: Float64, neck: Float64, neck_trust: float
) -> tuple[Float64, float]:
    """The head's top, beyond what of the head is seen best, and how far to trust it."""
    left, right, nose = (known.index(joint) for joint in ("left_ear", "right_ear", "nose"))
    better = left if trust[left] >= trust[right] else right
    candidates = (
        (_BOTH_EARS * min(trust[left], trust[right]), (values[left] + values[right]) / 2),
        (_ONE_EAR * trust[better], values[better]),
        (_NOSE * trust[nose], values[nose]),
    )
    confidence, base = max(candidates, key=lambda each: each[0])
    return base + _HEAD_REACH * (base - neck), float(min(confidence, neck_trust))
