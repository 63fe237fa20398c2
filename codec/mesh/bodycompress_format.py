"""The layout of a bodycompress 0.3 file: header slot, metadata, frames; bytes and values, no files.

    header      one .xz stream in a slot of fixed size, the rest of the slot zero (xz calls that padding)
    metadata    one .xz stream
    data        .xz streams end to end: msgpack frames one after the other

A frame is a map. Point arrays stand in it quantised and differenced along the points, as
`qd_<name>: [int32 array, steps per unit]`; other entries stand as they were given. In memory a frame has
`vertices` and `joints` in millimetres and `vertex_uncertainties` and `joint_uncertainties` in metres.

Beyond what bodycompress writes, our header carries `data_end` (the file size that `length` speaks of) and
`closed`; the stock reader passes over both.
"""

from __future__ import annotations

import lzma
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.errors import CodecError, FormatError, NotOurFileError
from codec.mesh.msgpack_arrays import MAX_OBJECT_BYTES, ObjectStream, pack

XZ_MAGIC = b"\xfd7zXZ\x00"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

# One disk sector: rewritten in one piece, so that a power cut leaves the old slot or the new one.
HEADER_SLOT_BYTES = 512

_VERSION = (0, 3, 0)
_VERSION_KEY = "__bodycompress_version__"
# Quantised coordinates stay below this many steps, so that their differences fit 32 bits.
_MAX_STEPS = 2.0**30
# A hostile file could store them in one byte each, and they are summed in eight.
_MAX_POINT_VALUES = MAX_OBJECT_BYTES // 4
# name -> (axis of the points, steps of one unit in terms of steps per millimetre)
_QUANTISED = {
    "vertices": (-2, 1.0),
    "joints": (-2, 1.0),
    "vertex_uncertainties": (-1, 1000.0),
    "joint_uncertainties": (-1, 1000.0),
}

Frame = dict[str, Any]
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Header:
    """What the header says. None: this file does not say it (yet)."""

    length: int | None
    metadata_start: int | None
    data_start: int | None
    data_end: int | None = None
    closed: bool = True


def header_slot(header: Header) -> bytes:
    """The whole slot, as it stands at the beginning of the file."""
    fields = {
        _VERSION_KEY: _VERSION,
        "compression": "xz",
        "length": header.length,
        "metadata_start": header.metadata_start,
        "data_start": header.data_start,
        "vertex_order": None,
        "data_end": header.data_end,
        "closed": header.closed,
    }
    return lzma.compress(pack(fields, what="the header"), preset=0).ljust(HEADER_SLOT_BYTES, b"\0")


def parse_header(value: object) -> Header:
    """The header out of the first object of a file. Raises NotOurFileError or FormatError."""
    version = value.get(_VERSION_KEY) if isinstance(value, dict) else None
    if not isinstance(value, dict) or not (
        isinstance(version, list) and len(version) >= 2 and all(type(n) is int for n in version)
    ):
        raise NotOurFileError("no bodycompress header; files of bodycompress 0.1 have none and are not read")
    if tuple(version[:2]) not in ((0, 2), (0, 3)):
        raise NotOurFileError(f"bodycompress version {version[:3]} is not known; 0.2 and 0.3 are")
    if value.get("compression", "xz") != "xz":
        raise FormatError(f"compression {str(value['compression'])[:20]!r} is not read; write it again as xz")
    order = value.get("vertex_order")
    if order is not None:
        name = repr(order)[:20] if isinstance(order, str) else "of its own"
        raise FormatError(f"the vertex order {name} is not read; write the file again with vertex_order=None")
    data_start = _count(value, "data_start")
    return Header(
        length=_count(value, "length"),
        metadata_start=_count(value, "metadata_start"),
        data_start=data_start,
        data_end=_count(value, "data_end"),
        closed=value.get("closed", data_start is not None) is True,
    )


def _count(fields: Mapping[Any, Any], key: str) -> int | None:
    number = fields.get(key)
    if number is not None and not (type(number) is int and 0 <= number < 2**62):
        raise FormatError(f"the header says {key} {str(number)[:40]}")
    return number


def first_object(packed: bytes, *, what: str) -> object:
    """The first msgpack object in `packed`. Raises FormatError."""
    for value in ObjectStream().feed(packed):
        return value
    raise FormatError(f"{what} is cut short")


