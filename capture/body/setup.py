"""What a fit computes once for a body and a prior, and the unknowns of a body that stands somewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from capture.body.kinematics import Float64, axis_angle_of, rotations_of
from capture.body.model import BodyModel
from capture.body.points import BodyPoints
from capture.body.prior import PosePrior
from capture.body.terms import BendingTerm, Layout, PriorTerm, Term, shape_term
from capture.body.views import View


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Root rotation (3,) axis-angle and translation (3,) in metres."""

    orientation: Float64
    translation: Float64


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """A body's points, and a prior over those pose numbers that are among the unknowns.

    `marginal` is the prior with the others eliminated. `rest_points` (14, 3) are those of the T-pose.
    """

    points: BodyPoints
    layout: Layout
    marginal: PosePrior
    height_m: float
    rest_points: Float64

    def unknowns(self, start: Start) -> Float64:
        """The T-pose of average shape at `start`."""
        x = np.zeros(self.layout.count)
        x[:3] = start.orientation
        x[self.layout.translation] = start.translation
        return x

    def whole_pose(self, x: Float64) -> Float64:
        """(72,): the eliminated numbers where they cost least."""
        seen = x[3 : self.layout.pose_count]
        component = self.marginal.pick(seen).component
        return np.concatenate([x[:3], self.marginal.complete(component, seen)])

    def terms(self, pose_weight: float, shape_weight: float) -> list[Term]:
        """What SMPLify asks of pose and shape in a stage with these weights."""
        return [
            PriorTerm(self.layout, self.marginal, pose_weight),
            BendingTerm(self.layout, pose_weight),
            shape_term(self.layout, shape_weight),
        ]

    def in_world(self, start: Start, view: View) -> Start:
        """A start of the view's frame in the world: the body turns about its pelvis, not about the origin."""
        pelvis = self.points.rest_pelvis
        return _moved(start, pelvis, view.camera_from_world[:3, :3].T, view.to_world)

    def in_camera(self, start: Start, view: View) -> Start:
        """The inverse of `in_world`."""
        return _moved(start, self.points.rest_pelvis, view.camera_from_world[:3, :3], view.to_camera)


@lru_cache(maxsize=16)
def setup_of(model: BodyModel, prior: PosePrior, *, every_joint: bool = False) -> Setup:
    """Made on the first call for this body and prior; later calls get the same."""
    points = BodyPoints(model, every_joint=every_joint)
    layout = Layout.of(points)
    rest = points.values(np.zeros(72), np.zeros(points.shape_count))
    height_m = float(np.ptp(model.template_vertices[:, 1]))
    return Setup(points, layout, prior.marginal(layout.prior_columns()), height_m, rest)


def _moved(start: Start, pelvis: Float64, rotation: Float64, move: Callable[[Float64], Float64]) -> Start:
    turned = axis_angle_of(rotation @ rotations_of(start.orientation[None])[0])
    return Start(turned, move((pelvis + start.translation)[None])[0] - pelvis)
