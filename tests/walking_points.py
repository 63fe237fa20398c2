"""The program's own walker as key points, and such points in a file like that of the mocap clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from capture.body.anatomy import JOINT_NAMES
from capture.body.gait import Walk
from capture.body.kinematics import forward_kinematics, rotations_of, split_parameters
from capture.body.procedural import procedural_body
from scripts.bench._mesh_clips import FPS, POINT_COUNT, Key
from scripts.bench._mesh_pose import _FACE_KEYS, _FACE_M

Float64 = npt.NDArray[np.float64]

SECONDS = 2.0
CLIP_NAME = "walk/1"


def walker(seconds: float = SECONDS) -> tuple[Float64, Float64]:
    """Key points (T, 35, 3) and joints (T, 24, 3) of the program's own walker, 30 a second."""
    body = procedural_body()
    walk = Walk.lasting(body, 6.0)
    points = np.full((round(seconds * FPS), POINT_COUNT, 3), np.nan)
    truth = np.empty((len(points), len(JOINT_NAMES), 3))
    for t in range(len(points)):
        pose, _, translation = split_parameters(walk.parameters(t / FPS / 6.0))
        world, joints = forward_kinematics(rotations_of(pose), body.joints, body.parents, translation)
        truth[t] = joints
        for side in ("left", "right"):
            for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
                points[t, Key[f"{side}_{part}".upper()]] = joints[JOINT_NAMES.index(f"{side}_{part}")]
            ankle = JOINT_NAMES.index(f"{side}_ankle")
            points[t, Key[f"{side}_forefoot".upper()]] = joints[ankle] + world[ankle] @ (0, -0.04, 0.16)
        chest, head = JOINT_NAMES.index("spine3"), JOINT_NAMES.index("head")
        points[t, Key.WAIST_BACK] = joints[0] + world[0] @ (0, 0, -0.1)
        points[t, Key.LOW_SPINE] = points[t, Key.WAIST_BACK] + world[0] @ (0, 0.16, 0)
        points[t, Key.HIGH_SPINE] = points[t, Key.LOW_SPINE] + world[chest] @ (0, 0.25, 0)
        points[t, list(_FACE_KEYS)] = joints[head] + _FACE_M @ world[head].T
    return points, truth


def stored(path: Path, points: Float64, *, fps: float = FPS, name: str = CLIP_NAME) -> Path:
    """The points in a file like the one of the mocap clips."""
    root = points[:, Key.WAIST_BACK]
    tenths = np.where(np.isnan(points), -32768, np.rint((points - root[:, None]) * 1e4)).astype(np.int16)
    np.savez(path, **{f"{name}/pts": tenths, f"{name}/root": root.astype(np.float32), f"{name}/fps": fps})
    return path
