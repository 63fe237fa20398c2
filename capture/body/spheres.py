"""A body does not run through itself: spheres along its capsules, and a cost where two of them meet.

For a pair of spheres d apart, of which each counts with 0.3 of its radius r, the cost is

    w^2 exp(-d^2 / ((0.3 r_a)^2 + (0.3 r_b)^2)),    w = 1000

over the pairs that can meet: forearms and hands with the trunk, forearms with their shoulders, the hands, the
calves, and the feet with each other and with the other calf. Each pair is one residual. It is derived by the
pose alone: a body that intersects itself is to move, not to get thinner.

Source: Bogo et al., "Keep it SMPL: Automatic Estimation of 3D Human Pose and Shape from a Single Image"
(ECCV 2016), sections 3.2 and 3.3, for the spheres, the cost and its constants.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from capture.body.capsules import Capsules, CapsuleSizes, capsules_of
from capture.body.joint_tree import Int, ancestors_of
from capture.body.kinematics import JOINT_COUNT, Float64
from capture.body.model import BodyModel
from capture.body.points import (
    Attachment,
    BodyPoints,
    PosedPoints,
    cross_products_with,
    joint_attachments,
)
from capture.body.terms import State

WEIGHT: Final = 1000.0
RADIUS_SHARE: Final = 0.3
PAIRS: Final = (
    *((trunk, arm) for trunk in (0, 3, 6, 9) for arm in (16, 17, 18, 19)),
    *((4, 5), (7, 5), (8, 7), (8, 4), (11, 16), (12, 17), (18, 19)),
)
"""The capsules that can meet."""
_ONLY_FAR_END: Final = (1, 2)
_UPPER_ARMS: Final = (14, 15)
_LEAST_RESIDUAL: Final = 0.03
"""A pair of less does not push: its square is a thousandth of a pixel's."""
_LEAST_RADIUS_M: Final = 0.002


class Spheres:
    """The term itself, for one model. Immutable: the stages of a fit share one, and threads may.

    `capsules` (s,) and `joints` (s,): along which of the capsules each sphere lies, and what carries it.
    """

    def __init__(self, model: BodyModel, sizes: CapsuleSizes | None = None) -> None:
        capsules = capsules_of(model, sizes)
        centres, owners = _spheres_along(capsules)
        carriers = np.array([capsules.joints[owner] for owner in owners])
        spheres = [
            Attachment(JOINT_COUNT + k, int(carriers[k]), 1.0, centre[:, 0], centre[:, 1:])
            for k, centre in enumerate(centres)
        ]
        self._points = BodyPoints(
            model, [*joint_attachments(model, range(JOINT_COUNT)), *spheres], every_joint=True
        )
        self.capsules = owners
        self.joints: Int = carriers
        self._radii = capsules.radii[owners]
        pairs = [
            (a, b)
            for first, second in PAIRS
            for a in np.flatnonzero(owners == first)
            for b in np.flatnonzero(owners == second)
        ]
        self._first, self._second = np.array(pairs).T
        rows = np.arange(len(pairs))
        # As products, as gathering a hundred rows takes longer than multiplying them.
        self._apart = np.zeros((len(pairs), JOINT_COUNT + len(centres)))
        self._apart[rows, JOINT_COUNT + self._first] = 1.0
        self._apart[rows, JOINT_COUNT + self._second] = -1.0
        self._both = np.abs(self._apart[:, JOINT_COUNT:]) * RADIUS_SHARE**2
        above = ancestors_of(model.parents)[carriers].astype(np.float64)
        self._turns_first = above[self._first]  # (p, 24): whether the joint moves the sphere
        self._turns_second = above[self._second]

    @property
    def count(self) -> int:
        return len(self._radii)

    @property
    def pair_count(self) -> int:
        return len(self._first)

    def at(self, body: PosedPoints) -> State:
        """`body`: points of the same model with every joint among the unknowns."""
        return _SpheresState(self, body)

    def placed(self, body: PosedPoints) -> tuple[Float64, Float64]:
        """Centres (s, 3), untranslated, and radii (s,) in metres, of the posed body."""
        return self._points.carried_by(body).points[JOINT_COUNT:], self.radii(body.betas)

    def radii(self, betas: Float64) -> Float64:
        """(s,) in metres."""
        radii: Float64 = np.maximum(self._radii[:, 0] + self._radii[:, 1:] @ betas, _LEAST_RADIUS_M)
        return radii


