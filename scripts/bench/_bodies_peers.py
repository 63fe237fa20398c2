"""SMPLify's main fit by general optimisers, as those who have no derivatives at hand run it.

`Problem` is one orientation of one picture: SMPLify's four stages of residuals (reprojection, pose prior,
bending, shape) over 72 pose and 10 shape numbers, the translation fixed, from the start that our camera stage
found. Peers get that start for nothing, and our own forward kinematics (torch: the same in its operations).
scipy stops where we do, at a step that gains less than 1e-4 of the cost; L-BFGS would stop there far from the
minimum and has the original's hundred steps a stage instead. Spheres are left out on both sides.

scipy and torch are looked for when a peer is made; `PeerMissingError` names what is not installed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.body.anatomy import PARENTS
from capture.body.camera_stage import depth_in_picture, scale_at
from capture.body.cold import ORIGINAL_STAGES, Stage, starts_in_picture
from capture.body.model import BodyModel
from capture.body.point_terms import ORIGINAL_POINT_WEIGHTS, ROBUST_PX
from capture.body.points import POINT_JOINTS, lsp_attachments
from capture.body.prior import PosePrior
from capture.body.setup import Setup, Start, setup_of
from capture.body.terms import BENDING, BENDING_COLUMNS, BENDING_SIGNS
from capture.body.views import Observation

Float64 = npt.NDArray[np.float64]

LEAST_GAIN: Final = 1e-4
MOST_STEPS: Final = 100
POSES: Final = 72


class PeerMissingError(Exception):
    """A peer's package is not installed."""


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What is minimised from where; pose and shape numbers in one vector x (82,)."""

    model: BodyModel
    prior: PosePrior
    setup: Setup
    observation: Observation
    scale: float
    start: Start

    def x0(self) -> Float64:
        x = np.zeros(POSES + self.setup.points.shape_count)
        x[:3] = self.start.orientation
        return x

    def residuals(self, x: Float64, stage: Stage) -> Float64:
        """(26 + 70 + 4 + B + 2,): the points, the prior and its constant, elbows and knees, the shape."""
        view = self.observation.view
        points = self.setup.points.values(x[:POSES], x[POSES:]) + self.start.translation
        errors = self.scale * (self.observation.points_px - view.project(points))
        weights = ORIGINAL_POINT_WEIGHTS * self.observation.confidences
        data = weights[:, None] * ROBUST_PX * errors / np.sqrt(ROBUST_PX**2 + errors**2)
        away = x[3:POSES] - self.prior.means
        pulled = np.einsum("kij,kj->ki", self.prior.precisions, away)
        energies = 0.5 * np.einsum("ki,ki->k", pulled, away) + self.prior.constants
        best = int(energies.argmin())
        weight = stage.pose_weight
        return np.concatenate(
            [
                data.ravel(),
                np.sqrt(0.5) * weight * (away[best] @ _roots(self.prior)[best]),
                [weight * np.sqrt(self.prior.constants[best])],
                BENDING * weight * np.exp(BENDING_SIGNS * x[list(BENDING_COLUMNS)]),
                stage.shape_weight * x[POSES:],
            ]
        )

    def data_cost(self, x: Float64) -> float:
        data = self.residuals(x, ORIGINAL_STAGES[-1])[: 2 * len(ORIGINAL_POINT_WEIGHTS)]
        return float(data @ data)

    def cost(self, x: Float64) -> float:
        """Of the last stage."""
        residuals = self.residuals(x, ORIGINAL_STAGES[-1])
        return float(residuals @ residuals)


@dataclass(frozen=True, slots=True)
class PeerFit:
    """CPU of the main fits from all starts, and the cost of the one that explains the picture best."""

    cpu_ms: float
    cost: float


def problems(model: BodyModel, prior: PosePrior, observation: Observation) -> list[Problem]:
    """One for each orientation that SMPLify tries; none where the picture shows too little."""
    setup = setup_of(model, prior, every_joint=True)
    depth_m = depth_in_picture(setup, observation)
    if depth_m is None:
        return []
    scale = scale_at(setup, depth_m, observation)
    starts = starts_in_picture(setup, observation, scale, depth_m, None)
    return [Problem(model, prior, setup, observation, scale, each) for each in starts]


def scipy_fit(given: list[Problem], method: str) -> PeerFit:
    """scipy.optimize.least_squares with its numeric Jacobian ("2-point"); `method` "trf" or "lm"."""
    try:
        from scipy.optimize import least_squares
    except ModuleNotFoundError as error:
        raise PeerMissingError("scipy is not installed (the extra bench)") from error

    def fit(problem: Problem) -> Float64:
        x = problem.x0()
        for stage in ORIGINAL_STAGES:
            x = least_squares(problem.residuals, x, method=method, ftol=LEAST_GAIN, args=(stage,)).x
        return x

    return _fitted(given, fit)


def torch_fit(given: list[Problem]) -> PeerFit:
    """torch.optim.LBFGS with the strong Wolfe line search, derivatives by autograd, in float64."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise PeerMissingError("torch is not installed (the extra bench)") from error
    torch.set_num_threads(1)

    def fit(problem: Problem) -> Float64:
        cost_of = torch_cost(problem)
        x = torch.tensor(problem.x0(), requires_grad=True)
        for stage in ORIGINAL_STAGES:
            optimiser = torch.optim.LBFGS(
                [x], max_iter=MOST_STEPS, line_search_fn="strong_wolfe", history_size=20
            )

            def closure(optimiser: Any = optimiser, stage: Stage = stage) -> Any:
                optimiser.zero_grad()
                cost = cost_of(x, stage)
                cost.backward()
                return cost

            optimiser.step(closure)
        return np.asarray(x.detach().numpy(), dtype=np.float64)

    return _fitted(given, fit)


