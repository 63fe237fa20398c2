"""Where in a camera's pictures a network for one person looks, so that everybody is found.

Such a network wants a box for each person and finds nobody beside it. In each picture it looks

    around the last mesh of everybody who is followed,
    around those whom it found in the picture before who are not followed yet, and
    for others, in the picture without all those: in the whole and then, larger, in parts of it, by turns.
    While nobody is followed each picture has its turn; else every place comes about once a second.

What is found in the place of somebody who is followed is left out: it would make a double.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from capture.keypoints import KeypointSource, PersonKeypoints, Picture

Float64 = npt.NDArray[np.float64]
Box = tuple[float, float, float, float]

_ROUND_S: Final = 1.0
_MOST_PARTS: Final = 4
_PART_SHAPE: Final = 0.75  # width to height, as of the pictures that such networks take
_PARTS_STEP: Final = 0.6  # of a part's width, from each to the next
_PART_BOX: Final = 0.8  # of the part: networks take a margin around a box
_MESH_MARGIN: Final = 0.05  # of the size, on each side: somebody moves from picture to picture
_POINTS_MARGIN: Final = 0.15  # key points lie within a body
_MOST_OTHERS: Final = 4
_LEAST_POINTS: Final = 4
_LEAST_SIDE_PX: Final = 8.0
_LEAST_CONFIDENCE: Final = 0.2
_COVERED_SHARE: Final = 0.5


class Gaze:
    """Looks with `source` at the pictures of one camera."""

    def __init__(self, source: KeypointSource) -> None:
        self._source = source
        self._others: list[Box] = []
        self._turns = itertools.count()
        self._next_search_s = -math.inf

    def detect(
        self,
        picture: Picture,
        followed_px: Sequence[Float64],
        *,
        time_s: float,
        is_full: bool = False,
        number: int | None = None,
        meta: bytes = b"",
    ) -> list[PersonKeypoints]:
        """Everybody it finds. `followed_px` are the vertices (n, 2) of each person who is followed, in
        pixels, NaN behind the camera; where it `is_full` there can be no others. `picture` stays as it is."""

        def looked(at: Picture, boxes: Sequence[Box] | None) -> list[PersonKeypoints]:
            return self._source.detect(at, time_s=time_s, boxes_px=boxes, number=number, meta=meta)

        covered = np.zeros(picture.shape[:2], np.uint8)
        boxes = []
        for vertices in followed_px:
            points = vertices[np.isfinite(vertices).all(axis=1)]
            box = _box_around(points, picture, _MESH_MARGIN)
            if box is not None:
                boxes.append(box)
                _cover(covered, points)
        known = len(boxes)
        boxes += [] if is_full else self._others
        found = looked(picture, boxes) if boxes else []
        people = [person for person in found if person.box_index is not None and person.box_index < known]
        others = _uncovered([person for person in found if person not in people], covered)
        if not is_full and (known == 0 or self._is_time(picture, time_s)):
            place = self._next_place(picture)
            rest = picture.copy()
            rest[covered > 0] = 0
            others += _uncovered(looked(rest, None if place is None else [place]), covered)
        del others[_MOST_OTHERS:]
        around = [_box_around(_points_of(person), picture, _POINTS_MARGIN) for person in others]
        self._others = [box for box in around if box is not None]
        return people + others

    def _is_time(self, picture: Picture, time_s: float) -> bool:
        interval_s = _ROUND_S / (1 + len(_parts(picture)))
        # A time long before the next is another clock, or a recording begun again.
        if self._next_search_s - interval_s <= time_s < self._next_search_s:
            return False
        self._next_search_s = time_s + interval_s
        return True

    def _next_place(self, picture: Picture) -> Box | None:
        """None is the whole picture."""
        places = [None, *_parts(picture)]
        return places[next(self._turns) % len(places)]


def _parts(picture: Picture) -> list[Box]:
    """Parts of a picture that is wider than a person, one beside the other, each of its height, as boxes."""
    height, width = picture.shape[:2]
    own = _PART_SHAPE * height
    if width <= own:
        return []
    count = min(1 + math.ceil((width - own) / (_PARTS_STEP * own)), _MOST_PARTS)
    half_width, half_height = _PART_BOX * own / 2, _PART_BOX * height / 2
    middles = np.linspace(own / 2, width - own / 2, count)
    return [
        (float(x) - half_width, height / 2 - half_height, float(x) + half_width, height / 2 + half_height)
        for x in middles
    ]


def _box_around(points: Float64, picture: Picture, margin: float) -> Box | None:
    """The box around points (n, 2), with a margin and within the picture; None where hardly anything is."""
    if len(points) < _LEAST_POINTS:
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    more = margin * (high - low)
    left, top = np.maximum(low - more, 0.0)
    right, bottom = np.minimum(high + more, picture.shape[1::-1])
    if right - left < _LEAST_SIDE_PX or bottom - top < _LEAST_SIDE_PX:
        return None
    return float(left), float(top), float(right), float(bottom)


def _points_of(person: PersonKeypoints) -> Float64:
    return person.points_px[person.confidences >= _LEAST_CONFIDENCE]


def _cover(covered: npt.NDArray[np.uint8], points: Float64) -> None:
    """Mark the place of somebody with these points."""
    farthest = 2.0 * max(covered.shape)  # what is drawn must not overflow
    hull = cv2.convexHull(np.clip(points, -farthest, farthest).astype(np.float32))
    cv2.fillConvexPoly(covered, np.rint(hull).astype(np.int32), 255)


def _uncovered(found: Sequence[PersonKeypoints], covered: npt.NDArray[np.uint8]) -> list[PersonKeypoints]:
    """Those who are not in the place of somebody else, whose place is covered by then, too."""
    kept = []
    height, width = covered.shape
    for person in found:
        points = _points_of(person)
        column, row = np.rint(np.clip(points, -1, 1 + max(covered.shape))).astype(np.intp).T
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        hits = np.count_nonzero(covered[row[inside], column[inside]])
        if len(points) >= _LEAST_POINTS and hits <= _COVERED_SHARE * len(points):
            kept.append(person)
            _cover(covered, points)
    return kept
