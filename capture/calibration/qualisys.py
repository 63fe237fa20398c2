"""Calibration files of Qualisys Track Manager (.qca.txt, XML): lenses and places of its video cameras.

What stands in them: focal lengths and the principal point in 64ths of a pixel, OpenCV's k1 k2 p1 p2, the
camera's place in millimetres, and a rotation whose rows are the camera's axes in the world: x to the right, y
up, and z backwards, away from what it looks at. Promises metres, OpenCV's camera axes, and a clear error for
a file that is something else.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from capture.calibration import CameraCalibration, matrix4
from capture.frames import Intrinsics, Matrix4
from codec.errors import CalibrationError

_SUBPIXELS: Final = 64.0
_LARGEST_BYTES: Final = 4 << 20
_ENTITIES = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)


def read_qualisys(path: Path) -> dict[str, CameraCalibration]:
    """Every camera of the file by its serial, places in metres. Raises CalibrationError."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise CalibrationError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > _LARGEST_BYTES or _ENTITIES.search(data):
        raise CalibrationError(f"{path} is no Qualisys calibration: too large, or with entities of its own")
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise CalibrationError(f"{path} is not XML as Qualisys writes it: {error}") from error
    cameras = root.findall("./cameras/camera")
    if root.tag != "calibration" or not cameras:
        raise CalibrationError(f"{path} is no Qualisys calibration: it has no <calibration> with <cameras>")
    found: dict[str, CameraCalibration] = {}
    for camera in cameras:
        serial = camera.get("serial", "")
        if not serial or serial in found:
            raise CalibrationError(f"{path}: a camera has no serial, or two have the serial {serial!r}")
        found[serial] = CameraCalibration(
            _lens(path, serial, _child(path, serial, camera, "intrinsic"), camera),
            _place(path, serial, _child(path, serial, camera, "transform")),
        )
    return found


def _child(path: Path, serial: str, camera: ElementTree.Element, tag: str) -> ElementTree.Element:
    child = camera.find(tag)
    if child is None:
        raise CalibrationError(f"{path}: camera {serial} has no <{tag}>")
    return child


def _number(path: Path, serial: str, element: ElementTree.Element, name: str) -> float:
    try:
        value = float(element.get(name, ""))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise CalibrationError(
            f"{path}: camera {serial} has {name}={element.get(name)!r} in <{element.tag}>, not a number"
        )
    return value


def _lens(path: Path, serial: str, lens: ElementTree.Element, camera: ElementTree.Element) -> Intrinsics:
    view = _child(path, serial, camera, "fov_video_max")
    width, height = (
        round(_number(path, serial, view, high) - _number(path, serial, view, low)) + 1
        for low, high in (("left", "right"), ("top", "bottom"))
    )
    fx, fy, cx, cy = (
        _number(path, serial, lens, name) / _SUBPIXELS
        for name in ("focalLengthU", "focalLengthV", "centerPointU", "centerPointV")
    )
    if not (0 < width <= 65536 and 0 < height <= 65536 and fx > 0 and fy > 0):
        raise CalibrationError(f"{path}: camera {serial} has no picture size or focal length above 0")
    # The file spells "tangential" in a way of its own.
    names = ("radialDistortion1", "radialDistortion2", "tangentalDistortion1", "tangentalDistortion2")
    coefficients = tuple(_number(path, serial, lens, name) for name in names)
    return Intrinsics(width, height, fx, fy, cx, cy, "brown_conrady", (*coefficients, 0.0))


def _place(path: Path, serial: str, transform: ElementTree.Element) -> Matrix4:
    axes = np.array(
        [[_number(path, serial, transform, f"r{i}{j}") for j in (1, 2, 3)] for i in (1, 2, 3)], np.float64
    )
    if not np.allclose(axes @ axes.T, np.eye(3), atol=1e-2) or np.linalg.det(axes) < 0:
        raise CalibrationError(f"{path}: the rotation of camera {serial} is none")
    pose: npt.NDArray[np.float64] = np.eye(4)
    pose[:3, :3] = axes.T @ np.diag([1.0, -1.0, -1.0])
    pose[:3, 3] = [_number(path, serial, transform, axis) / 1000.0 for axis in "xyz"]
    return matrix4(pose)
