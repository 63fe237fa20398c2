"""Room is made beside the writer: what goes is told, and where nothing is left it is asked for less often."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from capture import room
from capture.room import RoomMaker
from scripts.campaigns._faulty_calls import FaultyCalls, fails, replaced
from tests.capture.make_session import SessionMaker


@pytest.fixture
def own(tmp_path: Path) -> Path:
    older = SessionMaker(tmp_path / "20250101T000000Z-a")
    older.camera("front", frames=8, per_segment=4)
    older.finish()
    maker = SessionMaker(tmp_path / "20250102T000000Z-a")
    maker.camera("front", frames=8, per_segment=4)
    return maker.finish()


class Told:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, kind: str, **fields: Any) -> None:
        self.events.append((kind, fields))


def test_what_another_session_lost_is_told_and_that_it_begins(own: Path) -> None:
    told = Told()
    maker = RoomMaker(own, told)
    maker.ask_for(1)
    maker.close()
    assert [kind for kind, _ in told.events] == ["notice", "deleted"]
    assert told.events[1][1]["session"] == "20250101T000000Z-a"
    assert told.events[1][1]["path"] == "front/000.nrig"
    assert maker.finds_room


def test_where_nothing_is_left_it_is_not_looked_for_all_the_time(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    maker = RoomMaker(own, told)
    maker._make(1 << 60)
    assert maker.finds_room
    maker._make(1)
    assert not maker.finds_room
    asked: list[int] = []
    monkeypatch.setattr(maker, "_make", asked.append)
    maker.ask_for(1)
    monkeypatch.setattr(room.time, "monotonic", lambda: 1e12)
    maker.ask_for(2)
    maker.close()
    assert asked == [2]


def test_disk_that_refuses_to_delete_is_told(own: Path) -> None:
    told = Told()
    maker = RoomMaker(own, told)
    with replaced(FaultyCalls(unlink=fails(errno.EROFS))):
        maker._make(1)
    maker.close()
    (event,) = told.events
    assert event[0] == "storage"
    assert event[1]["message"].startswith("cannot make room: cannot take away")
    assert not maker.finds_room
