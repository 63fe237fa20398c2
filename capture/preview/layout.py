"""Where tiles go: rows of pictures of one height, as large as fits, none stretched.

Pure arithmetic over aspect ratios. The tiles of one camera stay side by side where the width allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MARGIN: Final = 12
GAP: Final = 10
HEADER: Final = 28
_SMALLEST: Final = 48


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle in pixels."""

    x: int
    y: int
    width: int
    height: int


def arrange(groups: Sequence[Sequence[float]], width: int, height: int, *, tallest: int) -> list[Rect]:
    """The place of each picture; a header of HEADER pixels lies right above it.

    `groups` are aspect ratios (width / height), a sequence per camera. No picture is higher than
    `tallest`. The block of all tiles is centred across `width` and begins at the top. A place is no wider
    than that, whatever its picture claims to be.
    """
    rows = _largest_rows(groups, width - 2 * MARGIN, height - 2 * MARGIN, tallest)
    picture_height, lines = rows
    widest = max(1, width - 2 * MARGIN)
    widths = [[min(widest, round(picture_height * aspect)) for aspect in line] for line in lines]
    block = max((sum(line) + GAP * (len(line) - 1) for line in widths), default=0)
    left = max(MARGIN, (width - block) // 2)
    places = []
    y = MARGIN + HEADER
    for line in widths:
        x = left
        for picture_width in line:
            places.append(Rect(x, y, picture_width, picture_height))
            x += picture_width + GAP
        y += picture_height + GAP + HEADER
    return places


def extent(places: Sequence[Rect]) -> tuple[int, int]:
    """Width and height that hold these places with their margins."""
    if not places:
        return 2 * MARGIN, 2 * MARGIN
    left = min(place.x for place in places)
    right = max(place.x + place.width for place in places)
    return right - left + 2 * MARGIN, max(place.y + place.height for place in places) + MARGIN


def _largest_rows(
    groups: Sequence[Sequence[float]], width: int, height: int, tallest: int
) -> tuple[int, list[list[float]]]:
    """The largest height at which the groups, broken into rows, still fit; and the rows."""
    for picture_height in range(max(_SMALLEST, min(tallest, height - HEADER)), _SMALLEST, -2):
        rows = _broken(groups, width, picture_height)
        needed = len(rows) * (picture_height + HEADER) + GAP * (len(rows) - 1)
        too_wide = any(round(picture_height * aspect) > width for row in rows for aspect in row)
        if needed <= height and not too_wide:
            return picture_height, rows
    return _SMALLEST, _broken(groups, width, _SMALLEST)


def _broken(groups: Sequence[Sequence[float]], width: int, picture_height: int) -> list[list[float]]:
    """Break the groups into rows as a text is broken into lines; a group wider than a row is broken, too."""
    rows: list[list[float]] = []
    for group in groups:
        pieces = [list(group)] if _row_width(group, picture_height) <= width else [[a] for a in group]
        for piece in pieces:
            if rows and _row_width([*rows[-1], *piece], picture_height) <= width:
                rows[-1] += piece
            else:
                rows.append(list(piece))
    return rows


def _row_width(aspects: Sequence[float], picture_height: int) -> int:
    return sum(round(picture_height * aspect) for aspect in aspects) + GAP * (len(aspects) - 1)
