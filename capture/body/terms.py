"""What pose, shape and translation are held against: priors, bending, shape, an anchor, and motion.

A cost is a sum of squared residuals F = |r|^2. A term adds to it, to the pull g = J'r (half the gradient)
and to the stiffness H = J'J (the Gauss-Newton half of the second derivative), J being the derivative of r by
the unknowns. The terms here look at the vector of unknowns itself; those that look at the body's points
stand in `point_terms`. Residuals are pixels of a person 300 pixels tall.

Source: Bogo et al., "Keep it SMPL: Automatic Estimation of 3D Human Pose and Shape from a Single Image"
(ECCV 2016), for the prior, bending and shape and their constants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from capture.body.joint_tree import Int
from capture.body.kinematics import Float64
from capture.body.points import BodyPoints, PosedPoints
from capture.body.prior import PosePrior

BENDING: Final = 3.17
"""sqrt(10): SMPLify weighs 10 exp(...) with 0.317 of what it weighs the pose with."""
BENDING_COLUMNS: Final = (55, 58, 12, 15)
"""Left and right elbow, left and right knee: the numbers that bend them."""
BENDING_SIGNS: Final = np.array([1.0, -1.0, -1.0, -1.0])


@dataclass(frozen=True, slots=True)
class Layout:
    """Where in the vector of unknowns things stand: seen pose numbers, shape numbers, translation."""

    pose_columns: Int
    shape_count: int

    @classmethod
    def of(cls, points: BodyPoints) -> Layout:
        return cls(points.pose_columns, points.shape_count)

    @property
    def pose_count(self) -> int:
        return len(self.pose_columns)

    @property
    def shape(self) -> slice:
        return slice(self.pose_count, self.pose_count + self.shape_count)

    @property
    def translation(self) -> slice:
        return slice(self.pose_count + self.shape_count, self.count)

    @property
    def count(self) -> int:
        return self.pose_count + self.shape_count + 3

    def prior_columns(self) -> Int:
        """The numbers of a prior over the pose below the root that are among the unknowns."""
        below = self.pose_columns[3:]
        return below - 3

    def where(self, pose_column: int) -> int:
        """The place of one of the 72 pose numbers among the unknowns."""
        return int(np.flatnonzero(self.pose_columns == pose_column)[0])


class State(Protocol):
    """A term at given unknowns."""

    @property
    def cost(self) -> float: ...

    def add_to(self, pull: Float64, stiffness: Float64) -> None:
        """Adds g to `pull` (n,) and H to `stiffness` (n, n)."""


class Term(Protocol):
    def at(self, x: Float64) -> State:
        """`x` (n,): see `Layout`."""


class BodyTerm(Protocol):
    def at(self, body: PosedPoints) -> State:
        """`body`: the posed points of the fit, of whose rotations others can be carried."""


class PriorTerm:
    """Max-mixture prior over the pose; the constants of its components count as residuals do."""

    def __init__(self, layout: Layout, prior: PosePrior, weight: float) -> None:
        """`prior` speaks of the pose numbers below the root that are among the unknowns, in their order."""
        self._prior = prior
        self._columns = slice(3, layout.pose_count)
        self._weight = weight * weight

    def at(self, x: Float64) -> State:
        return _PriorState(self, x)


class _PriorState:
    __slots__ = ("_gradient", "_precision", "_term", "component", "cost")

    def __init__(self, term: PriorTerm, x: Float64) -> None:
        self._term = term
        self.component, energy, self._gradient, self._precision = term._prior.pick(x[term._columns])
        self.cost = term._weight * energy

    def add_to(self, pull: Float64, stiffness: Float64) -> None:
        term = self._term
        pull[term._columns] += 0.5 * term._weight * self._gradient
        stiffness[term._columns, term._columns] += 0.5 * term._weight * self._precision


class BendingTerm:
    """Elbows and knees do not bend backwards: an exponential that grows with how far they do."""

    def __init__(self, layout: Layout, weight: float) -> None:
        self._places = np.array([layout.where(column) for column in BENDING_COLUMNS])
        self._weight = BENDING * weight

    def at(self, x: Float64) -> State:
        return _BendingState(self, x)


class _BendingState:
    __slots__ = ("_squares", "_term", "cost")

    def __init__(self, term: BendingTerm, x: Float64) -> None:
        residuals = term._weight * np.exp(BENDING_SIGNS * x[term._places])
        self._term = term
        self._squares = residuals * residuals
        self.cost = float(self._squares.sum())

    def add_to(self, pull: Float64, stiffness: Float64) -> None:
        places = self._term._places
        pull[places] += BENDING_SIGNS * self._squares
        stiffness[places, places] += self._squares


class StiffTerm:
    """|R (x - mean)|^2 over some of the unknowns, given as the information matrix R'R.

    The shape term, the anchor of a translation along a line of sight, and what motion predicts.
    """

    def __init__(self, columns: slice, mean: Float64, information: Float64) -> None:
        self._columns = columns
        self._mean = mean
        self._information = information

    def at(self, x: Float64) -> State:
        return _StiffState(self, x)


class _StiffState:
    __slots__ = ("_pull", "_term", "cost")

    def __init__(self, term: StiffTerm, x: Float64) -> None:
        away = x[term._columns] - term._mean
        self._term = term
        self._pull = term._information @ away
        self.cost = float(self._pull @ away)

    def add_to(self, pull: Float64, stiffness: Float64) -> None:
        columns = self._term._columns
        pull[columns] += self._pull
        stiffness[columns, columns] += self._term._information


def shape_term(layout: Layout, weight: float, mean: Float64 | None = None) -> StiffTerm:
    """People are of average shape, or of the shape `mean`."""
    count = layout.shape_count
    return StiffTerm(layout.shape, np.zeros(count) if mean is None else mean, weight * weight * np.eye(count))


def anchor_term(layout: Layout, place_m: Float64, direction: Float64, px_per_m: float) -> StiffTerm:
    """The translation stays near `place_m` along the unit vector `direction`: what one view cannot tell."""
    return StiffTerm(layout.translation, place_m, px_per_m * px_per_m * np.outer(direction, direction))
