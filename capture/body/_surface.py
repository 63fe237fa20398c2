"""From blocks to a body: the lattice person is bent onto a smooth surface around the limbs.

The limbs' signed distances, softly joined, are a field that is zero on the skin. Each lattice vertex
starts near its place in the limb, is drawn along the field's gradient onto the skin, and between two such
steps moves towards the middle of its neighbours, so that the points spread evenly. The same field says
which joint a point belongs to, which gives the skinning weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body._lattice import BOXES, Box, Lattice
from capture.body.anatomy import JOINT_NAMES, Limb, limbs_of

Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]

_JOIN_M: Final = 0.014  # how softly two limbs melt into each other
_WEIGHT_REACH_M: Final = 0.02  # how far into its neighbours a joint pulls
_RELAXING_STEPS: Final = 14
_WEIGHT_SMOOTHING_STEPS: Final = 4
_AXIS_SMOOTHING_STEPS: Final = 16
_WEIGHTS_PER_VERTEX: Final = 4

# Where the vertices of a box start: along its long axis, at these lattice coordinates, lies a centre
# (x, y, z) with two half widths across, in metres.
_STATIONS: Final[dict[str, tuple[int, tuple[tuple[float, ...], ...]]]] = {
    "torso": (
        1,
        (
            (0, 0, -0.135, 0.0, 0.165, 0.10),
            (9, 0, 0.06, 0.0, 0.145, 0.09),
            (22, 0, 0.34, 0.0, 0.18, 0.10),
            (30, 0, 0.475, -0.02, 0.15, 0.06),
        ),
    ),
    "neck": (1, ((30, 0, 0.475, -0.02, 0.06, 0.055), (33, 0, 0.57, 0.0, 0.055, 0.06))),
    "head": (
        1,
        ((33, 0, 0.575, 0.01, 0.06, 0.08), (39, 0, 0.66, 0.01, 0.08, 0.09), (48, 0, 0.79, 0, 0.06, 0.08)),
    ),
    "leg": (
        1,
        (
            (-44, 0.115, -0.941, -0.035, 0.04, 0.045),
            (-40, 0.114, -0.875, -0.03, 0.035, 0.04),
            (-22, 0.106, -0.48, 0.0, 0.055, 0.055),
            (0, 0.09, -0.135, 0.0, 0.075, 0.08),
        ),
    ),
    "foot": (2, ((4, 0.116, -0.90, 0.02, 0.045, 0.04), (14, 0.126, -0.921, 0.19, 0.035, 0.02))),
    "arm": (
        0,
        (
            (7, 0.19, 0.43, -0.022, 0.055, 0.055),
            (21, 0.436, 0.436, -0.032, 0.042, 0.042),
            (34, 0.675, 0.44, -0.03, 0.03, 0.03),
            (38, 0.75, 0.437, -0.03, 0.018, 0.04),
            (49, 0.885, 0.433, -0.03, 0.01, 0.03),
        ),
    ),
    "thumb": (2, ((3, 0.735, 0.432, 0.008, 0.02, 0.016), (8, 0.785, 0.424, 0.066, 0.012, 0.012))),
}


@dataclass(frozen=True, slots=True)
class Skin:
    """Points on the skin (n, 3) in metres, their weights (n, 24), and their place inside the limb (n, 3)."""

    points: Float64
    weights: Float64
    axis_points: Float64


def wrap(lattice: Lattice) -> Skin:
    """The lattice person with its vertices on the skin."""
    owner = _owners(lattice.points)
    points = _starting_points(lattice.points, owner)
    neighbours = _neighbours(lattice.quads, len(points))
    regions = [(rows, _Field(limbs_of(name))) for name, rows in _regions(lattice.points, owner)]
    for step in range(_RELAXING_STEPS + 1):
        if step:
            points = 0.4 * points + 0.6 * points[neighbours].mean(axis=1)
        for _ in range(3 if step in (0, _RELAXING_STEPS) else 1):
            for rows, field in regions:
                points[rows] = field.project(points[rows])
    weights = np.zeros((len(points), len(JOINT_NAMES)))
    axis_points = np.empty_like(points)
    for rows, field in regions:
        weights[rows], axis_points[rows] = field.membership(points[rows])
    for _ in range(_AXIS_SMOOTHING_STEPS):
        axis_points = 0.3 * axis_points + 0.7 * axis_points[neighbours].mean(axis=1)
    for _ in range(_WEIGHT_SMOOTHING_STEPS):
        weights = 0.5 * weights + 0.5 * weights[neighbours].mean(axis=1)
    return Skin(points, _strongest(weights), axis_points)


def _owners(lattice_points: Int32) -> Int32:
    """The index of the first box that holds each vertex, on either side of the body."""
    mirrored = lattice_points.copy()
    mirrored[:, 0] = np.abs(mirrored[:, 0])
    owner = np.full(len(lattice_points), -1, np.int32)
    for index in reversed(range(len(BOXES))):
        box = BOXES[index]
        probe = mirrored if box.low[0] > 0 else lattice_points
        owner[((probe >= box.low) & (probe <= box.high)).all(axis=1)] = index
    return owner


def _starting_points(lattice_points: Int32, owner: Int32) -> Float64:
    points = np.empty(lattice_points.shape)
    for index, box in enumerate(BOXES):
        rows = owner == index
        points[rows] = _placed(lattice_points[rows].astype(np.float64), box)
    return points


def _placed(lattice_points: Float64, box: Box) -> Float64:
    """Lattice vertices of one box at their stations, the square cross section rounded to a disc."""
    side = np.where(lattice_points[:, 0] < 0, -1.0, 1.0) if box.low[0] > 0 else np.ones(len(lattice_points))
    local = lattice_points * np.stack([side, np.ones_like(side), np.ones_like(side)], axis=1)
    along, stations = _STATIONS[box.part]
    table = np.array(stations)
    first, second = (axis for axis in range(3) if axis != along)
    middle = (np.array(box.low) + np.array(box.high)) / 2
    half = (np.array(box.high) - np.array(box.low)) / 2
    u, v = ((local[:, axis] - middle[axis]) / half[axis] for axis in (first, second))
    column = [np.interp(local[:, along], table[:, 0], table[:, i]) for i in range(1, 6)]
    placed = np.stack(column[:3], axis=1)
    placed[:, first] += u * np.sqrt(1 - v * v / 2) * column[3]
    placed[:, second] += v * np.sqrt(1 - u * u / 2) * column[4]
    placed[:, 0] *= side
    return placed


def _neighbours(quads: Int32, count: int) -> Int32:
    """(n, 6) vertices across an edge; a vertex with fewer of them stands in for the rest itself."""
    tail = quads.ravel()
    head = np.roll(quads, -1, axis=1).ravel()
    # Each edge borders two quads, which walk it in opposite directions: every neighbour appears once.
    order = np.argsort(tail, kind="stable")
    tail, head = tail[order], head[order]
    first_of_tail = np.searchsorted(tail, np.arange(count))
    table = np.repeat(np.arange(count, dtype=np.int32)[:, None], 6, axis=1)
    table[tail, np.arange(len(tail)) - first_of_tail[tail]] = head
    return table


def _regions(lattice_points: Int32, owner: Int32) -> list[tuple[str, npt.NDArray[np.intp]]]:
    """Vertex rows by the limbs that shape them."""
    parts = np.array([box.part for box in BOXES])[owner]
    left = lattice_points[:, 0] > 0
    arm = (parts == "arm") | (parts == "thumb")
    leg = (parts == "leg") | (parts == "foot")
    masks = {
        "torso": parts == "torso",
        "head": (parts == "neck") | (parts == "head"),
        "left arms": arm & left,
        "right arms": arm & ~left,
        "left legs": leg & left,
        "right legs": leg & ~left,
    }
    return [(name, np.flatnonzero(mask)) for name, mask in masks.items()]


class _Field:
    """Softly joined distance to some limbs, negative inside."""

    def __init__(self, limbs: list[Limb]) -> None:
        self._scale = np.array([limb.scale for limb in limbs])
        self._start = np.array([limb.start for limb in limbs])
        self._span = np.array([limb.end for limb in limbs]) - self._start
        self._scaled_span = self._span / self._scale
        # A ball has no span; any positive length leaves its parameter at zero.
        self._length2 = np.maximum((self._scaled_span**2).sum(axis=1), 1e-12)
        self._radius = np.array([limb.start_radius_m for limb in limbs])
        self._taper = np.array([limb.end_radius_m for limb in limbs]) - self._radius
        self._joint = np.array([limb.joint for limb in limbs])

    def _distances(self, points: Float64) -> tuple[Float64, Float64, Float64]:
        """To each limb: distance (n, limbs), unit direction away from it (n, limbs, 3), and where on it."""
        offset = (points[:, None] - self._start) / self._scale
        along = np.clip(np.einsum("nli,li->nl", offset, self._scaled_span) / self._length2, 0.0, 1.0)
        away = offset - along[:, :, None] * self._scaled_span
        scaled_distance = np.sqrt(np.einsum("nli,nli->nl", away, away)) + 1e-12
        gradient = away / (scaled_distance[:, :, None] * self._scale)
        steepness = np.sqrt(np.einsum("nli,nli->nl", gradient, gradient)) + 1e-12
        distance = (scaled_distance - self._radius - along * self._taper) / steepness
        return distance, gradient / steepness[:, :, None], along

    def project(self, points: Float64) -> Float64:
        """One Newton step of each point onto the skin."""
        distance, direction, _ = self._distances(points)
        nearest = distance.min(axis=1)
        share = np.exp((nearest[:, None] - distance) / _JOIN_M)
        total = share.sum(axis=1)
        joined = nearest - _JOIN_M * np.log(total)
        gradient = np.einsum("nl,nli->ni", share, direction) / total[:, None]
        steepness2 = np.maximum(np.einsum("ni,ni->n", gradient, gradient), 0.05)
        on_skin: Float64 = points - gradient * (joined / steepness2)[:, None]
        return on_skin

    def membership(self, points: Float64) -> tuple[Float64, Float64]:
        """Weights by joint (n, 24) and the place on the limbs' axes a point belongs to (n, 3)."""
        distance, _, along = self._distances(points)
        nearest = distance.min(axis=1, keepdims=True)
        share = np.exp((nearest - distance) / _WEIGHT_REACH_M)
        weights = np.zeros((len(points), len(JOINT_NAMES)))
        for limb, joint in enumerate(self._joint):
            weights[:, joint] = np.maximum(weights[:, joint], share[:, limb])
        on_axis = self._start + along[:, :, None] * self._span
        shared_axis = np.einsum("nl,nli->ni", share / share.sum(axis=1, keepdims=True), on_axis)
        return weights / weights.sum(axis=1, keepdims=True), shared_axis


def _strongest(weights: Float64) -> Float64:
    """The four largest weights of each row, scaled to a sum of one."""
    kept = weights.copy()
    order = np.argsort(weights, axis=1, kind="stable")
    np.put_along_axis(kept, order[:, :-_WEIGHTS_PER_VERTEX], 0.0, axis=1)
    kept[kept < 1e-3] = 0.0
    scaled: Float64 = kept / kept.sum(axis=1, keepdims=True)
    return scaled
