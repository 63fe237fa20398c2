"""Who is whom from frame to frame, for people whose bodies are found anew in each of them.

The cheapest pairing of the bodies of a frame with those of the ones before, by the distance between their
joints. A number is never given twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from capture.body.assignment import assign
from capture.body.kinematics import Float64

_FORGOTTEN_S: Final = 1.0
_BACKWARDS_S: Final = 2.0  # more than that is another clock, or a recording begun again
_NEAR_M: Final = 0.6  # by which one picture without depth places a person differently from the next
_SPEED_M_S: Final = 1.5


@dataclass(slots=True)
class _Known:
    identity: int
    joints_m: Float64
    time_s: float


class Identities:
    """Gives people numbers that stay with them."""

    def __init__(self) -> None:
        self._known: list[_Known] = []
        self._numbers = itertools.count(1)

    def of(self, people_m: Sequence[Float64], time_s: float) -> list[int]:
        """The numbers of the people of a frame, whose joints (n, 3) are in metres."""
        self._known = [known for known in self._known if -_BACKWARDS_S < time_s - known.time_s < _FORGOTTEN_S]
        gates_m = [_NEAR_M + _SPEED_M_S * abs(time_s - known.time_s) for known in self._known]
        # In shares of how far each may have gone, so that one limit does for all.
        costs = [
            [float(np.linalg.norm(joints - known.joints_m, axis=1).mean()) / gate_m for joints in people_m]
            for known, gate_m in zip(self._known, gates_m, strict=True)
        ]
        table = np.reshape(np.array(costs, np.float64), (len(self._known), len(people_m)))
        known_of = {column: self._known[row] for row, column in assign(table, 1.0)}
        identities = []
        for column, joints in enumerate(people_m):
            known = known_of.get(column)
            if known is None:
                known = _Known(next(self._numbers), joints, time_s)
                self._known.append(known)
            known.joints_m, known.time_s = joints, time_s
            identities.append(known.identity)
        return identities
