"""Webcams through OpenCV's own V4L2 back end, on a camera in user space (fakev4l2.c) in a child process."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture.sources import _cv_v4l2
from capture.sources._cv_losses import LossCounter
from capture.sources._cv_quiet import cv2

ROOT = Path(__file__).parents[3]
FPS = 60
FRAMES = 200

needs_fake = pytest.mark.skipif(
    shutil.which("gcc") is None or sys.platform != "linux" or struct.calcsize("P") != 8,
    reason="the user-space webcam needs gcc and 64-bit Linux",
)

# What every child begins with: opens nothing yet; `say` hands its result back.
PRELUDE = """
import json, os, sys, time
from pathlib import Path
from capture.sources.opencv import OpenCVSource, list_webcams
from capture.specs import OpenCVSpec, StreamSpec
from codec.errors import CameraError

DEVICE = os.environ["FAKEV4L2_DEVICE"]
frames = []

def make(width=160, height=120, fps=60.0, device=DEVICE, **settings):
    return OpenCVSource("cam", OpenCVSpec(device, StreamSpec(width, height, fps), **settings))

def collect(source, count):
    while len(frames) < count:
        for f in source.read(2.0):
            data = f.data.tobytes().hex()
            frames.append((f.number, data, f.data.shape, f.device_time_s, f.clock, f.monotonic_ns))

def misbehave(how):
    Path(f"{os.environ['FAKEV4L2_CONTROL']}.{how}").touch()

def behave(how):
    Path(f"{os.environ['FAKEV4L2_CONTROL']}.{how}").unlink()

def error_of(action):
    try:
        action()
    except CameraError as error:
        return [type(error).__name__, str(error)]

def say(**result):
    print(json.dumps(result))
"""


class FakeWebcam:
    """The compiled camera and its pictures; runs scripts that see it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.library = folder / "fakev4l2.so"
        source = Path(__file__).with_name("fakev4l2.c")
        command = [
            "gcc",
            "-shared",
            "-fPIC",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-o",
            self.library,
            source,
        ]
        subprocess.run([*map(str, command), "-ldl", "-lpthread"], check=True)
        rng = np.random.default_rng(7)
        self.jpegs = []
        for number in range(FRAMES):
            image = np.full((120, 160, 3), number % 251, np.uint8)
            image[:40] = rng.integers(0, 255, (40, 160, 3), np.uint8)
            self.jpegs.append(cv2.imencode(".jpg", image)[1].tobytes())
        packed = [struct.pack("<I", len(data)) + data for data in self.jpegs]
        (folder / "frames.bin").write_bytes(b"".join(packed))

    def run(self, script: str, **settings: str) -> dict[str, Any]:
        control = self.folder / "control"
        for left in self.folder.glob("control.*"):
            left.unlink()
        environment = os.environ | {
            "LD_PRELOAD": str(self.library),
            "PYTHONPATH": str(ROOT),
            "FAKEV4L2_DEVICE": "/dev/video42",
            "FAKEV4L2_FRAMES": str(self.folder / "frames.bin"),
            "FAKEV4L2_WIDTH": "160",
            "FAKEV4L2_HEIGHT": "120",
            "FAKEV4L2_FPS": str(FPS),
            "FAKEV4L2_CONTROL": str(control),
            **settings,
        }
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + script],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def index_of(self, data_hex: str) -> int:
        return self.jpegs.index(bytes.fromhex(data_hex))


@pytest.fixture(scope="module")
def webcam(tmp_path_factory: pytest.TempPathFactory) -> FakeWebcam:
    return FakeWebcam(tmp_path_factory.mktemp("webcam"))


@needs_fake
def test_the_cameras_own_jpegs_come_through_with_the_drivers_times_and_its_losses(webcam: FakeWebcam) -> None:
    lost = {40, 41, 55}
    said = webcam.run(
        """
source = make()
info = source.open()
collect(source, 80)
source.close()
stream = info.streams[0]
say(frames=frames, model=info.model, can_wait=info.can_wait, fourcc=info.options["fourcc"],
    stream=[stream.name, stream.pixel_format, stream.width, stream.height, stream.fps])
""",
        FAKEV4L2_LOSE=",".join(map(str, sorted(lost))),
        FAKEV4L2_PADDING="777",
    )
    assert said["stream"] == ["color", "jpeg", 160, 120, 60.0]
    assert (said["model"], said["fourcc"], said["can_wait"]) == ("Fake Webcam", "MJPG", False)
    numbers, data, _, times_s, clocks, arrivals_ns = zip(*said["frames"], strict=True)
    taken = [webcam.index_of(one) for one in data]
    # A loss of the driver is a gap in the numbers: both count the same pictures. (OpenCV skips the first.)
    assert [number - numbers[0] for number in numbers] == [index - taken[0] for index in taken]
    assert lost <= set(range(taken[0], taken[-1])) - set(taken)
    grid = np.array(times_s) - times_s[0]
    assert grid * FPS == pytest.approx(np.array(numbers) - numbers[0], abs=0.01)
    assert set(clocks) == {"monotonic"}
    assert [round(time_s * 1e6) * 1000 for time_s in times_s] == list(arrivals_ns)


