"""info, verify, recover and export take mesh files of either kind, also alone; convert makes them."""

from __future__ import annotations

import json
import lzma
import re
import shutil
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from capture.cli import main
from codec.mesh import MeshReader, MeshWriter
from tests.capture.make_session import START_NS, STEP_NS, SessionMaker

KINDS = {"nrm": "native", "xz": "bodycompress"}


def write(path: Path, count: int = 40, *, step_mm: float = 0.5, people: int = 2) -> Path:
    codec = KINDS[path.suffix[1:]]
    settings: dict[str, Any] = {"way": "fast"} if codec == "native" else {"preset": 0}
    random = np.random.default_rng(1)
    shape = random.normal(0, 300, (people, 50, 3))
    with MeshWriter(path, codec=codec, quantization_mm=step_mm, metadata={"who": "we"}, **settings) as writer:
        for n in range(count):
            points = shape + 3 * n
            writer.append(points, points[:, :5], frame_number=n, monotonic_ns=START_NS + n * STEP_NS)
            if n % 10 == 9:
                writer.flush()
    return path


def killed(path: Path, count: int) -> Path:
    """As kill -9 leaves it: everything of `count` frames on the disk, and no end."""
    codec = KINDS[path.suffix[1:]]
    live = path.with_name(f"live{path.suffix}")
    writer = MeshWriter(live, codec=codec, **({"way": "fast"} if codec == "native" else {"preset": 0}))
    for n in range(count):
        writer.append(np.full((1, 50, 3), n), frame_number=n, monotonic_ns=START_NS + n * STEP_NS)
    writer.flush()
    shutil.copy(live, path)
    writer.close()
    live.unlink()
    return path


