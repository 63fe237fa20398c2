"""The board that is held before the cameras: a checkerboard or a ChArUco board, and finding it in a picture.

Knows one picture at a time. Lengths are metres; board coordinates: x along a row, y down the rows, z = 0,
away from who looks at it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from codec.errors import ConfigError

Float64 = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]

HOW_TO_NAME: Final = (
    "checkerboard:COLUMNSxROWS:SQUARE (inner corners, e.g. checkerboard:9x6:25mm) or"
    " charuco:COLUMNSxROWS:SQUARE:MARKER[:DICTIONARY] (squares, e.g. charuco:7x5:40mm:30mm:DICT_5X5_100)"
)
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(mm|cm|m)")
_UNIT_M: Final = {"mm": 0.001, "cm": 0.01, "m": 1.0}
_SIZE = re.compile(r"(\d+)x(\d+)")
_FEWEST_CORNERS: Final = 6
"""Below that a sighting says too little: a plane's pose takes four, and some of them will be noise."""
_FEWEST_INNER: Final = 3
"""Rows and columns of inner corners that OpenCV looks for in a checkerboard."""
_FEWEST_SQUARES: Final = (3, 4)
"""Of a ChArUco board, in either order: its six inner corners."""
_MOST: Final = 100
_COARSE_PX: Final = 1280
"""A board that is not found in a picture this large is not there: looking closer takes seconds."""


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """Corners of the board in one picture.

    ids     (n,) int        which corners of the board
    board_m (n, 3) float64  where they are on the board
    pixels  (n, 2) float64  where they are in the picture
    """

    ids: npt.NDArray[np.int64]
    board_m: Float64
    pixels: Float64

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Board:
    """A checkerboard of `columns` x `rows` inner corners, or a ChArUco board of that many squares."""

    columns: int
    rows: int
    square_m: float
    marker_m: float = 0.0
    dictionary: str = ""

    @property
    def is_charuco(self) -> bool:
        return bool(self.dictionary)

    @property
    def corners_m(self) -> Float64:
        """(n, 3): all inner corners, row by row."""
        less = 1 if self.is_charuco else 0
        columns, rows = self.columns - less, self.rows - less
        grid = np.zeros((rows * columns, 3))
        grid[:, 0] = np.tile(np.arange(columns), rows)
        grid[:, 1] = np.repeat(np.arange(rows), columns)
        return grid * self.square_m

    @property
    def is_ambiguous(self) -> bool:
        """A checkerboard looks the same after half a turn, unless just one of its counts is odd."""
        return not self.is_charuco and self.columns % 2 == self.rows % 2

    @property
    def what_to_check(self) -> str:
        """Where it is found in no picture at all: what is likely to be wrong."""
        size = f"{self.columns}x{self.rows}"
        if not self.is_charuco:
            return (
                f"check that {size} counts its inner corners and not its squares (then name it"
                f" {self.columns - 1}x{self.rows - 1}), that all of it is in the picture with a white rim"
                " around, and that it is no ChArUco board"
            )
        legacy = (
            ", and that it is not of the legacy pattern (OpenCV before 4.6: a marker in the first square),"
            " which has to be printed anew"
        )
        return (
            f"check that {size} counts its squares, columns first, and not its inner corners (then name it"
            f" {self.columns + 1}x{self.rows + 1}), that its markers are of {self.dictionary}"
            f"{legacy if self.rows % 2 == 0 else ''}"
        )

    def find(self, picture: Picture) -> Sighting | None:
        """The board in a picture (height, width) or (height, width, 3) BGR; None where it is not seen."""
        gray = (
            picture if picture.ndim == 2 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
        )
        if min(gray.shape[:2], default=0) < 16:
            return None
        return self._find_charuco(gray) if self.is_charuco else self._find_checkerboard(gray)

    def _find_checkerboard(self, gray: Picture) -> Sighting | None:
        size = (self.columns, self.rows)
        factor = max(1.0, max(gray.shape) / _COARSE_PX)
        coarse = gray
        if factor > 1.0:
            coarse = np.asarray(
                cv2.resize(gray, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
            )
        flags = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_FAST_CHECK
        found, corners = cv2.findChessboardCorners(coarse, size, flags=flags)
        if not found:
            return None
        pixels = np.asarray(corners, np.float64).reshape(-1, 2)
        pixels = (pixels + 0.5) * factor - 0.5
        # The window must not reach the neighbouring corners, or it is drawn towards them.
        grid = pixels.reshape(self.rows, self.columns, 2)
        across = np.linalg.norm(np.diff(grid, axis=1), axis=2).min(initial=np.inf)
        down = np.linalg.norm(np.diff(grid, axis=0), axis=2).min(initial=np.inf)
        half = int(np.clip(min(across, down) / 3, 2, 15))
        refined = cv2.cornerSubPix(
            gray,
            np.ascontiguousarray(pixels, np.float32).reshape(-1, 1, 2),
            (half, half),
            (-1, -1),
            (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 60, 1e-3),
        )
        ordered = np.asarray(refined, np.float64).reshape(-1, 2)
        if not self.is_ambiguous and not self._begins_dark(gray, ordered):
            ordered = ordered[::-1]
        corners_m = self.corners_m
        return Sighting(np.arange(len(corners_m)), corners_m, ordered)

    def _begins_dark(self, gray: Picture, pixels: Float64) -> bool:
        """Whether the first square between corners is darker than the last: tells which end is which."""
        grid = pixels.reshape(self.rows, self.columns, 2)
        ends = [grid[:2, :2].mean((0, 1)), grid[-2:, -2:].mean((0, 1))]
        first, last = (float(gray[round(y), round(x)]) for x, y in ends)
        return first < last

    def _find_charuco(self, gray: Picture) -> Sighting | None:
        corners, ids, _, _ = self._detector().detectBoard(gray)
        if ids is None or len(ids) < _FEWEST_CORNERS:
            return None
        flat = np.asarray(ids, np.int64).ravel()
        if np.sum(np.bincount(flat // (self.columns - 1)) >= 2) < 2:
            return None  # corners of one row: they say nothing of the plane
        return Sighting(flat, self.corners_m[flat], np.asarray(corners, np.float64).reshape(-1, 2))

    def _detector(self) -> Any:
        size = (self.columns, self.rows)
        board = cv2.aruco.CharucoBoard(size, self.square_m, self.marker_m, _markers(self.dictionary))
        return cv2.aruco.CharucoDetector(board)


def parse_board(text: str) -> Board:
    """A board by its name on the command line, see HOW_TO_NAME. Raises ConfigError, also for a board that can
    never be found."""
    kind, _, rest = text.partition(":")
    parts = rest.split(":")
    size = _SIZE.fullmatch(parts[0])
    wanted = {"checkerboard": (2, 2), "charuco": (3, 4)}.get(kind)
    if wanted is None or size is None or not wanted[0] <= len(parts) <= wanted[1]:
        raise ConfigError(f"no board is called {text!r}; name it {HOW_TO_NAME}")
    columns, rows = int(size[1]), int(size[2])
    lengths = [_metres(text, part) for part in parts[1:3]]
    if kind == "checkerboard":
        if not _FEWEST_INNER <= min(columns, rows) <= max(columns, rows) <= _MOST:
            raise ConfigError(
                f"{text!r}: a checkerboard has {_FEWEST_INNER}x{_FEWEST_INNER} to {_MOST}x{_MOST} inner"
                " corners, points where four squares meet"
            )
        return Board(columns, rows, lengths[0])
    short, long = sorted((columns, rows))
    if not (short >= _FEWEST_SQUARES[0] and _FEWEST_SQUARES[1] <= long <= _MOST):
        raise ConfigError(f"{text!r}: a ChArUco board has 3x4 to {_MOST}x{_MOST} squares")
    dictionary = parts[3] if len(parts) == 4 else "DICT_4X4_50"
    if not dictionary.startswith("DICT_") or not isinstance(getattr(cv2.aruco, dictionary, None), int):
        raise ConfigError(f"{text!r}: OpenCV has no marker dictionary {dictionary}; DICT_4X4_50 is one")
    if not lengths[1] < lengths[0]:
        raise ConfigError(f"{text!r}: the marker must be smaller than its square")
    there_are = len(_markers(dictionary).bytesList)
    if columns * rows // 2 > there_are:
        raise ConfigError(
            f"{text!r}: {columns}x{rows} squares have {columns * rows // 2} markers, and {dictionary} has"
            f" {there_are}; name the dictionary it was printed with at the end, e.g. :DICT_5X5_1000"
        )
    return Board(columns, rows, lengths[0], lengths[1], dictionary)


def _markers(dictionary: str) -> Any:
    return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, dictionary))


def _metres(text: str, part: str) -> float:
    match = _LENGTH.fullmatch(part.strip())
    length_m = float(match[1]) * _UNIT_M[match[2]] if match else 0.0
    if not 0.0005 <= length_m <= 5.0:
        raise ConfigError(f"{text!r}: {part!r} is no length of a square; write it like 25mm")
    return length_m
