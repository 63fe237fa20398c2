"""How far estimated joints are from the true ones: root-relative, aligned, and in space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

JOINTS: Final = (0, 1, 2, 4, 5, 7, 8, 12, 15, 16, 17, 18, 19, 20, 21)
"""Of the 24: pelvis, hips, knees, ankles, neck, head, shoulders, elbows, wrists."""


@dataclass(frozen=True, slots=True)
class Errors:
    """Mean distances in millimetres. `root`: MPJPE with the pelvis in place; `aligned`: PA-MPJPE."""

    root: float
    aligned: float
    absolute: float

    @staticmethod
    def mean(some: Sequence[Errors]) -> Errors:
        if not some:
            return Errors(np.nan, np.nan, np.nan)
        return Errors(*np.mean([(each.root, each.aligned, each.absolute) for each in some], axis=0).tolist())


def errors_mm(estimate_m: Float64, truth_m: Float64) -> Errors:
    """Joints (24, 3) against joints (24, 3)."""
    estimate, truth = (joints[list(JOINTS)] * 1e3 for joints in (estimate_m, truth_m))
    return Errors(
        _mean_distance(estimate - estimate[0], truth - truth[0]),
        _mean_distance(aligned(estimate, truth), truth),
        _mean_distance(estimate, truth),
    )


def aligned(points: Float64, onto: Float64) -> Float64:
    """Points (n, 3) after the similarity (turn, scale, shift) that brings them nearest."""
    centre, target = points - points.mean(axis=0), onto - onto.mean(axis=0)
    left, sizes, right = np.linalg.svd(centre.T @ target)
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    scale = (sizes * flip).sum() / max((centre**2).sum(), 1e-12)
    return np.asarray(scale * centre @ (left * flip) @ right + onto.mean(axis=0))


def _mean_distance(a: Float64, b: Float64) -> float:
    return float(np.linalg.norm(a - b, axis=1).mean())
