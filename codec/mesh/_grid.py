"""Coordinates as whole numbers of steps, and back: the grid that bodycompress files lie on too.

A value comes back within half a step. What is not finite, or too far away for 32 bits, has no place on the
grid: it is told apart by a mask, and NaN when it comes back.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.errors import CodecError

MAX_STEPS = 2.0**30
"""Steps stay below this, so that differences of two of them fit 32 bits."""

FINEST, COARSEST = 1e-6, 1e6
"""Steps, in millimetres, that make sense: no number that lies between them overflows."""

QUANTISED = {
    "vertices": (-2, 1.0),
    "joints": (-2, 1.0),
    "vertex_uncertainties": (-1, 1000.0),
    "joint_uncertainties": (-1, 1000.0),
}
"""Arrays that are stored in steps: the axis of their points, and millimetres in one unit of theirs."""

Steps = npt.NDArray[np.int32]
Known = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]


def checked(name: str, value: object) -> Array:
    """`value` as an array of numbers with the axes that `name` has, NaN where masked. Raises CodecError."""
    try:
        if isinstance(value, np.ma.MaskedArray) and value.dtype.kind in "iuf":
            value = np.ma.filled(value.astype(np.float64), np.nan)  # what is masked is no place
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # of a tensor, or a list with gaps
        raise CodecError(f"{name} cannot be made an array: {error}") from error
    wanted = "(..., points, 3)" if QUANTISED[name][0] == -2 else "(..., points)"
    fits = array.ndim >= 2 and array.shape[-1] == 3 if QUANTISED[name][0] == -2 else array.ndim >= 1
    if array.dtype.kind not in "iuf" or not fits:
        raise CodecError(f"{name} must be numbers {wanted}, got {array.dtype} {array.shape}")
    return array


def to_steps(array: Array, steps_per_unit: float) -> tuple[Steps, Known | None]:
    """Steps of the same shape (0 where there is none), and where there is one: None for everywhere."""
    # In float64, so that float32 coordinates do not round twice.
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.multiply(array, steps_per_unit, dtype=np.float64)
    steps = np.rint(scaled, out=scaled)
    if steps.size == 0 or (steps.min() > -MAX_STEPS and steps.max() < MAX_STEPS):  # false for NaN too
        return steps.astype(np.int32), None
    known = np.abs(steps) < MAX_STEPS
    steps[~known] = 0.0
    return steps.astype(np.int32), known


def from_steps(steps: Steps, steps_per_unit: float, known: Known | None = None) -> Array:
    """Float32 values, or float64 where float32 does not hold the grid exactly, as bodycompress has it."""
    if known is not None:
        steps = np.where(known, steps, 0)  # whatever stands there must not choose the type
    exact = steps.size == 0 or max(int(steps.max()), -int(steps.min())) <= 2**24
    result: Array
    if exact and math.frexp(steps_per_unit)[0] == 0.5:  # a power of two: no digit is lost on the way
        result = np.divide(steps, np.float32(steps_per_unit), dtype=np.float32, casting="unsafe")
    else:
        values = steps / float(steps_per_unit)
        result = values.astype(np.float32) if exact else values
    if known is not None:
        result[~known] = np.nan
    return result
