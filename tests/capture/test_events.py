"""Events of a session: what a full disk refuses is written when it can be, in order."""

from __future__ import annotations

import errno
import json
import threading
import time
from pathlib import Path

import pytest

from capture.events import EventLog
from codec import durable
from codec.errors import StorageError
from scripts.campaigns._faulty_calls import FaultyCalls, fails, replaced


def numbers(folder: Path) -> list[int]:
    return [json.loads(line)["number"] for line in (folder / "events.jsonl").read_text().splitlines()]


def test_an_event_is_there_at_once_and_synced_by_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[threading.Thread, int]] = []
    done = threading.Event()

    def sync(path: Path) -> None:
        synced.append((threading.current_thread(), path.stat().st_size))
        done.set()

    monkeypatch.setattr(durable, "sync_file", sync)
    events = EventLog(tmp_path, pytest.fail)
    events.note({"event": "a", "number": 0})
    assert numbers(tmp_path) == [0]
    assert done.wait(20)
    events.note({"event": "a", "number": 1})
    events.close()
    events.close()
    assert threading.current_thread() not in {thread for thread, _ in synced}
    assert synced[-1][1] == (tmp_path / "events.jsonl").stat().st_size


def test_a_disk_that_refuses_a_sync_is_told_of_once_and_gets_the_next_events(tmp_path: Path) -> None:
    told: list[str] = []
    with replaced(FaultyCalls(fdatasync=fails(errno.EIO, every=True))):
        events = EventLog(tmp_path, told.append)
        events.note({"event": "a", "number": 0})
        deadline_s = time.monotonic() + 20
        while not told and time.monotonic() < deadline_s:
            time.sleep(0.01)
        events.note({"event": "a", "number": 1})
        events.close()
    assert numbers(tmp_path) == [0, 1]
    assert len(told) == 1
    assert "cannot sync" in told[0]


def test_events_that_a_full_disk_refused_come_later_and_in_order(tmp_path: Path) -> None:
    events = EventLog(tmp_path, pytest.fail)
    events.note({"event": "a", "number": 0})
    with replaced(FaultyCalls(write=fails(errno.ENOSPC, every=True))):
        for number in (1, 2, 3):
            events.note({"event": "a", "number": number})  # the writer tells of a full disk
    assert numbers(tmp_path) == [0]
    events.note({"event": "a", "number": 4})
    assert numbers(tmp_path) == [0, 1, 2, 3, 4]
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    stamps = [json.loads(line)["monotonic_ns"] for line in lines]
    assert stamps == sorted(stamps)


def test_any_other_refusal_is_told_once(tmp_path: Path) -> None:
    events = EventLog(tmp_path, pytest.fail)
    with replaced(FaultyCalls(write=fails(errno.EIO, every=True))):
        with pytest.raises(StorageError, match="cannot write"):
            events.note({"event": "a", "number": 0})
        events.note({"event": "a", "number": 1})
    events.note({"event": "a", "number": 2})
    assert numbers(tmp_path) == [0, 1, 2]
    with replaced(FaultyCalls(write=fails(errno.EIO))), pytest.raises(StorageError):
        events.note({"event": "a", "number": 3})
