"""People who may be there: what cameras saw that belongs to nobody yet, followed until it is somebody.

Nobody is made of a single detection: it takes three of one camera that follow each other, or two cameras that
agree. What a candidate was seen as until then is kept, for those who want to know where somebody was before
they were known.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from capture.body.assignment import assign
from capture.body.likeness import sightings_apart, views_apart_m
from capture.body.views import Observation

CANDIDATE_S: Final = 1.0
"""For so long a candidate is remembered who is not seen again."""
NEAR: Final = 0.25
"""Heights of a person between a detection and its person."""
AGREE_M: Final = 0.1
"""By which lines of sight to one person miss each other, with what key points lie off."""
SPEED_M_S: Final = 1.0
"""What a person may go between the looks of two cameras."""
FRESH_S: Final = 0.15
_HITS: Final = 3  # of one camera, before somebody is there


class Sighting(NamedTuple):
    """What a camera saw of somebody at a time."""

    time_s: float
    camera: str
    observation: Observation


@dataclass(slots=True)
class Candidate:
    """Somebody who may be there: detections of one camera that follow each other, of the last second."""

    sightings: list[Sighting]
    hits: int = 1

    @property
    def camera(self) -> str:
        return self.sightings[-1].camera

    @property
    def observation(self) -> Observation:
        return self.sightings[-1].observation

    @property
    def time_s(self) -> float:
        return self.sightings[-1].time_s

    def follow(self, sighting: Sighting) -> None:
        self.hits += 1
        recent = [one for one in self.sightings if sighting.time_s - one.time_s <= CANDIDATE_S]
        self.sightings = [*recent, sighting]


class Candidates:
    """All of them, `most` at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._all: list[Candidate] = []

    def follow(self, camera: str, left: Sequence[Observation], time_s: float) -> None:
        """What a camera saw that belongs to nobody who is known."""
        own = [candidate for candidate in self._all if candidate.camera == camera]
        costs = [[sightings_apart(candidate.observation, seen) for seen in left] for candidate in own]
        pairs = assign(np.reshape(costs, (len(own), len(left))), NEAR)
        for row, column in pairs:
            own[row].follow(Sighting(time_s, camera, left[column]))
        new = sorted(set(range(len(left))) - {column for _, column in pairs})
        self._all += [Candidate([Sighting(time_s, camera, left[column])]) for column in new]
        self._all = [one for one in self._all if time_s - one.time_s <= CANDIDATE_S]
        # The longest followed stay, where there are more than there can be people.
        self._all.sort(key=lambda one: -one.hits)
        del self._all[self._most :]

    def agreeing(self, time_s: float) -> list[list[Candidate]]:
        """Candidates that are somebody: several cameras' that agree, then those followed long enough."""
        fresh = [one for one in self._all if one.hits and time_s - one.time_s <= FRESH_S]
        pairs = []
        for i, j in itertools.combinations(range(len(fresh)), 2):
            if fresh[i].camera != fresh[j].camera:
                between_s = abs(fresh[i].time_s - fresh[j].time_s)
                miss_m = views_apart_m(fresh[i].observation, fresh[j].observation) - SPEED_M_S * between_s
                if miss_m <= AGREE_M:
                    pairs.append((miss_m, i, j))
        groups: list[list[int]] = []
        linked = {(i, j) for _, i, j in pairs} | {(j, i) for _, i, j in pairs}
        for _, i, j in sorted(pairs):
            of_i = next((group for group in groups if i in group), None)
            of_j = next((group for group in groups if j in group), None)
            if of_i is None and of_j is None:
                groups.append([i, j])
            elif of_i is None or of_j is None:
                group, new = (of_j, i) if of_i is None else (of_i, j)
                cameras = {fresh[k].camera for k in group or ()}
                if group and fresh[new].camera not in cameras and all((new, k) in linked for k in group):
                    group.append(new)
        grouped = {k for group in groups for k in group}
        alone = [[k] for k, one in enumerate(fresh) if k not in grouped and one.hits >= _HITS]
        return [[fresh[k] for k in group] for group in [*groups, *alone]]

    def spend(self, group: Collection[Candidate]) -> None:
        """They were tried: for the next time they want new detections, although they are still followed."""
        for candidate in group:
            candidate.hits = 0

    def drop(self, group: Collection[Candidate]) -> None:
        """They are somebody now."""
        taken = {id(candidate) for candidate in group}
        self._all = [one for one in self._all if id(one) not in taken]

    def clear(self) -> None:
        self._all.clear()
