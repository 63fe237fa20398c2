"""The frames of bodycompress files: from what a caller has to msgpack bytes and back; no files.

A frame is a map. Point arrays stand in it quantised, put into the file's vertex order and differenced along
the points, as `qd_<name>: [whole numbers, steps per unit]`; a camera as a map of arrays; other entries as
they were given. In memory a frame has `vertices` and `joints` in millimetres and `vertex_uncertainties`
and `joint_uncertainties` in metres, with any leading axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.errors import CodecError, FormatError
from codec.mesh._grid import QUANTISED
from codec.mesh.camera import encode_camera
from codec.mesh.msgpack_arrays import MAX_OBJECT_BYTES, pack
from codec.mesh.vertex_order import VertexOrder, vertex_order

# Below this many steps, differences fit 32 bits whatever they are; beyond, they are looked at one by one.
_SURE_STEPS = 2.0**30
# The stock reader sums in 64 bits, but every stored difference has 32.
_DIFFERENCE_LIMIT = 2**31
# A hostile file could store values in one byte each, and they are summed in eight.
_MAX_POINT_VALUES = MAX_OBJECT_BYTES // 4
_REORDERED = ("vertices", "vertex_uncertainties")
REJECTED = "rejected_people"

AS_GIVEN = vertex_order(None)

Frame = dict[str, Any]
Array = npt.NDArray[Any]


def encode_frame(
    frame: Mapping[str, Any],
    *,
    quantization_mm: float,
    order: VertexOrder = AS_GIVEN,
    narrow: bool = False,
) -> tuple[bytes, int]:
    """The frame as bytes, and how many people could not be kept.

    Point arrays may have any leading axes, the same for all of them. With exactly one, which is then
    that of people, a person with a value that is not finite, or too far away for 32 bits, is left out
    of every point array; `rejected_people` in the frame then lists their places in the order given, so
    that other entries can still be told apart. Without one there is nobody to leave out.

    `narrow` stores differences in 16 bits where all of them fit. Raises CodecError for a frame that is
    wrong as a whole; it names the key.
    """
    arrays = _check_arrays(frame)
    per_mm = 1.0 / quantization_mm
    keep, sure = _find_keepable(arrays, per_mm)
    rejected = np.flatnonzero(~keep).tolist() if keep.ndim else []
    indices = _indices(arrays, order)
    stored: Frame = {}
    for key, value in frame.items():
        if key in arrays:
            axis, scale = QUANTISED[key]
            kept = arrays[key][keep] if rejected else arrays[key]
            steps = _steps(kept, per_mm * scale, np.int32 if sure else np.int64)
            if indices is not None and key in _REORDERED:
                steps = np.take(steps, indices, axis=axis)
            stored[f"qd_{key}"] = [_compact(_differences(steps, axis), narrow), per_mm * scale]
        elif key == "camera":
            stored[key] = encode_camera(value)
        elif key == REJECTED and rejected:
            stored[f"{REJECTED}_recorded"] = value
        else:
            stored[key] = value
    if rejected:
        stored[REJECTED] = rejected
    return pack(stored, what="the frame"), len(rejected)


def _check_arrays(frame: Mapping[str, Any]) -> dict[str, Array]:
    for key in frame:
        if key.startswith("qd_"):
            raise CodecError(f"the name {key} is taken by the file format; store it under another")
    arrays = {}
    for name, (axis, _) in QUANTISED.items():
        if name not in frame:
            continue
        try:
            array = np.asarray(frame[name])
        except (ValueError, TypeError) as error:
            raise CodecError(f"{name} is no array: {error}") from error
        wanted = "(..., points, 3)" if axis == -2 else "(..., points)"
        fits = array.ndim >= -axis and (axis == -1 or array.shape[-1] == 3)
        if array.dtype.kind not in "iuf" or not fits:
            raise CodecError(f"{name} must be numbers {wanted}, got {array.dtype} {array.shape}")
        if array.size > _MAX_POINT_VALUES:
            raise CodecError(f"{name} has {array.size} values, the most is {_MAX_POINT_VALUES}")
        arrays[name] = array if array.dtype == np.float32 else array.astype(np.float64)
    if len({_leading(name, array) for name, array in arrays.items()}) > 1:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise CodecError(f"the arrays of a frame are not of the same people: {shapes}")
    return arrays


def _leading(name: str, array: Array) -> tuple[int, ...]:
    return array.shape[: QUANTISED[name][0]]


def _indices(arrays: Mapping[str, Array], order: VertexOrder) -> npt.NDArray[np.intp] | None:
    counts = {name: arrays[name].shape[QUANTISED[name][0]] for name in _REORDERED if name in arrays}
    try:
        indices = order.stored_from_given(counts.get("vertices"))
    except FormatError as error:
        raise CodecError(f"vertices: {error}") from error
    for name, count in counts.items():
        if indices is not None and count != len(indices):
            raise CodecError(f"{name}: the vertex order is one of {len(indices)} points, not {count}")
    return indices


def _find_keepable(arrays: Mapping[str, Array], per_mm: float) -> tuple[npt.NDArray[np.bool_], bool]:
    """Who can be stored, (people,), or () where there is no axis of people; whether 32 bits hold all."""
    if not arrays:
        return np.array(True), True
    sure: npt.NDArray[np.bool_] | np.bool_ = np.True_
    for name, array in arrays.items():
        limit = _SURE_STEPS / (per_mm * QUANTISED[name][1])
        # Comparing also finds NaN, which is below nothing.
        sure = sure & (np.abs(array).max(axis=_axes_of_one(name, array), initial=0) < limit)
    sure = np.asarray(sure)
    if sure.all():
        return sure, True
    keep = np.asarray(np.True_)
    for name, array in arrays.items():
        storable = _storable(array, per_mm, name)
        if not storable.all() and not storable.ndim:
            raise CodecError(
                f"{name} has values that are not finite or too large for the grid of {1 / per_mm:g} mm"
            )
        keep = np.asarray(keep & storable)
    return keep, False


def _axes_of_one(name: str, array: Array) -> tuple[int, ...]:
    """Over which axes one person's values lie: all but the first, or all where people have no axis."""
    has_people = array.ndim == 1 - QUANTISED[name][0]
    return tuple(range(1 if has_people else 0, array.ndim))


