"""From key points to the 24 joints of the body: a rotation each, and where the pelvis is.

Trunk and head turn with pairs of points; arms and legs point where their points lie, and turn about their own
length so that elbow and knee bend in their plane. A straight limb has no such plane: there the hinge it would
have without any twist takes over, and the twist is averaged over a fifth of a second, so that nothing flips
from one frame to the next. Wrists and hands, of which the clips know nothing, move a little by chance.

Rotations lead from the body's rest (`capture.body.anatomy`: x left, y up, z front) to the axes of the hall
(z up). Whole clips at once: the first axis of every array is time.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body.anatomy import JOINT_NAMES, PARENTS
from capture.body.kinematics import rotations_of
from scripts.bench._mesh_clips import Key, middle, smooth_in_time

Float64 = npt.NDArray[np.float64]

_X: Final = np.array([1.0, 0.0, 0.0])
_Y: Final = np.array([0.0, 1.0, 0.0])
_FACE_KEYS: Final = (Key.NOSE, Key.LEFT_EYE, Key.RIGHT_EYE, Key.LEFT_EAR, Key.RIGHT_EAR)
REST_NOSE: Final = np.array([0.0, -0.035, 0.115])
_FACE_M: Final = np.array(
    [REST_NOSE, (0.032, 0.008, 0.09), (-0.032, 0.008, 0.09), (0.075, 0.0, 0.0), (-0.075, 0.0, 0.0)]
)
"""Where a level head has them, from the middle between its ears."""

# From the ankle to the mocap's point on the forefoot, when standing.
REST_FOOT: Final = np.array([0.05, -0.25, 1.0])
_TWIST_SMOOTHING_FRAMES: Final = 3.0
_ARM_PRIOR: Final = 0.2  # the sine of the bend at which the plane counts as much as the untwisted hinge
_LEG_PRIOR: Final = 0.3
_COLLAR_SHARE: Final = 0.12  # of what the upper arm turns against the chest
_IDLE_WRIST_RAD: Final = 0.12
_IDLE_FRAMES: Final = 12.0


def joint_rotations(points: Float64, rest_joints: Float64, rng: np.random.Generator) -> Float64:
    """Key points (T, 35, 3) -> (T, 24, 3, 3), turning each joint from rest to the hall; metres.

    `rest_joints` (24, 3) are those of the body that is to follow; `rng` moves the wrists.
    """
    pose = _Pose(len(points), rest_joints)
    lumbar = points[:, Key.LOW_SPINE] - points[:, Key.WAIST_BACK]
    thoracic = points[:, Key.HIGH_SPINE] - points[:, Key.LOW_SPINE]
    pelvis = frames(points[:, Key.LEFT_HIP] - points[:, Key.RIGHT_HIP], lumbar)
    chest = frames(points[:, Key.LEFT_SHOULDER] - points[:, Key.RIGHT_SHOULDER], thoracic)
    head = _head(points)
    pose.set("pelvis", pelvis)
    pose.set("spine1", between(pelvis, chest, 1 / 3))
    pose.set("spine2", between(pelvis, chest, 2 / 3))
    pose.set("spine3", chest)
    pose.set("neck", between(chest, head, 0.5))
    pose.set("head", head)
    for side in ("left", "right"):
        _pose_arm(pose, points, side, rng)
        _pose_leg(pose, points, side)
    return pose.rotations


def joint_positions(points: Float64, rotations: Float64, rest_joints: Float64) -> Float64:
    """(T, 24, 3) joints in metres: the body's own lengths, its hips where those of the clip are.

    Paths are stretched by the ratio of the legs' lengths, so that feet stay near the floor.
    """
    names = JOINT_NAMES.index
    bones = ((Key.LEFT_HIP, Key.LEFT_KNEE), (Key.LEFT_KNEE, Key.LEFT_ANKLE))
    clip_leg = sum(np.linalg.norm(points[:, a] - points[:, b], axis=1).mean() for a, b in bones)
    joints = ("left_hip", "left_knee"), ("left_knee", "left_ankle")
    leg = sum(np.linalg.norm(rest_joints[names(a)] - rest_joints[names(b)]) for a, b in joints)
    rest_hips = (rest_joints[names("left_hip")] + rest_joints[names("right_hip")]) / 2
    positions = np.empty((len(points), len(JOINT_NAMES), 3))
    positions[:, 0] = middle(points, "HIP") * (leg / clip_leg) - rotations[:, 0] @ (
        rest_hips - rest_joints[0]
    )
    for child in range(1, len(PARENTS)):
        parent = PARENTS[child]
        bone = rest_joints[child] - rest_joints[parent]
        positions[:, child] = positions[:, parent] + rotations[:, parent] @ bone
    return positions


class _Pose:
    """The rotations made so far, by name."""

    def __init__(self, frames: int, rest_joints: Float64) -> None:
        self.rotations = np.empty((frames, len(JOINT_NAMES), 3, 3))
        self._rest = rest_joints

    def __getitem__(self, name: str) -> Float64:
        return self.rotations[:, JOINT_NAMES.index(name)]

    def set(self, name: str, rotations: Float64) -> None:
        self.rotations[:, JOINT_NAMES.index(name)] = rotations

    def rest_bone(self, start: str, end: str) -> Float64:
        """(3,) from one joint to another at rest."""
        return np.asarray(self._rest[JOINT_NAMES.index(end)] - self._rest[JOINT_NAMES.index(start)])


def _pose_arm(pose: _Pose, points: Float64, side: str, rng: np.random.Generator) -> None:
    shoulder, elbow, wrist = (
        points[:, Key[f"{side}_{part}".upper()]] for part in ("shoulder", "elbow", "wrist")
    )
    sign = 1.0 if side == "left" else -1.0
    upper, fore = unit(elbow - shoulder), unit(wrist - elbow)
    rest_upper = unit(pose.rest_bone(f"{side}_shoulder", f"{side}_elbow"))
    rest_fore = unit(pose.rest_bone(f"{side}_elbow", f"{side}_wrist"))
    chest = pose["spine3"]
    raised = shortest_turns(chest @ rest_upper, upper) @ chest
    pose.set(f"{side}_collar", between(chest, raised, _COLLAR_SHARE))
    rest_hinge = -sign * _Y  # a bending elbow brings the hand to the front
    hinge = _hinge(pose[f"{side}_collar"], rest_upper, rest_hinge, upper, fore, _ARM_PRIOR)
    pose.set(f"{side}_shoulder", frames(upper, hinge) @ frames(rest_upper, rest_hinge).T)
    pose.set(f"{side}_elbow", frames(fore, hinge) @ frames(rest_fore, rest_hinge).T)
    idle = smooth_in_time(rng.standard_normal((len(points), 3)), _IDLE_FRAMES)
    idle *= _IDLE_WRIST_RAD / idle.std()
    pose.set(f"{side}_wrist", pose[f"{side}_elbow"] @ rotations_of(idle))
    curl = rotations_of(np.array([[0.0, 0.0, sign * -0.25]]))[0]
    pose.set(f"{side}_hand", pose[f"{side}_wrist"] @ rotations_of(0.7 * idle) @ curl)


def _pose_leg(pose: _Pose, points: Float64, side: str) -> None:
    parts = ("hip", "knee", "ankle", "forefoot")
    hip, knee, ankle, forefoot = (points[:, Key[f"{side}_{part}".upper()]] for part in parts)
    thigh, shank = unit(knee - hip), unit(ankle - knee)
    rest_thigh = unit(pose.rest_bone(f"{side}_hip", f"{side}_knee"))
    rest_shank = unit(pose.rest_bone(f"{side}_knee", f"{side}_ankle"))
    hinge = _hinge(pose["pelvis"], rest_thigh, _X, thigh, shank, _LEG_PRIOR)
    pose.set(f"{side}_hip", frames(thigh, hinge) @ frames(rest_thigh, _X).T)
    pose.set(f"{side}_knee", frames(shank, hinge) @ frames(rest_shank, _X).T)
    foot = unit(forefoot - ankle)
    rest_foot = unit(REST_FOOT * ((1.0 if side == "left" else -1.0), 1.0, 1.0))
    # Not about the knee's hinge: a foot turned out far lies along it, and would roll over.
    pose.set(f"{side}_ankle", shortest_turns(pose[f"{side}_knee"] @ rest_foot, foot) @ pose[f"{side}_knee"])
    # Toes stay flat when the heel rises: they bend up by most of what the foot points down beyond standing.
    pitch = np.arcsin(np.clip(-foot[:, 2], -1.0, 1.0)) - 0.3
    bend = 0.35 * (np.tanh(2.0 * pitch) + 0.2)
    toes = rotations_of(-bend[:, None] * _X)
    pose.set(f"{side}_foot", pose[f"{side}_ankle"] @ toes)


def _hinge(
    parent: Float64, rest_bone: Float64, rest_hinge: Float64, bone: Float64, next_bone: Float64, prior: float
) -> Float64:
    """(T, 3) the axis about which `bone` (T, 3) and `next_bone` (T, 3) bend, steady in time."""
    swing = shortest_turns(parent @ rest_bone, bone)
    untwisted = np.einsum("tij,tjk,k->ti", swing, parent, rest_hinge)
    untwisted = unit(untwisted - dot(untwisted, bone) * bone)
    across = np.cross(bone, untwisted)
    # As long as the sine of the bend: the plane of a straight limb says nothing.
    plane = np.cross(bone, next_bone)
    twist = np.concatenate([dot(plane, untwisted) + prior, dot(plane, across)], axis=1)
    twist = unit(smooth_in_time(twist, _TWIST_SMOOTHING_FRAMES))
    return twist[:, :1] * untwisted + twist[:, 1:] * across


def _head(points: Float64) -> Float64:
    """(T, 3, 3) the turn that brings a level face nearest to the five points of this one."""
    seen = points[:, list(_FACE_KEYS)]
    seen = seen - seen.mean(axis=1, keepdims=True)
    return nearest_rotations(np.einsum("tki,kj->tij", seen, _FACE_M - _FACE_M.mean(axis=0)))


def unit(vectors: Float64) -> Float64:
    """(..., 3) vectors at length one."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))


