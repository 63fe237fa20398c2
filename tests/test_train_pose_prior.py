"""The training of the pose prior, on mixtures that are known; and what the prior that ships has learnt."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest

from capture.body import prior as prior_module
from capture.body.anatomy import JOINT_NAMES
from capture.body.prior import BODY_POSE_COUNT, PosePrior, default_prior
from tests.walking_points import stored, walker

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = Path(prior_module.__file__).with_name("pose_prior.npz")
Float64 = npt.NDArray[np.float64]


def place(joint: str, axis: int) -> int:
    return 3 * (JOINT_NAMES.index(joint) - 1) + axis


HINGES = (
    (place("left_elbow", 1), -1),
    (place("right_elbow", 1), 1),
    (place("left_knee", 0), 1),
    (place("right_knee", 0), 1),
)


@pytest.fixture(scope="module")
def training() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "train_pose_prior", ROOT / "scripts" / "train_pose_prior.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def two_clouds(count: int = 3000) -> Float64:
    rng = np.random.default_rng(5)
    first = rng.standard_normal((count, 3)) * (0.5, 0.1, 0.3) + (1, 0, 0)
    second = rng.standard_normal((count // 2, 3)) * 0.2 - (1, 0, 0)
    return np.concatenate([first, second])


def test_a_known_mixture_is_found_again(training: ModuleType) -> None:
    mixture = training.fit_mixture(two_clouds(), 2, spread=0.01, seed=0)
    order = np.argsort(-mixture.weights)
    np.testing.assert_allclose(mixture.weights[order], [2 / 3, 1 / 3], atol=0.01)
    np.testing.assert_allclose(mixture.means[order], [[1, 0, 0], [-1, 0, 0]], atol=0.03)
    spreads = np.sqrt(np.einsum("kii->ki", mixture.covariances))[order]
    np.testing.assert_allclose(spreads, [[0.5, 0.1, 0.3], [0.2, 0.2, 0.2]], atol=0.02)


def test_a_mixture_explains_what_it_was_made_from_better_than_one_gaussian(training: ModuleType) -> None:
    points = two_clouds()
    one, two = (training.fit_mixture(points, count, spread=0.01, seed=0) for count in (1, 2))
    assert training.score(two, points) > training.score(one, points) + 0.3


def test_the_same_points_make_the_same_mixture(training: ModuleType) -> None:
    first, again = (training.fit_mixture(two_clouds(300), 3, spread=0.05, seed=0) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_points_that_all_agree_are_widened_and_stay_a_mixture(training: ModuleType) -> None:
    mixture = training.fit_mixture(np.ones((50, 4)), 1, spread=0.1, seed=0)
    prior = PosePrior.from_mixture(*mixture)
    np.testing.assert_allclose(prior.precisions[0], 100 * np.eye(4), rtol=1e-6)


def test_the_mirror_exchanges_left_and_right_and_undoes_itself(training: ModuleType) -> None:
    poses = np.random.default_rng(0).standard_normal((4, BODY_POSE_COUNT))
    seen = training.mirrored(poses)
    np.testing.assert_array_equal(training.mirrored(seen), poses)
    np.testing.assert_array_equal(seen[:, place("left_elbow", 1)], -poses[:, place("right_elbow", 1)])
    np.testing.assert_array_equal(seen[:, place("right_knee", 0)], poses[:, place("left_knee", 0)])
    np.testing.assert_array_equal(seen[:, place("head", 2)], -poses[:, place("head", 2)])


def test_poses_near_a_jump_are_left_out(training: ModuleType) -> None:
    poses = np.zeros((20, 3))
    poses[10:] += 2.0
    kept = training.steady(poses)
    assert len(kept) == 14
    np.testing.assert_array_equal(training.steady(poses[:10]), poses[:10])


def test_a_clip_is_thinned_over_its_whole_length(training: ModuleType) -> None:
    poses = np.arange(1000.0)[:, None]
    np.testing.assert_allclose(np.diff(training.thinned(poses, 100)[:, 0]), 10, atol=1)
    np.testing.assert_array_equal(training.thinned(poses[:50], 100), poses[:50])


def test_clips_are_poses_of_cmu_by_person(
    training: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CACHE", tmp_path / "cache")
    motions = stored(tmp_path / "motions.npz", walker(1.0)[0], name="cmu/05_12")
    clips = training.load_clips(motions)
    assert clips["cmu/05_12"].shape == (30, BODY_POSE_COUNT)
    assert training.person_of("cmu/05_12") == "05"


def test_missing_clips_are_named(
    training: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert training.main(["--motions", str(tmp_path / "nowhere.npz")]) == 2
    assert "nowhere.npz is not there" in capsys.readouterr().err


# ---- the prior that ships ----------------------------------------------------------------------------------


def test_the_shipped_file_is_small_and_tells_where_it_comes_from(training: ModuleType) -> None:
    assert SHIPPED.stat().st_size < 300_000
    with np.load(SHIPPED, allow_pickle=False) as archive:
        assert "mocap.cs.cmu.edu" in str(archive["source"])
        assert "NSF EIA-0196217" in str(archive["source"])
        seen, unseen = (
            {training.person_of(str(name)) for name in archive[key]}
            for key in ("training_clips", "held_out_clips")
        )
    assert seen == set(training.TRAINING)
    assert unseen == {"06", "07", "08", "09"}


def test_the_shipped_prior_bends_elbows_and_knees_as_people_do() -> None:
    prior = default_prior()
    assert prior.means.shape == (8, BODY_POSE_COUNT)
    for hinge, sign in HINGES:
        assert (sign * prior.means[:, hinge]).min() > 0
        for mean in prior.means:
            bent, broken = mean.copy(), mean.copy()
            bent[hinge], broken[hinge] = 0.9 * sign, -0.9 * sign
            assert prior.pick(broken).energy > prior.pick(bent).energy + 5


def test_from_the_t_pose_the_way_to_a_likely_pose_leads_downhill() -> None:
    prior = default_prior()
    start = prior.pick(np.zeros(BODY_POSE_COUNT))
    way = [prior.pick(share * prior.means[start.component]).energy for share in np.linspace(0, 1, 11)]
    assert np.isfinite(way).all()
    assert (np.diff(way) < 0).all()
