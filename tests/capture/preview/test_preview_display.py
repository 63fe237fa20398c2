"""Whether there is a screen is found out without losing the process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from xserver import XVFB, XServer

from capture.preview import display
from capture.preview.display import NoDisplayError, open_display


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What open_display sets for Qt ends with the test."""
    for name in ("QT_LOGGING_RULES", "QT_QPA_PLATFORM"):
        monkeypatch.setenv(name, os.environ.get(name, ""))


def test_no_name_is_no_display() -> None:
    with pytest.raises(NoDisplayError, match="neither DISPLAY nor WAYLAND_DISPLAY is set"):
        open_display({})


@pytest.mark.parametrize("name", ["nonsense", ":", "a:b", ":1x"])
def test_a_name_that_is_none_is_named(name: str) -> None:
    with pytest.raises(NoDisplayError, match=f"DISPLAY={name} is not host:number"):
        open_display({"DISPLAY": name})


@pytest.mark.parametrize("name", [":7431", "unix:7431", ":7431.0", "127.0.0.1:41001", ":99999999999"])
def test_a_server_that_does_not_answer_is_named(name: str) -> None:
    with pytest.raises(NoDisplayError, match="no X server answers at DISPLAY="):
        open_display({"DISPLAY": name})


def test_a_compositor_alone_does_not_help_an_opencv_without_wayland(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(display, "_opencv_speaks_wayland", lambda: False)
    with pytest.raises(NoDisplayError, match="Xwayland"):
        open_display({"WAYLAND_DISPLAY": "wayland-0", "XDG_RUNTIME_DIR": "/tmp"})


def test_a_compositor_is_found_by_its_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "_opencv_speaks_wayland", lambda: True)
    environment = {"WAYLAND_DISPLAY": "wayland-0", "XDG_RUNTIME_DIR": str(tmp_path)}
    with pytest.raises(NoDisplayError, match="no compositor answers"):
        open_display(environment)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "wayland-0"))
        server.listen()
        assert open_display(environment).size is None


@pytest.mark.skipif(XVFB is None, reason="Xvfb is not installed: apt-get install -y xvfb")
def test_a_server_that_answers_tells_the_size_of_its_screen(tmp_path: Path) -> None:
    with XServer(tmp_path, size=(800, 480)) as server:
        assert open_display({"DISPLAY": server.name}).size == (800, 480)


def _run(body: str) -> subprocess.CompletedProcess[str]:
    code = "import ctypes\nfrom capture.preview.display import ExitGuard\n" + textwrap.dedent(body)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)


def test_a_library_that_ends_the_process_does_not_have_the_last_word() -> None:
    done = _run(
        """
        with ExitGuard(lambda: print("the display is gone", flush=True)):
            ctypes.CDLL(None).exit(1)
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "the display is gone\n", "")


def test_an_end_of_our_own_is_left_alone() -> None:
    done = _run(
        """
        import sys
        with ExitGuard(lambda: print("the display is gone", flush=True)):
            pass
        sys.exit(7)
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
