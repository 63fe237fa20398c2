"""Events of a session: what a full disk refuses is written when it can be, in order."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from capture.events import EventLog
from codec.errors import StorageError
from scripts.campaigns._faulty_calls import FaultyCalls, fails, replaced


def numbers(folder: Path) -> list[int]:
    return [json.loads(line)["number"] for line in (folder / "events.jsonl").read_text().splitlines()]


def test_events_that_a_full_disk_refused_come_later_and_in_order(tmp_path: Path) -> None:
    events = EventLog(tmp_path)
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
    events = EventLog(tmp_path)
    with replaced(FaultyCalls(write=fails(errno.EIO, every=True))):
        with pytest.raises(StorageError, match="cannot write"):
            events.note({"event": "a", "number": 0})
        events.note({"event": "a", "number": 1})
    events.note({"event": "a", "number": 2})
    assert numbers(tmp_path) == [0, 1, 2]
    with replaced(FaultyCalls(write=fails(errno.EIO))), pytest.raises(StorageError):
        events.note({"event": "a", "number": 3})
