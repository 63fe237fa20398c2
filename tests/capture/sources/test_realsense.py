"""RealSenseSource against virtual cameras that go through the real librealsense."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyrealsense2", reason="pyrealsense2 is not installed", exc_type=ImportError)

import pyrealsense2 as rs
from virtual import (
    COLOR_PLACE,
    FPS,
    HEIGHT,
    WIDTH,
    are_the_ones_pushed,
    device_time_s,
    drained,
    numbers,
    of,
    picture,
    plugged,
    push,
    source_of,
    stream,
    until_raises,
)

from capture.frames import Frame
from capture.sources import _rs_sdk, realsense
from capture.sources._rs_frames import CLOCK_PERIOD_S
from capture.sources._rs_sdk import UnloadableSdkError, explained, start_into_queue
from capture.sources.realsense import RealSenseSource, list_realsense
from capture.sources.virtual_realsense import VirtualBus, VirtualD435
from capture.specs import RealSenseSpec, StreamSpec
from codec.errors import (
    CameraBusyError,
    CameraError,
    CameraLostError,
    CameraNotFoundError,
    CameraProfileError,
    ConfigError,
    MissingExtraError,
)


@pytest.fixture
def bus() -> VirtualBus:
    return VirtualBus()


@pytest.fixture
def camera(bus: VirtualBus) -> VirtualD435:
    return plugged(bus, "111")


@pytest.fixture
def source(bus: VirtualBus, camera: VirtualD435) -> Iterator[RealSenseSource]:
    source = source_of(bus, "111")
    yield source
    source.close()


# ---- frames ----


def test_two_cameras_by_serial_give_back_every_frame_bit_for_bit(bus: VirtualBus) -> None:
    cameras = {serial: plugged(bus, serial) for serial in ("111", "222")}
    sources = {serial: source_of(bus, serial) for serial in cameras}
    for serial, source in sources.items():
        assert source.open().serial == serial
        cameras[serial].bound_pool()
    got: dict[str, list[Frame]] = {serial: [] for serial in cameras}
    for first in range(1, 61, 10):
        for number in range(first, first + 10):
            for offset, camera in enumerate(cameras.values()):
                push(camera, number + 100 * offset)
        for serial, source in sources.items():
            got[serial] += drained(source)
    for offset, serial in enumerate(cameras):
        for name in ("depth", "color"):
            expected = [number + 100 * offset for number in range(1, 61)]
            assert numbers(got[serial], name) == expected
        assert are_the_ones_pushed(got[serial])
        sources[serial].close()


def test_frames_carry_the_devices_clock_in_seconds_and_the_hosts_at_arrival(
    source: RealSenseSource, camera: VirtualD435
) -> None:
    source.open()
    before_ns = time.monotonic_ns()
    push(camera, 7)
    depth, color = drained(source)
    assert depth.clock == color.clock == "hardware"
    assert depth.device_time_s == pytest.approx(device_time_s(7))
    assert before_ns <= depth.monotonic_ns <= time.monotonic_ns()


@pytest.mark.parametrize(
    ("domain", "clock"),
    [("hardware_clock", "hardware"), ("system_time", "system"), ("global_time", "global")],
)
def test_clock_is_named_after_the_timestamp_domain(
    source: RealSenseSource, camera: VirtualD435, domain: str, clock: str
) -> None:
    source.open()
    push(camera, 1, domain=domain)
    assert {frame.clock for frame in drained(source)} == {clock}


def test_meta_holds_the_metadata_the_stream_has_and_no_other(
    source: RealSenseSource, camera: VirtualD435
) -> None:
    source.open()
    values = {"actual_exposure": 8500, "gain_level": 16, "frame_laser_power": 150, "sensor_timestamp": 123456}
    push(camera, 1, "depth", metadata=values)
    push(camera, 1, "color")
    depth, color = drained(source)
    assert json.loads(depth.meta) == {
        "exposure": 8500,
        "gain": 16,
        "laser_power": 150,
        "sensor_timestamp_us": 123456,
    }
    assert color.meta == b""


def test_dead_color_never_stops_depth(source: RealSenseSource, camera: VirtualD435) -> None:
    source.open()
    for number in range(1, 31):
        push(camera, number, "depth")
    frames = drained(source)
    assert numbers(frames, "depth") == list(range(1, 31))
    assert numbers(frames, "color") == []


def test_color_at_half_the_rate_loses_nothing(source: RealSenseSource, camera: VirtualD435) -> None:
    source.open()
    for number in range(1, 41):
        push(camera, number, "depth")
        if number % 2:
            push(camera, (number + 1) // 2, "color")
    frames = drained(source)
    assert numbers(frames, "depth") == list(range(1, 41))
    assert numbers(frames, "color") == list(range(1, 21))


def test_stale_color_is_delivered_once(source: RealSenseSource, camera: VirtualD435) -> None:
    source.open()
    for number in range(1, 11):
        push(camera, number, "depth")
        push(camera, min(number, 4), "color")
    frames = drained(source)
    assert numbers(frames, "depth") == list(range(1, 11))
    assert numbers(frames, "color") == [1, 2, 3, 4]


def test_old_pictures_shown_again_in_turn_are_not_new_ones(
    source: RealSenseSource, camera: VirtualD435
) -> None:
    source.open()
    for number in (1, 2, 3, 2, 3, 2, 3, 4):
        push(camera, number, "depth")
    assert numbers(drained(source), "depth") == [1, 2, 3, 4]


def test_number_gap_passes_through_as_a_gap(source: RealSenseSource, camera: VirtualD435) -> None:
    source.open()
    for number in (1, 2, 9, 10):
        push(camera, number)
    assert numbers(drained(source), "depth") == [1, 2, 9, 10]


def test_counter_that_begins_anew_is_counted_on(source: RealSenseSource, camera: VirtualD435) -> None:
    source.open()
    for number in (500, 501, 502):
        push(camera, number, "depth")
    for number in (1, 2, 3):
        push(camera, number, "depth")
    frames = of(drained(source), "depth")
    assert [frame.number for frame in frames] == [500, 501, 502, 503, 504, 505]
    assert [b"counter_restarted" in frame.meta for frame in frames] == [False] * 3 + [True] + [False] * 2
    times = [frame.device_time_s for frame in frames]
    assert times == sorted(times)
    assert np.array_equal(frames[3].data, picture("depth", 1))


def test_hardware_clock_goes_on_across_its_wrap(source: RealSenseSource, camera: VirtualD435) -> None:
    source.open()
    start_s = CLOCK_PERIOD_S - 3.5 / FPS
    for number in range(1, 9):
        # Depth is ahead by a third of a frame and wraps before colour does.
        push(camera, number, "depth", time_s=(start_s + (number + 0.3) / FPS) % CLOCK_PERIOD_S)
        push(camera, number, "color", time_s=(start_s + number / FPS) % CLOCK_PERIOD_S)
    frames = drained(source)
    for name, ahead in (("depth", 0.3), ("color", 0.0)):
        times = [frame.device_time_s for frame in of(frames, name)]
        assert times == pytest.approx([start_s + (number + ahead) / FPS for number in range(1, 9)])


def test_stream_that_begins_just_after_the_wrap_is_on_the_others_clock(
    source: RealSenseSource, camera: VirtualD435
) -> None:
    source.open()
    push(camera, 1, "depth", time_s=CLOCK_PERIOD_S - 0.01)
    push(camera, 1, "color", time_s=0.01)
    depth, color = drained(source)
    assert depth.device_time_s is not None
    assert color.device_time_s == pytest.approx(depth.device_time_s + 0.02)


def test_slow_reader_loses_nothing_while_the_queue_suffices(
    source: RealSenseSource, camera: VirtualD435
) -> None:
    source.open()
    camera.bound_pool()  # 16 frames per sensor, as hardware has; the queue holds more
    for number in range(1, 33):
        push(camera, number)
    frames = drained(source)
    assert numbers(frames, "depth") == numbers(frames, "color") == list(range(1, 33))
    assert are_the_ones_pushed(frames)


def test_frames_that_are_kept_do_not_starve_the_camera(source: RealSenseSource, camera: VirtualD435) -> None:
    source.open()
    camera.bound_pool()
    kept = []
    for number in range(1, 41):
        push(camera, number, "depth")
        kept += source.read(0.05)  # the views themselves, not copies
    assert numbers(kept, "depth") == list(range(1, 41))
    assert are_the_ones_pushed(kept)


def test_more_frames_than_one_read_returns_wait_for_the_next(
    source: RealSenseSource, camera: VirtualD435, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.open()
    monkeypatch.setattr(realsense, "_QUEUED_FRAMES", 8)
    for number in range(1, 21):
        push(camera, number, "depth")
    reads = [numbers(source.read(0.05), "depth") for _ in range(4)]
    assert reads == [list(range(1, 9)), list(range(9, 17)), list(range(17, 21)), []]


def test_queue_that_overflows_shows_as_a_gap_in_the_numbers(
    source: RealSenseSource, camera: VirtualD435
) -> None:
    source.open()
    for number in range(1, 101):
        push(camera, number, "depth")
    left = numbers(drained(source), "depth")
    assert left == list(range(101 - len(left), 101))
    assert len(left) >= 64


def test_both_infrared_sensors_are_streams_of_their_own(bus: VirtualBus) -> None:
    names = ("depth", "infrared1", "infrared2")
    camera = plugged(bus, "111", *names)
    source = source_of(bus, depth=StreamSpec(), infrared=StreamSpec(), infrared_sensors=(1, 2))
    info = source.open()
    assert [s.name for s in info.streams] == list(names)
    assert [s.pixel_format for s in info.streams] == ["z16", "y8", "y8"]
    for number in range(1, 11):
        push(camera, number, *names)
    frames = drained(source)
    assert all(numbers(frames, name) == list(range(1, 11)) for name in names)
    assert are_the_ones_pushed(frames)
    source.close()


@pytest.mark.parametrize(("factor", "width", "height"), [(2, 212, 120), (3, 144, 80), (7, 60, 36)])
def test_decimated_depth_has_its_true_size_and_lens(
    bus: VirtualBus, factor: int, width: int, height: int
) -> None:
    camera = VirtualD435("111", [stream("depth", 424, 240)])
    bus.plug(camera)
    source = source_of(bus, depth=StreamSpec(), decimation=factor)
    (info,) = source.open().streams
    camera.bound_pool()
    for number in range(1, 25):  # more than the pool of the filter holds
        pixels = np.full((240, 424), 1000 + number, np.uint16)
        camera.push("depth", pixels, number=number, time_s=device_time_s(number))
    frames = source.read(0.05)
    assert [frame.number for frame in frames] == list(range(1, 25))
    assert {frame.data.shape for frame in frames} == {(height, width)} == {(info.height, info.width)}
    assert [frame.data[10, 10] for frame in frames] == [1000 + number for number in range(1, 25)]
    source.close()
    lens = lens_of_the_filter(bus, camera, factor)
    assert info.intrinsics is not None
    assert (info.intrinsics.width, info.intrinsics.height) == (lens.width, lens.height)
    mine = (info.intrinsics.fx, info.intrinsics.fy, info.intrinsics.cx, info.intrinsics.cy)
    assert mine == pytest.approx((lens.fx, lens.fy, lens.ppx, lens.ppy))


def lens_of_the_filter(bus: VirtualBus, camera: VirtualD435, factor: int) -> Any:
    """What librealsense itself says of a frame it has decimated."""
    queue = rs.frame_queue(1)
    sensor = bus.context.query_devices()[0].query_sensors()[0]
    sensor.open(sensor.get_stream_profiles()[0])
    start_into_queue(rs, sensor, queue)
    camera.push("depth", np.zeros((240, 424), np.uint16), number=1, time_s=0.0)
    frame = rs.decimation_filter(factor).process(queue.wait_for_frame(1000))
    sensor.stop()
    sensor.close()
    return frame.get_profile().as_video_stream_profile().get_intrinsics()


# ---- what the camera says of itself ----


def test_camera_info_tells_everything_a_reader_needs(source: RealSenseSource) -> None:
    info = source.open()
    assert (info.name, info.backend, info.model) == ("cam", "realsense", "Intel RealSense D435")
    assert (info.serial, info.firmware, info.usb_type) == ("111", "5.17.0.10", "3.2")
    depth, color = info.streams
    assert depth.depth_scale_m == pytest.approx(0.001)
    assert color.depth_scale_m is None
    assert depth.focal_baseline_px_m == pytest.approx(40.5 * 0.050)
    assert color.focal_baseline_px_m is None
    assert depth.intrinsics == stream("depth").intrinsics
    assert depth.camera_from_stream is not None
    assert np.array_equal(depth.camera_from_stream, np.eye(4))
    assert color.camera_from_stream is not None
    assert np.allclose(color.camera_from_stream, COLOR_PLACE)
    assert (depth.width, depth.height, depth.fps) == (WIDTH, HEIGHT, FPS)
    assert not info.can_wait


def test_connected_cameras_are_listed_as_plain_data(bus: VirtualBus) -> None:
    plugged(bus, "222")
    plugged(bus, "111", "depth", "infrared1")
    first, second = list_realsense(bus.context)
    assert json.loads(json.dumps(first)) == first
    assert (first["serial"], second["serial"]) == ("111", "222")
    assert first["name"] == "Intel RealSense D435"
    assert {"stream": "infrared1", "width": WIDTH, "height": HEIGHT, "fps": 30} in first["profiles"]


def test_no_camera_is_an_empty_list(bus: VirtualBus) -> None:
    assert list_realsense(bus.context) == []


# ---- opening ----


def test_absent_serial_fails_at_once_and_names_those_present(
    bus: VirtualBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugged(bus, "111")
    plugged(bus, "222")
    # Starting a pipeline for an absent serial waits 15 s, so none may be made.
    monkeypatch.setattr(rs, "pipeline", None)
    with pytest.raises(CameraNotFoundError, match=r"cam: .*serial 333.*present: 111, 222"):
        source_of(bus, "333").open()


def test_no_camera_at_all_is_not_found(bus: VirtualBus) -> None:
    with pytest.raises(CameraNotFoundError, match="no RealSense camera is connected"):
        source_of(bus).open()


def test_device_that_has_just_left_is_no_camera(bus: VirtualBus) -> None:
    leaving = plugged(bus, "111")
    held = bus._plugged["111"][1]  # the library still lists it while somebody holds this
    bus.unplug(leaving)
    del leaving
    assert held
    with pytest.raises(CameraNotFoundError):
        source_of(bus).open()


def test_without_a_serial_the_first_free_camera_is_taken(bus: VirtualBus) -> None:
    plugged(bus, "222")
    plugged(bus, "111")
    first, second, third = (source_of(bus) for _ in range(3))
    assert first.open().serial == "111"
    assert second.open().serial == "222"
    with pytest.raises(CameraBusyError, match="2 RealSense cameras"):
        third.open()
    first.close()
    assert third.open().serial == "111"
    second.close()
    third.close()


def test_camera_in_use_is_busy(bus: VirtualBus, source: RealSenseSource) -> None:
    source.open()
    with pytest.raises(CameraBusyError, match="111"):
        source_of(bus, "111").open()
    assert source.read(0.0) == []


def test_wrong_profile_names_the_wish_and_the_nearest(bus: VirtualBus) -> None:
    sizes = ((848, 480, 30), (640, 480, 30), (1280, 720, 30), (640, 480, 60), (424, 240, 90))
    bus.plug(VirtualD435("111", [stream("depth", *size) for size in sizes]))
    with pytest.raises(
        CameraProfileError, match=r"depth profile 640x480@90; the nearest ones: 640x480@60, .*848x480@30"
    ):
        source_of(bus, depth=StreamSpec(640, 480, 90)).open()


def test_what_is_left_open_is_the_cameras_choice(bus: VirtualBus) -> None:
    sizes = ((848, 480, 30), (640, 480, 30), (640, 480, 60))
    streams = [stream("depth", *size) for size in sizes] + [stream("infrared1", *size) for size in sizes]
    bus.plug(VirtualD435("111", streams))
    for wish, size in (
        (StreamSpec(), (848, 480, 30)),
        (StreamSpec(fps=60), (640, 480, 60)),
        (StreamSpec(640, 480), (640, 480, 30)),
    ):
        source = source_of(bus, depth=wish, infrared=StreamSpec())
        # Infrared comes from the same sensor, which has one size and one rate.
        for info in source.open().streams:
            assert (info.width, info.height, info.fps) == size
        source.close()


def test_stream_the_camera_has_not_is_named(bus: VirtualBus) -> None:
    plugged(bus, "111", "depth")
    with pytest.raises(CameraProfileError, match="no color stream"):
        source_of(bus).open()


def test_no_stream_at_all_is_a_config_error(bus: VirtualBus, camera: VirtualD435) -> None:
    with pytest.raises(ConfigError, match="set depth, color or infrared"):
        RealSenseSource("cam", RealSenseSpec(), context=bus.context).open()


def test_failed_open_leaves_the_camera_free(bus: VirtualBus, camera: VirtualD435) -> None:
    busy = camera.device.query_sensors()[1]
    busy.open(busy.get_stream_profiles()[0])  # colour is taken, depth is not
    with pytest.raises(CameraBusyError):
        source_of(bus, "111").open()
    busy.close()
    source = source_of(bus, "111")
    source.open()
    source.close()


# ---- losing it, and having it back ----


def test_pulled_camera_is_lost_and_streams_again_when_replugged(
    bus: VirtualBus, source: RealSenseSource, camera: VirtualD435
) -> None:
    other = plugged(bus, "222")
    bystander = source_of(bus, "222")
    bystander.open()
    source.open()
    push(camera, 1)
    assert numbers(drained(source), "depth") == [1]
    push(camera, 2)
    bus.unplug(camera)
    # What had arrived is still delivered, then comes the loss.
    assert numbers(drained(source), "depth") == [2]
    assert "unplugged" in str(until_raises(source, CameraLostError))
    source.close()
    with pytest.raises(CameraNotFoundError):
        source.open()
    bus.plug(camera)
    source.open()
    for number in range(1, 6):  # the counter of a replugged camera begins anew
        push(camera, number)
        push(other, number)
    frames = drained(source)
    assert numbers(frames, "depth") == numbers(frames, "color") == [1, 2, 3, 4, 5]
    assert are_the_ones_pushed(frames)
    assert numbers(drained(bystander), "depth") == [1, 2, 3, 4, 5]
    bystander.close()


def test_silent_camera_is_not_lost(source: RealSenseSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realsense, "_SILENCE_S", 0.0)
    source.open()
    assert [source.read(0.01) for _ in range(5)] == [[]] * 5


def test_closing_twice_and_reading_when_closed(source: RealSenseSource) -> None:
    source.close()
    source.open()
    source.close()
    source.close()
    with pytest.raises(CameraLostError, match="not open"):
        source.read(0.0)


def test_mute_camera_that_cannot_be_reset_is_survived(
    source: RealSenseSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realsense, "_MUTE_S", 0.0)
    source.open()
    source.close()  # software devices raise RuntimeError for hardware_reset
    source.open()


@pytest.mark.parametrize("sound_sensors", [0, 1])
def test_camera_that_does_not_open_is_reset_when_it_is_closed_and_not_before(
    bus: VirtualBus, camera: VirtualD435, monkeypatch: pytest.MonkeyPatch, sound_sensors: int
) -> None:
    resets: list[Any] = []
    start, left = realsense.start_into_queue, iter(range(sound_sensors))

    def start_or_not(*arguments: Any) -> None:
        if next(left, None) is None:
            raise RuntimeError("frozen")
        start(*arguments)

    monkeypatch.setattr(realsense, "_reset", resets.append)
    monkeypatch.setattr(realsense, "start_into_queue", start_or_not)
    source = source_of(bus, camera.serial)
    with pytest.raises(CameraError, match="frozen; it is told to reset itself"):
        source.open()
    assert resets == []  # a reset may hang, and an opening is given time
    source.close()
    source.close()
    assert len(resets) == 1


# ---- options ----


def open_with(bus: VirtualBus, **wishes: object) -> dict[str, float | int | str | bool]:
    source = source_of(bus, depth=StreamSpec(), color=StreamSpec(), **wishes)
    try:
        return source.open().options
    finally:
        source.close()


def test_options_are_set_and_read_back(bus: VirtualBus, camera: VirtualD435) -> None:
    options = open_with(
        bus,
        options={"laser-power": 240, "inter_cam_sync_mode": 1, "Global-Time-Enabled": 1},
        color_options={"white_balance": 5000},
    )
    assert options["laser_power"] == 240
    assert options["inter_cam_sync_mode"] == 1
    assert options["global_time_enabled"] == 1
    assert options["color_white_balance"] == 5000
    assert options["color_enable_auto_white_balance"] == 0


def test_setting_exposure_switches_auto_exposure_off_and_says_so(
    bus: VirtualBus, camera: VirtualD435
) -> None:
    assert open_with(bus)["enable_auto_exposure"] == 1
    options = open_with(bus, options={"exposure": 12000})
    assert (options["exposure"], options["enable_auto_exposure"]) == (12000, 0)
    assert "exposure is set by hand" in str(options["note"])


def test_exposure_together_with_auto_exposure_is_refused(bus: VirtualBus, camera: VirtualD435) -> None:
    with pytest.raises(ConfigError, match="no effect with enable_auto_exposure"):
        open_with(bus, options={"exposure": 12000, "enable_auto_exposure": 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"laser_pwoer": 100}, r"options\.laser_pwoer: there is no such option; did you mean laser_power"),
        ({"white_balance": 5000}, "there is no such option on this sensor"),
        ({"laser_power": 400}, r"options\.laser_power = 400: it must be 0 to 360 in steps of 30"),
        ({"laser_power": 31}, r"options\.laser_power = 31: it must be 0 to 360 in steps of 30"),
        ({"laser_power": float("nan")}, "it must be 0 to 360"),
        ({"depth_units": 0.0001}, "can only be read"),
    ],
)
def test_wrong_option_is_named_with_what_would_be_right(
    bus: VirtualBus, camera: VirtualD435, options: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        open_with(bus, options=options)


def test_color_options_without_a_color_sensor_are_refused(bus: VirtualBus) -> None:
    plugged(bus, "111", "depth")
    with pytest.raises(ConfigError, match="color sensor"):
        source_of(bus, depth=StreamSpec(), color_options={"exposure": 100}).open()


def test_preset_goes_by_name_and_before_the_options(bus: VirtualBus, camera: VirtualD435) -> None:
    value = int(rs.rs400_visual_preset.high_accuracy)
    for name in ("High Accuracy", "high-accuracy", "high_accuracy"):
        assert open_with(bus, visual_preset=name)["visual_preset"] == value
    with pytest.raises(ConfigError, match="did you mean 'High Accuracy'"):
        open_with(bus, visual_preset="High Acuracy")


# ---- the library itself ----


def test_frames_reach_the_queue_without_touching_python(
    bus: VirtualBus, camera: VirtualD435, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = rs.frame_queue(8, keep_frames=True)
    sensor = bus.context.query_devices()[0].query_sensors()[0]
    sensor.open(sensor.get_stream_profiles()[0])
    start_into_queue(rs, sensor, queue)
    calls: list[object] = []
    monkeypatch.setattr(rs.frame_queue, "__call__", lambda *arguments: calls.append(arguments))
    push(camera, 1, "depth")
    sensor.stop()
    sensor.close()
    assert queue.size() == 1
    assert calls == []


def test_start_leaves_the_binding_as_it_was(bus: VirtualBus, camera: VirtualD435) -> None:
    before = rs.frame_queue.__call__
    sensor = bus.context.query_devices()[0].query_sensors()[0]
    with pytest.raises(RuntimeError):
        start_into_queue(rs, sensor, rs.frame_queue(8))  # it was not opened
    assert rs.frame_queue.__call__ is before


def test_library_keeps_off_the_terminal(
    bus: VirtualBus, source: RealSenseSource, camera: VirtualD435, capfd: pytest.CaptureFixture[str]
) -> None:
    source.open()
    with pytest.raises(CameraBusyError):
        source_of(bus, "111").open()
    push(camera, 1)
    drained(source)
    bus.unplug(camera)
    until_raises(source, CameraLostError)
    source.close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        (
            "xioctl(VIDIOC_S_FMT) failed, errno=16 Last Error: Device or resource busy",
            CameraBusyError,
            "fuser",
        ),
        ("failed to open usb interface: 0, error: RS2_USB_STATUS_ACCESS", CameraError, "udev"),
        ("xioctl(VIDIOC_STREAMON) failed, errno=28 No space left on device", CameraError, "bandwidth"),
        ("Couldn't resolve requests", CameraProfileError, "together"),
        ("xioctl(VIDIOC_QBUF) failed, errno=19 Last Error: No such device", CameraLostError, "unplugged"),
        ("something\nnew", CameraError, "cannot open it: something new"),
    ],
)
def test_what_the_library_says_is_explained_in_one_line(
    words: str, kind: type[CameraError], message: str
) -> None:
    error = explained("cam", "open it", RuntimeError(words))
    assert type(error) is kind
    assert message in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("libusb-1.0.so.0: cannot open shared object file", "apt-get install -y .*libusb-1.0-0"),
        ("libm.so.6: version `GLIBC_2.38' not found (required by …)", "GLIBC_2.38.*uv venv -p 3.10"),
        ("undefined symbol: x", "does not load: undefined symbol"),
    ],
)
def test_sdk_that_does_not_load_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, words: str, advice: str
) -> None:
    def fail(name: str) -> object:
        raise ImportError(words)

    monkeypatch.setattr("capture.sources._rs_sdk.importlib.import_module", fail)
    with pytest.raises(UnloadableSdkError, match=advice) as raised:
        list_realsense()
    assert isinstance(raised.value, MissingExtraError)


def test_absent_sdk_names_the_extra(monkeypatch: pytest.MonkeyPatch, bus: VirtualBus) -> None:
    monkeypatch.setitem(sys.modules, "pyrealsense2", None)
    with pytest.raises(MissingExtraError, match=r"pip install -e '.*\[realsense\]'"):
        source_of(bus, "111").open()


def test_a_fact_of_a_recording_that_is_no_text_is_not_known() -> None:
    class Device:
        def supports(self, _: object) -> bool:
            return True

        def get_info(self, _: object) -> str:
            return b"Intel \xe3".decode()

    assert _rs_sdk.info(rs, Device(), "name") == ""
