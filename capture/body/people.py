"""Several people: which detection of which camera is whom, from frame to frame.

Owns identities. A person is where their tracker has them, going on as fast as they went; a detection belongs
to the person whose projected body it lies upon, by the cheapest pairing (`assignment`), and detections of
other cameras whose lines of sight meet those of a person's own count as theirs even where the body is not yet
in its place. Nobody is made of a single detection (`candidates`). Whoever none of their cameras has found for
a second is gone; while such a camera is silent, that is not held against them, for `HOLD_S` at most.

Detections may come from all cameras at once or from one after the other, at any rate, and a little late.
What is not finite, too little of a body, or nowhere near anybody makes nobody; how many people and candidates
there are is bounded. The same calls give the same people.

Knows one person's tracker (`BodyTracker`) only by what it does; no keypoint detectors, no files.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

import numpy as np

from capture.body.assignment import assign
from capture.body.candidates import AGREE_M, FRESH_S, NEAR, SPEED_M_S, Candidate, Candidates, Sighting
from capture.body.kinematics import Float64
from capture.body.likeness import (
    bodies_apart_m,
    body_apart,
    is_usable,
    mirrored,
    sightings_apart,
    views_apart_m,
)
from capture.body.model import BodyModel
from capture.body.points import BodyPoints
from capture.body.views import Observation

GONE_S: Final = 1.0
HOLD_S: Final = 5.0

_WALKS: Final = 0.6  # heights a second that somebody unseen may have gone unexpectedly
_FARTHEST: Final = 1.0
_TWISTED: Final = 0.6  # of the distance that remains, where a detector took left for right
_SURE: Final = (
    0.08  # nearer than that, no other camera is asked about a body that is known to be in its place
)
_PLACED_S: Final = 1.0
_SAME: Final = 0.08  # heights between two boxes around one person
_TWIN_M: Final = 0.25
_COMPANY_S: Final = 2.0
_LONGEST_STEP_S: Final = 0.5  # for which a velocity is believed
_REPORT_S: Final = 0.25  # of watching that one call can count for
_BACKWARDS_S: Final = 2.0  # more than that is another clock, or a recording begun again


class BodyTrack(Protocol):
    """A body at a moment: 72 numbers of pose, shape numbers, translation (3,) in metres."""

    @property
    def pose(self) -> Float64: ...
    @property
    def betas(self) -> Float64: ...
    @property
    def translation(self) -> Float64: ...


TrackT = TypeVar("TrackT", bound=BodyTrack)
TrackT_co = TypeVar("TrackT_co", bound=BodyTrack, covariant=True)


class BodyTracker(Protocol[TrackT_co]):
    """One person's tracker."""

    def update(self, time_s: float, observations: Sequence[Observation]) -> TrackT_co | None:
        """Take in what cameras saw at that time; None while nothing can be said."""


@dataclass(frozen=True, slots=True, eq=False)
class Person(Generic[TrackT_co]):
    """Somebody who was seen now: the same `identity` is the same person, and is never given again."""

    identity: int
    track: TrackT_co
    seen_s: float
    cameras: tuple[str, ...]
    """Whose detections of this call were theirs."""
    sightings: tuple[Sighting, ...] = ()
    """Of somebody who was not known before this call: what it was made of, in the order of time."""


@dataclass(slots=True)
class _Look:
    """What a camera saw last of a person, and for how long it has looked since without finding them."""

    observation: Observation
    time_s: float
    unseen_s: float = 0.0


@dataclass(slots=True)
class _Known(Generic[TrackT]):
    identity: int
    tracker: BodyTracker[TrackT]
    track: TrackT
    points_m: Float64
    time_s: float
    velocity_m_s: Float64 = field(default_factory=lambda: np.zeros(3))
    looks: dict[str, _Look] = field(default_factory=dict)
    company_s: dict[int, float] = field(default_factory=dict)
    """When a camera last saw this person and that younger one at once."""
    placed_s: float = -math.inf
    """When depth, or two cameras at once, last told how far away this person is."""

    def predicted(self, time_s: float) -> Float64:
        return self.points_m + self.velocity_m_s * min(max(time_s - self.time_s, 0.0), _LONGEST_STEP_S)

    @property
    def seen_s(self) -> float:
        return max(look.time_s for look in self.looks.values())


