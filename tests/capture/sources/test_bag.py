"""librealsense's own recordings, made here by its own recorder, played back through it."""

from __future__ import annotations

import gc
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyrealsense2", reason="pyrealsense2 is not installed", exc_type=ImportError)

import pyrealsense2 as rs
from virtual import (
    FPS,
    HEIGHT,
    WIDTH,
    are_the_ones_pushed,
    device_time_s,
    numbers,
    of,
    picture,
    push,
    stream,
    until_raises,
)

from capture.frames import Frame
from capture.sources import _bag, _bag_player
from capture.sources._bag import BagSource
from capture.sources._rs_sdk import sdk_version, start_into_queue
from capture.sources.virtual_realsense import VirtualD435
from capture.specs import PlaybackSpec
from codec.errors import (
    CameraError,
    CameraLostError,
    CameraNotFoundError,
    CameraProfileError,
    SourceEndedError,
)

WRITES_DB3 = sdk_version(rs) >= (2, 58)
SUFFIX = ".db3" if WRITES_DB3 else ".bag"
FRAMES = 60


def record(
    path: Path,
    frames: int,
    *,
    names: tuple[str, ...] = ("depth", "infrared1", "infrared2", "color"),
    size: tuple[int, int] = (WIDTH, HEIGHT),
    interval_s: float = 0.0,
) -> None:
    """Let librealsense record a virtual camera: every number but a gap at 20 to 29, colour at every second
    one."""
    camera = VirtualD435("111", [stream(name, *size) for name in names])
    recorder = rs.recorder(str(path), camera.device, True)
    queue = rs.frame_queue(1)
    sensors = recorder.query_sensors()
    for sensor in sensors:
        sensor.open(sensor.get_stream_profiles())
    for sensor in sensors:
        start_into_queue(rs, sensor, queue)
    for number in recorded_numbers(frames):
        metadata = {"actual_exposure": 100 + number}
        for name in names:
            if name != "color":
                push(camera, number, name, size=size, metadata=metadata)
            elif number % 2:
                push(camera, number, name, size=size)
        time.sleep(interval_s)
    for sensor in sensors:
        sensor.stop()
        sensor.close()
    # The file is finished when the last of these is gone.
    del sensor, sensors, recorder, camera
    gc.collect()


def recorded_numbers(frames: int) -> list[int]:
    return [number for number in range(1, frames + 1) if not 20 <= number < 30]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bag") / f"night{SUFFIX}"
    record(path, FRAMES)
    return path


@pytest.fixture
def copy(recording: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(recording, tmp_path / recording.name))


def source_of(path: Path, pace: str = "fast", *, loop: bool = False) -> BagSource:
    return BagSource("played", PlaybackSpec(str(path), pace=pace, loop=loop))


@pytest.fixture
def source(recording: Path) -> Iterator[BagSource]:
    source = source_of(recording)
    yield source
    source.close()


def played(source: BagSource, *, until: type[CameraError] = SourceEndedError) -> tuple[list[Frame], str]:
    """Every frame up to the end, and how that end is worded."""
    frames: list[Frame] = []
    while True:
        try:
            frames += source.read(1.0)
        except until as end:
            return frames, str(end)


def test_every_recorded_frame_comes_back_bit_for_bit(source: BagSource) -> None:
    source.open()
    frames, _ = played(source)
    for name in ("depth", "infrared1", "infrared2"):
        assert numbers(frames, name) == recorded_numbers(FRAMES)
    assert numbers(frames, "color") == [number for number in recorded_numbers(FRAMES) if number % 2]
    assert are_the_ones_pushed(frames)


def test_frames_have_the_recorded_clock_and_metadata(source: BagSource) -> None:
    source.open()
    for frame in of(played(source)[0], "depth"):
        assert frame.clock == "hardware"
        assert frame.device_time_s == pytest.approx(device_time_s(frame.number), abs=1e-6)
        assert json.loads(frame.meta)["exposure"] == 100 + frame.number


def test_camera_info_is_the_recorded_cameras(source: BagSource, recording: Path) -> None:
    info = source.open()
    assert (info.name, info.backend, info.model) == ("played", "playback", "Intel RealSense D435")
    assert (info.serial, info.firmware) == ("111", "5.17.0.10")
    assert info.can_wait
    assert info.options["file"] == str(recording)
    streams = {found.name: found for found in info.streams}
    assert set(streams) == {"depth", "infrared1", "infrared2", "color"}
    assert streams["depth"].depth_scale_m == pytest.approx(0.001)
    assert streams["depth"].focal_baseline_px_m == pytest.approx(40.5 * 0.050)
    assert streams["color"].focal_baseline_px_m is None
    assert (streams["color"].width, streams["color"].height, streams["color"].fps) == (WIDTH, HEIGHT, FPS)
    assert streams["depth"].intrinsics is not None
    assert streams["depth"].intrinsics.fx == pytest.approx(40.5)
    assert streams["color"].camera_from_stream is not None
    expected = stream("color").camera_from_stream
    assert expected is not None
    assert np.allclose(streams["color"].camera_from_stream, expected, atol=1e-6)


def test_slow_reader_gets_every_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"x{SUFFIX}"
    record(path, FRAMES, names=("depth",))
    monkeypatch.setattr(_bag, "_MOST_PER_READ", 1)
    monkeypatch.setattr(_bag_player, "_MOST_QUEUED", 8)
    source = source_of(path)
    source.open()
    time.sleep(0.2)  # the library fills its queue and has to wait
    frames, _ = played(source)
    source.close()
    assert numbers(frames, "depth") == recorded_numbers(FRAMES)
    assert are_the_ones_pushed(frames)


