"""Real videos and a real MJPEG stream through the whole recorder: every frame, with the right times."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from capture.recording import Recording
from tests.capture.rigs import REPOSITORY, record, start_recording
from tests.capture.sources.mjpeg_server import MjpegServer

POSE2SIM = REPOSITORY.parent / "shared" / "data" / "video" / "pose2sim_single" / "videos"

_HEAD = "preview = false\nqueue_mb = {queue_mb}\n[record]\nreserve_mb = 1\n"
_CAMERA = '[[cameras]]\nname = "{name}"\nsource = "opencv"\ndevice = "{device}"\npace = "{pace}"\n{more}\n'


def _rig(path: Path, videos: list[Path], *, pace: str, more: str = "", queue_mb: int = 64) -> Path:
    text = _HEAD.format(queue_mb=queue_mb)
    for video in videos:
        text += _CAMERA.format(name=video.stem, device=video, pace=pace, more=more)
    path.write_text(text)
    return path


def _make_video(path: Path, frames: int, fps: float = 30.0) -> Path:
    """A motion-JPEG file whose pictures carry their number as sixteen black or white bars."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (320, 240))
    for number in range(frames):
        bars = [255 * (number >> bit & 1) for bit in range(16)]
        row = np.repeat(np.array(bars, np.uint8), 20)
        writer.write(np.repeat(np.tile(row, (240, 1))[:, :, None], 3, axis=2))
    writer.release()
    return path


def _number_in(picture: np.ndarray) -> int:
    bars = picture[120, 10::20].mean(axis=-1) > 127
    return sum(1 << bit for bit, lit in enumerate(bars) if lit)


@pytest.mark.skipif(not POSE2SIM.is_dir(), reason="the real videos are not here (data/video/pose2sim_single)")
def test_four_real_videos_flat_out_come_back_with_every_frame(tmp_path: Path) -> None:
    videos = sorted(POSE2SIM.glob("*.mp4"))
    code, account, err = record(_rig(tmp_path / "rig.toml", videos, pace="fast"), tmp_path / "out")
    assert code == 0, err
    with Recording(Path(account["session"])) as recording:
        assert len(recording.streams) == 4
        for stream in recording.streams.values():
            assert [stream.record(i).header.number for i in range(len(stream))] == list(range(100))


@pytest.mark.skipif(not POSE2SIM.is_dir(), reason="the real videos are not here (data/video/pose2sim_single)")
def test_four_real_videos_paced_at_10_fps_come_back_with_the_right_times(tmp_path: Path) -> None:
    videos = sorted(POSE2SIM.glob("*.mp4"))
    rig = _rig(tmp_path / "rig.toml", videos, pace="realtime", more="color = { fps = 10 }", queue_mb=128)
    code, account, err = record(rig, tmp_path / "out")
    assert code == 0, err
    with Recording(Path(account["session"])) as recording:
        for stream in recording.streams.values():
            headers = [stream.record(i).header for i in range(len(stream))]
            assert [h.number for h in headers] == list(range(100))
            assert [h.device_time_s for h in headers] == pytest.approx([i / 10 for i in range(100)])
            arrived_s = np.array([h.monotonic_ns for h in headers]) / 1e9
            late_s = (arrived_s - arrived_s[0]) - np.arange(100) / 10
            assert abs(float(np.median(late_s))) < 0.05  # in step with the clock, however busy the machine


def test_a_file_waits_while_its_ring_is_full_and_loses_nothing(tmp_path: Path) -> None:
    video = _make_video(tmp_path / "long.avi", 400)  # 92 MB of bare pixels through 8 MB of queue
    rig = _rig(tmp_path / "rig.toml", [video], pace="fast", more="passthrough = false", queue_mb=8)
    with start_recording(rig, tmp_path / "out") as recording:
        recording.wait_until_started()
        os.kill(recording.child("writer"), signal.SIGSTOP)
        time.sleep(1.0)
        os.kill(recording.child("writer"), signal.SIGCONT)
        code, account, err = recording.finish()
    assert code == 0, err
    with Recording(Path(account["session"])) as recorded:
        stream = recorded.streams["long/color"]
        assert len(stream) == 400
        assert [_number_in(stream.frame(i).data) for i in range(0, 400, 37)] == list(range(0, 400, 37))


def test_a_real_http_mjpeg_stream_is_recorded_byte_for_byte(tmp_path: Path) -> None:
    video = cv2.VideoCapture(str(_make_video(tmp_path / "source.avi", 30)))
    jpegs = []
    while (got := video.read())[0]:
        jpegs.append(cv2.imencode(".jpg", got[1])[1].tobytes())
    video.release()
    assert len(jpegs) == 30
    with MjpegServer(jpegs, fps=30, after="repeat") as server:
        rig = tmp_path / "rig.toml"
        rig.write_text(
            _HEAD.format(queue_mb=32)
            + _CAMERA.format(name="web", device=server.url(), pace="realtime", more="")
        )
        code, account, err = record(rig, tmp_path / "out", "--duration", "3")
    assert code == 0, err
    with Recording(Path(account["session"])) as recorded:
        stream = recorded.streams["web/color"]
        assert len(stream) > 45
        for index in range(len(stream)):
            assert stream.record(index).payload in jpegs
