"""`nightrig play`: the right frames at the right moment, with a screen or without."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from capture.cli import main
from capture.player import Player
from capture.recording import Recording
from codec.errors import ConfigError
from tests.capture.make_session import STEP_NS, SessionMaker, depth_picture, flip_payload
from tests.capture.preview.xserver import XVFB, Hand, XServer, x_server

STEP_S = STEP_NS / 1e9


@pytest.fixture
def maker(tmp_path: Path) -> SessionMaker:
    return SessionMaker(tmp_path / "session")


@pytest.fixture
def recording(maker: SessionMaker) -> Iterator[Recording]:
    maker.camera("front", frames=10, lost=[6])
    with Recording(maker.folder) as opened:
        yield opened


def shown(player: Player) -> list[str]:
    return [tile.rate.value for tile in player.tiles()]


def test_frames_follow_the_recorded_pace_and_stop_at_the_end(recording: Recording) -> None:
    player = Player(recording)
    assert shown(player) == ["#0", "#0"]
    player.advance(3.2 * STEP_S)
    assert shown(player) == ["#3", "#3"]
    assert np.array_equal(player.tiles()[0].data, depth_picture(3, seed=1))  # type: ignore[arg-type]
    assert player.tiles()[1].pixel_format == "jpeg"
    player.advance(100)
    assert shown(player) == ["#9", "#9"]
    assert not player.playing
    player.toggle()
    assert player.playing
    assert player.position_ns == player.begin_ns


def test_speed_and_loop_are_followed(recording: Recording) -> None:
    player = Player(recording, speed=2.0, loop=True)
    player.advance(2 * STEP_S)
    assert shown(player)[0] == "#4"
    player.advance(100)
    assert shown(player)[0] == "#0"
    assert player.playing


def test_steps_go_frame_by_frame_over_what_is_missing_and_pause(recording: Recording) -> None:
    player = Player(recording)
    player.advance(5 * STEP_S)
    player.step(1)
    assert not player.playing
    assert shown(player) == ["#7", "#7"]
    player.step(-1)
    assert shown(player) == ["#5", "#5"]
    player.step(-100)
    assert shown(player) == ["#0", "#0"]
    player.advance(1.0)
    assert shown(player) == ["#0", "#0"]


def test_line_says_where_we_are_and_what_is_missing_here(recording: Recording) -> None:
    player = Player(recording)
    labels = {field.label: field.value for field in player.fields()}
    assert labels["position"] == "0:00:00.0 of 0:00:00.3"
    assert labels["UTC"] == "2025-01-01 22:00:00.000"
    assert "missing here" not in labels
    player.advance(6 * STEP_S)
    assert {f.label: f.value for f in player.fields()}["missing here"] == "front/depth: 1 camera"


def test_damaged_frame_says_so_and_play_goes_on(maker: SessionMaker) -> None:
    folder = maker.camera("front", frames=4)
    flip_payload(folder / "000.nrig", 1)
    with Recording(maker.folder) as recording:
        player = Player(recording)
        player.step(1)
        assert [tile.note for tile in player.tiles()] == ["this frame is damaged", ""]
        player.step(1)
        assert shown(player) == ["#2", "#2"]


def test_silence_during_an_outage_is_shown(maker: SessionMaker) -> None:
    maker.camera("front", frames=4, second_epoch=4)
    with Recording(maker.folder) as recording:
        player = Player(recording)
        player.advance(1.5)
        assert player.tiles()[0].note.startswith("no frame for 1 s")
        player.advance(0.7)
        assert player.tiles()[0].note == ""


def test_unknown_camera_and_recording_without_pictures_are_refused(
    maker: SessionMaker, recording: Recording
) -> None:
    with pytest.raises(ConfigError, match="did you mean front"):
        Player(recording, camera="fornt")
    people = maker.estimator()
    with Recording(people) as bodies, pytest.raises(ConfigError, match="no pictures"):
        Player(bodies)


def test_without_a_display_one_clear_line(
    maker: SessionMaker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    maker.camera("front", frames=2)
    assert main(["play", str(maker.folder)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["play", str(maker.folder), "--speed", "0"]) == 2
    assert main(["play", str(maker.folder / "nowhere")]) == 2
    capsys.readouterr()
    assert main(["play", str(maker.folder), "--camera", "nobody"]) == 2
    assert "--camera nobody: no such camera" in capsys.readouterr().err


@pytest.mark.skipif(XVFB is None, reason="Xvfb is not installed: apt-get install -y xvfb")
def test_window_shows_the_recording_and_obeys_its_keys(maker: SessionMaker, tmp_path: Path) -> None:
    maker.camera("front", frames=20)
    screen, work = tmp_path / "screen", tmp_path / "work"
    screen.mkdir()
    work.mkdir()
    with x_server(screen) as (server, hand), playing(maker.folder, server, work) as process:
        wait_until(lambda: len(hand.windows()) == 1, what="window")
        hand.press(" ")
        hand.press(".")
        press_until(hand, "s", lambda: any(work.glob("snapshot-*.png")), what="snapshot")
        press_until(hand, "q", lambda: process.poll() is not None, what="end")
        assert process.returncode == 0
    snapshot = min(work.glob("snapshot-*.png"))
    assert cv2.imread(str(snapshot)).std() > 10


@contextmanager
def playing(session: Path, server: XServer, work: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`nightrig play --loop` at work; ended whatever happens."""
    root = Path(__file__).parents[3]
    environment = {**os.environ, "DISPLAY": server.name, "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "capture", "play", str(session), "--loop"]
    process = subprocess.Popen(command, cwd=work, env=environment)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def press_until(hand: Hand, letter: str, done: Callable[[], bool], *, what: str) -> None:
    """A window that has just come may miss a key."""

    def pressed() -> bool:
        if not done() and len(hand.windows()) == 1:
            with suppress(ValueError):  # it has just gone
                hand.press(letter)
        return done()

    wait_until(pressed, what=what)


def wait_until(done: Callable[[], bool], *, what: str) -> None:
    deadline_s = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline_s, f"there was no {what}"
        time.sleep(0.1)
