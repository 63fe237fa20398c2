"""Who is in a photograph: looked for in all of it and in overlapping squares.

A detector that shrinks what it gets to a small square finds nobody who is a small part of it, and of a wide
picture half of that square is empty. So squares as high as the picture is are looked at as well, and squares
of half that; of whoever was found in several the sight that shows most is kept.

Knows key points and pictures, no files and no bodies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from capture.keypoints import PersonKeypoints, Picture

Look = Callable[[Picture], Sequence[PersonKeypoints]]

_LEVELS: Final = 2
_SQUARE_ENOUGH: Final = 1.15
"""Of a picture whose sides differ by less, a square shows nobody larger than the whole does."""
_LEAST_SIDE_PX: Final = 200
_VISIBLE: Final = 0.5
_SAME_PERSON: Final = 0.2
"""Of a person's size: joints nearer to each other than this on average are of one person."""
_PART: Final = 0.35
"""Of a person's size: whoever is smaller and within that person's outline is a limb taken for somebody."""
_LEAST_CONFIDENCE: Final = 0.75
"""On average over all joints; with less a square shows a part of somebody who is whole in another, or a tree.
What the whole picture shows counts in any case: people are cut off by its edges, too."""


def people_in(picture: Picture, look: Look, *, most: int) -> list[PersonKeypoints]:
    """Everybody, the largest first, `most` of them at most. `look` finds people in one picture."""
    found = list(look(picture))
    for left, top, side in _squares(*picture.shape[:2]):
        part = np.ascontiguousarray(picture[top : top + side, left : left + side])
        corner = np.array([left, top], dtype=np.float64)
        for person in look(part):
            if person.confidences.mean() >= _LEAST_CONFIDENCE:
                found.append(replace(person, points_px=person.points_px + corner))
    kept: list[PersonKeypoints] = []
    for person in sorted(found, key=lambda each: _shown(each, picture), reverse=True):
        if not any(_is_same(person, other) for other in kept):
            kept.append(person)
    whole = [person for person in kept if not any(_is_part(person, other) for other in kept)]
    return sorted(whole, key=_size_px, reverse=True)[:most]


def _squares(height: int, width: int) -> Iterator[tuple[int, int, int]]:
    """left, top and side of each: they overlap by half, and reach all edges."""
    side = min(height, width)
    for level in range(_LEVELS):
        if side < _LEAST_SIDE_PX:
            return
        if level > 0 or max(height, width) > _SQUARE_ENOUGH * side:
            for top in _places(height, side):
                for left in _places(width, side):
                    yield left, top, side
        side //= 2


def _places(length: int, side: int) -> list[int]:
    count = -(-2 * (length - side) // side) + 1
    return [round(place) for place in np.linspace(0, length - side, count)]


def _seen(person: PersonKeypoints) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    seen: np.ndarray[tuple[int], np.dtype[np.bool_]] = person.confidences >= _VISIBLE
    return seen


def _shown(person: PersonKeypoints, picture: Picture) -> float:
    """How much of somebody a sight shows: joints that a square cuts off are guesses of little confidence."""
    inside = ((person.points_px >= 0) & (person.points_px < picture.shape[1::-1])).all(axis=1)
    return float(person.confidences[inside].sum())


def _size_px(person: PersonKeypoints) -> float:
    points = person.points_px[_seen(person)]
    return float(np.linalg.norm(np.ptp(points, axis=0))) if len(points) else 0.0


def _is_same(person: PersonKeypoints, other: PersonKeypoints) -> bool:
    both = _seen(person) & _seen(other)
    if not both.any():
        return True  # nothing shows that they are two
    apart_px = np.linalg.norm(person.points_px[both] - other.points_px[both], axis=1).mean()
    return bool(apart_px < _SAME_PERSON * max(_size_px(person), _size_px(other)))


def _is_part(person: PersonKeypoints, other: PersonKeypoints) -> bool:
    if _size_px(person) >= _PART * _size_px(other):
        return False
    outline = other.points_px[_seen(other)]
    middle = person.points_px[_seen(person)].mean(axis=0) if _seen(person).any() else person.points_px[0]
    return bool(((middle > outline.min(axis=0)) & (middle < outline.max(axis=0))).all())
