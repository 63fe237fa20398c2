"""Who is in a photograph: looked for in all of it and in overlapping squares.

A detector that shrinks what it gets to a small square finds nobody who is a small part of it, and of a wide
picture half of that square is empty. So squares as high as the picture is are looked at as well, and squares
of half that; of whoever was found in several the sight that shows most is kept.

A square that cuts somebody off shows a leg that looks like somebody else. Whoever was found in a square has
to be found once more, in a square around them.

Networks for one person always show somebody, and do so best in a box around them: `whoever_fills`.

Knows key points and pictures, no files and no bodies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.keypoints import KeypointSource, PersonKeypoints, Picture
from capture.keypoints.joint_sets import joint_set

Look = Callable[[Picture], Sequence[PersonKeypoints]]

_LEVELS: Final = 2
_SQUARE_ENOUGH: Final = 1.15
"""Of a picture whose sides differ by less, a square shows nobody larger than the whole does."""
_LEAST_SIDE_PX: Final = 200
_VISIBLE: Final = 0.5
_SAME_PERSON: Final = 0.2
"""Of a person's size: joints nearer to each other than this on average are of one person."""
_MARGINS: Final = (1.5, 2.0)
"""Of a person's size: squares around them. One has to show them again; both, if they are within the outline
of somebody larger, a part of whom is what they most often are."""
_ROOM: Final = 0.1
"""Of a person's outline of joints, on each side of it: a head and hands are larger than their joints."""
_LEAST_CONFIDENCE: Final = 0.75
"""On average over all joints; with less a square shows a part of somebody who is whole in another, or a tree.
What the whole picture shows counts in any case: people are cut off by its edges, too."""


def people_in(picture: Picture, look: Look, *, most: int) -> list[PersonKeypoints]:
    """Everybody, the largest first, `most` of them at most. `look` finds people in one picture."""
    whole = list(look(picture))
    found = [*whole, *_in_squares(picture, look)]
    kept: list[PersonKeypoints] = []
    for person in sorted(found, key=lambda each: _shown(each, picture), reverse=True):
        if any(_is_same(person, other) for other in kept):
            continue
        if not any(person is each for each in whole):
            again = (_is_found_again(person, picture, look, margin) for margin in _MARGINS)
            if not (all(again) if any(_is_before(person, other) for other in kept) else any(again)):
                continue
        kept.append(person)
    return sorted(kept, key=_size_px, reverse=True)[:most]


def whoever_fills(picture: Picture, source: KeypointSource, *, most: int) -> list[PersonKeypoints]:
    """Whom a network finds in the whole picture, the largest first, as it sees each in a box around them."""
    seen = [person for person in source.detect(picture, time_s=0.0) if person.confidences.any()]
    found = sorted(seen, key=_size_px, reverse=True)[:most]
    nearer = source.detect(picture, time_s=0.0, boxes_px=[_box(person) for person in found])
    seen_in = {person.box_index: person for person in nearer}
    return [seen_in.get(number, person) for number, person in enumerate(found)]


def _box(person: PersonKeypoints) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of somebody, who is larger than the outline of the joints."""
    points = person.points_px[person.confidences > 0]
    first, last = points.min(axis=0), points.max(axis=0)
    (left, top), (right, bottom) = first - _ROOM * (last - first), last + _ROOM * (last - first)
    return float(left), float(top), float(right), float(bottom)


def _in_squares(picture: Picture, look: Look) -> Iterator[PersonKeypoints]:
    for left, top, side in _squares(*picture.shape[:2]):
        for person in _looked_at(picture, look, (left, top), (left + side, top + side)):
            if person.confidences.mean() >= _LEAST_CONFIDENCE:
                yield person


def _is_found_again(person: PersonKeypoints, picture: Picture, look: Look, margin: float) -> bool:
    points = person.points_px[_seen(person)]
    first, last = points.min(axis=0), points.max(axis=0)
    reach = margin * (last - first).max() / 2
    corner = np.maximum(np.floor((first + last) / 2 - reach), 0).astype(int)
    end = np.minimum(np.ceil((first + last) / 2 + reach), picture.shape[1::-1]).astype(int)
    if (end - corner < 1).any():
        return False  # guessed to be outside of the picture
    return any(
        other.confidences.mean() >= _LEAST_CONFIDENCE and _is_same(person, other)
        for other in _looked_at(picture, look, corner, end)
    )


def _looked_at(
    picture: Picture, look: Look, corner: npt.ArrayLike, end: npt.ArrayLike
) -> list[PersonKeypoints]:
    (left, top), (right, bottom) = np.asarray(corner), np.asarray(end)
    people = look(np.ascontiguousarray(picture[top:bottom, left:right]))
    return [replace(person, points_px=person.points_px + np.array([left, top])) for person in people]


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


def _seen(person: PersonKeypoints) -> npt.NDArray[np.bool_]:
    return np.asarray(person.confidences >= _VISIBLE)


def _shown(person: PersonKeypoints, picture: Picture) -> float:
    """How much of somebody a sight shows: joints that a square cuts off are guesses of little confidence."""
    inside = ((person.points_px >= 0) & (person.points_px < picture.shape[1::-1])).all(axis=1)
    return float(person.confidences[inside].sum())


def _size_px(person: PersonKeypoints) -> float:
    points = person.points_px[_seen(person)]
    return float(np.linalg.norm(np.ptp(points, axis=0))) if len(points) else 0.0


def _is_same(person: PersonKeypoints, other: PersonKeypoints) -> bool:
    """Also where one sight takes left for right, as of somebody against the light."""
    size_px = max(_size_px(person), _size_px(other))
    return any(
        _apart_px(person, other.points_px[order], _seen(other)[order]) < _SAME_PERSON * size_px
        for order in (slice(None), _mirrored(other.joint_set))
    )


def _is_before(person: PersonKeypoints, other: PersonKeypoints) -> bool:
    """Whether somebody smaller has the middle within another one's outline."""
    outline = other.points_px[_seen(other)]
    if not len(outline) or _size_px(person) >= _size_px(other):
        return False
    middle = person.points_px[_seen(person)].mean(axis=0)
    return bool(((middle > outline.min(axis=0)) & (middle < outline.max(axis=0))).all())


def _apart_px(
    person: PersonKeypoints, points_px: npt.NDArray[np.float64], seen: npt.NDArray[np.bool_]
) -> float:
    both = _seen(person) & seen
    if not both.any():
        both[:] = True  # guesses of joints out of sight are not far off
    return float(np.linalg.norm(person.points_px[both] - points_px[both], axis=1).mean())


@cache
def _mirrored(joint_set_name: str) -> npt.NDArray[np.int64]:
    """Where the joints of the other side stand."""
    joints = joint_set(joint_set_name).joints
    sides = {"left": "right", "right": "left"}
    others = [re.sub("left|right", lambda side: sides[side[0]], name) for name in joints]
    return np.array([joints.index(name) for name in others])
