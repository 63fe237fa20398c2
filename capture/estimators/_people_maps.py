"""Depth maps and masks of fitted people, a pair of streams for each camera: what it would see of them alone.

    <camera>-depth   z16, millimetres from the plane of the camera, 0 where nobody is
    <camera>-people  y8: 1 for the first of the people of the result, 2 for the next, 0 where nobody is

Pictures are those of the camera, but for its lens' distortion, and at most 640 pixels wide or high.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body.kinematics import split_parameters
from capture.body.model import BodyModel
from capture.body.raster import render_depth
from capture.estimators._body_camera import BodyCamera
from capture.estimators.people_results import result_of
from capture.frames import Frame, Intrinsics, StreamInfo

_LONGEST_PX: Final = 640
_SCALE_M: Final = 0.001
_FARTHEST_UNITS: Final = 65535.0


class PeopleMaps:
    """Renders the maps of `cameras`; `streams` says which there are."""

    def __init__(self, cameras: Sequence[BodyCamera], model: BodyModel, fps: float) -> None:
        self._model = model
        self._lenses = [(camera, _lens(camera)) for camera in cameras]
        self.streams = tuple(
            StreamInfo(
                name=f"{camera.name}-{what}",
                pixel_format=pixel_format,
                width=lens.width,
                height=lens.height,
                fps=fps,
                intrinsics=lens,
                depth_scale_m=_SCALE_M if pixel_format == "z16" else None,
            )
            for camera, lens in self._lenses
            for what, pixel_format in (("depth", "z16"), ("people", "y8"))
        )

    def frames(self, source: Frame, people: Sequence[npt.NDArray[np.float64]]) -> list[Frame]:
        """The maps of one moment; `people` are (85,) each, in the world. They carry number and times of
        `source`."""
        skins = [self._model.skin(*split_parameters(person)).astype(np.float64) for person in people]
        results = []
        for camera, lens in self._lenses:
            seen = [camera.view.to_camera(skin).astype(np.float32) for skin in skins]
            maps = render_depth(seen, self._model.faces, lens)
            units = np.minimum(np.rint(maps.depth_m / _SCALE_M), _FARTHEST_UNITS).astype(np.uint16)
            results += [
                result_of(source, f"{camera.name}-depth", units),
                result_of(source, f"{camera.name}-people", maps.people),
            ]
        return results


def _lens(camera: BodyCamera) -> Intrinsics:
    picture, view = camera.picture, camera.view
    scale = min(1.0, _LONGEST_PX / max(picture.width, picture.height, 1))
    fx, fy = (float(x) * scale for x in view.focal_px)
    # The centres of pixels lie at whole numbers, so the picture begins half a pixel before 0.
    cx, cy = ((float(x) + 0.5) * scale - 0.5 for x in view.centre_px)
    return Intrinsics(
        max(1, round(picture.width * scale)), max(1, round(picture.height * scale)), fx, fy, cx, cy
    )