@lru_cache(maxsize=8)
def spheres_of(model: BodyModel, sizes: CapsuleSizes | None = None) -> Spheres:
    """Made on the first call for this body; later calls get the same."""
    return Spheres(model, sizes)


class _SpheresState:
    __slots__ = ("_apart", "_body", "_places", "_residuals", "_spreads", "_term", "cost")

    def __init__(self, term: Spheres, body: PosedPoints) -> None:
        self._term = term
        self._body = term._points.carried_by(body)
        self._places = self._body.points
        radii = term.radii(body.betas)
        self._apart: Float64 = term._apart @ self._places
        self._spreads: Float64 = term._both @ (radii * radii)
        exponents = np.einsum("pi,pi->p", self._apart, self._apart)
        exponents /= self._spreads
        exponents *= -0.5
        self._residuals: Float64 = np.exp(exponents, out=exponents)
        self._residuals *= WEIGHT
        self.cost = float(self._residuals @ self._residuals)

    def add_to(self, pull: Float64, stiffness: Float64) -> None:
        pushing = np.flatnonzero(self._residuals > _LEAST_RESIDUAL)
        if not len(pushing):
            return
        residuals = self._residuals[pushing]
        jacobian = self._jacobian(pushing, residuals)
        poses = 3 * JOINT_COUNT
        pull[:poses] += residuals @ jacobian
        stiffness[:poses, :poses] += jacobian.T @ jacobian

    def _jacobian(self, pushing: Int, residuals: Float64) -> Float64:
        """(k, 72) of the pairs `pushing`.

        A joint turns what hangs on it about its axes m: m x (centre - joint). Along the line of both centres
        that is m times (centre - joint) x line, and for a joint that carries both spheres nothing is left.
        """
        term = self._term
        joints, centres = self._places[:JOINT_COUNT], self._places[JOINT_COUNT:]
        first, second = term._first[pushing], term._second[pushing]
        lines = self._apart[pushing] * (-residuals / self._spreads[pushing])[:, None]
        lever = term._turns_first[pushing][:, :, None] * (centres[first][:, None] - joints)
        lever -= term._turns_second[pushing][:, :, None] * (centres[second][:, None] - joints)
        turning = lever @ cross_products_with(lines)
        by_number = turning.transpose(1, 0, 2) @ self._body.axes()
        jacobian: Float64 = by_number.transpose(1, 0, 2).reshape(len(pushing), -1)
        return jacobian


def _spheres_along(capsules: Capsules) -> tuple[Float64, Int]:
    """Centres (s, 3, 1 + B) from their joints, and the capsule (s,) of each.

    A sphere at both ends of the axis, and between them as many as lie there side by side. Thighs do without
    the one at the hip, upper arms without both, where there are others.
    """
    centres, owners = [], []
    lengths = np.linalg.norm(capsules.ends[:, :, 0] - capsules.starts[:, :, 0], axis=1)
    for capsule, length in enumerate(lengths):
        between = max(int(length / (2.0 * capsules.radii[capsule, 0]) - 1.0), 0)
        shares = [(k + 1) / (between + 1) for k in range(between)]
        if capsule in _ONLY_FAR_END:
            shares.append(1.0)
        elif capsule not in _UPPER_ARMS:
            shares += [0.0, 1.0]
        elif not shares:
            shares.append(1.0)
        way = capsules.ends[capsule] - capsules.starts[capsule]
        centres += [capsules.starts[capsule] + share * way for share in shares]
        owners += [capsule] * len(shares)
    return np.array(centres), np.array(owners, dtype=np.intp)
