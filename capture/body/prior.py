"""How likely a pose is: a mixture of Gaussians over the 69 axis-angle numbers below the root.

Owns the max-mixture energy of Bogo et al., "Keep it SMPL: Automatic Estimation of 3D Human Pose and Shape
from a Single Image" (ECCV 2016), with the weights that their published fit gives the components: each
Gaussian's own sqrt-determinant counts against the smallest among them,

    energy(x) = min over k of  1/2 (x - m_k)' P_k (x - m_k) - ln w_k
    w_k = weight_k / ((2 pi)^(n/2) sqrt|S_k| / min over j of sqrt|S_j|),    P_k = inverse of S_k

and the exact elimination of numbers that nothing but the prior moves. The energy counts into a cost as
`w * w * energy`: half the square of a distance in standard deviations, plus a constant per component.

Arrays in, arrays out; `_prior_files` reads the files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from capture.body._prior_files import read_mixture
from capture.body.kinematics import JOINT_COUNT

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

BODY_POSE_COUNT: Final = (JOINT_COUNT - 1) * 3
"""The pose without its root: what a prior over poses speaks of."""


class Pick(NamedTuple):
    """The component that explains a pose best, and its energy there.

    The energy's gradient (n,) and second derivative (n, n) are those of this component. The component
    changes where two are equally good; there the energy has a kink.
    """

    component: int
    energy: float
    gradient: Float64
    precision: Float64


@dataclass(frozen=True, slots=True, eq=False)
class PosePrior:
    """A mixture over n of the numbers of a pose; all of them, or those that `marginal` kept.

    means (K, n), precisions (K, n, n), constants (K,) = -ln w_k: see the module. Made by `from_mixture`,
    `load` or `marginal`.
    """

    means: Float64
    precisions: Float64
    constants: Float64
    kept: Int64
    """(n,) where its numbers stand among those of the whole prior."""
    dropped: Int64
    """(d,) the other places; nothing for a whole prior."""
    _dropped_means: Float64  # (K, d)
    _gains: Float64  # (K, d, n): by how much a dropped number follows a kept one
    _stacked: Float64  # (K * n, n): all precisions, for one product
    _stacked_means: Float64  # (K, n): each precision times its mean

    @staticmethod
    def from_mixture(means: npt.ArrayLike, covariances: npt.ArrayLike, weights: npt.ArrayLike) -> PosePrior:
        """means (K, n), covariances (K, n, n), weights (K,), of a mixture whose weights sum to 1.

        Raises ValueError for shapes that do not belong together, numbers that are not finite, weights that
        are not positive and covariances that are not symmetric and positive definite.
        """
        mean, covariance, weight = (
            np.asarray(values, dtype=np.float64) for values in (means, covariances, weights)
        )
        _check_mixture(mean, covariance, weight)
        count, size = mean.shape
        log_roots = np.empty(count)
        for k, matrix in enumerate(covariance):
            try:
                log_roots[k] = np.log(np.diagonal(np.linalg.cholesky(matrix))).sum()
            except np.linalg.LinAlgError:
                raise ValueError(f"covariance {k} is not positive definite") from None
        constants = 0.5 * size * math.log(2 * math.pi) + log_roots - log_roots.min() - np.log(weight)
        precisions = np.linalg.inv(covariance)
        precisions = 0.5 * (precisions + precisions.transpose(0, 2, 1))
        nothing = np.empty((count, 0))
        everything = np.arange(size)
        return _prior(mean, precisions, constants, everything, everything[:0], nothing, nothing)

    @staticmethod
    def load(path: str | Path) -> PosePrior:
        """The prior of a file: our `.npz`, or the `gmm_08.pkl` that belongs to the original SMPLify.

        Raises NotOurFileError, which names file and key, for one that holds no such mixture, and StorageError
        where it cannot be read.
        """
        return PosePrior.from_mixture(*read_mixture(Path(path), BODY_POSE_COUNT))

    def pick(self, x: npt.ArrayLike) -> Pick:
        """x (n,) radians -> the best component there, its energy, and the derivatives of that.

        A pose that is not finite has an energy of infinity.
        """
        values = np.asarray(x, dtype=np.float64)
        pulls = (self._stacked @ values).reshape(self.means.shape) - self._stacked_means
        energies = 0.5 * np.einsum("kn,kn->k", pulls, values - self.means) + self.constants
        best = int(np.argmin(energies))
        energy = float(energies[best])
        return Pick(best, energy if math.isfinite(energy) else math.inf, pulls[best], self.precisions[best])

    def marginal(self, kept: Sequence[int] | npt.NDArray[np.integer]) -> PosePrior:
        """The prior over the numbers at `kept`, with all others where they cost least.

        Its energy is the smallest that the whole prior has for these numbers, exactly: per component the
        others are a linear function of the kept ones (`complete`), and the constants stay as they are.
        Raises ValueError for places out of range or named twice, and for a prior that is a marginal itself.
        """
        if self.dropped.size:
            raise ValueError("a marginal is taken from a whole prior, not from another marginal")
        places = np.asarray(kept, dtype=np.int64)
        size = self.means.shape[1]
        if places.ndim != 1 or not places.size or len(np.unique(places)) != len(places):
            raise ValueError("the numbers to keep are a list of different places")
        if places.min() < 0 or places.max() >= size:
            raise ValueError(f"the numbers to keep stand at 0 to {size - 1}")
        others = np.setdiff1d(np.arange(size), places)
        own = self.precisions[:, places[:, None], places]
        across = self.precisions[:, others[:, None], places]
        gains = np.asarray(-np.linalg.solve(self.precisions[:, others[:, None], others], across))
        reduced = own + across.transpose(0, 2, 1) @ gains
        reduced = np.asarray(0.5 * (reduced + reduced.transpose(0, 2, 1)), dtype=np.float64)
        means = self.means
        return _prior(means[:, places], reduced, self.constants, places, others, means[:, others], gains)

    def complete(self, component: int, x: npt.ArrayLike) -> Float64:
        """Kept numbers x (n,) -> all numbers of the whole prior, the others where `component` wants them."""
        values = np.asarray(x, dtype=np.float64)
        whole = np.empty(len(self.kept) + len(self.dropped))
        whole[self.kept] = values
        follow = self._gains[component] @ (values - self.means[component])
        whole[self.dropped] = self._dropped_means[component] + follow
        return whole


@lru_cache(maxsize=1)
def default_prior() -> PosePrior:
    """The prior that ships with us: eight components, from CMU's motion capture retargeted to our body.

    The file beside this module says which clips it was made from, which were held out, and whom to thank;
    scripts/train_pose_prior.py makes it.
    """
    return PosePrior.load(Path(__file__).with_name("pose_prior.npz"))


def _prior(
    means: Float64,
    precisions: Float64,
    constants: Float64,
    kept: Int64,
    dropped: Int64,
    dropped_means: Float64,
    gains: Float64,
) -> PosePrior:
    count, size = means.shape
    gains = gains.reshape(count, len(dropped), size)
    stacked = np.ascontiguousarray(precisions).reshape(count * size, size)
    stacked_means = np.einsum("kij,kj->ki", precisions, means)
    arrays = (means, precisions, constants, kept, dropped, dropped_means, gains, stacked, stacked_means)
    for array in arrays:
        array.flags.writeable = False
    return PosePrior(*arrays)


def _check_mixture(means: Float64, covariances: Float64, weights: Float64) -> None:
    if means.ndim != 2 or not means.size:
        raise ValueError(f"means have the shape (components, numbers), not {means.shape}")
    count, size = means.shape
    if covariances.shape != (count, size, size):
        raise ValueError(f"covariances have the shape {(count, size, size)}, not {covariances.shape}")
    if weights.shape != (count,):
        raise ValueError(f"weights have the shape {(count,)}, not {weights.shape}")
    for name, values in (("means", means), ("covariances", covariances), ("weights", weights)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} hold numbers that are not finite")
    if (weights <= 0).any():
        raise ValueError("weights are positive")
    scale = np.abs(covariances).max(axis=(1, 2), keepdims=True)
    if (np.abs(covariances - covariances.transpose(0, 2, 1)) > 1e-6 * scale).any():
        raise ValueError("covariances are symmetric")
