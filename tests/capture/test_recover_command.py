"""The rig's own command that brings a camera back: told what it needs, never waited for, killed in time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from capture import processes
from capture.camera import COUNTERS
from capture.counters import CounterPage
from capture.processes import CameraProcess
from capture.recover_command import RecoverCommand
from capture.ring import FrameRing
from tests.capture.scripted_source import spec


def ending(command: RecoverCommand) -> str:
    deadline_s = time.monotonic() + 20.0
    while (ended := command.ended()) is None:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    return ended


def test_it_is_told_which_camera_it_is_for(tmp_path: Path) -> None:
    command = RecoverCommand(("sh", "-c", f'echo "$NIGHTRIG_CAMERA" > {tmp_path}/told'), after=1)
    assert command.start({"NIGHTRIG_CAMERA": "front"}) is None
    assert ending(command) == ""
    assert (tmp_path / "told").read_text() == "front\n"
    assert command.ended() is None


def test_failure_is_a_word_and_nothing_more() -> None:
    command = RecoverCommand(("sh", "-c", "exit 3"), after=1)
    assert command.start({}) is None
    assert ending(command) == "exit code 3"
    absent = RecoverCommand(("no-such-program",), after=1)
    assert "no-such-program cannot be started" in (absent.start({}) or "")
    assert absent.ended() is None


def test_one_that_hangs_is_killed() -> None:
    command = RecoverCommand(("sleep", "3600"), after=1, time_limit_s=0.1)
    command.start({})
    assert "not done after 0.1 s" in ending(command)


def test_it_is_due_after_so_many_failures_and_then_ever_more_seldom() -> None:
    command = RecoverCommand(("true",), after=3)
    due = []
    for failures in range(1, 50):
        if command.is_due(failures):
            due.append(failures)
            command.start({})
            ending(command)
    assert due == [3, 6, 12, 24, 48]
    assert not command.is_due(0)
    assert command.is_due(3)
    assert not RecoverCommand((), after=1).is_due(100)


class _Journal:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def event(self, kind: str, /, **fields: Any) -> None:
        self.events.append((kind, fields))

    def problem(self, message: str, *, serious: bool = True) -> None:
        pass

    say = problem


def test_camera_is_tried_again_as_soon_as_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "CAMERA_ENTRY", "tests.capture.spawn_entries:repeat")
    journal, counters = _Journal(), CounterPage(COUNTERS)
    camera_spec = spec(recover_command=("true",), recover_after=5)
    camera = CameraProcess(camera_spec, FrameRing.create(1 << 16), counters, journal)
    camera.spawn()
    camera.go()
    counters["failures"] = 5
    deadline_s = time.monotonic() + 30.0
    try:
        while ("camera-problem", {"camera": "front", "message": "again"}) not in journal.events:
            assert time.monotonic() < deadline_s, journal.events
            camera.pump()
            camera.tend()
            time.sleep(0.01)
    finally:
        assert camera.child is not None
        camera.child.kill()
        camera.child.close()
        camera.release()
    kinds = [kind for kind, fields in journal.events if fields.get("message") != "go"]
    assert kinds == ["recover-command", "recover-command-ended", "camera-problem"]
