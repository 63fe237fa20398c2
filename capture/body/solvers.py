"""Minimising an objective: Powell's dogleg, Levenberg-Marquardt, and one damped Gauss-Newton step.

The dogleg is the one that SMPLify runs on (chumpy's), with its constants: same steps, same stops. The
others are for everything else: Levenberg-Marquardt with Marquardt's scaling from a cold start, the single
step where the start is a prediction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from capture.body.kinematics import Float64
from capture.body.objective import Evaluation, Objective

_TINY: Final = 1e-15
_GROWS_ABOVE: Final = 0.9
_GROWTH: Final = 2.5
_SHRINKS_BELOW: Final = 0.05
_SHRINKING: Final = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """Where a solver stopped, and what is known there."""

    x: Float64
    evaluation: Evaluation
    steps: int


def dogleg(objective: Objective, x: Float64, *, most_steps: int = 100, least_gain: float = 1e-4) -> Solution:
    """Powell's dogleg; the trust region starts with the first Gauss-Newton step, as chumpy's does.

    Stops when an accepted step gains less than `least_gain` of the cost, when steps or the trust region
    vanish, or after `most_steps`.
    """
    here = objective.at(x)
    if not np.isfinite(here.cost):
        return Solution(x, here, 0)
    pull, stiffness = here.system()
    free = slice(0, objective.unknown_count)
    radius: float | None = None
    for step_number in range(most_steps):
        if np.abs(pull).max() < _TINY:
            return Solution(x, here, step_number)
        newton = _solved(stiffness, pull)
        newton_length = _norm(newton)
        radius = newton_length if radius is None else radius
        while True:
            # The steepest descent never leads further than the Gauss-Newton step.
            step = newton if newton_length <= radius else _bent(pull, stiffness, newton, radius)
            length = _norm(step)
            smallest = _TINY * _norm(x[free])
            if length <= smallest:
                return Solution(x, here, step_number)
            trial = x.copy()
            trial[free] += step
            there = objective.at(trial)
            gain = here.cost - there.cost
            ratio = gain / -float(step @ (2.0 * pull + stiffness @ step)) if gain > 0 else gain
            if ratio > _GROWS_ABOVE:
                radius = max(radius, _GROWTH * length)
            elif ratio < _SHRINKS_BELOW:
                radius *= _SHRINKING
            if gain > 0:
                is_done = gain < least_gain * here.cost or radius <= smallest
                x, here = trial, there
                break
            if radius <= smallest:
                return Solution(x, here, step_number)
        if is_done:
            return Solution(x, here, step_number + 1)
        pull, stiffness = here.system()
    return Solution(x, here, most_steps)


def levenberg_marquardt(
    objective: Objective,
    x: Float64,
    *,
    most_steps: int = 100,
    least_gain: float = 1e-4,
    damping: float = 1e-3,
) -> Solution:
    """Levenberg-Marquardt, damped in proportion to the diagonal. Stops as `dogleg` does."""
    here = objective.at(x)
    if not np.isfinite(here.cost):
        return Solution(x, here, 0)
    free = slice(0, objective.unknown_count)
    for step_number in range(most_steps):
        pull, stiffness = here.system()
        diagonal = np.einsum("ii->i", stiffness)
        undamped = diagonal.copy()
        while True:
            diagonal[:] = undamped * (1.0 + damping) + 1e-9
            step = _solved(stiffness, pull)
            trial = x.copy()
            trial[free] += step
            there = objective.at(trial)
            if there.cost < here.cost:
                break
            damping = max(8.0 * damping, 1e-6)
            if damping > 1e9:
                return Solution(x, here, step_number)
        gain = here.cost - there.cost
        diagonal[:] = undamped
        ratio = gain / max(-float(step @ (2.0 * pull + stiffness @ step)), 1e-12)
        damping *= 0.1 if ratio > 0.75 else 0.4 if ratio > 0.25 else 2.0
        is_done = gain < least_gain * here.cost
        x, here = trial, there
        if is_done:
            return Solution(x, here, step_number + 1)
    return Solution(x, here, most_steps)


def damped_step(pull: Float64, stiffness: Float64, most: Float64 | float) -> Float64:
    """One Gauss-Newton step, shortened as a whole until no unknown moves by more than `most` of its own."""
    step = _solved(stiffness, pull)
    excess = float((np.abs(step) / most).max())
    return step / excess if excess > 1.0 else step


def _solved(stiffness: Float64, pull: Float64) -> Float64:
    """The step to the minimum of the quadratic model; a little damped where it has no unique one."""
    # By Cholesky, which NumPy has no triangular solver for; it says so where the stiffness is not positive.
    is_solved, column = cv2.solve(stiffness, pull[:, None], flags=cv2.DECOMP_CHOLESKY)
    if is_solved:
        step: Float64 = -column[:, 0]
        if step @ pull <= 0.0:  # downhill; not so, or no number, where it is all but singular
            return step
    count = len(pull)
    size = max(float(np.trace(stiffness)) / count, 1e-12)
    damped = stiffness + 1e-6 * size * np.eye(count)
    return np.asarray(np.linalg.solve(damped, -pull), dtype=np.float64)


def _bent(pull: Float64, stiffness: Float64, newton: Float64, radius: float) -> Float64:
    """Where the way down the steepest descent, and from there to the Gauss-Newton step, leaves the region."""
    descent = -(pull @ pull) / (pull @ stiffness @ pull) * pull
    if (length := _norm(descent)) >= radius:
        nearest: Float64 = radius / length * descent
        return nearest
    way = newton - descent
    a = float(way @ way)
    b = float(descent @ way)
    c = float(descent @ descent) - radius * radius
    reach: Float64 = descent + (-b + np.sqrt(max(b * b - a * c, 0.0))) / a * way
    return reach


def _norm(vector: Float64) -> float:
    return float(np.sqrt(vector @ vector))
