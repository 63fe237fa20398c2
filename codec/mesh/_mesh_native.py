"""The native kernels of the mesh codec, where they were built: the only module that passes them addresses.

`kernels` is the module `codec.mesh._kernels`, or None: not built, or NIGHTRIG_NO_KERNELS=1 asks for twins.
`affine()` gives whichever there is.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.errors import FormatError
from codec.kernel_modules import address_of, load_kernels
from codec.mesh._affine_model import INTER, INTRA, AffineModel
from codec.mesh._affine_twin import Coded, Segment, TwinAffine

_ALIGNMENT = 64
_LANES_BYTES = 4 * 128


kernels = load_kernels("codec.mesh._kernels")


def affine() -> NativeAffine | TwinAffine:
    """The affine codec of this machine."""
    return TwinAffine() if kernels is None else NativeAffine(kernels)


def aligned_points(meshes: int, points: int) -> npt.NDArray[np.uint32]:
    """(meshes, points, 4) uint32, uncleared, where vectors of the kernels may lie."""
    size = 16 * meshes * points
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -address_of(memory) % _ALIGNMENT
    return memory[start : start + size].view(np.uint32).reshape(meshes, points, 4)


def _parts(model: AffineModel) -> tuple[int, ...]:
    """What the kernels want to know of a model, in their order."""
    return (
        model.points,
        model.level_ends.size,
        model.neighbours.shape[1],
        model.now[INTRA],
        model.now[INTER],
        *model.before,
        address_of(model.level_ends),
        address_of(model.neighbours),
        *map(address_of, model.weights),
        *map(address_of, model.classes),
        address_of(model.sums),
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
        if address_of(points) % 16:
            points = aligned_points(*shape[:2])
            points[:] = own
        coded = Coded(np.empty(shape, np.uint32), np.empty(shape, np.uint16))
        self._kernels.predict(
            *_parts(model),
            segment.meshes,
            segment.channels,
            self._refs(segment),
            address_of(points),
            address_of(_in_order(known, np.uint8, shape[:2])),
            address_of(coded.codes),
            address_of(coded.contexts),
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
            address_of(coded.codes),
            address_of(coded.contexts),
            address_of(_in_order(costs, np.uint16, (256, 64))),
            address_of(shifts),
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
            address_of(_in_order(segment.shifts, np.int8, (segment.meshes, 2))),
            address_of(coded.codes),
            address_of(coded.contexts),
            address_of(out),
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
            address_of(_in_order(segment.shifts, np.int8, (segment.meshes, 2))),
            address_of(content),
            content.size,
            address_of(points),
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
        return address_of(refs)
