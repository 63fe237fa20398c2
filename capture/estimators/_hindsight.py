"""Who was there before they were known: over a recording, where what comes later can be waited for.

Nobody is made of a single detection, so that live the first pictures of a person have nobody in them. Here
the pictures of the last second wait; whoever becomes known meanwhile is followed back through what they were
made of, and is in those pictures, too. And what the other cameras saw at the moment of a picture counts for
it, though it was looked at first.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from capture.body.candidates import CANDIDATE_S, FRESH_S
from capture.body.people import Person
from capture.body.tracker import Track, Tracker
from capture.body.views import Observation
from capture.estimators.people_results import Float64
from capture.frames import Frame

HINDSIGHT_S: Final = CANDIDATE_S + FRESH_S
"""For so long a picture waits. What somebody is made of is no older."""
_ONE_MOMENT_S: Final = 0.01  # in which people move less than one camera alone leaves unknown


@dataclass(slots=True)
class Moment:
    """A picture of the first camera: who is in it, 85 numbers by identity, and who is by a simulator."""

    source: Frame
    time_s: float
    people: dict[int, Float64]
    truth: Float64 | None


class Hindsight:
    """The moments that wait, in the order of time."""

    def __init__(self, make_tracker: Callable[[], Tracker]) -> None:
        self._make_tracker = make_tracker
        self._moments: deque[Moment] = deque()

    def add(self, moment: Moment) -> None:
        """The pixels of its frame are let go; nobody asks for them again."""
        moment.source = replace(moment.source, data=np.empty(0, np.uint8))
        self._moments.append(moment)

    def look_back(self, person: Person[Track], time_s: float) -> None:
        """Put somebody who became known at that time into the moments before."""
        first_s = min((sighting.time_s for sighting in person.sightings), default=math.inf)
        waiting = {moment.time_s: moment for moment in self._moments if first_s <= moment.time_s <= time_s}
        if not waiting:
            return
        seen: dict[float, list[Observation]] = defaultdict(list)
        newest: dict[str, Observation] = {}
        for sighting in person.sightings:
            seen[sighting.time_s].append(sighting.observation)
            newest[sighting.camera] = sighting.observation
        seen[time_s] = list(newest.values())
        tracker = self._make_tracker()
        for at_s in sorted({*seen, *waiting}, reverse=True):
            # The clock of a tracker goes forward: here it is the time before.
            track = tracker.update(-at_s, seen.get(at_s, []))
            if track is not None and at_s in waiting:
                waiting[at_s].people.setdefault(person.identity, track.parameters())

    def tell(self, person: Person[Track], time_s: float) -> None:
        """Where somebody is by a later picture, for the moments that are as good as its own."""
        for moment in reversed(self._moments):
            if time_s - moment.time_s > _ONE_MOMENT_S:
                break
            if person.identity in moment.people:
                moment.people[person.identity] = person.track.parameters()

    def due(self, time_s: float) -> Iterator[Moment]:
        """Those that have waited long enough by then; no longer among those that wait."""
        while self._moments and time_s - self._moments[0].time_s > HINDSIGHT_S:
            yield self._moments.popleft()

    def rest(self) -> Iterator[Moment]:
        """All that still wait."""
        while self._moments:
            yield self._moments.popleft()
