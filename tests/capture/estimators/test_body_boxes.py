"""Key points of a network for one person: where it looks, so that everybody is found and nobody twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from capture.body.procedural import procedural_body
from capture.estimators import body as module
from capture.estimators.body import BodyEstimator
from capture.frames import CameraInfo, Frame, Intrinsics, Matrix4, StreamInfo
from capture.specs import EstimatorSpec
from tests.capture.body.walkers import SIZE_PX, Walker, points_of, ring
from tests.capture.estimators.one_person_network import OnePersonNetwork

FPS = 15.0
WIDTH, HEIGHT = SIZE_PX
VIEWS = ring(2)
Where = Callable[[float], list[Walker]]


class Room:
    """Cameras that look at walkers; key points are those of a network for one person."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        there: Where,
        *,
        cameras: int = 1,
        kind: str = "rtmpose",
        people: int = 4,
    ) -> None:
        self.names = list(VIEWS)[:cameras]
        self._there = there
        self.networks: dict[str, OnePersonNetwork] = {}
        sources = iter(self.names)

        def open_source(_: str, __: dict[str, Any]) -> OnePersonNetwork:
            name = next(sources)
            self.networks[name] = OnePersonNetwork(lambda time_s: self._points(name, time_s))
            return self.networks[name]

        monkeypatch.setattr(module, "open_source", open_source)
        options = {"keypoints": kind, "meshes": False, "people": people}
        spec = EstimatorSpec("body", "body", tuple(self.names), options)
        self.estimator = BodyEstimator(spec)
        self.estimator.open({name: _camera(name) for name in self.names})

    def _points(self, name: str, time_s: float) -> list[Any]:
        return [VIEWS[name].project(points_of(walker.body(time_s))) for walker in self._there(time_s)]

    def run(self, from_s: float, to_s: float) -> list[list[int]]:
        """Who is in each picture of the first camera."""
        ids = []
        for tick in range(round(FPS * from_s), round(FPS * to_s)):
            for name in reversed(self.names):
                picture = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
                frame = Frame("color", tick, picture, None, "", round(1e9 * tick / FPS))
                results = self.estimator.estimate({(name, "color"): frame})
                assert (picture == 90).all(), "the recorder's picture was painted"
            ids.append(json.loads(results[0].meta)["ids"] if results else [])
        return ids


def _camera(name: str) -> CameraInfo:
    view = VIEWS[name]
    lens = Intrinsics(WIDTH, HEIGHT, *view.focal_px, *view.centre_px)
    a, b, c, d = (tuple(row) for row in np.linalg.inv(view.camera_from_world).tolist())
    place: Matrix4 = (a, b, c, d)
    stream = StreamInfo("color", "bgr8", WIDTH, HEIGHT, FPS, lens)
    return CameraInfo(name, "opencv", "Test camera", (stream,), world_from_camera=place)


ANN = Walker((0.0, -0.6), 90.0, speed_m_s=0.1)
BOB = Walker((0.3, 0.7), 0.0, speed_m_s=0.0)


@pytest.mark.parametrize("kind", ["rtmpose", "movenet"])
def test_somebody_who_comes_later_is_found_while_another_is_followed(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    room = Room(monkeypatch, lambda time_s: [ANN] if time_s < 2.0 else [ANN, BOB], kind=kind)
    assert all(ids == [1] for ids in room.run(0.0, 2.0)[3:])
    ids = room.run(2.0, 7.0)
    assert all(each == [1, 2] for each in ids[round(2.0 * FPS) :])


def test_several_cameras_find_a_second_and_a_third_person(monkeypatch: pytest.MonkeyPatch) -> None:
    third = Walker((-0.8, -0.1), 180.0, speed_m_s=0.0)
    room = Room(
        monkeypatch,
        lambda time_s: [ANN] if time_s < 1.0 else [ANN, BOB] if time_s < 3.0 else [ANN, BOB, third],
        cameras=2,
    )
    ids = room.run(0.0, 6.0)
    assert ids[round(0.9 * FPS)] == [1]
    assert ids[round(2.9 * FPS)] == [1, 2]
    assert ids[-1] == [1, 2, 3]


def test_who_is_alone_stays_one_and_is_looked_at_once_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(monkeypatch, lambda time_s: [ANN])
    room.networks["camera0"].noise_px = 4.0
    assert all(ids == [1] for ids in room.run(0.0, 6.0)[3:])
    runs = room.networks["camera0"].runs
    assert len(runs) <= 1.35 * 6.0 * FPS
    assert runs.count("whole") >= 5


def test_where_nobody_else_can_be_nobody_else_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(monkeypatch, lambda time_s: [ANN, BOB], people=1)
    assert all(ids == [1] for ids in room.run(0.0, 2.0)[4:])
    runs = room.networks["camera0"].runs
    assert len(runs) - 1 - max(k for k, run in enumerate(runs) if run == "whole") > FPS
    assert len(runs) < 1.3 * 2.0 * FPS


def test_two_who_cross_are_two_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = [Walker((0.5, -1.3), 90.0, speed_m_s=0.8), Walker((-0.5, 1.3), -90.0, speed_m_s=0.8)]
    room = Room(monkeypatch, lambda time_s: pair)
    ids = room.run(0.0, 3.0)
    assert ids[round(1.2 * FPS)] == [1, 2]
    assert all(len(each) <= 2 for each in ids)
    assert len(ids[-1]) == 2


def test_everybody_is_looked_for_in_every_picture_while_nobody_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = Room(monkeypatch, lambda time_s: [] if time_s < 2.0 else [ANN])
    assert room.run(0.0, 2.0) == [[]] * round(2.0 * FPS)
    assert len(room.networks["camera0"].runs) == round(2.0 * FPS)
    assert room.run(2.0, 3.0)[-1] == [1]


def test_a_box_holds_the_whole_mesh_and_not_only_the_joints(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(monkeypatch, lambda time_s: [BOB])
    room.run(0.0, 2.0)
    left, top, right, bottom = room.networks["camera0"].boxes[-1]
    body = BOB.body(2.0)
    skin = procedural_body().skin(body.pose, body.betas, body.translation).astype(float)
    pixels = VIEWS["camera0"].project(skin)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    assert left < low[0]
    assert top < low[1]
    assert right > high[0]
    assert bottom > high[1]
    assert right - left < 1.6 * (high[0] - low[0])
    assert bottom - top < 1.3 * (high[1] - low[1])
