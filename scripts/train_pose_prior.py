#!/usr/bin/env python3
"""Trains the pose prior that ships with us and tells how well it explains people it has not seen.

    .venv/bin/python scripts/train_pose_prior.py             # leave-one-person-out report; writes nothing
    .venv/bin/python scripts/train_pose_prior.py --write     # capture/body/pose_prior.npz

From CMU's motion capture, retargeted to the procedural body (`scripts.bench._motion_poses`), and from nothing
else. The persons of `TRAINING` are learnt from, all others are held out for whoever measures; the file lists
both. Each pose also counts as its mirror image, so that the prior knows no better side, and no clip counts
for more than a few hundred poses, as a minute of climbing tells little more than a second of running.

How. Expectation-maximisation of a mixture of eight Gaussians with full covariances, from a seeded start; the
same clips make the same prior. The covariance of each component is widened by `SPREAD_RAD`: people do more
than these did.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # in place of this folder: here, modules are named from the root of the checkout

from scripts._needs import needed_modules  # noqa: E402

with needed_modules(venv=".venv"):
    import numpy as np
    import numpy.typing as npt

    from capture.body.anatomy import JOINT_NAMES
    from capture.body.procedural import procedural_body
    from scripts.bench._mesh_clips import MOTIONS, UnusableClipError
    from scripts.bench._motion_poses import CACHE, motion_poses

Float64 = npt.NDArray[np.float64]

TARGET = ROOT / "capture" / "body" / "pose_prior.npz"
COMPONENTS = 8
SPREAD_RAD = 0.06
POSES_OF_A_CLIP = 400
TRAINING = ("01", "02", "03", "05")
"""CMU's numbers of persons: climbing, walking, running, boxing, uneven ground, dancing."""

SOURCE = (
    "CMU Graphics Lab Motion Capture Database, persons {persons}, retargeted to the body of nightrig. "
    "The data used in this project was obtained from mocap.cs.cmu.edu. "
    "The database was created with funding from NSF EIA-0196217."
)

_ROUNDS = 200
_ENOUGH = 1e-4  # nats a pose
_JUMP_RAD = 1.0  # in a thirtieth of a second: the mocap's, or an angle that has gone round
_AROUND_A_JUMP = 3  # frames


class Mixture(NamedTuple):
    """means (K, n), covariances (K, n, n), weights (K,)."""

    means: Float64
    covariances: Float64
    weights: Float64


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        clips = load_clips(args.motions)
    except UnusableClipError as error:
        print(f"train_pose_prior: {error}", file=sys.stderr)
        return 2
    training = {name: poses for name, poses in clips.items() if person_of(name) in TRAINING}
    held_out = [name for name in clips if name not in training]
    if args.write:
        write(TARGET, train(training.values()), sorted(training), held_out)
        print(f"wrote {TARGET.relative_to(ROOT)}: {TARGET.stat().st_size / 1000:.0f} kB")
        return 0
    print("| unseen person | nats a pose (more is better) | of those it was made from |\n|---|---|---|")
    for person in TRAINING:
        rest = train(poses for name, poses in training.items() if person_of(name) != person)
        own, others = (
            np.concatenate([p for name, p in training.items() if (person_of(name) == person) == unseen])
            for unseen in (True, False)
        )
        print(f"| {person} | {score(rest, own):.1f} | {score(rest, others):.1f} |", flush=True)
    everything = train(training.values())
    unseen = np.concatenate([clips[name] for name in held_out])
    seen = np.concatenate(list(training.values()))
    print(f"| all held-out | {score(everything, unseen):.1f} | {score(everything, seen):.1f} |")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="train on the persons of TRAINING and write")
    parser.add_argument("--motions", type=Path, default=MOTIONS, metavar="FILE", help="the mocap clips")
    return parser


def person_of(name: str) -> str:
    """ "cmu/05_12" -> "05"."""
    return name.partition("/")[2].partition("_")[0]


# ---- poses -------------------------------------------------------------------------------------------------


def load_clips(motions: Path) -> dict[str, Float64]:
    """(T, 69) poses below the root by CMU clip, thinned, without what jumps. Raises UnusableClipError."""
    if not motions.is_file():
        raise UnusableClipError(f"{motions} is not there: the prior is made from its mocap clips")
    with np.load(motions) as archive:
        names = sorted(key.removesuffix("/pts") for key in archive.files if key.endswith("/pts"))
    body = procedural_body()
    clips = {}
    for name in names:
        if name.startswith("cmu/"):
            pose = motion_poses(name, body, motions=motions, cache=CACHE).pose[:, 1:]
            clips[name] = thinned(steady(pose.reshape(len(pose), -1)), POSES_OF_A_CLIP)
    return clips


