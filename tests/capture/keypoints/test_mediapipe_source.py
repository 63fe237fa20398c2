"""The MediaPipe source around the library: what it hands over, what it makes of the answers and of errors."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from capture.keypoints import open_source
from capture.keypoints.mediapipe_pose import MediaPipeSource
from codec.errors import ConfigError, EstimatorError, MissingExtraError
from tests.capture.keypoints import pretended_mediapipe
from tests.capture.keypoints.pretended_mediapipe import Pretended


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Loading the library sets variables of this process."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Pretended:
    return pretended_mediapipe.install(monkeypatch)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "pose.task"
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("pose_detector.tflite", b"")
        bundle.writestr("pose_landmarks_detector.tflite", b"")
    return path


def _picture(height: int = 480, width: int = 640) -> np.ndarray:
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = 200  # blue
    return picture


def test_joints_come_in_pixels_with_visibility_and_points_in_space(told: Pretended, model: Path) -> None:
    told.people = [[(0.5, 0.25, 0.9)] * 33, [(1.5, 0.25, 0.4)] * 33]
    source = open_source("mediapipe", {"model": str(model), "people": 2})
    first, second = source.detect(_picture(), time_s=2.0)
    assert first.joint_set == "mediapipe33"
    assert np.allclose(first.points_px, (319.5, 119.5))
    assert np.allclose(first.confidences, 0.9)
    assert first.world_m is not None
    assert np.allclose(first.world_m, (0.1, 0.2, 0.3))
    assert first.box_index is None
    assert np.allclose(second.points_px, (959.5, 119.5))  # outside of the picture is where it is
    assert told.options[0].num_poses == 2
    assert told.asked[0][1] == 2000
    assert told.asked[0][2][0, 0].tolist() == [0, 0, 200]  # handed over as red, green, blue


@pytest.mark.parametrize(("height", "width"), [(2160, 3840), (6000, 8000), (20_000, 100)])
def test_a_huge_picture_is_shrunk_and_its_points_are_not(
    told: Pretended, model: Path, height: int, width: int
) -> None:
    told.people = [[(0.5, 0.5, 0.9)] * 33]
    (person,) = MediaPipeSource(model=model, max_width_px=640).detect(
        np.zeros((height, width, 3), np.uint8), time_s=0.0
    )
    assert told.asked[0][2].shape[1] == min(640, width)
    assert np.allclose(person.points_px, (width / 2 - 0.5, height / 2 - 0.5), atol=1e-6)


def test_times_that_stand_or_jump_are_counted_on(told: Pretended, model: Path) -> None:
    source = MediaPipeSource(model=model)
    for time_s in (10.0, 10.0, 10.0001, 3.0, float("nan"), 11.0):
        source.detect(_picture(), time_s=time_s)
    assert [asked[1] for asked in told.asked] == [10_000, 10_001, 10_002, 10_003, 10_004, 11_000]


def test_each_box_is_looked_at_by_itself_and_its_points_lie_in_the_whole_picture(
    told: Pretended, model: Path
) -> None:
    told.people = [[(0.5, 0.5, 0.8)] * 33]
    source = MediaPipeSource(model=model)
    people = source.detect(
        _picture(), time_s=0.0, boxes_px=[(100, 100, 140, 200), (5, 5, 5, 5), (300, 0, 340, 80)]
    )
    assert [person.box_index for person in people] == [0, 2]
    assert np.allclose(people[0].points_px, (119.5, 149.5))
    assert np.allclose(people[1].points_px, (319.5, 39.5))
    assert [asked[0] for asked in told.asked] == ["IMAGE", "IMAGE"]
    assert source.detect(_picture(), time_s=0.0, boxes_px=[]) == []
    source.close()
    assert sorted(told.closed) == ["IMAGE", "VIDEO"]


def test_nobody_is_an_empty_list_and_a_grey_picture_serves(told: Pretended, model: Path) -> None:
    assert MediaPipeSource(model=model).detect(np.zeros((48, 64), np.uint8), time_s=0.0) == []
    assert told.asked[0][2].shape == (48, 64, 3)


def test_numbers_that_are_none_leave_nobody(told: Pretended, model: Path) -> None:
    told.people = [[(float("nan"), 0.5, 0.9)] * 33]
    assert MediaPipeSource(model=model).detect(_picture(), time_s=0.0) == []
    told.people = [[(0.5, 0.5, 0.9)] * 33]
    told.world = [(float("nan"), 0.0, 0.0)] * 33
    (person,) = MediaPipeSource(model=model).detect(_picture(), time_s=1.0)
    assert person.world_m is None


def test_the_library_is_quiet_and_we_are_not(
    told: Pretended, model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = MediaPipeSource(model=model)
    source.detect(_picture(), time_s=0.0)
    source.detect(_picture(), time_s=0.0, boxes_px=[(0, 0, 50, 50)])
    source.close()
    print("ours", file=sys.stderr)
    assert capfd.readouterr().err == "ours\n"


@pytest.mark.usefixtures("told")
def test_no_report_of_use_leaves_the_machine_whatever_proxies_are_set(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "*")
    MediaPipeSource(model=model)
    assert os.environ["https_proxy"] == os.environ["HTTPS_PROXY"] == "http://127.0.0.1:9"
    assert "no_proxy" not in os.environ


def test_an_error_of_the_library_is_ours_in_one_line(told: Pretended, model: Path) -> None:
    def fail() -> None:
        raise RuntimeError("graph\n has errors.")

    source = MediaPipeSource(model=model)
    told.on_detect = fail
    with pytest.raises(EstimatorError, match=r"mediapipe failed: graph has errors$"):
        source.detect(_picture(), time_s=0.0)
    told.on_create = fail
    with pytest.raises(ConfigError, match=r"mediapipe refuses .*pose\.task: graph has errors; .*models pose"):
        MediaPipeSource(model=model)


def test_a_missing_graphics_library_is_named_with_its_packages(told: Pretended, model: Path) -> None:
    def fail() -> None:
        raise OSError("libGLESv2.so.2: cannot open shared object file: No such file or directory")

    told.on_create = fail
    with pytest.raises(MissingExtraError, match=r"libGLESv2\.so\.2 is missing on this system: .*libgles2"):
        MediaPipeSource(model=model)


def test_without_the_package_the_extra_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(MissingExtraError, match=r"needs mediapipe, which is not installed: .*\[mediapipe\]"):
        MediaPipeSource(model=model)


@pytest.mark.usefixtures("told")
def test_a_wrong_file_is_told_before_the_library_sees_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*absent\.task: No such file.*models pose"):
        MediaPipeSource(model=tmp_path / "absent.task")
    wrong = tmp_path / "pose.tflite"
    wrong.write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    with pytest.raises(ConfigError, match=r"pose\.tflite is no Pose Landmarker file \(\.task\)"):
        MediaPipeSource(model=wrong)
    with zipfile.ZipFile(wrong, "w") as bundle:
        bundle.writestr("hand_detector.tflite", b"")
    with pytest.raises(ConfigError, match=r"it has no pose_detector\.tflite and no pose_landmarks_detector"):
        MediaPipeSource(model=wrong)


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"people": 0}, "people = 0 is not within 1 and 10"),
        ({"max_width_px": 8}, "max_width_px = 8"),
        ({"least_confidence": 1.0}, "least_confidence = 1.0"),
    ],
)
def test_options_out_of_range_are_refused(model: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_source("mediapipe", {"model": model, **options})


@pytest.mark.usefixtures("told")
def test_once_closed_it_says_so(model: Path) -> None:
    source = MediaPipeSource(model=model)
    source.close()
    source.close()
    with pytest.raises(EstimatorError, match="is closed"):
        source.detect(_picture(), time_s=0.0)
