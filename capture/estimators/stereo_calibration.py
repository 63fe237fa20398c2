"""Where the two cameras of a stereo pair stand and what their lenses do, from whoever knows it.

Takes it from what the cameras and the rig file say, or from a calibration file as OpenCV's
stereoCalibrate makes it. Promises a pair whose numbers are finite and fit the pictures that will come,
or a CalibrationError that says what is missing and where to put it. Knows no images.
"""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from capture.frames import CameraInfo, Matrix4, StreamInfo
from capture.given_files import read_small

Array = npt.NDArray[np.float64]
InputKey = tuple[str, str]

# How many numbers OpenCV takes for its lens distortion.
_DISTORTION_SIZES = (4, 5, 8, 12, 14)
# Below, the cameras stand in one place; above, somebody measured in millimetres.
# A calibration is some dozens of numbers; other programs put their pictures' corners beside them.
_FILE_BYTES_MAX = 16 << 20
_BASELINE_MIN_M, _BASELINE_MAX_M = 0.001, 20.0
_LARGEST = 1e9  # what no number here comes near; far beyond it products overflow


# All that json, zipfile and NumPy raise for a file that is damaged or was made to do harm.
_UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    EOFError,
    ArithmeticError,
    SyntaxError,
    MemoryError,
    RecursionError,
    NotImplementedError,
    KeyError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)


class CalibrationError(Exception):
    """What is wrong with a calibration; the estimator makes an EstimatorError with its name of it."""


@dataclass(frozen=True, slots=True)
class Eye:
    """One camera of the pair: which stream, the size of its pictures, and its lens in their pixels."""

    key: InputKey
    stream: StreamInfo
    size: tuple[int, int]
    matrix: Array
    distortion: Array

    def resized(self, size: tuple[int, int]) -> Eye:
        """The same eye with pictures of another size. The middle of the first pixel is at 0, 0."""
        matrix = self.matrix.copy()
        for axis in (0, 1):
            factor = size[axis] / self.size[axis]
            matrix[axis] *= factor
            matrix[axis, 2] = (self.matrix[axis, 2] + 0.5) * factor - 0.5
        return replace(self, size=size, matrix=matrix)

    def fitted(self) -> Eye:
        """The eye at the size of its stream, where that differs from the one it was calibrated at."""
        size = (self.stream.width, self.stream.height)
        if min(*size, *self.size) <= 0:
            raise CalibrationError(f"camera {self.key[0]} does not say how large its pictures are")
        if abs(size[0] * self.size[1] - size[1] * self.size[0]) > max(size):
            raise CalibrationError(
                f"camera {self.key[0]} is calibrated at {self.size[0]}x{self.size[1]} but delivers "
                f"{size[0]}x{size[1]}, another shape; calibrate at that size"
            )
        return self if size == self.size else self.resized(size)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two eyes and where they stand: x_right = rotation @ x_left + translation, in metres."""

    left: Eye
    right: Eye
    rotation: Array
    translation: Array

    def swapped(self) -> Pair:
        """The same pair with the other eye as the left one."""
        return Pair(self.right, self.left, self.rotation.T, -self.rotation.T @ self.translation)


def pair_from_cameras(
    cameras: Mapping[str, CameraInfo], keys: tuple[InputKey, InputKey], streams: tuple[StreamInfo, ...]
) -> Pair:
    """The pair as the cameras and the rig file describe it. Raises CalibrationError."""
    left, right = (_eye_from_stream(key, stream) for key, stream in zip(keys, streams, strict=True))
    if keys[0][0] == keys[1][0]:
        if all(stream.camera_from_stream is None for stream in streams):
            raise CalibrationError(
                f"camera {keys[0][0]} does not say how far apart {keys[0][1]} and {keys[1][1]} are; "
                "set calibration"
            )
        common_from_eye = [
            _pose(key, stream.camera_from_stream) for key, stream in zip(keys, streams, strict=True)
        ]
    else:
        common_from_eye = []
        for key, stream in zip(keys, streams, strict=True):
            pose = cameras[key[0]].world_from_camera
            if pose is None:
                raise CalibrationError(
                    f"it is not known where camera {key[0]} stands; set its world_from_camera in the rig "
                    "file, or calibration"
                )
            common_from_eye.append(_pose(key, pose) @ _pose(key, stream.camera_from_stream))
    try:
        right_from_left = np.linalg.inv(common_from_eye[1]) @ common_from_eye[0]
    except np.linalg.LinAlgError:
        raise CalibrationError(f"the pose of camera {keys[1][0]} is not a rotation and a place") from None
    return _checked(Pair(left, right, right_from_left[:3, :3], right_from_left[:3, 3]))


def _pose(key: InputKey, pose: Matrix4 | None) -> Array:
    matrix = matrix_of(pose)
    if not _is_plausible(matrix):
        raise CalibrationError(f"the pose of camera {key[0]} is not a rotation and a place")
    return matrix


def _eye_from_stream(key: InputKey, stream: StreamInfo) -> Eye:
    lens = stream.intrinsics
    if lens is None:
        raise CalibrationError(
            f"camera {key[0]} does not know its intrinsics for {key[1]}; set calibration to a .npz or .json "
            "file with what OpenCV's stereoCalibrate gives"
        )
    from capture.lenses import lens_of  # which loads OpenCV

    try:
        distortion = lens_of(lens).opencv_coefficients
    except ValueError:
        distortion = None
    if distortion is None:
        raise CalibrationError(
            f"the lens model {lens.model!r} with {len(lens.coefficients)} coefficients of camera {key[0]} is"
            " not supported; set calibration"
        )
    matrix = np.array([[lens.fx, 0.0, lens.cx], [0.0, lens.fy, lens.cy], [0.0, 0.0, 1.0]])
    return Eye(key, stream, (lens.width, lens.height), matrix, distortion).fitted()


def pair_from_file(path: Path, keys: tuple[InputKey, InputKey], streams: tuple[StreamInfo, ...]) -> Pair:
    """The pair as a .npz or .json file has it: K1, D1, K2, D2, R, T and, where it differs, image_size.

    Number 1 is the first key. Without image_size the file holds for the pictures as they come. Raises
    CalibrationError.
    """
    values = _load(path)
    eyes = []
    for number, key, stream in zip((1, 2), keys, streams, strict=True):
        distortion = _numbers(path, values, f"D{number}", None)
        if distortion.size not in _DISTORTION_SIZES:
            raise CalibrationError(
                f"the calibration {path} has a D{number} of {distortion.size} numbers; "
                f"one of {_DISTORTION_SIZES} is right"
            )
        size = (stream.width, stream.height)
        if "image_size" in values:
            width, height = _numbers(path, values, "image_size", (2,))
            size = (int(width), int(height))
        eyes.append(Eye(key, stream, size, _numbers(path, values, f"K{number}", (3, 3)), distortion).fitted())
    rotation, translation = _numbers(path, values, "R", (3, 3)), _numbers(path, values, "T", (3,))
    return _checked(Pair(eyes[0], eyes[1], rotation, translation))


def _load(path: Path) -> dict[str, Array]:
    try:
        packed = read_small(path, _FILE_BYTES_MAX)
        if path.suffix == ".json":
            content = json.loads(packed)
            values = {name: np.asarray(value, float) for name, value in content.items()}
        else:
            _refuse_bomb(packed)
            with np.load(io.BytesIO(packed), allow_pickle=False) as archive:
                values = {name: np.asarray(archive[name], float) for name in archive.files}
    except _UNREADABLE as error:
        raise CalibrationError(
            f"the calibration {path} cannot be read: {' '.join(str(error).split())}"
        ) from error
    # OpenCV's own sample programs call the camera matrices M1 and M2.
    return {{"M1": "K1", "M2": "K2"}.get(name, name): value for name, value in values.items()}


def _refuse_bomb(packed: bytes) -> None:
    """A few kilobytes can be gigabytes of zeros, unpacked."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        if sum(member.file_size for member in archive.infolist()) > _FILE_BYTES_MAX:
            raise ValueError(f"it holds more than {_FILE_BYTES_MAX >> 20} MB of numbers")


