"""A body from what cameras saw at one moment, without knowing where it was before.

`fit_cold(mode="smplify")` is the published algorithm: camera stage on the torso, four stages with weaker
and weaker priors by dogleg, the translation fixed, a body that does not run through itself, a second fit
with the body turned about where the shoulders are close. `mode="fast"` minimises the same terms and more: it
starts from whatever is known in three dimensions, frees the translation at the end, and needs two stages
instead of four where the start was in space. Pose numbers that nothing but the prior moves it leaves out
(exactly: see `PosePrior.marginal`).

Source: Bogo et al., "Keep it SMPL: Automatic Estimation of 3D Human Pose and Shape from a Single Image"
(ECCV 2016). Arrays in, arrays out; several persons, time and files are others' business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from capture.body.camera_stage import (
    depth_in_picture,
    headings_of,
    is_side_view,
    place,
    scale_at,
)
from capture.body.capsules import CapsuleSizes
from capture.body.kinematics import SHAPE_COUNT, Float64, join_parameters
from capture.body.model import BodyModel
from capture.body.objective import Objective
from capture.body.point_terms import (
    ORIGINAL_POINT_WEIGHTS,
    PERSON_HEIGHT_PX,
    POINT_WEIGHTS,
    PointTerm,
    Reprojection,
    depth_term,
    landmark_term,
)
from capture.body.prior import PosePrior, default_prior
from capture.body.setup import Setup, Start, setup_of
from capture.body.solvers import Solution, dogleg, levenberg_marquardt
from capture.body.spheres import spheres_of
from capture.body.starts import start_from_landmarks, starts_in_space
from capture.body.terms import BodyTerm, Term, anchor_term
from capture.body.views import Observation, View

Mode = Literal["fast", "smplify"]
Solver = Callable[[Objective, Float64], Solution]

LEAST_POINTS: Final = 4
LEAST_EXTENT_PX: Final = 12.0
"""A person who is smaller in the picture might as well be anybody."""
_DEPTH_PX_PER_M: Final = 60.0
"""How firmly one view without depth holds the distance that the length of the torso told."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Weights of the pose's and the shape's terms, and whether the translation may move."""

    pose_weight: float
    shape_weight: float
    is_translation_free: bool = False


