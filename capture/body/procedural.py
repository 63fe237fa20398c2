"""A body that ships with us: SMPL's tree and counts, our own geometry, no licensed file.

`ProceduralBody` turns pose, shape and translation into joints and vertices. It is made by arithmetic
alone in a fraction of a second, once per process, and is the same everywhere: faces exactly, points to
the last digits of floating point. It promises a closed surface without holes (each edge borders two
triangles), at most four joints per vertex, and joints that move linearly with the shape numbers.

It knows no cameras, files or frames. Axes and parameter order: see `anatomy` and `kinematics`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from capture.body._lattice import person, triangles
from capture.body._surface import wrap
from capture.body.anatomy import JOINT_NAMES, PARENTS, template_joints
from capture.body.kinematics import (
    SHAPE_COUNT,
    Float64,
    forward_kinematics,
    rotations_of,
    split_parameters,
)
from capture.body.skinning import Float32, blend_skin, skinning_transforms

Int32 = npt.NDArray[np.int32]

# What the ten shape numbers do; one unit is about one standard deviation among people.
SHAPE_NAMES = (
    *("size", "girth", "leg length", "arm length", "trunk length"),
    *("shoulder width", "hip width", "belly", "chest depth", "head size"),
)


@dataclass(frozen=True, slots=True, eq=False)
class ProceduralBody:
    """The body at rest, ready to be posed. All arrays are read-only.

    template_vertices       (6890, 3) float32 metres     joints                  (24, 3) float64 metres
    faces                   (13776, 3) int32             weights                 (6890, 24) float32
    shape_directions        (6890, 3, 10) float32        joint_shape_directions  (24, 3, 10) float64
    """

    template_vertices: Float32
    faces: Int32
    joints: Float64
    parents: tuple[int, ...]
    weights: Float32
    shape_directions: Float32
    joint_shape_directions: Float64
    _template_rows: Float32 = field(repr=False)  # (3, 6890)
    _weight_rows: Float32 = field(repr=False)  # (24, 6890)
    _shape_rows: Float32 = field(repr=False)  # (10, 3 * 6890)

    def rest_joints(self, betas: npt.ArrayLike) -> Float64:
        """(24, 3) joints of the T-pose for these shape numbers."""
        return self.joints + self.joint_shape_directions @ np.asarray(betas, dtype=np.float64)

    def pose(self, parameters: npt.ArrayLike) -> Float64:
        """85 parameters -> (24, 3) joint positions in metres."""
        pose, betas, translation = split_parameters(parameters)
        return forward_kinematics(rotations_of(pose), self.rest_joints(betas), self.parents, translation)[1]

    def skin(self, pose: npt.ArrayLike, betas: npt.ArrayLike, translation: npt.ArrayLike) -> Float32:
        """Pose (24, 3) axis-angle, betas (10,), translation (3,) -> (6890, 3) float32 vertices, in metres."""
        rest_joints = self.rest_joints(betas)
        rotations, positions = forward_kinematics(
            rotations_of(np.reshape(pose, (len(self.parents), 3))), rest_joints, self.parents, translation
        )
        rest_rows = self._template_rows
        if np.any(betas):
            shaped = np.asarray(betas, dtype=np.float32) @ self._shape_rows
            rest_rows = rest_rows + shaped.reshape(rest_rows.shape)
        return blend_skin(
            rest_rows, self._weight_rows, skinning_transforms(rotations, positions, rest_joints)
        )


@lru_cache(maxsize=1)
def procedural_body() -> ProceduralBody:
    """The one body of this process; made on the first call."""
    lattice = person()
    skin = wrap(lattice)
    joints = template_joints()
    directions = _shape_directions(skin.points, skin.points - skin.axis_points)
    template = skin.points.astype(np.float32)
    weights = skin.weights.astype(np.float32)
    shape = directions.astype(np.float32)
    arrays = (template, triangles(lattice.quads), joints)
    joint_directions = _shape_directions(joints, np.zeros_like(joints))
    rows = (
        np.ascontiguousarray(template.T),
        np.ascontiguousarray(weights.T),
        np.ascontiguousarray(shape.transpose(2, 1, 0).reshape(SHAPE_COUNT, -1)),
    )
    for array in (*arrays, weights, shape, joint_directions, *rows):
        array.flags.writeable = False
    return ProceduralBody(*arrays, PARENTS, weights, shape, joint_directions, *rows)


def _ramp(values: Float64, low: float, high: float) -> Float64:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((values - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _shape_directions(points: Float64, from_axis: Float64) -> Float64:
    """(n, 3, 10): how far each point moves, in metres, per unit of each shape number.

    `from_axis` is the way from the limb's middle to the point; it is zero for joints, so what only makes
    a limb thicker leaves them in place, and what makes it longer takes them along.
    """
    x, y, _ = points.T
    side = np.sign(x)
    reach = np.abs(x)
    head = _joint_height("head")
    neck_and_above = _ramp(y, _joint_height("neck"), head)
    trunk = (1.0 - neck_and_above) * (1.0 - _ramp(reach, 0.3, 0.4))
    out = np.zeros((len(points), 3, SHAPE_COUNT))
    out[:, :, 0] = 0.035 * points
    thick = (
        (1.0 - 0.7 * neck_and_above)
        * (1.0 - 0.8 * _ramp(reach, 0.62, 0.72))
        * (1.0 - 0.8 * _ramp(-y, 0.8, 0.88))
    )
    out[:, :, 1] = 0.10 * thick[:, None] * from_axis
    out[:, 1, 2] = -0.022 * np.clip((-y - 0.085) / 0.775, 0.0, 1.0)
    out[:, 0, 3] = 0.018 * side * np.clip((reach - 0.172) / 0.514, 0.0, 1.0)
    out[:, 1, 4] = 0.016 * np.clip(y / _joint_height("neck"), 0.0, 1.0)
    out[:, 0, 5] = (
        0.012 * side * np.clip(reach / 0.172, 0.0, 1.0) * _ramp(y, 0.2, 0.36) * (1.0 - neck_and_above)
    )
    out[:, 0, 6] = 0.010 * side * np.clip(reach / 0.088, 0.0, 1.0) * _ramp(-y, -0.16, 0.02)
    belly = np.exp(-((x / 0.11) ** 2) - ((y - 0.09) / 0.09) ** 2) * trunk
    out[:, 2, 7] = 0.028 * belly * _ramp(from_axis[:, 2], 0.0, 0.08)
    chest = np.exp(-(((y - 0.34) / 0.1) ** 2)) * trunk
    out[:, 2, 8] = 0.14 * chest * from_axis[:, 2]
    centre = np.array([0.0, head, 0.0])
    out[:, :, 9] = 0.04 * neck_and_above[:, None] * (points - centre)
    return out


def _joint_height(name: str) -> float:
    """Height of a template joint above the pelvis, in metres."""
    return float(template_joints()[JOINT_NAMES.index(name), 1])
