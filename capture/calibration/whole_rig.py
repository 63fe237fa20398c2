"""A whole rig from what its cameras saw: lenses, then places where they can be told.

A lens that the camera itself knows (RealSense, from the factory) is taken as it is. One that only a rig file
says may be wrong: it is fitted anew, and kept only where too little was seen for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from capture.calibration import CameraCalibration, matrix4
from capture.calibration.board_pose import reprojection_errors, rms_px
from capture.calibration.boards import Sighting
from capture.calibration.chart import ErrorPanel
from capture.calibration.lenses import FEWEST_VIEWS, Lens, calibrate_lens
from capture.calibration.placement import Placement, place_cameras
from capture.calibration.views import MOST_VIEWS, CameraViews, without_repeats
from capture.frames import Intrinsics, Matrix4
from codec.errors import CalibrationError

Float64 = npt.NDArray[np.float64]

_SURE: Final = 0.02
"""A focal length less sure than this share of it takes no other's place."""
_CLEARLY_BETTER: Final = 0.8
"""A lens of another model, a fisheye's, may fit with less error than the model that is fitted here can."""


@dataclass(frozen=True, slots=True)
class KeptLens:
    """A lens that stays as the camera or the rig file says it, and why."""

    source: Literal["factory", "rig file"]
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class RigCalibration:
    """What was found. Each camera is either in `lenses`, fitted here, or in `kept`; placement: None for one
    camera."""

    cameras: dict[str, CameraCalibration]
    lenses: dict[str, Lens]
    kept: dict[str, KeptLens]
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
    kept: dict[str, KeptLens] = {}
    known: dict[str, Intrinsics] = {}
    panels: dict[str, ErrorPanel] = {}
    for camera in views:
        chosen = [camera.sightings[moment] for moment in camera.spread()]
        found = _lens_of(camera, chosen)
        if isinstance(found, Lens):
            lenses[camera.name], known[camera.name] = found, found.intrinsics
            title = f"fx {found.intrinsics.fx:.1f}, {found.rms_px:.2f} px"
            used = [bool(np.isfinite(size)) for size in found.view_rms_px]
            panels[camera.name] = _panel(camera, title, chosen, found.errors_px, used)
        else:
            kept[camera.name], known[camera.name] = found
            errors = _errors(camera.name, known[camera.name], chosen)
            title = f"lens kept, {kept[camera.name].source}"
            panels[camera.name] = _panel(camera, title, chosen, errors, [True] * len(chosen))
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
    return RigCalibration(cameras, lenses, kept, placement, panels)


def _lens_of(camera: CameraViews, seen: Sequence[Sighting]) -> Lens | tuple[KeptLens, Intrinsics]:
    if camera.factory_lens is not None:
        return KeptLens("factory", "the camera itself knows it"), camera.factory_lens
    if camera.rig_lens is None:
        return calibrate_lens(seen, camera.size, name=camera.name)
    if len(seen) < FEWEST_VIEWS:
        why = f"the board was seen in {len(seen)} places, {FEWEST_VIEWS} are the least"
        return KeptLens("rig file", why), camera.rig_lens
    try:
        lens = calibrate_lens(seen, camera.size, name=camera.name)
    except CalibrationError as error:
        return KeptLens("rig file", str(error).removeprefix(f"camera {camera.name}: ")), camera.rig_lens
    off_px = _off_px(camera.rig_lens, seen)
    if off_px < _CLEARLY_BETTER * lens.rms_px:
        why = (
            f"it fits what was seen better ({off_px:.2f} px off) than one fitted anew ({lens.rms_px:.2f} px)"
        )
        return KeptLens("rig file", why), camera.rig_lens
    if lens.focal_deviation_px <= _SURE * lens.intrinsics.fx:
        return lens
    told = f"what was seen tells the focal length to +-{lens.focal_deviation_px:.0f} px only"
    return KeptLens("rig file", f"{told}; tilt the board more"), camera.rig_lens


def _off_px(lens: Intrinsics, seen: Sequence[Sighting]) -> float:
    try:
        return rms_px([reprojection_errors(lens, each) for each in seen])
    except CalibrationError:
        return np.inf  # it cannot have shown the board


def _errors(name: str, lens: Intrinsics, seen: Sequence[Sighting]) -> tuple[Float64, ...]:
    try:
        return tuple(reprojection_errors(lens, each) for each in seen)
    except CalibrationError as error:
        raise CalibrationError(f"camera {name}: {error}") from error


def _panel(
    camera: CameraViews, words: str, seen: Sequence[Sighting], errors: Sequence[Float64], used: Sequence[bool]
) -> ErrorPanel:
    return ErrorPanel(f"{camera.name}: {words}", camera.size, seen, errors, used, camera.example)


def _placed(first_from_camera: Float64, world_from_first: Float64 | None) -> Matrix4:
    pose = first_from_camera if world_from_first is None else world_from_first @ first_from_camera
    return matrix4(pose)