ORIGINAL_STAGES: Final = (Stage(404.0, 100.0), Stage(404.0, 50.0), Stage(57.4, 10.0), Stage(4.78, 5.0))
_STAGES: Final = (*ORIGINAL_STAGES[:3], Stage(4.78, 5.0, True))
_STAGES_IN_SPACE: Final = (Stage(57.4, 10.0, True), Stage(4.78, 5.0, True))


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A body and how well it explains what was seen; in the world of the views.

    pose           (72,) axis-angle       cost         of all terms, in squared pixels at 300 of person
    betas          (B,) shape numbers     data_cost    of the terms that look at points
    translation    (3,) metres            reprojection_cost  of those that look at pictures
    points_seen    with a confidence, over all views
    orientation    the number of the orientation that won; `orientations` of them were tried
    """

    pose: Float64
    betas: Float64
    translation: Float64
    cost: float
    data_cost: float
    reprojection_cost: float
    points_seen: int
    orientation: int
    orientations: int
    steps: int
    in_first_view: Start = field(repr=False)
    view: View = field(repr=False)

    def parameters(self) -> Float64:
        """The 85 numbers of `kinematics`."""
        betas = np.zeros(SHAPE_COUNT)
        betas[: len(self.betas)] = self.betas[:SHAPE_COUNT]
        return join_parameters(self.pose, betas, self.translation)

    def result_dict(self) -> dict[str, Float64]:
        """What SMPLify writes: `cam_t` (3,), `f` (2,), `pose` (72,), `betas`; in the first view's frame."""
        return {
            "cam_t": self.in_first_view.translation.copy(),
            "f": self.view.focal_px.copy(),
            "pose": np.concatenate([self.in_first_view.orientation, self.pose[3:]]),
            "betas": self.betas.copy(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What is minimised, from where, and how."""

    setup: Setup
    point_terms: list[PointTerm]
    starts: list[Start]
    stages: Sequence[Stage]
    solver: Solver
    relative_terms: list[PointTerm] = field(default_factory=list)
    free_terms: list[Term] = field(default_factory=list)  # only where the translation is free
    body_terms: list[BodyTerm] = field(default_factory=list)


def fit_cold(
    model: BodyModel,
    observations: Sequence[Observation],
    prior: PosePrior | None = None,
    *,
    mode: Mode = "fast",
    headings: int | None = None,
    person_height_px: float | None = None,
    interpenetration: bool | None = None,
    capsules: CapsuleSizes | None = None,
) -> Fit | None:
    """The body that explains the observations of one person best; None where too little is seen.

    `prior`: by default the one that ships with us. `headings`: how many orientations, turned about the
    body's vertical, are tried; by default one, and two where the shoulders are close. `person_height_px`:
    how tall the person is in the first picture; by default by the length of the torso. `interpenetration`:
    whether a body is to keep out of itself (see `spheres`; by default in mode "smplify" alone), for which
    `capsules` tell how thick it is (by default as the model's mesh is). In mode "smplify" the first view
    decides where the body stands, its focal length is taken as it is (`View.of_picture` has the original's
    5000), and depth and landmarks are not used.
    """
    seen = sum(points_seen(observation) for observation in observations)
    if seen < LEAST_POINTS:
        return None
    with_spheres = keeps_out(mode, interpenetration)
    setup = setup_of(model, prior or default_prior(), every_joint=with_spheres or mode == "smplify")
    planned = _planned_original if mode == "smplify" else _planned
    plan = planned(setup, observations, headings, person_height_px)
    if plan is None:
        return None
    if with_spheres:
        plan.body_terms.append(spheres_of(model, capsules))
    solutions = [_run(plan, start) for start in plan.starts]
    best = min(range(len(solutions)), key=lambda k: solutions[k].evaluation.data_cost)
    found = solutions[best]
    if not np.isfinite(found.evaluation.cost):
        return None
    start = Start(found.x[:3], found.x[setup.layout.translation])
    return Fit(
        pose=setup.whole_pose(found.x),
        betas=found.x[setup.layout.shape],
        translation=start.translation,
        cost=found.evaluation.cost,
        data_cost=found.evaluation.data_cost,
        reprojection_cost=found.evaluation.point_states[0].cost,
        points_seen=seen,
        orientation=best,
        orientations=len(solutions),
        steps=sum(solution.steps for solution in solutions),
        in_first_view=setup.in_camera(start, observations[0].view),
        view=observations[0].view,
    )


def keeps_out(mode: Mode, interpenetration: bool | None) -> bool:
    """Whether a fit keeps a body out of itself, asked so or by default."""
    return mode == "smplify" if interpenetration is None else interpenetration


def points_seen(observation: Observation) -> int:
    """How many points of an observation say something; none where all lie on one spot."""
    used = observation.confidences * POINT_WEIGHTS > 0
    if not used.any() or np.ptp(observation.points_px[used], axis=0).max() < LEAST_EXTENT_PX:
        return 0
    return int(np.count_nonzero(used))


def _planned_original(
    setup: Setup, observations: Sequence[Observation], headings: int | None, person_height_px: float | None
) -> _Plan | None:
    first = observations[0]
    depth_m = depth_in_picture(setup, first)
    if depth_m is None:
        return None
    scale = PERSON_HEIGHT_PX / person_height_px if person_height_px else scale_at(setup, depth_m, first)
    starts = starts_in_picture(setup, first, scale, depth_m, headings)
    scales = [scale * first.view.focal_px[0] / o.view.focal_px[0] for o in observations]
    data: list[PointTerm] = [Reprojection(observations, scales, ORIGINAL_POINT_WEIGHTS)]
    return _Plan(setup, data, starts, ORIGINAL_STAGES, dogleg)


def _planned(
    setup: Setup, observations: Sequence[Observation], headings: int | None, person_height_px: float | None
) -> _Plan | None:
    found = starts_in_space(setup, observations)
    for observation in observations if not found else ():
        start = start_from_landmarks(setup, observation)
        if start is not None:
            found = [start]
            break
    free_terms: list[Term] = []
    stages: Sequence[Stage] = _STAGES_IN_SPACE
    if found:
        start = found[0]
        starts = [
            Start(turned, each.translation)
            for each in found
            for turned in headings_of(each.orientation, headings or 1)
        ]
    else:
        first = max(observations, key=lambda o: float(o.confidences.sum()))
        depth_m = depth_in_picture(setup, first)
        if depth_m is None:
            return None
        starts = starts_in_picture(setup, first, scale_at(setup, depth_m, first), depth_m, headings)
        stages = _STAGES
        start = starts[0]
        along = first.view.camera_from_world[2, :3]
        free_terms = [anchor_term(setup.layout, start.translation, along, _DEPTH_PX_PER_M)]
    scales = scales_at(setup, observations, start, person_height_px)
    data: list[PointTerm] = [Reprojection(observations, scales)]
    if (depth := depth_term(observations)) is not None:
        data.append(depth)
    landmarks = landmark_term(observations)
    relative: list[PointTerm] = [] if landmarks is None else [landmarks]
    return _Plan(setup, data, starts, stages, levenberg_marquardt, relative, free_terms)


def scales_at(
    setup: Setup, observations: Sequence[Observation], start: Start, person_height_px: float | None = None
) -> list[float]:
    """For each view, by how much its pixels are stretched for a person of 300."""
    root = (setup.points.rest_pelvis + start.translation)[None]
    depths = [max(float(o.view.to_camera(root)[0, 2]), 0.1) for o in observations]
    scales = [scale_at(setup, depth, o) for depth, o in zip(depths, observations, strict=True)]
    if person_height_px:
        scales = [scale * PERSON_HEIGHT_PX / (person_height_px * scales[0]) for scale in scales]
    return scales


def starts_in_picture(
    setup: Setup, observation: Observation, scale: float, depth_m: float, headings: int | None
) -> list[Start]:
    """Orientations to try where one picture is all there is, in the world."""
    start = place(setup, observation, scale, depth_m)
    count = headings or (2 if is_side_view(observation, scale) else 1)
    turned = headings_of(start.orientation, count)
    return [setup.in_world(Start(each, start.translation), observation.view) for each in turned]


def _run(plan: _Plan, start: Start) -> Solution:
    """All stages from one start."""
    x = plan.setup.unknowns(start)
    steps = 0
    for stage in plan.stages:
        terms = plan.setup.terms(stage.pose_weight, stage.shape_weight)
        objective = Objective(
            plan.setup.points,
            plan.point_terms,
            plan.relative_terms,
            [*terms, *plan.free_terms] if stage.is_translation_free else terms,
            plan.body_terms,
            fixed_translation=not stage.is_translation_free,
        )
        found = plan.solver(objective, x)
        x, steps = found.x, steps + found.steps
    return Solution(x, found.evaluation, steps)
