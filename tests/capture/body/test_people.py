"""Who is who: identities that last through crossings, silent cameras, and detections of any kind and time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from capture.body.likeness import mirrored
from capture.body.people import GONE_S, HOLD_S, People, Person
from capture.body.points import POINT_COUNT
from capture.body.procedural import procedural_body
from capture.body.views import Observation, View
from tests.capture.body.walkers import SIZE_PX, Body, Walker, points_of, ring, seen_by

FPS = 30.0


class Oracle:
    """Knows where people are, but not who: takes the body that the observations fit best.

    With one view, `mono_scale` puts it farther away along its line of sight, as a fit without depth does.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self.calls: list[float] = []
        self.given: list[Observation] = []
        room.trackers.append(self)

    def update(self, time_s: float, observations: Sequence[Observation]) -> Body | None:
        self.calls.append(time_s)
        self.given = list(observations)
        if not observations or not self._room.bodies or self._room.step_fails:
            return None

        def away(body: Body) -> float:
            return sum(
                float(
                    np.nanmedian(np.linalg.norm(seen.view.project(points_of(body)) - seen.points_px, axis=1))
                )
                for seen in observations
            )

        best = min(self._room.bodies, key=away)
        if len(observations) > 1 or self._room.mono_scale == 1.0:
            return best
        centre = observations[0].view.to_world(np.zeros((1, 3)))[0]
        farther = centre + self._room.mono_scale * (best.translation - centre)
        return Body(best.pose, best.betas, farther)


class Room:
    """Walkers, cameras and the people that are found; `step` looks once with some of the cameras."""

    def __init__(self, walkers: Sequence[Walker], cameras: int = 1, *, most_people: int = 8) -> None:
        self.walkers = list(walkers)
        self.views = ring(cameras)
        self.bodies: list[Body] = []
        self.trackers: list[Oracle] = []
        self.mono_scale = 1.0
        self.step_fails = False
        self.hides = 0.0
        self.rng = np.random.default_rng(3)
        self.people: People[Body] = People(procedural_body(), lambda: Oracle(self), most_people=most_people)

    def step(
        self,
        time_s: float,
        cameras: Sequence[str] | None = None,
        change: Callable[[str, list[Observation]], list[Observation]] = lambda _, seen: seen,
    ) -> list[Person[Body]]:
        self.bodies = [walker.body(time_s) for walker in self.walkers]
        names = list(self.views) if cameras is None else cameras
        seen = {
            name: change(name, seen_by(self.views[name], self.bodies, self.rng, hides=self.hides))
            for name in names
        }
        return self.people.update(time_s, seen)

    def owners(self, found: Sequence[Person[Body]]) -> dict[int, int]:
        """Which walker each identity is, by place."""
        places = np.array([body.translation for body in self.bodies])
        return {
            person.identity: int(np.linalg.norm(places - person.track.translation, axis=1).argmin())
            for person in found
        }


def times(duration_s: float, start_s: float = 0.0, fps: float = FPS) -> list[float]:
    return [start_s + n / fps for n in range(round(duration_s * fps))]


STANDING = Walker((0.0, 0.0), 0.0, speed_m_s=0.0)
# Seen from camera0, at x = 4 m: two who walk past each other, one half a metre behind the other.
CROSSING = (Walker((0.3, -1.4), 90.0), Walker((-0.3, 1.4), -90.0, strides_ahead=0.4))


def test_one_detection_is_nobody_and_three_that_follow_each_other_are_somebody() -> None:
    room = Room([STANDING])
    assert [len(room.step(time_s)) for time_s in times(5 / FPS)] == [0, 0, 1, 1, 1]
    assert room.people.identities == (1,)


def test_who_becomes_known_brings_along_what_was_seen_before() -> None:
    room = Room([STANDING])
    people = [room.step(time_s) for time_s in times(5 / FPS)]
    (person,) = people[2]
    assert [round(FPS * sighting.time_s) for sighting in person.sightings] == [0, 1, 2]
    assert {sighting.camera for sighting in person.sightings} == set(room.views)
    assert [one.sightings for later in people[3:] for one in later] == [()] * 2


def test_a_body_that_is_found_late_rests_on_all_that_was_seen() -> None:
    """The first attempt fails; the next one wants three new detections, and remembers those before."""
    room = Room([STANDING])
    found = []
    for place, time_s in enumerate(times(7 / FPS)):
        room.step_fails = place < 4
        found.append(room.step(time_s))
    first = next(place for place, people in enumerate(found) if people)
    assert first == 5
    assert len(found[first][0].sightings) == 6


