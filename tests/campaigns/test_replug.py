"""A short look at the campaign that unplugs cameras and makes them hang."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from random import Random
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from scripts.campaigns import replug
from scripts.campaigns._campaign import HELD
from scripts.campaigns._mjpeg import MjpegCamera
from scripts.campaigns._session import RigPlan, TriedRecording

pytest.importorskip("pyrealsense2")


def test_cameras_come_back_and_every_frame_is_accounted_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # How soon is for the campaign on a quiet machine; that they come back at all is for every machine.
    monkeypatch.setattr(replug, "_LIMIT_S", 60.0)
    assert replug.main(["--cycles", "6", "--hold", "1", "--out", str(tmp_path)]) == HELD, capsys.readouterr()
    lines = (tmp_path / "replug" / "ledger.jsonl").read_text().splitlines()
    result = json.loads(lines[1])["result"]
    assert len(result["back_s"]) == 6
    assert result["sent"] >= result["written"] > 100


def test_a_reset_that_never_returns_ends_as_any_hang_in_closing_does(tmp_path: Path) -> None:
    plan = RigPlan(cameras=1, width=160, height=120, more=(("rs0", f"{replug._REALSENSE}\nindex = 0"),))
    with TriedRecording(plan, tmp_path / "logs", tmp_path / "root") as recording:
        recording.wait_until_started()
        camera = replug.Victim("rs0", tmp_path / "logs")
        recording.wait_for(lambda: (tmp_path / "logs" / "rs0.sent").stat().st_size > 0, 20.0)
        assert camera.try_one("hang_reset", Random(1)) < replug._GIVE_UP_S
        assert recording.stop() == 3
        assert recording.account().unaccounted == []
    lines = (recording.session / "events.jsonl").read_text().splitlines()
    hangs = [event["state"] for event in map(json.loads, lines) if event["event"] == "camera-hangs"]
    assert hangs == ["away"]  # an opening would be given twice as long with each kill, up to two minutes


def test_a_vanished_camera_answers_nobody_and_then_serves_again() -> None:
    with MjpegCamera() as web:
        place = urlsplit(web.url).netloc.split(":")
        web.vanished = True
        with pytest.raises(TimeoutError):
            socket.create_connection((place[0], int(place[1])), 0.3)
        web.vanished = False
        with urlopen(web.url, timeout=20.0) as stream:
            assert b"image/jpeg" in stream.read(200)


def test_a_camera_that_stays_away_breaks_the_promise() -> None:
    result = {"back_s": [["unplug of cam", 90.0]], "growth": {}, "calm_lost": 1, "unaccounted": 0}
    promises = replug.judge([{**result, "wrong": 0, "events_bytes": 0}])
    assert [promise.held for promise in promises] == [False, False, True, True, True]
