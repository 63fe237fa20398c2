"""Mocap clips as poses of the procedural body: what pose priors learn from and fits are held against.

Owns the inverse kinematics from 35 key points a frame (`_mesh_clips`) to 24 rotations, the shape and the
translation. Starts from the closed form of `_mesh_pose` and goes on by Gauss-Newton, all frames of a clip at
once, until the body's joints lie upon the clip's. What the points leave open is decided by how far joints
turn in people: knees and elbows are hinges, the spine bends evenly. Toes, wrists and hands, of which the
clips say nothing, stay as the closed form has them.

Knows no cameras. Axes of the hall: z up, metres, 30 frames a second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body.anatomy import JOINT_NAMES, PARENTS
from capture.body.kinematics import axis_angle_of, rotations_of
from capture.body.model import BodyModel
from scripts.bench import _mesh_clips, _mesh_pose
from scripts.bench._mesh_clips import MOTIONS, Key, middle

Float64 = npt.NDArray[np.float64]

CACHE: Final = _mesh_clips.ROOT / "out" / "motion-poses"

_LIMBS: Final = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_SEEN: Final = tuple(
    (JOINT_NAMES.index(f"{side}_{limb}"), Key[f"{side}_{limb}".upper()])
    for side in ("left", "right")
    for limb in _LIMBS
)
_BONES: Final = (
    *(("HIP", "KNEE"), ("KNEE", "ANKLE"), ("SHOULDER", "ELBOW"), ("ELBOW", "WRIST")),
    *(("LEFT_HIP", "RIGHT_HIP"), ("LEFT_SHOULDER", "RIGHT_SHOULDER"), ("LEFT_HIP", "LEFT_SHOULDER")),
)
_JOINT_M: Final = 0.01  # how exactly joints are to lie upon points
_VECTOR_M: Final = 0.02  # and what is attached to trunk, head and feet
_SHAPE_M: Final = 0.01
_ROUNDS: Final = 12
_LARGEST_STEP_RAD: Final = 0.4

# How far joints turn about body axes, in radians: about x, y and z.
_SPREADS_RAD: Final[dict[str, tuple[float, float, float]]] = {
    "spine1": (0.15, 0.12, 0.12),
    "spine2": (0.15, 0.12, 0.12),
    "spine3": (0.15, 0.12, 0.12),
    "neck": (0.25, 0.25, 0.25),
    "head": (0.25, 0.25, 0.25),
    "collar": (0.1, 0.15, 0.15),
    "shoulder": (0.6, 1.2, 1.2),
    "elbow": (0.1, 1.2, 0.07),
    "hip": (1.0, 0.4, 0.5),
    "knee": (1.2, 0.07, 0.07),
    "ankle": (0.4, 0.25, 0.2),
}


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """T frames of one person: pose (T, 24, 3) axis-angle, betas (B,), translation (T, 3) metres."""

    pose: Float64
    betas: Float64
    translation: Float64


def motion_poses(name: str, body: BodyModel, *, motions: Path = MOTIONS, cache: Path = CACHE) -> Motion:
    """The whole clip, held around one spot, as poses of `body`. Raises UnusableClipError."""
    points = _mesh_clips.around_one_spot(_mesh_clips.load(name, motions))
    source = b"".join(Path(module.__file__ or "").read_bytes() for module in (_mesh_clips, _mesh_pose))
    told = (Path(__file__).read_bytes(), source, points.tobytes(), body.joints.tobytes())
    stored = cache / f"{name.replace('/', '-')}-{hashlib.sha256(b''.join(told)).hexdigest()[:16]}.npz"
    if not stored.is_file():
        motion = fitted(points, body)
        cache.mkdir(parents=True, exist_ok=True)
        partial = stored.with_suffix(".part.npz")
        np.savez(partial, pose=motion.pose, betas=motion.betas, translation=motion.translation)
        partial.replace(stored)
    with np.load(stored) as archive:
        return Motion(archive["pose"], archive["betas"], archive["translation"])


def fitted(points: Float64, body: BodyModel) -> Motion:
    """Key points (T, 35, 3) in metres -> the motion of `body` whose joints lie upon them."""
    betas = _shape_of(points, body)
    rest = body.rest_joints(betas)
    start = _mesh_pose.joint_rotations(points, rest, np.random.default_rng(0))
    hips = (rest[JOINT_NAMES.index("left_hip")] + rest[JOINT_NAMES.index("right_hip")]) / 2 - rest[0]
    kinematics = _Kinematics(start, middle(points, "HIP") - start[:, 0] @ hips, rest)
    vectors = _Vectors(points)
    for _ in range(_ROUNDS):
        vectors.settle(kinematics.world)
        _step(kinematics, points, vectors)
    roots = np.array([axis_angle_of(root) for root in kinematics.root])
    pose = np.concatenate([roots[:, None], kinematics.angles[:, 1:]], axis=1)
    return Motion(pose, betas, kinematics.place - rest[0])


def joint_errors_m(motion: Motion, points: Float64, body: BodyModel) -> Float64:
    """(T, 12) how far shoulders, elbows, wrists, hips, knees and ankles are from their key points."""
    rest = body.rest_joints(motion.betas)
    rotations = rotations_of(motion.pose.reshape(-1, 3)).reshape(len(motion.pose), -1, 3, 3)
    _, positions = _forward(rotations, motion.translation + rest[0], rest)
    joints, keys = zip(*_SEEN, strict=True)
    return np.asarray(np.linalg.norm(positions[:, list(joints)] - points[:, list(keys)], axis=-1))


def _shape_of(points: Float64, body: BodyModel) -> Float64:
    """(B,) shape numbers whose skeleton has the lengths of this one, as near to the mean as that allows."""
    pairs = []
    for a, b in _BONES:
        sides = ("",) if a.startswith("LEFT") else ("LEFT_", "RIGHT_")
        pairs += [(side + a, side + b) for side in sides]
    lengths = np.array(
        [np.linalg.norm(points[:, Key[a]] - points[:, Key[b]], axis=1).mean() for a, b in pairs]
    )
    first, second = ([JOINT_NAMES.index(pair[end].lower()) for pair in pairs] for end in (0, 1))
    ways = body.joint_shape_directions[second] - body.joint_shape_directions[first]
    betas = np.zeros(body.shape_count)
    for _ in range(5):
        rest = body.rest_joints(betas)
        bones = rest[second] - rest[first]
        now = np.linalg.norm(bones, axis=1)
        slopes = np.einsum("bi,bik->bk", bones / now[:, None], ways) / _SHAPE_M
        gap = (lengths - now) / _SHAPE_M
        betas += np.linalg.solve(slopes.T @ slopes + np.eye(body.shape_count), slopes.T @ gap - betas)
    return betas


class _Vectors:
    """Differences of points that turn with one joint: back, face, forefeet."""

    def __init__(self, points: Float64) -> None:
        ears = middle(points, "EAR")
        length_m = np.linalg.norm(points[:, Key.NOSE] - ears, axis=1).mean()
        across_m = np.linalg.norm(points[:, Key.LEFT_EAR] - points[:, Key.RIGHT_EAR], axis=1).mean()
        nose = _mesh_pose.unit(_mesh_pose.REST_NOSE) * length_m
        seen: list[tuple[str, Float64, Float64 | None]] = [
            ("pelvis", points[:, Key.LOW_SPINE] - points[:, Key.WAIST_BACK], None),
            ("spine2", points[:, Key.HIGH_SPINE] - points[:, Key.LOW_SPINE], None),
            ("head", points[:, Key.NOSE] - ears, nose),
            ("head", points[:, Key.LEFT_EAR] - points[:, Key.RIGHT_EAR], np.array([across_m, 0.0, 0.0])),
        ]
        for side, sign in (("left", 1.0), ("right", -1.0)):
            foot = points[:, Key[f"{side}_forefoot".upper()]] - points[:, Key[f"{side}_ankle".upper()]]
            rest = _mesh_pose.unit(_mesh_pose.REST_FOOT * (sign, 1.0, 1.0))
            seen.append((f"{side}_ankle", foot, rest * np.linalg.norm(foot, axis=1).mean()))
        self.joints = [JOINT_NAMES.index(name) for name, _, _ in seen]
        self.seen = np.stack([vector for _, vector, _ in seen], axis=1)  # (T, n, 3)
        self._given = [local for _, _, local in seen]
        self.local = np.zeros((len(seen), 3))

    def settle(self, world: Float64) -> None:
        """Take what lies on the skin of the back as it lies on average: only its turning tells something."""
        for n, (joint, given) in enumerate(zip(self.joints, self._given, strict=True)):
            own = np.einsum("tji,tj->ti", world[:, joint], self.seen[:, n]).mean(axis=0)
            self.local[n] = own if given is None else given


class _Kinematics:
    """The state of the fit: a root's rotation, the angles of the other joints, and where the pelvis is."""

    def __init__(self, rotations: Float64, place: Float64, rest: Float64) -> None:
        self.root = rotations[:, 0].copy()
        self.place = place
        self._rest = rest
        self.angles = np.zeros((*rotations.shape[:2], 3))
        for joint in range(1, len(PARENTS)):
            local = rotations[:, PARENTS[joint]].swapaxes(-1, -2) @ rotations[:, joint]
            self.angles[:, joint] = [axis_angle_of(turn) for turn in local]
        self._update()

    def move(self, step: Float64, free: Sequence[int]) -> None:
        """step (T, 3 + 3 * len(free) + 3): root in axes of the hall, angles of the free joints, pelvis."""
        self.root = rotations_of(step[:, :3]) @ self.root
        self.angles[:, list(free)] += step[:, 3:-3].reshape(len(step), len(free), 3)
        self.place = self.place + step[:, -3:]
        self._update()

    def axes(self, free: Sequence[int]) -> Float64:
        """(T, 1 + len(free), 3, 3): columns about which each angle turns what hangs below, root first."""
        parents = self.world[:, [PARENTS[joint] for joint in free]]
        turned = parents @ _left_jacobians(self.angles[:, list(free)])
        root = np.broadcast_to(np.eye(3), (len(turned), 1, 3, 3))
        return np.concatenate([root, turned], axis=1)

    def _update(self) -> None:
        rotations = rotations_of(self.angles.reshape(-1, 3)).reshape(*self.angles.shape[:2], 3, 3)
        rotations[:, 0] = self.root
        self.world, self.positions = _forward(rotations, self.place, self._rest)


