"""The bodies benchmark in a short form, and that its peers minimise what we minimise."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from capture.body.cold import ORIGINAL_STAGES, fit_cold
from capture.body.objective import Objective
from capture.body.point_terms import ORIGINAL_POINT_WEIGHTS, Reprojection
from capture.body.prior import default_prior
from scripts.bench import bodies
from scripts.bench._bodies_peers import PeerMissingError, problems, scipy_fit, torch_cost
from scripts.bench._bodies_tables import Measured, judge
from scripts.bench._bodies_timing import Duel, Timing, with_pose_directions
from scripts.bench._mesh_clips import MOTIONS
from tests.capture.body.fit_residuals import residuals
from tests.capture.body.walking_people import BODY, observed, person, seen_from

needs_motions = pytest.mark.skipif(
    not MOTIONS.is_file(), reason=f"the mocap clips are not there: {MOTIONS.name} in shared/data/mocap"
)
SIDEWAYS = observed(person(5, np.pi / 2), seen_from(1), np.random.default_rng(3))[0]
FACING = observed(person(5, 0.4), seen_from(2)[1:], np.random.default_rng(3))[0]


def timing(what: str, *times_ms: float) -> Timing:
    return Timing(what, list(times_ms))


def measured(cold_ms: float = 5.0, tracked_ms: float = 0.1, **ratios: float) -> Measured:
    peers = [Duel(f"{name} something", [1.0], [ratio], [1.0]) for name, ratio in ratios.items()]
    return Measured(
        cold=[timing("original's schedule", cold_ms)],
        duels=peers,
        tracked=[timing(name, tracked_ms) for name in ("one view", "one view + depth", "four views")],
        mesh=timing("all vertices", 0.3),
        depth=timing("depth", 10.0),
    )


# ---- the peers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("observation", "starts"), [(FACING, 1), (SIDEWAYS, 2)])
def test_peers_get_our_starts_and_the_published_residuals(observation, starts: int) -> None:  # type: ignore[no-untyped-def]
    prior = default_prior()
    given = problems(BODY, prior, observation)
    assert len(given) == starts
    problem = given[-1]
    x = problem.x0() + np.random.default_rng(0).normal(0, 0.1, 82)
    for stage in ORIGINAL_STAGES:
        weights = stage.pose_weight, stage.shape_weight
        found = problem.residuals(x, stage)
        written_out = residuals(
            BODY, prior, observation, problem.scale, weights, x[:72], x[72:], problem.start.translation
        )
        assert found @ found == pytest.approx(written_out @ written_out, rel=1e-9)
        objective = Objective(
            problem.setup.points,
            [Reprojection([observation], [problem.scale], ORIGINAL_POINT_WEIGHTS)],
            terms=problem.setup.terms(*weights),
            fixed_translation=True,
        )
        ours = objective.at(np.concatenate([x, problem.start.translation])).cost
        assert found @ found == pytest.approx(ours, rel=1e-9)


def test_our_fit_is_what_it_costs_by_the_peers_residuals() -> None:
    prior = default_prior()
    (problem,) = problems(BODY, prior, FACING)
    fit = fit_cold(BODY, [FACING], prior, mode="smplify", interpenetration=False)
    assert fit is not None
    x = np.concatenate([fit.pose, fit.betas])
    assert problem.cost(x) == pytest.approx(fit.cost, rel=1e-9)
    assert problem.cost(x) < 0.2 * problem.cost(problem.x0())


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed (extra bench)")
def test_torch_minimises_the_same() -> None:
    import torch

    (problem,) = problems(BODY, default_prior(), FACING)
    x = problem.x0() + np.random.default_rng(0).normal(0, 0.1, 82)
    for stage in ORIGINAL_STAGES:
        found = problem.residuals(x, stage)
        assert float(torch_cost(problem)(torch.tensor(x), stage)) == pytest.approx(found @ found, rel=1e-9)


def test_a_peer_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(PeerMissingError, match="scipy is not installed"):
        scipy_fit(problems(BODY, default_prior(), FACING), "lm")


# ---- the verdicts ------------------------------------------------------------------------------------------


def test_what_is_within_its_limits_is_met_and_nothing_else() -> None:
    verdicts = judge(measured(scipy=20.0, torch=50.0), "")
    assert [verdict.must_met for verdict in verdicts] == [True] * 8
    verdicts = judge(measured(8.1, 0.9, scipy=19.9, torch=49.0), "")
    assert [verdict.must_met for verdict in verdicts] == [False] * 6 + [True, True]


def test_the_quickest_variant_counts_and_a_missing_one_meets_nothing() -> None:
    slow, quick = Duel("scipy a", [1.0], [90.0], [1.0]), Duel("scipy b", [1.0, 1.0], [10.0, 12.0], [1.0, 1.0])
    missing = Duel("torch", missing="torch is not installed")
    both = Measured(
        **{**{f: getattr(measured(), f) for f in measured().__slots__}, "duels": [slow, quick, missing]}
    )
    _, scipy, torch, *_ = judge(both, "")
    assert scipy.figure == 11.0
    assert scipy.must_met is False
    assert torch.must_met is False
    assert "not installed" in torch.note


# ---- the whole ---------------------------------------------------------------------------------------------


def test_pose_directions_stand_in_for_smpls() -> None:
    model = with_pose_directions(BODY)
    assert model.pose_directions is not None
    assert model.pose_directions.shape == (207, 3 * 6890)
    assert 1e-4 < np.abs(model.pose_directions).mean() < 2e-3


@needs_motions
def test_the_short_form_measures_everything(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--clips", "cmu/07_05", "--frames", "12", "--every", "12", "--peer-moments", "0"]
    assert bodies.main([*words, "--json"]) == 1  # without peers nothing can be told of them
    told = json.loads(capsys.readouterr().out)
    assert told["synthetic"] is True
    assert [len(each["cpu_ms"]) > 0 for each in told["measured"]["cold"]] == [True] * 6
    assert all(value > 0 for each in told["measured"]["tracked"] for value in each["cpu_ms"])
    assert [verdict["figure"] is None for verdict in told["verdicts"]].count(True) == 2
    bodies.main(words)
    assert capsys.readouterr().out.startswith("SYNTHETIC")


def test_without_the_clips_it_says_so(capsys: pytest.CaptureFixture[str], tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert bodies.main(["--motions", str(tmp_path / "none.npz")]) == 3
    assert "none.npz" in capsys.readouterr().err
