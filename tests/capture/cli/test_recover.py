"""`nightrig recover`: a clean copy that verifies, and an honest account of what is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture import session as files
from capture.cli import main
from capture.recording import Recording
from codec.records import RecordFile, RecordWriter
from codec.records.layout import GAP
from tests.capture.make_session import (
    SessionMaker,
    cut,
    flip,
    flip_payload,
    frame_entry,
    numbers_of,
)


@pytest.fixture
def maker(tmp_path: Path) -> SessionMaker:
    return SessionMaker(tmp_path / "session")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "recovered"


def ledger(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[tuple[Any, ...]]]:
    """The verdict on a recovered recording, which must be without damage, and its "damaged" gaps."""
    capsys.readouterr()
    code = main(["verify", str(path), "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["damage"] == []
    assert facts["problems"] == []
    gaps = [g for g in facts["gaps"] if g["reason"] == "damaged"]
    return code, [(g["stream"], g["first"], g["last"], g["count"]) for g in gaps]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_clean_session_is_copied_byte_for_byte(maker: SessionMaker, out: Path) -> None:
    maker.camera("front", frames=9, per_segment=4, lost=[5], second_epoch=2)
    maker.estimator()
    maker.finish()
    assert main(["recover", str(maker.folder), "--out", str(out)]) == 0
    assert contents(out) == contents(maker.folder)


def test_killed_session_is_sealed_without_loss(
    maker: SessionMaker, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.camera("front", frames=9, per_segment=4, sealed=False)
    assert main(["recover", str(maker.folder), "--out", str(out)]) == 0
    assert "nothing was lost" in capsys.readouterr().out
    with Recording(out) as recording:
        assert all(segment.sealed for segment in recording.segments)
        assert numbers_of(recording.streams["front/depth"]) == list(range(9))


def test_damage_in_the_middle_becomes_gaps_and_the_copy_verifies(
    maker: SessionMaker, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = maker.camera("front", frames=12, per_segment=5, lost=[2])
    maker.finish()
    flip_payload(folder / "000.nrig", 4)
    flip(folder / "001.nrig", int(frame_entry(folder / "001.nrig", 7)["offset"]) + 12)
    assert main(["recover", str(maker.folder), "--out", str(out)]) == 3
    told = capsys.readouterr().out
    assert "discarded  2 frame" in told
    assert "missing    2 frames" in told
    assert ledger(out, capsys) == (3, [("front/depth", 4, 4, 1), ("front/depth", 7, 7, 1)])
    with Recording(out) as recording:
        assert numbers_of(recording.streams["front/depth"]) == [0, 1, 3, 5, 6, 8, 9, 10, 11]
        assert len(recording.streams["front/color"]) == 12


def test_torn_tail_loses_one_frame_and_names_it(
    maker: SessionMaker, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = maker.camera("front", frames=6, color=False, sealed=False)
    cut(folder / "000.nrig", int(frame_entry(folder / "000.nrig", 5)["offset"]) + 100)
    assert main(["recover", str(maker.folder), "--out", str(out)]) == 3
    assert ledger(out, capsys) == (3, [("front/depth", 5, 5, 1)])


def test_frame_torn_by_a_killed_writer_and_written_again_is_no_loss_of_a_frame(
    maker: SessionMaker, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = maker.camera("front", frames=8, per_segment=4, color=False)
    first, second = folder / "000.nrig", folder / "001.nrig"
    torn = second.read_bytes()[int(frame_entry(second, 4)["offset"]) :][:90]
    kept = int(frame_entry(first, 3)["offset"]) + int(frame_entry(first, 3)["length"])
    first.write_bytes(first.read_bytes()[:kept] + torn)
    assert main(["recover", str(maker.folder), "--out", str(out)]) == 3
    assert ledger(out, capsys) == (0, [])
    with Recording(out) as recording:
        assert numbers_of(recording.streams["front/depth"]) == list(range(8))


@pytest.mark.parametrize("how", ["gone", "zeros", "empty"])
def test_lost_segment_keeps_its_place_and_its_frames_are_accounted_for(
    maker: SessionMaker, out: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    segment = maker.camera("front", frames=9, per_segment=3, color=False) / "001.nrig"
    maker.finish()
    if how == "gone":
        segment.unlink()
    else:
        segment.write_bytes(b"\0" * (5000 if how == "zeros" else 0))
    assert main(["recover", str(maker.folder), "--out", str(out)]) == 3
    assert ledger(out, capsys) == (3, [("front/depth", 3, 5, 3)])


def test_last_segment_lost_before_an_outage_is_reckoned_from_the_counters(
    maker: SessionMaker, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = maker.camera("front", frames=6, per_segment=4, color=False, second_epoch=6)
    # Segment 001 holds the end of one numbering and the beginning of the next.
    (folder / "001.nrig").write_bytes(b"\0" * 100)
    maker.finish()
    assert main(["recover", str(maker.folder), "--out", str(out)]) == 3
    assert ledger(out, capsys) == (3, [("front/depth", None, None, 4)])


def test_skipped_frames_of_an_estimator_are_no_loss_but_damaged_ones_are(
    maker: SessionMaker, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = maker.estimator(frames=6, every=3, meshes=6)
    path = folder / "parameters-000.nrig"
    flip(path, int(frame_entry(path, 9, stream=1)["offset"]) + 66)
    assert main(["recover", str(maker.folder), "--out", str(out)]) == 3
    assert ledger(out, capsys) == (3, [("people/parameters", 9, 9, 1)])


def test_torn_mesh_file_is_written_anew_with_what_is_left(
    maker: SessionMaker, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = maker.estimator(meshes=6)
    maker.finish()
    path = folder / "mesh-000.xz"
    cut(path, path.stat().st_size - 360)  # the copy of the header at its end, and some of the frames
    with Recording(maker.folder) as recording:
        left = list(recording.meshes())
    assert 0 < len(left) < 6
    assert main(["recover", str(maker.folder), "--out", str(out)]) == 3
    code, gaps = ledger(out, capsys)
    with Recording(out) as recording:
        saved = list(recording.meshes())
    assert [m["frame_number"] for m in saved] == [m["frame_number"] for m in left]
    assert all((a["vertices"] == b["vertices"]).all() for a, b in zip(saved, left, strict=True))
    assert (code, gaps) == (3, [("people/mesh", None, None, 6 - len(left))])


def test_broken_lines_and_a_broken_session_json_are_left_out(
    maker: SessionMaker, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.camera("front", frames=2)
    maker.finish()
    (maker.folder / files.SESSION_FILE).write_text('{"format":')
    with (maker.folder / files.EVENTS_FILE).open("a") as file:
        file.write('{"event":"torn')
    assert main(["recover", str(maker.folder), "--out", str(out)]) == 0
    assert not (out / files.SESSION_FILE).exists()
    assert len((out / files.EVENTS_FILE).read_text().splitlines()) == 1
    assert "broken lines" in capsys.readouterr().out


def test_camera_folder_and_single_file_are_recovered_alone(maker: SessionMaker, out: Path) -> None:
    folder = maker.camera("front", frames=6, per_segment=3)
    flip_payload(folder / "001.nrig", 4)
    assert main(["recover", str(folder / "001.nrig"), "--out", str(out / "file")]) == 3
    assert main(["recover", str(folder), "--out", str(out / "folder")]) == 3
    with Recording(out / "file" / "000.nrig") as one, Recording(out / "folder") as both:
        assert numbers_of(one.streams["front/depth"]) == [3, 5]
        assert numbers_of(both.streams["folder/depth"]) == [0, 1, 2, 3, 5]


@pytest.mark.parametrize("name", ["night of the 1st.nrig", "001.nrig", "parameters-004.nrig"])
def test_copy_of_a_file_of_any_name_verifies_by_its_folder_and_by_the_path_printed(
    maker: SessionMaker, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = (maker.camera("front", frames=6) / "000.nrig").rename(tmp_path / name)
    flip_payload(path, 4)
    assert main(["recover", str(path), "--out", str(out)]) == 3
    assert capsys.readouterr().out.rstrip().endswith(f": {out / '000.nrig'}")
    assert ledger(out, capsys) == (3, [("recovered/depth", 4, 4, 1)])
    assert ledger(out / "000.nrig", capsys) == (3, [("front/depth", 4, 4, 1)])
    assert main(["info", str(out)]) == 0


def test_recovering_twice_gives_the_same_and_recovering_a_copy_changes_nothing(
    maker: SessionMaker, out: Path
) -> None:
    folder = maker.camera("front", frames=9, per_segment=4, second_epoch=3)
    maker.finish()
    flip_payload(folder / "001.nrig", 5)
    (folder / "000.nrig").unlink()
    assert main(["recover", str(maker.folder), "--out", str(out / "a")]) == 3
    assert main(["recover", str(maker.folder), "--out", str(out / "b")]) == 3
    assert main(["recover", str(out / "a"), "--out", str(out / "c")]) == 0
    assert contents(out / "a") == contents(out / "b") == contents(out / "c")


def test_targets_that_could_harm_something_are_usage_errors(
    maker: SessionMaker, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.camera("front", frames=2)
    before = contents(maker.folder)
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    for target in (out, out / "mine.txt", maker.folder, maker.folder / "inside"):
        assert main(["recover", str(maker.folder), "--out", str(target)]) == 2
    assert main(["recover", str(out / "nowhere"), "--out", str(out / "new")]) == 2
    assert capsys.readouterr().err.count("\n") == 5
    assert contents(maker.folder) == before


def test_what_cannot_be_recovered_is_one_clear_line(
    tmp_path: Path, maker: SessionMaker, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "film.nrig").write_bytes(b"not ours" * 100)
    assert main(["recover", str(tmp_path / "film.nrig"), "--out", str(out)]) == 1
    folder = maker.camera("front", frames=2)
    RecordWriter(folder / "001.nrig", info={"version": 99}).seal()
    assert main(["recover", str(maker.folder), "--out", str(out / "new")]) == 1
    error = capsys.readouterr().err
    assert "not a nightrig recording" in error
    assert "update nightrig" in error


def test_ledger_whose_records_are_damaged_is_restored_from_the_counters(
    maker: SessionMaker, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = maker.camera("front", frames=8, color=False, dropped=[7], second_epoch=3) / "000.nrig"
    maker.finish()
    with RecordFile(path) as file:
        places = [int(file.entries["offset"][i]) for i in file.of_kind(GAP)]
    for place in places:
        flip(path, place + 70)
    assert main(["recover", str(maker.folder), "--out", str(out)]) == 3
    assert ledger(out, capsys) == (3, [("front/depth", None, None, 61)])


def test_camera_whose_last_files_are_gone_is_reckoned_from_session_json(
    maker: SessionMaker, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = maker.camera("front", frames=9, per_segment=4, color=False)
    maker.finish()
    (folder / "001.nrig").unlink()
    (folder / "002.nrig").unlink()
    assert main(["recover", str(maker.folder), "--out", str(out)]) == 3
    assert ledger(out, capsys) == (3, [("front/depth", None, None, 5)])


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_broken_no_verb_breaks_and_the_copy_verifies(
    maker: SessionMaker, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    maker.camera("front", frames=8, per_segment=3, lost=[4], second_epoch=3, infrared=True)
    maker.estimator()
    maker.finish()
    random = np.random.default_rng(seed)
    files = sorted(p for p in maker.folder.rglob("*") if p.suffix in (".nrig", ".xz"))
    for path in random.choice(np.array(files, dtype=object), 3):
        content = bytearray(path.read_bytes())
        at, length = int(random.integers(len(content))), int(random.integers(1, 600))
        how = random.integers(4)
        if how == 0:
            del content[at:]
        elif how == 1:
            del content[at : at + length]
        elif how == 2:
            content[at : at + length] = random.bytes(length)
        else:
            content += content[at : at + length]
        path.write_bytes(content)
    assert main(["info", str(maker.folder)]) == 0
    assert main(["verify", str(maker.folder)]) in (0, 3)
    assert main(["export", str(maker.folder), "--format", "png", "--out", str(tmp_path / "png")]) in (0, 3)
    assert main(["recover", str(maker.folder), "--out", str(out)]) in (0, 3)
    ledger(out, capsys)
    assert main(["recover", str(out), "--out", str(tmp_path / "again")]) == 0
    assert contents(out) == contents(tmp_path / "again")