def test_two_views_that_agree_are_somebody_at_once() -> None:
    room = Room([STANDING], cameras=2)
    (person,) = room.step(0.0)
    assert person.cameras == ("camera0", "camera1")
    np.testing.assert_allclose(person.track.translation, room.bodies[0].translation)


def test_a_detector_that_takes_left_for_right_is_put_right() -> None:
    room = Room([Walker((0.0, -1.2), 90.0)], cameras=2)
    room.step(0.0)
    for time_s in times(1.5, start_s=1 / FPS):
        room.bodies = [walker.body(time_s) for walker in room.walkers]
        (seen,) = seen_by(room.views["camera1"], room.bodies, np.random.default_rng(0))
        (person,) = room.people.update(time_s, {"camera1": [mirrored(seen)]})
        assert person.identity == 1
        (given,) = room.trackers[0].given
        np.testing.assert_array_equal(given.points_px, seen.points_px)
    assert room.people.identities == (1,)


def test_a_walker_keeps_the_identity() -> None:
    room = Room([Walker((0.0, -1.2), 90.0)])
    found = [room.step(time_s) for time_s in times(1.8)]
    assert {person.identity for people in found for person in people} == {1}
    assert all(len(people) == 1 for people in found[3:])


@pytest.mark.parametrize("hides", [0.0, 0.4])
@pytest.mark.parametrize("cameras", [1, 2])
@pytest.mark.parametrize("fps", [30.0, 7.5])
def test_two_who_cross_stay_who_they_are(cameras: int, hides: float, fps: float) -> None:
    room = Room(CROSSING, cameras=cameras)
    room.hides = hides
    owners: dict[int, set[int]] = {}
    for time_s in times(2.1, fps=fps):
        for identity, walker in room.owners(room.step(time_s)).items():
            owners.setdefault(identity, set()).add(walker)
    assert sorted(owners) == [1, 2]
    assert sorted(map(list, owners.values())) == [[0], [1]]


def test_the_order_of_detections_does_not_matter() -> None:
    results = []
    for turned in (False, True):
        room = Room(CROSSING)
        results.append(
            [
                room.owners(room.step(time_s, change=lambda _, seen, t=turned: seen[:: -1 if t else 1]))
                for time_s in times(2.0)
            ]
        )
    # The numbers may be given the other way round at first; who is who may not change.
    for moments in results:
        assert {tuple(sorted(owners.items())) for owners in moments if len(owners) == 2} in (
            {((1, 0), (2, 1))},
            {((1, 1), (2, 0))},
        )


def test_the_same_calls_give_the_same_people() -> None:
    runs = []
    for _ in range(2):
        room = Room(CROSSING, cameras=2)
        runs.append([sorted(room.owners(room.step(time_s)).items()) for time_s in times(1.0)])
    assert runs[0] == runs[1]


def test_staggered_cameras_make_one_person_of_each() -> None:
    room = Room(CROSSING, cameras=4)
    owners: dict[int, set[int]] = {}
    for time_s, name in zip(times(2.1), itertools.cycle(room.views), strict=False):
        for identity, walker in room.owners(room.step(time_s, [name])).items():
            owners.setdefault(identity, set()).add(walker)
    assert sorted(map(list, owners.values())) == [[0], [1]]


def test_whoever_no_camera_finds_for_a_second_is_gone_and_comes_back_as_somebody_else() -> None:
    room = Room([STANDING])
    for time_s in times(0.2):
        room.step(time_s)
    room.walkers = []
    ends = [(time_s, bool(room.step(time_s) or room.people.identities)) for time_s in times(1.5, 0.2)]
    last_s = max(time_s for time_s, is_there in ends if is_there)
    assert last_s - 0.2 == pytest.approx(GONE_S, abs=0.1)
    room.walkers = [STANDING]
    for time_s in times(0.2, 1.7):
        room.step(time_s)
    assert room.people.identities == (2,)


def test_a_gap_shorter_than_a_second_changes_nobody() -> None:
    room = Room(CROSSING)
    for time_s in times(2.1):
        gap = 0.8 < time_s < 1.4  # while they pass each other
        found = room.owners(room.step(time_s, change=lambda _, seen, gap=gap: [] if gap else seen))
    assert room.people.identities == (1, 2)
    assert sorted(found.values()) == [0, 1]


