"""Where cameras stand and what their lenses do: from pictures of a board, or from files others wrote.

    boards      what is held before the cameras, and finding it in a picture
    views       the sightings of a board by several cameras, from folders of pictures or from a recording
    lenses      one camera's intrinsics from its sightings
    placement   where several cameras stand, from the moments they saw the board together
    qualisys    calibration files of Qualisys Track Manager
    rig_file    writes what was found into a rig file, leaving everything else as it is
    chart       the reprojection errors as a picture

Knows pictures, arrays and recordings; never the running service.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capture.frames import Intrinsics, Matrix4


@dataclass(frozen=True, slots=True)
class CameraCalibration:
    """What is known of one camera; None where a file or a fit does not say."""

    intrinsics: Intrinsics | None = None
    world_from_camera: Matrix4 | None = None


def matrix4(pose: npt.ArrayLike) -> Matrix4:
    """(4, 4) numbers as what travels."""
    a, b, c, d = ((float(w), float(x), float(y), float(z)) for w, x, y, z in np.asarray(pose, np.float64))
    return a, b, c, d
