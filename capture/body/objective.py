"""The sum of all terms of a fit, as solvers want it: a cost, and on demand its pull and stiffness.

Two-stepped because most trials of a solver need the cost alone, and what is computed for it is half of what
the derivatives need.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from capture.body.kinematics import Float64
from capture.body.point_terms import HIP_POINTS, PointState, PointTerm
from capture.body.points import BodyPoints, PosedPoints
from capture.body.terms import BodyTerm, Layout, State, Term


class Objective:
    """F(x) = |r(x)|^2 over the unknowns of `layout`.

    `point_terms` look at the points in the world, `relative_terms` at the points from the middle of the
    hips, `terms` at the unknowns, `body_terms` at the posed body. With `fixed_translation` pull and stiffness
    leave the last three unknowns out.
    """

    def __init__(
        self,
        points: BodyPoints,
        point_terms: Sequence[PointTerm] = (),
        relative_terms: Sequence[PointTerm] = (),
        terms: Sequence[Term] = (),
        body_terms: Sequence[BodyTerm] = (),
        *,
        fixed_translation: bool = False,
    ) -> None:
        self.points = points
        self.layout = Layout.of(points)
        self.unknown_count = self.layout.count - (3 if fixed_translation else 0)
        self._point_terms = tuple(point_terms)
        self._relative_terms = tuple(relative_terms)
        self._terms = tuple(terms)
        self._body_terms = tuple(body_terms)

    def at(self, x: Float64) -> Evaluation:
        """`x` (n,) with all unknowns, the translation also where it is fixed."""
        return Evaluation(self, x)


class Evaluation:
    """The objective at one x. `data_cost` is what the terms that look at points have in `cost`.

    `points` (14, 3) in the world; `point_states` are those of the point terms, in their order.
    """

    __slots__ = (
        "_jacobian",
        "_objective",
        "_posed",
        "_relative_states",
        "_states",
        "cost",
        "data_cost",
        "point_states",
        "points",
    )

    def __init__(self, objective: Objective, x: Float64) -> None:
        layout = objective.layout
        poses = layout.pose_count
        self._objective = objective
        self._jacobian: Float64 | None = None
        self._posed: PosedPoints = objective.points.posed(x[:poses], x[layout.shape])
        world = self.points = self._posed.points + x[layout.translation]
        self.point_states: list[PointState] = [term.at(world) for term in objective._point_terms]
        self._relative_states: list[PointState] = []
        if objective._relative_terms:
            relative = world - 0.5 * (world[HIP_POINTS[0]] + world[HIP_POINTS[1]])
            self._relative_states = [term.at(relative) for term in objective._relative_terms]
        self._states: list[State] = [term.at(x) for term in objective._terms]
        self._states += [term.at(self._posed) for term in objective._body_terms]
        self.data_cost = 0.0
        for point_state in (*self.point_states, *self._relative_states):
            self.data_cost += point_state.cost
        self.cost = self.data_cost
        for state in self._states:
            self.cost += state.cost

    def system(self) -> tuple[Float64, Float64]:
        """Pull g (n,) and stiffness H (n, n) of all terms over the unknowns that are free."""
        pull, stiffness = self.data_system()
        for state in self._states:
            state.add_to(pull, stiffness)
        free = self._objective.unknown_count
        return pull[:free], stiffness[:free, :free]

    def data_system(self) -> tuple[Float64, Float64]:
        """The same of the terms that look at points alone, over all unknowns."""
        jacobian = self._jacobian = self._posed.jacobian()
        pull, stiffness = _pulled(jacobian, self.point_states)
        if self._relative_states:
            from_hips = jacobian - 0.5 * (jacobian[HIP_POINTS[0]] + jacobian[HIP_POINTS[1]])
            more_pull, more_stiffness = _pulled(from_hips, self._relative_states)
            pull += more_pull
            stiffness += more_stiffness
        return pull, stiffness

    def points_after(self, step: Float64) -> Float64:
        """(14, 3) where the points come to lie, to first order, when all unknowns move by `step` (n,)."""
        if self._jacobian is None:
            self._jacobian = self._posed.jacobian()
        return self.points + self._jacobian @ step

    def states(self) -> list[State]:
        """`terms`, then `body_terms`, in the order in which they were given."""
        return self._states


def _pulled(jacobian: Float64, states: Sequence[PointState]) -> tuple[Float64, Float64]:
    """The chain rule: from the space of the points to that of the unknowns."""
    count, _, columns = jacobian.shape
    pull = np.zeros((count, 3))
    stiffness = np.zeros((count, 3, 3))
    for state in states:
        state.add_to(pull, stiffness)
    flat = jacobian.reshape(3 * count, columns)
    weighed = (stiffness @ jacobian).reshape(3 * count, columns)
    return pull.reshape(-1) @ flat, flat.T @ weighed
