"""The procedural body's measurements: its skeleton and the round limbs around it, as plain tables.

Body axes are SMPL's: x to the body's left, y up, z to the front, the pelvis joint at the origin, standing
in a T-pose. Lengths are metres. The joint tree, joint order and joint count are SMPL's, so that what
reads SMPL parameters reads these; the geometry is ours.

This module holds numbers only; `_lattice` and `_surface` make a mesh of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Point = tuple[float, float, float]

JOINT_NAMES: Final = (
    *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle"),
    *("right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hand", "right_hand"),
)

PARENTS: Final = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)

FLOOR_Y: Final = -0.945
"""Height of the soles below the pelvis joint."""

_LEFT_AND_MIDDLE_JOINTS: Final[dict[str, Point]] = {
    "pelvis": (0.0, 0.0, 0.0),
    "spine1": (0.0, 0.11, -0.012),
    "spine2": (0.0, 0.235, -0.008),
    "spine3": (0.0, 0.30, -0.004),
    "neck": (0.0, 0.49, -0.022),
    "head": (0.0, 0.585, 0.006),
    "left_hip": (0.088, -0.085, -0.002),
    "left_knee": (0.104, -0.475, 0.0),
    "left_ankle": (0.112, -0.86, -0.022),
    "left_foot": (0.122, -0.912, 0.09),
    "left_collar": (0.07, 0.425, -0.018),
    "left_shoulder": (0.172, 0.436, -0.022),
    "left_elbow": (0.436, 0.436, -0.032),
    "left_wrist": (0.686, 0.44, -0.03),
    "left_hand": (0.772, 0.436, -0.03),
}


def template_joints() -> Float64:
    """(24, 3) joint positions of the T-pose; the right side mirrors the left."""
    joints = np.empty((len(JOINT_NAMES), 3))
    for index, name in enumerate(JOINT_NAMES):
        if name.startswith("right_"):
            x, y, z = _LEFT_AND_MIDDLE_JOINTS[name.replace("right_", "left_")]
            joints[index] = (-x, y, z)
        else:
            joints[index] = _LEFT_AND_MIDDLE_JOINTS[name]
    return joints


@dataclass(frozen=True, slots=True)
class Limb:
    """A rounded cone from `start` to `end`, stretched by `scale` along the body axes.

    `joint` moves it; `regions` names the parts of the surface whose shape it takes part in.
    """

    joint: int
    regions: frozenset[str]
    start: Point
    end: Point
    start_radius_m: float
    end_radius_m: float
    scale: Point = (1.0, 1.0, 1.0)


def _limb(
    joint: str,
    regions: str,
    start: Point,
    end: Point,
    radii_m: tuple[float, float],
    scale: Point = (1.0, 1.0, 1.0),
) -> Limb:
    return Limb(JOINT_NAMES.index(joint), frozenset(regions.split()), start, end, *radii_m, scale)


# Middle limbs stand alone; each left limb is followed by its mirror image in `limbs()`.
_MIDDLE_LIMBS: Final = (
    _limb("pelvis", "torso legs", (-0.058, -0.035, 0.0), (0.058, -0.035, 0.0), (0.105, 0.105)),
    _limb("spine1", "torso", (0.0, 0.02, 0.0), (0.0, 0.17, 0.006), (0.098, 0.092), (1.5, 1.0, 1.06)),
    _limb("spine2", "torso", (0.0, 0.17, 0.006), (0.0, 0.29, 0.006), (0.092, 0.1), (1.5, 1.0, 1.06)),
    _limb(
        "spine3",
        "torso arms",
        (-0.076, 0.335, 0.008),
        (0.076, 0.335, 0.008),
        (0.096, 0.096),
        (1.0, 1.25, 1.0),
    ),
    _limb("spine3", "torso head arms", (-0.1, 0.405, -0.014), (0.1, 0.405, -0.014), (0.07, 0.07)),
    _limb("neck", "torso head", (0.0, 0.45, -0.026), (0.0, 0.60, -0.004), (0.062, 0.05)),
    _limb("head", "head", (0.0, 0.69, -0.004), (0.0, 0.69, -0.004), (0.1, 0.1), (0.8, 1.02, 0.98)),
    _limb("head", "head", (0.0, 0.605, 0.045), (0.0, 0.655, 0.036), (0.038, 0.058), (1.05, 1.0, 1.0)),
    _limb("head", "head", (0.0, 0.652, 0.098), (0.0, 0.682, 0.09), (0.013, 0.009)),
)
_LEFT_LIMBS: Final = (
    _limb("pelvis", "torso legs", (0.07, -0.075, -0.042), (0.07, -0.075, -0.042), (0.082, 0.082)),
    _limb("left_collar", "torso head arms", (0.02, 0.438, -0.02), (0.15, 0.432, -0.022), (0.056, 0.058)),
    _limb("left_collar", "torso head", (0.03, 0.50, -0.028), (0.12, 0.452, -0.028), (0.03, 0.034)),
    _limb("left_shoulder", "torso arms", (0.172, 0.432, -0.022), (0.436, 0.436, -0.032), (0.058, 0.042)),
    _limb("left_elbow", "arms", (0.436, 0.436, -0.032), (0.686, 0.44, -0.03), (0.043, 0.029)),
    _limb(
        "left_wrist", "arms", (0.706, 0.439, -0.03), (0.78, 0.436, -0.03), (0.038, 0.043), (1.0, 0.44, 1.0)
    ),
    _limb("left_hand", "arms", (0.79, 0.436, -0.03), (0.856, 0.433, -0.03), (0.041, 0.033), (1.0, 0.36, 1.0)),
    _limb("left_wrist", "arms", (0.722, 0.434, -0.004), (0.778, 0.424, 0.056), (0.018, 0.0135)),
    _limb("left_hip", "torso legs", (0.088, -0.085, 0.0), (0.104, -0.475, 0.004), (0.084, 0.054)),
    _limb("left_knee", "legs", (0.104, -0.475, 0.002), (0.112, -0.85, -0.024), (0.052, 0.034)),
    _limb("left_knee", "legs", (0.107, -0.56, -0.022), (0.11, -0.68, -0.03), (0.048, 0.038)),
    _limb("left_ankle", "legs", (0.113, -0.903, -0.046), (0.12, -0.893, 0.05), (0.038, 0.044)),
    _limb(
        "left_foot", "legs", (0.122, -0.915, 0.085), (0.127, -0.921, 0.155), (0.045, 0.036), (1.0, 0.66, 1.0)
    ),
)


def _mirrored(limb: Limb) -> Limb:
    joint = JOINT_NAMES.index(JOINT_NAMES[limb.joint].replace("left_", "right_"))
    (sx, sy, sz), (ex, ey, ez) = limb.start, limb.end
    return Limb(
        joint,
        limb.regions,
        (-sx, sy, sz),
        (-ex, ey, ez),
        limb.start_radius_m,
        limb.end_radius_m,
        limb.scale,
    )


def limbs_of(region: str) -> list[Limb]:
    """The limbs that shape "torso", "head", "left arms", "right arms", "left legs" or "right legs".

    A leg does not feel the other leg, nor an arm the other arm: that keeps the thighs apart.
    """
    side, _, kind = region.rpartition(" ")
    left = [limb for limb in _LEFT_LIMBS if kind in limb.regions and side != "right"]
    right = [_mirrored(limb) for limb in _LEFT_LIMBS if kind in limb.regions and side != "left"]
    return [limb for limb in _MIDDLE_LIMBS if kind in limb.regions] + left + right