def _numbers(path: Path, values: Mapping[str, Array], name: str, shape: tuple[int, ...] | None) -> Array:
    value = values.get(name)
    if value is None:
        raise CalibrationError(f"the calibration {path} has no {name}; it needs K1, D1, K2, D2, R and T")
    wanted = (value.size,) if shape is None else shape
    if value.size != math.prod(wanted):
        raise CalibrationError(f"the calibration {path} has a {name} of {value.shape}, not {wanted} numbers")
    if not _is_plausible(value):
        raise CalibrationError(f"the calibration {path} has a {name} with numbers that no calibration has")
    return value.reshape(wanted)


def _is_plausible(numbers: Array) -> bool:
    return bool((np.abs(numbers) <= _LARGEST).all())  # which NaN is not


def _checked(pair: Pair) -> Pair:
    rotation, names = pair.rotation, f"{pair.left.key[0]} and {pair.right.key[0]}"
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0.0:
        raise CalibrationError(f"between {names} there is no rotation: check R, or world_from_camera")
    baseline_m = float(np.linalg.norm(pair.translation))
    if not _BASELINE_MIN_M <= baseline_m <= _BASELINE_MAX_M:
        raise CalibrationError(
            f"{names} stand {baseline_m:g} m apart, from {_BASELINE_MIN_M} to {_BASELINE_MAX_M} m can be; "
            "poses and T are in metres"
        )
    for eye in (pair.left, pair.right):
        if not (eye.matrix[0, 0] > 0.0 and eye.matrix[1, 1] > 0.0):
            raise CalibrationError(f"camera {eye.key[0]} has a focal length that is not positive")
    return pair


def matrix_of(pose: Matrix4 | None) -> Array:
    """A pose as an array; None is the identity."""
    return np.eye(4) if pose is None else np.array(pose, float)
