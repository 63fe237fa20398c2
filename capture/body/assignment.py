"""Who is whom: the cheapest pairing of two small groups, exact, and never at more than a limit.

The method of Kuhn and Munkres with potentials and shortest augmenting paths (Jonker and Volgenant,
Computing 38, 1987), for groups of people: a dozen at most, so plain Python does.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


def assign(costs: npt.ArrayLike, limit: float) -> list[tuple[int, int]]:
    """Pairs (row, column) of `costs` (n, m), by row: every row and column at most once.

    The sum over pairs of (cost - limit) is the smallest there is; so none costs more than `limit`, and what
    is not finite is never paired. Which of several equally good pairings comes out depends on nothing but
    the numbers.
    """
    table = np.asarray(costs, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"costs have rows and columns, got shape {table.shape}")
    # What is not worth pairing costs exactly as much as staying alone.
    gains = np.where(np.isfinite(table) & (table < limit), table - limit, 0.0)
    best = gains.argmin(axis=1) if gains.size else np.empty(0, dtype=np.intp)
    worth = [row for row, column in enumerate(best) if gains[row, column] < 0]
    columns = [int(best[row]) for row in worth]
    if len(set(columns)) < len(columns):
        # Rows become what there are fewer of.
        turned = gains.shape[0] > gains.shape[1]
        pairs = _cheapest(gains.T if turned else gains)
        pairs = sorted((column, row) for row, column in pairs) if turned else pairs
        return [(row, column) for row, column in pairs if gains[row, column] < 0]
    # Everybody's first choice is somebody else: there is nothing to weigh.
    return list(zip(worth, columns, strict=True))


def _cheapest(costs: Float64) -> list[tuple[int, int]]:
    """The pairing of all n rows with n of the m >= n columns whose costs have the smallest sum."""
    rows, columns = costs.shape
    table = costs.tolist()
    of_row, of_column = [0.0] * rows, [0.0] * columns  # potentials: no reduced cost is negative
    owner = [-1] * columns
    for start in range(rows):
        way = [math.inf] * columns  # the shortest way from the new row to each column
        before = [-1] * columns  # the column by which that way comes
        done = [False] * columns
        row, column, reached = start, -1, 0.0
        while True:
            nearest, shortest = -1, math.inf
            for j in range(columns):
                if done[j]:
                    continue
                length = reached + table[row][j] - of_row[row] - of_column[j]
                if length < way[j]:
                    way[j], before[j] = length, column
                if way[j] < shortest:
                    nearest, shortest = j, way[j]
            column, reached = nearest, shortest
            if owner[column] < 0:
                break
            done[column] = True
            row = owner[column]
        for j in range(columns):
            if done[j]:
                of_row[owner[j]] += reached - way[j]
                of_column[j] += way[j] - reached
        of_row[start] += reached
        # Along the way each row gives its column to the one before.
        while column >= 0:
            owner[column] = owner[before[column]] if before[column] >= 0 else start
            column = before[column]
    return sorted((row, column) for column, row in enumerate(owner) if row >= 0)
