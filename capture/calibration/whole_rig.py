"""A whole rig from what its cameras saw: lenses where nobody knows them, then places where they can be told.

A lens that the camera itself knows (RealSense, from the factory) is taken as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capture.calibration import CameraCalibration, matrix4
from capture.calibration.boards import Sighting
from capture.calibration.chart import ErrorPanel
from capture.calibration.lenses import Lens, calibrate_lens, reprojection_errors
from capture.calibration.placement import Placement, place_cameras
from capture.calibration.views import MOST_VIEWS, CameraViews, without_repeats
from capture.frames import Intrinsics, Matrix4

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RigCalibration:
    """What was found. lenses: only of cameras whose lens was fitted here; placement: None for one camera."""

    cameras: dict[str, CameraCalibration]
    lenses: dict[str, Lens]
    placement: Placement | None
    panels: dict[str, ErrorPanel]


def calibrate_rig(
    views: Sequence[CameraViews],
    moments: Sequence[Mapping[str, Sighting]],
    *,
    world_from_first: Float64 | None = None,
) -> RigCalibration:
    """Lenses of all cameras and, given moments they share, their places in the world of the first one, which
    stands at `world_from_first` (4, 4) or is the world's origin itself. Raises CalibrationError."""
    lenses: dict[str, Lens] = {}
    known: dict[str, Intrinsics] = {}
    panels: dict[str, ErrorPanel] = {}
    for camera in views:
        chosen = [camera.sightings[moment] for moment in camera.spread()]
        if camera.factory_lens is not None:
            known[camera.name] = camera.factory_lens
            errors = tuple(reprojection_errors(camera.factory_lens, seen) for seen in chosen)
            panels[camera.name] = _panel(
                camera, "lens as the camera knows it", chosen, errors, [True] * len(chosen)
            )
            continue
        lens = calibrate_lens(chosen, camera.size, name=camera.name)
        lenses[camera.name], known[camera.name] = lens, lens.intrinsics
        title = f"fx {lens.intrinsics.fx:.1f}, {lens.rms_px:.2f} px"
        used = [bool(np.isfinite(size)) for size in lens.view_rms_px]
        panels[camera.name] = _panel(camera, title, chosen, lens.errors_px, used)
    placement = None
    if moments and len(views) > 1:
        moved = without_repeats(moments)
        # A board in too many places makes a system of equations that only gets slower.
        step = max(1, len(moved) // (2 * MOST_VIEWS))
        placement = place_cameras(known, moved[::step])
    cameras = {
        name: CameraCalibration(
            lens if name in lenses else None,
            None if placement is None else _placed(placement.world_from_camera[name], world_from_first),
        )
        for name, lens in known.items()
    }
    return RigCalibration(cameras, lenses, placement, panels)


def _panel(
    camera: CameraViews, words: str, seen: Sequence[Sighting], errors: Sequence[Float64], used: Sequence[bool]
) -> ErrorPanel:
    return ErrorPanel(f"{camera.name}: {words}", camera.size, seen, errors, used, camera.example)


def _placed(first_from_camera: Float64, world_from_first: Float64 | None) -> Matrix4:
    pose = first_from_camera if world_from_first is None else world_from_first @ first_from_camera
    return matrix4(pose)
