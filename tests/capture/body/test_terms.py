"""Every term of a fit: its pull is the derivative of its cost, its stiffness that of its residuals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from capture.body.kinematics import rotations_of
from capture.body.objective import Objective
from capture.body.point_terms import (
    ORIGINAL_POINT_WEIGHTS,
    PointTerm,
    Reprojection,
    depth_term,
    landmark_term,
)
from capture.body.points import BodyPoints
from capture.body.procedural import procedural_body
from capture.body.terms import BendingTerm, Layout, PriorTerm, StiffTerm, Term, anchor_term, shape_term
from capture.body.views import Observation, View
from tests.capture.body.fit_residuals import mixture, residuals

BODY = procedural_body()
POINTS = BodyPoints(BODY)
ALL_POINTS = BodyPoints(BODY, every_joint=True)
LAYOUT = Layout.of(POINTS)
PRIOR = mixture()


def _view(turn: float) -> View:
    motion = np.eye(4)
    motion[:3, :3] = rotations_of([[0.1, turn, 0.05]])[0]
    motion[:3, 3] = np.array([0, 0, 3.0]) - motion[:3, :3] @ np.array([0, 0, 3.0])
    return View(np.array([600.0, 590.0]), np.array([320.0, 240.0]), motion)


def _observations(count: int, seed: int = 0) -> list[Observation]:
    """Key points and depth and landmarks near a random body, with errors up to where they are doubted."""
    rng = np.random.default_rng(seed)
    pose, betas, translation = _unknowns(seed)
    world = POINTS.values(pose, betas) + translation
    found = []
    for k in range(count):
        view = _view(0.8 * k)
        camera = view.to_camera(world)
        found.append(
            Observation(
                view,
                view.project(world) + rng.normal(0, 60, (14, 2)),
                rng.uniform(0, 1, 14),
                targets_m=camera + rng.normal(0, 0.1, (14, 3)),
                target_weights=rng.uniform(0, 1, 14),
                world_m=camera - camera[2:4].mean(axis=0) + rng.normal(0, 0.1, (14, 3)),
            )
        )
    return found


def _unknowns(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed + 100)
    pose = rng.normal(0, 0.3, 72)
    pose[:3] = [np.pi, 0.2, 0.1]
    return pose, rng.normal(0, 1, 10), np.array([0.1, 0.2, 3.0])


def _x(seed: int = 1) -> np.ndarray:
    pose, betas, translation = _unknowns(seed)
    return np.concatenate([pose[POINTS.pose_columns], betas, translation])


def _slope(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """Fourth-order differences of a vector function: (rows, len(x))."""
    step = 1e-4
    columns = []
    for k in range(len(x)):
        values = []
        for times in (-2, -1, 1, 2):
            moved = x.copy()
            moved[k] += times * step
            values.append(function(moved))
        columns.append((values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step))
    return np.stack(columns, axis=-1)


def _point_term(kind: str, views: int) -> tuple[list[PointTerm], list[PointTerm]]:
    seen = _observations(views)
    if kind == "reprojection":
        return [Reprojection(seen, np.linspace(0.7, 1.2, views))], []
    if kind == "depth":
        depth = depth_term(seen)
        assert depth is not None
        return [depth], []
    landmarks = landmark_term(seen)
    assert landmarks is not None
    return [], [landmarks]


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("kind", ["reprojection", "depth", "landmarks"])
def test_point_terms_agree_with_differences(kind: str, views: int) -> None:
    objective = Objective(POINTS, *_point_term(kind, views))
    pull, stiffness = objective.at(_x()).system()
    numeric = _slope(lambda x: np.array([objective.at(x).cost]), _x())[0]
    assert np.abs(2 * pull - numeric).max() <= 1e-6 * np.abs(numeric).max()
    assert np.allclose(stiffness, stiffness.T)
    assert np.linalg.eigvalsh(stiffness).min() >= -1e-8 * np.abs(stiffness).max()


@pytest.mark.parametrize("kind", ["reprojection", "depth", "landmarks"])
def test_the_stiffness_of_point_terms_is_that_of_their_residuals(kind: str) -> None:
    absolute, relative = _point_term(kind, 2)
    objective = Objective(POINTS, absolute, relative)
    (term,) = [*absolute, *relative]

    def vector(x: np.ndarray) -> np.ndarray:
        world = POINTS.posed(x[:48], x[48:58]).points + x[58:]
        if relative:
            world = world - world[2:4].mean(axis=0)
        return np.ravel(term.at(world)._residuals)  # type: ignore[attr-defined]

    J = _slope(vector, _x())
    _, stiffness = objective.at(_x()).system()
    assert np.abs(stiffness - J.T @ J).max() <= 1e-6 * np.abs(stiffness).max()


@pytest.mark.parametrize(
    "term",
    [
        PriorTerm(LAYOUT, PRIOR.marginal(LAYOUT.prior_columns()), 4.78),
        BendingTerm(LAYOUT, 57.4),
        shape_term(LAYOUT, 5.0),
        shape_term(LAYOUT, 5.0, np.linspace(-1, 1, 10)),
        anchor_term(LAYOUT, np.array([0.0, 0.1, 2.5]), np.array([0.6, 0.0, 0.8]), 50.0),
        StiffTerm(slice(0, 61), np.linspace(-1, 1, 61), np.diag(np.linspace(1, 2, 61)) + 0.1),
    ],
    ids=["prior", "bending", "shape", "other shape", "anchor", "motion"],
)
def test_terms_of_the_unknowns_agree_with_differences(term: Term) -> None:
    x = _x()
    pull, stiffness = np.zeros(61), np.zeros((61, 61))
    term.at(x).add_to(pull, stiffness)
    numeric = _slope(lambda at: np.array([term.at(at).cost]), x)[0]
    assert np.abs(2 * pull - numeric).max() <= 1e-6 * np.abs(numeric).max()

    def pulled(at: np.ndarray) -> np.ndarray:
        here = np.zeros(61)
        term.at(at).add_to(here, np.zeros((61, 61)))
        return here

    if isinstance(term, BendingTerm):
        # The residual is an exponential: half of its second derivative is what Gauss and Newton leave out.
        assert np.allclose(2 * stiffness, _slope(pulled, x), rtol=1e-6, atol=1e-6)
    else:
        assert np.allclose(stiffness, _slope(pulled, x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("weights", [(404.0, 100.0), (4.78, 5.0)])
@pytest.mark.parametrize("seed", range(3))
def test_the_original_objective_equals_its_vector_of_residuals(
    seed: int, weights: tuple[float, float]
) -> None:
    observation = _observations(1, seed)[0]
    layout = Layout.of(ALL_POINTS)
    objective = Objective(
        ALL_POINTS,
        [Reprojection([observation], [0.8], ORIGINAL_POINT_WEIGHTS)],
        [],
        [
            PriorTerm(layout, PRIOR, weights[0]),
            BendingTerm(layout, weights[0]),
            shape_term(layout, weights[1]),
        ],
    )

    def vector(x: np.ndarray) -> np.ndarray:
        return residuals(BODY, PRIOR, observation, 0.8, weights, x[:72], x[72:82], x[82:])

    x = np.concatenate(_unknowns(seed + 7))
    expected = vector(x)
    here = objective.at(x)
    assert here.cost == pytest.approx(expected @ expected, rel=1e-9)
    J = _slope(vector, x)
    pull, stiffness = here.system()
    assert np.abs(pull - J.T @ expected).max() <= 1e-6 * np.abs(pull).max()
    assert np.abs(stiffness - J.T @ J).max() <= 1e-6 * np.abs(stiffness).max()


def test_eliminated_numbers_cost_what_the_completed_pose_costs() -> None:
    observation = _observations(1)[0]
    lean = Objective(
        POINTS,
        [Reprojection([observation], [0.8], ORIGINAL_POINT_WEIGHTS)],
        [],
        [PriorTerm(LAYOUT, PRIOR.marginal(LAYOUT.prior_columns()), 57.4)],
    )
    x = _x()
    here = lean.at(x)
    marginal = PRIOR.marginal(LAYOUT.prior_columns())
    pose = np.concatenate([x[:3], marginal.complete(marginal.pick(x[3:48]).component, x[3:48])])
    full = residuals(BODY, PRIOR, observation, 0.8, (57.4, 0.0), pose, x[48:58], x[58:])
    bending = 57.4**2 * 10.0 * np.exp(2 * np.array([pose[55], -pose[58], -pose[12], -pose[15]])).sum()
    bending *= 0.317**2 * 10.0
    assert here.cost == pytest.approx(full @ full - bending, rel=1e-9)


def test_a_fixed_translation_is_left_out_of_the_system() -> None:
    objective = Objective(POINTS, *_point_term("depth", 1), fixed_translation=True)
    pull, stiffness = objective.at(_x()).system()
    assert pull.shape == (58,)
    assert stiffness.shape == (58, 58)


def test_a_body_behind_the_camera_that_sees_it_costs_infinitely_much() -> None:
    objective = Objective(POINTS, *_point_term("reprojection", 1))
    x = _x()
    x[-1] = -3.0
    assert objective.at(x).cost == np.inf


def test_nothing_measured_is_no_term() -> None:
    observation = _observations(1)[0]
    bare = Observation(observation.view, observation.points_px, observation.confidences)
    assert depth_term([bare]) is None
    assert landmark_term([bare]) is None


def test_depth_before_a_point_pulls_less_than_depth_behind_it() -> None:
    """Something may be before a joint, but nothing is seen through it."""
    view = View.of_picture(640, 480)  # the world's axes are the camera's
    places = np.zeros((14, 3))
    places[:, 2] = 3.0
    pulls = []
    for nearer_m in (-0.3, 0.3):
        targets = places - (0.0, 0.0, nearer_m)
        depth = depth_term([Observation(view, np.ones((14, 2)), np.ones(14), targets)])
        assert depth is not None
        pull, stiffness = np.zeros((14, 3)), np.zeros((14, 3, 3))
        depth.at(places).add_to(pull, stiffness)
        pulls.append(np.abs(pull[:, 2]).max())
    assert pulls[1] < 0.1 * pulls[0]
