"""Bodies over pictures lie where the camera sees them, the nearer before the farther."""

from __future__ import annotations

import numpy as np

from capture.body.views import View
from capture.fitting.overlay import draw_bodies
from tests.capture.body.walking_people import BODY, POINTS, person

PICTURE = np.full((480, 640, 3), 40, np.uint8)
FOCAL = np.array([600.0, 600.0])


def _mesh(parameters: np.ndarray) -> np.ndarray:
    return BODY.skin(parameters[:72], parameters[72:82], parameters[82:])


def test_a_body_covers_its_joints_and_nothing_far_from_them() -> None:
    truth = person(3, heading=0.4)
    drawn = draw_bodies(PICTURE, [_mesh(truth)], BODY.faces, FOCAL)
    changed = (drawn != PICTURE).any(axis=2)
    joints = POINTS.values(truth[:72], truth[72:82]) + truth[82:]
    pixels = np.rint(View(FOCAL, np.array([320.0, 240.0])).project(joints)).astype(int)
    assert changed[pixels[:13, 1], pixels[:13, 0]].all()
    left, top = pixels.min(axis=0) - 60
    right, bottom = pixels.max(axis=0) + 60
    changed[max(top, 0) : bottom, max(left, 0) : right] = False
    assert not changed.any()
    assert (PICTURE == 40).all()


def test_the_nearer_person_hides_the_other_whatever_their_order() -> None:
    near = person(3, heading=0.4)
    far = near.copy()
    far[84] += 2.0
    one = draw_bodies(PICTURE, [_mesh(near)], BODY.faces, FOCAL)
    both = draw_bodies(PICTURE, [_mesh(near), _mesh(far)], BODY.faces, FOCAL)
    turned = draw_bodies(PICTURE, [_mesh(far), _mesh(near)], BODY.faces, FOCAL)
    middle = both[240, 300:340]
    assert (middle == one[240, 300:340]).all()
    assert ((turned != PICTURE).any(axis=2) == (both != PICTURE).any(axis=2)).all()


def test_a_large_picture_is_made_smaller_and_the_body_with_it() -> None:
    truth = person(3, heading=0.4)
    whole = draw_bodies(PICTURE, [_mesh(truth)], BODY.faces, FOCAL)
    small = draw_bodies(PICTURE, [_mesh(truth)], BODY.faces, FOCAL, longest_side_px=320)
    assert small.shape == (240, 320, 3)
    share = [(each != 40).any(axis=2).mean() for each in (whole, small)]
    assert abs(share[0] - share[1]) < 0.1 * share[0]
    assert draw_bodies(PICTURE, [], BODY.faces, FOCAL).shape == PICTURE.shape
