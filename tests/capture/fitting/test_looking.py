"""Looking into a photograph: in squares, too, and everybody once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from capture.fitting.looking import people_in, whoever_fills
from capture.keypoints import PersonKeypoints
from capture.keypoints.joint_sets import joint_set

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


class TakesPartsForPeople(Detector):
    """What shows somebody to half or less shows somebody smaller, whole and plain."""

    def __call__(self, picture: np.ndarray) -> list[PersonKeypoints]:
        return [self._mistaken(person) for person in super().__call__(picture)]

    @staticmethod
    def _mistaken(person: PersonKeypoints) -> PersonKeypoints:
        seen = person.points_px[person.confidences > 0.5]
        if len(seen) > 0.5 * JOINTS:
            return person
        shares = np.linspace(0, 1, JOINTS)[:, None]
        points = seen.min(axis=0) + shares * np.ptp(seen, axis=0)
        return PersonKeypoints("coco17", points, np.full(JOINTS, 0.9))


def test_a_leg_that_a_square_cuts_off_is_nobody() -> None:
    detector = TakesPartsForPeople([(450.0, 120.0, 540.0)])
    (leg,) = detector(photograph(1600, 800)[400:, 400:800])
    assert leg.confidences.mean() > 0.8
    found = people_in(photograph(1600, 800), detector, most=10)
    assert np.allclose(places(found), [(450, 120)], atol=12)


def test_a_child_before_somebody_is_a_person() -> None:
    people = [(500.0, 50.0, 700.0), (550.0, 450.0, 300.0)]
    found = people_in(photograph(1600, 800), Detector(people), most=10)
    assert np.allclose(places(found), [place[:2] for place in people], atol=12)


def test_whose_left_is_taken_for_right_in_one_square_is_one_person() -> None:
    """As somebody against the light: from the front in one square, from behind in the next."""
    names = joint_set("coco17").joints
    across = [{"left": 0.0, "right": 300.0}.get(name.split("_")[0], 150.0) for name in names]
    points = np.stack([across, np.linspace(0, 400, JOINTS)], axis=1) + 150.0
    mirrored = points * (-1, 1) + (600, 0)
    shown = (PersonKeypoints("coco17", each, np.full(JOINTS, 0.95)) for each in (points, mirrored))
    people = people_in(photograph(600, 600), lambda _: list(shown), most=10)
    assert len(people) == 1


def test_two_of_whom_no_joint_is_seen_of_both_are_two() -> None:
    """Of one the upper half, of the other the lower one, at the two ends of the picture."""
    points = np.stack([np.linspace(0, 100, JOINTS), np.linspace(0, 250, JOINTS)], axis=1) + 10.0
    upper = np.where(np.arange(JOINTS) < 8, 0.95, 0.1)
    shown = iter(
        [
            PersonKeypoints("coco17", points, upper),
            PersonKeypoints("coco17", points + np.array([240.0, 0.0]), 1.05 - upper),
        ]
    )
    assert len(people_in(photograph(400, 300), lambda _: list(shown), most=10)) == 2


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


def test_whom_a_box_does_not_show_again_stays_as_seen_in_the_whole() -> None:
    points = np.linspace((100, 100), (200, 400), JOINTS)
    sights = [PersonKeypoints("coco17", points * size, np.full(JOINTS, 0.9)) for size in (0.5, 1.0, 0.25)]

    class Network:
        def detect(self, picture: np.ndarray, *, time_s: float, boxes_px: object = None) -> list[object]:
            if boxes_px is None:
                return list(sights)
            assert len(np.asarray(boxes_px)) == 2
            return [replace(sights[0], points_px=sights[0].points_px + 3.0, box_index=1)]

        def close(self) -> None:
            """Nothing is held."""

    large, small = whoever_fills(photograph(640, 480), Network(), most=2)  # type: ignore[arg-type]
    assert large is sights[1]
    assert np.allclose(small.points_px, sights[0].points_px + 3.0)
