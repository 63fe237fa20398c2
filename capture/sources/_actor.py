"""The person in the simulated room: where the body is at each moment, and what it wears.

Every camera of a rig shows the same person at the same moment: shape and walk are fixed, and the phase of
the walk is all there is to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body.gait import Walk
from capture.body.kinematics import Float64, split_parameters
from capture.body.model import BodyModel
from capture.body.procedural import procedural_body

Float32 = npt.NDArray[np.float32]

_BETAS: Final = (0.4, 0.5, 0.3, 0.2, -0.3, 0.4, 0.1, 0.4, 0.2, 0.3)

_SKIN: Final = (0.50, 0.62, 0.82)
_HAIR: Final = (0.10, 0.14, 0.20)
_SHIRT: Final = (0.22, 0.24, 0.72)
_STRIPE: Final = (0.80, 0.82, 0.82)
_TROUSERS: Final = (0.42, 0.30, 0.20)
_BELT: Final = (0.08, 0.10, 0.12)
_SHOES: Final = (0.12, 0.12, 0.14)
_SOLES: Final = (0.75, 0.75, 0.75)
_EYES: Final = (0.08, 0.08, 0.08)


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """The body at one phase, in world coordinates: 85 parameters, vertices (6890, 3), joints (24, 3)."""

    parameters: Float64
    vertices: Float32
    joints: Float64


class Actor:
    """The walking person of a loop of `loop_s` seconds."""

    def __init__(self, loop_s: float) -> None:
        self.body: BodyModel = procedural_body()
        walk = Walk.lasting(self.body, loop_s)
        self._walk = Walk(self.body, walk.strides, walk.laps, np.array(_BETAS))

    def at(self, phase: float) -> Moment:
        """The body at a phase from 0 to 1."""
        # The six decimals that go into the records, so that what is rendered is what is told.
        parameters = np.round(self._walk.parameters(phase), 6)
        return Moment(parameters, self.body.skin(*split_parameters(parameters)), self.body.pose(parameters))


def wardrobe(rest_points: Float32) -> Float32:
    """BGR albedo of points given in the rest pose: clothes stay where they are on the body."""
    x, y, z = rest_points[:, 0], rest_points[:, 1], rest_points[:, 2]
    reach = np.abs(x)
    color = np.empty_like(rest_points)
    color[:] = _SKIN
    neckline = 0.475 - 0.5 * np.maximum(0.0, 0.1 - reach)
    trunk = ((y < neckline) | (reach > 0.1)) & (y > 0.02) & (reach < 0.36)
    color[trunk] = _SHIRT
    color[trunk & (np.floor((y + 0.004) / 0.045) % 3 == 0) & (reach < 0.2)] = _STRIPE
    color[(y <= 0.02) & (y > -0.87) & (reach < 0.36)] = _TROUSERS
    color[(y <= 0.035) & (y > 0.0) & (reach < 0.36)] = _BELT
    color[(y <= -0.87) & (reach < 0.36)] = _SHOES
    color[(y < -0.935) & (reach < 0.36)] = _SOLES
    # Hair: the top and the back of the head, down to the neck behind.
    color[
        (y > 0.735 - 0.25 * np.maximum(0.0, -(z - 0.06)) - 0.9 * np.maximum(0.0, 0.05 - z)) & (y > 0.60)
    ] = _HAIR
    eyes = (np.hypot(reach - 0.031, y - 0.692) < 0.0095) & (z > 0.05)
    color[eyes] = _EYES
    color[(reach < 0.024) & (np.abs(y - 0.622) < 0.0045) & (z > 0.05)] = (0.35, 0.35, 0.65)
    return color