class People(Generic[TrackT]):
    """All people before a rig of calibrated cameras; `make_tracker` makes the tracker of a new one."""

    def __init__(
        self,
        model: BodyModel,
        make_tracker: Callable[[], BodyTracker[TrackT]],
        *,
        most_people: int = 8,
    ) -> None:
        self._points = BodyPoints(model)
        self._make_tracker = make_tracker
        self._most = most_people
        self._known: list[_Known[TrackT]] = []
        self._candidates = Candidates(4 * most_people)
        self._reported_s: dict[str, float] = {}
        self._newest_s = -math.inf
        self._identities = itertools.count(1)

    def update(self, time_s: float, detections: Mapping[str, Sequence[Observation]]) -> list[Person[TrackT]]:
        """What cameras saw at `time_s` -> everybody who was among it, by identity.

        `detections` has a key for each camera that has looked, with an empty list where it saw nobody.
        Raises ValueError for a time that is not finite.
        """
        if not math.isfinite(time_s):
            raise ValueError(f"a time in seconds is wanted, not {time_s}")
        if time_s < self._newest_s - _BACKWARDS_S:
            self._forget()
        self._newest_s = max(self._newest_s, time_s)
        found: dict[int, dict[str, Observation]] = {}
        for camera in sorted(detections):
            usable = [seen for seen in detections[camera] if is_usable(seen)]
            # More than there can be people: the surest of them.
            usable = sorted(usable, key=lambda seen: -float(seen.confidences.sum()))[: 2 * self._most]
            usable = [self._the_right_way_round(seen, time_s) for seen in usable]
            left = self._recognise(camera, usable, time_s, found)
            self._candidates.follow(camera, left, time_s)
        self._track(time_s, found)
        made = self._make_people(time_s, found)
        self._let_go(time_s, detections, found)
        return [
            Person(
                known.identity,
                known.track,
                known.seen_s,
                tuple(found[known.identity]),
                made.get(known.identity, ()),
            )
            for known in self._known
            if known.identity in found
        ]

    @property
    def identities(self) -> tuple[int, ...]:
        """Everybody who is remembered, seen just now or not."""
        return tuple(known.identity for known in self._known)

    # ---- known people --------------------------------------------------------------------------------------

    def _recognise(
        self,
        camera: str,
        usable: Sequence[Observation],
        time_s: float,
        found: dict[int, dict[str, Observation]],
    ) -> list[Observation]:
        """Adds to `found` what belongs to known people; returns the detections that do not."""
        gates = np.array([self._gate(known, time_s) for known in self._known])
        costs = np.array(
            [[self._apart(known, camera, seen, time_s) for seen in usable] for known in self._known]
        ).reshape(len(self._known), len(usable))
        costs = np.where(costs < gates[:, None], costs, np.inf)
        pairs = assign(costs, _FARTHEST)
        for row, column in pairs:
            known = self._known[row]
            known.looks[camera] = _Look(usable[column], time_s)
            found.setdefault(known.identity, {})[camera] = usable[column]
        taken = [usable[column] for _, column in pairs]
        left: list[Observation] = []
        for column in sorted(set(range(len(usable))) - {column for _, column in pairs}):
            # A second box around somebody makes nobody.
            if all(sightings_apart(usable[column], other) > _SAME for other in (*taken, *left)):
                left.append(usable[column])
        return left

    def _the_right_way_round(self, seen: Observation, time_s: float) -> Observation:
        """The detection, or its mirror image where that is clearly somebody whom the detection is not."""
        bodies = [known.predicted(time_s) for known in self._known]
        if not bodies or min(body_apart(body, seen) for body in bodies) <= _SURE:
            return seen
        other = mirrored(seen)
        nearest = min(body_apart(body, seen) for body in bodies)
        is_twisted = min(body_apart(body, other) for body in bodies) < min(_TWISTED * nearest, _SURE)
        return other if is_twisted else seen

    def _gate(self, known: _Known[TrackT], time_s: float) -> float:
        return min(NEAR + _WALKS * max(time_s - known.seen_s, 0.0), _FARTHEST)

    def _apart(self, known: _Known[TrackT], camera: str, seen: Observation, time_s: float) -> float:
        """In heights of a person; what the person's other cameras say weighs more than a poor fit."""
        apart = body_apart(known.predicted(time_s), seen)
        if apart <= _SURE and time_s - known.placed_s <= _PLACED_S:
            return apart
        others = [look for name, look in known.looks.items() if name != camera]
        fresh = [look for look in others if abs(time_s - look.time_s) <= FRESH_S]
        if not fresh:
            return apart
        look = max(fresh, key=lambda one: one.time_s)
        miss_m = views_apart_m(look.observation, seen) - SPEED_M_S * abs(time_s - look.time_s)
        return min(apart, _SURE + max(miss_m, 0.0)) if miss_m <= AGREE_M else apart + miss_m

    def _track(self, time_s: float, found: Mapping[int, Mapping[str, Observation]]) -> None:
        for known in self._known:
            if known.identity in found:
                seen = list(found[known.identity].values())
                track = known.tracker.update(time_s, seen)
                if track is not None:
                    self._place(known, track, time_s)
                    fresh = [look for look in known.looks.values() if time_s - look.time_s <= FRESH_S]
                    if len(fresh) > 1 or any(one.targets_m is not None for one in seen):
                        known.placed_s = time_s

    def _place(self, known: _Known[TrackT], track: TrackT, time_s: float) -> None:
        points = self._points_of(track)
        if points is None:
            return
        step_s = time_s - known.time_s
        if 0.0 < step_s <= _LONGEST_STEP_S:
            velocity = (points - known.points_m).mean(axis=0) / step_s
            known.velocity_m_s = known.velocity_m_s + min(1.0, step_s / 0.1) * (velocity - known.velocity_m_s)
        elif step_s > _LONGEST_STEP_S:
            known.velocity_m_s = np.zeros(3)
        known.track, known.points_m = track, points
        known.time_s = max(known.time_s, time_s)

    def _points_of(self, track: TrackT) -> Float64 | None:
        points = self._points.values(track.pose, track.betas) + track.translation
        return points if np.isfinite(points).all() else None

    # ---- new people ----------------------------------------------------------------------------------------

    def _make_people(
        self, time_s: float, found: dict[int, dict[str, Observation]]
    ) -> dict[int, tuple[Sighting, ...]]:
        """Of each new person, by identity, the sightings that they were made of."""
        made: dict[int, tuple[Sighting, ...]] = {}
        for group in self._candidates.agreeing(time_s):
            if len(self._known) >= self._most:
                break
            # Only somebody who was seen just now.
            if max(candidate.time_s for candidate in group) < time_s:
                continue
            # Of people who are there since a moment ago, these may be further views.
            if any(self._is_of_known(candidate, time_s, found) for candidate in group):
                continue
            seen = {candidate.camera: candidate for candidate in group}
            # Whatever comes of it: the next attempt wants new detections.
            self._candidates.spend(group)
            tracker = self._make_tracker()
            track = tracker.update(time_s, [candidate.observation for candidate in seen.values()])
            points = None if track is None else self._points_of(track)
            if track is None or points is None:
                continue
            # A body that is nowhere near one of its own detections mixes up two people.
            if max(body_apart(points, candidate.observation) for candidate in group) > NEAR:
                continue
            if any(
                bodies_apart_m(points, known.predicted(time_s)) < _TWIN_M
                and not seen.keys() & found.get(known.identity, {}).keys()
                for known in self._known
            ):
                continue
            known = _Known(next(self._identities), tracker, track, points, time_s)
            known.looks = {name: _Look(one.observation, one.time_s) for name, one in seen.items()}
            self._known.append(known)
            self._candidates.drop(group)
            found[known.identity] = {name: one.observation for name, one in seen.items()}
            sightings = [sighting for candidate in group for sighting in candidate.sightings]
            made[known.identity] = tuple(sorted(sightings, key=lambda sighting: sighting.time_s))
        return made

    def _is_of_known(
        self, candidate: Candidate, time_s: float, found: Mapping[int, Mapping[str, Observation]]
    ) -> bool:
        return any(
            candidate.camera not in found.get(known.identity, ())
            and body_apart(known.predicted(time_s), candidate.observation) < 0.5 * NEAR
            for known in self._known
        )

    # ---- people who are gone -------------------------------------------------------------------------------

    def _let_go(
        self,
        time_s: float,
        detections: Mapping[str, Sequence[Observation]],
        found: dict[int, dict[str, Observation]],
    ) -> None:
        for camera in detections:
            watched_s = min(max(time_s - self._reported_s.get(camera, time_s), 0.0), _REPORT_S)
            self._reported_s[camera] = max(self._reported_s.get(camera, time_s), time_s)
            for known in self._known:
                look = known.looks.get(camera)
                if look is not None and camera not in found.get(known.identity, ()):
                    look.unseen_s += watched_s
        self._known = [known for known in self._known if not self._is_gone(known, time_s)]
        self._drop_twins(time_s, found)
        there = set(self.identities)
        for known in self._known:
            known.company_s = {other: at_s for other, at_s in known.company_s.items() if other in there}

    def _is_gone(self, known: _Known[TrackT], time_s: float) -> bool:
        if time_s - known.seen_s > HOLD_S:
            return True
        return all(look.unseen_s >= GONE_S for look in known.looks.values())

    def _drop_twins(self, time_s: float, found: dict[int, dict[str, Observation]]) -> None:
        """Two bodies in one place are one person, unless a camera saw both not long ago: the older stays."""
        for older, younger in itertools.combinations(list(self._known), 2):
            if set(found.get(older.identity, ())) & set(found.get(younger.identity, ())):
                older.company_s[younger.identity] = time_s
            elif time_s - older.company_s.get(younger.identity, -math.inf) < _COMPANY_S:
                continue
            elif bodies_apart_m(older.points_m, younger.points_m) < _TWIN_M:
                self._known = [known for known in self._known if known is not younger]
                found.pop(younger.identity, None)

    def _forget(self) -> None:
        self._known.clear()
        self._candidates.clear()
        self._reported_s.clear()
        self._newest_s = -math.inf
