"""The camera of a mesh frame, as bodycompress stores it, without deltacamera and SciPy.

World to camera is `R @ (point - t)`: `t` is where the camera stands, as deltacamera has it. Axes: x right,
y down, z forward. Lengths are in the unit of the world (millimetres, with the vertices).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.errors import CodecError, FormatError

_REQUIRED = ("rotvec_w2c", "loc", "intr")
_OBJECT_HAS = ("R", "t", "intrinsic_matrix", "world_up")
_DISTORTION_MAX = 64

Array = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """A pinhole camera with its place in the world and, where it has one, its lens distortion.

    `rotvec_w2c` (3,): axis times angle of the rotation from world to camera. `loc` (3,): the optical
    centre. `intr` (2, 3): the upper rows of the intrinsic matrix. `up` (3,): the world's upward
    direction. `distcoef`: OpenCV's coefficients, four of them for a fisheye lens. `image_shape`: height
    and width in pixels, which only files of ours keep.

    It has the names of a deltacamera.Camera that a writer of meshes asks for, so either writer takes it.
    """

    rotvec_w2c: Array
    loc: Array
    intr: Array
    up: Array
    distcoef: Array | None = None
    image_shape: tuple[int, int] | None = None

    @property
    def R(self) -> npt.NDArray[np.float32]:  # noqa: N802 (the name that deltacamera has for it)
        """(3, 3), rotates world directions into the camera's."""
        return rotation_matrix(self.rotvec_w2c).astype(np.float32)

    @property
    def t(self) -> Array:
        """(3,), the optical centre in the world."""
        return self.loc

    @property
    def K(self) -> Array:  # noqa: N802 (the usual name)
        """(3, 3), the intrinsic matrix."""
        return np.concatenate([self.intr, np.array([[0, 0, 1]], self.intr.dtype)])

    @property
    def intrinsic_matrix(self) -> Array:
        return self.K

    @property
    def world_up(self) -> Array:
        return self.up

    @property
    def distortion_coeffs(self) -> Array | None:
        return self.distcoef

    def has_distortion(self) -> bool:
        return self.distcoef is not None

    def get_distortion_coeffs(self) -> Array:
        """The coefficients, five zeros for a lens without distortion."""
        return np.zeros(5, np.float32) if self.distcoef is None else self.distcoef


def encode_camera(camera: object) -> dict[str, Any]:
    """What stands in the file for a camera. Raises CodecError for what is none.

    A dict is stored as it is, as bodycompress does; of any object with R, t, intrinsic_matrix and
    world_up (deltacamera, cameravision, cameralib, ours) the values are taken.
    """
    if isinstance(camera, Mapping):
        missing = [key for key in _REQUIRED if key not in camera]
        if missing:
            raise CodecError(
                f"camera: a dict needs rotvec_w2c, loc and intr, {', '.join(missing)} is missing; "
                "store other kinds of cameras under another name"
            )
        return dict(camera)
    if not all(hasattr(camera, name) for name in _OBJECT_HAS):
        raise CodecError(
            f"camera: a {type(camera).__name__} is none: it needs R, t, intrinsic_matrix and world_up, or "
            "give a dict of rotvec_w2c, loc and intr"
        )
    return _encode_object(camera)


def _encode_object(camera: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "rotvec_w2c": rotation_vector(_numbers(camera.R, (3, 3), "R", CodecError)).astype(np.float32),
        "loc": _numbers(camera.t, (3,), "t", CodecError),
        "intr": _numbers(camera.intrinsic_matrix, (3, 3), "intrinsic_matrix", CodecError)[:2],
        "up": _numbers(camera.world_up, (3,), "world_up", CodecError),
    }
    distortion = _distortion_of(camera)
    if distortion is not None:
        fields["distcoef"] = _numbers(distortion, None, "the distortion", CodecError)
    shape = getattr(camera, "image_shape", None)
    if shape is not None:
        fields["image_shape"] = [int(n) for n in shape[:2]]
    return fields


