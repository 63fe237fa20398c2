"""Rings and counters, looked at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rig_parts import DEPTH, MESH, RigParts, camera, flat_color, flat_depth

from capture.camera import DONE
from capture.frames import CameraInfo, StreamInfo
from capture.mesh_faces import pack_faces
from capture.preview.overlay import TINTS
from capture.preview.process import Controls, Pace
from capture.preview.sampler import Sampler
from capture.preview.scene import Scene
from codec.depth import get_codec


class Clock:
    """Time as the test wants it."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[RigParts]:
    parts = RigParts(tmp_path, {"front": camera("front"), "late": None}, results=("bodies",))
    yield parts
    parts.close()


def test_the_newest_frame_is_given_once(rig: RigParts) -> None:
    sampler = Sampler(rig.job)
    color, depth = sampler.channels()
    assert sampler.newest(color) is None
    for shade in (10, 20, 30):
        rig.push("front", 0, flat_color((shade, shade, shade)))
    rig.push("front", 1, flat_depth(1200))
    frame = sampler.newest(color)
    assert frame is not None
    assert (frame.data == 30).all()
    assert sampler.newest(color) is None
    depth_frame = sampler.newest(depth)
    assert depth_frame is not None
    assert (depth_frame.data == 1200).all()
    rig.push("front", 0, flat_color((40, 40, 40)))
    assert sampler.newest(color) is not None


def test_looking_holds_nothing_back(rig: RigParts) -> None:
    sampler = Sampler(rig.job)
    (color, _) = sampler.channels()
    for _ in range(200):  # far more than the ring has room for
        rig.push("front", 0, flat_color((1, 2, 3)))
        sampler.newest(color)
    assert rig.rings["front"].fill == 0


def test_a_camera_that_opens_later_is_found(rig: RigParts) -> None:
    sampler = Sampler(rig.job)
    assert {channel.owner for channel in sampler.channels()} == {"front"}
    rig.introduce("late", camera("late", DEPTH))
    rig.introduce("bodies", CameraInfo("bodies", "estimator", "truth", (MESH,)))
    sampler.look()
    assert [(c.owner, c.stream.name) for c in sampler.channels()] == [
        ("front", "color"),
        ("front", "depth"),
        ("late", "depth"),
        ("bodies", "mesh"),
    ]


def test_rates_are_counted_and_silence_is_timed(rig: RigParts) -> None:
    clock = Clock()
    sampler = Sampler(rig.job, clock=clock)
    color, depth = sampler.channels()
    for _ in range(30):
        clock.now_s += 0.1
        rig.pages["front"].add("captured0", 3)
        if clock.now_s < 102.0:
            rig.pages["front"].add("captured1", 3)
        sampler.look()
    assert sampler.rate(color).fps == pytest.approx(30.0)
    assert sampler.silent_s(color) == pytest.approx(0.0)
    assert sampler.silent_s(depth) == pytest.approx(1.1, abs=0.15)
    (rate, unopened) = sampler.status().cameras
    assert rate.fps < 25, "the stream that lags speaks for its camera"
    assert rate.level == "warn"
    assert unopened.fps == 0


def test_the_time_before_the_first_frame_is_no_part_of_the_rate(rig: RigParts) -> None:
    clock = Clock()
    sampler = Sampler(rig.job, clock=clock)
    (color, _) = sampler.channels()
    for _ in range(25):
        clock.now_s += 0.1
        sampler.look()
    for _ in range(5):
        clock.now_s += 0.1
        rig.pages["front"].add("captured0", 3)
        sampler.look()
    assert sampler.rate(color).fps == pytest.approx(30.0)


def test_the_hours_left_follow_the_mean_and_the_rate_the_last_second(rig: RigParts) -> None:
    sampler = Sampler(rig.job)
    for rate in [0, 0, *([10_000_000, 30_000_000] * 10)]:
        rig.writer["disk_rate"] = rate
        status = sampler.status()
    assert status.disk_rate == 30_000_000
    assert status.mean_rate == pytest.approx(20_000_000, rel=0.1)