def _forward(rotations: Float64, place: Float64, rest: Float64) -> tuple[Float64, Float64]:
    """World rotations (T, 24, 3, 3) and positions (T, 24, 3) of joints; `place` (T, 3) of the pelvis."""
    world = rotations.copy()
    positions = np.empty(rotations.shape[:3])
    positions[:, 0] = place
    for joint in range(1, len(PARENTS)):
        parent = PARENTS[joint]
        world[:, joint] = world[:, parent] @ rotations[:, joint]
        positions[:, joint] = positions[:, parent] + world[:, parent] @ (rest[joint] - rest[parent])
    return world, positions


def _left_jacobians(vectors: Float64) -> Float64:
    """(..., 3) axis-angle -> (..., 3, 3): by what small turns in the parent's axes a change of each turns."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    small = angle < 1e-4
    safe = np.where(small, 1.0, angle)
    first = np.where(small, 0.5, (1.0 - np.cos(safe)) / safe**2)
    second = np.where(small, 1.0 / 6.0, (safe - np.sin(safe)) / safe**3)
    cross = np.zeros((*vectors.shape, 3))
    cross[..., 0, 1], cross[..., 0, 2], cross[..., 1, 2] = -vectors[..., 2], vectors[..., 1], -vectors[..., 0]
    cross -= cross.swapaxes(-1, -2)
    return np.asarray(np.eye(3) + first * cross + second * (cross @ cross))


_FREE: Final = tuple(joint for joint, name in enumerate(JOINT_NAMES) if name.split("_")[-1] in _SPREADS_RAD)
_WEIGHTS: Final = 1.0 / np.array([_SPREADS_RAD[JOINT_NAMES[joint].split("_")[-1]] for joint in _FREE])


def _below(joint: int) -> list[int]:
    """Which of the turning joints (0: root, then those of `_FREE`) carry this one along."""
    chain = []
    while joint >= 0:
        chain.append(joint)
        joint = PARENTS[joint]
    return [place for place, turning in enumerate((0, *_FREE)) if turning in chain]


def _step(kinematics: _Kinematics, points: Float64, vectors: _Vectors) -> None:
    """One Gauss-Newton step of all frames."""
    axes = kinematics.axes(_FREE)
    centres = kinematics.positions[:, (0, *_FREE)]
    frames, turning = axes.shape[:2]
    size = 3 * turning + 3
    rows = 3 * (len(_SEEN) + len(vectors.joints))
    slopes = np.zeros((frames, rows, size))
    gaps = np.empty((frames, rows))
    for n, (joint, key) in enumerate(_SEEN):
        own = slice(3 * n, 3 * n + 3)
        gaps[:, own] = (points[:, key] - kinematics.positions[:, joint]) / _JOINT_M
        for place in _below(joint):
            if (0, *_FREE)[place] != joint:  # its own turning leaves a joint where it is
                arm = kinematics.positions[:, joint] - centres[:, place]
                slopes[:, own, 3 * place : 3 * place + 3] = _turned(axes[:, place], arm) / _JOINT_M
        slopes[:, own, -3:] = np.eye(3) / _JOINT_M
    for n, joint in enumerate(vectors.joints, start=len(_SEEN)):
        own = slice(3 * n, 3 * n + 3)
        vector = kinematics.world[:, joint] @ vectors.local[n - len(_SEEN)]
        gaps[:, own] = (vectors.seen[:, n - len(_SEEN)] - vector) / _VECTOR_M
        for place in _below(joint):
            slopes[:, own, 3 * place : 3 * place + 3] = _turned(axes[:, place], vector) / _VECTOR_M
    square = slopes.swapaxes(-1, -2) @ slopes
    pull = (slopes.swapaxes(-1, -2) @ gaps[..., None])[..., 0]
    angles = slice(3, 3 * turning)
    square[:, range(3, 3 * turning), range(3, 3 * turning)] += _WEIGHTS.ravel() ** 2
    pull[:, angles] -= (kinematics.angles[:, list(_FREE)] * _WEIGHTS**2).reshape(frames, -1)
    square[:, range(size), range(size)] += 1e-3
    step = np.linalg.solve(square, pull[..., None])[..., 0]
    largest = np.abs(step[:, : 3 * turning]).max(axis=1, keepdims=True)
    kinematics.move(step * np.minimum(1.0, _LARGEST_STEP_RAD / np.maximum(largest, 1e-12)), _FREE)


def _turned(axes: Float64, arm: Float64) -> Float64:
    """(T, 3, 3): by column, where a turn about each of the axes moves the end of `arm` (T, 3)."""
    return np.cross(axes.swapaxes(-1, -2), arm[:, None]).swapaxes(-1, -2)
