"""A night of trouble leaves small files, and nothing that was held back goes uncounted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from capture import journal
from capture.journal import SessionJournal
from capture.session import load_session


@pytest.fixture
def night(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Ten hours of a camera that flaps every two seconds, and of a library that talks a lot."""
    now = [0.0]
    monkeypatch.setattr(journal.time, "monotonic", lambda: now[0])
    told: list[str] = []
    written = SessionJournal(told.append)
    written.begin(tmp_path)
    written.event("started")
    for turn in range(18_000):
        now[0] = 2.0 * turn
        written.event("camera-away", camera="cam0", message=f"lost {turn} " + "x" * 5000)
        written.event("camera-opened", camera="cam0")
        written.problem("line " + "y" * (turn % 3000))
    now[0] += 3600.0
    written.event("camera-opened", camera="cam1")
    written.save({"problems": written.problems, "problems_left_out": written.problems_left_out})
    written.end(exit_code=3)
    return told


def test_events_of_a_night_stay_small_and_those_held_back_are_counted(
    night: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "events.jsonl"
    assert path.stat().st_size < 1_000_000
    events = [json.loads(line) for line in path.read_text().splitlines()]
    lines = Counter(event["event"] for event in events)
    assert 600 <= lines["camera-away"] <= 640
    owed = events[-1]["held_back"]
    for kind in ("camera-away", "camera-opened"):
        held_back = sum(e.get("held_back_before", 0) for e in events if e["event"] == kind)
        of_cam1 = kind == "camera-opened"
        assert lines[kind] - of_cam1 + held_back + owed[f"{kind} cam0"] == 18_000
    assert events[-1]["event"] == "ended"
    assert any(event.get("camera") == "cam1" for event in events)  # nobody else is silenced


def test_session_json_keeps_the_first_and_the_last_problems(night: list[str], tmp_path: Path) -> None:
    kept = load_session(tmp_path)
    assert (tmp_path / "session.json").stat().st_size < 100_000
    assert len(kept["problems"]) == 100
    assert kept["problems"][0] == "line "
    assert kept["problems_left_out"] > 0
