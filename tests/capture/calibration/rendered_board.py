"""Pictures of a board as cameras with known lenses and places would take them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from capture.calibration.boards import Board, Picture, Sighting
from capture.frames import Intrinsics
from capture.lenses import lens_of

Float64 = npt.NDArray[np.float64]

CHECKERBOARD = Board(7, 4, 0.06)
CHARUCO = Board(7, 5, 0.06, 0.045, "DICT_5X5_100")
LENS = Intrinsics(640, 480, 560.0, 563.0, 318.0, 242.0, "brown_conrady", (-0.05, 0.03, 0.0, 0.0, 0.0))

_DOTS_PER_SQUARE = 60


def poses(count: int, seed: int = 1, distance_m: float = 1.0) -> list[Float64]:
    """(4, 4) camera_from_board: the board's middle before the camera, tilted and moved in every way."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        pose = np.eye(4)
        pose[:3, :3] = cv2.Rodrigues(random.uniform(-0.5, 0.5, 3))[0]
        middle = np.array([0.18, 0.09, 0.0])
        place = np.array([*random.uniform(-0.12, 0.12, 2), distance_m + random.uniform(-0.2, 0.3)])
        pose[:3, 3] = place - pose[:3, :3] @ middle
        found.append(pose)
    return found


def seen(
    board: Board, pose: Float64, lens: Intrinsics = LENS, *, noise_px: float = 0.0, seed: int = 0
) -> Sighting:
    """The corners exactly where they are, or with noise."""
    corners = board.corners_m
    placed = corners @ pose[:3, :3].T + pose[:3, 3]
    pixels = lens_of(lens).pixels(placed[:, :2] / placed[:, 2:])
    pixels = pixels + np.random.default_rng(seed).normal(0.0, noise_px, pixels.shape) if noise_px else pixels
    return Sighting(np.arange(len(corners)), corners, pixels)


def picture(board: Board, pose: Float64, lens: Intrinsics = LENS) -> Picture:
    """(height, width, 3): the board before a grey wall, through a lens without distortion."""
    flat, origin = _printed(board)
    metres_per_dot = board.square_m / _DOTS_PER_SQUARE
    board_from_dots = np.array(
        [[metres_per_dot, 0, -origin[0]], [0, metres_per_dot, -origin[1]], [0, 0, 1.0]]
    )
    matrix = np.array([[lens.fx, 0.0, lens.cx], [0.0, lens.fy, lens.cy], [0.0, 0.0, 1.0]])
    camera = matrix @ np.column_stack([pose[:3, 0], pose[:3, 1], pose[:3, 3]])
    shown = cv2.warpPerspective(
        flat, camera @ board_from_dots, (lens.width, lens.height), flags=cv2.INTER_AREA, borderValue=(120,)
    )
    return np.asarray(cv2.cvtColor(cv2.GaussianBlur(shown, (3, 3), 0), cv2.COLOR_GRAY2BGR), np.uint8)


def _printed(board: Board) -> tuple[Picture, tuple[float, float]]:
    """The board with a white margin of a square, and how far from its edge the first corner lies, in m."""
    dots = _DOTS_PER_SQUARE
    if board.is_charuco:
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary))
        made = cv2.aruco.CharucoBoard((board.columns, board.rows), board.square_m, board.marker_m, dictionary)
        flat = made.generateImage((board.columns * dots, board.rows * dots))
    else:
        squares = np.add.outer(np.arange(board.rows + 1), np.arange(board.columns + 1)) % 2
        flat = np.kron(squares * 235 + 10, np.ones((dots, dots))).astype(np.uint8)
    flat = cv2.copyMakeBorder(
        np.asarray(flat, np.uint8), dots, dots, dots, dots, cv2.BORDER_CONSTANT, value=(245,)
    )
    # The middle of a dot is half a dot from its edge; two squares lie before the first inner corner.
    first = (2 * dots - 0.5) * board.square_m / dots
    return np.asarray(flat, np.uint8), (first, first)
