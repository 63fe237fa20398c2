"""Where the key points of a posed body are, and how they move with pose and shape.

`BodyPoints` needs no mesh: each point is carried by joints, so that only the joint tree is walked. The 14
points are those of the Leeds Sports Pose set, which the fit of a body to pictures uses; other points can
be named instead. The translation of the body is not in here: it moves every point alike.

The derivatives follow the left Jacobian of SO(3): a small change d of an axis-angle vector w turns the
rotation R(w) by J(w) d, in the frame of the parent. Method: Bogo et al., Keep it SMPL, ECCV 2016, for the
points; Barfoot, State Estimation for Robotics, section 7.1, for the Jacobian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body.joint_tree import Int, ancestors_of, doublings_of, world_rotations_of
from capture.body.kinematics import JOINT_COUNT, SHAPE_COUNT, Float64
from capture.body.model import BodyModel

POINT_NAMES: Final = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    *("neck", "head_top"),
)
"""The Leeds Sports Pose order, in which every array of 14 points is."""
POINT_COUNT: Final = len(POINT_NAMES)
POINT_JOINTS: Final = (8, 5, 2, 1, 4, 7, 21, 19, 17, 16, 18, 20, 12)
"""The joint that each of the points is, up to the neck; the top of the head is a vertex."""

_TINY_WEIGHT: Final = 1e-3
_SKEW: Final = np.zeros((3, 9))  # vector @ _SKEW is its cross product matrix, flattened
for _i, _j, _k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
    _SKEW[_i, 3 * _k + _j], _SKEW[_i, 3 * _j + _k] = 1.0, -1.0
# rows (j, i) times an axis m: the matrix that takes v to m x v, transposed.
_CROSS: Final = np.ascontiguousarray(_SKEW.reshape(3, 3, 3).transpose(2, 1, 0).reshape(9, 3))


@dataclass(frozen=True, slots=True, eq=False)
class Attachment:
    """A share `weight` of point number `point` moves with `joint`, at `offset` from it in the rest pose.

    `offset_directions` (3, B) says how the offset changes with the shape numbers.
    """

    point: int
    joint: int
    weight: float
    offset: Float64
    offset_directions: Float64


def shape_count_of(model: BodyModel) -> int:
    """How many shape numbers are fitted: the first ten, or all where the model has fewer."""
    return min(SHAPE_COUNT, model.shape_count)


def lsp_attachments(model: BodyModel) -> list[Attachment]:
    """The 14 points: thirteen joints, and the vertex at the top of the head as its weights carry it."""
    joints = joint_attachments(model, POINT_JOINTS)
    return joints + vertex_attachments(model, model.head_top_vertex, POINT_COUNT - 1)


def joint_attachments(model: BodyModel, joints: Sequence[int]) -> list[Attachment]:
    """Points 0, 1 ... that are these joints."""
    still = np.zeros((3, shape_count_of(model)))
    return [Attachment(point, joint, 1.0, np.zeros(3), still) for point, joint in enumerate(joints)]


def vertex_attachments(model: BodyModel, vertex: int, point: int) -> list[Attachment]:
    """Linear blend skinning of one vertex, without pose blend shapes, as attachments of point `point`."""
    count = shape_count_of(model)
    place = model.template_vertices[vertex].astype(np.float64)
    directions = model.shape_directions[vertex, :, :count].astype(np.float64)
    weights = model.weights[vertex].astype(np.float64)
    weights[weights < _TINY_WEIGHT] = 0.0
    weights /= weights.sum()
    return [
        Attachment(
            point,
            int(joint),
            float(weights[joint]),
            place - model.joints[joint],
            directions - model.joint_shape_directions[joint, :, :count],
        )
        for joint in np.flatnonzero(weights)
    ]


class BodyPoints:
    """Points of one body model as functions of pose and shape, with analytic derivatives.

    Of the 72 pose numbers only those of `pose_columns` move any of the points (48 for the 14 of a key
    point detector; all 72 with `every_joint`). Immutable once made: threads may share one.
    """

    def __init__(
        self, model: BodyModel, attachments: Sequence[Attachment] | None = None, *, every_joint: bool = False
    ) -> None:
        attached = lsp_attachments(model) if attachments is None else attachments
        self.point_count = 1 + max(attachment.point for attachment in attached)
        self.shape_count = attached[0].offset_directions.shape[1]
        self.rest_pelvis = np.array(model.joints[0])
        parents = np.array(model.parents)
        above = ancestors_of(model.parents)
        offsets, carriers, is_bone_of = self._offsets(model, attached)

        # Each point is a weighted sum of rotated offsets: the bones down to its joints, and from each joint
        # to the point. The lever of a joint k is the same sum over what lies strictly below k.
        points = np.zeros((self.point_count, len(carriers)))
        levers = np.zeros((self.point_count, JOINT_COUNT, len(carriers)))
        next_tail = JOINT_COUNT
        for attachment in attached:
            chain = np.flatnonzero(above[attachment.joint])
            points[attachment.point, is_bone_of[chain]] += attachment.weight
            for joint in chain:
                below = chain[above[chain, joint] & (chain != joint)]
                levers[attachment.point, joint, is_bone_of[below]] += attachment.weight
            if _is_apart(attachment):
                points[attachment.point, next_tail] += attachment.weight
                levers[attachment.point, chain, next_tail] += attachment.weight
                next_tail += 1

        moves = np.full(JOINT_COUNT, True) if every_joint else levers.any(axis=(0, 2))
        self.joints: Int = np.flatnonzero(moves)
        self.pose_columns: Int = (self.joints[:, None] * 3 + np.arange(3)).ravel()
        self.column_count = len(self.pose_columns) + self.shape_count + 3
        kept = len(self.joints)
        slot = np.full(JOINT_COUNT + 1, kept)  # no joint, and the root's parent: the world, after the others
        slot[self.joints] = np.arange(kept)
        used = points.any(axis=0)
        self._row_slots: Int = slot[carriers[used]]
        self._row_offsets = offsets[used]
        self._points = np.ascontiguousarray(points[:, used])
        by_joint = levers[:, self.joints][:, :, used].transpose(1, 0, 2)
        self._levers = np.ascontiguousarray(by_joint.reshape(kept * self.point_count, -1))
        self._parent_slots: Int = slot[parents[self.joints]]
        self._doublings = doublings_of(np.append(self._parent_slots, kept))

    @staticmethod
    def _offsets(model: BodyModel, attached: Sequence[Attachment]) -> tuple[Float64, Int, Int]:
        """(r, 3, 1 + B) offsets with their changes, the joint that turns each (-1: none), bone of joint."""
        count = attached[0].offset_directions.shape[1]
        tails = [attachment for attachment in attached if _is_apart(attachment)]
        offsets = np.zeros((JOINT_COUNT + len(tails), 3, 1 + count))
        bones = offsets[:JOINT_COUNT]
        bones[:, :, 0] = model.joints
        bones[:, :, 1:] = model.joint_shape_directions[:, :, :count]
        bones[1:] -= bones[list(model.parents[1:])]
        for row, tail in enumerate(tails, start=JOINT_COUNT):
            offsets[row, :, 0] = tail.offset
            offsets[row, :, 1:] = tail.offset_directions
        carriers = np.array([*model.parents, *(tail.joint for tail in tails)])
        return offsets, carriers, np.arange(JOINT_COUNT)

    def posed(self, seen_pose: Float64, betas: Float64) -> PosedPoints:
        """The points for the pose numbers of `pose_columns` and (B,) shape numbers."""
        rotations, axes = rotations_and_axes(seen_pose.reshape(-1, 3))
        return PosedPoints(self, world_rotations_of(rotations, self._doublings), axes, betas)

    def carried_by(self, posed: PosedPoints) -> PosedPoints:
        """These points where the body is posed already, with other points of the same model and joints."""
        return PosedPoints(self, posed.world_rotations, posed.own_axes, posed.betas)

    def values(self, pose: npt.ArrayLike, betas: npt.ArrayLike) -> Float64:
        """(72,) or (24, 3) axis-angle and shape numbers -> (n, 3) points in metres, untranslated."""
        seen = np.ravel(np.asarray(pose, dtype=np.float64))[self.pose_columns]
        return self.posed(seen, np.asarray(betas, dtype=np.float64)[: self.shape_count]).points

    def jacobian(self, pose: npt.ArrayLike, betas: npt.ArrayLike) -> Float64:
        """(n, 3, 72 + B): derivatives of `values` by all pose numbers, then by the shape numbers."""
        seen = np.ravel(np.asarray(pose, dtype=np.float64))[self.pose_columns]
        lean = self.posed(seen, np.asarray(betas, dtype=np.float64)[: self.shape_count]).jacobian()
        full = np.zeros((self.point_count, 3, 3 * JOINT_COUNT + self.shape_count))
        full[:, :, self.pose_columns] = lean[:, :, : len(self.pose_columns)]
        full[:, :, 3 * JOINT_COUNT :] = lean[:, :, len(self.pose_columns) : -3]
        return full


class PosedPoints:
    """One evaluation: the points at once, their derivatives only when somebody asks.

    points            (n, 3) in metres, untranslated
    world_rotations   (j + 1, 3, 3) of the body's `joints`, and of the world after them
    own_axes          (j, 3, 3) as columns, how each joint's axis-angle numbers turn it, in its parent's frame
    betas             (B,)
    """

    __slots__ = ("_body", "_rows", "betas", "own_axes", "points", "world_rotations")

    def __init__(self, body: BodyPoints, world_rotations: Float64, own_axes: Float64, betas: Float64) -> None:
        self._body = body
        self.world_rotations = world_rotations
        self.own_axes = own_axes
        self.betas = betas
        offsets = body._row_offsets[:, :, 1:] @ betas
        offsets += body._row_offsets[:, :, 0]
        self._rows: Float64 = (world_rotations[body._row_slots] @ offsets[:, :, None])[:, :, 0]
        self.points: Float64 = body._points @ self._rows

    def axes(self) -> Float64:
        """(j, 3, 3) as columns: the axes of the world about which a joint's numbers turn what hangs on it."""
        axes: Float64 = self.world_rotations[self._body._parent_slots] @ self.own_axes
        return axes

    def jacobian(self) -> Float64:
        """(n, 3, columns): by the seen pose numbers, the shape numbers, and the translation."""
        body = self._body
        kept, count = len(body.joints), body.point_count
        levers = (body._levers @ self._rows).reshape(kept, count, 3)
        turned = levers @ (_CROSS @ self.axes()).reshape(kept, 3, 9)
        out = np.empty((count, 3, body.column_count))
        out[:, :, : 3 * kept].reshape(count, 3, kept, 3)[...] = turned.reshape(kept, count, 3, 3).transpose(
            1, 2, 0, 3
        )
        changes = self.world_rotations[body._row_slots] @ body._row_offsets[:, :, 1:]
        by_shape = body._points @ changes.reshape(len(changes), -1)
        out[:, :, 3 * kept : -3] = by_shape.reshape(count, 3, -1)
        out[:, :, -3:] = _EYE
        return out