@needs_fake
def test_buffers_left_lying_by_a_busy_reader_are_all_there_with_their_own_times(webcam: FakeWebcam) -> None:
    said = webcam.run(
        """
source = make()
source.open()
time.sleep(0.7)
collect(source, 40)
source.close()
say(frames=frames)
"""
    )
    numbers, data, _, times_s, _, _ = zip(*said["frames"], strict=True)
    assert list(numbers) == list(range(len(numbers)))
    assert np.diff([webcam.index_of(one) for one in data]).tolist() == [1] * (len(numbers) - 1)
    assert np.diff(times_s) * FPS == pytest.approx(np.ones(len(numbers) - 1), abs=0.01)


@needs_fake
def test_an_unplugged_camera_is_lost_at_once_absent_after_and_back_when_replugged(webcam: FakeWebcam) -> None:
    said = webcam.run(
        """
source = make(read_timeout_s=30.0)
source.open()
collect(source, 5)
misbehave("unplug")
lost = error_of(lambda: collect(source, 1000))
source.close()
absent = error_of(source.open)
behave("unplug")
source.open()
frames.clear()
collect(source, 5)
source.close()
say(lost=lost, absent=absent, numbers=[frame[0] for frame in frames])
"""
    )
    assert said["lost"] == ["CameraLostError", "cam: /dev/video42 was unplugged"]
    assert said["absent"][0] == "CameraNotFoundError"
    assert said["absent"][1].startswith("cam: /dev/video42 is not there; ")
    assert said["numbers"] == list(range(len(said["numbers"])))


@needs_fake
def test_a_silent_camera_gives_a_timeout_and_then_is_lost(webcam: FakeWebcam) -> None:
    said = webcam.run(
        """
source = make(read_timeout_s=1.2)
source.open()
collect(source, 5)
misbehave("stall")
while source.read(0.1):
    pass
lost = error_of(lambda: collect(source, 1000))
source.close()
say(lost=lost)
"""
    )
    assert said["lost"] == ["CameraLostError", "cam: no picture for 1.2 s (read_timeout_s)"]


@needs_fake
def test_a_camera_without_mjpg_or_without_passthrough_is_decoded(webcam: FakeWebcam) -> None:
    script = """
source = make(passthrough=PASSTHROUGH)
info = source.open()
collect(source, 3)
source.close()
say(format=info.streams[0].pixel_format, fourcc=info.options["fourcc"], shape=frames[0][2])
"""
    plain = webcam.run(script.replace("PASSTHROUGH", "True"), FAKEV4L2_YUYV="1")
    assert plain == {"format": "bgr8", "fourcc": "YUYV", "shape": [120, 160, 3]}
    decoded = webcam.run(script.replace("PASSTHROUGH", "False"))
    assert decoded == {"format": "bgr8", "fourcc": "MJPG", "shape": [120, 160, 3]}


@needs_fake
def test_a_camera_whose_jpegs_do_not_decode_is_asked_for_yuyv(webcam: FakeWebcam, tmp_path: Path) -> None:
    broken = tmp_path / "broken.bin"
    broken.write_bytes(struct.pack("<I", 400) + bytes(400))
    script = """
source = make()
info = source.open()
collect(source, 3)
source.close()
say(format=info.streams[0].pixel_format, fourcc=info.options["fourcc"], shape=frames[0][2])
"""
    said = webcam.run(script, FAKEV4L2_FRAMES=str(broken))
    assert said == {"format": "bgr8", "fourcc": "YUYV", "shape": [120, 160, 3]}


@needs_fake
def test_a_process_that_ends_without_closing_its_camera_ends_cleanly(webcam: FakeWebcam) -> None:
    assert webcam.run("source = make(); source.open(); say(end=True)") == {"end": True}


@needs_fake
def test_every_way_a_webcam_can_refuse_is_told_apart(webcam: FakeWebcam, tmp_path: Path) -> None:
    said = webcam.run(
        """
size = error_of(make(1280, 720, 30.0).open)
rate = error_of(make(fps=90.0).open)
missing = error_of(make(device="77").open)
misbehave("busy")
busy = error_of(make().open)
behave("busy")
os.environ["FAKEV4L2_DENY"] = "1"
denied = error_of(make().open)
wrong = error_of(make(device="/dev/null").open)
say(size=size, rate=rate, missing=missing, busy=busy, denied=denied, wrong=wrong)
"""
    )
    sizes = "its sizes are 160x120"
    wished = "cam: /dev/video42: wished 1280x720 at 30.0 fps, given 160x120 at 30 fps (MJPG)"
    assert said["size"] == ["CameraProfileError", f"{wished}; {sizes}"]
    assert said["rate"][0] == "CameraProfileError"
    assert "wished 160x120 at 90.0 fps, given 160x120 at 60 fps" in said["rate"][1]
    assert said["missing"][0] == "CameraNotFoundError"
    assert "/dev/video77 is not there" in said["missing"][1]
    assert said["busy"][0] == "CameraBusyError"
    assert "another program is using /dev/video42" in said["busy"][1]
    assert said["denied"][0] == "CameraNotFoundError"
    assert "group video" in said["denied"][1]
    assert said["wrong"][0] == "CameraProfileError"
    assert "/dev/null is not a video device" in said["wrong"][1]


