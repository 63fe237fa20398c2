"""What is known about a moving body between two sights of it: an information filter.

Owns the estimate, how sure it is, and how fast it moves. Between sights certainty fades, each unknown at its
own rate; a sight adds the information of its points. What the priors of a fit say is never added up: they
say the same thing at every sight. Shape numbers hardly fade, so that they converge and then hold.

Information is in units of the fit: squared pixels (at 300 of person) per squared unknown. Source: Maybeck,
Stochastic Models, Estimation and Control, volume 1 (1979), section 5.7, for the inverse covariance filter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from capture.body.kinematics import Float64
from capture.body.points import rotations_and_axes
from capture.body.terms import Layout

SIGHT_VARIANCE_PX2: Final = 11.4
"""Of a reprojection error, at which the last weights of SMPLify balance pictures and priors."""


FRAME_S: Final = 0.05
"""Within so long people move little, and go on as they did."""

_TRUNK: Final = (3, 6, 9, 12, 13, 14, 15)
"""Spine, neck, head and collars, which turn little in a second."""


@dataclass(frozen=True, slots=True)
class Mobility:
    """How far unknowns stray from their prediction in a second, as standard deviations.

    `persistence_s`: for how long a movement goes on as it is. `velocity_s`: over how long it is averaged.
    `change_s`: over how long, beyond FRAME_S, people come to move otherwise, so that variances grow faster.
    """

    limb_rad: float = 0.40
    trunk_rad: float = 0.10
    root_rad: float = 0.15
    shape: float = 0.005
    translation_m: float = 0.06
    persistence_s: float = 0.10
    velocity_s: float = 0.05
    change_s: float = 0.1

    def variances(self, layout: Layout) -> Float64:
        """(n,) per second, in units of the filter."""
        deviations = np.empty(layout.count)
        is_trunk = np.isin(layout.pose_columns // 3, _TRUNK)
        deviations[: layout.pose_count] = np.where(is_trunk, self.trunk_rad, self.limb_rad)
        deviations[:3] = self.root_rad
        deviations[layout.shape] = self.shape
        deviations[layout.translation] = self.translation_m
        return np.asarray(deviations * deviations / SIGHT_VARIANCE_PX2, dtype=np.float64)


class Moments:
    """When cameras look: those that look at one moment tell of it one after the other, a little apart."""

    def __init__(self, time_s: float) -> None:
        self._time_s = time_s
        self._pause_s = 0.0

    def pause_s(self, time_s: float) -> float:
        """How long before the moment of that time the last one was."""
        later = max(time_s - self._time_s, 0.0)
        return max(later, self._pause_s - later)

    def note(self, time_s: float) -> None:
        self._pause_s = self.pause_s(time_s)
        self._time_s = max(time_s, self._time_s)


class BodyFilter:
    """Estimate `x` (n,) at `time_s`, its information (n, n) and velocity (n,) per second."""

    def __init__(
        self, layout: Layout, mobility: Mobility, x: Float64, information: Float64, time_s: float
    ) -> None:
        self._layout = layout
        self._mobility = mobility
        self._variances = mobility.variances(layout)
        self._velocity = np.zeros(layout.count)
        self._information = information
        self._moments = Moments(time_s)
        self.x = x
        self.time_s = time_s

    def predicted(self, time_s: float) -> Float64:
        """The unknowns at a later time: movements go on and die away, shape stays."""
        later = max(time_s - self.time_s, 0.0)
        persistence = self._mobility.persistence_s
        return self.x + self._velocity * (persistence * (1.0 - math.exp(-later / persistence)))

    def faded(self, time_s: float) -> Float64:
        """(n, n) information at a later time: the inverse of the covariance after it has grown.

        (I^-1 + Q)^-1 = I - I (I + Q^-1)^-1 I, which needs one inverse and no inverse of I.
        """
        later = time_s - self.time_s
        if later <= 0.0:
            return self._information
        information = self._information
        spread = information.copy()
        grown_s = later * (1.0 + max(later - FRAME_S, 0.0) / self._mobility.change_s)
        np.einsum("ii->i", spread)[:] += 1.0 / (self._variances * grown_s)
        left: Float64 = information - information @ np.linalg.solve(spread, information)
        return 0.5 * (left + left.T)

    def corrected(self, x: Float64, information: Float64, time_s: float) -> None:
        """A sight was taken in: the estimate, all that is known now, and what that says of the velocity."""
        later = max(time_s - self.time_s, 0.0)
        averaging = self._mobility.velocity_s
        pause = self._moments.pause_s(time_s)
        self._moments.note(time_s)
        # What the cameras of one moment put right went wrong since the moment before: divided by what lies
        # between two of these cameras it would be a speed that nobody has, and a slow rig would swing.
        gain = (1.0 - math.exp(-later / averaging)) / later if later > 1e-6 else 1.0 / averaging
        gain = min(gain, 1.0 / max(pause, averaging))
        self._velocity += gain * (x - self.x - self._velocity * later)
        self._velocity[self._layout.shape] = 0.0
        self.x = x
        self._information = information
        self.time_s = max(time_s, self.time_s)
        self._unwind()

    def _unwind(self) -> None:
        """A root that has turned by more than half a turn and some is told as less than one.

        Near a full turn an axis-angle vector says nothing about its axis. Information and velocity follow:
        both vectors name the same rotation, and small turns of it are J(w) dw for either.
        """
        root = self.x[:3]
        angle = float(np.linalg.norm(root))
        if angle < 1.25 * np.pi:
            return
        other = root * (1.0 - 2.0 * np.pi / angle)
        _, axes = rotations_and_axes(np.array([root, other]))
        change = np.linalg.solve(axes[0], axes[1])  # d root = change @ d other
        information = self._information.copy()
        information[:3] = change.T @ information[:3]
        information[:, :3] = information[:, :3] @ change
        self._information = information
        self._velocity[:3] = np.linalg.solve(change, self._velocity[:3])
        self.x = np.concatenate([other, self.x[3:]])
