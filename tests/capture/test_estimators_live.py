"""Estimators inside a running recording: meshes and depth maps reach the files, and recording never waits."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from capture.body.kinematics import split_parameters
from capture.body.procedural import procedural_body
from capture.recording import Recording
from codec.mesh import MeshReader
from tests.capture.rigs import record, small_rig, start_recording

_TRUTH = '[[estimators]]\nkind = "truth"\ncameras = ["cam0"]\n'


def test_meshes_of_the_simulated_body_reach_the_file_and_are_the_right_ones(tmp_path: Path) -> None:
    rig = small_rig(tmp_path, cameras=2, tail=_TRUTH)
    code, account, err = record(rig, tmp_path / "out", "--duration", "3")
    assert code == 0, err
    frames = account["streams"]["cam0/depth"]["written"]
    assert account["meshes"] >= 0.9 * frames
    session = Path(account["session"])
    with Recording(session) as recording, MeshReader(session / "people" / "mesh-000.xz") as meshes:
        depth = recording.streams["cam0/depth"]
        poses = {frame.number: frame.meta["pose"] for frame in depth}
        count = 0
        for mesh in meshes:
            pose, betas, translation = split_parameters(np.array(poses[mesh["frame_number"]], np.float32))
            expected = procedural_body().skin(pose, betas, translation) * 1000
            assert np.abs(mesh["vertices"][0] - expected).max() <= 0.2501
            assert mesh["joints"].shape == (1, 24, 3)
            count += 1
        assert count == account["meshes"]
        assert len(recording.streams["people/parameters"]) == account["meshes"]


def test_killed_estimator_is_started_again_and_recording_loses_nothing(tmp_path: Path) -> None:
    rig = small_rig(tmp_path, cameras=1, tail=_TRUTH)
    recording = start_recording(rig, tmp_path / "out", "--duration", "5")
    recording.wait_until_started()
    time.sleep(1.0)
    os.kill(recording.child("estimator truth"), signal.SIGKILL)
    code, account, err = recording.finish()
    assert code == 0, err
    assert "is started again" in err
    depth = account["streams"]["cam0/depth"]
    assert depth["captured"] == depth["written"]
    assert 60 < account["meshes"] <= depth["captured"]


def test_killed_writer_costs_a_second_of_meshes_at_most_and_the_account_says_how_many(tmp_path: Path) -> None:
    rig = small_rig(tmp_path, cameras=1, tail=_TRUTH)
    recording = start_recording(rig, tmp_path / "out", "--duration", "4")
    recording.wait_until_started()
    time.sleep(1.7)
    os.kill(recording.child("writer"), signal.SIGKILL)
    code, account, err = recording.finish()
    assert code == 3, err
    assert "meshes went with the killed writer" in err
    on_disk = 0
    for path in sorted((recording.session / "people").glob("mesh-*.xz")):
        meshes = MeshReader(path)
        on_disk += sum(1 for _ in meshes)
        meshes.close()
    assert account["meshes"] == on_disk
    depth = account["streams"]["cam0/depth"]
    assert depth["captured"] == depth["written"]
    totals = json.loads((recording.session / "session.json").read_text())["totals"]
    assert 0 < totals["meshes_lost"] <= 60
    assert account["meshes"] + totals["meshes_lost"] + account["meshes_skipped"] >= depth["captured"] - 2


def test_estimator_that_cannot_start_is_one_line_and_recording_goes_on(tmp_path: Path) -> None:
    rig = small_rig(tmp_path, cameras=1, tail='[[estimators]]\nkind = "telepathy"\n')
    code, account, err = record(rig, tmp_path / "out", "--duration", "1")
    assert code == 0, err
    assert "telepathy" in err
    assert "Traceback" not in err
    assert account["streams"]["cam0/depth"]["written"] > 20


def test_an_installed_package_may_bring_an_estimator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site"
    info = package / "brightness-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brightness\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[nightrig.estimators]\nbrightness = brightness:Brightness\n")
    (package / "brightness.py").write_text(_BRIGHTNESS)
    monkeypatch.setenv("PYTHONPATH", str(package))
    rig = small_rig(tmp_path, cameras=1, tail='[[estimators]]\nkind = "brightness"\n')
    code, account, err = record(rig, tmp_path / "out", "--duration", "2")
    assert code == 0, err
    with Recording(Path(account["session"])) as recording:
        found = recording.streams["people/mean"]
        assert len(found) > 40
        depth = {frame.number: float(frame.data.mean()) for frame in recording.streams["cam0/depth"]}
        for frame in found:
            assert float(frame.data[0, 0]) == pytest.approx(depth[frame.number], rel=1e-5)


_BRIGHTNESS = """
import numpy as np
from capture.frames import Frame, StreamInfo

class Brightness:
    def __init__(self, spec):
        self.camera = spec.cameras[0]

    def open(self, cameras):
        return (StreamInfo("mean", "f32", 1, 1, 30.0),)

    def inputs(self):
        return ((self.camera, "depth"),)

    def estimate(self, frames):
        frame = frames[(self.camera, "depth")]
        mean = np.array([[frame.data.mean()]], np.float32)
        return [Frame("mean", frame.number, mean, frame.device_time_s, frame.clock, frame.monotonic_ns)]

    def close(self):
        pass
"""


def test_two_webcams_become_a_metric_depth_stream_of_their_own(tmp_path: Path) -> None:
    width, height, focal, baseline_m, distance_m = 320, 240, 300.0, 0.1, 1.5
    disparity = focal * baseline_m / distance_m  # 20 pixels
    texture = np.random.default_rng(5).integers(0, 255, (height, width + 40, 3), dtype=np.uint8)
    texture = cv2.GaussianBlur(texture, (0, 0), 1.2)
    for name, shift in (("left", 0), ("right", int(disparity))):
        writer = cv2.VideoWriter(
            str(tmp_path / f"{name}.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (width, height)
        )
        for _ in range(20):
            writer.write(np.ascontiguousarray(texture[:, shift : shift + width]))
        writer.release()
    matrix = [[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]
    flat = [0.0] * 5
    calibration = {"K1": matrix, "D1": flat, "K2": matrix, "D2": flat, "R": np.eye(3).tolist()}
    calibration["T"] = [-baseline_m, 0, 0]  # x_right = R x_left + T, as OpenCV's stereoCalibrate has it
    (tmp_path / "calibration.json").write_text(json.dumps(calibration))
    rig = tmp_path / "rig.toml"
    rig.write_text(
        "preview = false\nqueue_mb = 64\n[record]\nreserve_mb = 1\n"
        + "".join(
            f'[[cameras]]\nname = "{name}"\nsource = "opencv"\ndevice = "{name}.avi"\npace = "realtime"\n'
            for name in ("left", "right")
        )
        + '[[estimators]]\nkind = "stereo"\ncameras = ["left", "right"]\n'
        + 'options = { calibration = "calibration.json", min_depth_m = 0.8 }\n'
    )
    code, account, err = record(rig, tmp_path / "out")
    assert code == 0, err
    with Recording(Path(account["session"])) as recording:
        depth = recording.streams["stereo/depth"]
        assert len(depth) >= 5
        assert depth.info.focal_baseline_px_m == pytest.approx(focal * baseline_m, rel=0.05)
        image = depth.frame(0).data.astype(float) * (depth.info.depth_scale_m or 0)
        measured = image[image > 0]
        assert measured.size > 0.6 * image.size
        assert float(np.median(measured)) == pytest.approx(distance_m, rel=0.02)
