"""The order in which vertices stand in a mesh file: none, by name, or a permutation of the file's own.

Neighbours on the body that are neighbours in the file differ little, which is a fifth of the file size.
The two named orders are those of bodycompress 0.3 (MIT, see data/NOTICE.txt). `auto` is decided frame by
frame: 6890 points have the order of SMPL, 10475 that of SMPL-X, any other number keeps its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.errors import FormatError

NAMES = ("smpl", "smplx")
# More points than any body model has; bounds what a hostile header can make us sort.
MAX_POINTS = 1 << 20

_NAMED_BY_POINTS = {6890: "smpl", 10475: "smplx"}

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class VertexOrder:
    """How the points of a frame are rearranged. `header` is what the file says about it."""

    header: str | npt.NDArray[Any] | None
    _fixed: Indices | None
    _fixed_inverse: Indices | None

    @property
    def is_auto(self) -> bool:
        return isinstance(self.header, str) and self.header == "auto"

    def stored_from_given(self, points: int | None) -> Indices | None:
        """Which given point stands at each stored place; None: they stand as given.

        `points` is how many vertices the frame has, None for a frame without any. Raises FormatError
        where the order is one of another number of points.
        """
        return self._pick(points, self._fixed, inverse=False)

    def given_from_stored(self, points: int | None) -> Indices | None:
        """The inverse of stored_from_given."""
        return self._pick(points, self._fixed_inverse, inverse=True)

    def _pick(self, points: int | None, fixed: Indices | None, *, inverse: bool) -> Indices | None:
        if self.is_auto:
            name = _NAMED_BY_POINTS.get(points or 0)
            return None if name is None else _named(name)[1 if inverse else 0]
        if fixed is not None and points is not None and points != len(fixed):
            raise FormatError(f"the vertex order is one of {len(fixed)} points, but there are {points}")
        return fixed


def vertex_order(wanted: object) -> VertexOrder:
    """None, "auto", "smpl", "smplx", or a permutation of 0..n-1. Raises FormatError for anything else."""
    if wanted is None or (isinstance(wanted, str) and wanted == "auto"):
        return VertexOrder(wanted, None, None)
    if isinstance(wanted, str):
        if wanted not in NAMES:
            raise FormatError(f"the vertex order {wanted[:20]!r} is not known; auto, smpl and smplx are")
        return VertexOrder(wanted, *_named(wanted))
    try:
        given = np.asarray(wanted)
    except (ValueError, TypeError, OverflowError) as error:
        raise FormatError(f"the vertex order is no array: {error}") from error
    if given.ndim != 1 or given.dtype.kind not in "iu" or given.size > MAX_POINTS:
        raise FormatError(
            f"the vertex order must be at most {MAX_POINTS} whole numbers in a row, "
            f"got {given.dtype} {given.shape}"
        )
    if not np.array_equal(np.sort(given), np.arange(given.size)):
        raise FormatError(f"the vertex order is no permutation of 0..{given.size - 1}")
    order = given.astype(np.intp)
    compact = order.astype(np.uint16 if order.size <= 1 << 16 else np.uint32)
    return VertexOrder(compact, order, np.argsort(order))


@lru_cache(maxsize=len(NAMES))
def _named(name: str) -> tuple[Indices, Indices]:
    with (
        resources.files("codec.mesh").joinpath("data/vertex_orders.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as orders,
    ):
        order = orders[name].astype(np.intp)
    return order, np.argsort(order)
