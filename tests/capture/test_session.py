"""The one place that knows folder and file names: what it makes and what it finds."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path

import pytest

from capture import session
from capture.session import (
    append_event,
    create_session,
    find_series,
    is_name,
    list_segments,
    load_session,
    next_segment_number,
    open_session,
    save_session,
    segment_path,
)
from codec.durable import system
from codec.errors import ConfigError, DiskFullError, NotOurFileError, StorageError
from codec.records import RecordWriter
from scripts.campaigns._faulty_calls import FaultyCalls, fails


def recording(path: Path, camera: str = "front") -> Path:
    """A record file of one camera."""
    path.parent.mkdir(parents=True, exist_ok=True)
    RecordWriter(path, info={"camera": camera}).seal()
    return path


# ---- names ----


@pytest.mark.parametrize("name", ["a", "front", "Camera_01", "cam-1.left", "0", "x" * 63])
def test_names_of_letters_digits_and_a_few_signs_are_names(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".hidden",
        "-x",
        "_x",
        "a/b",
        "../x",
        "a b",
        "a\n",
        "\n",
        "a\0",
        "ä",
        "x" * 64,
        "a\\b",
        "a:b",
    ],
)
def test_what_could_leave_the_folder_or_trouble_a_shell_is_no_name(name: str) -> None:
    assert not is_name(name)


def test_segments_are_numbered_in_three_digits_and_go_on_beyond() -> None:
    folder = Path("f")
    assert segment_path(folder, 0) == folder / "000.nrig"
    assert segment_path(folder, 7, prefix="mesh-", suffix="xz") == folder / "mesh-007.xz"
    assert segment_path(folder, 1234) == folder / "1234.nrig"


def test_segments_are_listed_by_number_and_nothing_else_is(tmp_path: Path) -> None:
    names = ["010.nrig", "009.nrig", "1000.nrig", "000.nrig"]
    others = [
        "00.nrig",
        "x00.nrig",
        "000.nrig.tmp",
        "000.xz",
        "mesh-000.xz",
        "parameters-001.nrig",
        "a.nrig",
        "-1.nrig",
    ]
    for name in names + others:
        (tmp_path / name).touch()
    assert [path.name for path in list_segments(tmp_path)] == [
        "000.nrig",
        "009.nrig",
        "010.nrig",
        "1000.nrig",
    ]
    assert [path.name for path in list_segments(tmp_path, prefix="parameters-")] == ["parameters-001.nrig"]
    assert [path.name for path in list_segments(tmp_path, prefix="mesh-", suffix="xz")] == ["mesh-000.xz"]
    assert list_segments(tmp_path / "missing") == []
    assert list_segments(tmp_path / "000.nrig") == []


def test_next_number_is_above_every_one_there_is(tmp_path: Path) -> None:
    assert next_segment_number(tmp_path) == next_segment_number(tmp_path / "missing") == 0
    (tmp_path / "004.nrig").touch()
    (tmp_path / "mesh-010.xz").touch()
    assert next_segment_number(tmp_path) == 5
    assert next_segment_number(tmp_path, prefix="mesh-", suffix="xz") == 11
    (tmp_path / "1000.nrig").touch()
    assert next_segment_number(tmp_path) == 1001


# ---- making a session ----


def test_session_folder_says_when_and_what_and_its_file_is_whole(tmp_path: Path) -> None:
    folder = create_session(tmp_path / "deep" / "root", "lab", {"queue_mb": 64}, {"nightrig": "1"})
    stamp, _, rig = folder.name.partition("-")
    time.strptime(stamp, "%Y%m%dT%H%M%SZ")
    assert rig == "lab"
    value = load_session(folder)
    assert value["format"] == "nightrig-session"
    assert (value["rig"], value["config"], value["versions"]) == ("lab", {"queue_mb": 64}, {"nightrig": "1"})
    assert abs(value["started"]["wall_ns"] - time.time_ns()) < 60e9
    assert value["totals"] is None
    assert [path.name for path in folder.iterdir()] == ["session.json"]


def test_two_starts_in_one_second_get_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session.time, "strftime", lambda *_: "20250101T000000Z")
    folders = [create_session(tmp_path, "lab", {"start": i}, {}) for i in range(4)]
    assert [folder.name for folder in folders] == [
        "20250101T000000Z-lab",
        "20250101T000000Z-lab-1",
        "20250101T000000Z-lab-2",
        "20250101T000000Z-lab-3",
    ]
    assert [load_session(folder)["config"]["start"] for folder in folders] == [0, 1, 2, 3]


def test_a_hundred_starts_in_one_second_end_in_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.time, "strftime", lambda *_: "now")
    monkeypatch.setattr(session, "_SAME_SECOND", 100)
    for i in range(100):
        (tmp_path / f"now-lab{f'-{i}' if i else ''}").mkdir()
    with pytest.raises(StorageError, match="cannot find a free name"):
        create_session(tmp_path, "lab", {}, {})


def test_root_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError, match=str(tmp_path / "file")):
            create_session(root, "lab", {}, {})


def test_full_disk_at_the_start_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "calls", FaultyCalls(write=fails(errno.ENOSPC)))
    with pytest.raises(DiskFullError, match=r"session\.json"):
        create_session(tmp_path, "lab", {}, {})


def test_session_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_session(tmp_path, {"totals": None})
    monkeypatch.setattr(system, "calls", FaultyCalls(write=fails(errno.ENOSPC)))
    with pytest.raises(StorageError):
        save_session(tmp_path, {"totals": {"written": 1}})
    assert load_session(tmp_path) == {"totals": None}


@pytest.mark.parametrize("contents", [None, b"", b"{", b"[1]", b"\xff\xfe", b"3"])
def test_session_file_that_is_missing_or_broken_is_no_error(tmp_path: Path, contents: bytes | None) -> None:
    if contents is not None:
        (tmp_path / "session.json").write_bytes(contents)
    assert load_session(tmp_path) == {}


def test_every_event_is_one_line_with_its_time(tmp_path: Path) -> None:
    before_ns = time.monotonic_ns()
    append_event(tmp_path, {"event": "started"})
    append_event(tmp_path, {"event": "camera-away", "message": "two\nlines"})
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [event["event"] for event in found] == ["started", "camera-away"]
    assert found[1]["message"] == "two\nlines"
    assert before_ns <= found[0]["monotonic_ns"] <= found[1]["monotonic_ns"] <= time.monotonic_ns()


# ---- finding what is there ----


def test_series_of_a_camera_is_found_and_that_of_a_body_estimator_too(tmp_path: Path) -> None:
    own = [recording(tmp_path / "front" / f"00{i}.nrig") for i in range(3)]
    bodies = recording(tmp_path / "people" / "parameters-000.nrig", "truth")
    recording(tmp_path / "people" / "parameters-001.nrig", "other")
    (tmp_path / "people" / "parameters-002.nrig").write_bytes(b"rubbish")
    assert find_series(tmp_path, "front") == own
    assert find_series(tmp_path, "truth") == [bodies]
    assert find_series(tmp_path, "side") == []


def test_session_is_opened_with_all_its_series_and_meshes(tmp_path: Path) -> None:
    folder = create_session(tmp_path, "lab", {}, {})
    front = [recording(folder / "front" / f"00{i}.nrig") for i in range(2)]
    parameters = recording(folder / "people" / "parameters-000.nrig")
    mesh = folder / "people" / "mesh-000.xz"
    mesh.write_bytes(b"some")
    (empty := mesh.with_name("mesh-001.nrm")).touch()
    (folder / "notes").mkdir()
    (folder / "events.jsonl").touch()
    found = open_session(folder)
    assert found.folder == folder
    assert found.info["rig"] == "lab"
    assert [(series.name, list(series.segments)) for series in found.series] == [
        ("front", front),
        ("people", [parameters]),
    ]
    assert (found.meshes, found.empty_meshes) == ((mesh,), (empty,))


def test_folder_of_one_camera_and_a_single_file_are_opened_too(tmp_path: Path) -> None:
    paths = [recording(tmp_path / "front" / f"00{i}.nrig") for i in range(2)]
    found = open_session(tmp_path / "front")
    assert [(series.name, list(series.segments)) for series in found.series] == [("front", paths)]
    found = open_session(paths[1])
    assert [(series.name, list(series.segments)) for series in found.series] == [("001", [paths[1]])]
    assert found.folder == tmp_path / "front"


def test_folder_of_people_is_opened_with_meshes_alone(tmp_path: Path) -> None:
    mesh = tmp_path / "people" / "mesh-000.xz"
    mesh.parent.mkdir()
    mesh.write_bytes(b"some")
    mesh.with_suffix(".nrm").touch()  # of the same number: the one in which there is something counts
    for path in (tmp_path, tmp_path / "people"):
        assert open_session(path).meshes == (mesh,)
        assert open_session(path).series == ()


def test_session_that_ended_before_its_first_frame_is_a_session(tmp_path: Path) -> None:
    found = open_session(create_session(tmp_path, "lab", {}, {}))
    assert (found.series, found.meshes) == ((), ())


def test_what_does_not_exist_says_what_to_name_instead(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist; name a session folder"):
        open_session(tmp_path / "missing")


def test_folder_without_anything_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").touch()
    for path in (tmp_path, tmp_path / "photos"):
        with pytest.raises(NotOurFileError, match="holds no recording"):
            open_session(path)


def test_path_that_cannot_be_looked_at_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises((StorageError, ConfigError)):
        open_session(tmp_path / ("x" * 300))
    recording(tmp_path / "front" / "000.nrig")

    def refuse(self: Path) -> object:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        open_session(tmp_path)
    with pytest.raises(StorageError, match="Permission denied"):
        list_segments(tmp_path / "front")


def test_folder_without_permission_is_a_storage_error(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may look everywhere")
    recording(tmp_path / "s" / "front" / "000.nrig")
    (tmp_path / "s").chmod(0)
    try:
        with pytest.raises(StorageError, match="Permission denied"):
            open_session(tmp_path / "s" / "front")
    finally:
        (tmp_path / "s").chmod(0o755)


# ---- what is to replace a segment ----


def test_temporary_segments_are_beside_theirs_and_found_by_nothing_but_their_own_listing(
    tmp_path: Path,
) -> None:
    segment = recording(tmp_path / "front" / "000.nrig")
    other = recording(tmp_path / "front" / "001.nrig")
    first, second = (session.temporary_segment(segment, "lattice-rans") for _ in range(2))
    assert first != second
    assert first.parent == segment.parent
    for path in (first, second):
        path.write_bytes(b"half")
    assert list_segments(tmp_path / "front") == [segment, other]
    assert open_session(tmp_path).series[0].segments == (segment, other)
    found = session.list_temporary_segments([segment])
    assert [left.path for left in found] == sorted([first, second])
    assert {(left.segment, left.codec) for left in found} == {(segment, "lattice-rans")}
    assert session.list_temporary_segments([other]) == []
    with pytest.raises(StorageError, match="cannot read the folder"):
        session.list_temporary_segments([tmp_path / "missing" / "000.nrig"])


def test_session_around_a_folder_or_a_segment_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = create_session(tmp_path, "rig", {}, {})
    segment = recording(folder / "front" / "000.nrig")
    for path in (folder, segment.parent, segment):
        assert session.enclosing_session(path) == folder
    monkeypatch.chdir(segment.parent)
    assert session.enclosing_session(Path()) == session.enclosing_session(Path("000.nrig")) == folder
    alone = recording(tmp_path / "elsewhere" / "000.nrig")
    assert session.enclosing_session(alone) is session.enclosing_session(alone.parent) is None