def damaged(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    data[len(data) * 5 // 8] ^= 1
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", KINDS)
def test_info_of_a_single_file(tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / f"mesh-000.{suffix}", step_mm=0.25)
    assert main(["info", str(path)]) == 0
    told = capsys.readouterr().out
    assert KINDS[suffix] in told
    assert "0.25 mm" in told
    assert main(["info", str(path), "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)["mesh_files"]
    assert (facts["frames"], facts["people"], facts["vertices"]) == (40, {"least": 2, "most": 2}, 50)
    assert (facts["joints"], facts["quantization_mm"], facts["closed"]) == (5, 0.25, True)
    raw = 40 * 2 * 55 * 3 * 4
    assert facts["ratio"] == pytest.approx(raw / path.stat().st_size, abs=0.01)


@pytest.mark.parametrize("suffix", KINDS)
def test_verify_recover_and_export_of_a_single_file(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / f"any name.{suffix}")
    assert main(["verify", str(path)]) == 0
    assert "40 meshes" in capsys.readouterr().out
    for form in ("obj", "ply"):
        assert (
            main(["export", str(path), "--format", form, "--out", str(tmp_path / form), "--every", "10"]) == 0
        )
        assert len(list((tmp_path / form).glob(f"*.{form}"))) == 8
    damaged(path)
    assert main(["verify", str(path)]) == 3
    if suffix == "nrm":
        assert "frames " in capsys.readouterr().out
    assert main(["recover", str(path), "--out", str(tmp_path / "copy")]) == 3
    copy = tmp_path / "copy" / path.name
    assert main(["verify", str(copy)]) == 0
    with MeshReader(copy) as reader:
        assert len(list(reader)) == 30
        assert reader.metadata == {"who": "we"}


def test_recovery_keeps_the_grid(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xz", step_mm=0.1)
    with MeshReader(path) as reader:
        before = {frame["frame_number"]: frame["vertices"] for frame in reader}
    damaged(path)
    assert main(["recover", str(path), "--out", str(tmp_path / "copy")]) == 3
    with MeshReader(tmp_path / "copy" / "a.xz") as reader:
        for frame in reader:
            np.testing.assert_array_equal(frame["vertices"], before[frame["frame_number"]])
        assert reader.quantizations_mm == (0.1,)


@pytest.mark.parametrize(("first", "second"), [("nrm", "xz"), ("xz", "nrm")])
def test_convert_tells_what_it_did(
    tmp_path: Path, first: str, second: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / f"a.{first}")
    assert main(["convert", str(path), str(tmp_path / f"b.{second}")]) == 0
    told = capsys.readouterr().out
    assert "40 frames, 80 meshes" in told
    assert KINDS[second] in told
    assert main(["convert", str(path), str(tmp_path / f"c.{second}"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["frames"], facts["people"], facts["exit_code"], facts["damage"]) == (40, 80, 0, "")
    assert facts["after_bytes"] == (tmp_path / f"c.{second}").stat().st_size


def test_convert_of_a_damaged_file_gives_what_is_whole_and_exit_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = damaged(write(tmp_path / "a.nrm"))
    assert (
        main(["convert", str(path), str(tmp_path / "b.xz"), "--preset", "0", "--vertex-order", "none"]) == 3
    )
    assert "DAMAGED: " in capsys.readouterr().out
    with MeshReader(tmp_path / "b.xz") as reader:
        assert len(list(reader)) == 30


def test_convert_says_how_many_people_had_no_room(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with MeshWriter(tmp_path / "a.nrm", codec="native") as writer:
        for _ in range(3):
            points = np.zeros((3, 6, 3))
            points[1] = np.nan
            writer.append(points)
    assert main(["convert", str(tmp_path / "a.nrm"), str(tmp_path / "b.xz")]) == 0
    assert "3 times somebody was not known at all" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.nrm", "b.mesh"], "its name says no kind"),
        (["a.nrm", "b.xz", "--way", "small"], "--way is for native files"),
        (["a.nrm", "b.nrm", "--preset", "1"], "are for bodycompress files"),
        (["a.nrm", "a.nrm"], "exists already"),
        (["no.nrm", "b.xz"], "is no file"),
    ],
    ids=" ".join,
)
def test_convert_refuses_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("a.nrm"))
    assert main(["convert", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.nrm"]


@pytest.mark.parametrize("kind", ["joints", "one person"])
def test_recovery_keeps_frames_of_joints_alone_and_of_one_person(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.xz"
    points = np.random.default_rng(2).normal(0, 300, (50, 3))
    with MeshWriter(path, preset=0) as writer:
        for n in range(40):
            writer.append(**({"joints": points[None] + n} if kind == "joints" else {"vertices": points + n}))
            if n % 10 == 9:
                writer.flush()
    with MeshReader(path) as reader:
        before = list(reader)
    damaged(path)
    assert main(["recover", str(path), "--out", str(tmp_path / "copy")]) == 3
    with MeshReader(tmp_path / "copy" / "a.xz") as reader:
        after = list(reader)
    assert len(after) == 30
    for frame in after:
        (name,) = frame
        assert any(np.array_equal(frame[name], each[name]) for each in before)


@pytest.mark.parametrize("suffix", KINDS)
def test_export_of_a_single_file_counts_seconds_from_its_first_mesh(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / f"a.{suffix}", count=60)
    told = ["export", str(path), "--format", "obj", "--out", str(tmp_path / "some")]
    assert main([*told, "--from", "1", "--to", "1.1"]) == 0
    rows = (tmp_path / "some" / "times.csv").read_text().splitlines()[1:]
    assert [row.split(",")[1] for row in rows] == ["31", "32", "33"]  # 30 is a hair early
    told[-1] = str(tmp_path / "none")
    assert main([*told, "--from", "100"]) == 2
    assert "is 2.0 s long" in capsys.readouterr().err


def test_export_says_why_a_file_has_no_meshes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.xz").write_bytes(b"something else")
    assert main(["export", str(tmp_path / "a.xz"), "--format", "obj", "--out", str(tmp_path / "out")]) == 2
    assert "no mesh can be read: " in capsys.readouterr().err


@pytest.mark.parametrize("suffix", KINDS)
def test_one_person_without_an_axis_is_exported(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    with MeshWriter(path, codec=KINDS[suffix]) as writer:
        writer.append(np.arange(30.0).reshape(10, 3))
    assert main(["export", str(path), "--format", "obj", "--out", str(tmp_path / "out")]) == 0
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["mesh_000000.obj", "times.csv"]


def test_recompress_of_a_single_file_says_at_once_that_the_new_name_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, other = write(tmp_path / "a.xz"), write(tmp_path / "a.nrm")
    before = path.read_bytes(), other.read_bytes()
    assert main(["recompress", str(path), "--meshes", "small"]) == 3
    assert "there is such a file: move one of the two away" in capsys.readouterr().out
    assert (path.read_bytes(), other.read_bytes()) == before


@pytest.mark.parametrize(("out", "preset"), [("b.xz", 12), ("b.zst", 0)])
def test_convert_refuses_a_preset_there_is_not(
    tmp_path: Path, out: str, preset: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.nrm")
    assert main(["convert", str(path), str(tmp_path / out), "--preset", str(preset)]) == 2
    assert f"--preset {preset}: of " in capsys.readouterr().err


def test_what_lies_before_a_frame_that_is_refused_is_recovered_and_the_frame_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def array(kind: bytes, dtype: str, data: bytes) -> dict[bytes, object]:
        return {b"nd": True, b"type": dtype, b"kind": kind, b"shape": [1, 2, 3], b"data": data}

    frames = [{"qd_vertices": [array(b"", "<i4", bytes(24)), 2.0]}] * 3
    frames.append({"note": array(b"O", "|O", b"a pickle")})  # type: ignore[dict-item]
    path = tmp_path / "a.xz"
    path.write_bytes(lzma.compress(b"".join(msgpack.packb(each) for each in ({}, *frames))))
    assert main(["recover", str(path), "--out", str(tmp_path / "copy")]) == 3
    told = capsys.readouterr().out
    assert "3 meshes saved" in told
    assert re.search(r"frame 3: .*an array of Python objects", told)
    with MeshReader(tmp_path / "copy" / "a.xz") as reader:
        assert len(list(reader)) == 3


@pytest.mark.parametrize("suffix", KINDS)
def test_of_a_file_whose_writer_was_killed_nobody_says_that_all_is_there(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = killed(tmp_path / f"a.{suffix}", count=40)
    assert main(["verify", str(path)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert "its writer was killed: what came last may be missing" in last
    assert main(["info", str(path)]) == 0
    assert "what came last may be missing" in capsys.readouterr().out
    assert main(["recover", str(path), "--out", str(tmp_path / "copy")]) == 0
    told = capsys.readouterr().out
    assert "its writer was killed: what came last may be missing" in told
    assert "nothing was lost" not in told


def test_what_a_killed_writer_had_in_hand_is_named_where_body_parameters_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker = SessionMaker(tmp_path / "session")
    folder = maker.estimator(frames=6, every=2, meshes=0)
    (folder / "mesh-000.xz").unlink()
    killed(folder / "mesh-000.nrm", count=7)
    named = "the meshes of 2 results are missing: frames 8-10"
    assert main(["verify", str(maker.folder)]) == 0
    assert named in capsys.readouterr().out
    assert main(["info", str(maker.folder)]) == 0
    assert "nothing missing" not in capsys.readouterr().out
    assert main(["recover", str(maker.folder), "--out", str(tmp_path / "copy")]) == 0
    told = capsys.readouterr().out
    assert named in told
    assert "nothing was lost" not in told
    assert main(["verify", str(tmp_path / "copy")]) == 0
    assert named in capsys.readouterr().out


def test_info_tells_the_ways_of_native_files_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.xz"
    random = np.random.default_rng(1)
    shape = np.cumsum(random.normal(0, 20, (2, 300, 3)), axis=1)
    with MeshWriter(path, preset=0) as writer:
        for n in range(1500):  # noise that is the same for four points on end, which fast cannot see
            noise = np.repeat(random.normal(0, 5, (2, 75, 3)), 4, axis=1)
            writer.append(shape + 3 * n + noise)
    kinds = {}
    for way in ("fast", "affine", "small"):
        out = tmp_path / f"{way}.nrm"
        assert main(["convert", str(path), str(out), "--way", way]) == 0
        capsys.readouterr()
        assert main(["info", str(out), "--json"]) == 0
        kinds[way] = json.loads(capsys.readouterr().out)["mesh_files"][0]["kind"]
    assert kinds == {way: f"native, {way}" for way in kinds}
    short = write(tmp_path / "short.xz", count=20)
    assert main(["convert", str(short), str(tmp_path / "b.nrm")]) == 0
    assert "native, small (fast)" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", KINDS)
def test_a_line_of_damage_says_the_file_and_the_place_once(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = damaged(write(tmp_path / f"a.{suffix}"))
    main(["verify", str(path)])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("damage: ")]
    assert line.startswith(f"damage: {path}: ")
    assert (line.count(str(path)), line.count("at byte ")) == (1, 1)
    main(["recover", str(path), "--out", str(tmp_path / "copy")])
    assert capsys.readouterr().out.splitlines()[0].count(str(path)) == 1


def test_convert_does_not_call_a_file_smaller_for_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = damaged(write(tmp_path / "a.nrm"))
    assert main(["convert", str(path), str(tmp_path / "b.nrm")]) == 3
    assert "times smaller," not in capsys.readouterr().out
    assert main(["convert", str(path), str(tmp_path / "c.nrm"), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["ratio"] is None


def test_interrupted_among_mesh_files_it_says_that_one_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("capture.mesh_recompression.write_converted", interrupted)
    assert main(["recompress", str(write(tmp_path / "a.xz")), "--meshes", "small"]) == 130
    assert "from its beginning" in capsys.readouterr().err
