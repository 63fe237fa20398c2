"""A body walking in a circle, for ever: phase in, 85 parameters out.

The joint angles follow textbook curves of level walking, played as smooth periodic functions; arms swing
against the legs, the trunk against the pelvis. World axes: z up, the floor at z = 0, the circle around
the origin, walked counter-clockwise. The loop closes exactly: phase 1 is phase 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body.anatomy import JOINT_NAMES
from capture.body.kinematics import SHAPE_COUNT, Float64, axis_angle_of, join_parameters, rotations_of
from capture.body.model import BodyModel

STRIDE_M: Final = 1.35
"""The way of one stride (two steps) of a body of this size."""

STRIDE_S: Final = 1.0
_LARGEST_RADIUS_M: Final = 0.9

# Degrees over one stride in steps of 5 %, from the moment the heel touches the floor.
# fmt: off
_HIP_FLEXION: Final = (30, 29, 26, 22, 17, 12, 7, 2, -2, -6, -10, -12, -9, -2, 8, 18, 26, 31, 32, 31)
_KNEE_FLEXION: Final = (4, 9, 15, 18, 17, 14, 10, 7, 4, 3, 5, 12, 27, 46, 59, 61, 53, 36, 17, 6)
_ANKLE_FLEXION: Final = (0, -4, -4, 0, 3, 5, 7, 9, 10, 10, 7, -1, -12, -16, -9, -2, 2, 3, 3, 2)
_TOE_EXTENSION: Final = (8, 2, 0, 0, 0, 0, 0, 0, 0, 4, 14, 25, 24, 8, 0, 0, 0, 0, 4, 9)
# fmt: on
_HARMONICS: Final = 7


def _smooth_periodic(degrees: tuple[int, ...]) -> npt.NDArray[np.complex128]:
    """The first Fourier coefficients of a table, in radians."""
    spectrum = np.fft.rfft(np.radians(degrees)) / len(degrees)
    spectrum[1:] *= 2.0
    return spectrum[: _HARMONICS + 1]


_LEG_CURVES: Final = np.array(
    [_smooth_periodic(table) for table in (_HIP_FLEXION, _KNEE_FLEXION, _ANKLE_FLEXION, _TOE_EXTENSION)]
)


def _leg_angles(stride_phase: float) -> Float64:
    """Hip flexion, knee flexion, ankle flexion, toe extension, in radians."""
    turns = np.exp(2j * math.pi * stride_phase * np.arange(_HARMONICS + 1))
    return np.asarray((_LEG_CURVES * turns).real.sum(axis=1), dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """One closed walk: `strides` strides in `laps` turns around a circle, for a body of this shape."""

    body: BodyModel
    strides: int = 2
    laps: int = 1
    betas: Float64 = field(default_factory=lambda: np.zeros(SHAPE_COUNT))

    @staticmethod
    def lasting(body: BodyModel, duration_s: float) -> Walk:
        """The walk that fills `duration_s` at an easy pace, without leaving the middle of the room."""
        strides = max(1, round(duration_s / STRIDE_S))
        laps = math.ceil(strides * STRIDE_M / (2 * math.pi * _LARGEST_RADIUS_M))
        return Walk(body, strides, laps)

    @property
    def radius_m(self) -> float:
        return self.strides * STRIDE_M / (2 * math.pi * self.laps)

    def parameters(self, phase: float) -> Float64:
        """The 85 parameters at `phase` (whole numbers are the same moment), the lowest point on the floor."""
        phase %= 1.0
        stride_phase = phase * self.strides % 1.0
        pose = _joint_angles(stride_phase)
        place = 2.0 * math.pi * self.laps * phase
        # Body axes to world axes (a quarter turn about x: y up becomes z up, the front becomes -y), then the
        # heading: along the circle's tangent.
        heading = rotations_of([[0.0, 0.0, place + math.pi], [math.pi / 2, 0.0, 0.0], pose[0]])
        pose[0] = axis_angle_of(heading[0] @ heading[1] @ heading[2])
        # Over the standing leg: to the left in the first half of the left leg's stride.
        inward = 0.02 * math.cos(2.0 * math.pi * (stride_phase - 0.3))
        translation = np.array([math.cos(place), math.sin(place), 0.0]) * (self.radius_m - inward)
        translation[2] = -float(self.body.skin(pose, self.betas, translation)[:, 2].min())
        return join_parameters(pose, self.betas, translation)


def _joint_angles(stride_phase: float) -> Float64:
    """(24, 3) axis-angle of a walker facing his own front; the left heel touches the floor at phase 0."""
    pose = np.zeros((len(JOINT_NAMES), 3))
    wave = math.cos(2.0 * math.pi * stride_phase)
    sway = math.sin(2.0 * math.pi * stride_phase)

    def turn(name: str, x_deg: float, y_deg: float, z_deg: float) -> None:
        pose[JOINT_NAMES.index(name)] = np.radians([x_deg, y_deg, z_deg])

    # The side of the leading leg goes forward, the shoulders the other way, the head stays.
    turn("pelvis", 2.0, -5.0 * wave, 2.5 * sway)
    turn("spine1", 1.0, 3.5 * wave, -2.0 * sway)
    turn("spine2", 0.0, 3.5 * wave, -1.0 * sway)
    turn("spine3", 0.0, 3.0 * wave, 0.0)
    turn("neck", -2.0, -2.5 * wave, 0.5 * sway)
    turn("head", 1.0, -2.5 * wave, 0.0)
    for side, sign, offset in (("left", 1.0, 0.0), ("right", -1.0, 0.5)):
        hip, knee, ankle, toe = np.degrees(_leg_angles(stride_phase + offset))
        turn(f"{side}_hip", -hip, 0.0, sign * -1.5)
        turn(f"{side}_knee", knee, 0.0, 0.0)
        turn(f"{side}_ankle", -ankle, sign * 5.0, 0.0)
        turn(f"{side}_foot", -toe, 0.0, 0.0)
        forward_deg = 4.0 - 21.0 * sign * wave
        turn(f"{side}_collar", 0.0, 0.0, sign * -8.0)
        # Down from the T-pose first, then swung about the axis through both shoulders.
        swing, lower = rotations_of(np.radians([[-forward_deg, 0.0, 0.0], [0.0, 0.0, sign * -71.0]]))
        pose[JOINT_NAMES.index(f"{side}_shoulder")] = axis_angle_of(swing @ lower)
        turn(f"{side}_elbow", 0.0, sign * -(24.0 + 0.5 * forward_deg), 0.0)
        turn(f"{side}_wrist", 0.0, sign * -5.0, sign * -4.0)
        turn(f"{side}_hand", 0.0, 0.0, sign * -10.0)
    return pose