def encode_frame(frame: Mapping[str, Any], *, quantization_mm: float) -> tuple[bytes, int]:
    """The frame as bytes, and how many people could not be kept.

    A person with a value that is not finite, or too far away for 32 bits, is left out of every quantised
    array; `rejected_people` in the frame then lists their places in the order given, so that other
    entries can still be told apart. Raises CodecError for a frame that is wrong as a whole.
    """
    arrays = _check_arrays(frame)
    per_mm = 1.0 / quantization_mm
    keep = np.ones(next(iter(arrays.values())).shape[0], dtype=bool)
    for name, array in arrays.items():
        # Comparing also finds NaN, which is below nothing.
        limit = _MAX_STEPS / (per_mm * _QUANTISED[name][1])
        keep &= (np.abs(array) < limit).all(axis=tuple(range(1, array.ndim)))
    everybody = bool(keep.all())
    stored: Frame = {}
    for key, value in frame.items():
        if key not in arrays:
            stored[key] = value
            continue
        axis, scale = _QUANTISED[key]
        kept = arrays[key] if everybody else arrays[key][keep]
        stored[f"qd_{key}"] = [_quantise(kept, per_mm * scale, axis), per_mm * scale]
    rejected = np.flatnonzero(~keep).tolist()
    if rejected:
        stored["rejected_people"] = rejected
    return pack(stored, what="the frame"), len(rejected)


def _check_arrays(frame: Mapping[str, Any]) -> dict[str, Array]:
    for key in frame:
        if key.startswith("qd_") or key == "rejected_people":
            raise CodecError(f"the name {key} is taken by the file format; store it under another")
    arrays = {name: np.asarray(frame[name]) for name in _QUANTISED if name in frame}
    if "vertices" not in arrays:
        raise CodecError("a frame needs vertices; for nobody in view give an array of 0 people")
    for name, array in arrays.items():
        points = _QUANTISED[name][0] == -2
        wanted = "(people, points, 3)" if points else "(people, points)"
        wrong_shape = array.ndim != 3 or array.shape[2] != 3 if points else array.ndim != 2
        if array.dtype.kind not in "iuf" or wrong_shape:
            raise CodecError(f"{name} must be numbers {wanted}, got {array.dtype} {array.shape}")
        if array.dtype != np.float32:
            arrays[name] = array.astype(np.float64)
    people = {name: array.shape[0] for name, array in arrays.items()}
    if len(set(people.values())) != 1:
        raise CodecError(f"the arrays of a frame are not of the same people: {people}")
    return arrays


def _quantise(array: Array, steps_per_unit: float, axis: int) -> npt.NDArray[np.int32]:
    # In float64, so that float32 coordinates do not round twice.
    rounded = np.multiply(array, steps_per_unit, dtype=np.float64)
    steps = np.rint(rounded, out=rounded).astype(np.int32)
    # Differences by hand: np.diff with prepend= takes ten times as long.
    along = np.moveaxis(steps, axis, 0)
    differences = np.empty_like(steps)
    out = np.moveaxis(differences, axis, 0)
    out[:1] = along[:1]
    np.subtract(along[1:], along[:-1], out=out[1:])
    return differences


def decode_frame(stored: object) -> Frame:
    """A frame as it was given to the writer, to the grid. Raises FormatError."""
    if not isinstance(stored, dict):
        raise FormatError(f"a frame is a {type(stored).__name__}, not a map")
    frame: Frame = {}
    for key, value in stored.items():
        name = key[3:] if isinstance(key, str) and key.startswith("qd_") else ""
        if name in _QUANTISED:
            frame[name] = _dequantise(value, name)
        else:
            frame[key] = value
    return frame


def _dequantise(pair: object, name: str) -> Array:
    axis = _QUANTISED[name][0]
    if not (isinstance(pair, list) and len(pair) == 2):
        raise FormatError(f"{name} is not an array with its scale")
    steps, steps_per_unit = pair
    if not isinstance(steps, np.ndarray) or steps.dtype.kind not in "iu" or steps.ndim < -axis:
        raise FormatError(f"{name} is not an array of whole numbers")
    if steps.size > _MAX_POINT_VALUES:
        raise FormatError(f"{name} has {steps.size} values, the most is {_MAX_POINT_VALUES}")
    number = isinstance(steps_per_unit, int | float | np.integer | np.floating)
    if not (number and 0.0 < steps_per_unit < float("inf")):
        raise FormatError(f"{name} has the scale {str(steps_per_unit)[:40]}")
    summed = np.cumsum(steps, axis=axis, dtype=np.int64)
    values = summed / float(steps_per_unit)
    # As the stock reader has it: float32 wherever it holds the grid exactly.
    exact = summed.size == 0 or max(int(summed.max()), -int(summed.min())) <= 2**24
    return values.astype(np.float32) if exact else values
