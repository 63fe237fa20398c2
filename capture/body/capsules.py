"""Twenty capsules that stand in for the flesh of a body: where they lie and how thick they are.

Each moves rigidly with one joint. They are measured on the model's own mesh: the axis runs along the bone
through the middle of the part, the radius is the median distance of the part's vertices from it. Sizes can
also come from the regressors that SMPLify was published with (`read_capsule_sizes`), which are the user's.

Source of the parts, and of where a capsule of given length lies: Bogo et al., "Keep it SMPL: Automatic
Estimation of 3D Human Pose and Shape from a Single Image" (ECCV 2016), section 3.2.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from capture.body.anatomy import PARENTS
from capture.body.archives import read_arrays
from capture.body.kinematics import Float64
from capture.body.model import BodyModel
from capture.body.points import shape_count_of
from codec.errors import FormatError

PARTS: Final = (
    *((0,), (1,), (2,), (3,), (4,), (5,), (6,), (7, 10), (8, 11), (9,), (12,), (13,), (14,), (15,)),
    *((16,), (17,), (18,), (19,), (20, 22), (21, 23)),
)
"""The joints whose flesh each capsule stands for; it moves with the first of them."""
CAPSULE_COUNT: Final = len(PARTS)
_TRUNK: Final = (0, 3, 6, 9)
"""These lie across the body."""
_LEAST_RADIUS_M: Final = 0.005
_LEAST_LENGTH_M: Final = 0.001
_SIZE_KEYS: Final = ("betas2lens", "betas2rads")
_FILE_GENDERS: Final = {"neutral": "hybrid", "female": "female", "male": "male"}
_LEAST_VERTICES: Final = 8
_PELVIS: Final = np.array([0.6, 0.2, 0.2])
"""The pelvis' capsule hangs that much between the joints of pelvis and hips."""


@dataclass(frozen=True, slots=True, eq=False)
class CapsuleSizes:
    """Lengths and radii (20, 1 + B) in metres: of the average body, then what each shape number adds."""

    lengths: Float64
    radii: Float64


@dataclass(frozen=True, slots=True, eq=False)
class Capsules:
    """The capsules of one body, in its rest pose.

    joints        (20,) which joint carries each
    starts, ends  (20, 3, 1 + B) of its axis from that joint, in metres, and what each shape number adds
    radii         (20, 1 + B) likewise
    """

    joints: tuple[int, ...]
    starts: Float64
    ends: Float64
    radii: Float64


@lru_cache(maxsize=8)
def capsules_of(model: BodyModel, sizes: CapsuleSizes | None = None) -> Capsules:
    """Measured on the mesh of the model, or of the sizes that are given; measured once for each model."""
    count = shape_count_of(model)
    shapes = np.vstack([np.zeros(count), np.eye(count)])
    starts = np.empty((len(shapes), CAPSULE_COUNT, 3))
    ends = np.empty_like(starts)
    radii = np.empty((len(shapes), CAPSULE_COUNT))
    for k, betas in enumerate(shapes):
        starts[k], ends[k], radii[k] = _measured(model, betas)
        if sizes is not None:
            lengths = _at(sizes.lengths, betas)
            radii[k] = _at(sizes.radii, betas)
            starts[k], ends[k] = _resized(model.rest_joints(betas), starts[k], ends[k], lengths)
    for each in (starts, ends, radii):
        each[1:] -= each[0]
    return Capsules(
        joints=tuple(part[0] for part in PARTS),
        starts=np.ascontiguousarray(starts.transpose(1, 2, 0)),
        ends=np.ascontiguousarray(ends.transpose(1, 2, 0)),
        radii=np.ascontiguousarray(radii.T),
    )