def steady(poses: Float64) -> Float64:
    """The poses that are not near a jump."""
    jumps = np.flatnonzero(np.abs(np.diff(poses, axis=0)).max(axis=1) > _JUMP_RAD)
    near = np.abs(np.arange(len(poses))[:, None] - jumps - 0.5).min(axis=1, initial=np.inf)
    return poses[near > _AROUND_A_JUMP]


def thinned(poses: Float64, most: int) -> Float64:
    """At most that many poses, evenly spread over the clip."""
    return poses[np.linspace(0, len(poses) - 1, min(most, len(poses))).astype(int)]


def mirrored(poses: Float64) -> Float64:
    """(N, 69) the same poses with left and right exchanged."""
    twins = [
        JOINT_NAMES.index(name.replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right"))
        for name in JOINT_NAMES[1:]
    ]
    joints = poses.reshape(len(poses), -1, 3)[:, np.array(twins) - 1]
    # The mirror turns x: rotations about x stay, those about y and z change their sense.
    return np.asarray((joints * (1.0, -1.0, -1.0)).reshape(len(poses), -1))


# ---- training ----------------------------------------------------------------------------------------------


def train(clips: Iterable[Float64]) -> Mixture:
    """The mixture of these poses (N, 69) and their mirror images."""
    poses = np.concatenate(list(clips))
    return fit_mixture(np.concatenate([poses, mirrored(poses)]), COMPONENTS, spread=SPREAD_RAD, seed=0)


def fit_mixture(points: Float64, components: int, *, spread: float, seed: int) -> Mixture:
    """Expectation-maximisation on points (N, n); each covariance is widened by spread^2 everywhere."""
    share = _nearest_shares(points, _seeds(points, components, np.random.default_rng(seed)))
    before = -np.inf
    for _ in range(_ROUNDS):
        mixture = _maximised(points, share, spread)
        logs = _log_densities(mixture, points)
        totals = np.logaddexp.reduce(logs, axis=1)
        share = np.exp(logs - totals[:, None])
        if totals.mean() - before < _ENOUGH:
            break
        before = totals.mean()
    return mixture


def score(mixture: Mixture, points: Float64) -> float:
    """The mean logarithm of the density at points (N, n), in nats."""
    return float(np.logaddexp.reduce(_log_densities(mixture, points), axis=1).mean())


def _seeds(points: Float64, components: int, rng: np.random.Generator) -> Float64:
    """Points far from each other (k-means++), moved to the middle of those nearest to them."""
    chosen = [points[rng.integers(len(points))]]
    nearest = ((points - chosen[0]) ** 2).sum(axis=1)
    while len(chosen) < components:
        chosen.append(points[rng.choice(len(points), p=nearest / nearest.sum())])
        nearest = np.minimum(nearest, ((points - chosen[-1]) ** 2).sum(axis=1))
    centres = np.array(chosen)
    for _ in range(20):
        share = _nearest_shares(points, centres)
        count = share.sum(axis=0)[:, None]
        centres = np.where(count > 0, share.T @ points / np.maximum(count, 1), centres)
    return centres


def _nearest_shares(points: Float64, centres: Float64) -> Float64:
    """(N, K): 1 for the nearest centre."""
    distances = (centres**2).sum(axis=1) - 2 * points @ centres.T
    return np.eye(len(centres))[distances.argmin(axis=1)]


def _maximised(points: Float64, share: Float64, spread: float) -> Mixture:
    count = np.maximum(share.sum(axis=0), 1e-9)
    means = share.T @ points / count[:, None]
    widening = spread**2 * np.eye(points.shape[1])
    covariances = np.empty((len(means), *widening.shape))
    for k, mean in enumerate(means):
        away = points - mean
        covariances[k] = (away * share[:, k, None]).T @ away / count[k] + widening
    return Mixture(means, covariances, count / count.sum())


def _log_densities(mixture: Mixture, points: Float64) -> Float64:
    """(N, K): ln of weight times density."""
    out = np.empty((len(points), len(mixture.weights)))
    for k, (mean, covariance, weight) in enumerate(zip(*mixture, strict=True)):
        root = np.linalg.cholesky(covariance)
        away = np.linalg.solve(root, (points - mean).T)
        volume = np.log(np.diagonal(root)).sum() + 0.5 * len(mean) * np.log(2 * np.pi)
        out[:, k] = np.log(weight) - volume - 0.5 * (away**2).sum(axis=0)
    return out


def write(path: Path, mixture: Mixture, training: Sequence[str], held_out: Sequence[str]) -> None:
    """Single precision: the rounding is a thousandth of what the covariances were widened by."""
    np.savez_compressed(
        path,
        means=mixture.means.astype(np.float32),
        covariances=mixture.covariances.astype(np.float32),
        weights=mixture.weights.astype(np.float32),
        source=np.array(SOURCE.format(persons=", ".join(TRAINING))),
        training_clips=np.array(training),
        held_out_clips=np.array(held_out),
    )


if __name__ == "__main__":
    sys.exit(main())
