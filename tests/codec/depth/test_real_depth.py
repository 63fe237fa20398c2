"""Frames of real cameras, where they are at hand: ../shared/data/depth beside the checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import lz4.frame
import numpy as np
import numpy.typing as npt
import pytest

from codec.depth import CODEC_NAMES, get_codec, has_kernels
from tests.codec.depth.test_image_codecs import kept

DATA = Path(__file__).parents[4] / "shared" / "data" / "depth"
STEREO = ("aims_d4xx_640", "stepler_rs_720p_singles")
TIME_OF_FLIGHT = ("zdepth_azurekinect_320x288",)


def frames(name: str) -> list[npt.NDArray[Any]]:
    paths = sorted((DATA / name).glob("*.png"))[:2]
    if not paths:
        pytest.skip(f"no real depth images in ../shared/data/depth/{name}")
    return [np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)) for path in paths]


@pytest.mark.parametrize("codec", CODEC_NAMES)
@pytest.mark.parametrize("camera", STEREO + TIME_OF_FLIGHT)
def test_real_frame_comes_back_bit_for_bit(codec: str, camera: str) -> None:
    ours = get_codec(codec)
    for frame in frames(camera):
        assert frame.dtype == np.uint16
        if codec == "max" and not has_kernels():
            frame = middle(frame)
        np.testing.assert_array_equal(ours.decode(ours.encode(frame)), kept(ours, frame))


def middle(frame: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A piece that even the twin of max gets through in a second; a whole frame takes it half a minute."""
    top, left = (frame.shape[0] - 80) // 2, (frame.shape[1] - 100) // 2
    return frame[top : top + 80, left : left + 100]


@pytest.mark.parametrize("camera", STEREO + TIME_OF_FLIGHT)
def test_default_codec_halves_what_lz4_leaves(camera: str) -> None:
    ours = get_codec("lattice-lz4")
    for frame in frames(camera):
        assert 2 * len(ours.encode(frame)) < len(lz4.frame.compress(frame))
