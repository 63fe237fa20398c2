"""The true pose that a simulated camera tells in the meta of its frames."""

from __future__ import annotations

import json
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body.kinematics import PARAMETER_COUNT
from codec.errors import EstimatorError

_LARGEST: Final = 1e6  # radians, or metres


def true_pose(meta: bytes, *, owner: str, frame: str) -> npt.NDArray[np.float64] | None:
    """The 85 parameters in a frame's meta, or None if it tells none.

    Raises EstimatorError where they are something else; `owner` and `frame` name in it who asks, and of what.
    """
    if not meta:
        return None
    try:
        pose = json.loads(meta).get("pose")
        if pose is None:
            return None
        parameters = np.array(pose, dtype=np.float64)
    except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise EstimatorError(f"{owner}: the meta of {frame} cannot be read: {error}") from error
    if parameters.shape != (PARAMETER_COUNT,) or not (np.abs(parameters) <= _LARGEST).all():  # nor NaN
        raise EstimatorError(f"{owner}: the pose of {frame} is not {PARAMETER_COUNT} numbers")
    return parameters