def test_the_status_adds_up_what_all_counters_say(rig: RigParts) -> None:
    clock = Clock()
    sampler = Sampler(rig.job, clock=clock)
    rig.pages["front"]["captured0"] = 60
    rig.pages["front"]["dropped0"] = 3
    rig.writer["dropped0.1"] = 4
    rig.pages["front"]["lost1"] = 5
    rig.writer["outage0.0"] = 6
    rig.writer["disk_rate"] = 20_000_000
    rig.writer["depth_codec"] = get_codec("raw").id
    sampler.look()
    clock.now_s += 10
    status = sampler.status()
    assert (status.dropped, status.lost) == (7, 11)
    assert status.disk_rate == 20_000_000
    assert status.elapsed_s == pytest.approx(12.0), "60 frames were there already, two seconds' worth"
    assert (status.codec, status.wanted_codec) == ("raw", "lattice-lz4")
    assert status.free_bytes == 10**12


def test_the_fullest_queue_counts(rig: RigParts) -> None:
    sampler = Sampler(rig.job)
    assert sampler.status().fill == 0
    while rig.rings["late"].fill < 0.5:
        rig.rings["late"].push(flat_color((0, 0, 0)))
    assert sampler.status().fill >= 0.5


# ---- what is on the tiles ----


def names(scene: Scene) -> list[tuple[str, str]]:
    return [(tile.group, tile.pixel_format) for tile in scene.tiles()]


def test_every_camera_has_a_tile_even_if_it_never_opened(rig: RigParts) -> None:
    scene = Scene(Sampler(rig.job))
    assert names(scene) == [("front", "bgr8"), ("front", "z16"), ("late", "")]
    assert scene.tiles()[-1].note == "waiting for the camera"


def test_the_views_show_what_a_camera_has(rig: RigParts) -> None:
    infrared = StreamInfo("infrared1", "y8", 160, 120, 30.0)
    rig.introduce("late", camera("late", DEPTH, infrared, replace(infrared, name="infrared2")))
    rig.introduce(
        "bodies", CameraInfo("bodies", "estimator", "stereo", (replace(DEPTH, name="stereo"), MESH))
    )
    scene = Scene(Sampler(rig.job))
    both = [("front", "bgr8"), ("front", "z16"), ("late", "y8"), ("late", "z16"), ("bodies", "z16")]
    assert names(scene) == both
    scene.view = "depth"
    assert names(scene) == [("front", "z16"), ("late", "z16"), ("bodies", "z16")]
    scene.view = "colour"
    assert names(scene) == [("front", "bgr8"), ("late", "y8"), ("bodies", "z16")]


def test_depth_is_not_copied_while_colour_alone_is_shown(rig: RigParts) -> None:
    sampler = Sampler(rig.job)
    scene = Scene(sampler, view="colour")
    rig.push("front", 0, flat_color((9, 9, 9)))
    rig.push("front", 1, flat_depth(1200))
    scene.refresh()
    assert sampler.newest(sampler.channels()[0]) is None, "colour was taken"
    assert sampler.newest(sampler.channels()[1]) is not None, "depth was left alone"


def test_a_body_lies_on_the_first_tile_of_each_camera_until_it_is_stale(rig: RigParts) -> None:
    rig.introduce("bodies", CameraInfo("bodies", "estimator", "truth", (MESH,)))
    scene = Scene(Sampler(rig.job))
    people = np.full((2, 300, 3), 1000, np.float32)
    rig.push("bodies", 0, people, meta=b'{"vertices":276}')
    rig.push("front", 0, flat_color((9, 9, 9)))
    rig.push("front", 1, flat_depth(1200))
    scene.refresh()
    color, depth, _ = scene.tiles()
    assert [body.pixels.shape for body in color.bodies] == [(276, 3)] * 2
    assert color.bodies[0].pixels[0] == pytest.approx([80 + 150, 60 + 150, 1.0])
    assert [body.faces for body in color.bodies] == [None, None]
    assert depth.bodies == ()
    scene.meshes = False
    assert scene.tiles()[0].bodies == ()


