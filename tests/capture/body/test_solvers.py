"""The solvers go downhill to the same minimum, and stop."""

from __future__ import annotations

import numpy as np
import pytest

from capture.body.objective import Objective
from capture.body.point_terms import Reprojection
from capture.body.points import BodyPoints
from capture.body.procedural import procedural_body
from capture.body.solvers import damped_step, dogleg, levenberg_marquardt
from capture.body.terms import BendingTerm, Layout, PriorTerm, shape_term
from capture.body.views import Observation, View
from tests.capture.body.fit_residuals import mixture

BODY = procedural_body()
POINTS = BodyPoints(BODY)
LAYOUT = Layout.of(POINTS)
VIEW = View(np.array([600.0, 600.0]), np.array([320.0, 240.0]))


def _start_and_objective(*, fixed_translation: bool = False) -> tuple[np.ndarray, Objective]:
    rng = np.random.default_rng(3)
    pose = rng.normal(0, 0.2, 72)
    pose[:3] = [np.pi, 0, 0]
    points = POINTS.values(pose, np.zeros(10)) + np.array([0, 0, 3.0])
    seen = Observation(VIEW, VIEW.project(points) + rng.normal(0, 2, (14, 2)), np.ones(14))
    marginal = mixture().marginal(LAYOUT.prior_columns())
    terms = [PriorTerm(LAYOUT, marginal, 4.78), BendingTerm(LAYOUT, 4.78), shape_term(LAYOUT, 5.0)]
    x = np.zeros(61)
    x[:3] = [np.pi, 0.1, 0]
    x[-1] = 3.0
    reprojection = Reprojection([seen], [0.8])
    return x, Objective(POINTS, [reprojection], [], terms, fixed_translation=fixed_translation)


def test_both_solvers_end_in_the_same_minimum_and_their_pull_vanishes() -> None:
    x, objective = _start_and_objective()
    found = [
        solver(objective, x, most_steps=200, least_gain=1e-12) for solver in (dogleg, levenberg_marquardt)
    ]
    assert found[0].evaluation.cost == pytest.approx(found[1].evaluation.cost, rel=1e-6)
    for solution in found:
        assert solution.evaluation.data_cost < 0.2 * objective.at(x).data_cost
        pull, stiffness = solution.evaluation.system()
        assert np.abs(np.linalg.solve(stiffness, pull)).max() < 1e-3
        assert solution.steps < 200


def test_a_fixed_translation_stays() -> None:
    x, objective = _start_and_objective(fixed_translation=True)
    for solver in (dogleg, levenberg_marquardt):
        assert solver(objective, x).x[-3:].tolist() == [0, 0, 3.0]


def test_a_hopeless_start_is_given_back() -> None:
    x, objective = _start_and_objective()
    x[-1] = -1.0
    for solver in (dogleg, levenberg_marquardt):
        solution = solver(objective, x)
        assert solution.steps == 0
        assert solution.evaluation.cost == np.inf


def test_a_step_is_shortened_as_a_whole() -> None:
    stiffness = np.diag([1.0, 2.0])
    assert damped_step(np.array([1.0, 2.0]), stiffness, 10.0).tolist() == [-1, -1]
    assert damped_step(np.array([1.0, 2.0]), stiffness, np.array([0.5, 10.0])).tolist() == [-0.5, -0.5]