def test_a_camera_that_was_silent_finds_the_same_people() -> None:
    room = Room([Walker((0.0, -0.6), 0.0, speed_m_s=0.0), Walker((0.0, 0.6), 0.0, speed_m_s=0.1)])
    before = [room.owners(room.step(time_s)) for time_s in times(0.5)][-1]
    after = [room.owners(room.step(time_s)) for time_s in times(0.5, 0.5 + HOLD_S - 1.0)][-1]
    assert len(before) == 2
    assert after == before


def test_the_first_look_of_a_camera_that_was_silent_may_miss_everybody() -> None:
    room = Room([STANDING])
    for time_s in times(0.5):
        room.step(time_s)
    room.step(3.0, change=lambda _name, _seen: [])
    for time_s in times(0.3, 3.1):
        room.step(time_s)
    assert room.people.identities == (1,)


def test_somebody_unseen_may_have_gone_elsewhere() -> None:
    room = Room([STANDING])
    for time_s in times(0.5):
        room.step(time_s)
    room.walkers = []
    for time_s in times(0.8, 0.5):
        room.step(time_s)
    room.walkers = [Walker((0.0, 0.9), 0.0, speed_m_s=0.0)]
    for time_s in times(0.3, 1.3):
        room.step(time_s)
    assert room.people.identities == (1,)


def test_two_who_walk_through_one_place_stay_two() -> None:
    room = Room((Walker((0.05, -1.4), 90.0), Walker((-0.05, 1.4), -90.0, strides_ahead=0.4)))
    room.hides = 0.4
    owners: dict[int, set[int]] = {}
    for time_s in times(2.1):
        for identity, walker in room.owners(room.step(time_s)).items():
            owners.setdefault(identity, set()).add(walker)
    # While one hides the other nobody can tell whose place it is.
    assert sorted(owners) == [1, 2]
    assert sorted(room.owners(room.step(2.1)).values()) == [0, 1]


