"""Linear prediction for the twin of `max`: 29 weighted neighbours, and the fit of the weights to an image.

What the kernel does in native/max_linear.h and native/max_rows.h, to the bit, on rows that are whole NumPy
arrays of int64: PAD ranks, the row's, PAD ranks. Knows nothing of bits and their probabilities.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Row = npt.NDArray[np.int64]

ROWS, PAD = 6, 8
TAPS = (
    *((0, dx) for dx in range(-5, 0)),
    *((1, dx) for dx in range(-4, 5) if dx),
    *((row, dx) for row in (2, 3, 4, 5) for dx in range(row - 5, 6 - row)),
)
"""(row, dx) of each neighbour: row 0 is the pixel's own, 1 the one above."""
LEFT_TAPS, TAP_REACH, UNIT_BITS, WEIGHT_BITS = 5, 12, 6, 10
_DEFAULT_WEIGHTS = (
    *(-30, 26, 115, 140, 458),
    *(-54, -43, 19, -121, 102, 90, 81, 24),
    *(-26, -13, 7, 43, 26, 18, -27),
    *(-14, -44, 34, -9, -62, -20, 11, -49, 10),
)

_SAMPLE_STEP, _SAMPLE_MIN, _PLANE_REACH = 8, 512, 6
_FIT_SWEEPS, _FIT_BITS, _MOMENT_BITS, _RIDGE_BITS = 100, 16, 30, 13
_FIT_LIMIT = 8 << _FIT_BITS


def first_rows(width: int) -> list[Row]:
    """The rows above an image, the nearest first: all zeros."""
    return [np.zeros(width + 2 * PAD, np.int64) for _ in range(ROWS)]


def push_row(rows: list[Row], ranks: list[int], *, first: bool) -> None:
    """Put a finished row with its borders in front, drop the furthest; the first of an image fills all."""
    row = np.array(ranks, np.int64)
    rows[:] = [row] * ROWS if first else [row, *rows[:-1]]


def from_above(rows: list[Row], weights: list[int]) -> list[int]:
    """What the rows above (rows[0] is the nearest) add to each prediction of the next one, in 1/1024."""
    above = rows[0][PAD:-PAD]
    sums = np.zeros(above.size, np.int64)
    for (row, dx), weight in zip(TAPS[LEFT_TAPS:], weights[LEFT_TAPS:], strict=True):
        difference = _shifted(rows[row - 1], dx) - above
        sums += np.minimum(np.maximum(difference, -TAP_REACH), TAP_REACH) * weight
    ours: list[int] = sums.tolist()
    return ours


def _shifted(row: Row, dx: int) -> Row:
    return row[PAD + dx : row.size - PAD + dx]


class Fit:
    """Least squares over every eighth pixel."""

    def __init__(self) -> None:
        self._moment = np.zeros((len(TAPS), len(TAPS)), np.int64)
        self._target = np.zeros(len(TAPS), np.int64)
        self._samples = 0

    def add_row(self, rows: list[Row], valid: Iterable[bool], y: int) -> None:
        """The finished row rows[0], against the ones behind it."""
        ranks, above = rows[0], rows[1]
        at = np.arange(y % _SAMPLE_STEP, ranks.size - 2 * PAD, _SAMPLE_STEP)
        at = at[np.fromiter(valid, np.bool_)[at]] + PAD
        target = ranks[at] - above[at]
        at = at[np.abs(target - (ranks[at - 1] - above[at - 1])) <= _PLANE_REACH]
        window = np.stack([rows[row][at + dx] - above[at] for row, dx in TAPS])
        smooth = (np.abs(window) < TAP_REACH).all(axis=0)
        window, at = window[:, smooth], at[smooth]
        self._moment += window @ window.T
        self._target += window @ (ranks[at] - above[at])
        self._samples += at.size

    def weights(self) -> list[int]:
        """Gauss-Seidel sweeps from the default weights; each division rounds towards 0."""
        if self._samples < _SAMPLE_MIN:
            return list(_DEFAULT_WEIGHTS)
        largest = max(1, int(self._moment.diagonal().max()))
        scale = max(0, largest.bit_length() - _MOMENT_BITS)
        moment, target = self._moment >> scale, (self._target >> scale).tolist()
        moment += np.diag((moment.diagonal() >> _RIDGE_BITS) + 1)
        fine = np.array(_DEFAULT_WEIGHTS, np.int64) << _FIT_BITS - WEIGHT_BITS
        for _ in range(_FIT_SWEEPS):
            for i, row in enumerate(moment):
                rest = (target[i] << _FIT_BITS) - int(row @ fine)
                step = abs(rest) // int(row[i])
                moved = int(fine[i]) + (step if rest > 0 else -step)
                fine[i] = min(max(moved, -_FIT_LIMIT), _FIT_LIMIT)
        drop = _FIT_BITS - WEIGHT_BITS
        rounded: list[int] = ((fine + (1 << drop - 1)) >> drop).tolist()
        return rounded
