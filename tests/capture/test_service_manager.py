"""What systemd hears of a recording: a service manager that binds the socket and listens."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.capture.rigs import (
    Recording,
    children_of,
    event_kinds,
    events,
    small_rig,
    start_recording,
    wait_for,
)

_PATIENCE_S = 60.0
_WATCHDOG_S = 2.0


class Manager:
    """Listens, and remembers every word in the order it came."""

    def __init__(self, address: str) -> None:
        self.words: list[str] = []
        self.environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": str(round(_WATCHDOG_S * 1e6))}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(0.1)
        self._closed = False
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._closed:
            try:
                self.words += self._socket.recv(4096).decode().split("\n")
            except TimeoutError:
                continue

    def count(self, word: str) -> int:
        return sum(heard.startswith(word) for heard in self.words)

    def wait_for_pings(self, more: int, recording: Recording) -> None:
        had = self.count("WATCHDOG=1")
        wait_for(lambda: self.count("WATCHDOG=1") >= had + more, _PATIENCE_S, recording.process)

    def close(self) -> None:
        self._closed = True
        self._thread.join()
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.close()


def test_manager_hears_of_the_start_of_life_and_of_the_end(tmp_path: Path, manager: Manager) -> None:
    recording = start_recording(small_rig(tmp_path), tmp_path / "out", environment=manager.environment)
    recording.wait_until_started()
    wait_for(lambda: "READY=1" in manager.words, _PATIENCE_S, recording.process)
    before_ready = manager.words[: manager.words.index("READY=1")]
    assert all(word.startswith(("WATCHDOG=1", "EXTEND_TIMEOUT_USEC=")) for word in before_ready)
    wait_for(lambda: manager.count("STATUS=") > 0, _PATIENCE_S, recording.process)
    status = next(word for word in manager.words if word.startswith("STATUS="))
    assert "frames" in status
    assert "dropped 0" in status
    for pid in children_of(recording.process.pid):
        assert b"NOTIFY_SOCKET" not in Path(f"/proc/{pid}/environ").read_bytes()

    os.kill(recording.child("cam1"), signal.SIGKILL)  # an outage that is known is no reason for a restart
    wait_for(lambda: "camera-restart" in event_kinds(tmp_path / "out"), _PATIENCE_S, recording.process)
    manager.wait_for_pings(3, recording)

    os.killpg(recording.process.pid, signal.SIGTERM)  # to all of them, as KillMode=control-group does
    code, _, err = recording.finish()
    assert code == 3, err
    assert manager.count("STOPPING=1") == 1
    assert manager.words.index("STOPPING=1") > manager.words.index("READY=1")
    assert "stands-still" not in event_kinds(tmp_path / "out")


def test_frames_that_silently_reach_no_disk_end_the_pings(tmp_path: Path, manager: Manager) -> None:
    """One thread of the writer never returns: cameras live, hearts beat, the other camera is written."""
    root = tmp_path / "out"
    recording = start_recording(
        small_rig(tmp_path), root, module="tests.capture.stuck_recorder", environment=manager.environment
    )
    recording.wait_until_started()
    manager.wait_for_pings(3, recording)
    (root / "stuck").touch()
    wait_for(lambda: "stands-still" in event_kinds(root), _PATIENCE_S, recording.process)
    time.sleep(0.2)  # what was sent before is heard by then
    had = manager.count("WATCHDOG=1")
    time.sleep(2 * _WATCHDOG_S)
    assert manager.count("WATCHDOG=1") == had
    what = next(event["what"] for event in events(root) if event["event"] == "stands-still")
    assert len(what) == 1
    assert what[0].startswith("cam1: ")
    assert "waited for the writer" in what[0]

    (root / "stuck").unlink()
    wait_for(lambda: "goes-on" in event_kinds(root), _PATIENCE_S, recording.process)
    manager.wait_for_pings(3, recording)
    recording.interrupt()
    code, account, err = recording.finish()
    assert code == 0, err
    assert "recording stands still: cam1" in err
    for name in ("cam0/depth", "cam1/depth"):
        assert account["streams"][name]["written"] == account["streams"][name]["captured"] > 0


def test_recording_that_cannot_begin_never_says_that_it_is_ready(tmp_path: Path, manager: Manager) -> None:
    rig = tmp_path / "rig.toml"
    rig.write_text(
        'name = "x"\npreview = false\n[record]\nreserve_mb = 1\n[[cameras]]\nname = "a"\n'
        'source = "opencv"\ndevice = "/dev/nightrig-no-such-camera"\n'
    )
    recording = start_recording(rig, tmp_path / "out", environment=manager.environment)
    assert recording.finish()[0] == 1
    assert "READY=1" not in manager.words
    assert "STOPPING=1" in manager.words
