"""The simulated camera that goes through librealsense: what is rendered is what comes out."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyrealsense2", reason="pyrealsense2 is not installed", exc_type=ImportError)

from virtual import numbers, of, plugged

from capture.frames import Frame
from capture.sources.realsense import list_realsense
from capture.sources.simulated import Loop, Metronome, exact_rate, render_loop
from capture.sources.virtual_realsense import VirtualBus, VirtualRealSenseSource, _Feeder, _Reel
from capture.specs import SimulatedSpec, StreamSpec

SPEC = SimulatedSpec(
    index=1, count=2, depth=StreamSpec(64, 48, 30), color=StreamSpec(80, 60, 15), loop_s=0.4, seed=3
)


@pytest.fixture(scope="module")
def loop() -> Loop:
    return render_loop(SPEC, name="sim", color_format="bgr8")


@pytest.fixture
def source() -> Iterator[VirtualRealSenseSource]:
    source = VirtualRealSenseSource("sim", SPEC)
    yield source
    source.close()


def frames_of(source: VirtualRealSenseSource, count: int) -> list[Frame]:
    frames: list[Frame] = []
    deadline_s = time.monotonic() + 20
    while len(frames) < count and time.monotonic() < deadline_s:
        frames += source.read(0.2)
    return frames


def test_rendered_frames_come_out_of_the_library_with_their_truth(
    source: VirtualRealSenseSource, loop: Loop
) -> None:
    source.open()
    frames = frames_of(source, 60)
    for name, pictures, truths in (("depth", loop.depth, loop.meta), ("color", loop.color, loop.color_meta)):
        mine = of(frames, name)
        assert len(mine) >= 10
        entry = next(i for i, truth in enumerate(truths) if shows(mine[0], truth))
        for frame in mine:
            here = (entry + frame.number - mine[0].number) % len(pictures)
            assert np.array_equal(frame.data, pictures[here])
            assert shows(frame, truths[here])
            assert frame.clock == "hardware"
            assert "exposure" in json.loads(frame.meta)


def shows(frame: Frame, truth: bytes) -> bool:
    """Whether the frame's meta holds this truth."""
    meta = json.loads(frame.meta)
    return all(meta[key] == value for key, value in json.loads(truth).items())


def test_numbers_start_at_one_and_each_stream_has_its_own_rate(source: VirtualRealSenseSource) -> None:
    source.open()
    frames = frames_of(source, 40)
    depth, color = numbers(frames, "depth"), numbers(frames, "color")
    assert depth[0] == color[0] == 1
    assert len(depth) > 1.5 * len(color)
    times = [frame.device_time_s for frame in of(frames, "color")]
    assert np.allclose(np.diff(times), np.diff(color) / 15)


def test_camera_info_is_the_rendered_cameras(source: VirtualRealSenseSource, loop: Loop) -> None:
    info = source.open()
    assert (info.name, info.backend, info.serial) == ("sim", "simulated", loop.info.serial)
    assert info.world_from_camera == loop.info.world_from_camera
    for mine, rendered in zip(info.streams, loop.info.streams, strict=True):
        assert (mine.name, mine.width, mine.height, mine.fps) == (
            rendered.name,
            rendered.width,
            rendered.height,
            rendered.fps,
        )
        assert mine.intrinsics is not None
        assert rendered.intrinsics is not None
        assert mine.intrinsics.fx == pytest.approx(rendered.intrinsics.fx)
        assert mine.intrinsics.model == rendered.intrinsics.model
    depth, color = info.streams
    assert depth.depth_scale_m == pytest.approx(loop.info.streams[0].depth_scale_m)
    assert depth.focal_baseline_px_m == pytest.approx(loop.info.streams[0].focal_baseline_px_m)
    assert color.camera_from_stream is not None
    assert loop.info.streams[1].camera_from_stream is not None
    assert np.allclose(color.camera_from_stream, loop.info.streams[1].camera_from_stream)


def test_closed_source_leaves_no_thread_and_opens_again(source: VirtualRealSenseSource) -> None:
    source.open()
    assert frames_of(source, 4)
    source.close()
    source.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("feeder")]
    source.open()
    assert numbers(frames_of(source, 4), "depth")[0] == 1


def test_one_stream_alone_is_a_camera_too() -> None:
    source = VirtualRealSenseSource("sim", SimulatedSpec(color=StreamSpec(64, 48, 30), loop_s=0.2))
    assert [stream.name for stream in source.open().streams] == ["color"]
    assert {frame.stream for frame in frames_of(source, 5)} == {"color"}
    source.close()


class SlowCamera:
    """Stands in for the virtual camera and holds its feeder up at one frame."""

    serial = "slow"

    def __init__(self, slow_at: int, for_s: float) -> None:
        self.pushed: list[int] = []
        self._slow_at = slow_at
        self._for_s = for_s

    def push(self, stream: str, pixels: Any, *, number: int, **more: Any) -> None:
        self.pushed.append(number)
        if number == self._slow_at:
            time.sleep(self._for_s)


def test_stalled_feeder_catches_up_a_buffer_full_and_skips_the_numbers_before() -> None:
    metronome = Metronome(exact_rate(200.0))
    reel = _Reel("depth", (np.zeros((2, 2)),), (b"{}",), metronome, metronome.latest(time.monotonic_ns()))
    camera = SlowCamera(slow_at=3, for_s=0.5)  # 100 frames are due meanwhile
    feeder = _Feeder(camera, [reel])  # type: ignore[arg-type]
    feeder.start()
    while len(camera.pushed) < 30:
        time.sleep(0.01)
    feeder.stop()
    after = camera.pushed.index(3) + 1
    assert camera.pushed[after] > 50
    assert (np.diff(camera.pushed[after : after + 16]) == 1).all()
    assert (np.diff(camera.pushed) > 0).all()


def test_unplugged_camera_leaves_the_list_at_once_and_comes_back() -> None:
    bus = VirtualBus()
    camera = plugged(bus, "111")
    plugged(bus, "222")
    bus.unplug(camera)
    assert [found["serial"] for found in list_realsense(bus.context)] == ["222"]
    bus.unplug(camera)
    bus.plug(camera)
    assert [found["serial"] for found in list_realsense(bus.context)] == ["111", "222"]