@needs_fake
def test_webcams_are_listed_with_their_names_and_formats(webcam: FakeWebcam, tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    for name in ("video10", "video9", "video-not"):
        (tmp_path / "dev" / name).touch()
    (tmp_path / "sys" / "video9").mkdir(parents=True)
    (tmp_path / "sys" / "video9" / "name").write_text("Desk Webcam\n")
    said = webcam.run(
        f"say(webcams=list_webcams(dev_folder=Path({str(tmp_path / 'dev')!r}), "
        f"sys_folder=Path({str(tmp_path / 'sys')!r})))",
        FAKEV4L2_DEVICE=str(tmp_path / "dev" / "video9"),
    )
    usable, other = said["webcams"]
    assert usable == {
        "device": str(tmp_path / "dev" / "video9"),
        "name": "Desk Webcam",
        "bus": "usb-fake-1",
        "formats": ["YUYV", "MJPG"],
        "note": "",
    }
    assert other["device"].endswith("video10")
    assert other["note"] != ""


def test_a_machine_without_webcams_lists_none(tmp_path: Path) -> None:
    assert _cv_v4l2.list_webcams(dev_folder=tmp_path, sys_folder=tmp_path) == []


# ---- numbers from times ----


def numbered(times_s: list[float]) -> list[int]:
    counter = LossCounter()
    numbers = [number for time_s in times_s for number in counter.push(time_s)]
    return numbers + counter.flush()


def jittered(count: int, amplitude: float, seed: int) -> list[float]:
    rng = random.Random(seed)
    return [(index + rng.uniform(-amplitude, amplitude)) / 30 for index in range(count)]


@pytest.mark.parametrize("lost", [{20}, {20, 21, 22}, {20, 22, 24}, {20, 30, 31, 58}, set(range(20, 50))])
def test_lost_frames_are_gaps_of_their_exact_length(lost: set[int]) -> None:
    kept = [index for index in range(60) if index not in lost]
    assert numbered([index / 30 for index in kept]) == kept


@pytest.mark.parametrize("seed", range(20))
def test_losses_are_found_among_jitter_of_a_tenth_of_an_interval(seed: int) -> None:
    times_s = jittered(300, 0.1, seed)
    lost = set(random.Random(seed).sample(range(20, 290), 15))
    kept = [index for index in range(300) if index not in lost]
    assert numbered([times_s[index] for index in kept]) == kept


@pytest.mark.parametrize("seed", range(20))
def test_jitter_alone_is_no_loss(seed: int) -> None:
    assert numbered(jittered(300, 0.15, seed)) == list(range(300))


def test_one_late_stamp_is_no_loss() -> None:
    times_s = [index / 30 for index in range(60)]
    times_s[30] += 0.7 / 30
    assert numbered(times_s) == list(range(60))


def test_a_camera_that_slows_down_in_the_dark_loses_nothing() -> None:
    bright = [index / 30 for index in range(40)]
    dark = [bright[-1] + (index + 1) / 15 for index in range(40)]
    bright_again = [dark[-1] + (index + 1) / 30 for index in range(40)]
    assert numbered(bright + dark + bright_again) == list(range(120))


def test_losses_at_the_slower_rate_are_found_again() -> None:
    bright = [index / 30 for index in range(40)]
    dark = [bright[-1] + (index + 1) / 15 for index in range(40) if index != 20]
    assert numbered(bright + dark) == [*range(60), *range(61, 80)]


def test_frames_are_held_back_only_while_a_long_step_is_undecided() -> None:
    counter = LossCounter()
    for index in range(20):
        assert counter.push(index / 30) == [index]
    assert counter.push(22 / 30) == []
    assert counter.push(23 / 30) == [22, 23]
    assert counter.push(26 / 30) == []
    assert counter.flush() == [26]
    assert counter.flush() == []


def test_a_clock_that_jumps_back_or_is_missing_starts_anew_without_a_gap() -> None:
    counter = LossCounter()
    times_s: list[float | None] = [index / 30 for index in range(20)]
    numbers = [n for time_s in [*times_s, None, 5.0, 5.033, 2.0, 2.033] for n in counter.push(time_s)]
    assert numbers == list(range(25))
