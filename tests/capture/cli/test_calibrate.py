"""`nightrig calibrate`: from pictures, from a real recording of two cameras, and from a file."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from capture.cli import main
from capture.config import load_rig
from capture.frames import Intrinsics
from tests.capture.calibration.rendered_board import CHECKERBOARD, LENS, picture, poses
from tests.capture.calibration.test_placement import CAMERAS
from tests.capture.calibration.test_qualisys import CAMERA, FILE
from tests.capture.rigs import REPOSITORY

BOARD = "checkerboard:7x4:60mm"
PINHOLE = Intrinsics(LENS.width, LENS.height, LENS.fx, LENS.fy, LENS.cx, LENS.cy)
SHARED = REPOSITORY.parent / "shared" / "data" / "video" / "pose2sim_single" / "calibration"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_folder_of_pictures_gives_the_lens_and_a_chart(capsys: pytest.CaptureFixture[str]) -> None:
    Path("shots").mkdir()
    for i, pose in enumerate(poses(8)):
        cv2.imwrite(f"shots/{i}.png", picture(CHECKERBOARD, pose, PINHOLE))
    cv2.imwrite("shots/nothing.png", np.zeros((480, 640, 3), np.uint8))
    assert main(["calibrate", "--board", BOARD, "--pictures", "cam=shots", "--json"]) == 0
    told = capsys.readouterr()
    assert "cam: board seen in 8 of 9 pictures" in told.err
    found = json.loads(told.out)["cam"]
    assert found["intrinsics"]["fx"] == pytest.approx(LENS.fx, rel=0.01)
    assert found["rms_px"] < 0.3
    chart = cv2.imread("calibration.png")
    assert chart is not None
    assert chart.shape[0] > 300
    assert chart.std() > 5


def test_a_recording_calibrates_two_cameras_in_the_rig_file(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("first", "side")
    shown = list(poses(7, seed=3, distance_m=1.4))
    for name in names:
        film = cv2.VideoWriter(f"{name}.avi", cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (640, 480))
        for pose in shown:
            still = picture(CHECKERBOARD, CAMERAS[name] @ pose, PINHOLE)
            for _ in range(20):
                film.write(still)
        film.release()
    wrong = "intrinsics = { width = 640, height = 480, fx = 900, fy = 900, cx = 319.5, cy = 239.5 }\n"
    cameras = "\n".join(
        f'[[cameras]]\nname = "{name}"\nsource = "opencv"\ndevice = "{name}.avi"\n' for name in names
    )
    cameras += wrong  # of the camera "side"
    Path("rig.toml").write_text(f'name = "pair"\npreview = false\n[record]\nreserve_mb = 0\n{cameras}')
    arguments = ["calibrate", "rig.toml", "--board", BOARD, "--every", "0.25"]
    assert main([*arguments, "--record", "30"]) == 0, capsys.readouterr().err
    session = next(Path("recordings").iterdir())
    first, side = (camera.spec() for camera in load_rig("rig.toml").rig.cameras)  # type: ignore[call-arg]
    assert first.intrinsics is not None
    assert first.intrinsics.fx == pytest.approx(LENS.fx, rel=0.02)
    assert side.intrinsics is not None
    assert side.intrinsics.fx == pytest.approx(LENS.fx, rel=0.02)
    told = capsys.readouterr().err
    assert "first: lens fitted: fx 5" in told
    assert "it was fx 900.0, fy 900.0 in the rig file" in told
    assert "rig.toml: intrinsics of first, side and world_from_camera of first, side written" in told
    assert np.allclose(first.world_from_camera, np.eye(4))
    apart = np.array(side.world_from_camera) @ CAMERAS["side"]
    assert np.linalg.norm(apart[:3, 3]) < 0.06
    assert np.linalg.norm(cv2.Rodrigues(apart[:3, :3])[0]) < 0.04
    assert main([*arguments, "--session", str(session)]) == 0  # the recording is kept, and will do again


def test_too_few_places_keep_the_lens_of_the_rig_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("shots").mkdir()
    for i, pose in enumerate(poses(2)):
        cv2.imwrite(f"shots/{i}.png", picture(CHECKERBOARD, pose, PINHOLE))
    rig = (
        '[[cameras]]\nname = "cam"\nsource = "opencv"\n'
        "intrinsics = { width = 640, height = 480, fx = 900, fy = 900, cx = 319.5, cy = 239.5 }\n"
    )
    Path("rig.toml").write_text(rig)
    arguments = ["calibrate", "rig.toml", "--board", BOARD, "--pictures", "cam=shots", "--json"]
    assert main(arguments) == 0
    told = capsys.readouterr()
    assert "cam: lens kept (rig file): the board was seen in 2 places, 3 are the least" in told.err
    assert "rig.toml: nothing to write" in told.err
    assert json.loads(told.out)["cam"]["lens"] == "kept, rig file"
    assert Path("rig.toml").read_text() == rig
    for i, pose in enumerate(poses(8)):
        cv2.imwrite(f"shots/{i}.png", picture(CHECKERBOARD, pose, PINHOLE))
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["cam"]["lens"] == "fitted"
    assert "900" not in Path("rig.toml").read_text()


def test_a_qualisys_file_is_read_into_the_rig(capsys: pytest.CaptureFixture[str]) -> None:
    Path("Calib.qca.txt").write_text(
        FILE.format(cameras=CAMERA.format(serial="a") + CAMERA.format(serial="b"))
    )
    Path("rig.toml").write_text('[[cameras]]\nname = "b"\nsource = "opencv"\n')
    assert main(["calibrate", "rig.toml", "--read", "Calib.qca.txt"]) == 0
    (camera,) = load_rig("rig.toml").rig.cameras
    spec = camera.spec()  # type: ignore[call-arg]
    assert spec.intrinsics is not None
    assert spec.intrinsics.fx == 1680
    assert spec.world_from_camera is not None
    assert spec.world_from_camera[0][3] == 2.0
    Path("rig.toml").write_text('[[cameras]]\nname = "c"\nsource = "opencv"\n')
    assert main(["calibrate", "rig.toml", "--read", "Calib.qca.txt"]) == 2
    assert "cameras a, b; none of the rig" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--pictures", "cam=shots"], "--board is missing"),
        (["--board", "checkerboard:2x3:60mm", "--pictures", "cam=shots"], "3x3 to 100x100 inner corners"),
        (["--board", "chess", "--pictures", "cam=shots"], "no board is called"),
        (["--board", BOARD, "--pictures", "shots"], "CAMERA=FOLDER"),
        (["--board", BOARD, "--pictures", "cam=none"], "cannot read none"),
        (["--board", BOARD, "--pictures", "cam=empty"], "has no pictures"),
        (["--board", BOARD, "--record", "30"], "needs a rig file"),
        (["demo", "--read", "Calib.qca.txt"], "is shipped with nightrig"),
    ],
)
def test_what_is_wrong_with_the_arguments(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    Path("shots").mkdir()
    Path("Calib.qca.txt").write_text(FILE.format(cameras=CAMERA.format(serial="front")))
    assert main(["calibrate", *arguments]) == 2
    assert word in capsys.readouterr().err


def test_pictures_that_say_too_little(capsys: pytest.CaptureFixture[str]) -> None:
    Path("shots").mkdir()
    cv2.imwrite("shots/0.png", picture(CHECKERBOARD, poses(1)[0], PINHOLE))
    assert main(["calibrate", "--board", BOARD, "--pictures", "cam=shots"]) == 1
    assert "the board was seen in 1 places" in capsys.readouterr().err
    Path("shots/1.png").write_bytes(b"no picture")
    assert main(["calibrate", "--board", BOARD, "--pictures", "cam=shots"]) == 1
    assert "shots/1.png is no picture" in capsys.readouterr().err


def test_a_chart_replaces_nothing_but_an_earlier_chart(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("shots").mkdir()
    for i, pose in enumerate(poses(4)):
        cv2.imwrite(f"shots/{i}.png", picture(CHECKERBOARD, pose, PINHOLE))
    arguments = ["calibrate", "--board", BOARD, "--pictures", "cam=shots"]
    assert main(arguments) == 0
    first = Path("calibration.png").read_bytes()
    cv2.imwrite("shots/4.png", picture(CHECKERBOARD, poses(5)[4], PINHOLE))
    assert main(arguments) == 0
    assert Path("calibration.png").read_bytes() != first
    capsys.readouterr()

    monkeypatch.setattr("capture.calibration.views.views_in_folder", None)  # told before any work
    holiday = cv2.imencode(".png", np.zeros((20, 20, 3), np.uint8))[1].tobytes()
    Path("folder").mkdir()
    for name in ("calibration.png", "holiday.png"):
        Path(name).write_bytes(holiday)
    for chart in ([], ["--chart", "holiday.png"], ["--chart", "folder"]):
        assert main([*arguments, *chart]) == 2
        name = chart[-1] if chart else "calibration.png"
        assert f"{name} is no chart of ours, and is never overwritten" in capsys.readouterr().err
    assert Path("calibration.png").read_bytes() == Path("holiday.png").read_bytes() == holiday
    assert main([*arguments, "--chart", "nowhere/chart.png"]) == 2
    assert "--chart nowhere/chart.png: there is no folder nowhere" in capsys.readouterr().err


def test_a_board_in_no_picture_gets_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    Path("shots").mkdir()
    for i, pose in enumerate(poses(2)):
        cv2.imwrite(f"shots/{i}.png", picture(CHECKERBOARD, pose, PINHOLE))
    assert main(["calibrate", "--board", "checkerboard:8x5:60mm", "--pictures", "cam=shots"]) == 1
    told = capsys.readouterr().err
    assert "the board checkerboard:8x5:60mm is in none of the pictures: check that 8x5 counts" in told
    assert "(then name it 7x4)" in told
    assert main(["calibrate", "--board", "charuco:7x6:60mm:45mm", "--pictures", "cam=shots"]) == 1
    assert "markers are of DICT_4X4_50, and that it is not of the legacy pattern" in capsys.readouterr().err


@pytest.mark.skipif(not SHARED.is_dir(), reason="the pictures of real cameras are not here")
def test_real_cameras_agree_with_their_makers_calibration(capsys: pytest.CaptureFixture[str]) -> None:
    folders = [f"--pictures={name}={SHARED / name}" for name in ("cam01", "cam02")]
    assert main(["calibrate", "--board", "checkerboard:4x7:60mm", *folders, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["calibrate", "--read", str(SHARED / "Calib.qca.txt"), "--json"]) == 0
    theirs = json.loads(capsys.readouterr().out)
    for name in ("cam01", "cam02"):
        for axis in ("fx", "fy"):
            assert found[name]["intrinsics"][axis] == pytest.approx(
                theirs[name]["intrinsics"][axis], rel=0.02
            )
