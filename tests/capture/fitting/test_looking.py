"""Looking into a photograph: in squares, too, and everybody once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from capture.fitting.looking import people_in
from capture.keypoints import PersonKeypoints

JOINTS = 17


class Detector:
    """Sees people who are at least a third of the longer side of what it gets, of larger ones parts, badly.

    `people` (left, top, height) in the photograph, whose pixels hold their own places.
    """

    def __init__(self, people: Sequence[tuple[float, float, float]], *, jitter_px: float = 2.0) -> None:
        self.people = people
        self.looks = 0
        self._rng = np.random.default_rng(0)
        self._jitter_px = jitter_px

    def __call__(self, picture: np.ndarray) -> list[PersonKeypoints]:
        self.looks += 1
        corner = picture[0, 0, :2].astype(float) * 8
        height, width = picture.shape[:2]
        found = []
        for left, top, size in self.people:
            shares = np.stack([np.linspace(0, 0.4, JOINTS), np.linspace(0, 1, JOINTS)], axis=1)
            points = np.array([left, top]) + shares * size - corner
            inside = ((points >= 0) & (points < [width, height])).all(axis=1)
            if size < 0.33 * max(width, height) or inside.mean() < 0.4:
                continue
            trust = np.where(inside, 0.95, 0.2)
            found.append(
                PersonKeypoints("coco17", points + self._rng.normal(0, self._jitter_px, points.shape), trust)
            )
        return found


def photograph(width: int, height: int) -> np.ndarray:
    """Pixels say where they are, in steps of eight."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, :, 0] = np.arange(width) // 8
    picture[:, :, 1] = np.arange(height)[:, None] // 8
    return picture


def places(people: Sequence[PersonKeypoints]) -> list[tuple[float, float]]:
    return [tuple(person.points_px[0]) for person in people]


def test_people_too_small_for_the_whole_of_a_wide_picture_are_found_once_each() -> None:
    people = [(100.0, 200.0, 400.0), (1400.0, 300.0, 380.0), (800.0, 100.0, 250.0)]
    detector = Detector(people)
    picture = photograph(1768, 800)
    assert detector(picture) == []
    found = people_in(picture, detector, most=10)
    assert np.allclose(places(found), [place[:2] for place in people], atol=12)


def test_who_fills_the_picture_is_not_taken_apart() -> None:
    detector = Detector([(200.0, 50.0, 900.0)])
    found = people_in(photograph(1000, 1000), detector, most=10)
    assert len(found) == 1
    assert np.allclose(places(found), [(200, 50)], atol=12)


def test_who_is_cut_off_by_the_edge_of_the_photograph_counts_and_by_a_squares_edge_does_not() -> None:
    detector = Detector([(300.0, -400.0, 900.0)])
    found = people_in(photograph(900, 800), detector, most=10)
    assert len(found) == 1
    halves = [person for person in found if person.confidences.mean() < 0.75]
    assert len(halves) == 1  # the whole picture showed him, however little there is of him


def test_a_limb_is_nobody() -> None:
    detector = Detector([(500.0, 50.0, 700.0), (600.0, 500.0, 150.0)])
    assert len(people_in(photograph(1600, 800), detector, most=10)) == 1


def test_two_who_stand_close_are_two_and_the_largest_come_first() -> None:
    people = [(300.0, 100.0, 350.0), (420.0, 100.0, 500.0)]
    found = people_in(photograph(1500, 700), Detector(people), most=10)
    assert np.allclose(places(found), [(420, 100), (300, 100)], atol=12)
    assert len(people_in(photograph(1500, 700), Detector(people), most=1)) == 1


@pytest.mark.parametrize(("size", "looks"), [((150, 200), 1), ((320, 240), 3), ((640, 480), 18)])
def test_a_small_picture_is_looked_at_as_a_whole(size: tuple[int, int], looks: int) -> None:
    detector = Detector([])
    assert people_in(photograph(*size), detector, most=10) == []
    assert detector.looks == looks


def test_the_squares_cover_every_pixel() -> None:
    for width, height in ((640, 480), (1768, 994), (480, 1920), (401, 400)):
        seen = np.zeros((height, width), bool)

        def look(part: np.ndarray, seen: np.ndarray = seen) -> list[PersonKeypoints]:
            if part.shape[:2] != seen.shape:
                left, top = part[0, 0, :2].astype(int) * 8
                seen[top : top + part.shape[0], left : left + part.shape[1]] = True
            return []

        people_in(photograph(width, height), look, most=1)
        # The pixels tell their places in steps of eight.
        assert seen[: height - 8, : width - 8].all()
