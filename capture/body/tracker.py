"""One person followed through time: each sight of him, whenever it comes, is one small step.

`Tracker.update` takes what one or several cameras saw at a time and gives the body then. Cameras need not
see at the same time: each sight is taken in at its own time stamp. A person who is lost, or who does not fit
what is seen for a while, is searched for anew, without memory. Key points that are wild for a moment hardly
count, as the terms are robust; none at all, or half a body, and the movement goes on for a moment and then
says so.

Knows one person; who is who is decided elsewhere (`people`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np

from capture.body.cold import LEAST_POINTS, Fit, fit_cold, points_seen, scales_at
from capture.body.doubts import Doubts
from capture.body.filtering import FRAME_S, SIGHT_VARIANCE_PX2, BodyFilter, Mobility, Moments
from capture.body.kinematics import SHAPE_COUNT, Float64, join_parameters
from capture.body.model import BodyModel
from capture.body.objective import Evaluation, Objective
from capture.body.point_terms import (
    ROBUST_PX,
    PointTerm,
    Reprojection,
    ReprojectionState,
    depth_term,
    landmark_term,
)
from capture.body.prior import PosePrior, default_prior
from capture.body.setup import Start, setup_of
from capture.body.solvers import damped_step, levenberg_marquardt
from capture.body.terms import StiffTerm, Term
from capture.body.views import Observation

POSE_WEIGHT: Final = 4.78
SHAPE_WEIGHT: Final = 5.0
_ROBUST_PX: Final = 50.0
"""Half of SMPLify's: a body that is followed is near its key points, and what is far from it is wild."""
_LARGEST_STEP_RAD: Final = 0.6
_LARGEST_STEP_M: Final = 0.5
_LARGEST_SHAPE_STEP: Final = 1.0
# What is known after a cold fit besides its points: as much as one sight tells.
_FIRST_JOINTS: Final = 20.0
_FIRST_SHAPE: Final = 25.0
_FIRST_TRANSLATION: Final = 30.0
_MOST_STEPS: Final = 10
_LEAST_GAIN: Final = 1e-3
_POOR: Final = 0.1  # of the misfit that is borne: more than what good key points leave
_FAR_M: Final = 0.15
_GATE_WIDENS_S: Final = 0.1  # after so long without a sight the next may surprise twice as much


@dataclass(frozen=True, slots=True)
class Patience:
    """When a person counts as badly followed, and as lost.

    misfit       squared errors in standard deviations, mean over most coordinates seen, above which a sight
                 does not fit the body, once that has moved
    surprise     the same before it has moved, above which a sight is not this body's and is left out
    misfit_s     for how long sights may not fit before the person is searched for anew
    coast_s      for how long a person nobody sees goes on
    """

    misfit: float = 10.0
    surprise: float = 50.0
    misfit_s: float = 0.15
    coast_s: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """A person at a time, in the world of the views.

    confidence     0 to 1: how many points were seen and how well the body fits them
    misfit         of the points in the pictures, see `Patience`; NaN where nothing was seen
    points_seen    over all views of this update
    is_new         found without memory: the first sight, or searched for anew
    """

    time_s: float
    pose: Float64
    betas: Float64
    translation: Float64
    confidence: float
    misfit: float
    points_seen: int
    is_new: bool = False

    def parameters(self) -> Float64:
        """The 85 numbers of `kinematics`."""
        betas = np.zeros(SHAPE_COUNT)
        betas[: len(self.betas)] = self.betas[:SHAPE_COUNT]
        return join_parameters(self.pose, betas, self.translation)


@dataclass(slots=True)
class _Follow:
    """A person who is followed."""

    filter: BodyFilter
    moments: Moments  # at which something was seen, whether it was this person or not
    doubts: Doubts
    seen_s: float
    confidence: float


@dataclass(frozen=True, slots=True, eq=False)
class _Rival:
    """A body found without memory, in place of another one: what both have to fit, and how well they do."""

    observations: list[Observation]
    fit: Fit
    x: Float64
    misfit: float
    other_misfit: float


