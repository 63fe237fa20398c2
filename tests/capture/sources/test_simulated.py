"""The simulated camera: the truth it tells, its rhythm, and how it says no."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib import util
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from capture.body.anatomy import JOINT_NAMES
from capture.body.kinematics import split_parameters
from capture.body.procedural import procedural_body
from capture.frames import CameraInfo, Frame, StreamInfo
from capture.sources import simulated
from capture.sources._room import CAMERA_HEIGHT_M, HALF_SIZE_M, blocks, ring_pose
from capture.sources.simulated import Metronome, SimulatedSource, exact_rate, make_simulated, render_loop
from capture.specs import SimulatedSpec, StreamSpec
from codec.errors import CameraError, CameraNotFoundError, CameraProfileError, MissingExtraError

SMALL = StreamSpec(212, 120, 30.0)
SMALL_COLOR = StreamSpec(160, 120, 30.0)
BOTH = SimulatedSpec(depth=SMALL, color=SMALL_COLOR, loop_s=0.2)


@pytest.fixture(scope="module")
def rendered() -> simulated.Loop:
    return render_loop(
        SimulatedSpec(depth=StreamSpec(424, 240, 6.0), color=StreamSpec(320, 240, 6.0), loop_s=1)
    )


def _stream(info: CameraInfo, name: str) -> StreamInfo:
    return next(stream for stream in info.streams if stream.name == name)


# What the camera says of itself


def test_it_describes_itself_like_a_d435() -> None:
    source = SimulatedSource("left", SimulatedSpec(1, 2, StreamSpec(), StreamSpec(), loop_s=0.03))
    info = source.open()
    source.close()
    assert (info.name, info.backend, info.model) == ("left", "simulated", "Simulated D435")
    assert info.serial == "SIM000002"
    assert info.usb_type == "3.2"
    assert [stream.name for stream in info.streams] == ["depth", "color"]
    depth, color = info.streams
    assert (depth.width, depth.height, depth.fps, depth.pixel_format) == (848, 480, 30.0, "z16")
    assert (color.width, color.height, color.fps, color.pixel_format) == (640, 480, 30.0, "jpeg")
    assert depth.depth_scale_m == 0.001
    assert depth.intrinsics is not None
    assert depth.intrinsics.fx == 424.0
    assert depth.focal_baseline_px_m == pytest.approx(424.0 * 0.050)
    assert color.focal_baseline_px_m is None
    assert color.camera_from_stream is not None
    assert color.camera_from_stream[0][3] == 0.015
    assert info.world_from_camera == ring_pose(1, 2)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 12])
def test_cameras_stand_on_a_ring_look_inward_and_out_of_the_furniture(count: int) -> None:
    places = []
    for index in range(count):
        pose = np.array(ring_pose(index, count))
        assert np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3))
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
        assert pose[2, 1] < -0.9  # the image's y axis points down
        to_middle = np.linalg.inv(pose) @ [0.0, 0.0, 0.92, 1.0]
        assert np.allclose(to_middle[:2], 0, atol=1e-9)
        assert to_middle[2] > 2
        assert np.abs(pose[:2, 3]).max() < HALF_SIZE_M
        places.append(pose[:3, 3])
    assert len({tuple(np.round(place, 6)) for place in places}) == count
    for block in blocks(count):
        if block.bottom_m + block.size[2] < CAMERA_HEIGHT_M - 0.3:
            continue
        cosine, sine = np.cos(block.yaw), np.sin(block.yaw)
        for place in places:
            x, y = place[:2] - block.centre
            aside = np.abs([cosine * x + sine * y, cosine * y - sine * x]) - np.array(block.size[:2]) / 2
            assert aside.max() > 0.15


# The truth beside the frames


def test_meta_tells_the_pose_and_the_key_points_of_the_depth_image(rendered: simulated.Loop) -> None:
    depth = _stream(rendered.info, "depth")
    lens = depth.intrinsics
    assert lens is not None
    camera_from_world = np.linalg.inv(np.array(rendered.info.world_from_camera))
    body = procedural_body()
    for meta in rendered.meta:
        facts = json.loads(meta)
        assert set(facts) == {"pose", "keypoints_px", "keypoints_m"}
        assert len(facts["pose"]) == 85
        joints = np.array(facts["keypoints_m"])
        assert np.allclose(body.pose(facts["pose"]), joints, atol=1e-4)
        x, y, z = (camera_from_world @ np.c_[joints, np.ones(24)].T)[:3]
        pixels = np.array(facts["keypoints_px"])
        assert pixels.shape == (24, 3)
        assert np.allclose(pixels[:, 0], lens.fx * x / z + lens.cx, atol=0.05)
        assert np.allclose(pixels[:, 1], lens.fy * y / z + lens.cy, atol=0.05)
        assert set(pixels[:, 2]) <= {0, 1}
        assert pixels[:, 2].sum() >= 12


def test_depth_shows_the_body_at_its_visible_joints(rendered: simulated.Loop) -> None:
    camera_from_world = np.linalg.inv(np.array(rendered.info.world_from_camera))
    offsets = []
    for depth, meta in zip(rendered.depth, rendered.meta, strict=True):
        facts = json.loads(meta)
        z = (camera_from_world @ np.c_[facts["keypoints_m"], np.ones(24)].T)[2]
        for (u, v, visible), joint_z in zip(facts["keypoints_px"], z, strict=True):
            measured = depth[round(v), round(u)] / 1000 if visible else 0
            if measured:
                offsets.append(joint_z - measured)
    assert len(offsets) > 60
    # The skin lies in front of the joint by a limb's radius; noise at this distance is centimetres.
    assert -0.05 < np.median(offsets) < 0.15
    assert np.mean(np.abs(offsets) < 0.3) > 0.95


def test_depth_shows_the_mesh_of_the_told_pose_where_it_is(rendered: simulated.Loop) -> None:
    info = rendered.info
    lens = _stream(info, "depth").intrinsics
    assert lens is not None
    vertices = procedural_body().skin(*split_parameters(json.loads(rendered.meta[0])["pose"]))
    x, y, z = (np.linalg.inv(np.array(info.world_from_camera)) @ np.c_[vertices, np.ones(len(vertices))].T)[
        :3
    ]
    column = np.rint(lens.fx * x / z + lens.cx).astype(int)
    row = np.rint(lens.fy * y / z + lens.cy).astype(int)
    inside = (column >= 0) & (column < lens.width) & (row >= 0) & (row < lens.height)
    measured = rendered.depth[0][row[inside], column[inside]] / 1000
    # One leg hides the other; apart from that the front is nearer than the back by a body's depth.
    near = np.abs(measured - z[inside]) < 0.45
    assert near[measured > 0].mean() > 0.8


def test_the_colour_camera_sees_the_shirt_where_its_own_lens_and_place_put_it() -> None:
    size = StreamSpec(320, 240, 6.0)
    loop = render_loop(SimulatedSpec(depth=size, color=size, loop_s=1.0), color_format="bgr8")
    color = _stream(loop.info, "color")
    lens = color.intrinsics
    assert lens is not None
    world_from_color = np.array(loop.info.world_from_camera) @ np.array(color.camera_from_stream)
    chest = JOINT_NAMES.index("spine3")
    seen = []
    for picture, meta in zip(loop.color, loop.color_meta, strict=True):
        x, y, z = (np.linalg.inv(world_from_color) @ [*json.loads(meta)["keypoints_m"][chest], 1.0])[:3]
        row, column = round(lens.fy * y / z + lens.cy), round(lens.fx * x / z + lens.cx)
        seen.append(picture[row - 8 : row + 9, column - 1 : column + 2].reshape(-1, 3).mean(axis=0))
    blue, _, red = np.array(seen).T
    # Red with white stripes, or an arm in front of it.
    assert (red > 1.3 * blue).all()


def test_colour_is_a_jpeg_by_default_and_bgr_on_request() -> None:
    as_jpeg = render_loop(BOTH)
    as_bgr = render_loop(BOTH, color_format="bgr8")
    assert _stream(as_jpeg.info, "color").pixel_format == "jpeg"
    assert _stream(as_bgr.info, "color").pixel_format == "bgr8"
    assert as_bgr.color[0].shape == (120, 160, 3)
    assert as_jpeg.color[0].ndim == 1
    for file, picture in zip(as_jpeg.color, as_bgr.color, strict=True):
        decoded = cv2.imdecode(file, cv2.IMREAD_COLOR)
        assert np.abs(decoded.astype(int) - picture).mean() < 6
    assert as_bgr.color[0].std() > 20  # not a blank picture
    with pytest.raises(ValueError, match="jpeg or bgr8"):
        render_loop(BOTH, color_format="rgb8")


def test_streams_of_different_rates_stay_in_step() -> None:
    loop = render_loop(
        SimulatedSpec(depth=StreamSpec(64, 48, 30.0), color=StreamSpec(64, 48, 10.0), loop_s=0.4)
    )
    assert (len(loop.depth), len(loop.color)) == (12, 4)
    assert loop.color_meta == loop.meta[::3]
    same = render_loop(
        SimulatedSpec(depth=StreamSpec(64, 48, 30.0), color=StreamSpec(64, 48, 30.0), loop_s=0.1)
    )
    assert same.color_meta is same.meta
    uneven = render_loop(
        SimulatedSpec(depth=StreamSpec(64, 48, 15.0), color=StreamSpec(64, 48, 6.0), loop_s=0.4)
    )
    assert len(uneven.depth) * 6 == len(uneven.color) * 15
    only_color = render_loop(SimulatedSpec(color=StreamSpec(64, 48, 30.0), loop_s=0.1))
    assert only_color.depth == ()
    assert len(only_color.meta) == len(only_color.color) == 3
    assert only_color.info.streams[0].camera_from_stream is None


def test_progress_is_told_frame_by_frame_and_loops_are_read_only() -> None:
    told: list[tuple[int, int]] = []
    loop = render_loop(BOTH, progress=lambda done, total: told.append((done, total)))
    assert told == [(i, 6) for i in range(1, 7)]
    for array in (*loop.depth, *loop.color):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


# The rhythm


@pytest.mark.parametrize("fps", [30.0, 29.97, 6.0, 0.5, 300.0])
def test_metronome_ticks_never_drift_from_the_clock(fps: float) -> None:
    metronome = Metronome(exact_rate(fps))
    for tick in (1, 2, 1000, 108_000, 10**9):
        due = metronome.due_ns(tick)
        assert abs(due - tick * 1e9 / fps) <= max(2, due * 1e-6)
        assert metronome.latest(due) == tick
        assert metronome.latest(due - 1) == tick - 1


class Clock:
    """Stands in for the `time` of the simulated camera: sleeping takes no time and is exact."""

    def __init__(self) -> None:
        self.now_ns = 5_000_000_123

    def monotonic_ns(self) -> int:
        return self.now_ns

    def sleep(self, duration_s: float) -> None:
        assert duration_s > 0
        self.now_ns += round(duration_s * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stand_in = Clock()
    monkeypatch.setattr(simulated, "time", stand_in)
    return stand_in


def _collect(source: SimulatedSource, frames: int) -> list[Frame]:
    got: list[Frame] = []
    while len(got) < frames:
        arrived = source.read(1.0)
        assert arrived, "the camera stopped"
        got += arrived
    return got


def test_frames_come_numbered_from_one_at_their_due_times_and_repeat_the_loop(clock: Clock) -> None:
    source = SimulatedSource("cam", BOTH)
    with pytest.raises(CameraError, match="not open"):
        source.read(0.0)
    info = source.open()
    opened_ns = clock.now_ns
    frames = _collect(source, 30)
    source.close()
    source.close()
    assert frames == sorted(frames, key=lambda frame: frame.monotonic_ns)
    for name in ("depth", "color"):
        mine = [frame for frame in frames if frame.stream == name]
        fps = _stream(info, name).fps
        assert [frame.number for frame in mine] == list(range(1, 16))
        assert [frame.device_time_s for frame in mine] == [frame.number / fps for frame in mine]
        assert {frame.clock for frame in mine} == {"hardware"}
        due = np.array([frame.monotonic_ns for frame in mine])
        assert np.abs(np.diff(due) - 1e9 / fps).max() <= 1
        assert 0 < due[0] - opened_ns <= 1e9 / fps
        # Six frames make a loop: the seventh is the first again, and its neighbour is another one.
        assert mine[6].data is mine[0].data
        assert mine[6].meta == mine[0].meta
        assert not np.array_equal(mine[1].data, mine[0].data)
    assert clock.now_ns - frames[-1].monotonic_ns <= 2  # read when due, not later


def test_a_slow_reader_does_not_make_the_camera_drift(clock: Clock) -> None:
    source = SimulatedSource("cam", SimulatedSpec(depth=StreamSpec(64, 48, 100.0), loop_s=0.03))
    source.open()
    frames = []
    for _ in range(50):
        frames += source.read(1.0)
        clock.now_ns += 17_000_001
    assert [frame.number for frame in frames] == list(range(1, len(frames) + 1))
    assert frames[-1].monotonic_ns - frames[0].monotonic_ns == (len(frames) - 1) * 10_000_000


def test_a_late_reader_gets_32_frames_and_then_numbers_skip(clock: Clock) -> None:
    source = SimulatedSource("cam", SimulatedSpec(depth=StreamSpec(64, 48, 100.0), loop_s=0.03))
    source.open()
    assert [frame.number for frame in _collect(source, 1)] == [1]
    clock.now_ns += 320_000_000
    assert [frame.number for frame in source.read(0.0)] == list(range(2, 34))
    clock.now_ns += 2_000_000_000
    assert [frame.number for frame in source.read(0.0)] == list(range(202, 234))
    assert source.read(0.5)[0].number == 234


def test_a_timeout_gives_an_empty_list_after_the_time_it_was_given(clock: Clock) -> None:
    source = SimulatedSource("cam", SimulatedSpec(depth=StreamSpec(64, 48, 0.5), loop_s=0.1))
    source.open()
    _collect(source, 1)
    before_ns = clock.now_ns
    assert source.read(0.0) == []
    assert clock.now_ns == before_ns
    assert source.read(0.25) == []
    assert clock.now_ns - before_ns == 250_000_000
    assert [frame.number for frame in source.read(10.0)] == [2]


def test_two_cameras_see_the_same_person_at_the_same_moment(clock: Clock) -> None:
    sources = [
        SimulatedSource(f"cam{i}", SimulatedSpec(i, 2, StreamSpec(64, 48, 30.0), loop_s=0.3)) for i in (0, 1)
    ]
    for source in sources:
        source.open()
        clock.now_ns += 123_456_789  # they need not be opened at the same time
    told: list[dict[int, Any]] = []
    for source in sources:
        told.append({frame.monotonic_ns: json.loads(frame.meta) for frame in _collect(source, 10)})
    common = sorted(told[0].keys() & told[1].keys())
    assert len(common) >= 3
    for moment in common:
        a, b = told[0][moment], told[1][moment]
        assert a["pose"] == b["pose"]
        assert a["keypoints_px"] != b["keypoints_px"]


def test_reopening_starts_at_one_again(clock: Clock) -> None:
    source = SimulatedSource("cam", SimulatedSpec(depth=StreamSpec(64, 48, 60.0), loop_s=0.1))
    source.open()
    _collect(source, 4)
    source.close()
    with pytest.raises(CameraError, match="not open"):
        source.read(0.0)
    clock.now_ns += 1_000_000_000
    source.open()
    assert _collect(source, 1)[0].number == 1


def test_frames_arrive_on_the_real_clock_and_never_before_they_are_due() -> None:
    source = SimulatedSource("cam", SimulatedSpec(depth=StreamSpec(64, 48, 100.0), loop_s=0.03))
    source.open()
    for _ in range(5):
        for frame in source.read(10.0):
            assert frame.monotonic_ns <= time.monotonic_ns()
    source.close()


# Saying no


@pytest.mark.parametrize(
    ("spec", "error", "says"),
    [
        (SimulatedSpec(), CameraProfileError, "neither depth nor color"),
        (SimulatedSpec(index=2, count=2, depth=SMALL), CameraNotFoundError, "set index to 0 .. 1"),
        (SimulatedSpec(index=-1, depth=SMALL), CameraNotFoundError, "index -1"),
        (SimulatedSpec(depth=StreamSpec(848, 0, 30.0)), CameraProfileError, "848x0"),
        (SimulatedSpec(color=StreamSpec(8, 8, 30.0)), CameraProfileError, "32 to 4096"),
        (SimulatedSpec(depth=StreamSpec(64, 48, 1e6)), CameraProfileError, "0.1 to 300"),
        (SimulatedSpec(depth=StreamSpec(64, 48, -30.0)), CameraProfileError, "-30 fps"),
        (SimulatedSpec(depth=SMALL, loop_s=0.0), CameraProfileError, "loop_s"),
        (SimulatedSpec(depth=SMALL, loop_s=float("nan")), CameraProfileError, "loop_s"),
        (SimulatedSpec(depth=StreamSpec(), loop_s=1000.0), CameraProfileError, "does not fit in memory"),
        (
            SimulatedSpec(depth=StreamSpec(64, 48, 30.0), color=StreamSpec(64, 48, 29.97)),
            CameraProfileError,
            "simple multiples",
        ),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_one_line(
    spec: SimulatedSpec, error: type[CameraError], says: str
) -> None:
    source = SimulatedSource("cam", spec)
    with pytest.raises(error) as caught:
        source.open()
    assert says in str(caught.value)
    assert "camera cam" in str(caught.value)
    assert "\n" not in str(caught.value)
    source.close()


# Which source


def test_without_librealsense_the_plain_simulation_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrealsense2", None)  # as if it were not installed
    assert isinstance(make_simulated("cam", BOTH), SimulatedSource)
    spec = SimulatedSpec(depth=SMALL, through_realsense=True)
    with pytest.raises(MissingExtraError, match=r"\[realsense\]'"):
        make_simulated("cam", spec)


def test_the_detour_through_librealsense_can_be_declined() -> None:
    assert isinstance(
        make_simulated("cam", SimulatedSpec(depth=SMALL, through_realsense=False)), SimulatedSource
    )


@pytest.mark.skipif(util.find_spec("pyrealsense2") is None, reason="pyrealsense2 is not installed")
def test_with_librealsense_installed_frames_go_through_it() -> None:
    source = make_simulated("cam", BOTH)
    assert type(source).__name__ == "VirtualRealSenseSource"


def test_opening_imports_nothing_but_numpy_and_opencv() -> None:
    program = """
import sys
from capture.sources.simulated import make_simulated
from capture.specs import SimulatedSpec, StreamSpec
assert "cv2" not in sys.modules, "OpenCV is loaded before it is needed"
source = make_simulated("cam", SimulatedSpec(depth=StreamSpec(64, 48, 30.0), color=StreamSpec(64, 48, 30.0),
                                             through_realsense=False, loop_s=0.04))
source.open()
unwanted = {"pydantic", "pyrealsense2", "msgpack", "multiprocessing.managers", "capture.config"}
print(sorted(unwanted & set(sys.modules)))
"""
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
