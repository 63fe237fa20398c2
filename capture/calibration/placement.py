"""Where several cameras stand, from the moments they saw the board together.

Pairs that saw it together give a first guess (the median of what each moment says), joined along the pairs
with the most moments; then all cameras and boards are moved together until the corners fit best (bundle
adjustment: Levenberg-Marquardt with robust weights; Triggs et al. 2000). Lenses stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from capture.calibration.board_pose import StraightSighting, straightened
from capture.calibration.boards import Sighting
from capture.frames import Intrinsics
from codec.errors import CalibrationError

Float64 = npt.NDArray[np.float64]
Moment = Mapping[str, Sighting]
"""What each camera saw at one moment."""
_Seen = Mapping[str, StraightSighting]

_HUBER_PX: Final = 1.0
_ROUNDS: Final = 50
_OUTLIER: Final = 4.0
"""Times the median error of the moments."""
_ALWAYS_GOOD_PX: Final = 1.0
_LARGEST_RMS_PX: Final = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """world_from_camera (4, 4) of every camera, in metres, and how far the corners are off.

    The world is the frame of the first camera; moments: how many each camera shared with another one.
    """

    world_from_camera: dict[str, Float64]
    world_from_board: tuple[Float64, ...]
    rms_px: dict[str, float]
    moments: dict[str, int]


def place_cameras(lenses: Mapping[str, Intrinsics], moments: Sequence[Moment]) -> Placement:
    """Place every camera of `lenses`, relative to the first. Raises CalibrationError where one saw the board
    together with no other that leads to the first."""
    names = list(lenses)
    shared = [
        {name: straightened(lenses[name], moment[name]) for name in names if name in moment}
        for moment in moments
        if sum(name in moment for name in names) >= 2
    ]
    boards = [{name: _matrix(*seen.pose()) for name, seen in m.items()} for m in shared]
    camera_from_world = _first_guess(names, boards)
    board_guess = [_board_in_world(camera_from_world, seen) for seen in boards]
    cameras, placed = _Bundle(names, shared).solve(camera_from_world, board_guess)
    kept = _fitting(cameras, shared, placed)
    if len(kept) < len(shared) and all(sum(name in shared[i] for i in kept) >= 1 for name in names):
        shared, placed = [shared[i] for i in kept], [placed[i] for i in kept]
        cameras, placed = _Bundle(names, shared).solve(cameras, placed)
    rms = {name: _rms(name, cameras[name], shared, placed) for name in names}
    worst = max(rms, key=lambda name: rms[name])
    if not rms[worst] <= _LARGEST_RMS_PX:
        raise CalibrationError(
            f"what the cameras saw of the board does not fit together (camera {worst} is off by"
            f" {rms[worst]:.0f} px): were the pictures taken at the same moment, with the board held still?"
        )
    return Placement(
        {name: np.asarray(np.linalg.inv(cameras[name]), np.float64) for name in names},
        tuple(placed),
        rms,
        {name: sum(name in moment for moment in shared) for name in names},
    )


def _fitting(
    cameras: Mapping[str, Float64], moments: Sequence[_Seen], boards: Sequence[Float64]
) -> list[int]:
    """The moments that fit about as well as most do: at the others the board moved."""
    off_px = np.array(
        [
            max(_rms(name, cameras[name], [moment], [board]) for name in moment)
            for moment, board in zip(moments, boards, strict=True)
        ]
    )
    return np.flatnonzero(off_px <= max(_OUTLIER * float(np.median(off_px)), _ALWAYS_GOOD_PX)).tolist()


def _first_guess(names: list[str], boards: list[dict[str, Float64]]) -> dict[str, Float64]:
    placed = {names[0]: np.eye(4)}
    while len(placed) < len(names):
        together = {
            (known, new): [m for m in boards if known in m and new in m]
            for known in placed
            for new in names
            if new not in placed
        }
        known, new = max(together, key=lambda pair: len(together[pair]))
        moments = together[known, new]
        if not moments:
            lost = ", ".join(name for name in names if name not in placed)
            raise CalibrationError(
                f"nothing tells where {lost} stands: hold the board where it and {' or '.join(placed)} see it"
                " at the same moment"
            )
        new_from_known = [m[new] @ np.linalg.inv(m[known]) for m in moments]
        placed[new] = _middle(new_from_known) @ placed[known]
    return placed


def _middle(poses: list[Float64]) -> Float64:
    """The pose that the others are nearest to: a medoid, which no single wrong one moves."""
    stack = np.array(poses)
    cosines = (np.einsum("aij,bij->ab", stack[:, :3, :3], stack[:, :3, :3]) - 1.0) / 2.0
    turned = np.arccos(np.clip(cosines, -1.0, 1.0))
    moved = np.linalg.norm(stack[:, None, :3, 3] - stack[None, :, :3, 3], axis=2)
    scale_m = max(float(np.median(np.linalg.norm(stack[:, :3, 3], axis=1))), 0.1)
    middle: Float64 = stack[int(np.argmin((turned + moved / scale_m).sum(1)))]
    return middle


def _board_in_world(camera_from_world: Mapping[str, Float64], seen: Mapping[str, Float64]) -> Float64:
    return _middle([np.linalg.inv(camera_from_world[name]) @ pose for name, pose in seen.items()])


class _Bundle:
    """All cameras but the first, and all boards, as six numbers each: rotation vector and translation."""

    def __init__(self, names: list[str], moments: Sequence[_Seen]) -> None:
        self._names, self._moments = names, moments
        self._free = {name: 6 * i for i, name in enumerate(names[1:])}
        self._boards_at = 6 * len(self._free)
        self._count = self._boards_at + 6 * len(moments)

    def solve(
        self, cameras: Mapping[str, Float64], boards: Sequence[Float64]
    ) -> tuple[dict[str, Float64], list[Float64]]:
        values = np.concatenate([_vector(cameras[n]) for n in self._names[1:]] + [_vector(b) for b in boards])
        cost, hessian, gradient = self._build(values)
        damping = 1e-3
        for _ in range(_ROUNDS):
            damped = hessian + np.diag(damping * np.diag(hessian) + 1e-12)
            tried = values - np.linalg.solve(damped, gradient)
            tried_cost, tried_hessian, tried_gradient = self._build(tried)
            if tried_cost >= cost:
                damping *= 10.0
                if damping > 1e8:
                    break
                continue
            gain = (cost - tried_cost) / max(cost, 1e-12)
            values, cost, hessian, gradient = tried, tried_cost, tried_hessian, tried_gradient
            damping *= 0.1
            if gain < 1e-9:
                break
        placed = {name: _matrix(*self._six(values, at)) for name, at in self._free.items()}
        placed[self._names[0]] = np.eye(4)
        return placed, [_matrix(*self._six(values, self._boards_at + 6 * i)) for i in range(len(boards))]

    def _six(self, values: Float64, at: int) -> tuple[Float64, Float64]:
        return values[at : at + 3], values[at + 3 : at + 6]

    def _build(self, values: Float64) -> tuple[float, Float64, Float64]:
        cost, hessian, gradient = 0.0, np.zeros((self._count, self._count)), np.zeros(self._count)
        for i, moment in enumerate(self._moments):
            board_at = self._boards_at + 6 * i
            board = self._six(values, board_at)
            for name, seen in moment.items():
                camera_at = self._free.get(name)
                camera = (np.zeros(3), np.zeros(3)) if camera_at is None else self._six(values, camera_at)
                errors, by_camera, by_board = _residuals(seen, camera, board)
                size = np.hypot(errors[0::2], errors[1::2]).repeat(2)
                weights = np.minimum(1.0, _HUBER_PX / np.maximum(size, 1e-12))
                cost += float(weights @ (errors * errors))
                parts = [(board_at, by_board)] + ([] if camera_at is None else [(camera_at, by_camera)])
                for at, jacobian in parts:
                    gradient[at : at + 6] += jacobian.T @ (weights * errors)
                    for other_at, other in parts:
                        hessian[at : at + 6, other_at : other_at + 6] += jacobian.T @ (
                            weights[:, None] * other
                        )
        return cost, hessian, gradient


def _residuals(
    seen: StraightSighting, camera: tuple[Float64, Float64], board: tuple[Float64, Float64]
) -> tuple[Float64, Float64, Float64]:
    """Projected minus seen, (2n,), and its derivatives by the camera's and the board's six numbers."""
    turned, moved, *slopes = cv2.composeRT(*board, *camera)
    errors, by_pose = seen.residuals(np.asarray(turned, np.float64), np.asarray(moved, np.float64))
    by_turn, by_move = by_pose[:, :3], by_pose[:, 3:]
    # Of composeRT: how the whole turns, then how it moves, by the board's turn and move, and the camera's.
    by = [np.asarray(slope, np.float64).reshape(3, 3) for slope in slopes]
    by_board = np.hstack([by_turn @ by[k] + by_move @ by[4 + k] for k in (0, 1)])
    by_camera = np.hstack([by_turn @ by[k] + by_move @ by[4 + k] for k in (2, 3)])
    return errors, by_camera, by_board


def _rms(name: str, camera: Float64, moments: Sequence[_Seen], boards: Sequence[Float64]) -> float:
    squares = [
        _residuals(moment[name], _split(camera), _split(board))[0] ** 2
        for moment, board in zip(moments, boards, strict=True)
        if name in moment
    ]
    # Two squares, x and y, make one distance.
    return float(np.sqrt(2.0 * np.concatenate(squares).mean())) if squares else float("nan")


def _matrix(rotation: Float64, translation: Float64) -> Float64:
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(rotation)[0]
    pose[:3, 3] = translation
    return pose


def _split(pose: Float64) -> tuple[Float64, Float64]:
    return np.asarray(cv2.Rodrigues(pose[:3, :3])[0], np.float64).ravel(), pose[:3, 3].copy()


def _vector(pose: Float64) -> Float64:
    return np.concatenate(_split(pose))
