"""Calibration files of Qualisys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capture.calibration.qualisys import read_qualisys
from codec.errors import CalibrationError

CAMERA = """<camera serial="{serial}" viewrotation="0">
  <fov_video_max bottom="1919" left="0" right="1087" top="0"/>
  <transform r11="0" r12="1" r13="0" r21="0" r22="0" r23="1" r31="1" r32="0" r33="0"
    x="2000" y="-10" z="1500"/>
  <intrinsic centerPointU="34816" centerPointV="61440" focalLengthU="107520" focalLengthV="107584"
    radialDistortion1="-0.05" radialDistortion2="0.14" radialDistortion3="0" tangentalDistortion1="0.001"
    tangentalDistortion2="0.002"/>
</camera>"""
FILE = '<?xml version="1.0" encoding="ASCII"?><calibration><cameras>{cameras}</cameras></calibration>'


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "Calib.qca.txt"
    path.write_text(text)
    return path


def test_lens_in_pixels_and_place_in_metres(tmp_path: Path) -> None:
    text = FILE.format(cameras=CAMERA.format(serial="a") + CAMERA.format(serial="b"))
    found = read_qualisys(write(tmp_path, text))
    assert list(found) == ["a", "b"]
    lens, place = found["a"].intrinsics, found["a"].world_from_camera
    assert lens is not None
    assert place is not None
    assert (lens.width, lens.height, lens.fx, lens.fy, lens.cx, lens.cy) == (1088, 1920, 1680, 1681, 544, 960)
    assert lens.coefficients == (-0.05, 0.14, 0.001, 0.002, 0.0)
    # It stands at x = 2 m and looks at the origin: forwards is -x of the world, down is -z.
    pose = np.array(place)
    assert np.allclose(pose[:3, 3], [2.0, -0.01, 1.5])
    assert np.allclose(pose[:3, 2], [-1, 0, 0])
    assert np.allclose(pose[:3, 1], [0, 0, -1])
    assert np.allclose(pose[:3, 0], [0, 1, 0])


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("<calibration>", "<calibratio>", "not XML"),
        ("<cameras>", "<!DOCTYPE a><cameras>", "entities"),
        ('serial="a"', 'serial=""', "no serial"),
        ('x="2000"', 'x="far"', "x='far'"),
        ('r11="0"', 'r11="nan"', "r11='nan'"),
        ('r11="0"', 'r11="1"', "rotation of camera a"),
        ("<intrinsic", "<extrinsic", "has no <intrinsic>"),
        ('focalLengthU="107520"', 'focalLengthU="0"', "focal length"),
        ('right="1087"', 'right="1e99"', "picture size"),
    ],
)
def test_a_file_that_is_not_one_is_named(tmp_path: Path, old: str, new: str, word: str) -> None:
    path = write(tmp_path, FILE.format(cameras=CAMERA.format(serial="a")).replace(old, new, 1))
    with pytest.raises(CalibrationError, match=word) as told:
        read_qualisys(path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def test_other_files(tmp_path: Path) -> None:
    for text in ("", "{}", "<a/>", "<calibration/>", "\0" * 50):
        with pytest.raises(CalibrationError):
            read_qualisys(write(tmp_path, text))
    with pytest.raises(CalibrationError, match="cannot read"):
        read_qualisys(tmp_path / "none")
