"""The cheapest pairing, held against every pairing there is."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.body.assignment import assign


def smallest_sum(costs: np.ndarray, limit: float) -> float:
    """By trying all pairings: each row gets one of the columns or nothing."""
    rows, columns = costs.shape
    places = [*range(columns), *([None] * rows)]
    sums = [
        sum(
            costs[row, at] - limit for row, at in enumerate(some) if at is not None and costs[row, at] < limit
        )
        for some in itertools.permutations(places, rows)
    ]
    return min(sums, default=0.0)


@given(
    rows=st.integers(0, 4),
    columns=st.integers(0, 4),
    levels=st.integers(2, 30),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_pairing_is_cheaper(rows: int, columns: int, levels: int, seed: int) -> None:
    # Few levels make many ties, in which an algorithm that is nearly right goes wrong.
    costs = np.random.default_rng(seed).integers(0, levels, (rows, columns)) / levels
    pairs = assign(costs, 0.7)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert all(costs[pair] < 0.7 for pair in pairs)
    assert pairs == sorted(pairs)
    assert sum(costs[pair] - 0.7 for pair in pairs) == pytest.approx(smallest_sum(costs, 0.7), abs=1e-12)


def test_of_two_who_want_the_same_the_sum_decides() -> None:
    assert assign([[0.1, 0.2], [0.1, 0.9]], limit=1.0) == [(0, 1), (1, 0)]
    assert assign([[0.1], [0.2], [0.05]], limit=1.0) == [(2, 0)]


def test_what_is_too_far_or_not_finite_stays_alone() -> None:
    assert assign([[0.1, 5.0], [math.nan, math.inf]], limit=1.0) == [(0, 0)]
    assert assign(np.full((2, 3), math.nan), limit=1.0) == []
    assert assign(np.empty((0, 3)), limit=1.0) == []
    assert assign(np.empty((3, 0)), limit=1.0) == []


def test_a_crowd_is_paired_by_the_smallest_sum() -> None:
    rng = np.random.default_rng(4)
    costs = rng.random((12, 15))
    hidden = rng.permutation(15)[:12]
    costs[np.arange(12), hidden] *= 1e-3
    assert assign(costs, limit=1.0) == list(zip(range(12), hidden.tolist(), strict=True))


def test_a_list_is_no_table() -> None:
    with pytest.raises(ValueError, match="rows and columns"):
        assign([1.0, 2.0], limit=1.0)
