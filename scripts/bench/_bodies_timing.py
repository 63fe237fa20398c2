"""How long a body takes: cold fits beside their peers, tracked steps, the mesh, the depth picture.

CPU of one thread, each figure the median over moments of held-out clips. Peers fit the same moments, a few of
them, between two of our fits of the same moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.body.cold import Fit, fit_cold
from capture.body.model import BodyModel
from capture.body.prior import PosePrior
from capture.body.raster import render_depth
from capture.body.tracker import Tracker
from capture.frames import Intrinsics
from scripts.bench._accuracy_errors import errors_mm
from scripts.bench._accuracy_scene import FOCAL_PX, SIZE_PX, Truth, cameras
from scripts.bench._accuracy_ways import SETTLING_FRAMES, WAYS, Clip, sights
from scripts.bench._bodies_peers import PeerFit, PeerMissingError, problems, scipy_fit, torch_fit
from scripts.bench._mesh_clips import FPS

Float64 = npt.NDArray[np.float64]

PEERS: Final[dict[str, Callable[..., PeerFit]]] = {
    "scipy least_squares, trf, numeric Jacobian": lambda given: scipy_fit(given, "trf"),
    "scipy least_squares, lm (MINPACK), numeric Jacobian": lambda given: scipy_fit(given, "lm"),
    "torch L-BFGS, autograd": torch_fit,
}
_WAYS: Final = {way.name: way for way in WAYS}
_REPEATS: Final = 3
_POSE_DIRECTION_COUNT: Final = 207


@dataclass(slots=True)
class Timing:
    """CPU milliseconds by call, and root-relative errors in millimetres where there is a truth."""

    what: str
    cpu_ms: list[float] = field(default_factory=list)
    errors_mm: list[float] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        return float(np.median(self.cpu_ms))

    @property
    def slow_ms(self) -> float:
        """Nine of ten are quicker."""
        return float(np.percentile(self.cpu_ms, 90))


@dataclass(slots=True)
class Duel:
    """A peer against our fit of the same residuals, by moment: both times, and both costs."""

    peer: str
    ours_ms: list[float] = field(default_factory=list)
    theirs_ms: list[float] = field(default_factory=list)
    cost_ratios: list[float] = field(default_factory=list)
    missing: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times longer the peer takes, the median over moments; None where it did not run."""
        if not self.theirs_ms:
            return None
        return float(np.median(np.array(self.theirs_ms) / np.array(self.ours_ms)))


def cold_timings(clips: Sequence[Clip], body: BodyModel, *, every: int) -> list[Timing]:
    """Fits of single moments."""
    out = []
    for what, way, options in (
        ("original's schedule", "mono", {"mode": "smplify"}),
        ("original's schedule without spheres", "mono", {"mode": "smplify", "interpenetration": False}),
        ("fast, one view", "mono", {}),
        ("fast, one view + depth", "mono + depth", {}),
        ("fast, two views", "two views", {}),
        ("fast, four views", "four views", {}),
    ):
        timing = Timing(what)
        for clip in clips:
            for moment, (truth, observations) in enumerate(sights(_WAYS[way], clip)):
                if moment % every == every // 2:
                    cpu_ms, fit = best_of(lambda o=observations, k=options: fit_cold(body, o, **k))
                    timing.cpu_ms.append(cpu_ms)
                    if fit is not None:
                        timing.errors_mm.append(errors_mm(body.pose(fit.parameters()), truth.joints_m).root)
        out.append(timing)
    return out