def read_capsule_sizes(path: str | os.PathLike[str], gender: str = "neutral") -> CapsuleSizes:
    """The sizes in an .npz file of SMPLify's capsule regressors (`betas2lens` and `betas2rads`, (B + 1, 20)).

    In a folder it is the file that the original calls by the gender, where "hybrid" is neutral. Raises
    FormatError, naming file and key, for another file, and StorageError where it cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        path /= f"regressors_locked_normalized_{_FILE_GENDERS[gender]}.npz"
    arrays = read_arrays(path, _SIZE_KEYS)
    tables = []
    for key in _SIZE_KEYS:
        table = arrays.get(key)
        if table is None:
            raise FormatError(f"{path} is no file of capsule regressors: it lacks the key {key!r}")
        if table.ndim != 2 or table.shape[1] != CAPSULE_COUNT or len(table) < 2 or table.dtype.kind != "f":
            raise FormatError(
                f"{path} is no file of capsule regressors: its key {key!r} is {table.dtype} "
                f"{table.shape}, not numbers (shape numbers + 1, {CAPSULE_COUNT})"
            )
        table = table.astype(np.float64)
        if not np.isfinite(table).all() or not (table[-1] > 0).all():
            raise FormatError(
                f"{path}: its key {key!r} holds sizes that are not finite, or not positive for an "
                "average body"
            )
        tables.append(np.vstack([table[-1], table[:-1]]).T)
    lengths, radii = tables
    if lengths.shape != radii.shape:
        raise FormatError(f"{path}: its keys {' and '.join(_SIZE_KEYS)} differ in their rows")
    return CapsuleSizes(lengths, radii)


def _at(table: Float64, betas: Float64) -> Float64:
    """Sizes for shape numbers, of which the table may know fewer or more."""
    known = min(len(betas), table.shape[1] - 1)
    sizes: Float64 = table[:, 0] + table[:, 1 : 1 + known] @ betas[:known]
    return sizes


def _measured(model: BodyModel, betas: Float64) -> tuple[Float64, Float64, Float64]:
    """Starts and ends (20, 3) from their joints and radii (20,) of one shape."""
    count = len(betas)
    vertices = model.template_vertices + model.shape_directions[:, :, :count] @ betas
    joints = model.rest_joints(betas)
    carrier = model.weights.argmax(axis=1)
    starts, ends = np.zeros((CAPSULE_COUNT, 3)), np.zeros((CAPSULE_COUNT, 3))
    radii = np.full(CAPSULE_COUNT, _LEAST_RADIUS_M)
    for number, part in enumerate(PARTS):
        joint = joints[part[0]]
        flesh = vertices[np.isin(carrier, part)] - joint
        if len(flesh) < _LEAST_VERTICES:
            # A model without this part: a grain at the joint, which hits nothing.
            ends[number] = starts[number] + [_LEAST_LENGTH_M, 0.0, 0.0]
            continue
        middle = flesh.mean(axis=0)
        axis = _axis(part, joints, middle)
        along = (flesh - middle) @ axis
        away = np.linalg.norm(flesh - middle - along[:, None] * axis, axis=1)
        radii[number] = max(float(np.median(away)), _LEAST_RADIUS_M)
        length = max(float(np.ptp(along)) - 2 * radii[number], _LEAST_LENGTH_M)
        centre = middle + 0.5 * (along.max() + along.min()) * axis
        starts[number], ends[number] = centre - 0.5 * length * axis, centre + 0.5 * length * axis
    return starts, ends, radii


def _axis(part: tuple[int, ...], joints: Float64, middle: Float64) -> Float64:
    """Across the trunk, along a limb: from its joint to those that hang on it, or into the flesh."""
    if part[0] in _TRUNK:
        return np.array([1.0, 0.0, 0.0])
    below = [child for child, parent in enumerate(PARENTS) if parent == part[0]]
    way = joints[below].mean(axis=0) - joints[part[0]] if below else middle
    axis: Float64 = way / max(float(np.linalg.norm(way)), 1e-9)
    return axis


def _resized(joints: Float64, starts: Float64, ends: Float64, lengths: Float64) -> tuple[Float64, Float64]:
    """Axes in the same directions, of other lengths, where SMPLify lays capsules of given lengths."""
    ways = ends - starts
    ways *= (lengths / np.linalg.norm(ways, axis=1))[:, None]
    begins = np.zeros_like(starts)
    begins[0, 1] = _PELVIS @ joints[:3, 1] - joints[0, 1]
    begins[0, 2] = joints[9, 2] - joints[0, 2]
    begins[9, 2] = 0.8 * (joints[12, 2] - joints[9, 2])
    for ankle, knee in ((7, 4), (8, 5)):  # the numbers of both feet's capsules are those of their ankles
        begins[ankle, 1] = 0.1 * (joints[ankle, 1] - joints[knee, 1])
    for number in _TRUNK:
        begins[number] -= 0.5 * ways[number]
    return begins, begins + ways
