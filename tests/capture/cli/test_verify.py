"""`nightrig verify`: clean means clean, and whatever is wrong is found and named."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture import _verify_file
from capture import session as files
from capture.cli import main
from capture.cli._progress import Progress
from capture.frames import CameraInfo
from capture.ledger import RING_FULL
from capture.recording import Recording
from capture.verification import verify
from codec import DepthGap, DepthWriter
from codec.mesh import MeshWriter
from codec.records import Record, RecordFile
from codec.records.writer import RecordWriter
from tests.capture import make_session
from tests.capture.make_session import (
    HEIGHT,
    WIDTH,
    SessionMaker,
    cut,
    depth_picture,
    flip,
    flip_payload,
    frame_entry,
)


@pytest.fixture
def maker(tmp_path: Path) -> SessionMaker:
    return SessionMaker(tmp_path / "session")


def verified(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["verify", str(path), "--json"])
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert facts["exit_code"] == code
    return code, facts


def test_whole_session_is_clean(maker: SessionMaker, capsys: pytest.CaptureFixture[str]) -> None:
    maker.camera("front", frames=12, per_segment=5, infrared=True)
    maker.camera("side", frames=7, first=100)
    maker.estimator(meshes=6)
    code, facts = verified(maker.finish(), capsys)
    assert (code, facts["verdict"]) == (0, "clean")
    assert (facts["frames"], facts["meshes"]) == (3 * 12 + 2 * 7 + 6, 6)
    assert facts["problems"] == facts["notes"] == facts["damage"] == facts["gaps"] == []
    assert main(["verify", str(maker.folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("CLEAN")


def test_accounted_loss_is_exit_3_with_its_ledger(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.camera("front", frames=12, lost=[3, 4], dropped=[8], second_epoch=3)
    code, facts = verified(maker.finish(), capsys)
    assert (code, facts["verdict"]) == (3, "loss")
    assert facts["problems"] == []
    ledger = [(g["stream"], g["reason"], g["first"], g["last"], g["count"]) for g in facts["gaps"]]
    assert ledger[:3] == [
        ("front/depth", "camera", 3, 3, 1),
        ("front/depth", "camera", 4, 4, 1),
        ("front/depth", "ring-full", 8, 8, 1),
    ]
    assert ("front/color", "outage", None, None, 60) in ledger
    main(["verify", str(maker.folder)])
    out = capsys.readouterr().out
    assert "2025-01-01T22:00:00.099Z" in out
    assert out.splitlines()[-1].startswith("LOSS")


def test_killed_recording_that_is_whole_is_clean_with_a_note(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.camera("front", frames=12, per_segment=5, sealed=False)
    code, facts = verified(maker.folder, capsys)
    assert code == 0
    assert any("never closed" in note for note in facts["notes"])
    assert any("no totals" in note for note in facts["notes"])
    assert facts["ended"] is False
    main(["verify", str(maker.folder)])
    assert "up to the moment it was killed" in capsys.readouterr().out


def test_recording_that_was_cut_short_as_a_segment_was_begun_is_clean(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clock = make_session.clock

    def clock_with_a_frame_in_the_ring(
        writer: RecordWriter, written: Counter[int], missing: Counter[tuple[int, str]], info: CameraInfo
    ) -> None:
        write_clock(writer, written, missing + Counter({(0, RING_FULL): 1}), info)

    monkeypatch.setattr(make_session, "clock", clock_with_a_frame_in_the_ring)
    folder = maker.camera("front", frames=10, per_segment=5)
    assert verified(maker.folder, capsys)[1]["verdict"] == "unaccounted"
    cut(folder / "001.nrig", 0)
    code, facts = verified(maker.folder, capsys)
    assert (code, facts["verdict"], facts["problems"]) == (0, "clean", [])
    assert any("is empty" in note for note in facts["notes"])


def test_torn_tail_is_damage(maker: SessionMaker, capsys: pytest.CaptureFixture[str]) -> None:
    folder = maker.camera("front", sealed=False)
    cut(folder / "000.nrig", int(frame_entry(folder / "000.nrig", 11)["offset"]) + 80)
    code, facts = verified(maker.folder, capsys)
    assert (code, facts["verdict"]) == (3, "damage")
    assert "torn tail" in facts["damage"][0]["what"]


def test_flipped_payload_is_found_and_placed(maker: SessionMaker, capsys: pytest.CaptureFixture[str]) -> None:
    folder = maker.camera("front")
    flip_payload(folder / "000.nrig", 5, stream=1)
    code, facts = verified(maker.folder, capsys)
    assert code == 3
    (damage,) = facts["damage"]
    assert damage["offset"] == frame_entry(folder / "000.nrig", 5, stream=1)["offset"]
    assert "checksum" in damage["what"]


def test_no_flipped_bit_goes_unnoticed(maker: SessionMaker, capsys: pytest.CaptureFixture[str]) -> None:
    path = maker.camera("front", frames=2, color=False) / "000.nrig"
    whole = path.read_bytes()
    with RecordFile(path) as file:
        interesting = [int(o) + d for o in file.entries["offset"] for d in (0, 5, 9, 30, 61, 66)]
    for offset in [*interesting, len(whole) - 20, len(whole) - 60, len(whole) - 100, len(whole) - 160]:
        flip(path, offset)
        assert main(["verify", str(path)]) == 3, f"bit flipped at byte {offset} of {len(whole)}"
        path.write_bytes(whole)
    assert main(["verify", str(path)]) == 0


def test_hole_without_a_gap_record_is_a_problem(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = maker.camera("front", frames=9, per_segment=3)
    (folder / "001.nrig").unlink()
    code, facts = verified(maker.finish(), capsys)
    assert (code, facts["verdict"]) == (3, "unaccounted")
    text = "\n".join(facts["problems"])
    assert "segment 001 is missing" in text
    assert "front/depth: missing without a gap record: 3-5" in text
    assert "front/depth: 3 frames written and no longer there" in text


def test_gap_record_for_frames_that_are_there_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with DepthWriter(tmp_path / "a.nrig", width=WIDTH, height=HEIGHT, depth_scale_m=0.001) as writer:
        for number in range(3):
            writer.append(depth_picture(number))
        writer.gap(DepthGap("camera", 2, 3, 2, 0, 0))
    code, facts = verified(tmp_path / "a.nrig", capsys)
    assert code == 3
    assert facts["problems"] == ["a/depth: 1 frame in the files that gap records call missing"]


def test_estimators_may_skip_frames(maker: SessionMaker, capsys: pytest.CaptureFixture[str]) -> None:
    maker.estimator(frames=5, every=3, meshes=5)
    assert verified(maker.finish(), capsys)[0] == 0


def test_totals_that_do_not_fit_the_files_are_a_problem(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.camera("front", frames=5)
    maker.estimator(meshes=3)
    value = files.load_session(maker.finish())
    value["totals"]["streams"]["front/depth"] |= {"written": 7, "dropped": 1}
    value["totals"]["streams"]["front/color"]["raw_bytes"] += 1
    value["totals"]["streams"]["gone/depth"] = {"written": 4}
    value["totals"]["meshes"] = 5
    files.save_session(maker.folder, value)
    code, facts = verified(maker.folder, capsys)
    assert code == 3
    text = "\n".join(facts["problems"])
    for expected in (
        "front/depth: session.json says 7 written, the files hold 5",
        "front/depth: session.json says 1 dropped, the files hold 0",
        "front/color: session.json says",
        "gone/depth: session.json says 4 written, the files hold 0",
        "session.json says 5 meshes, the files hold 3",
    ):
        assert expected in text


def test_broken_session_json_is_damage(maker: SessionMaker, capsys: pytest.CaptureFixture[str]) -> None:
    maker.camera("front", frames=2)
    (maker.folder / "session.json").write_text("{")
    assert verified(maker.folder, capsys)[0] == 3


def test_unreadable_session_json_is_called_that(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.camera("front", frames=2)
    (maker.folder / "session.json").unlink()
    (maker.folder / "session.json").mkdir()  # no read of it succeeds, whoever reads
    code, facts = verified(maker.folder, capsys)
    assert (code, facts["damage"][0]["what"]) == (3, "it is unreadable: Is a directory")


def test_without_session_json_no_more_is_claimed_than_is_known(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = maker.camera("front", frames=2)
    (maker.folder / "session.json").unlink()
    assert main(["verify", str(maker.folder)]) == 0
    text = capsys.readouterr().out
    assert "no session.json: cannot tell whether whole cameras are missing" in text
    assert "everything that was captured" not in text
    assert verified(folder, capsys)[1]["notes"] == []


def test_session_in_which_nothing_was_recorded_is_not_clean(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    code, facts = verified(maker.finish(), capsys)
    assert (code, facts["verdict"]) == (3, "empty")
    maker.camera("front", frames=0)
    assert main(["verify", str(maker.finish())]) == 3
    assert capsys.readouterr().out.splitlines()[-1] == "EMPTY: nothing was recorded"


def test_torn_mesh_file_is_damage(maker: SessionMaker, capsys: pytest.CaptureFixture[str]) -> None:
    folder = maker.estimator(meshes=6)
    cut(folder / "mesh-000.xz", (folder / "mesh-000.xz").stat().st_size - 40)
    code, facts = verified(maker.finish(), capsys)
    assert code == 3
    assert facts["damage"][0]["file"].endswith("mesh-000.xz")


def test_damaged_index_is_damage_though_every_record_is_whole(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    path = maker.camera("front", frames=3) / "000.nrig"
    flip(path, path.stat().st_size - 88 - 30)
    code, facts = verified(path, capsys)
    assert code == 3
    assert [d["what"] for d in facts["damage"]] == ["the file's index is damaged"]


def test_path_that_is_not_there_is_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path / "nowhere")]) == 2
    assert main(["verify", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_bar_shows_on_a_terminal_only_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = iter(range(100))
    monkeypatch.setattr("capture.cli._progress.time.monotonic", lambda: float(next(now_s)))
    pipe, terminal = io.StringIO(), Terminal()
    for stream in (pipe, terminal):
        with Progress("verify", 2_000_000, unit="B", stream=stream) as progress:
            progress(500_000)
            progress(500_000)
    assert pipe.getvalue() == ""
    last = terminal.getvalue().split("\r")
    assert "50 %" in last[-3]
    assert "1 MB of 2 MB" in last[-3]
    assert last[-2].strip() == last[-1] == ""


def test_meshes_that_went_with_a_killed_writer_are_loss_not_damage(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = maker.estimator(frames=6, meshes=6)
    path = folder / "mesh-000.xz"
    path.unlink()
    writer = MeshWriter(path)
    for number in range(4):
        writer.append(vertices=np.zeros((1, 3, 3), np.float32), frame_number=number, monotonic_ns=number)
    writer.flush()
    killed = path.read_bytes()
    writer.close()
    path.write_bytes(killed)
    code, facts = verified(maker.finish(), capsys)
    assert (code, facts["verdict"], facts["meshes"], facts["meshes_lost"]) == (3, "loss", 4, 2)
    assert facts["problems"] == facts["damage"] == []
    main(["verify", str(maker.folder)])
    assert "lost: 2 meshes" in capsys.readouterr().out


@pytest.mark.parametrize("empty", ["mesh-000.xz", "mesh-001.nrm"])
def test_a_mesh_file_that_was_created_and_never_begun_is_no_damage(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str], tmp_path: Path, empty: str
) -> None:
    folder = maker.estimator(frames=6, meshes=6)
    (folder / empty).write_bytes(b"")
    lost = 6 if empty == "mesh-000.xz" else 0
    code, facts = verified(maker.finish(), capsys)
    assert (code, facts["verdict"]) == ((3, "loss") if lost else (0, "clean"))
    assert (facts["meshes"], facts["meshes_lost"]) == (6 - lost, lost)
    assert facts["damage"] == facts["problems"] == []
    assert f"{folder / empty} is empty" in facts["notes"][0]
    assert any("the meshes of 6 results are missing" in note for note in facts["notes"]) == bool(lost)
    with Recording(maker.folder) as recording:
        assert len(list(recording.meshes())) == sum(recording.mesh_counts().values()) == 6 - lost
        assert recording.damage == []
    assert main(["recover", str(maker.folder), "--out", str(tmp_path / "copy")]) == (3 if lost else 0)
    assert f"{folder / empty} is empty" in capsys.readouterr().out
    assert not (tmp_path / "copy" / folder.name / empty).exists()
    assert files.next_mesh_path(folder, "native").stem > Path(empty).stem  # its number is taken


def test_lossy_depth_is_called_as_stored_and_not_right(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.camera("front", frames=5, depth_codec="near")
    maker.camera("side", frames=5)
    code, facts = verified(maker.finish(), capsys)
    assert (code, facts["verdict"]) == (0, "clean")
    assert facts["lossy"] == {"front/depth": {"bound_subpixels": 2.5, "disparity_constant": 800 * WIDTH}}
    assert main(["info", str(maker.folder)]) == 0
    (told_by_info,) = [line for line in capsys.readouterr().out.splitlines() if "LOSSY" in line]
    assert main(["verify", str(maker.folder)]) == 0
    *_, lossy, verdict = capsys.readouterr().out.splitlines()
    as_stored = "as stored (near keeps disparity to within 2.5/32 pixel)"
    assert lossy == told_by_info
    assert verdict == f"CLEAN: everything that was captured is there, and {as_stored}"
    (maker.folder / files.SESSION_FILE).unlink()
    main(["verify", str(maker.folder)])
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"CLEAN: everything in it is {as_stored}; ")


def test_segment_that_is_a_link_to_nowhere_is_damage_and_the_others_are_read(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = maker.camera("front", frames=9, per_segment=3)
    maker.finish()
    (folder / "001.nrig").unlink()
    (folder / "001.nrig").symlink_to(tmp_path / "elsewhere" / "001.nrig")
    code, facts = verified(maker.folder, capsys)
    assert (code, facts["verdict"], facts["frames"]) == (3, "damage", 12)
    (damage,) = facts["damage"]
    assert damage["file"] == str(folder / "001.nrig")
    assert damage["what"] == f"it is a link to {tmp_path / 'elsewhere' / '001.nrig'}, which is not there"
    assert main(["info", str(maker.folder)]) == 0
    assert f"DAMAGED: {folder / '001.nrig'}" in capsys.readouterr().out
    assert main(["recover", str(maker.folder), "--out", str(tmp_path / "copy")]) == 3
    assert "001.nrig is missing; an empty one stands in its place" in capsys.readouterr().out


def test_mesh_file_that_is_a_link_to_nowhere_is_damage_too(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = maker.estimator(meshes=2)
    (folder / "mesh-001.xz").symlink_to(tmp_path / "elsewhere")
    code, facts = verified(maker.finish(), capsys)
    assert (code, [damage["file"] for damage in facts["damage"]]) == (3, [str(folder / "mesh-001.xz")])
    assert main(["info", str(maker.folder)]) == 0
    main(["recover", str(maker.folder), "--out", str(tmp_path / "copy")])
    assert "0 meshes saved" in capsys.readouterr().out


def test_bar_counts_a_frame_when_it_is_decoded(maker: SessionMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    maker.camera("front", frames=9, color=False)
    decoded: list[int] = []

    def decode(record: Record, _: str) -> str:
        decoded.append(record.header.total_bytes)
        return ""

    monkeypatch.setattr(_verify_file, "_decodes", decode)
    sizes = {path: path.stat().st_size for path in (maker.folder / "front").iterdir()}
    counted = 0

    def progress(amount: int) -> None:
        nonlocal counted
        counted += amount
        others = 9 * 64 + 4000  # the records that are no frames are small
        assert counted <= sum(decoded) + others

    verify(maker.finish(), progress=progress)
    assert 0 < counted <= sum(sizes.values())


@pytest.mark.parametrize("number", range(4))
def test_one_segment_of_several_is_judged_by_what_is_in_it(
    maker: SessionMaker,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    """What was written before it, and what was in the queues when it ended, is no business of it."""
    write_clock = make_session.clock
    monkeypatch.setattr(
        make_session,
        "clock",
        lambda writer, written, missing, info: write_clock(
            writer, written, missing + Counter({(0, RING_FULL): 1}), info
        ),
    )
    folder = maker.camera("front", frames=16, per_segment=4)
    segment, copy = folder / f"{number:03d}.nrig", tmp_path / "copy"
    assert verified(segment, capsys)[0] == 0
    assert main(["recover", str(segment), "--out", str(copy)]) == 0
    assert verified(copy / "000.nrig", capsys)[0] == 0
    flip_payload(segment, 4 * number + 1)
    assert verified(segment, capsys)[0] == 3


def test_parameters_without_the_meshes_that_lie_beside_them_are_clean(
    maker: SessionMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parameters = maker.estimator() / "parameters-000.nrig"
    assert verified(parameters, capsys)[0] == 0
    assert main(["recover", str(parameters), "--out", str(tmp_path / "copy")]) == 0