def _distortion_of(camera: Any) -> object:
    # deltacamera warns when it is asked for distortion_coeffs.
    if hasattr(camera, "has_distortion"):
        if not camera.has_distortion():
            return None
        if hasattr(camera, "get_distortion_coeffs"):
            return camera.get_distortion_coeffs()
    coefficients = getattr(camera, "distortion_coeffs", None)
    return None if coefficients is None or not np.any(coefficients) else coefficients


def decode_camera(fields: object) -> Camera:
    """The camera that a frame holds under `camera`. Raises FormatError."""
    if not isinstance(fields, Mapping):
        raise FormatError(f"the camera is a {type(fields).__name__}, not a map")
    missing = [key for key in _REQUIRED if key not in fields]
    if missing:
        raise FormatError(f"the camera has no {', '.join(missing)}")
    distortion, shape = fields.get("distcoef"), fields.get("image_shape")
    if not (shape is None or (isinstance(shape, list) and len(shape) == 2 and _are_sizes(shape))):
        raise FormatError(f"the camera has the image_shape {str(shape)[:40]}")
    return Camera(
        rotvec_w2c=_numbers(fields["rotvec_w2c"], (3,), "rotvec_w2c", FormatError),
        loc=_numbers(fields["loc"], (3,), "loc", FormatError),
        intr=_numbers(fields["intr"], (2, 3), "intr", FormatError),
        up=_numbers(fields.get("up", (0.0, 0.0, 1.0)), (3,), "up", FormatError),
        distcoef=None if distortion is None else _numbers(distortion, None, "distcoef", FormatError),
        image_shape=None if shape is None else (shape[0], shape[1]),
    )


def _are_sizes(shape: list[object]) -> bool:
    return all(type(n) is int and 0 < n < 1 << 31 for n in shape)


def _numbers(value: object, shape: tuple[int, ...] | None, name: str, error: type[FormatError]) -> Array:
    """As floats, float32 where they came as whole numbers or lists; shape None: any few in a row."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as problem:
        raise error(f"the camera's {name} is no array: {problem}") from problem
    fits = array.shape == shape if shape else array.ndim == 1 and array.size <= _DISTORTION_MAX
    if not fits or array.dtype.kind not in "iuf":
        raise error(f"the camera's {name} is {array.dtype} {array.shape}")
    return array if isinstance(value, np.ndarray) and array.dtype.kind == "f" else array.astype(np.float32)


def rotation_matrix(rotation_vector: Array) -> npt.NDArray[np.float64]:
    """(3, 3) of an axis times an angle in radians (Rodrigues)."""
    vector = np.asarray(rotation_vector, np.float64)
    angle = float(np.linalg.norm(vector))
    cross = np.array([[0, -vector[2], vector[1]], [vector[2], 0, -vector[0]], [-vector[1], vector[0], 0]])
    if angle < 1e-8:  # where 1 - cos would cancel; the next term is below float64
        return np.asarray(np.eye(3) + cross + cross @ cross / 2)
    turn = np.sin(angle) / angle * cross + (1 - np.cos(angle)) / angle**2 * (cross @ cross)
    return np.asarray(np.eye(3) + turn)


def rotation_vector(matrix: Array) -> npt.NDArray[np.float64]:
    """(3,) of a rotation matrix: axis times angle, the angle at most pi.

    By way of the quaternion, whose largest component divides the others: near pi, where the
    antisymmetric part vanishes, it stays exact.
    """
    R = np.asarray(matrix, np.float64)
    trace = float(np.trace(R))
    largest = int(np.argmax([R[0, 0], R[1, 1], R[2, 2], trace]))
    if largest == 3:
        quaternion = np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1], 1 + trace])
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        quaternion = np.empty(4)
        quaternion[i] = 1 - trace + 2 * R[i, i]
        quaternion[j] = R[j, i] + R[i, j]
        quaternion[k] = R[k, i] + R[i, k]
        quaternion[3] = R[k, j] - R[j, k]
    if quaternion[3] < 0:
        quaternion = -quaternion
    sine = float(np.linalg.norm(quaternion[:3]))
    if sine == 0.0:
        return np.zeros(3)
    return np.asarray(quaternion[:3] * (2 * np.arctan2(sine, quaternion[3]) / sine))
