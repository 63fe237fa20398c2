"""Files of body models: SMPL's of version 1.0 and 1.1 as .pkl, and the same as .npz, named as by smplx.

The files are the user's; none ships with us. A file is opened as data (see `unpickling` and `archives`), and
every array in it is checked before a body is made of it, so that an error names the file, the array and what
was expected rather than that a fit goes astray.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.body._files import opened
from capture.body.anatomy import PARENTS
from capture.body.archives import read_arrays
from capture.body.kinematics import JOINT_COUNT, Float64
from capture.body.model import BodyModel
from capture.body.unpickling import SparseColumns, Unopened, load_pickle
from codec.errors import ConfigError, FormatError

GENDERS: Final = ("neutral", "female", "male")

# How files for a gender are called; the first that is there is taken. SMPL's own names come in large and in
# small letters.
_NAMES: Final = (
    "SMPL_{long}.npz",
    "SMPL_{long}.pkl",
    "basicmodel_{short}_lbs_10_207_0_v1.1.0.pkl",
    "basicModel_{short}_lbs_10_207_0_v1.0.0.pkl",
)
# Where the archives and libraries that bring them keep them, below the folder they are unpacked into.
_FOLDERS: Final = (".", "smpl", "models", "smpl/models")

_HEAD_TOP: Final = 411  # SMPL's
_SMPL_VERTICES: Final = 6890
_POSE_NUMBERS: Final = 9 * (JOINT_COUNT - 1)
_MAX_VERTICES: Final = 1 << 17
_MAX_SHAPES: Final = 1000
_KEYS: Final = (
    *("v_template", "f", "kintree_table", "weights", "J_regressor", "shapedirs", "posedirs"),
    *("bs_type", "bs_style"),
)
_KINDS: Final = {"bs_type": "lrotmin", "bs_style": "lbs"}
_SIZES_M: Final = (0.3, 3.0)
_MAX_NUMBER: Final = 1000
_TOLERANCE: Final = 0.01

Array = npt.NDArray[Any]


def read_body_model(path: str | os.PathLike[str], gender: str = "neutral") -> BodyModel:
    """The body model in a file, or in the file for `gender` ("neutral", "female", "male") in a folder.

    A single file is taken whatever its gender. The model's name is the file's, without its ending.

    Raises ConfigError where the folder holds no such model, FormatError where the file is none, and
    StorageError where it cannot be read.
    """
    path = Path(path)
    if gender not in GENDERS:
        raise ConfigError(f"gender {gender!r} does not exist; there are {', '.join(GENDERS)}")
    file = _file_for(path, gender) if path.is_dir() else path
    with opened(file) as (opening, _):
        is_archive = opening.read(4) == b"PK\x03\x04"
    content = read_arrays(file, _KEYS) if is_archive else load_pickle(file)
    if not isinstance(content, dict):
        raise FormatError(f"{file} is no body model: it holds a {type(content).__name__}, not arrays by name")
    return _Checked(file, content).body()


def _file_for(folder: Path, gender: str) -> Path:
    short = gender if gender == "neutral" else gender[0]
    wanted = [name.format(long=gender.upper(), short=short) for name in _NAMES]
    seen = []
    for inner in _FOLDERS:
        try:
            files = {file.name.lower(): file for file in (folder / inner).iterdir()}
        except OSError:
            continue
        for name in wanted:
            if name.lower() in files:
                return files[name.lower()]
        seen += [file.name for file in files.values() if re.search(r"\.(pkl|npz)$", file.name.lower())]
    there = f"there is {', '.join(sorted(seen)[:6])}" if seen else "there is no .pkl and no .npz"
    raise ConfigError(f"{folder} holds no {gender} model: {' or '.join(wanted)} is looked for, {there}")


class _Checked:
    """The arrays of one file, each held against what a model of SMPL has."""

    def __init__(self, file: Path, content: Mapping[Any, object]) -> None:
        self._file = file
        self._content = content

    def body(self) -> BodyModel:
        self._check_kind()
        template = self._template()
        count = len(template)
        parents = self._parents()
        regressor = self._regressor(count)
        shapes = self._shapes(count)
        rows = np.ascontiguousarray(shapes.transpose(2, 1, 0), dtype=np.float32)
        weights = np.ascontiguousarray(self._weights(count).T, dtype=np.float32)
        return BodyModel(
            name=self._file.stem,
            template_vertices=template.astype(np.float32),
            faces=self._faces(count),
            joints=regressor @ template,
            parents=parents,
            # Views of the layout that skinning wants: nothing is kept twice.
            weights=weights.T,
            shape_directions=rows.transpose(2, 1, 0),
            joint_shape_directions=np.einsum("jv,vcb->jcb", regressor, shapes, optimize=True),
            pose_directions=self._pose_directions(count),
            head_top_vertex=_HEAD_TOP if count == _SMPL_VERTICES else int(np.argmax(template[:, 1])),
        )

    def _wrong(self, key: str, what: str) -> FormatError:
        return FormatError(f"{self._file} is no body model that can be used: {key} {what}")

    def _array(self, key: str, expected: str, shape: tuple[int | None, ...]) -> Array:
        """The array `key` of this shape, None being any size, of finite numbers."""
        value = self._content.get(key)
        if isinstance(value, SparseColumns) and value.shape == shape:
            try:
                value = value.dense()
            except FormatError as error:
                raise self._wrong(key, f"is {error}") from None
        if value is None:
            raise self._wrong(key, f"is missing; {expected} is expected")
        if isinstance(value, Unopened):
            raise self._wrong(key, f"is not opened, as {value.why}; {expected} is expected")
        if isinstance(value, SparseColumns):
            raise self._wrong(key, f"is a sparse matrix {value.shape}; {expected} is expected")
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
            told = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
            raise self._wrong(key, f"is a {told}; {expected} is expected")
        fits = len(value.shape) == len(shape) and all(
            size in (None, is_size) for size, is_size in zip(shape, value.shape, strict=True)
        )
        if not fits:
            raise self._wrong(key, f"has the shape {value.shape}; {expected} is expected")
        if not np.isfinite(value).all():
            raise self._wrong(key, "holds numbers that are not finite; the file is damaged")
        if value.dtype.kind == "f" and value.size and np.abs(value).max() > _MAX_NUMBER:
            raise self._wrong(key, f"holds numbers above {_MAX_NUMBER}; the file is damaged or not in metres")
        return value

    def _check_kind(self) -> None:
        for key, right in _KINDS.items():
            value = self._content.get(key, right)
            if isinstance(value, np.ndarray) and value.size == 1:
                value = value.item()
            if value != right:
                told = repr(value[:40]) if isinstance(value, str) else f"a {type(value).__name__}"
                raise self._wrong(key, f"is {told}; SMPL's {right!r} is expected")

    def _template(self) -> Float64:
        template = self._array("v_template", "vertices (V, 3) in metres", (None, 3)).astype(np.float64)
        if not 3 <= len(template) <= _MAX_VERTICES:
            raise self._wrong("v_template", f"has {len(template)} vertices; SMPL has {_SMPL_VERTICES}")
        size_m = float(np.ptp(template, axis=0).max())
        if not _SIZES_M[0] <= size_m <= _SIZES_M[1]:
            raise self._wrong("v_template", f"spans {size_m:g} m; a person in metres is expected")
        return template

    def _faces(self, count: int) -> Array:
        faces = self._array("f", "triangles (F, 3) of whole numbers", (None, 3))
        if faces.dtype.kind not in "iu":
            raise self._wrong("f", f"is of {faces.dtype}; whole numbers are expected")
        if faces.size and not (faces.min() >= 0 and faces.max() < count):
            raise self._wrong("f", f"names vertices outside 0..{count - 1}")
        return faces.astype(np.int32)

    def _parents(self) -> tuple[int, ...]:
        tree = self._array("kintree_table", f"a tree (2, {JOINT_COUNT})", (2, None)).astype(np.int64)
        if tree.shape[1] != JOINT_COUNT:
            raise self._wrong(
                "kintree_table", f"has {tree.shape[1]} joints; only bodies with SMPL's {JOINT_COUNT} are used"
            )
        # The root's parent is -1, in unsigned numbers the largest there is.
        if tuple(tree[0, 1:]) != PARENTS[1:] or not np.array_equal(tree[1], np.arange(JOINT_COUNT)):
            raise self._wrong("kintree_table", "is another tree than SMPL's")
        return PARENTS

    def _weights(self, count: int) -> Array:
        expected = f"weights ({count}, {JOINT_COUNT})"
        weights = self._array("weights", expected, (count, JOINT_COUNT))
        totals = weights.sum(axis=1)
        worst = int(np.argmax(np.abs(totals - 1)))
        if weights.min() < -_TOLERANCE or abs(totals[worst] - 1) > _TOLERANCE:
            raise self._wrong(
                "weights", f"of vertex {worst} sum to {totals[worst]:g}; 1 and none below 0 are expected"
            )
        return weights

    def _regressor(self, count: int) -> Float64:
        expected = f"a matrix ({JOINT_COUNT}, {count}) that finds joints among vertices"
        regressor = self._array("J_regressor", expected, (JOINT_COUNT, count)).astype(np.float64)
        totals = regressor.sum(axis=1)
        worst = int(np.argmax(np.abs(totals - 1)))
        if abs(totals[worst] - 1) > _TOLERANCE:
            raise self._wrong("J_regressor", f"has a row {worst} that sums to {totals[worst]:g}, not to 1")
        return regressor

    def _shapes(self, count: int) -> Float64:
        expected = f"shape directions ({count}, 3, B)"
        shapes = self._array("shapedirs", expected, (count, 3, None)).astype(np.float64)
        if shapes.shape[2] > _MAX_SHAPES:
            raise self._wrong("shapedirs", f"has {shapes.shape[2]} directions; SMPL has 10 or 300")
        return shapes

    def _pose_directions(self, count: int) -> npt.NDArray[np.float32] | None:
        """(207, 3 * V), or None where the file brings none."""
        if self._content.get("posedirs") is None:
            return None
        expected = f"pose directions ({count}, 3, {_POSE_NUMBERS})"
        directions = self._array("posedirs", expected, (count, 3, _POSE_NUMBERS))
        rows = np.ascontiguousarray(directions.transpose(2, 1, 0), dtype=np.float32)
        return rows.reshape(_POSE_NUMBERS, 3 * count)
