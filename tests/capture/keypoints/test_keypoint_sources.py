"""What every source promises: how it is opened, what it takes, and what its results are like."""

from __future__ import annotations

import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest

from capture.keypoints import open_source, seen_person
from capture.keypoints._options import checked_options
from capture.keypoints._pictures import checked_boxes, colour_picture, cut_out, whole
from codec.errors import ConfigError, EstimatorError


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="no key point source 'openpose'; there are mediapipe, rtmpose"):
        open_source("openpose", {})


class _Taking:
    WAYS_OUT: ClassVar = {"model": "the shop has one"}

    def __init__(self, model: str, people: int = 1, rate: float = 1.0, device: str | None = None) -> None:
        self.given = (model, people, rate, device)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "option model is missing, a text; the shop has one"),
        ({"model": "m", "peopel": 2}, "no option peopel; did you mean people"),
        ({"model": "m", "xyz": 2}, "no option xyz; it takes model, people"),
        ({"model": "m", "people": "two"}, "people = 'two' is not a whole number"),
        ({"model": "m", "people": True}, "people = True is not a whole number"),
        ({"model": "m", "people": 1.5}, "people = 1.5 is not a whole number"),
        ({"model": "m", "rate": "fast"}, "rate = 'fast' is not a number"),
        ({"model": 3}, "model = 3 is not a text"),
        ({"model": "m", "device": 3}, "device = 3 is not a text"),
    ],
)
def test_a_wrong_option_is_named_with_the_right_one(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        checked_options("some", _Taking, options)


def test_right_options_come_through_and_a_whole_number_serves_as_a_number() -> None:
    options = {"model": "m", "people": 3, "rate": 2, "device": None}
    assert _Taking(**checked_options("some", _Taking, options)).given == ("m", 3, 2.0, None)


def test_the_package_alone_loads_no_detector_and_no_service() -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, capture.keypoints, capture.keypoints.drawing\nprint(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    for heavy in ("mediapipe", "onnxruntime", "pydantic", "capture.service", "capture.ring"):
        assert heavy not in told


def test_numbers_that_are_not_finite_become_joints_that_are_not_seen() -> None:
    points, trust = np.full((14, 2), 7.0), np.full(14, 0.5)
    points[3, 1], points[5, 0], trust[7], trust[8], trust[9] = np.nan, np.inf, np.nan, -0.2, 1.7
    person = seen_person("lsp14", points, trust)
    assert person is not None
    assert np.isfinite(person.points_px).all()
    assert np.flatnonzero(person.confidences == 0).tolist() == [3, 5, 7, 8]
    assert person.confidences[9] == 1.0
    assert person.confidences[0] == 0.5


def test_somebody_without_a_joint_is_nobody() -> None:
    assert seen_person("lsp14", np.zeros((14, 2)), np.zeros(14)) is None
    assert seen_person("lsp14", np.full((14, 2), np.nan), np.ones(14)) is None


def test_points_in_space_are_kept_only_where_all_are_finite() -> None:
    points, trust, world = np.zeros((14, 2)), np.ones(14), np.zeros((14, 3))
    whole_person = seen_person("lsp14", points, trust, world_m=world)
    assert whole_person is not None
    assert whole_person.world_m is not None
    world[2, 2] = np.nan
    broken = seen_person("lsp14", points, trust, world_m=world, box_index=4)
    assert broken is not None
    assert broken.world_m is None
    assert broken.box_index == 4


def test_another_number_of_joints_is_told() -> None:
    with pytest.raises(EstimatorError, match="coco17 has 17 joints"):
        seen_person("coco17", np.zeros((18, 2)), np.ones(18))


@pytest.mark.parametrize("shape", [(0, 0, 3), (0, 5), (4, 5, 4), (4, 5, 2), (5,), (2, 4, 5, 3)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(EstimatorError, match=r"is no picture: \(height, width, 3\)"):
        colour_picture(np.zeros(shape, np.uint8))


def test_a_picture_of_another_type_is_refused() -> None:
    with pytest.raises(EstimatorError, match="type uint16 is no picture"):
        colour_picture(np.zeros((4, 5), np.uint16))


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1)])
def test_a_grey_picture_becomes_a_colour_one(shape: tuple[int, ...]) -> None:
    grey = np.arange(20, dtype=np.uint8).reshape(shape)
    assert np.array_equal(colour_picture(grey), np.repeat(grey.reshape(4, 5, 1), 3, axis=2))


def test_boxes_that_hold_nothing_are_left_out_and_the_others_keep_their_places() -> None:
    boxes = [(0, 0, 10, 20), (np.nan, 0, 5, 5), (5, 5, 5, 9), (1, 2, 3, np.inf), (-5, -5, 9, 9)]
    assert checked_boxes(boxes) == [(0, (0, 0, 10, 20)), (4, (-5, -5, 9, 9))]
    assert checked_boxes([]) == []
    with pytest.raises(EstimatorError, match=r"boxes are \(n, 4\)"):
        checked_boxes([1, 2, 3, 4])


@pytest.mark.parametrize("size", [(48, 64), (240, 320), (1500, 2000)])
def test_a_point_is_found_again_where_it_was_cut_out(size: tuple[int, int]) -> None:
    """Enlarged, shrunk a little and shrunk a lot."""
    height, width = size
    picture = np.zeros((height, width, 3), np.uint8)
    spot = (0.4 * width, 0.3 * height)
    radius = max(1.5, width / 80)
    rows, columns = np.mgrid[:height, :width]
    picture[np.hypot(columns - spot[0], rows - spot[1]) <= radius] = 255
    box = (0.2 * width, 0.1 * height, 0.7 * width, 0.9 * height)
    cut = cut_out(picture, box, width=192, height=256, margin=1.25)
    assert cut.canvas.shape == (256, 192, 3)
    bright = np.argwhere(cut.canvas[:, :, 0] > 200)[:, ::-1]
    middle = bright.mean(axis=0, keepdims=True)
    assert np.abs(cut.to_picture(middle)[0] - spot).max() < max(0.5, 0.5 * cut.scale)


def test_a_box_is_widened_to_the_shape_of_the_canvas_around_its_middle() -> None:
    cut = cut_out(np.zeros((100, 100, 3), np.uint8), (40, 10, 60, 90), width=60, height=80, margin=1.25)
    left_top, right_bottom = cut.to_picture([(-0.5, -0.5), (59.5, 79.5)])
    assert np.allclose((left_top + right_bottom) / 2 + 0.5, (50, 50))
    assert np.allclose(right_bottom - left_top, (75, 100))


def test_beyond_the_picture_the_canvas_is_black() -> None:
    picture = np.full((50, 50, 3), 255, np.uint8)
    cut = cut_out(picture, (30, 0, 80, 50), width=100, height=100, margin=1.0)
    assert (cut.canvas[:, 45:] == 0).all()
    assert (cut.canvas[2:-2, 2:38] == 255).all()
    assert whole(picture) == (0.0, 0.0, 50.0, 50.0)
