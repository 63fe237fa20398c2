"""Room by deletion: the oldest first, nothing that somebody holds, and an account that stays whole."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from capture import session as files
from capture.cli import main
from capture.deleted import deleted_segments
from capture.deletion import Deletion, OldestFirst, anything_to_delete
from capture.recording import Recording
from capture.verification import verify
from codec import durable
from codec.durable import AppendFile, system
from scripts.campaigns._faulty_calls import FaultyCalls, fails
from tests.capture.make_session import START_NS, SessionMaker

EVERYTHING = 1 << 60


def older(root: Path, name: str = "20250101T000000Z-a", **camera: Any) -> Path:
    maker = SessionMaker(root / name)
    settings = {"frames": 12, "per_segment": 4, "lost": [2], "dropped": [7], **camera}
    maker.camera("front", **settings)
    maker.camera("side", **settings)
    maker.estimator(meshes=6)
    return maker.finish()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    maker = SessionMaker(tmp_path / "20250102T000000Z-a")
    maker.camera("front", frames=12, per_segment=4)
    return maker.finish()


def delete(own: Path, wanted_bytes: int) -> list[Deletion]:
    return list(OldestFirst(own).delete(wanted_bytes))


def paths(deletions: list[Deletion]) -> list[str]:
    return [f"{deletion.session.name[:8]} {deletion.fields['path']}" for deletion in deletions]


def there(folder: Path) -> list[str]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(folder)) for path in found)


def test_older_sessions_go_first_and_of_each_what_was_recorded_first(own: Path) -> None:
    first = older(own.parent)
    gone = paths(delete(own, EVERYTHING))
    firsts = {"20250101 front/000.nrig", "20250101 side/000.nrig"}
    assert firsts < set(gone[:4])
    for camera in ("front", "side"):
        of_camera = [path for path in gone if f"20250101 {camera}/" in path]
        assert of_camera == [f"20250101 {camera}/{number:03d}.nrig" for number in range(3)]
    assert gone[-2:] == ["20250102 front/000.nrig", "20250102 front/001.nrig"]
    assert there(first) == ["events.jsonl", "session.json"]
    assert there(own) == ["events.jsonl", "front/002.nrig", "session.json"]


def test_no_more_goes_than_is_wanted(own: Path) -> None:
    first = older(own.parent)
    assert len(delete(own, 1)) == 1
    assert delete(own, 0) == []
    assert len([path for path in there(first) if path.endswith(".nrig")]) in (6, 7)


def test_what_is_held_and_all_that_was_recorded_after_it_stays(own: Path) -> None:
    first, second = older(own.parent), older(own.parent, "20250101T120000Z-b")
    with durable.hold(first), durable.hold(second / "front" / "001.nrig"):
        gone = paths(delete(own, EVERYTHING))
    assert not [path for path in gone if path.startswith("20250101T00")]
    assert len(there(first)) == len(there(second)) + 6
    assert [path for path in there(second) if "front" in path] == ["front/001.nrig", "front/002.nrig"]
    assert verify(first).verdict == "loss"


def test_what_is_being_written_and_the_newest_segment_of_our_own_stay(own: Path) -> None:
    open_file = AppendFile(own / "front" / "003.nrig")
    assert paths(delete(own, EVERYTHING)) == [f"20250102 front/00{number}.nrig" for number in range(3)]
    open_file.close()
    assert delete(own, EVERYTHING) == []


def test_links_to_other_disks_and_folders_that_are_no_session_stay(own: Path, tmp_path: Path) -> None:
    first = older(own.parent)
    elsewhere = own.parent / "elsewhere"
    elsewhere.mkdir()
    shutil.move(first / "front" / "000.nrig", elsewhere / "000.nrig")
    (first / "front" / "000.nrig").symlink_to(elsewhere / "000.nrig")
    gone = paths(delete(own, EVERYTHING))
    assert not [path for path in gone if "20250101 front" in path]
    assert (elsewhere / "000.nrig").exists()


@pytest.mark.parametrize("wanted", [1, 20_000, EVERYTHING])
def test_account_of_a_session_that_made_room_stays_whole(
    own: Path, wanted: int, capsys: pytest.CaptureFixture[str]
) -> None:
    first = older(own.parent)
    with Recording(first) as recording:
        before = {name: len(stream) for name, stream in recording.streams.items()}
    gone = delete(own, wanted)
    report = verify(first)
    assert (report.problems, report.damage) == ([], [])
    assert report.verdict in ("clean", "loss")
    assert [str(segment.path) for segment in report.deleted] == sorted(
        deletion.fields["path"] for deletion in gone if deletion.session == first
    )
    deleted = sum(segment.frames for segment in report.deleted)
    assert report.frames + deleted == sum(before.values())
    assert any("deleted to make room" in note for note in report.notes)
    assert not any("session.json says" in note for note in report.notes)
    capsys.readouterr()
    assert main(["verify", str(first)]) in (0, 3)
    assert "deleted to make room" in capsys.readouterr().out
    assert main(["info", str(first), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert len(facts["deleted"]) == len(report.deleted)
    assert main(["info", str(first)]) == 0
    told = capsys.readouterr().out
    assert "deleted to make room" in told
    assert "nothing missing" not in told
    assert "nothing was recorded" not in told


@pytest.mark.parametrize("wanted", [1, 20_000, 60_000, EVERYTHING])
def test_copy_of_a_session_that_made_room_lacks_what_was_deleted_and_nothing_else(
    own: Path, tmp_path: Path, wanted: int, capsys: pytest.CaptureFixture[str]
) -> None:
    first = older(own.parent)
    delete(own, wanted)
    copy = tmp_path / "copy"
    assert main(["recover", str(first), "--out", str(copy)]) == 0
    told = capsys.readouterr().out
    assert "deleted to make room" in told
    assert "nothing was lost but what was deleted on purpose" in told
    assert there(copy) == there(first)
    before, after = verify(first), verify(copy)
    assert (after.problems, after.damage) == ([], [])
    for what in ("verdict", "frames", "meshes", "deleted", "gaps", "notes"):
        assert getattr(after, what) == getattr(before, what), what


@pytest.mark.parametrize("series", ["front", "people"])
def test_copy_of_a_folder_that_made_room_tells_what_was_deleted_by_itself(
    own: Path, tmp_path: Path, series: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = older(own.parent)
    gone, count = {"front": ("front/000.nrig", 8), "people": ("people/mesh-000.xz", 6)}[series]
    with durable.hold(first / "people" / "parameters-000.nrig"):
        for deletion in OldestFirst(own).delete(EVERYTHING):
            if deletion.fields["path"] == gone:
                break
    before = verify(first / series)
    assert [str(segment.path) for segment in before.deleted] == [gone]
    copies = tmp_path / "once", tmp_path / "twice"
    for source, copy in zip((first / series, copies[0]), copies, strict=True):
        assert main(["recover", str(source), "--out", str(copy)]) == 0
        after = verify(copy)
        assert (after.problems, after.damage, after.verdict) == ([], [], before.verdict)
        assert sum(gap.count for gap in after.gaps if gap.reason == "deleted") == count
    capsys.readouterr()
    assert main(["verify", str(copies[0])]) == {"clean": 0, "loss": 3}[before.verdict]
    if before.verdict == "clean":
        assert "what was deleted to make room stands above" in capsys.readouterr().out


def test_what_is_lost_beside_what_was_deleted_is_still_a_loss(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = older(own.parent)
    delete(own, 1)
    (first / "side" / "001.nrig").unlink()
    assert main(["recover", str(first), "--out", str(tmp_path / "copy")]) == 3
    told = capsys.readouterr().out
    assert "front: segment 000 was deleted to make room" in told
    assert "001.nrig is missing; an empty one stands in its place" in told
    assert "WITH LOSS" in told


def test_event_says_what_was_in_the_segment(own: Path) -> None:
    first = older(own.parent, color=False)
    deletion = next(iter(OldestFirst(own).delete(1)))
    lines = [json.loads(line) for line in (first / "events.jsonl").read_text().splitlines()]
    event = next(line for line in lines if line["event"] == "deleted")
    assert {key: event[key] for key in deletion.fields} == deletion.fields
    assert (event["bytes"], event["frames"], event["for"]) == (deletion.size, 4, own.name)
    assert (event["first_ns"], event["from"]) == (START_NS, "2025-01-01T22:00:00Z")
    assert event["streams"]["0"]["frames"] == 4


def test_a_segment_that_is_missing_and_was_not_deleted_by_us_is_still_a_problem(own: Path) -> None:
    first = older(own.parent)
    delete(own, 1)
    (first / "side" / "001.nrig").unlink()
    assert verify(first).verdict == "unaccounted"


def test_power_cut_between_the_line_and_the_deletion_leaves_a_session_as_it_was(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = older(own.parent)
    before = verify(first)
    monkeypatch.setattr(system, "calls", FaultyCalls(unlink=fails(errno.EIO)))
    with pytest.raises(Exception, match="cannot take away"):
        delete(own, 1)
    monkeypatch.undo()
    after = verify(first)
    assert (after.verdict, after.frames, after.deleted) == (before.verdict, before.frames, [])


def test_disk_without_room_for_a_line_gets_the_line_afterwards(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = older(own.parent)
    monkeypatch.setattr(system, "calls", FaultyCalls(write=fails(errno.ENOSPC)))
    assert len(delete(own, 1)) == 1
    monkeypatch.undo()
    assert verify(first).problems == []


def test_segment_in_which_nothing_can_be_read_may_go_too(own: Path) -> None:
    first = older(own.parent)
    (first / "front" / "000.nrig").write_bytes(b"nothing of ours")
    (first / "people" / "mesh-000.xz").write_bytes(b"nor this")
    delete(own, EVERYTHING)
    assert there(first) == ["events.jsonl", "session.json"]


def test_there_is_something_to_delete_where_an_older_session_has_segments(tmp_path: Path) -> None:
    assert not anything_to_delete(tmp_path)
    first = older(tmp_path)
    assert anything_to_delete(tmp_path)
    assert files.list_segments(first / "front")


@pytest.mark.parametrize(
    "changes",
    [
        *({"path": path} for path in ("mesh.nrig", "/etc/passwd.nrig", "../000.nrig", "front/" + "x" * 5000)),
        *({"bytes": value} for value in (10**400, "many", True, 1e308)),
        *({"streams": streams} for streams in ({"0": []}, {"x": {}}, {"0": {"name": "d", "frames": 1}})),
        {"streams": {"0": {"name": "depth", "frames": 4, "gaps": {"camera": "two"}}}},
    ],
)
def test_a_line_that_no_recorder_writes_tells_of_no_deletion(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = older(tmp_path)
    event = {"event": "deleted", "path": "front/009.nrig", "bytes": 9000, "wall_ns": 6, "frames": 4}
    with (folder / files.EVENTS_FILE).open("a") as events:
        events.write(
            json.dumps(event) + "\n" + json.dumps({**event, "path": "front/008.nrig", **changes}) + "\n"
        )
    (gone,) = deleted_segments(folder)
    assert str(gone.path) == "front/009.nrig"
    assert main(["info", str(folder)]) == 0


def test_events_that_claim_terabytes_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = older(tmp_path)
    with (folder / files.EVENTS_FILE).open("a") as events:
        events.truncate(1 << 40)
    assert deleted_segments(folder) == []
    main(["recover", str(folder), "--out", str(tmp_path / "copy")])
    assert "larger than a session's events can be" in capsys.readouterr().out
