"""The pose prior: the energy of its equations, exact elimination, and files that are none."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from capture.body.prior import BODY_POSE_COUNT, PosePrior
from codec.errors import NotOurFileError, StorageError
from tests.capture.body.smpl_imitation import write_pickle

Float64 = npt.NDArray[np.float64]

HANDS_AND_FEET = [3 * (joint - 1) + axis for joint in (7, 8, 10, 11, 20, 21, 22, 23) for axis in range(3)]
KEPT = [place for place in range(BODY_POSE_COUNT) if place not in HANDS_AND_FEET]


def mixture(
    components: int = 8, size: int = BODY_POSE_COUNT, seed: int = 1
) -> tuple[Float64, Float64, Float64]:
    rng = np.random.default_rng(seed)
    means = 0.3 * rng.standard_normal((components, size))
    roots = 0.1 * rng.standard_normal((components, size, size)) / math.sqrt(size)
    covariances = roots @ roots.transpose(0, 2, 1) + 0.003 * np.eye(size)
    return means, covariances, rng.dirichlet(np.full(components, 3.0))


def poses(count: int, size: int = BODY_POSE_COUNT) -> Float64:
    return 0.3 * np.random.default_rng(2).standard_normal((count, size))


def test_energy_is_that_of_the_equations() -> None:
    means, covariances, weights = mixture()
    roots = np.sqrt([np.linalg.det(covariance) for covariance in 50.0 * covariances])
    share = weights / ((2 * math.pi) ** (BODY_POSE_COUNT / 2) * roots / roots.min())
    for x in poses(20):
        distances = [
            0.5 * (x - mean) @ np.linalg.solve(covariance, x - mean)
            for mean, covariance in zip(means, covariances, strict=True)
        ]
        energies = np.array(distances) - np.log(share)
        picked = PosePrior.from_mixture(means, covariances, weights).pick(x)
        assert picked.component == energies.argmin()
        assert picked.energy == pytest.approx(energies.min(), rel=1e-10)


def test_derivatives_are_those_of_finite_differences() -> None:
    prior = PosePrior.from_mixture(*mixture())
    step = 1e-5
    for x in poses(3):
        picked = prior.pick(x)
        for place in range(0, BODY_POSE_COUNT, 7):
            ahead, behind = (prior.pick(x + sign * step * np.eye(len(x))[place]) for sign in (1, -1))
            assert ahead.component == behind.component == picked.component
            assert (ahead.energy - behind.energy) / (2 * step) == pytest.approx(
                picked.gradient[place], rel=1e-6, abs=1e-6
            )
            slope = (ahead.gradient - behind.gradient) / (2 * step)
            np.testing.assert_allclose(slope, picked.precision[place], rtol=1e-6, atol=1e-5)


def test_reduced_energy_is_the_whole_energy_at_the_completed_pose() -> None:
    whole = PosePrior.from_mixture(*mixture())
    reduced = whole.marginal(KEPT)
    for x in poses(50):
        picked = reduced.pick(x[KEPT])
        completed = reduced.complete(picked.component, x[KEPT])
        full = whole.pick(completed)
        np.testing.assert_array_equal(completed[KEPT], x[KEPT])
        assert full.component == picked.component
        assert full.energy == pytest.approx(picked.energy, rel=1e-12)
        np.testing.assert_allclose(full.gradient[KEPT], picked.gradient, rtol=1e-8, atol=1e-8)
        # Nothing pulls at what was eliminated: no other completion costs less.
        np.testing.assert_allclose(full.gradient[HANDS_AND_FEET], 0.0, atol=1e-8)
        assert whole.pick(x).energy >= picked.energy


def test_keeping_everything_in_another_order_changes_nothing_else() -> None:
    whole = PosePrior.from_mixture(*mixture(3, 6))
    order = [5, 3, 0, 1, 4, 2]
    turned = whole.marginal(order)
    x = poses(1, 6)[0]
    assert turned.pick(x[order]).energy == pytest.approx(whole.pick(x).energy, rel=1e-12)
    np.testing.assert_array_equal(turned.complete(1, x[order]), x)
    np.testing.assert_array_equal(whole.complete(2, x), x)


def test_a_pose_that_is_not_finite_costs_infinitely_much() -> None:
    prior = PosePrior.from_mixture(*mixture(2, 4))
    assert prior.pick([0.0, math.nan, 0.0, 0.0]).energy == math.inf
    assert prior.pick([0.0, math.inf, 0.0, 0.0]).energy == math.inf


@pytest.mark.parametrize("kept", [[], [0, 0], [-1, 2], [1, 4], [[0, 1]]])
def test_places_to_keep_that_make_no_sense_are_refused(kept: list[int]) -> None:
    with pytest.raises(ValueError, match="the numbers to keep"):
        PosePrior.from_mixture(*mixture(2, 4)).marginal(kept)


def test_a_marginal_of_a_marginal_is_refused() -> None:
    reduced = PosePrior.from_mixture(*mixture(2, 4)).marginal([0, 1, 2])
    with pytest.raises(ValueError, match="from a whole prior"):
        reduced.marginal([0, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, c, w: (m[0], c, w), "means have the shape"),
        (lambda m, c, w: (m, c[:, :2], w), "covariances have the shape"),
        (lambda m, c, w: (m, c, w[1:]), "weights have the shape"),
        (lambda m, c, w: (m * math.nan, c, w), "means hold numbers that are not finite"),
        (lambda m, c, w: (m, -c, w), "covariance 0 is not positive definite"),
        (lambda m, c, w: (m, c + np.triu(np.ones((4, 4)), 1), w), "symmetric"),
        (lambda m, c, w: (m, c, w - w.max()), "weights are positive"),
    ],
)
def test_numbers_that_are_no_mixture_are_refused(change, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        PosePrior.from_mixture(*change(*mixture(2, 4)))


@pytest.mark.parametrize("key", ["covariances", "covars"])
def test_a_file_comes_back_as_the_prior_it_holds(tmp_path: Path, key: str) -> None:
    means, covariances, weights = mixture()
    path = tmp_path / "prior.npz"
    np.savez(path, means=means, weights=weights, **{key: covariances}, source=np.array("made here"))
    prior, wanted = PosePrior.load(path), PosePrior.from_mixture(means, covariances, weights)
    np.testing.assert_array_equal(prior.means, wanted.means)
    np.testing.assert_allclose(prior.precisions, wanted.precisions, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(prior.constants, wanted.constants, rtol=1e-12)


@pytest.mark.parametrize("python2", [True, False])
def test_the_originals_pickle_comes_back_as_the_prior_it_holds(tmp_path: Path, python2: bool) -> None:
    means, covariances, weights = mixture()
    values = {"means": means, "covars": covariances, "weights": weights, "how": {"n": 8}}
    path = write_pickle(tmp_path / "gmm_08.pkl", values, python2=python2)
    prior, wanted = PosePrior.load(path), PosePrior.from_mixture(means, covariances, weights)
    np.testing.assert_array_equal(prior.means, wanted.means)
    np.testing.assert_allclose(prior.precisions, wanted.precisions, rtol=1e-9, atol=1e-9)


def test_a_hostile_pickle_is_refused_before_anything_of_it_runs(tmp_path: Path) -> None:
    path, proof = tmp_path / "gmm_08.pkl", tmp_path / "it ran"

    class Hostile:
        def __reduce__(self) -> tuple[object, ...]:
            return (exec, (f"open({str(proof)!r}, 'w')",))

    path.write_bytes(pickle.dumps({"means": Hostile()}))
    with pytest.raises(NotOurFileError, match=r"gmm_08\.pkl is no pose prior"):
        PosePrior.load(path)
    assert not proof.exists()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot read .*nowhere\.npz: No such file"):
        PosePrior.load(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 torn", pickle.dumps({"means": 1})])
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(NotOurFileError, match=r"other\.npz is no pose prior: "):
        PosePrior.load(path)


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "torn.npz"
    means, covariances, weights = mixture()
    np.savez_compressed(path, means=means, covariances=covariances, weights=weights)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(NotOurFileError, match=r"torn\.npz is no pose prior"):
        PosePrior.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"means": None}, r"lacks the key 'means' \(it holds covariances, weights\)"),
        ({"covariances": None}, "lacks the key 'covariances'"),
        ({"means": np.zeros((8, 63))}, r"key 'means' is float64 \(8, 63\), not numbers \(K, 69\)"),
        ({"weights": np.ones(7)}, r"key 'weights' is float64 \(7,\), not numbers \(8\)"),
        ({"weights": np.array(["a"] * 8)}, "key 'weights' is <U1"),
        ({"weights": np.zeros(8)}, "key 'weights' holds numbers that are not positive"),
        ({"means": np.full((8, 69), math.nan)}, "key 'means' holds numbers that are not finite"),
        ({"covariances": -np.ones((8, 69, 69))}, "matrix 0 of its key 'covariances' is no covariance"),
    ],
)
def test_an_archive_that_holds_no_mixture_names_file_and_key(
    tmp_path: Path, change: dict[str, npt.NDArray[np.generic] | None], message: str
) -> None:
    path = tmp_path / "wrong.npz"
    entries = dict(zip(("means", "covariances", "weights"), mixture(), strict=True)) | change
    np.savez(path, **{key: values for key, values in entries.items() if values is not None})
    with pytest.raises(NotOurFileError, match=rf"wrong\.npz is no pose prior: .*{message}"):
        PosePrior.load(path)
