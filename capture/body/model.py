"""A body as data: SMPL's tree, a mesh that follows it, and the directions in which people differ.

`BodyModel` is any model of linear blend skinning with SMPL's 24 joints: the one that ships with us
(`procedural.procedural_body`) or one of SMPL's, whose files are the user's. It turns pose, shape and
translation into joints and vertices. Joints move linearly with the shape numbers, of which a model may
have any number.

It knows no cameras, frames or sessions. Axes and parameter order: see `anatomy` and `kinematics`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from capture.body.kinematics import Float64, forward_kinematics, rotations_of, split_parameters
from capture.body.skinning import Float32, Skin

Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BodyModel:
    """The body at rest, ready to be posed: V vertices, F triangles, B shape directions. Arrays are read-only.

    name                    what results call it
    template_vertices       (V, 3) float32 metres        joints                  (24, 3) float64 metres
    faces                   (F, 3) int32                 parents                 24 of them, -1 for the root
    weights                 (V, 24) float32              joint_shape_directions  (24, 3, B) float64
    shape_directions        (V, 3, B) float32
    pose_directions         (207, 3 * V) float32, or None: how the rest mesh gives way (x of all vertices,
                            then y, then z) per entry of the matrices R - I of joints 1 to 23, row by row
    head_top_vertex         the vertex on top of the head
    """

    name: str
    template_vertices: Float32
    faces: Int32
    joints: Float64
    parents: tuple[int, ...]
    weights: Float32
    shape_directions: Float32
    joint_shape_directions: Float64
    pose_directions: Float32 | None
    head_top_vertex: int
    _skin: Skin = field(init=False)

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if isinstance(array := getattr(self, name, None), np.ndarray):
                view = array.view()
                view.flags.writeable = False
                object.__setattr__(self, name, view)
        skin = Skin(
            self.template_vertices, self.weights, self.shape_directions, self.pose_directions, self.parents
        )
        object.__setattr__(self, "_skin", skin)

    @staticmethod
    def load(path: str | os.PathLike[str], gender: str = "neutral") -> BodyModel:
        """The model in a file of SMPL's (.pkl or .npz), or the one for `gender` in a folder of such files.

        See `model_files.read_body_model`, also for the errors.
        """
        from capture.body.model_files import read_body_model  # it makes bodies of this class

        return read_body_model(path, gender)

    def __repr__(self) -> str:
        count = len(self.template_vertices)
        return f"<BodyModel {self.name!r}: {count} vertices, {self.shape_count} shape directions>"

    @property
    def shape_count(self) -> int:
        """B, the number of shape directions."""
        return int(self.shape_directions.shape[2])

    def rest_joints(self, betas: npt.ArrayLike) -> Float64:
        """(24, 3) joints of the T-pose for these shape numbers, in metres.

        Shape numbers that are not given count as zero. ValueError: more are given than the body has
        directions, and not all of those are zero.
        """
        return self.joints + self.joint_shape_directions @ self._all_betas(betas)

    def pose(self, parameters: npt.ArrayLike) -> Float64:
        """85 parameters -> (24, 3) joint positions in metres. ValueError as for `rest_joints`."""
        pose, betas, translation = split_parameters(parameters)
        return forward_kinematics(rotations_of(pose), self.rest_joints(betas), self.parents, translation)[1]

    def skin(self, pose: npt.ArrayLike, betas: npt.ArrayLike, translation: npt.ArrayLike) -> Float32:
        """Pose (24, 3) or (72,) axis-angle, betas, translation (3,) -> (V, 3) float32 vertices, in metres.

        The mesh of the last betas is kept, so that posing the same person again is quicker. ValueError as for
        `rest_joints`.
        """
        betas = self._all_betas(betas)
        rest_joints = self.joints + self.joint_shape_directions @ betas
        vectors = np.reshape(np.asarray(pose, dtype=np.float64), (len(self.parents), 3))
        return self._skin.posed(betas, vectors, rest_joints, np.asarray(translation, dtype=np.float64))

    def _all_betas(self, betas: npt.ArrayLike) -> Float64:
        given = np.asarray(betas, dtype=np.float64).ravel()
        count = self.shape_count
        if np.any(given[count:]):
            raise ValueError(
                f"{len(given)} shape numbers for the body {self.name!r}, which has {count} directions"
            )
        out = np.zeros(count)
        out[: len(given)] = given[:count]
        return out
