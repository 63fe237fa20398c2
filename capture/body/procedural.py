"""A body that ships with us: SMPL's tree and counts, our own geometry, no licensed file.

`procedural_body` is a `BodyModel` made by arithmetic alone in a fraction of a second, once per process, and
is the same everywhere: faces exactly, points to the last digits of floating point. It promises a closed
surface without holes (each edge borders two triangles), at most four joints per vertex, and ten shape
directions, `SHAPE_NAMES`. It has no pose directions.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from capture.body._lattice import person, triangles
from capture.body._surface import wrap
from capture.body.anatomy import JOINT_NAMES, PARENTS, template_joints
from capture.body.kinematics import SHAPE_COUNT, Float64
from capture.body.model import BodyModel

PROCEDURAL_NAME: Final = "procedural"
"""What results that come from this body call it."""

# What the ten shape numbers do; one unit is about one standard deviation among people.
SHAPE_NAMES = (
    *("size", "girth", "leg length", "arm length", "trunk length"),
    *("shoulder width", "hip width", "belly", "chest depth", "head size"),
)


@lru_cache(maxsize=1)
def procedural_body() -> BodyModel:
    """The one body of this process; made on the first call."""
    lattice = person()
    skin = wrap(lattice)
    joints = template_joints()
    template = skin.points.astype(np.float32)
    return BodyModel(
        name=PROCEDURAL_NAME,
        template_vertices=template,
        faces=triangles(lattice.quads),
        joints=joints,
        parents=PARENTS,
        weights=skin.weights.astype(np.float32),
        shape_directions=_shape_directions(skin.points, skin.points - skin.axis_points).astype(np.float32),
        joint_shape_directions=_shape_directions(joints, np.zeros_like(joints)),
        pose_directions=None,
        head_top_vertex=int(np.argmax(template[:, 1])),
    )


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
