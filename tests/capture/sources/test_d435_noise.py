"""Simulated depth has the statistics measured on real D4xx frames."""

from __future__ import annotations

import lz4.frame
import numpy as np
import pytest

from capture.sources._d435_noise import BASELINE_MM, SUBPIXELS, StereoNoise, lattice_table
from capture.sources.simulated import Loop, render_loop
from capture.specs import SimulatedSpec, StreamSpec

C_MM = 424.0 * BASELINE_MM * SUBPIXELS


@pytest.fixture(scope="module")
def loop() -> Loop:
    return render_loop(SimulatedSpec(depth=StreamSpec(848, 480, 6.0), loop_s=1.5))


def test_every_value_lies_on_the_disparity_lattice(loop: Loop) -> None:
    allowed = lattice_table(C_MM)
    for depth in loop.depth:
        assert depth.shape == (480, 848)
        assert depth.dtype == np.uint16
        assert np.isin(depth, allowed).all()


def test_a_frame_has_about_a_thousand_values_holes_and_the_known_lz4_ratio(loop: Loop) -> None:
    for depth in loop.depth:
        assert 700 <= len(np.unique(depth)) <= 1100
        assert 0.05 <= (depth == 0).mean() <= 0.20
        ratio = depth.nbytes / len(lz4.frame.compress(depth.tobytes()))
        assert 2.0 <= ratio <= 3.4


def test_distances_are_those_of_a_room() -> None:
    loop = render_loop(SimulatedSpec(depth=StreamSpec(848, 480, 6.0), loop_s=0.1))
    depth = loop.depth[0][loop.depth[0] > 0]
    assert 450 < depth.min() < 700
    assert 5500 < np.percentile(depth, 99.9) < 9000


def _disparities_of_a_wall(frames: int) -> np.ndarray:
    """(frames, height, width) disparity in 1/32 px of a flat wall at 2 m, holes as NaN."""
    imager = StereoNoise(np.full((240, 424), 0.5, np.float32), 424.0, seed=7)
    nothing = np.empty(0, np.intp), np.empty(0, np.float32)
    depth = np.array([imager.measure(*nothing) for _ in range(frames)], np.float64)
    return np.where(depth > 0, C_MM / np.maximum(depth, 1), np.nan)[:, :, 40:]


def test_noise_is_2_6_of_32_of_a_pixel_and_new_in_every_frame() -> None:
    disparity = _disparities_of_a_wall(40)
    assert np.nanmedian(np.nanstd(disparity, axis=0)) == pytest.approx(2.6, abs=0.35)
    assert np.nanmedian(disparity) == pytest.approx(C_MM / 2000.0, abs=2.0)
    centred = disparity - np.nanmean(disparity, axis=0)
    power = np.nanmean(centred**2)
    assert abs(np.nanmean(centred[1:] * centred[:-1])) / power < 0.1
    # Smooth across the image: neighbours agree, and at 30 pixels nothing is left.
    assert np.nanmean(centred[:, :, 2:] * centred[:, :, :-2]) / power > 0.8
    assert abs(np.nanmean(centred[:, :, 30:] * centred[:, :, :-30])) / power < 0.2


def test_a_near_thing_casts_a_shadow_of_holes_to_its_left() -> None:
    imager = StereoNoise(np.full((120, 212), 0.25, np.float32), 424.0, seed=3)
    rows, columns = np.mgrid[30:90, 100:140]
    pixel = (rows * 212 + columns).ravel()
    depth = imager.measure(pixel, np.full(len(pixel), 1.0, np.float32))
    # Nearer by 0.75 1/m: 424 * 0.05 * 0.75 = 16 pixels of the wall are hidden from the right imager.
    assert (depth[40:80, 86:98] == 0).mean() > 0.9
    assert (depth[40:80, 146:160] == 0).mean() < 0.1
    assert np.median(depth[40:80, 105:135]) == pytest.approx(1000, rel=0.02)
    assert np.median(depth[40:80, 150:]) == pytest.approx(4000, rel=0.05)


def test_the_left_border_is_mostly_holes(loop: Loop) -> None:
    border = loop.depth[0][:, :38]
    assert 0.9 < (border == 0).mean() < 1.0


def test_something_behind_the_background_is_not_seen() -> None:
    background = np.full((60, 106), 0.5, np.float32)
    imager = StereoNoise(background, 424.0, seed=1)
    pixel = np.arange(60 * 106)
    depth = imager.measure(pixel, np.full(len(pixel), 0.2, np.float32))
    assert np.median(depth[depth > 0]) == pytest.approx(2000, rel=0.03)


def test_the_same_seed_gives_the_same_frames_and_another_seed_others() -> None:
    spec = SimulatedSpec(depth=StreamSpec(160, 120, 6.0), loop_s=0.5)
    first, again = render_loop(spec), render_loop(spec)
    other = render_loop(SimulatedSpec(depth=StreamSpec(160, 120, 6.0), loop_s=0.5, seed=1))
    for a, b, c in zip(first.depth, again.depth, other.depth, strict=True):
        assert np.array_equal(a, b)
        assert (a != c).mean() > 0.5
