"""How likely each residual is: classes of points by the size of what is left, and a table for each context.

Class k stands for residuals with a standard deviation of 0.2 * 2**(k/3) steps. A table begins as a bell with
wide flanks around the exact prediction, and gives way to what was counted.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from codec.mesh._affine_model import CLASSES, CONTEXTS, FOLDS, PROBABILITY_BITS, SYMBOLS, low_bits

F64 = npt.NDArray[np.float64]
U16 = npt.NDArray[np.uint16]

_SMALLEST_DEVIATION = 0.2
_PER_OCTAVE = 3
_ROUNDING_VARIANCE = 1 / 12
_PRIOR_COUNT = 200.0
_FLANKS = ((0.9, 1.0), (0.1, 2.0))  # share and width of the bells that are laid over each other
_TOTAL = 1 << PROBABILITY_BITS


def class_of(deviations: F64) -> npt.NDArray[np.uint8]:
    """The classes of points, by the standard deviation of their whole residuals."""
    exact: F64 = np.sqrt(np.maximum(deviations**2 - _ROUNDING_VARIANCE, _SMALLEST_DEVIATION**2))
    classes = np.rint(_PER_OCTAVE * np.log2(exact / _SMALLEST_DEVIATION))
    return np.asarray(np.clip(classes, 0, CLASSES - 1)).astype(np.uint8)


@lru_cache(maxsize=1)
def _prior() -> F64:
    """(256, 64) probabilities by the bell."""
    bell = np.vectorize(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)), otypes=[float])
    table = np.zeros((CONTEXTS, SYMBOLS))
    for class_ in range(CLASSES):
        deviation = _SMALLEST_DEVIATION * 2 ** (class_ / _PER_OCTAVE)
        step = 1 << int(low_bits(np.array([class_]))[0])
        codes = np.arange((SYMBOLS - 1) * step)
        residuals = np.where(codes % 2, -(codes + 1) // 2, codes // 2)
        for fold in range(FOLDS):
            away = (fold + 0.5) / (2 * FOLDS)
            mass = np.zeros(codes.size)
            for share, width in _FLANKS:
                edges = (residuals - away + np.array([[0.5], [-0.5]])) / (width * deviation)
                mass += share * np.subtract(*bell(edges))
            row = mass.reshape(SYMBOLS - 1, step).sum(axis=1)
            table[class_ * FOLDS + fold] = [*row, max(1.0 - row.sum(), 1e-6)]
    return table


def expected_frequencies() -> U16:
    """(256, 64) frequencies before anything was counted."""
    return _frequencies(_prior())


class Counts:
    """How often each symbol came in each context; `channels` of the four count."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._counts = np.zeros(CONTEXTS * SYMBOLS, np.int64)

    def add(self, classes: npt.NDArray[np.uint8], codes: npt.NDArray[np.uint32], contexts: U16) -> None:
        """One mesh: codes and contexts (points, 4), of which the folds count; classes: (points, 2)."""
        by_channel = classes[:, [0, 0, 0, 1]].astype(np.int64)
        symbols = np.minimum(codes.astype(np.int64) >> low_bits(by_channel), SYMBOLS - 1)
        exact = (by_channel * FOLDS + contexts % FOLDS) * SYMBOLS + symbols
        self._counts += np.bincount(exact[:, : self._channels].ravel(), minlength=self._counts.size)

    def frequencies(self) -> U16:
        """(256, 64) by what was counted and, where that is little, by the bell."""
        return _frequencies(self._counts.reshape(CONTEXTS, SYMBOLS) + _PRIOR_COUNT * _prior())


def _frequencies(weights: F64) -> U16:
    """Each at least 1, each row with the sum 2**15."""
    shares = weights / weights.sum(axis=1, keepdims=True)
    frequencies = 1 + np.floor(shares * (_TOTAL - SYMBOLS)).astype(np.int64)
    largest = frequencies.argmax(axis=1)
    frequencies[np.arange(CONTEXTS), largest] += _TOTAL - frequencies.sum(axis=1)
    return np.asarray(frequencies).astype(np.uint16)


def costs_of(sums: U16) -> U16:
    """(256, 64) what each symbol costs, in 1/256 bit."""
    frequencies = np.diff(sums.astype(np.int64), axis=1)
    costs: U16 = np.rint(256 * (PROBABILITY_BITS - np.log2(frequencies))).astype(np.uint16)
    return costs