class Tracker:
    """Follows one person with one body model. Not for several threads at once."""

    def __init__(
        self,
        model: BodyModel,
        prior: PosePrior | None = None,
        *,
        mobility: Mobility | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._model = model
        self._prior = prior or default_prior()
        self._setup = setup_of(model, self._prior)
        self._terms: dict[float, list[Term]] = {}
        self._mobility = mobility or Mobility()
        self._patience = patience or Patience()
        layout = self._setup.layout
        self._most = np.full(layout.count, _LARGEST_STEP_RAD)
        self._most[layout.shape] = _LARGEST_SHAPE_STEP
        self._most[layout.translation] = _LARGEST_STEP_M
        self._follow: _Follow | None = None

    @property
    def is_following(self) -> bool:
        return self._follow is not None

    def forget(self) -> None:
        """The next update searches anew."""
        self._follow = None

    def predicted_points(self, time_s: float) -> Float64 | None:
        """(14, 3) where this person's points should be then, in the world; None if nobody is followed."""
        if self._follow is None:
            return None
        return self._points_at(self._follow.filter.predicted(time_s))

    def update(self, time_s: float, observations: Sequence[Observation]) -> Track | None:
        """The person at `time_s`, given what was seen then (nothing: an empty sequence).

        None: there is no such person, or not any more. `time_s` is any clock that goes forward; a sight that
        comes late is taken in as if it were of the latest time.
        """
        if not np.isfinite(time_s):
            raise ValueError(f"the time of an update must be finite, not {time_s}")
        counts = [points_seen(observation) for observation in observations]
        usable = [o for o, count in zip(observations, counts, strict=True) if count > 0]
        seen = sum(counts)
        follow = self._follow
        if follow is not None and time_s - follow.seen_s > self._patience.coast_s:
            self._follow = follow = None
        if follow is None:
            return self._found(time_s, usable) if seen >= LEAST_POINTS else None
        if seen == 0:
            return self._coasting(follow, time_s, float("nan"), 0)
        return self._stepped(follow, time_s, usable, seen)

    def _found(self, time_s: float, observations: Sequence[Observation]) -> Track | None:
        """Without memory; nobody where even the best body does not fit."""
        fit = fit_cold(self._model, observations, self._prior)
        if fit is None:
            return None
        misfit = self._misfit_at(self._unknowns(fit), observations)
        return None if misfit > self._patience.misfit else self._begun(time_s, observations, fit, misfit)

    def _misfit_at(self, x: Float64, observations: Sequence[Observation]) -> float:
        return _misfit(self._reprojection(x, observations).at(self._points_at(x)))

    def _points_at(self, x: Float64) -> Float64:
        layout = self._setup.layout
        posed = self._setup.points.posed(x[: layout.pose_count], x[layout.shape])
        return posed.points + x[layout.translation]

    def _unknowns(self, fit: Fit) -> Float64:
        columns = self._setup.layout.pose_columns
        return np.concatenate([fit.pose[columns], fit.betas, fit.translation])

    def _begun(
        self, time_s: float, observations: Sequence[Observation], fit: Fit, misfit: float
    ) -> Track | None:
        setup = self._setup
        layout = setup.layout
        x = self._unknowns(fit)
        reprojection = self._reprojection(x, observations)
        evaluation = self._objective(reprojection, observations, self._terms_of(1.0)).at(x)
        if not np.isfinite(evaluation.cost):
            return None
        _, information = evaluation.data_system()
        first = np.full(layout.count, _FIRST_JOINTS)
        first[layout.shape] = _FIRST_SHAPE
        first[layout.translation] = _FIRST_TRANSLATION
        np.einsum("ii->i", information)[:] += first
        confidence = _confidence(misfit, fit.points_seen, len(observations))
        self._follow = _Follow(
            BodyFilter(layout, self._mobility, x, information, time_s),
            Moments(time_s),
            Doubts(self._patience.misfit_s, time_s),
            time_s,
            confidence,
        )
        return self._track(x, time_s, confidence, misfit, fit.points_seen, is_new=True)

    def _coasting(self, follow: _Follow, time_s: float, misfit: float, seen: int) -> Track:
        """The movement goes on: nothing was seen, or nothing that could be this body."""
        alone_s = max(time_s - follow.seen_s, 0.0)
        fading = max(0.0, 1.0 - alone_s / self._patience.coast_s)
        if seen > 0:
            fading *= 0.5
        x = follow.filter.predicted(time_s)
        return self._track(x, max(time_s, follow.seen_s), follow.confidence * fading, misfit, seen)

    def _stepped(
        self, follow: _Follow, time_s: float, observations: Sequence[Observation], seen: int
    ) -> Track | None:
        """From the prediction, held by what is known and the priors: one Gauss-Newton step, and as many as it
        takes where the person may have moved far since the last moment."""
        body_filter = follow.filter
        time_s = max(time_s, body_filter.time_s)
        pause_s = follow.moments.pause_s(time_s)
        follow.moments.note(time_s)
        x = body_filter.predicted(time_s)
        share = follow.doubts.look(time_s, observations)
        robust_px = _ROBUST_PX if follow.doubts.have_fitted(observations) else ROBUST_PX
        terms = self._terms_of(share)
        reprojection = self._reprojection(x, observations, robust_px)
        evaluation = self._objective(reprojection, observations, terms).at(x)
        later_s = time_s - body_filter.time_s
        surprise = _misfit(cast(ReprojectionState, evaluation.point_states[0]))
        if not surprise < self._patience.surprise * (1.0 + later_s / _GATE_WIDENS_S):
            again = None
            if follow.doubts.refuse(time_s, observations):
                again = self._replaced(follow, x, time_s, self._patience.misfit)
            return again or self._coasting(follow, time_s, surprise, seen)
        known = body_filter.faded(time_s)
        if pause_s > FRAME_S:
            held = [*terms, StiffTerm(slice(None), x, known)]
            objective = self._objective(reprojection, observations, held)
            solution = levenberg_marquardt(objective, x, most_steps=_MOST_STEPS, least_gain=_LEAST_GAIN)
            x, points = solution.x, solution.evaluation.points
            _, data_stiffness = solution.evaluation.data_system()
        else:
            data_pull, data_stiffness = evaluation.data_system()
            step = self._step(x, evaluation, data_pull, data_stiffness + known)
            x, points = x + step, evaluation.points_after(step)
        misfit = _misfit(reprojection.at(points))
        body_filter.corrected(x, known + data_stiffness, time_s)
        follow.seen_s = time_s
        follow.confidence = _confidence(misfit, seen, len(observations))
        again = None
        if misfit > self._patience.misfit:
            if follow.doubts.refuse(time_s, observations):
                again = self._replaced(follow, body_filter.x, time_s)
        else:
            follow.doubts.fit(observations)
            is_poor = follow.doubts.are_fresh(time_s) and (
                misfit > _POOR * self._patience.misfit or _is_off_depth(points, observations)
            )
            if is_poor and follow.doubts.may_search(time_s):
                again = self._corrected(follow, body_filter.x, time_s)
        return again or self._track(body_filter.x, time_s, follow.confidence, misfit, seen)

    def _step(self, x: Float64, evaluation: Evaluation, data_pull: Float64, stiffness: Float64) -> Float64:
        pull = data_pull.copy()
        for state in evaluation.states():
            state.add_to(pull, stiffness)
        return damped_step(pull, stiffness, self._most)

    def _rival(self, follow: _Follow, x: Float64) -> _Rival | None:
        """The body that fits best what cameras saw last, if there is one, beside the one at `x`."""
        observations = follow.doubts.latest()
        fit = fit_cold(self._model, observations, self._prior)
        if fit is None:
            return None
        found = self._unknowns(fit)
        misfits = (self._misfit_at(body, observations) for body in (found, x))
        return _Rival(observations, fit, found, *misfits)

    def _replaced(
        self, follow: _Follow, x: Float64, time_s: float, most_misfit: float = np.inf
    ) -> Track | None:
        """In place of the body at `x`, which has not fitted for a while: one that fits more of what cameras
        saw last, or as much twice as well."""
        rival = self._rival(follow, x)
        if rival is None:
            return None
        found, count = (self._fitted(body, rival.observations) for body in (rival.x, x))
        is_better = rival.misfit <= min(0.5 * rival.other_misfit, most_misfit)
        if found < count or (found == count and not is_better):
            return None
        return self._begun(time_s, rival.observations, rival.fit, rival.misfit)

    def _fitted(self, x: Float64, observations: Sequence[Observation]) -> int:
        return sum(self._misfit_at(x, [one]) <= self._patience.misfit for one in observations)

    def _corrected(self, follow: _Follow, x: Float64, time_s: float) -> Track | None:
        """In place of the body at `x`, which fits poorly: one that fits far better what cameras saw last, or
        is where depth has it."""
        rival = self._rival(follow, x)
        if rival is None:
            return None
        is_off, was_off = (_is_off_depth(self._points_at(body), rival.observations) for body in (rival.x, x))
        most = rival.other_misfit if was_off and not is_off else 0.25 * rival.other_misfit
        if rival.misfit > most:
            return None
        return self._begun(time_s, rival.observations, rival.fit, rival.misfit)

    def _terms_of(self, share: float) -> list[Term]:
        """The priors, which say the same at every sight: at one of four cameras' a quarter of it, so that
        they weigh as much beside four cameras in turn as beside four at once."""
        if share not in self._terms:
            root = share**0.5
            self._terms[share] = self._setup.terms(POSE_WEIGHT * root, SHAPE_WEIGHT * root)
        return self._terms[share]

    def _reprojection(
        self, x: Float64, observations: Sequence[Observation], robust_px: float = ROBUST_PX
    ) -> Reprojection:
        start = Start(x[:3], x[self._setup.layout.translation])
        return Reprojection(observations, scales_at(self._setup, observations, start), robust_px=robust_px)

    def _objective(
        self, reprojection: Reprojection, observations: Sequence[Observation], terms: Sequence[Term]
    ) -> Objective:
        data: list[PointTerm] = [reprojection]
        if (depth := depth_term(observations)) is not None:
            data.append(depth)
        landmarks = landmark_term(observations)
        relative: list[PointTerm] = [] if landmarks is None else [landmarks]
        return Objective(self._setup.points, data, relative, terms)

    def _track(
        self, x: Float64, time_s: float, confidence: float, misfit: float, seen: int, *, is_new: bool = False
    ) -> Track:
        layout = self._setup.layout
        return Track(
            time_s,
            self._setup.whole_pose(x),
            x[layout.shape].copy(),
            x[layout.translation].copy(),
            confidence,
            misfit,
            seen,
            is_new,
        )


def _misfit(state: ReprojectionState) -> float:
    """Mean squared error over most of the coordinates seen, in units of what a good sight has."""
    return state.typical_cost() / SIGHT_VARIANCE_PX2


def _is_off_depth(points_m: Float64, observations: Sequence[Observation]) -> bool:
    """Whether a body is somewhere else than where depth has it: most of its points (14, 3) by far."""
    for one in observations:
        if one.targets_m is not None and one.target_weights is not None and one.target_weights.any():
            away_m = np.linalg.norm(one.view.to_camera(points_m) - one.targets_m, axis=1)
            if np.median(away_m[one.target_weights > 0]) > _FAR_M:
                return True
    return False


def _confidence(misfit: float, points_seen: int, views: int) -> float:
    """1 for a whole body that fits; less by the share of its points, and by how badly they fit."""
    share = min(points_seen / (12.0 * max(views, 1)), 1.0)
    return share / (1.0 + misfit * misfit / 25.0)