def test_player_that_is_waiting_for_us_can_be_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"x{SUFFIX}"
    record(path, FRAMES, names=("depth",))
    monkeypatch.setattr(_bag_player, "_MOST_QUEUED", 8)
    source = source_of(path)
    source.open()
    time.sleep(0.2)
    source.close()
    assert source.open().serial == "111"
    source.close()


def test_loop_counts_numbers_and_times_on(recording: Path) -> None:
    source = source_of(recording, loop=True)
    source.open()
    frames: list[Frame] = []
    while len(of(frames, "depth")) < 2.5 * len(recorded_numbers(FRAMES)):
        frames += source.read(1.0)
    source.close()
    depth = of(frames, "depth")
    length = len(recorded_numbers(FRAMES))
    assert [frame.number for frame in depth[: 2 * length]] == [
        number + again for again in (0, FRAMES) for number in recorded_numbers(FRAMES)
    ]
    times = np.array([frame.device_time_s for frame in depth])
    assert times[length] - times[length - 1] == pytest.approx(1 / FPS, abs=1e-3)
    assert (np.diff(times) > 0).all()
    assert np.array_equal(depth[length + 3].data, picture("depth", 4))


def test_realtime_plays_every_frame_and_none_before_its_time(recording: Path) -> None:
    source = source_of(recording, "realtime")
    source.open()
    began_ns = time.monotonic_ns()
    frames: list[Frame] = []
    while len(of(frames, "depth")) < 15:
        frames += source.read(0.2)
    source.close()
    for frame in frames:
        waited_s = (frame.monotonic_ns - began_ns) / 1e9
        assert waited_s > device_time_s(frame.number) - device_time_s(1) - 0.001
    assert numbers(frames, "depth")[:15] == list(range(1, 16))
    assert are_the_ones_pushed(frames)


def test_closing_in_the_middle_and_opening_again_starts_at_the_beginning(source: BagSource) -> None:
    for _ in range(3):
        source.open()
        assert source.read(5.0)[0].number == 1
        source.close()
    source.close()
    with pytest.raises(CameraLostError, match="not open"):
        source.read(0.0)


def test_end_stays_the_end(source: BagSource) -> None:
    source.open()
    assert "played to its end" in played(source)[1]
    with pytest.raises(SourceEndedError):
        source.read(0.0)


# ---- files that are not right ----


def test_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CameraNotFoundError, match=r"no recording .*gone\.bag"):
        source_of(tmp_path / "gone.bag").open()


@pytest.mark.parametrize("suffix", [".bag", ".db3"])
@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"hello" * 100, "is no librealsense recording")]
)
def test_file_that_is_no_recording_is_told_from_a_damaged_one(
    tmp_path: Path, suffix: str, content: bytes, message: str
) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(CameraProfileError, match=message) as raised:
        source_of(path).open()
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_truncated_recording_says_so_in_one_line(copy: Path, kept: float) -> None:
    data = copy.read_bytes()
    copy.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(CameraProfileError, match="cut short") as raised:
        source_of(copy).open()
    assert str(copy) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_bag_under_a_wrong_name_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "x.db3"
    path.write_bytes(b"#ROSBAG V2.0\n" + bytes(100))
    with pytest.raises(CameraProfileError, match=r"rename it to \.bag"):
        source_of(path).open()


def test_library_too_old_for_db3_says_which_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.db3"
    sqlite3.connect(path).execute("create table t (x)").connection.close()
    monkeypatch.setattr(_bag, "sdk_version", lambda _: (2, 57, 7))
    with pytest.raises(CameraProfileError, match=r"2\.58 and later, this is 2\.57\.7"):
        source_of(path).open()


def test_reading_that_stops_before_the_end_of_the_file_is_damage_not_an_end(
    source: BagSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_bag, "_END_SLACK_S", -1e9)  # as if the file went on
    source.open()
    frames, end = played(source, until=CameraError)
    assert "is damaged: librealsense stopped reading after" in end
    assert numbers(frames, "depth") == recorded_numbers(FRAMES)


def test_recording_damaged_in_the_middle_says_so_and_gives_every_frame_that_is_whole(
    tmp_path: Path,
) -> None:
    path = tmp_path / f"x{SUFFIX}"
    record(path, 60, size=(160, 120), interval_s=0.03)
    damage(path)
    source = source_of(path)
    source.open()
    frames, end = played(source, until=CameraError)
    assert "is damaged" in end
    assert set(numbers(frames, "depth")) < set(recorded_numbers(60))
    assert numbers(frames, "depth")[:5] == [1, 2, 3, 4, 5]
    assert are_the_ones_pushed(frames)


def damage(path: Path) -> None:
    """Make a third of the way in unreadable, and nothing that the file needs to be opened."""
    if not WRITES_DB3:
        data = bytearray(path.read_bytes())
        third = len(data) // 3
        data[third : third + 10_000] = bytes(10_000)
        path.write_bytes(data)
        return
    with closing(sqlite3.connect(path)) as database:
        pictures = database.execute(
            "select messages.id from messages join topics on topics.id = messages.topic_id"
            " where topics.name like '%/image/data%' order by timestamp"
        ).fetchall()
        database.execute("update messages set data = ? where id = ?", (bytes(100), *pictures[60]))
        database.commit()


def test_library_keeps_off_the_terminal(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = source_of(copy)
    source.open()
    until_raises(source, SourceEndedError)
    source.close()
    copy.write_bytes(copy.read_bytes()[: copy.stat().st_size // 2])
    with pytest.raises(CameraProfileError):
        source.open()
    assert capfd.readouterr() == ("", "")