def _storable(array: Array, per_mm: float, name: str) -> npt.NDArray[np.bool_]:
    axis, scale = QUANTISED[name]
    axes = _axes_of_one(name, array)
    with np.errstate(over="ignore"):
        sane = np.abs(np.multiply(array, per_mm * scale, dtype=np.float64)) < 2.0**62
    differences = _differences(_steps(np.where(sane, array, 0), per_mm * scale, np.int64), axis)
    small = (differences < _DIFFERENCE_LIMIT) & (differences > -_DIFFERENCE_LIMIT)
    return np.asarray(sane.all(axis=axes) & small.all(axis=axes))


def _steps(array: Array, steps_per_unit: float, dtype: npt.DTypeLike) -> Array:
    # In float64, so that float32 coordinates do not round twice.
    scaled = np.multiply(array, steps_per_unit, dtype=np.float64)
    return np.rint(scaled, out=scaled).astype(dtype)


def _differences(steps: Array, axis: int) -> Array:
    # By hand: np.diff with prepend= takes ten times as long.
    along = np.moveaxis(steps, axis, 0)
    differences = np.empty_like(steps)
    out = np.moveaxis(differences, axis, 0)
    out[:1] = along[:1]
    np.subtract(along[1:], along[:-1], out=out[1:])
    return differences


def _compact(differences: Array, narrow: bool) -> Array:
    if narrow and differences.size and differences.min() >= -(2**15) and differences.max() < 2**15:
        return differences.astype(np.int16)
    return differences.astype(np.int32, copy=False)


def decode_frame(stored: object, order: VertexOrder = AS_GIVEN) -> Frame:
    """A frame as it was given to the writer, to the grid. Raises FormatError."""
    if not isinstance(stored, dict):
        raise FormatError(f"a frame is a {type(stored).__name__}, not a map")
    frame: Frame = {}
    for key, value in stored.items():
        name = key[3:] if isinstance(key, str) and key.startswith("qd_") else ""
        if name in QUANTISED:
            frame[name] = _dequantise(value, name)
        else:
            frame[key] = value
    present = [name for name in _REORDERED if f"qd_{name}" in stored]
    points = frame["vertices"].shape[-2] if "vertices" in present else None
    indices = order.given_from_stored(points)
    for name in present:
        if indices is not None:
            frame[name] = _reordered(frame[name], indices, name)
    return frame


def steps_per_mm(stored: object) -> list[float]:
    """The grids on which a stored frame's arrays lie; a well-formed frame has one."""
    found: list[float] = []
    for name, (_, scale) in QUANTISED.items():
        pair = stored.get(f"qd_{name}") if isinstance(stored, dict) else None
        if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[1], int | float | np.number):
            found.append(float(pair[1]) / scale)
    return found


def _reordered(array: Array, indices: npt.NDArray[np.intp], name: str) -> Array:
    axis = QUANTISED[name][0]
    if array.shape[axis] != len(indices):
        raise FormatError(f"{name} has {array.shape[axis]} points, the vertex order {len(indices)}")
    return np.take(array, indices, axis=axis)


def _dequantise(pair: object, name: str) -> Array:
    axis = QUANTISED[name][0]
    if not (isinstance(pair, list) and len(pair) == 2):
        raise FormatError(f"{name} is not an array with its scale")
    steps, steps_per_unit = pair
    if not isinstance(steps, np.ndarray) or steps.dtype.kind not in "iu" or steps.ndim < -axis:
        raise FormatError(f"{name} is not an array of whole numbers")
    if steps.size > _MAX_POINT_VALUES:
        raise FormatError(f"{name} has {steps.size} values, the most is {_MAX_POINT_VALUES}")
    number = isinstance(steps_per_unit, int | float | np.integer | np.floating)
    if not (number and 0.0 < steps_per_unit < 2.0**63):
        raise FormatError(f"{name} has the scale {str(steps_per_unit)[:40]}")
    summed = np.cumsum(steps, axis=axis, dtype=np.int64)
    with np.errstate(over="ignore"):
        values = summed / float(steps_per_unit)
        # As the stock reader has it: float32 wherever it holds the grid exactly.
        exact = summed.size == 0 or max(int(summed.max()), -int(summed.min())) <= 2**24
        return values.astype(np.float32) if exact else values
