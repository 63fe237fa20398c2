"""Mesh files packed anew in place: the same meshes under another name, and never one less or one twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture import mesh_recompression, session
from capture.cli import main
from capture.mesh_recompression import MeshRecompression, MeshReport
from capture.recording import Recording
from capture.verification import verify
from codec import durable
from codec.errors import DiskFullError, FileBusyError
from codec.mesh import MeshReader, MeshWriter
from codec.mesh.conversion import Target
from tests.capture.make_session import START_NS, STEP_NS, SessionMaker

SMALL, NATIVE = Target("native"), Target("native", way="affine")
XZ = Target("bodycompress", preset=1)
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def maker(tmp_path: Path) -> SessionMaker:
    maker = SessionMaker(tmp_path / "session")
    maker.camera("front", frames=8)
    maker.estimator(meshes=6)
    maker.finish()
    return maker


def meshes(folder: Path) -> list[tuple[int, bytes]]:
    with Recording(folder) as recording:
        found = [(int(f["frame_number"]), f["vertices"].tobytes()) for f in recording.meshes()]
        assert recording.damage == []
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "people").iterdir())


def recompress(path: Path, target: Target = SMALL, **settings: Any) -> MeshReport:
    with MeshRecompression(path, target=target, **settings) as work:
        told: list[int] = []
        frames = work.frames
        report = work.run(told.append)
        assert sum(told) == work.readings * frames
    return report


def write(path: Path, count: int, *, first: int = 0, codec: str = "bodycompress", close: bool = True) -> None:
    settings: dict[str, Any] = {"preset": 0} if codec == "bodycompress" else {"way": "fast"}
    writer = MeshWriter(path, codec=codec, metadata={"camera": "front"}, **settings)
    for n in range(first, first + count):
        points = np.float32([[[n, 0, 0], [0, 100, 0], [0, 0, 100], [n, 2 * n, 7]]])
        writer.append(points, frame_number=n, monotonic_ns=START_NS + n * STEP_NS)
    if close:
        writer.close()
    else:
        writer.flush()


@pytest.mark.parametrize("target", [SMALL, NATIVE], ids=["small", "native"])
def test_there_and_back_every_mesh_is_what_it_was_and_the_session_stays_true(
    maker: SessionMaker, target: Target
) -> None:
    before, verdict = meshes(maker.folder), verify(maker.folder)
    report = recompress(maker.folder, target)
    assert [each.after.name for each in report.repacked] == ["mesh-000.nrm"]
    assert names(maker.folder) == ["mesh-000.nrm", "parameters-000.nrig"]
    assert meshes(maker.folder) == before
    assert verify(maker.folder).verdict == verdict.verdict == "clean"
    again = recompress(maker.folder, target)
    assert (again.repacked, again.left_alone) == ([], [])
    report = recompress(maker.folder, XZ)
    assert names(maker.folder) == ["mesh-000.xz", "parameters-000.nrig"]
    assert meshes(maker.folder) == before
    assert verify(maker.folder).notes == verdict.notes
    events = (maker.folder / session.EVENTS_FILE).read_text().splitlines()
    assert [json.loads(line).get("meshes") for line in events[-2:]] == ["native", "bodycompress"]


def test_a_native_file_becomes_a_small_one_under_its_own_name(maker: SessionMaker) -> None:
    recompress(maker.folder, Target("native", way="fast"))
    before = meshes(maker.folder)
    report = recompress(maker.folder, SMALL)
    assert [each.after.name for each in report.repacked] == ["mesh-000.nrm"]
    assert meshes(maker.folder) == before


def test_the_same_kind_again_only_where_that_makes_it_smaller(maker: SessionMaker) -> None:
    assert recompress(maker.folder, XZ).repacked == []
    before = (maker.folder / "people" / "mesh-000.xz").read_bytes()
    (done,) = recompress(maker.folder, Target("bodycompress", preset=0), again=True).repacked
    if done.kept:
        assert (maker.folder / "people" / "mesh-000.xz").read_bytes() == before
    assert done.after_bytes <= done.before_bytes


def test_a_file_whose_writer_was_killed_goes_on_saying_so(tmp_path: Path) -> None:
    people = tmp_path / "people"
    people.mkdir()
    write(people / "live.xz", 40, close=False)
    shutil.copy(people / "live.xz", people / "mesh-000.xz")  # as a kill leaves it
    (people / "live.xz").unlink()
    os.utime(people / "mesh-000.xz", (time.time() - 500, time.time() - 500))
    before = meshes(tmp_path)
    with MeshReader(people / "mesh-000.xz") as reader:
        assert not reader.closed
    (done,) = recompress(tmp_path).repacked
    with MeshReader(done.after) as reader:
        assert (reader.closed, reader.damage, len(reader)) == (False, "", 40)
    assert meshes(tmp_path) == before
    report = verify(people)
    assert (report.meshes, report.damage) == (40, [])
    assert any("never closed" in note for note in report.notes)
    assert "was never closed" in recompress(tmp_path, XZ).left_alone[0][1]


def test_a_killed_file_that_was_written_to_just_now_is_refused(tmp_path: Path) -> None:
    people = tmp_path / "people"
    people.mkdir()
    write(people / "live.xz", 4, close=False)
    shutil.copy(people / "live.xz", people / "mesh-000.xz")
    with pytest.raises(FileBusyError, match="may still grow"):
        recompress(people)


def test_a_file_that_is_being_written_is_refused(tmp_path: Path) -> None:
    people = tmp_path / "people"
    people.mkdir()
    with MeshWriter(people / "mesh-000.xz") as writer:
        writer.append(np.zeros((1, 4, 3)))
        with pytest.raises(FileBusyError):
            recompress(tmp_path)


def test_a_damaged_file_is_left_alone_and_named_and_the_others_are_done(tmp_path: Path) -> None:
    people = tmp_path / "people"
    people.mkdir()
    for number in range(2):
        write(people / f"mesh-00{number}.xz", 30, first=30 * number)
    data = bytearray((people / "mesh-000.xz").read_bytes())
    data[-60] ^= 1
    (people / "mesh-000.xz").write_bytes(data)
    report = recompress(tmp_path)
    assert [each.after.name for each in report.repacked] == ["mesh-001.nrm"]
    assert [path.name for path, _ in report.left_alone] == ["mesh-000.xz"]
    assert "nightrig recover" in report.left_alone[0][1]
    assert (people / "mesh-000.xz").read_bytes() == data


def test_people_who_are_not_known_keep_their_file_native(tmp_path: Path) -> None:
    people = tmp_path / "people"
    people.mkdir()
    with MeshWriter(people / "mesh-000.nrm", codec="native") as writer:
        writer.append(np.full((1, 5, 3), np.nan))
    assert "stays native" in recompress(tmp_path, XZ).left_alone[0][1]
    assert [path.name for path in people.iterdir()] == ["mesh-000.nrm"]


def test_a_full_disk_in_the_middle_leaves_the_old_file_and_nothing_else(
    maker: SessionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, there = meshes(maker.folder), names(maker.folder)

    def full(file: durable.AppendFile, *_: object) -> int:
        raise DiskFullError(f"cannot write to {file.path}: No space left on device")

    monkeypatch.setattr(durable.AppendFile, "append", full)
    with pytest.raises(DiskFullError):
        recompress(maker.folder)
    monkeypatch.undo()
    assert names(maker.folder) == there
    assert meshes(maker.folder) == before
    recompress(maker.folder)
    assert meshes(maker.folder) == before


def test_no_room_for_the_new_file_is_said_beforehand(
    maker: SessionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesh_recompression, "RESERVE_BYTES", 1 << 60)
    with pytest.raises(DiskFullError, match="make room first"):
        recompress(maker.folder)


def test_after_a_kill_between_the_two_names_every_mesh_is_there_once_and_the_next_run_tidies_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = tmp_path / "people"
    people.mkdir()
    write(people / "mesh-000.xz", 5000)  # more than readers remember from one file to the next
    write(people / "mesh-001.xz", 10, first=5000)
    before = meshes(tmp_path)
    assert len(before) == 5010
    unlink = os.unlink

    def killed(path: Path) -> None:
        if path.name == "mesh-000.xz":
            raise KeyboardInterrupt
        unlink(path)

    monkeypatch.setattr("codec.durable.system.calls.unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        recompress(tmp_path, Target("native", way="fast"))
    monkeypatch.undo()
    assert {"mesh-000.xz", "mesh-000.nrm"} <= set(names(tmp_path))
    assert meshes(tmp_path) == before
    report = verify(people)
    assert report.meshes == 5010
    assert any("second copy" in note for note in report.notes)
    report2 = recompress(tmp_path, Target("native", way="fast"))
    assert [path.name for path in report2.tidied] == ["mesh-000.xz"]
    assert names(tmp_path) == ["mesh-000.nrm", "mesh-001.nrm"]
    assert meshes(tmp_path) == before


def test_two_files_of_one_number_that_differ_are_both_kept_and_named(tmp_path: Path) -> None:
    people = tmp_path / "people"
    people.mkdir()
    write(people / "mesh-000.xz", 20)
    write(people / "mesh-000.nrm", 19, codec="native")
    report = recompress(tmp_path)
    assert "not the same" in report.left_alone[0][1]
    assert names(tmp_path) == ["mesh-000.nrm", "mesh-000.xz"]


def test_killed_at_random_moments_no_mesh_is_lost_or_twice(tmp_path: Path) -> None:
    people = tmp_path / "people"
    people.mkdir()
    for number in range(3):
        write(people / f"mesh-00{number}.xz", 1500, first=1500 * number)
    before = meshes(tmp_path)
    begun_s = time.monotonic()
    for delay_s in (0.5, 0.7, 0.9, 1.1, 1.3, 1.6, 60.0):
        child = subprocess.Popen(
            [sys.executable, "-m", "capture", "recompress", str(people), "--meshes", "native"],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            child.communicate(timeout=delay_s)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.communicate()
        assert meshes(tmp_path) == before
    assert child.returncode == 0
    assert names(tmp_path) == ["mesh-000.nrm", "mesh-001.nrm", "mesh-002.nrm"]
    assert time.monotonic() - begun_s < 60


def test_on_the_command_line_depth_and_meshes_go_together(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["recompress", str(maker.folder), "--codec", "lattice-lz4", "--meshes", "small"]
    assert main([*command, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["codec"], facts["exit_code"], facts["meshes"]["kind"]) == ("lattice-lz4", 0, "small")
    assert facts["meshes"]["repacked"][0]["frames"] == 6
    assert main(["recompress", str(maker.folder), "--meshes", "small"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert main(["recompress", str(maker.folder), "--meshes", "bodycompress:3"]) == 0
    assert "every number compared" in capsys.readouterr().out
    for wrong in ([], ["--meshes", "tiny"], ["--meshes", "bodycompress:11"], ["--meshes", "small:3"]):
        assert main(["recompress", str(maker.folder), *wrong]) == 2
    mesh = str(maker.folder / "people" / "mesh-000.xz")
    assert main(["recompress", mesh, "--codec", "raw"]) == 2
    assert main(["recompress", mesh, "--meshes", "native"]) == 0