def dot(a: Float64, b: Float64) -> Float64:
    """(..., 1) inner products."""
    return np.asarray((a * b).sum(axis=-1, keepdims=True))


def frames(first: Float64, second: Float64) -> Float64:
    """(..., 3, 3) unit axes as columns: `first`, what of `second` stands square to it, and the third."""
    a = unit(first)
    b = unit(second - dot(a, second) * a)
    return np.stack([a, b, np.cross(a, b)], axis=-1)


def shortest_turns(start: Float64, end: Float64) -> Float64:
    """(T, 3, 3) the rotations with the smallest angle from unit vectors `start` to `end`."""
    axis = np.cross(start, end)
    cross = np.zeros((len(axis), 3, 3))
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
    cross -= cross.transpose(0, 2, 1)
    # Opposite vectors have no shortest turn; one of them is as good as another.
    scale = 1.0 / np.maximum(1.0 + dot(start, end), 1e-6)
    return np.eye(3) + cross + scale[:, :, None] * (cross @ cross)


def between(a: Float64, b: Float64, share: float) -> Float64:
    """(T, 3, 3) rotations `share` of the way from `a` to `b`."""
    return nearest_rotations((1.0 - share) * a + share * b)


def nearest_rotations(matrices: Float64) -> Float64:
    """(T, 3, 3) the rotation nearest to each matrix."""
    left, _, right = np.linalg.svd(matrices)
    left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]
    return np.asarray(left @ right)
