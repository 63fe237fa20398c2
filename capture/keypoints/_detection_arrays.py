"""Detections in NumPy files, whoever wrote them, as one array each of points and confidences.

Read are, without ever running anything that stands in them:
    est_joints.npz    SMPLify's: `est_joints` (rows, 14, pictures) or (rows, 14), LSP's order, of three rows
                      or more: x, y, confidence and what follows
    *.npy             (2 or 3, 14) or (2 or 3, 14, pictures), rows x, y and perhaps confidence, CPM's order
    *.npz             `keypoints` or `positions_2d`: (pictures, [people,] joints, 2 or 3), or Detectron's
                      (pictures, [people,] 4, joints) with rows x, y, logit, probability; also the arrays of
                      objects that Detectron's inference and VideoPose3D write (`_object_arrays`)
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np
import numpy.typing as npt

from capture.keypoints._object_arrays import detections_in
from capture.keypoints.joint_sets import JOINT_SETS, Float64, joint_set_of_count
from codec.errors import ConfigError, NotOurFileError, StorageError

_LARGEST_BYTES: Final = 1 << 30
_SMPLIFY_KEY: Final = "est_joints"
_KEYS: Final = ("keypoints", "positions_2d")
_BROKEN: Final = (
    *(ValueError, KeyError, EOFError, MemoryError, NotImplementedError, RuntimeError, TypeError),
    *(zipfile.BadZipFile, zlib.error, struct.error, SyntaxError, UnicodeError),
)


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """points (pictures, people, joints, 2) and confidences (pictures, people, joints), of one joint set.

    Where a file has no confidences they are 1. Somebody who is not there has NaN or confidence 0.
    """

    joint_set: str
    points_px: Float64
    confidences: Float64

    def __len__(self) -> int:
        return len(self.points_px)


def read_detections(path: Path, *, joint_set: str | None = None) -> Detections:
    """A file of the kinds above. `joint_set` overrules what the layout says.

    Raises StorageError where it cannot be read, NotOurFileError for one of another kind or a pickled one, and
    ConfigError where nobody says which joints it has.
    """
    key, array = _array_in(path)
    if array.dtype.kind not in "fiu":
        raise NotOurFileError(f"{path}: {key or 'its array'} holds {array.dtype}, not numbers")
    values = array.astype(np.float64)
    if key == _SMPLIFY_KEY:
        return _in_rows(path, values, joint_set or "lsp14", least_rows=3)
    if not key:
        return _in_rows(path, values, joint_set or "cpm14", least_rows=2)
    return _by_picture(path, key, values, joint_set)


def _array_in(path: Path) -> tuple[str, npt.NDArray[Any]]:
    """The array of a file and its name; "" in a `.npy`."""
    try:
        # Our own file object: given a name, numpy leaves a damaged archive open.
        with path.open("rb") as file:
            if path.stat().st_size > _LARGEST_BYTES:
                raise NotOurFileError(f"{path} is larger than 1 GiB, which no file of detections is")
            if zipfile.is_zipfile(file):
                return _archived(path, file)
            file.seek(0)
            return "", np.load(file, allow_pickle=False)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    except _BROKEN as error:
        if "allow_pickle" in str(error) or "Object arrays" in str(error):
            raise NotOurFileError(
                f"{path} holds Python objects, which could run a program when they are read, and are not."
                " Where you trust it, make a plain one: with numpy.load(FILE, allow_pickle=True), then"
                " numpy.savez(NEW, keypoints=ARRAY) with one array (pictures, people, joints, 3) of x, y and"
                " confidence, NaN for nobody"
            ) from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise NotOurFileError(f"{path} is no NumPy file, or a damaged one: {reason}") from error


def _archived(path: Path, file: BinaryIO) -> tuple[str, npt.NDArray[Any]]:
    with zipfile.ZipFile(file) as archive:
        large = [info.filename for info in archive.infolist() if info.file_size > _LARGEST_BYTES]
    if large:
        raise NotOurFileError(f"{path}: {large[0]} unpacks to more than 1 GiB")
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        key = next((key for key in (_SMPLIFY_KEY, *_KEYS) if key in arrays.files), None)
        if key is None:
            known, has = ", ".join((_SMPLIFY_KEY, *_KEYS)), ", ".join(arrays.files) or "nothing"
            raise NotOurFileError(f"{path} has none of the arrays {known}; it has {has}")
        if key in _KEYS and (objects := _objects(path, key, file)) is not None:
            return key, objects
        return key, arrays[key]


def _objects(path: Path, key: str, file: BinaryIO) -> npt.NDArray[Any] | None:
    """The array of that name where it is one of Python objects."""
    with zipfile.ZipFile(file) as archive:
        member = archive.getinfo(f"{key}.npy")
        with archive.open(member) as array:
            return detections_in(path, key, cast("BinaryIO", array), member.file_size)


def _in_rows(path: Path, values: Float64, name: str, *, least_rows: int) -> Detections:
    """(rows, joints[, pictures]) or (joints, rows[, pictures]); rows are x, y, confidence and others."""
    count = len(_known(name))
    if values.ndim == 2:
        values = values[:, :, np.newaxis]
    if values.ndim == 3 and values.shape[1] != count and values.shape[0] == count:
        values = values.swapaxes(0, 1)
    if values.ndim != 3 or values.shape[1] != count or values.shape[0] < least_rows:
        raise NotOurFileError(
            f"{path}: an array of shape {values.shape} is not ({least_rows} or more rows, {count} joints of"
            f" {name}, pictures)"
        )
    points = values[:2].transpose(2, 1, 0)
    trust = values[2].T if len(values) > 2 else np.ones(points.shape[:2])
    return Detections(name, points[:, np.newaxis], trust[:, np.newaxis])


def _by_picture(path: Path, key: str, values: Float64, name: str | None) -> Detections:
    """(pictures, [people,] joints, 2 or 3), or with Detectron's four rows."""
    counts = {len(_known(name))} if name else {len(each.joints) for each in JOINT_SETS.values()}
    if values.ndim == 3:
        values = values[:, np.newaxis]
    if values.ndim == 4 and values.shape[2] == 4 and values.shape[3] in counts:
        values = values[:, :, [0, 1, 3]].swapaxes(2, 3)
    if values.ndim != 4 or values.shape[3] not in (2, 3):
        raise NotOurFileError(
            f"{path}: {key} of shape {values.shape} is neither (pictures, people, joints, 2 or 3) nor"
            " (pictures, people, 4, joints)"
        )
    if name is None:
        by_count = joint_set_of_count(values.shape[2])
        name = by_count.name if by_count else None
    if name is None:
        raise ConfigError(f"{path}: {key} has {values.shape[2]} joints, as none of our joint sets has")
    if len(_known(name)) != values.shape[2]:
        raise ConfigError(f"{path}: {key} has {values.shape[2]} joints, and {name} has {len(_known(name))}")
    trust = values[..., 2] if values.shape[3] == 3 else np.ones(values.shape[:3])
    return Detections(name, values[..., :2], trust)


def _known(name: str) -> tuple[str, ...]:
    if name not in JOINT_SETS:
        raise ConfigError(f"there is no joint set {name!r}; there are {', '.join(JOINT_SETS)}")
    return JOINT_SETS[name].joints
