"""Calibrations in rig files: only the keys of the cameras change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from capture.calibration import CameraCalibration, matrix4
from capture.calibration.rig_file import calibration_lines, write_calibration
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


KNOWN = CameraCalibration(LENS, POSE)
LENS_LINE, POSE_LINE = calibration_lines(KNOWN).splitlines()
OLD_POSE = RIG[RIG.index("world_from_camera") : RIG.index("color = {")].removesuffix("\n")
NEW = RIG.replace(OLD_POSE, POSE_LINE).replace("480 }\n", "480 }\n" + LENS_LINE + "\n")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text.replace("\n", "\r\n"),
        lambda text: text.replace("\n\n", "\n \t\n\n").replace("device", "  device "),
        lambda text: text.replace("the cellar", "the\u2028cellar \u0085 of \u03c0"),
        lambda text: text.replace("[[cameras]]", "[[ cameras ]] # one"),
        lambda text: text.replace("# the cellar", 'notes = """\n[[cameras]]\nname = "left"\n"""'),
        lambda text: text.removesuffix("\n"),
        lambda text: text[: text.index("\n# the second")].removesuffix("\n"),
    ],
    ids=[
        *("plain", "CRLF", "BOM", "spaces", "separators", "comments", "headers in a text", "no end"),
        "no end where it changes",
    ],
)
def test_all_else_stays_byte_for_byte(change: Callable[[str], str], tmp_path: Path) -> None:
    path = tmp_path / "cellar.toml"
    path.write_bytes(change(RIG).encode())
    write_calibration(path, {"left": KNOWN})
    assert path.read_bytes() == change(NEW).encode()


def test_each_line_has_the_ends_of_its_table(tmp_path: Path) -> None:
    path = tmp_path / "cellar.toml"
    first, second = RIG.split("# the second one")
    path.write_bytes((first + "# the second one" + second.replace("\n", "\r\n")).encode())
    write_calibration(path, {"left": KNOWN, "right": CameraCalibration(LENS)})
    second = second.replace("device = 1\n", f"device = 1\n{LENS_LINE}\n").replace("\n", "\r\n")
    assert path.read_bytes() == (NEW.split("# the second one")[0] + "# the second one" + second).encode()


def test_a_matrix_without_a_last_comma_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "cellar.toml"
    path.write_text(RIG.replace("[0.0, 0.0, 0.0, 1.0],\n", "[0.0, 0.0, 0.0, 1.0]\n"))
    write_calibration(path, {"left": KNOWN})
    assert path.read_text() == NEW


def test_a_file_that_only_its_owner_reads_stays_one_and_a_link_stays_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "cellar.toml", tmp_path / "rig.toml"
    path.write_text(RIG)
    path.chmod(0o600)
    link.symlink_to(path.name)
    write_calibration(link, {"left": KNOWN})
    assert link.is_symlink()
    assert path.read_text() == NEW
    assert path.stat().st_mode & 0o777 == 0o600


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