def duels(clips: Sequence[Clip], body: BodyModel, prior: PosePrior, *, moments: int) -> list[Duel]:
    """Every peer over `moments` moments of each clip, our fit timed before and after each."""
    out = [Duel(peer) for peer in PEERS]
    for clip in clips:
        seen = list(sights(_WAYS["mono"], clip))
        for moment in np.linspace(0, len(seen) - 1, moments + 2).astype(int)[1:-1]:
            (observation,) = seen[moment][1]
            given = problems(body, prior, observation)

            def ours(observation: Any = observation) -> Fit | None:
                return fit_cold(body, [observation], prior, mode="smplify", interpenetration=False)

            for duel in out:
                if duel.missing:
                    continue
                before_ms, fit = best_of(ours)
                try:
                    theirs = PEERS[duel.peer](given)
                except PeerMissingError as error:
                    duel.missing = str(error)
                    continue
                after_ms, _ = best_of(ours)
                if fit is not None:
                    duel.ours_ms.append(0.5 * (before_ms + after_ms))
                    duel.theirs_ms.append(theirs.cpu_ms)
                    duel.cost_ratios.append(theirs.cost / fit.cost)
    return out


def tracked_timings(clips: Sequence[Clip], body: BodyModel) -> list[Timing]:
    """Updates of a tracker that follows each clip from its first moment on."""
    out = []
    for what, way in (
        ("one view", "mono"),
        ("one view + depth", "mono + depth"),
        ("four views", "four views"),
        ("four views in turn", "four staggered"),
    ):
        timing = Timing(what)
        for clip in clips:
            tracker = Tracker(body)
            for moment, (truth, observations) in enumerate(sights(_WAYS[way], clip)):
                before_s = time.process_time()
                track = tracker.update(moment / FPS, observations)
                if moment >= SETTLING_FRAMES:
                    timing.cpu_ms.append(1e3 * (time.process_time() - before_s))
                    if track is not None:
                        joints = body.pose(track.parameters())
                        timing.errors_mm.append(errors_mm(joints, truth.joints_m).root)
        out.append(timing)
    return out


def mesh_timing(body: BodyModel, poses: Float64, betas: Float64) -> Timing:
    """All vertices of one person, pose after pose (n, 24, 3), as a model with pose directions has them."""
    timing = Timing("all vertices")
    place = np.zeros(3)
    for pose in poses:
        timing.cpu_ms.append(best_of(lambda pose=pose: body.skin(pose, betas, place))[0])
    return timing


def depth_timing(truths: Sequence[Truth], body: BodyModel) -> Timing:
    """Depth pictures and masks of 640 x 480 pixels of one person."""
    width, height = SIZE_PX
    lens = Intrinsics(width, height, FOCAL_PX, FOCAL_PX, width / 2, height / 2)
    (view,) = cameras((0.0,), 0.0)
    timing = Timing("depth picture and mask")
    for truth in truths:
        assert truth.vertices_m is not None
        vertices = view.to_camera(truth.vertices_m.astype(np.float64)).astype(np.float32)
        timing.cpu_ms.append(best_of(lambda v=vertices: render_depth([v], body.faces, lens))[0])
    return timing


def with_pose_directions(body: BodyModel) -> BodyModel:
    """The body with 207 pose directions of random numbers: as much to compute as SMPL has.

    What a joint bends is its own surroundings, by a centimetre, and all else by a tenth of a millimetre.
    """
    vertices = body.template_vertices.astype(np.float64)
    rng = np.random.default_rng(0)
    directions = []
    for joint in body.joints[1:]:
        away_m = np.linalg.norm(vertices - joint, axis=1)
        amplitude_m = 1e-4 + 0.01 * np.exp(-np.square(away_m / 0.15))
        directions.append(
            rng.normal(0, 1, (9, 3, 1)) * amplitude_m * rng.normal(1, 0.3, (9, 3, len(vertices)))
        )
    rows = np.concatenate(directions).reshape(_POSE_DIRECTION_COUNT, -1).astype(np.float32)
    return replace(body, pose_directions=rows)


def best_of(call: Callable[[], Any]) -> tuple[float, Any]:
    """The least CPU of a few calls in milliseconds, and what the last one gave."""
    least_s, found = np.inf, None
    for _ in range(_REPEATS):
        before_s = time.process_time()
        found = call()
        least_s = min(least_s, time.process_time() - before_s)
    return 1e3 * least_s, found
