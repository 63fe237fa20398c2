"""Boards by name, and finding them in pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from capture.calibration.boards import Board, parse_board
from capture.frames import Intrinsics
from codec.errors import ConfigError
from tests.capture.calibration.rendered_board import CHARUCO, CHECKERBOARD, LENS, picture, poses, seen

PINHOLE = Intrinsics(LENS.width, LENS.height, LENS.fx, LENS.fy, LENS.cx, LENS.cy)


@pytest.mark.parametrize("board", [CHECKERBOARD, CHARUCO], ids=["checkerboard", "charuco"])
def test_corners_are_found_to_a_fraction_of_a_pixel(board: Board) -> None:
    for pose in poses(5):
        found = board.find(picture(board, pose, PINHOLE))
        assert found is not None
        assert len(found) >= 20
        true = seen(board, pose, PINHOLE).pixels[found.ids]
        assert np.abs(found.pixels - true).max() < 0.6
        assert np.abs(found.pixels - true).mean() < 0.25


def test_a_checkerboard_that_stands_on_its_head_keeps_its_corners_apart() -> None:
    for pose in poses(3):
        upright = picture(CHECKERBOARD, pose, PINHOLE)
        found, turned = (
            CHECKERBOARD.find(upright),
            CHECKERBOARD.find(np.ascontiguousarray(upright[::-1, ::-1])),
        )
        assert found is not None
        assert turned is not None
        back = np.array([LENS.width - 1, LENS.height - 1]) - turned.pixels
        assert np.abs(back - found.pixels).max() < 0.5


def test_what_is_no_board_is_not_found() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3)).astype(np.uint8)
    for board in (CHECKERBOARD, CHARUCO):
        assert board.find(noise) is None
        assert board.find(np.zeros((480, 640), np.uint8)) is None
        assert board.find(np.zeros((4, 4), np.uint8)) is None


def test_names() -> None:
    assert parse_board("checkerboard:9x6:25mm") == Board(9, 6, 0.025)
    assert parse_board("charuco:7x5:4cm:0.03m:DICT_5X5_100") == Board(7, 5, 0.04, 0.03, "DICT_5X5_100")
    assert not parse_board("checkerboard:9x6:25mm").is_ambiguous
    assert parse_board("checkerboard:8x6:25mm").is_ambiguous
    assert not parse_board("charuco:8x6:40mm:30mm").is_ambiguous


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "checkerboard",
            "checkerboard:9x6",
            "checkerboard:9:25mm",
            "checkerboard:9x6:25",
            "chess:9x6:25mm",
        ),
        *("checkerboard:1x6:25mm", "checkerboard:2x2:25mm", "checkerboard:9x6:0mm", "checkerboard:9x6:99m"),
        *("charuco:7x5:30mm:40mm", "charuco:7x5:40mm:30mm:DICT_NONE", "charuco:7x5:40mm:30mm:__doc__"),
    ],
)
def test_names_of_no_board_are_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        parse_board(name)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("checkerboard:2x3:60mm", "a checkerboard has 3x3 to 100x100 inner corners"),
        ("checkerboard:9x101:60mm", "a checkerboard has 3x3 to 100x100 inner corners"),
        ("charuco:2x8:40mm:30mm", "a ChArUco board has 3x4 to 100x100 squares"),
        ("charuco:3x3:40mm:30mm", "a ChArUco board has 3x4 to 100x100 squares"),
        ("charuco:20x20:40mm:30mm", "have 200 markers, and DICT_4X4_50 has 50"),
        ("charuco:11x7:40mm:30mm:DICT_APRILTAG_25h9", "have 38 markers, and DICT_APRILTAG_25h9 has 35"),
    ],
)
def test_boards_that_can_never_be_found_are_refused(name: str, wanted: str) -> None:
    with pytest.raises(ConfigError, match=wanted) as told:
        parse_board(name)
    assert str(told.value).startswith(repr(name))


@pytest.mark.parametrize("name", ["checkerboard:3x3:60mm", "charuco:4x3:60mm:45mm", "charuco:20x5:60mm:45mm"])
def test_the_smallest_boards_are_found(name: str) -> None:
    board = parse_board(name)
    assert board.find(picture(board, poses(1, distance_m=1.5)[0], PINHOLE)) is not None


def test_one_row_of_a_charuco_board_is_no_sighting() -> None:
    board, pose = replace(CHARUCO, columns=9), np.eye(4)
    pose[:3, 3] = -0.25, -0.1, 1.0
    shown = picture(board, pose, PINHOLE)
    whole = board.find(shown)
    assert whole is not None
    shown[int(whole.pixels[whole.ids // 8 == 1][:, 1].min()) + 6 :] = 120
    assert len(board._detector().detectBoard(shown)[1]) == 8
    assert board.find(shown) is None


def test_what_to_check_fits_the_board() -> None:
    assert "(then name it 8x5)" in parse_board("checkerboard:9x6:25mm").what_to_check
    odd, even = (parse_board(f"charuco:7x{rows}:40mm:30mm:DICT_5X5_100").what_to_check for rows in (5, 6))
    assert "markers are of DICT_5X5_100" in odd
    assert "legacy" not in odd
    assert "legacy" in even