def test_people_keep_their_colours_and_are_drawn_with_the_triangles_of_their_meshes(rig: RigParts) -> None:
    faces = np.array([[0, 1, 2], [2, 1, 275]])
    told = CameraInfo("bodies", "estimator", "truth", (replace(MESH, faces=pack_faces(faces)),))
    rig.introduce("bodies", told)
    scene = Scene(Sampler(rig.job))
    rig.push("front", 0, flat_color((9, 9, 9)))
    tints = []
    for meta in (
        b'{"vertices":276,"ids":[1,2]}',
        b'{"vertices":276,"ids":[2,7]}',
        b'{"vertices":200,"ids":"x"}',
    ):
        rig.push("bodies", 0, np.full((2, 300, 3), 1000, np.float32), meta=meta)
        rig.push("front", 0, flat_color((9, 9, 9)))
        scene.refresh()
        bodies = scene.tiles()[0].bodies
        tints.append([body.tint for body in bodies])
        if meta.startswith(b'{"vertices":276'):
            np.testing.assert_array_equal(bodies[0].faces, faces)
    assert tints[0][1] == tints[1][0] != tints[0][0]
    assert tints[1] == [TINTS[1], TINTS[6 % len(TINTS)]]
    assert bodies[0].faces is None, "triangles of other meshes"
    assert tints[2] == tints[0]


def test_silence_and_the_end_are_told_apart(rig: RigParts) -> None:
    clock = Clock()
    sampler = Sampler(rig.job, clock=clock)
    scene = Scene(sampler)
    clock.now_s += 12.2
    assert scene.tiles()[0].note == "no signal since 12 s"
    rig.pages["front"].add("captured0")
    sampler.look()
    assert scene.tiles()[0].note == ""
    rig.pages["front"]["state"] = DONE
    assert scene.tiles()[0].note == "the camera has ended"


# ---- keys and pace ----


def test_keys_set_what_they_say(rig: RigParts) -> None:
    controls = Controls(Scene(Sampler(rig.job)))
    assert controls.press(ord(" ")) == ""
    assert controls.frozen
    controls.press(ord(" "))
    assert not controls.frozen
    controls.press(ord("m"))
    assert not controls.scene.meshes
    views = []
    for _ in range(3):
        controls.press(ord("d"))
        views.append(controls.scene.view)
    assert views == ["depth", "colour", "both"]
    assert controls.press(ord("s")) == "snapshot"
    assert controls.press(ord("S")) == "snapshot"
    assert controls.press(ord("x")) == controls.press(27) == controls.press(-1) == ""


def test_the_recording_is_asked_to_stop_only_once(rig: RigParts) -> None:
    controls = Controls(Scene(Sampler(rig.job)))
    assert [controls.press(ord("q")) for _ in range(3)] == ["quit", "", ""]


def test_a_dear_picture_is_drawn_less_often_and_a_cheap_one_not_too_often() -> None:
    pace = Pace(_cpu_s=0.0)
    cpu_s = 0.0
    for _ in range(20):
        cpu_s += 0.075  # a small computer
        pace.drawn(cpu_s)
    assert 0.075 / pace.interval_s < 0.2
    for _ in range(40):
        cpu_s += 0.001
        pace.drawn(cpu_s)
    assert pace.interval_s == pytest.approx(1 / 15)
    pace.drawn(cpu_s + 100)
    assert pace.interval_s <= 2.0


def test_while_the_queue_is_full_what_it_refuses_is_shown(rig: RigParts) -> None:
    sampler = Sampler(rig.job)
    color, depth = sampler.channels()
    ring = rig.rings["front"]
    rig.push("front", 0, flat_color((10, 10, 10)))
    assert sampler.newest(color) is not None
    ring.show(flat_color((20, 20, 20)), stream=0, number=2, monotonic_ns=time.monotonic_ns())
    shown = sampler.newest(color)
    assert shown is not None
    assert (shown.data == 20).all()
    assert sampler.newest(color) is None
    assert sampler.newest(depth) is None
    rig.push("front", 0, flat_color((30, 30, 30)))
    back = sampler.newest(color)
    assert back is not None
    assert (back.data == 30).all()
