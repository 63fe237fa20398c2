"""The events of a recording: whole lines at once, and synced without anybody waiting for it."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from capture.event_log import EventLog
from codec import durable
from codec.errors import StorageError


def lines(folder: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (folder / "events.jsonl").read_text().splitlines()]


def test_an_event_is_there_at_once_and_synced_by_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = threading.Event()
    threads = set()

    def fdatasync(fd: int) -> None:
        threads.add(threading.current_thread())
        synced.set()

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    log = EventLog(tmp_path, pytest.fail)
    log.append({"event": "started"})
    assert lines(tmp_path) == ["started"]
    assert synced.wait(20)
    assert threading.current_thread() not in threads
    log.close()


def test_the_last_event_is_synced_when_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(durable.os, "fdatasync", lambda fd: synced.append(os.fstat(fd).st_size))
    log = EventLog(tmp_path, pytest.fail)
    log.append({"event": "started"})
    log.append({"event": "ended"})
    log.close()
    log.close()
    assert synced[-1] == (tmp_path / "events.jsonl").stat().st_size


def test_a_disk_that_refuses_a_sync_is_told_of_once_and_gets_the_next_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    refused = threading.Event()

    def refuse(fd: int) -> None:
        raise OSError(5, "Input/output error")

    def on_error(message: str) -> None:
        told.append(message)
        refused.set()

    monkeypatch.setattr(os, "fdatasync", refuse)
    log = EventLog(tmp_path, on_error)
    log.append({"event": "started"})
    assert refused.wait(20)
    log.append({"event": "ended"})
    assert lines(tmp_path) == ["started", "ended"]
    log.close()
    assert len(told) == 1
    assert "cannot sync" in told[0]


def test_events_of_a_session_that_has_some_already_are_an_error(tmp_path: Path) -> None:
    EventLog(tmp_path, pytest.fail).close()
    with pytest.raises(StorageError, match="exists already"):
        EventLog(tmp_path, pytest.fail)
