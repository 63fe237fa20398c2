"""The preview process as it runs: a real X server, real rings, real keys."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rig_parts import MESH, RigParts, camera, flat_color, flat_depth
from xserver import XVFB, Hand, XServer, x_server

from capture.frames import CameraInfo
from capture.preview import depth_colors
from capture.preview.tiles import CARD, LEVELS, TEXT
from capture.spawn import Child

needs_screen = pytest.mark.skipif(XVFB is None, reason="Xvfb is not installed: apt-get install -y xvfb")

ORANGE = (20, 120, 240)
DEPTH_MM = 1200
HEADLESS = """
__version__ = "5.0.0"
class error(Exception): pass
def setNumThreads(n): pass
def namedWindow(name, flags): raise error("The function is not implemented")
def __getattr__(name):
    if name.startswith("__"): raise AttributeError(name)
    return 0
"""
Screen = np.ndarray[Any, np.dtype[np.uint8]]


@pytest.fixture
def screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[XServer, Hand]]:
    folder = tmp_path / "screen"
    folder.mkdir()
    with x_server(folder) as (server, hand):
        monkeypatch.setenv("DISPLAY", server.name)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        yield server, hand


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[RigParts]:
    session = tmp_path / "session"
    session.mkdir()
    parts = RigParts(session, {"front": camera("front")}, results=("bodies",))
    yield parts
    parts.close()


class Running:
    """A preview process at work on a rig whose camera delivers; `with` ends it, whatever happens."""

    def __init__(self, rig: RigParts) -> None:
        self._rig = rig
        self.color: tuple[int, int, int] = ORANGE
        self.delivering = True
        self._over = threading.Event()
        self._camera = threading.Thread(target=self._deliver)
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Running:
        self.child: Child = self._rig.spawn()
        self._camera.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._camera.join()
        if self.child.exit_code() is None:
            self.child.kill()
        with contextlib.suppress(OSError):  # a test may have closed it
            self.child.close()

    def _deliver(self) -> None:
        while not self._over.wait(0.03):
            if self.delivering:
                self._rig.push("front", 0, flat_color(self.color))
                self._rig.push("front", 1, flat_depth(DEPTH_MM))

    def stop(self) -> None:
        self.child.send("stop")
        self.ends_well()

    def ends_well(self) -> list[dict[str, Any]]:
        assert self.child.wait(20.0), "the preview did not end"
        assert self.child.exit_code() == 0
        self.events += self.child.events()
        assert self.events[-1] == {"event": "done"}
        return self.events

    def wait_for_event(self, kind: str) -> dict[str, Any]:
        deadline_s = time.monotonic() + 20.0
        while time.monotonic() < deadline_s:
            self.events += self.child.events()
            for event in self.events:
                if event["event"] == kind:
                    return event
            time.sleep(0.02)
        raise AssertionError(f"no event {kind!r}, only {self.events}")


def shows(color: tuple[int, int, int], share: float = 0.02, tolerance: int = 3) -> Callable[[Screen], bool]:
    """Whether at least this share of the screen has (about) that colour."""

    def look(picture: Screen) -> bool:
        near = np.abs(picture.astype(np.int16) - np.array(color, np.int16)).max(axis=2) <= tolerance
        return bool(near.mean() >= share)

    return look


def not_shows(color: tuple[int, int, int], share: float = 0.02) -> Callable[[Screen], bool]:
    look = shows(color, share)
    return lambda picture: not look(picture)


def depth_color() -> tuple[int, int, int]:
    """What the colour map makes of a wall at DEPTH_MM."""
    span = depth_colors.follow(depth_colors.DEFAULT_RANGE, [(flat_depth(DEPTH_MM), 0.001)])
    return depth_colors.color_at(DEPTH_MM / 1000, span)


# ---- the picture ----


@needs_screen
def test_the_window_shows_colour_and_depth_as_they_are_and_a_line_of_truth(
    rig: RigParts, screen: tuple[XServer, Hand]
) -> None:
    server, _ = screen
    rig.writer["disk_rate"] = 18_200_000
    with Running(rig) as preview:
        server.wait_for_picture(shows(ORANGE), what="the colour frame")
        picture = server.wait_for_picture(shows(depth_color()), what="the depth frame in its colour")
        rows = np.flatnonzero((picture == np.array(CARD)).all(axis=2).sum(axis=1) > 300)
        line = picture[rows.max() - 36 : rows.max()]
        bright = (np.abs(line.astype(int) - np.array(TEXT)).max(axis=2) < 40).sum()
        assert bright > 300, "the line along the bottom is empty"
        preview.stop()
    assert server.process.poll() is None


@needs_screen
def test_dropped_frames_turn_red(rig: RigParts, screen: tuple[XServer, Hand]) -> None:
    server, _ = screen
    with Running(rig) as preview:
        server.wait_for_picture(shows(ORANGE), what="the colour frame")
        red = shows(LEVELS["bad"], share=15 / (1400 * 900), tolerance=30)
        assert not red(server.picture())
        rig.pages["front"]["dropped0"] = 188
        server.wait_for_picture(red, what="the number of dropped frames in red")
        preview.stop()


@needs_screen
def test_a_mesh_is_drawn_over_the_colour_picture_and_m_takes_it_away(
    rig: RigParts, screen: tuple[XServer, Hand]
) -> None:
    server, hand = screen
    around = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    ball_mm = 300 * around / np.linalg.norm(around, axis=1, keepdims=True) + np.float32([0, 0, 1500])
    rig.introduce("bodies", CameraInfo("bodies", "estimator", "truth", (MESH,)))
    with Running(rig) as preview:
        server.wait_for_picture(shows(ORANGE, share=0.09), what="the colour frame")
        stop = threading.Event()

        def estimate() -> None:
            while not stop.wait(0.05):
                rig.push("bodies", 0, ball_mm[None], meta=b'{"vertices":290}')

        estimator = threading.Thread(target=estimate)
        estimator.start()
        try:
            server.wait_for_picture(not_shows(ORANGE, share=0.09), what="a body over the colour frame")
            hand.press("m")
            server.wait_for_picture(shows(ORANGE, share=0.09), what="the colour frame alone")
        finally:
            stop.set()
            estimator.join()
        preview.stop()


@needs_screen
def test_a_silent_camera_is_named_so_over_its_last_picture(
    rig: RigParts, screen: tuple[XServer, Hand]
) -> None:
    server, _ = screen
    with Running(rig) as preview:
        server.wait_for_picture(shows(ORANGE), what="the colour frame")
        preview.delivering = False
        server.wait_for_picture(not_shows(ORANGE), what="a darkened picture")
        preview.delivering = True
        server.wait_for_picture(shows(ORANGE), what="the colour frame again")
        preview.stop()


# ---- keys and the window ----


@needs_screen
def test_keys_freeze_change_the_view_save_a_snapshot_and_ask_for_the_end_once(
    rig: RigParts, screen: tuple[XServer, Hand]
) -> None:
    server, hand = screen
    with Running(rig) as preview:
        server.wait_for_picture(shows(ORANGE), what="the colour frame")

        hand.press(" ")
        server.wait_for_picture(shows(LEVELS["warn"], 20 / (1400 * 900)), what="the word FROZEN")
        preview.color = (200, 40, 40)
        time.sleep(0.5)
        assert shows(ORANGE)(server.picture())
        hand.press(" ")
        server.wait_for_picture(shows(preview.color), what="the new frames")

        hand.press("s")
        (path,) = _wait_for_files(rig.session, "snapshot-*.png")
        saved = cv2.imread(str(path))
        assert shows(preview.color)(saved)

        hand.press("d")
        server.wait_for_picture(not_shows(preview.color), what="depth alone")
        hand.press("d")
        server.wait_for_picture(shows(preview.color), what="colour alone")

        hand.press("q")
        hand.press("q")
        preview.wait_for_event("quit")
        assert preview.child.exit_code() is None, "it shows how the recording ends until it is told to stop"
        time.sleep(0.3)
        preview.stop()
    assert [event["event"] for event in preview.events].count("quit") == 1


@needs_screen
def test_closing_the_window_ends_the_preview_and_not_the_recording(
    rig: RigParts, screen: tuple[XServer, Hand]
) -> None:
    server, hand = screen
    with Running(rig) as preview:
        server.wait_for_picture(shows(ORANGE), what="the colour frame")
        hand.close_window()
        events = preview.ends_well()
    assert [event["event"] for event in events] == ["notice", "done"]
    assert "recording goes on" in events[0]["message"]


@needs_screen
def test_a_resized_window_is_filled_with_unstretched_tiles(
    rig: RigParts, screen: tuple[XServer, Hand]
) -> None:
    server, hand = screen
    with Running(rig) as preview:
        server.wait_for_picture(shows(ORANGE), what="the colour frame")
        hand.resize_window(1200, 500)

        def is_laid_out_anew(picture: Screen) -> bool:
            mask = (picture == np.array(ORANGE)).all(axis=2)
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            fills = np.array_equal(picture[490, 1190], CARD)  # the line along the bottom ends there
            return fills and len(rows) > 100 and abs(len(columns) / len(rows) - 4 / 3) < 0.02

        server.wait_for_picture(is_laid_out_anew, what="tiles of the right shape in the new window")
        preview.stop()


@needs_screen
def test_a_folder_that_takes_no_file_costs_the_snapshot_and_nothing_else(
    rig: RigParts, screen: tuple[XServer, Hand]
) -> None:
    server, hand = screen
    shutil.rmtree(rig.session)  # nothing can be written there any more
    with Running(rig) as preview:
        server.wait_for_picture(shows(ORANGE), what="the colour frame")
        hand.press("s")
        assert preview.wait_for_event("notice")["message"].startswith("no snapshot: ")
        preview.color = (200, 40, 40)
        server.wait_for_picture(shows(preview.color), what="further frames")
        preview.stop()


# ---- without a screen ----


def test_without_a_display_it_says_so_once_and_ends(
    rig: RigParts, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with Running(rig) as preview:
        events = preview.ends_well()
    assert [event["event"] for event in events] == ["notice", "done"]
    assert events[0]["message"].startswith("no display: the preview is off (recording goes on)")
    assert capfd.readouterr().err == ""


def test_a_display_that_hangs_up_is_no_display(
    rig: RigParts, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where something listens that will not have us, Qt would abort the process."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if port < 6000:
            pytest.skip("the system gave a port below those of X servers")

        def hang_up() -> None:
            for _ in range(2):
                server.accept()[0].close()

        refuser = threading.Thread(target=hang_up)
        refuser.start()
        monkeypatch.setenv("DISPLAY", f"127.0.0.1:{port - 6000}")
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        with Running(rig) as preview:
            events = preview.ends_well()
        refuser.join()
    assert [event["event"] for event in events] == ["notice", "done"]
    assert capfd.readouterr().err == ""


@needs_screen
def test_a_screen_that_dies_takes_only_the_window_with_it(
    rig: RigParts, screen: tuple[XServer, Hand], capfd: pytest.CaptureFixture[str]
) -> None:
    server, _ = screen
    with Running(rig) as preview:
        server.wait_for_picture(shows(ORANGE), what="the colour frame")
        os.kill(server.process.pid, signal.SIGKILL)
        events = preview.ends_well()
    assert [event["event"] for event in events] == ["notice", "done"]
    assert "the display is gone" in events[0]["message"]
    assert capfd.readouterr().err == ""


@needs_screen
@pytest.mark.parametrize(
    ("opencv", "word"),
    [
        ('raise ImportError("libGL.so.1: cannot open shared object file: No such file")', "libGL.so.1"),
        ("raise ImportError('DLL of tomorrow')", "apt-get install -y libgl1 libglib2.0-0"),
        ("raise ModuleNotFoundError('cv2')", "pip install opencv-python"),
        (HEADLESS, "opencv-python-headless"),
    ],
)
def test_an_opencv_that_opens_no_window_is_explained(
    rig: RigParts,
    screen: tuple[XServer, Hand],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    opencv: str,
    word: str,
) -> None:
    (tmp_path / "cv2.py").write_text(opencv)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Running(rig) as preview:
        events = preview.ends_well()
    assert [event["event"] for event in events] == ["notice", "done"]
    assert events[0]["message"].startswith("the preview is off (recording goes on): ")
    assert word in events[0]["message"]


@needs_screen
def test_it_ends_when_its_parent_is_gone(rig: RigParts, screen: tuple[XServer, Hand]) -> None:
    server, _ = screen
    with Running(rig) as preview:
        server.wait_for_picture(shows(ORANGE), what="the colour frame")
        preview.child.close()
        assert preview.child.wait(20.0), "the preview did not end"
        assert preview.child.exit_code() == 0


def _wait_for_files(folder: Path, pattern: str) -> list[Path]:
    deadline_s = time.monotonic() + 20.0
    while not (found := sorted(folder.glob(pattern))):
        assert time.monotonic() < deadline_s, f"no {pattern} in {folder}"
        time.sleep(0.02)
    return found


def test_the_supervisor_does_not_pay_for_opencv() -> None:
    code = "import sys, json, capture.preview; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cv2" not in json.loads(done.stdout)
