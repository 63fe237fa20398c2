"""Calibrations in rig files: only the keys of the cameras change."""

from __future__ import annotations

from pathlib import Path

import pytest

from capture.calibration import CameraCalibration, matrix4
from capture.calibration.rig_file import write_calibration
from capture.config import load_rig
from codec.errors import ConfigError
from tests.capture.calibration.rendered_board import LENS

POSE = matrix4([[1, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]])

RIG = """# the cellar
name = "cellar"   # not the attic

[record]
codec = "lz4"

[[cameras]]
name = "left"     # over the door
source = "opencv"
device = "rtsp://camera"
world_from_camera = [
    [1.0, 0.0, 0.0, 0.0],  # as measured
    [0.0, 1.0, 0.0, 0.0],
    [0.0, 0.0, 1.0, 0.0],
    [0.0, 0.0, 0.0, 1.0],
]
color = { width = 640, height = 480 }

# the second one
[[cameras]]
name = "right"
source = "opencv"
device = 1
[cameras.color]
width = 640
height = 480
"""


def test_only_what_was_found_changes(tmp_path: Path) -> None:
    path = tmp_path / "cellar.toml"
    path.write_text(RIG)
    write_calibration(path, {"left": CameraCalibration(LENS, POSE), "right": CameraCalibration(LENS)})
    left, right = (camera.spec() for camera in load_rig(str(path)).rig.cameras)  # type: ignore[call-arg]
    assert left.world_from_camera == POSE
    assert right.world_from_camera is None
    assert left.intrinsics == LENS
    assert right.intrinsics == LENS
    text = path.read_text()
    for line in RIG.splitlines():
        if "0.0, " not in line and "world_from_camera" not in line and line != "]":
            assert line in text
    assert text.index("intrinsics") < text.index("# the second one")


def test_again_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "cellar.toml"
    path.write_text(RIG)
    known = {"left": CameraCalibration(LENS, POSE)}
    write_calibration(path, known)
    once = path.read_text()
    write_calibration(path, known)
    assert path.read_text() == once


def test_a_file_of_another_style_is_left_alone_and_told_what_to_put_in(tmp_path: Path) -> None:
    path = tmp_path / "inline.toml"
    text = 'cameras = [ { name = "left", source = "opencv" } ]\n'
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"put into its cameras left: intrinsics = \{ width = 640"):
        write_calibration(path, {"left": CameraCalibration(LENS)})
    assert path.read_text() == text


def test_intrinsics_that_cannot_be_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cellar.toml"
    path.write_text(
        RIG.replace("device = 1", "device = 1\nintrinsics = { width = 640, height = 480, fx = -1 }")
    )
    with pytest.raises(ConfigError, match="fx"):
        load_rig(str(path))
