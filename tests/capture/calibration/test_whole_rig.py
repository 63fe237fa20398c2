"""Which lens counts: the camera's own, a fitted one, or the one that the rig file says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from capture.body.kinematics import rotations_of
from capture.calibration.views import CameraViews
from capture.calibration.whole_rig import calibrate_rig
from capture.frames import Intrinsics
from codec.errors import CalibrationError
from tests.capture.calibration.rendered_board import CHECKERBOARD, LENS, Float64, poses, seen

FISHEYE = Intrinsics(848, 800, 285.0, 286.0, 424.0, 400.0, "kannala_brandt4", (-0.008, 0.045, -0.042, 0.008))
WRONG = Intrinsics(LENS.width, LENS.height, 900.0, 900.0, 319.5, 239.5)


def views_of(shown: list[Float64], *, noise_px: float = 0.1) -> CameraViews:
    found = {f"{i:03d}": seen(CHECKERBOARD, pose, noise_px=noise_px, seed=i) for i, pose in enumerate(shown)}
    return CameraViews("cam", (LENS.width, LENS.height), found)


def test_a_lens_that_the_rig_file_says_is_fitted_anew() -> None:
    views = views_of(poses(8))
    views.rig_lens = WRONG
    found = calibrate_rig([views], [])
    assert not found.kept
    assert found.lenses["cam"].intrinsics.fx == pytest.approx(LENS.fx, rel=0.02)
    assert found.cameras["cam"].intrinsics == found.lenses["cam"].intrinsics


def test_a_lens_of_the_factory_is_kept() -> None:
    views = views_of(poses(8))
    views.factory_lens, views.rig_lens = LENS, WRONG
    found = calibrate_rig([views], [])
    assert not found.lenses
    assert found.kept["cam"].source == "factory"
    assert found.cameras["cam"].intrinsics is None


@pytest.mark.parametrize("shown", [poses(2), poses(1) * 20], ids=["two places", "one, for long"])
def test_a_lens_of_the_rig_file_is_kept_where_the_board_was_in_too_few_places(shown: list[Float64]) -> None:
    views = views_of(shown)
    views.rig_lens = WRONG
    found = calibrate_rig([views], [])
    assert not found.lenses
    assert found.kept["cam"].source == "rig file"
    assert "places, 3 are the least" in found.kept["cam"].why
    assert found.cameras["cam"].intrinsics is None
    views.rig_lens = None
    with pytest.raises(CalibrationError, match=r"cam: the board was seen in . places, 3 are the least"):
        calibrate_rig([views], [])


def test_a_lens_of_the_rig_file_is_kept_where_what_was_seen_tells_less() -> None:
    views = views_of(poses(3, seed=2), noise_px=1.0)
    views.rig_lens = LENS
    found = calibrate_rig([views], [])
    assert not found.lenses
    assert "tilt the board more" in found.kept["cam"].why


@pytest.mark.parametrize("tilt_rad", [0.0, 0.01, 0.35])
def test_boards_that_are_all_parallel_tell_no_focal_length(tilt_rad: float) -> None:
    """The fit would be sure of a wrong one: the lens of the rig file is kept."""
    turn = np.eye(4)
    turn[:3, :3] = rotations_of([[tilt_rad, 0.0, 0.0]])[0]
    shown = []
    for k in range(8):
        pose = turn.copy()
        pose[:3, 3] = [-0.15 + 0.04 * k, -0.1 + 0.02 * (k % 3), 0.5 + 0.05 * (k % 4)]
        shown.append(pose)
    views = views_of(shown)
    views.rig_lens = LENS
    found = calibrate_rig([views], [])
    assert not found.lenses
    assert "tilt it more" in found.kept["cam"].why
    views.rig_lens = None
    with pytest.raises(CalibrationError, match=r"tilted by . degrees at most"):
        calibrate_rig([views], [])


def fisheye_views(count: int) -> CameraViews:
    """With the board all over the picture, where the lens bends most."""
    found = {}
    for i, pose in enumerate(poses(count, distance_m=0.5)):
        pose[:3, 3] += [0.6 * np.sin(i), 0.5 * np.cos(2 * i), 0.0]
        found[f"{i:03d}"] = seen(CHECKERBOARD, pose, FISHEYE, noise_px=0.1, seed=i)
    return CameraViews("cam", (FISHEYE.width, FISHEYE.height), found)


def test_a_fisheye_lens_of_the_rig_file_is_kept_where_it_fits_better_than_what_is_fitted() -> None:
    views = fisheye_views(12)
    views.rig_lens = FISHEYE
    found = calibrate_rig([views], [])
    assert not found.lenses
    assert "it fits what was seen better (0.1" in found.kept["cam"].why
    errors = np.concatenate(found.panels["cam"].errors_px)
    assert np.sqrt((errors**2).sum(axis=1).mean()) < 0.2


def test_a_lens_that_cannot_have_shown_the_board_is_fitted_anew_or_refused_by_name() -> None:
    """Of 0.1 px focal length: all that is seen lies more than a quarter turn aside."""
    views = views_of(poses(8))
    views.rig_lens = replace(FISHEYE, width=LENS.width, height=LENS.height, fx=0.1, fy=0.1)
    assert calibrate_rig([views], []).lenses["cam"].intrinsics.fx == pytest.approx(LENS.fx, rel=0.02)
    views = views_of(poses(2))
    views.rig_lens = replace(FISHEYE, width=LENS.width, height=LENS.height, fx=0.1, fy=0.1)
    with pytest.raises(CalibrationError, match="camera cam: a kannala_brandt4 lens as it is"):
        calibrate_rig([views], [])


def test_a_board_that_lies_still_is_one_place_though_its_corners_come_and_go() -> None:
    views = views_of(poses(1) * 9)
    for name, whole in list(views.sightings.items())[::2]:
        part = slice(None, -4)
        views.sightings[name] = replace(
            whole, ids=whole.ids[part], board_m=whole.board_m[part], pixels=whole.pixels[part]
        )
    (name,) = views.spread()
    assert len(views.sightings[name]) == len(CHECKERBOARD.corners_m)


def test_a_camera_that_never_saw_the_board_is_drawn_all_the_same() -> None:
    from capture.calibration.chart import draw_chart

    views = views_of([])
    views.factory_lens = LENS
    assert draw_chart(calibrate_rig([views], []).panels).shape[0] > 300