def test_two_in_one_place_stay_two_while_one_of_them_is_missed() -> None:
    room = Room([Walker((0.0, 0.1), 0.0, 0.0), Walker((0.0, -0.1), 0.0, 0.0, strides_ahead=0.1)])
    for time_s in times(0.5):
        room.step(time_s)
    for n, time_s in enumerate(times(1.0, 0.5)):
        room.step(time_s, change=lambda _, seen, n=n: [seen[n // 6 % 2]])
    assert room.people.identities == (1, 2)


def test_people_are_not_kept_for_a_camera_that_never_comes_back() -> None:
    room = Room([STANDING], cameras=2)
    for time_s in times(0.5):
        room.step(time_s, ["camera0"])
    for time_s in times(HOLD_S + 1.0, 0.5):
        room.step(time_s, ["camera1"], change=lambda _name, _seen: [])
    assert room.people.identities == ()


def test_one_of_two_cameras_may_go_away_and_come_back() -> None:
    room = Room(CROSSING, cameras=2)
    for time_s in times(2.1):
        cameras = ["camera1"] if 0.4 < time_s < 1.7 else None
        room.step(time_s, cameras)
    assert room.people.identities == (1, 2)


def test_a_second_camera_recognises_who_stands_in_a_wrong_depth() -> None:
    room = Room([STANDING], cameras=2)
    room.mono_scale = 1.4
    for time_s in times(0.3):
        room.step(time_s, ["camera0"])
    for time_s in times(0.5, 0.3):
        (person,) = room.step(time_s)
    assert room.people.identities == (1,)
    assert person.cameras == ("camera0", "camera1")
    np.testing.assert_allclose(person.track.translation, room.bodies[0].translation)


def test_somebody_who_stands_where_a_wrong_depth_puts_another_is_somebody_else() -> None:
    room = Room([STANDING], cameras=2)
    room.mono_scale = 1.4
    for time_s in times(0.3):
        room.step(time_s, ["camera0"])
    room.walkers.append(Walker((-1.6, 0.0), 0.0, speed_m_s=0.0))
    for time_s in times(0.5, 0.3):
        # The nearer one hides the other from the first camera.
        found = room.step(time_s, change=lambda name, seen: seen[:1] if name == "camera0" else seen)
    assert sorted(room.owners(found).values()) == [0, 1]
    assert room.owners(found)[1] == 0


def test_a_second_box_around_somebody_makes_nobody() -> None:
    room = Room([STANDING])

    def doubled(_: str, seen: list[Observation]) -> list[Observation]:
        return seen + [Observation(one.view, one.points_px + 4.0, one.confidences) for one in seen]

    for time_s in times(1.0):
        room.step(time_s, change=doubled)
    assert room.people.identities == (1,)
    assert len(room.trackers) == 1


def wild(view: View, rng: np.random.Generator) -> Observation:
    return Observation(view, rng.random((POINT_COUNT, 2)) * SIZE_PX, np.ones(POINT_COUNT))


def test_wild_key_points_make_nobody_and_change_nobody() -> None:
    room = Room(CROSSING)
    rng = np.random.default_rng(8)
    for time_s in times(2.0):
        found = room.step(
            time_s,
            change=lambda name, seen: [wild(room.views[name], rng), *seen, wild(room.views[name], rng)],
        )
    assert sorted(room.owners(found).values()) == [0, 1]
    assert room.people.identities == (1, 2)


def test_what_is_not_finite_or_too_little_of_a_body_is_nobody() -> None:
    room = Room([])
    view = room.views["camera0"]
    lost = np.full((POINT_COUNT, 2), np.nan)
    points = seen_by(view, [STANDING.body(0.0)], np.random.default_rng(0))[0].points_px
    few = np.where(np.arange(POINT_COUNT) < 3, 1.0, 0.0)
    for time_s in times(1.0):
        seen = [Observation(view, lost, np.ones(POINT_COUNT)), Observation(view, points, few)]
        assert room.step(time_s, change=lambda _name, _seen, seen=seen: seen) == []
    assert room.trackers == []


def test_half_of_the_points_may_be_wild() -> None:
    room = Room([STANDING])
    rng = np.random.default_rng(2)

    def spoiled(name: str, seen: list[Observation]) -> list[Observation]:
        out = []
        for one in seen:
            points = one.points_px.copy()
            points[rng.permutation(POINT_COUNT)[:3]] = rng.random((3, 2)) * SIZE_PX
            points[rng.integers(POINT_COUNT)] = np.nan
            out.append(Observation(room.views[name], points, one.confidences))
        return out

    for time_s in times(1.0):
        room.step(time_s, change=spoiled)
    assert room.people.identities == (1,)


def test_a_crowd_is_bounded() -> None:
    crowd = [Walker((-0.5 * row, -1.5 + 0.6 * column), 0.0, 0.0) for row in range(4) for column in range(6)]
    room = Room(crowd, cameras=2, most_people=4)
    for time_s in times(0.5):
        assert len(room.step(time_s)) <= 4
    assert len(room.people.identities) == 4


def test_four_people_before_four_cameras() -> None:
    walkers = [
        Walker((x, y), 45.0 + 90.0 * n, 0.2)
        for n, (x, y) in enumerate(((0.8, 0.8), (-0.8, 0.8), (-0.8, -0.8), (0.8, -0.8)))
    ]
    room = Room(walkers, cameras=4)
    for time_s in times(1.0):
        found = room.step(time_s)
    assert sorted(room.owners(found).values()) == [0, 1, 2, 3]
    assert len(room.people.identities) == 4


def test_a_detection_that_comes_late_is_still_theirs() -> None:
    room = Room([STANDING], cameras=2)
    for time_s in times(1.0):
        room.step(time_s, ["camera0"])
        room.step(time_s - 0.1, ["camera1"])
    assert room.people.identities == (1,)


def test_time_that_begins_again_begins_with_nobody() -> None:
    room = Room([STANDING])
    for time_s in times(0.5, 100.0):
        room.step(time_s)
    for time_s in times(0.5):
        room.step(time_s)
    assert room.people.identities == (2,)


@pytest.mark.parametrize("time_s", [np.nan, np.inf])
def test_a_time_that_is_none_is_refused(time_s: float) -> None:
    with pytest.raises(ValueError, match="a time in seconds"):
        Room([]).people.update(time_s, {})


def test_a_tracker_that_finds_nothing_makes_nobody() -> None:
    class Nothing:
        def update(self, time_s: float, observations: Sequence[Observation]) -> Body | None:
            return None

    people: People[Body] = People(procedural_body(), Nothing)
    view = ring(1)["camera0"]
    seen: Mapping[str, Sequence[Observation]]
    for time_s in times(1.0):
        seen = {"camera0": seen_by(view, [STANDING.body(0.0)], np.random.default_rng(0))}
        assert people.update(time_s, seen) == []
