"""A lens from sightings of a board."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from capture.calibration.applied import with_lens
from capture.calibration.boards import Sighting
from capture.calibration.lenses import calibrate_lens
from capture.frames import CameraInfo, Intrinsics, StreamInfo
from codec.errors import CalibrationError, ConfigError
from tests.capture.calibration.rendered_board import CHECKERBOARD, LENS, poses, seen

SIZE = (LENS.width, LENS.height)


def sightings(count: int, noise_px: float = 0.0) -> list[Sighting]:
    return [seen(CHECKERBOARD, pose, noise_px=noise_px, seed=i) for i, pose in enumerate(poses(count))]


def test_an_exact_board_gives_the_exact_lens() -> None:
    found = calibrate_lens(sightings(8), SIZE, name="cam").intrinsics
    assert (found.width, found.height, found.model) == (*SIZE, "brown_conrady")
    assert np.allclose(
        [found.fx, found.fy, found.cx, found.cy], [LENS.fx, LENS.fy, LENS.cx, LENS.cy], atol=0.02
    )
    assert np.allclose(found.coefficients, LENS.coefficients, atol=1e-3)


def test_noise_is_told_and_costs_what_it_says() -> None:
    lens = calibrate_lens(sightings(15, noise_px=0.3), SIZE, name="cam")
    assert 0.3 < lens.rms_px < 0.5  # of x and y together
    assert 0.1 < lens.focal_deviation_px < 5
    assert abs(lens.intrinsics.fx - LENS.fx) < 4 * lens.focal_deviation_px


def test_a_sighting_that_does_not_fit_is_left_out() -> None:
    wrong = sightings(10)
    wrong[4] = replace(wrong[4], pixels=wrong[4].pixels + np.random.default_rng(2).normal(0, 6, (28, 2)))
    lens = calibrate_lens(wrong, SIZE, name="cam")
    assert np.flatnonzero(np.isnan(lens.view_rms_px)).tolist() == [4]
    assert abs(lens.intrinsics.fx - LENS.fx) < 0.5


def test_too_little_is_said() -> None:
    with pytest.raises(CalibrationError, match=r"cam: the board was seen in 2 places, 3 are the least"):
        calibrate_lens(sightings(2), SIZE, name="cam")
    scattered = np.random.default_rng(1)
    nonsense = [replace(s, pixels=scattered.uniform(0, 480, s.pixels.shape)) for s in sightings(5)]
    with pytest.raises(CalibrationError, match="camera cam: "):
        calibrate_lens(nonsense, SIZE, name="cam")


def test_a_lens_goes_to_pictures_that_have_none_at_their_size() -> None:
    factory = Intrinsics(320, 240, 300, 300, 160, 120)
    info = CameraInfo(
        "cam",
        "opencv",
        "webcam",
        (
            StreamInfo("color", "jpeg", 320, 240, 30.0),
            StreamInfo("infrared1", "y8", 320, 240, 30.0, intrinsics=factory),
            StreamInfo("depth", "z16", 320, 240, 30.0),
        ),
    )
    color, infrared, depth = with_lens(info, LENS).streams
    assert infrared.intrinsics == factory
    assert depth.intrinsics is None
    assert color.intrinsics is not None
    assert color.intrinsics.fx == LENS.fx / 2
    assert color.intrinsics.cx == pytest.approx(158.75)
    cut = replace(info, streams=(StreamInfo("color", "bgr8", LENS.width - 8, LENS.height, 30.0),))
    later = replace(LENS, fx=2 * LENS.fx)
    again = with_lens(
        with_lens(info, LENS), later
    ).streams  # a rig file of later takes an earlier one's place
    assert again[0].intrinsics is not None
    assert again[0].intrinsics.fx == LENS.fx
    assert [stream.intrinsics_from_rig for stream in again] == [True, False, False]
    assert again[1:] == info.streams[1:]
    (filled,) = with_lens(cut, LENS).streams
    assert filled.intrinsics == replace(LENS, width=LENS.width - 8)  # as video encoders fill up blocks
    odd = replace(info, streams=(StreamInfo("color", "bgr8", 1920, 1080, 30.0),))
    with pytest.raises(ConfigError, match="another shape"):
        with_lens(odd, LENS)