_EYE: Final = np.eye(3)
_FLAT_EYE: Final = np.eye(3).ravel()


def cross_products_with(vectors: Float64) -> Float64:
    """(k, 3) -> (k, 3, 3): what takes a row a, multiplied from the right, to the cross product a x vector."""
    return (vectors @ _SKEW).reshape(-1, 3, 3)


def rotations_and_axes(vectors: Float64) -> tuple[Float64, Float64]:
    """(k, 3) axis-angle -> rotations (k, 3, 3) and the left Jacobians (k, 3, 3) of SO(3).

    With a = sin t / t, b = (1 - cos t) / t^2 and c = (1 - a) / t^2 both are sums of the identity, the cross
    product matrix and the outer product of the vector: cos t, a, b of them, and a, b, c.
    """
    squares = np.einsum("ij,ij->i", vectors, vectors)
    squares += 1e-30  # a vector of zeros: every quotient below comes out at its limit, or multiplies zero
    angles = np.sqrt(squares)
    half = 0.5 * angles
    half_ratio = np.sin(half)
    half_ratio /= half
    factors = np.empty((len(vectors), 2, 3))
    a = np.sin(angles)
    a /= angles
    b = half_ratio * half_ratio
    b *= 0.5
    factors[:, 0, 0] = 1.0 - b * squares
    factors[:, 0, 1] = factors[:, 1, 0] = a
    factors[:, 0, 2] = factors[:, 1, 1] = b
    factors[:, 1, 2] = (1.0 - a) / squares
    parts = np.empty((len(vectors), 3, 9))
    parts[:, 0] = _FLAT_EYE
    np.matmul(vectors, _SKEW, out=parts[:, 1])
    np.multiply(vectors[:, :, None], vectors[:, None, :], out=parts[:, 2].reshape(-1, 3, 3))
    both = factors @ parts
    return both[:, 0].reshape(-1, 3, 3), both[:, 1].reshape(-1, 3, 3)


def _is_apart(attachment: Attachment) -> bool:
    """Whether the point is somewhere else than the joint it hangs on."""
    return bool(np.any(attachment.offset) or np.any(attachment.offset_directions))
