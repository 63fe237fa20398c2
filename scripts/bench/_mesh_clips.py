"""The motions of the mesh benchmark: mocap clips as 3D key points at 30 a second, for as long as asked.

Owns the choice of clips, and how a short clip goes on: from a moment near its end it steps over to the most
similar moment near its beginning, turned and shifted to where the person is by then. A walk across the hall
is bent until it stays within `REACH_M` of one spot, because a camera would otherwise soon see nobody. Knows
no bodies and no meshes.

Key points are 35 rows of float64 metres, axes of the hall: z up. See shared/data/SOURCES.md for the file.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

ROOT: Final = Path(__file__).resolve().parents[2]
MOTIONS: Final = ROOT.parent / "shared" / "data" / "mocap" / "motions.npz"
FPS: Final = 30.0
POINT_COUNT: Final = 35
REACH_M: Final = 0.8
"""How far from the middle of the place people go, the sway of their steps aside."""

TUNING_CLIPS: Final = (
    *("cmu/01_01", "cmu/01_06", "cmu/01_13", "cmu/02_01", "cmu/02_03", "cmu/02_05", "cmu/02_10"),
    *("cmu/03_03", "cmu/03_04", "cmu/05_02", "cmu/05_07", "cmu/05_12"),
)
"""Climbing, walking, running, fighting, uneven ground, dancing: codecs may be tuned on these."""

HELD_OUT_CLIPS: Final = (
    *("cmu/06_04", "cmu/06_11", "cmu/06_13", "cmu/07_01", "cmu/07_05", "cmu/08_03", "cmu/09_01", "cmu/09_05"),
    *("runningpose/Tindra1", "runningpose/Tindra2", "opensim/hamner_run"),
)
"""Other people: ball games, walks, runs, sprint starts. Nothing may be tuned on these."""

# Neither list has clips in which the mocap itself jumps (cmu/05_06 and its like: feet that turn over within
# a sixtieth of a second), as no estimator follows those.

# The file counts in tenths of a millimetre and marks what the cameras did not see.
_UNITS_PER_M: Final = 1e4
_MISSING: Final = -32768

_STEP_OVER_FRAMES: Final = 8
_STEP_OVER_M: Final = 0.3  # the way that a point may have to go within those frames
_TURNING_RADIUS_M: Final = 0.9
_MOST_TURNING_RAD_S: Final = 1.0
_PATH_SMOOTHING_FRAMES: Final = 12.0


class Key(IntEnum):
    """The rows that a body is made from: RunningPose's for trunk and forefeet, COCO's for the rest."""

    HIGH_SPINE = 1  # on the skin of the back, at the second thoracic vertebra
    LOW_SPINE = 2  # at the twelfth
    WAIST_BACK = 5
    LEFT_FOREFOOT = 7
    RIGHT_FOREFOOT = 9
    NOSE = 18
    LEFT_EYE = 19
    RIGHT_EYE = 20
    LEFT_EAR = 21
    RIGHT_EAR = 22
    LEFT_SHOULDER = 23
    RIGHT_SHOULDER = 24
    LEFT_ELBOW = 25
    RIGHT_ELBOW = 26
    LEFT_WRIST = 27
    RIGHT_WRIST = 28
    LEFT_HIP = 29
    RIGHT_HIP = 30
    LEFT_KNEE = 31
    RIGHT_KNEE = 32
    LEFT_ANKLE = 33
    RIGHT_ANKLE = 34


class UnusableClipError(Exception):
    """A clip is not there, or lacks points that a body cannot be made without."""


def motion(name: str, *, seconds: float, motions: Path = MOTIONS) -> Float64:
    """(T, 35, 3) key points of a clip, 30 a second, for `seconds`, around one spot.

    Raises UnusableClipError.
    """
    frames = max(1, round(seconds * FPS))
    return around_one_spot(continued(load(name, motions), frames))


def load(name: str, motions: Path = MOTIONS) -> Float64:
    """(T, 35, 3) key points of the whole clip, 30 a second, gaps filled. Raises UnusableClipError."""
    if not motions.is_file():
        raise UnusableClipError(f"{motions} is not there: the mesh benchmark wants its mocap clips")
    with np.load(motions) as archive:
        if f"{name}/pts" not in archive:
            raise UnusableClipError(f"{motions} has no clip {name!r}")
        stored, root, fps = (archive[f"{name}/{part}"] for part in ("pts", "root", "fps"))
    points = np.where(stored == _MISSING, np.nan, stored / _UNITS_PER_M) + root[:, None].astype(np.float64)
    return filled(resampled(points, float(fps)), name)


def resampled(points: Float64, fps: float) -> Float64:
    """Points at `fps` -> points at 30 a second, on the straight line between neighbours in time."""
    at = np.arange(int((len(points) - 1) / fps * FPS + 1e-9) + 1) * (fps / FPS)
    before = np.minimum(at.astype(int), max(len(points) - 2, 0))
    after = np.minimum(before + 1, len(points) - 1)
    share = (at - before)[:, None, None]
    # A neighbour of no weight may be missing without taking this moment with it.
    mixed = (1.0 - share) * points[before] + share * points[after]
    return np.asarray(np.where(share < 1e-9, points[before], mixed))


def filled(points: Float64, name: str) -> Float64:
    """Gaps closed along straight lines in time; the two points of the spine, if never seen, by the torso."""
    points = points.copy()
    frames = np.arange(len(points))
    for column in points.reshape(len(points), -1).T:
        seen = np.isfinite(column)
        if seen.any() and not seen.all():
            column[~seen] = np.interp(frames[~seen], frames[seen], column[seen])
    torso = middle(points, "SHOULDER") - middle(points, "HIP")
    for key, height in ((Key.LOW_SPINE, 0.36), (Key.HIGH_SPINE, 0.9)):
        if np.isnan(points[:, key]).any():
            points[:, key] = points[:, Key.WAIST_BACK] + height * torso
    lost = [key.name for key in Key if np.isnan(points[:, key]).any()]
    if lost:
        raise UnusableClipError(f"the clip {name!r} never shows {', '.join(lost)}")
    return points


def middle(points: Float64, pair: str) -> Float64:
    """(T, 3) halfway between the left and the right "HIP", "SHOULDER", ..."""
    return np.asarray((points[:, Key[f"LEFT_{pair}"]] + points[:, Key[f"RIGHT_{pair}"]]) / 2)


def continued(points: Float64, frames: int) -> Float64:
    """The first `frames` of a clip that, if it is shorter, goes round its own most similar moments."""
    overlap = min(_STEP_OVER_FRAMES, len(points) // 4)
    if len(points) < frames and overlap < 2:
        raise UnusableClipError(f"{len(points)} frames are too few to be gone round")
    if len(points) >= frames:
        return points[:frames]
    last, first, gap_m = _similar_moments(points, overlap)
    if gap_m > _STEP_OVER_M:
        # Nothing alike: a sprinter gets down into the blocks again, and takes longer for it.
        overlap = min(round(overlap * gap_m / _STEP_OVER_M), len(points) // 4)
        last, first, _ = _similar_moments(points, overlap)
    share = np.linspace(0.0, 1.0, overlap + 2)[1:-1, None, None]
    out = points[: last + 1]
    while len(out) < frames:
        # Turned about the vertical and shifted, the clip's moment `first` lies upon the end of what there is.
        turn = _about_vertical(_heading(out[-1:]) - _heading(points[first : first + 1]))[0]
        again = points @ turn.T
        again[:, :, :2] += middle(out[-1:], "HIP")[0, :2] - middle(again[first : first + 1], "HIP")[0, :2]
        joined = (1.0 - share) * out[-overlap:] + share * again[first - overlap + 1 : first + 1]
        out = np.concatenate([out[:-overlap], joined, again[first + 1 : last + 1]])
    return out[:frames]


def _similar_moments(points: Float64, overlap: int) -> tuple[int, int, float]:
    """(late, early): frames whose poses and speeds differ least, so that one may follow upon the other.

    And how far, in metres, the point lies away that is most different.
    """
    upright = points[:, list(Key)] - middle(points, "HIP")[:, None]
    upright = np.einsum("tji,tki->tkj", _about_vertical(-_heading(points)), upright)
    # A speed of one metre a second weighs like 10 cm of distance.
    velocity = np.gradient(upright, axis=0) * FPS
    features = np.concatenate([upright, 0.1 * velocity], axis=1).reshape(len(points), -1)
    early = np.arange(overlap, max(overlap + 1, len(points) // 3))
    late = np.arange(min(len(points) - 1, 2 * len(points) // 3), len(points))
    distance = np.linalg.norm(features[late][:, None] - features[early], axis=-1)
    i, j = np.unravel_index(int(distance.argmin()), distance.shape)
    gap = np.linalg.norm(upright[late[i]] - upright[early[j]], axis=-1).max()
    return int(late[i]), int(early[j]), float(gap)


def _heading(points: Float64) -> Float64:
    """(T,) the angle of the line through both hips about the vertical, in radians."""
    across = points[:, Key.LEFT_HIP] - points[:, Key.RIGHT_HIP]
    return np.arctan2(across[:, 1], across[:, 0])


def _about_vertical(angles: Float64) -> Float64:
    """(T,) radians -> (T, 3, 3) rotations about z."""
    turns = np.zeros((len(angles), 3, 3))
    turns[:, 0, 0] = turns[:, 1, 1] = np.cos(angles)
    turns[:, 1, 0] = np.sin(angles)
    turns[:, 0, 1] = -turns[:, 1, 0]
    turns[:, 2, 2] = 1.0
    return turns


def around_one_spot(points: Float64) -> Float64:
    """The same motion with its path bent into circles and held within `REACH_M` of the origin.

    Who walks turns; who runs faster than a circle that small allows runs on the spot, as on a treadmill.
    """
    hips = middle(points, "HIP")
    path = smooth_in_time(hips[:, :2], _PATH_SMOOTHING_FRAMES)
    velocity = np.diff(path, axis=0, prepend=path[:1])
    speed = np.linalg.norm(velocity, axis=1) * FPS
    pace = np.clip((speed - 0.3) / 0.6, 0.0, 1.0)
    angle = np.cumsum(np.minimum(speed / _TURNING_RADIUS_M, _MOST_TURNING_RAD_S) * pace) / FPS
    turn = _about_vertical(angle)
    bent = np.cumsum(np.einsum("tij,tj->ti", turn[:, :2, :2], velocity), axis=0)
    bent -= bent.mean(axis=0)
    distance = np.linalg.norm(bent, axis=1, keepdims=True)
    bent *= REACH_M * np.tanh(distance / REACH_M) / np.maximum(distance, 1e-9)
    turned = np.einsum("tij,tkj->tki", turn, points - hips[:, None])
    turned[:, :, 2] += hips[:, None, 2]
    sway = np.einsum("tij,tj->ti", turn[:, :2, :2], hips[:, :2] - path)
    turned[:, :, :2] += (bent + sway)[:, None]
    return np.asarray(turned)


def smooth_in_time(values: Float64, sigma_frames: float) -> Float64:
    """A Gaussian average along the first axis; beyond its ends the curve is mirrored through them."""
    reach = min(int(3 * sigma_frames) + 1, len(values) - 1)
    if reach < 1:
        return values.copy()
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_frames) ** 2)
    kernel /= kernel.sum()
    flat = values.reshape(len(values), -1)
    head = 2 * flat[:1] - flat[reach:0:-1]
    tail = 2 * flat[-1:] - flat[-2 : -reach - 2 : -1]
    padded = np.concatenate([head, flat, tail])
    columns = [np.convolve(column, kernel, mode="valid") for column in padded.T]
    return np.stack(columns, axis=1).reshape(values.shape)