def _fitted(given: list[Problem], fit: Callable[[Problem], Float64]) -> PeerFit:
    before_s = time.process_time()
    found = [(problem, fit(problem)) for problem in given]
    cpu_ms = 1e3 * (time.process_time() - before_s)
    best = min(found, key=lambda each: each[0].data_cost(each[1]))
    return PeerFit(cpu_ms, best[0].cost(best[1]))


def torch_cost(problem: Problem) -> Callable[[Any, Stage], Any]:
    """The sum of the squares of `Problem.residuals` in torch's operations, for autograd."""
    import torch

    def tensor(values: npt.ArrayLike) -> Any:
        return torch.tensor(np.asarray(values, dtype=np.float64))

    model, view = problem.model, problem.observation.view
    count = problem.setup.points.shape_count
    joints, directions = tensor(model.joints), tensor(model.joint_shape_directions[:, :, :count])
    head = [each for each in lsp_attachments(model) if each.point == len(POINT_JOINTS)]
    head_joints = [each.joint for each in head]
    head_weights = tensor([each.weight for each in head])
    head_offsets = tensor([each.offset for each in head])
    head_directions = tensor([each.offset_directions for each in head])
    parents = list(PARENTS[1:])
    levels = _levels()
    turn, shift = tensor(view.camera_from_world[:3, :3]), tensor(view.camera_from_world[:3, 3])
    focal, centre = tensor(view.focal_px), tensor(view.centre_px)
    seen = tensor(problem.observation.points_px)
    weights = tensor(ORIGINAL_POINT_WEIGHTS * problem.observation.confidences)[:, None]
    translation = tensor(problem.start.translation)
    means, precisions = tensor(problem.prior.means), tensor(problem.prior.precisions)
    constants, signs = tensor(problem.prior.constants), tensor(BENDING_SIGNS)
    bending = list(BENDING_COLUMNS)

    def points_of(pose: Any, betas: Any) -> Any:
        rest = joints + directions @ betas
        bones = torch.cat([rest[:1], rest[1:] - rest[parents]])
        rotations = torch.linalg.matrix_exp(_skew(torch, pose.reshape(24, 3)))
        world, places = [rotations[0]], [bones[0]]
        order = [0]
        for level in levels:  # all joints of one depth of the tree at once
            above = [order.index(PARENTS[joint]) for joint in level]
            turned = torch.stack([world[k] for k in above])
            moved = torch.stack([places[k] for k in above])
            moved = moved + (turned @ bones[level][:, :, None])[:, :, 0]
            world += list(turned @ rotations[level])
            places += list(moved)
            order += level
        by_joint = [order.index(joint) for joint in range(24)]
        world_of = [world[k] for k in by_joint]
        places_of = [places[k] for k in by_joint]
        offsets = head_offsets + head_directions @ betas
        turned = (torch.stack([world_of[j] for j in head_joints]) @ offsets[:, :, None])[:, :, 0]
        moved = torch.stack([places_of[j] for j in head_joints]) + turned
        top = (head_weights[:, None] * moved).sum(dim=0)
        return torch.stack([*(places_of[j] for j in POINT_JOINTS), top])

    def cost(x: Any, stage: Stage) -> Any:
        pose, betas = x[:POSES], x[POSES:]
        camera = (points_of(pose, betas) + translation) @ turn.T + shift
        errors = problem.scale * (seen - centre - focal * camera[:, :2] / camera[:, 2:])
        data = weights * ROBUST_PX * errors / torch.sqrt(ROBUST_PX**2 + errors**2)
        away = pose[3:] - means
        energies = 0.5 * torch.einsum("ki,kij,kj->k", away, precisions, away) + constants
        squared = stage.pose_weight**2
        bent = torch.exp(signs * pose[bending])
        return (
            (data**2).sum()
            + squared * energies.min()
            + squared * BENDING**2 * (bent**2).sum()
            + stage.shape_weight**2 * (betas**2).sum()
        )

    return cost


def _skew(torch: Any, vectors: Any) -> Any:
    x, y, z = vectors.unbind(dim=1)
    nothing = torch.zeros_like(x)
    return torch.stack([nothing, -z, y, z, nothing, -x, -y, x, nothing], dim=1).reshape(-1, 3, 3)


def _levels() -> list[list[int]]:
    """The joints below the root by their depth in the tree."""
    depth = [0] * len(PARENTS)
    for joint in range(1, len(PARENTS)):
        depth[joint] = depth[PARENTS[joint]] + 1
    return [[j for j, d in enumerate(depth) if d == level] for level in range(1, max(depth) + 1)]


def _roots(prior: PosePrior) -> Float64:
    """Lower Cholesky factors (K, 69, 69) of the precisions; kept, as SMPLify keeps them."""
    if prior not in _ROOTS:
        _ROOTS[prior] = np.linalg.cholesky(prior.precisions)
    return _ROOTS[prior]


_ROOTS: Final[dict[PosePrior, Float64]] = {}
