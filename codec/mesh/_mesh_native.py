"""The native kernels of the mesh codec, where they were built: the only module that passes them addresses.

`kernels` is the module `codec.mesh._kernels`, or None: not built, or NIGHTRIG_NO_KERNELS=1 asks for twins.
`affine()` gives whichever there is.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.errors import FormatError
from codec.mesh._affine_model import INTER, INTRA, AffineModel
from codec.mesh._affine_twin import Coded, Segment, TwinAffine

_ALIGNMENT = 64
_LANES_BYTES = 4 * 128


def _load() -> ModuleType | None:
    if os.environ.get("NIGHTRIG_NO_KERNELS", "") not in ("", "0"):
        return None
    try:
        return importlib.import_module("codec.mesh._kernels")
    except ImportError:
        return None


kernels = _load()


def affine() -> NativeAffine | TwinAffine:
    """The affine codec of this machine."""
    return TwinAffine() if kernels is None else NativeAffine(kernels)


def aligned_points(meshes: int, points: int) -> npt.NDArray[np.uint32]:
    """(meshes, points, 4) uint32, uncleared, where vectors of the kernels may lie."""
    size = 16 * meshes * points
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -_address(memory) % _ALIGNMENT
    return memory[start : start + size].view(np.uint32).reshape(meshes, points, 4)


def _address(array: npt.NDArray[Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _parts(model: AffineModel) -> tuple[int, ...]:
    """What the kernels want to know of a model, in their order."""
    return (
        model.points,
        model.level_ends.size,
        model.neighbours.shape[1],
        model.now[INTRA],
        model.now[INTER],
        *model.before,
        _address(model.level_ends),
        _address(model.neighbours),
        *map(_address, model.weights),
        *map(_address, model.classes),
        _address(model.sums),
    )


def _in_order(array: npt.NDArray[Any], dtype: type, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
        raise ValueError(
            f"the kernels take {np.dtype(dtype)} {shape} in C order, not {array.dtype} {array.shape}"
        )
    return array


class NativeAffine:
    """The affine codec by the kernels. The same interface as `_affine_twin.TwinAffine`."""

    def __init__(self, module: ModuleType) -> None:
        self._kernels = module

    def predict(
        self,
        model: AffineModel,
        segment: Segment,
        points: npt.NDArray[np.uint32],
        known: npt.NDArray[np.uint8],
    ) -> Coded:
        shape = (segment.meshes, model.points, 4)
        points, own = _in_order(points, np.uint32, shape), points
        if _address(points) % 16:
            points = aligned_points(*shape[:2])
            points[:] = own
        coded = Coded(np.empty(shape, np.uint32), np.empty(shape, np.uint16))
        self._kernels.predict(
            *_parts(model),
            segment.meshes,
            segment.channels,
            self._refs(segment),
            _address(points),
            _address(_in_order(known, np.uint8, shape[:2])),
            _address(coded.codes),
            _address(coded.contexts),
        )
        if points is not own:
            own[:] = points
        return coded

    def choose_shifts(
        self, model: AffineModel, channels: int, coded: Coded, costs: npt.NDArray[np.uint16]
    ) -> npt.NDArray[np.int8]:
        meshes = len(coded.codes)
        shifts = np.zeros((meshes, 2), np.int8)
        self._kernels.choose_shifts(
            model.points,
            meshes,
            channels,
            _address(coded.codes),
            _address(coded.contexts),
            _address(_in_order(costs, np.uint16, (256, 64))),
            _address(shifts),
        )
        return shifts

    def encode(self, model: AffineModel, segment: Segment, coded: Coded) -> bytes:
        # A number takes at most 15 bits as a symbol, 6 low ones and, escaped, 6 and 32 more.
        out = np.empty(8 * segment.meshes * model.points * segment.channels + _LANES_BYTES, np.uint8)
        size = self._kernels.encode(
            *_parts(model),
            segment.meshes,
            segment.channels,
            self._refs(segment),
            _address(_in_order(segment.shifts, np.int8, (segment.meshes, 2))),
            _address(coded.codes),
            _address(coded.contexts),
            _address(out),
            out.size,
        )
        assert size > 0, "there is always room"
        return out[out.size - size :].tobytes()

    def decode(self, model: AffineModel, segment: Segment, data: bytes) -> npt.NDArray[np.uint32]:
        points = aligned_points(segment.meshes, model.points)
        content = np.frombuffer(data, np.uint8)
        failed = self._kernels.decode(
            *_parts(model),
            segment.meshes,
            segment.channels,
            self._refs(segment),
            _address(_in_order(segment.shifts, np.int8, (segment.meshes, 2))),
            _address(content),
            content.size,
            _address(points),
        )
        if failed:
            raise FormatError("a mesh segment does not decode: damaged")
        return points

    @staticmethod
    def _refs(segment: Segment) -> int:
        refs = _in_order(segment.refs, np.int32, (segment.meshes, 2))
        before = np.arange(segment.meshes, dtype=np.int32)[:, None]
        is_intra = refs < 0
        if (refs >= before).any() or (refs < -1).any() or (is_intra[:, 0] != is_intra[:, 1]).any():
            raise FormatError("a mesh segment predicts from meshes that come later: damaged")
        return _address(refs)
