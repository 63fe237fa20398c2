"""Skinning by the native kernel, where it was built: the only module that passes it addresses.

`kernels` is the module `capture.body._kernels`, or None: not built, or NIGHTRIG_NO_KERNELS=1 asks for NumPy.

What bends a mesh with its pose is 207 numbers for each of 20,670 coordinates. As float32 they are 17 MB that
go through the processor for every mesh, which is what a mesh costs. Here each direction's share in sixteen
vertices is rounded: to steps of 4 micrometres where eight bits hold it, else to sixteen bits. Together they
are off by a hundredth of a millimetre, a hundredth of what cameras leave unknown at their best.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.kernel_modules import address_of, load_kernels

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

kernels = load_kernels("capture.body._kernels")

_BLOCK = 16
_LARGEST_WIDE = np.iinfo(np.int16).max
_LARGEST_NARROW = np.iinfo(np.int8).max
NARROW_STEP_M = 4e-6
_MOST_JOINTS = 64


def can_skin(joint_count: int, direction_count: int) -> bool:
    """Whether the kernel is there and made for such a body: nine directions for each joint but the root."""
    fits = 0 < joint_count <= _MOST_JOINTS and direction_count in (0, 9 * (joint_count - 1))
    return kernels is not None and fits


class NativeSkin:
    """One body's weights and pose directions as the kernel wants them.

    Takes weights (joints, n), pose directions (207, 3 * n) or None, as `skinning.Skin` has them, and the
    joint that each hangs on. Immutable.
    """

    def __init__(self, weight_rows: Float32, pose_directions: Float32 | None, parents: Sequence[int]) -> None:
        joint_count, self._count = weight_rows.shape
        self._padded = -(-self._count // _BLOCK) * _BLOCK
        width = max(int(np.count_nonzero(weight_rows, axis=0).max(initial=0)), 1)
        heaviest = np.argsort(weight_rows == 0, axis=0, kind="stable")[:width]
        self._joints = np.ascontiguousarray(heaviest.T.astype(np.uint8))
        self._weights = np.ascontiguousarray(np.take_along_axis(weight_rows, heaviest, axis=0).T, np.float32)
        self._counts = np.zeros((self._padded // _BLOCK, 2), np.uint16)
        self._order = np.zeros(0, np.uint16)
        self._rows = np.zeros(0, np.int16)
        self._wide_steps_m = np.zeros(9 * (joint_count - 1))
        self._parents = np.array(parents, np.int8)
        if pose_directions is not None:
            self._round(pose_directions.reshape(len(pose_directions), 3, self._count))
        self._addresses = tuple(map(address_of, self.tables))

    @property
    def tables(self) -> tuple[npt.NDArray[Any], ...]:
        """What the kernel reads, in the order of NbSkin (skin.h), the parents and the steps of wide rows."""
        of_vertices = (self._counts, self._order, self._rows, self._joints, self._weights)
        return (*of_vertices, self._parents, self._wide_steps_m)

    def _round(self, directions: Float32) -> None:
        """(207, 3, n) into rows of whole numbers, the wide ones of each block first."""
        nothing = len(directions)  # the partner of a narrow row that is left over
        largest = np.abs(directions).max(axis=(1, 2)).astype(np.float64)
        self._wide_steps_m = np.maximum(largest / _LARGEST_WIDE, 1e-12)
        order, rows = [], []
        for number, block in enumerate(self._blocks(directions).transpose(1, 0, 2, 3)):
            is_wide = np.abs(block).max(axis=(1, 2)) > _LARGEST_NARROW * NARROW_STEP_M
            wide, narrow = np.flatnonzero(is_wide), np.flatnonzero(~is_wide)
            steps = np.rint(block[narrow] / NARROW_STEP_M).astype(np.int16)
            if len(narrow) % 2:
                narrow, steps = np.append(narrow, nothing), np.concatenate([steps, 0 * steps[:1]])
            order += [wide, narrow]
            rows.append(np.rint(block[wide] / self._wide_steps_m[wide, None, None]).astype(np.int16).ravel())
            rows.append(((steps[1::2] << 8) | (steps[::2] & 0xFF)).ravel())
            self._counts[number] = len(wide), len(narrow) // 2
        self._order = np.concatenate(order).astype(np.uint16)
        self._rows = np.concatenate(rows)

    def rest(self, rows: Float32) -> Float32:
        """A rest mesh (3, n) as `posed` wants it."""
        blocks: Float32 = self._blocks(rows[None])[0]
        return blocks

    def posed(self, rest: Float32, vectors: Float64, rest_joints: Float64, translation: Float64) -> Float32:
        """(n, 3) points; `vectors` and `rest_joints` (joints, 3), `translation` (3,)."""
        joint_count = len(self._parents)
        given: tuple[npt.NDArray[Any], ...] = (
            np.ascontiguousarray(vectors, np.float64),
            np.ascontiguousarray(rest_joints, np.float64),
            np.ascontiguousarray(translation, np.float64),
            rest,
        )
        shapes = ((joint_count, 3), (joint_count, 3), (3,), (self._padded // _BLOCK, 3, _BLOCK))
        if kernels is None or tuple(each.shape for each in given) != shapes or rest.dtype != np.float32:
            raise ValueError(f"the kernel takes {shapes}, not {[each.shape for each in given]}")
        out = np.empty((self._count, 3), np.float32)
        kernels.skin(
            *(self._count, self._joints.shape[1], joint_count, NARROW_STEP_M),
            *self._addresses,
            *map(address_of, (*given, out)),
        )
        return out

    def _blocks(self, rows: Float32) -> Float32:
        """(m, 3, n) -> (m, blocks, 3, 16), the last block filled up with zeros."""
        padded = np.zeros((len(rows), 3, self._padded), np.float32)
        padded[:, :, : self._count] = rows
        return np.ascontiguousarray(padded.reshape(len(rows), 3, -1, _BLOCK).transpose(0, 2, 1, 3))
