"""Whether a body that is followed is still the person's: since when which camera's sights have not fitted.

One camera alone is fitted by many bodies, at other places and in other poses. So a camera that goes on being
fitted does not answer for the others: each has doubts of its own, and the search for a better body is told
what all of them saw last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from capture.body.views import Observation

_KEPT_S: Final = 0.5
_FRESH_S: Final = 0.15  # what counts beside the first look of a camera
_RECOVERY_S: Final = 1.0  # after the last doubt, while a poor fit is looked into


@dataclass(slots=True)
class _Look:
    observation: Observation
    time_s: float
    unfitted_since_s: float | None = None


class Doubts:
    """Of one person, who was found at `time_s`. `patience_s`: how long a camera's sights may not fit, and
    from one search to the next."""

    def __init__(self, patience_s: float, time_s: float) -> None:
        self._patience_s = patience_s
        self._doubted_s = time_s
        self._searched_s = self._since_s = float("-inf")
        self._looks: dict[bytes, _Look] = {}

    def look(self, time_s: float, observations: Sequence[Observation]) -> float:
        """Before anything else is asked of these. Their share of what all cameras see from one look of theirs
        to the next: 1 for all at once, a quarter for one of four that take turns."""
        now = {_camera_of(one): one for one in observations}
        last = [self._looks[camera].time_s for camera in now if camera in self._looks]
        since_s = self._since_s = min(last, default=time_s - _FRESH_S)
        since = {camera for camera, look in self._looks.items() if look.time_s >= since_s}
        for camera, one in now.items():
            look = self._looks.setdefault(camera, _Look(one, time_s))
            look.observation, look.time_s = one, time_s
        self._looks = {key: look for key, look in self._looks.items() if time_s - look.time_s <= _KEPT_S}
        return len(now) / len(now.keys() | since)

    def latest(self) -> list[Observation]:
        """What each camera saw last, of those that have looked since the one that looked now did before: two
        of four, of whom one sees somebody else, would agree on a body that is nobody's."""
        return [look.observation for look in self._looks.values() if look.time_s >= self._since_s]

    def have_fitted(self, observations: Sequence[Observation]) -> bool:
        """Whether all of these cameras' last sights did."""
        return all(self._looks[_camera_of(one)].unfitted_since_s is None for one in observations)

    def fit(self, observations: Sequence[Observation]) -> None:
        for one in observations:
            self._looks[_camera_of(one)].unfitted_since_s = None

    def refuse(self, time_s: float, observations: Sequence[Observation]) -> bool:
        """They do not fit. Whether that has lasted for so long that a better body should be searched for."""
        self._doubted_s = time_s
        since_s = time_s
        for one in observations:
            look = self._looks[_camera_of(one)]
            if look.unfitted_since_s is None:
                look.unfitted_since_s = time_s
            since_s = min(since_s, look.unfitted_since_s)
        return time_s - since_s >= self._patience_s and self.may_search(time_s)

    def are_fresh(self, time_s: float) -> bool:
        """Whether a sight that fits, though poorly, is worth a search: the body has just been found, or was
        doubted, and may have come out of wild key points."""
        return time_s - self._doubted_s <= _RECOVERY_S

    def may_search(self, time_s: float) -> bool:
        """Whether the last search was long enough ago. Who is told so searches."""
        if time_s - self._searched_s < self._patience_s:
            return False
        self._searched_s = time_s
        return True


def _camera_of(one: Observation) -> bytes:
    """What tells a camera from the others: where it stands, and its lens."""
    view = one.view
    return view.camera_from_world.tobytes() + view.focal_px.tobytes() + view.centre_px.tobytes()
