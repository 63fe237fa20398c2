"""Arithmetic of frame numbers: which are missing, and which of those are accounted for.

A range is (first, last), both included. Functions take ranges in any order and give them sorted, joined
and without overlap. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Range = tuple[int, int]


def merge(ranges: Iterable[Range]) -> list[Range]:
    """The same numbers in as few ranges as possible; ranges that end before they begin are left out."""
    merged: list[Range] = []
    for first, last in sorted(r for r in ranges if r[0] <= r[1]):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def subtract(ranges: Iterable[Range], taken: Iterable[Range]) -> list[Range]:
    """What is in `ranges` and not in `taken`."""
    left: list[Range] = []
    blocks, at = merge(taken), 0
    for first, last in merge(ranges):
        while at < len(blocks) and blocks[at][1] < first:
            at += 1
        following = at
        while first <= last:
            if following == len(blocks) or blocks[following][0] > last:
                left.append((first, last))
                break
            if blocks[following][0] > first:
                left.append((first, blocks[following][0] - 1))
            first = blocks[following][1] + 1
            following += 1
    return left


def total(ranges: Iterable[Range]) -> int:
    """How many numbers are in them."""
    return sum(last - first + 1 for first, last in merge(ranges))


def holes(ordered: npt.NDArray[np.uint64], *, after: npt.NDArray[np.bool_] | None = None) -> list[Range]:
    """The numbers missing between neighbours in `ordered` (ascending, no repeats); with `after`, only
    behind those that it marks (one mark for each but the last)."""
    wide = np.diff(ordered) > 1
    if after is not None:
        wide &= after
    return [(int(ordered[i]) + 1, int(ordered[i + 1]) - 1) for i in np.flatnonzero(wide)]


def runs(numbers: Iterable[int]) -> list[Range]:
    """Single numbers as ranges."""
    return merge((number, number) for number in numbers)


def within(ordered: npt.NDArray[np.uint64], ranges: Iterable[Range]) -> int:
    """How many of `ordered` (ascending, no repeats) lie in one of the ranges."""
    found = 0
    for first, last in merge(ranges):
        start = int(np.searchsorted(ordered, np.uint64(first)))
        found += int(np.searchsorted(ordered, np.uint64(last), side="right")) - start
    return found


def is_rising(epochs: npt.NDArray[np.int64], frame_numbers: npt.NDArray[np.uint64]) -> bool:
    """Whether (epoch, number) grows with every frame."""
    later = np.diff(epochs)
    return bool(((later > 0) | ((later == 0) & (frame_numbers[1:] > frame_numbers[:-1]))).all())


def gap_range(gap: dict[str, Any]) -> Range | None:
    """The numbers a gap record speaks of; None where it knows only how many they are (or is nonsense)."""
    first, last = gap.get("first"), gap.get("last")
    if type(first) is int and type(last) is int and 0 <= first <= last < 1 << 64:
        return first, last
    return None


def gap_count(gap: dict[str, Any]) -> int:
    """How many frames a gap record says are missing."""
    count = gap.get("count")
    return count if type(count) is int and count > 0 else 0
