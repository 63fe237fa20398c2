"""Recompressing in place: the same recording in fewer bytes, and never less than a whole one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import codec.depth
from capture import _recompress_segment, session
from capture.cli import main
from capture.recompression import Recompression, Step
from capture.recording import Recording
from capture.verification import verify
from codec import DepthWriter
from codec.depth import get_codec
from codec.depth.lz4_planes import Lz4PlanesCodec
from codec.errors import ConfigError, FileBusyError, NotOurFileError
from codec.records import RecordFile, RecordWriter
from codec.records.layout import FRAME, pack_record
from tests.capture.make_session import HEIGHT, WIDTH, SessionMaker, depth_picture, flip_payload
from tests.capture.recompressed import (
    LATTICE,
    assert_same_but_for_depth_payloads,
    contents,
    depth_codecs,
    let_it_age,
    recompress,
    recompress_again_does_nothing,
    segments,
)


@pytest.fixture
def maker(tmp_path: Path) -> SessionMaker:
    return SessionMaker(tmp_path / "session")


# ---- what changes and what does not ----


def test_depth_has_the_new_codec_and_all_else_is_as_it_was_byte_for_byte(maker: SessionMaker) -> None:
    maker.camera(
        "front", frames=14, per_segment=5, infrared=True, lost=[3], second_epoch=2, depth_codec="raw"
    )
    maker.camera("side", frames=6, depth_codec="lz4")
    maker.estimator()
    maker.finish()
    before = contents(maker.folder)
    report = recompress(maker.folder)
    after = contents(maker.folder)
    assert before.keys() == after.keys()
    changed = {}
    for name in before:
        if name.endswith(".nrig"):
            changed[name] = assert_same_but_for_depth_payloads(before[name], after[name])
        elif name not in (session.SESSION_FILE, session.EVENTS_FILE):
            assert before[name] == after[name]
    assert sum(changed.values()) == 13 + 2 + 6
    assert changed["people/parameters-000.nrig"] == 0
    assert before["people/parameters-000.nrig"] == after["people/parameters-000.nrig"]
    total = report.total()
    assert (total.segments, total.rewritten, total.frames, total.kept) == (4, 4, 21, 0)
    assert report.left_alone == []
    sizes = [sum(len(files[name]) for name in changed if changed[name]) for files in (before, after)]
    assert [total.before_bytes, total.after_bytes] == sizes
    assert sizes[1] < 0.8 * sizes[0]


def test_new_files_are_sealed_and_open_by_their_index(maker: SessionMaker) -> None:
    path = maker.camera("front", frames=8, depth_codec="raw") / "000.nrig"
    recompress(maker.folder)
    with RecordFile(path) as indexed, RecordFile(path, use_index=False) as scanned:
        assert indexed.sealed
        assert indexed.recompressed_to == LATTICE
        assert indexed.entries.tobytes() == scanned.entries.tobytes()
        assert scanned.damage == []
    assert set(depth_codecs(path)) == {LATTICE}


@pytest.mark.parametrize("losses", [{}, {"lost": [2], "dropped": [5]}], ids=["clean", "loss"])
def test_verdict_is_the_same_as_before(maker: SessionMaker, losses: dict[str, list[int]]) -> None:
    maker.camera("front", frames=9, per_segment=4, depth_codec="raw", **losses)
    maker.finish()
    before = verify(maker.folder)
    recompress(maker.folder)
    after = verify(maker.folder)
    assert after.verdict == before.verdict
    assert (after.problems, after.notes, after.damage) == ([], [], [])
    assert (after.frames, after.records, len(after.gaps)) == (before.frames, before.records, len(before.gaps))


def test_totals_of_the_session_say_what_is_in_the_files_now(maker: SessionMaker) -> None:
    maker.camera("front", frames=9, per_segment=4, depth_codec="raw")
    maker.finish()
    before = session.load_session(maker.folder)
    recompress(maker.folder)
    after = session.load_session(maker.folder)
    with Recording(maker.folder) as recording:
        held = recording.streams["front/depth"].file_bytes
    told = after["totals"]["streams"]["front/depth"]
    assert told["file_bytes"] == held < before["totals"]["streams"]["front/depth"]["file_bytes"]
    told["file_bytes"] = before["totals"]["streams"]["front/depth"]["file_bytes"]
    assert after == before


def test_totals_that_were_wrong_are_not_made_right_on_the_way(maker: SessionMaker) -> None:
    maker.camera("front", frames=5, depth_codec="raw")
    info = session.load_session(maker.finish())
    info["totals"]["streams"]["front/depth"]["file_bytes"] -= 1
    session.save_session(maker.folder, info)
    assert verify(maker.folder).verdict == "unaccounted"
    recompress(maker.folder)
    assert verify(maker.folder).verdict == "unaccounted"


def test_what_was_done_stands_among_the_events(maker: SessionMaker) -> None:
    maker.camera("front", frames=9, per_segment=4, depth_codec="raw")
    maker.finish()
    report = recompress(maker.folder)
    lines = (maker.folder / session.EVENTS_FILE).read_text().splitlines()
    event = json.loads(lines[-1])
    assert (event["event"], event["codec"], event["segments"], event["frames"], event["kept"]) == (
        "recompressed",
        "lattice-lz4",
        3,
        9,
        0,
    )
    assert event["after_bytes"] == report.total().after_bytes
    recompress(maker.folder)
    assert len((maker.folder / session.EVENTS_FILE).read_text().splitlines()) == len(lines)


def test_camera_folder_and_single_segment_keep_the_session_around_them_true(
    maker: SessionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = maker.camera("front", frames=9, per_segment=4, depth_codec="raw")
    side = maker.camera("side", frames=4, depth_codec="raw")
    maker.finish()
    assert recompress(front / "001.nrig").cameras[0].name == "front"
    assert verify(maker.folder).verdict == "clean"
    assert [set(depth_codecs(front / f"00{i}.nrig")) for i in range(3)] == [{0}, {LATTICE}, {0}]
    monkeypatch.chdir(front)
    assert recompress(Path()).total().frames == 5
    assert set(depth_codecs(side / "000.nrig")) == {0}
    assert verify(maker.folder).verdict == "clean"


def test_file_of_the_library_by_any_name(tmp_path: Path) -> None:
    path = tmp_path / "night.nrig"
    with DepthWriter(path, width=WIDTH, height=HEIGHT, depth_scale_m=0.001, codec="raw") as writer:
        for number in range(6):
            writer.append(depth_picture(number), number=number)
    before = path.read_bytes()
    report = recompress(path)
    assert assert_same_but_for_depth_payloads(before, path.read_bytes()) == 6
    assert report.cameras[0].frames == 6
    assert list(tmp_path.iterdir()) == [path]


def test_links_stay_links_and_modes_stay_modes(maker: SessionMaker, tmp_path: Path) -> None:
    segment = maker.camera("front", frames=4, depth_codec="raw") / "000.nrig"
    maker.finish()
    elsewhere = tmp_path / "other disk"
    elsewhere.mkdir()
    segment.rename(elsewhere / "000.nrig")
    segment.symlink_to(elsewhere / "000.nrig")
    segment.chmod(0o640)
    recompress(maker.folder)
    assert segment.is_symlink()
    assert segment.stat().st_mode & 0o777 == 0o640
    assert set(depth_codecs(segment)) == {LATTICE}
    assert [path.name for path in elsewhere.iterdir()] == ["000.nrig"]


def test_unsealed_segment_stays_unsealed_since_that_says_how_it_ended(maker: SessionMaker) -> None:
    folder = maker.camera("front", frames=9, per_segment=4, sealed=False, depth_codec="raw")
    let_it_age(folder / "002.nrig")
    before = segments(folder)
    notes = verify(maker.folder).notes
    recompress(maker.folder)
    with RecordFile(folder / "002.nrig") as file:
        assert (file.sealed, file.damage) == (False, [])
    assert verify(maker.folder).notes == notes
    for name, data in segments(folder).items():
        assert_same_but_for_depth_payloads(before[name], data)
        assert set(depth_codecs(folder / name)) == {LATTICE}
    assert recompress_again_does_nothing(maker.folder)


def test_mixed_codecs_as_the_effort_ladder_leaves_them(tmp_path: Path) -> None:
    path = tmp_path / "mixed.nrig"
    writer = RecordWriter(path)
    writer.stream(0, {"name": "depth", "pixel_format": "z16", "width": WIDTH, "height": HEIGHT})
    for number, name in enumerate(["raw", "lattice-lz4", "lz4", "raw", "lattice-lz4"]):
        depth_codec = get_codec(name)
        payload = depth_codec.encode(depth_picture(number))
        writer.append(
            pack_record(FRAME, payload, codec=depth_codec.id, width=WIDTH, height=HEIGHT, number=number)
        )
    writer.seal()
    before = path.read_bytes()
    assert recompress(path).total().frames == 3
    assert assert_same_but_for_depth_payloads(before, path.read_bytes()) == 3
    assert set(depth_codecs(path)) == {LATTICE}


def test_a_stream_is_what_its_last_description_says(tmp_path: Path) -> None:
    """Frames before any description, and those of a time when the number meant something else, stay."""
    path = tmp_path / "changing.nrig"
    raw = get_codec("raw")
    frame = pack_record(FRAME, raw.encode(depth_picture(1)), codec=raw.id, width=WIDTH, height=HEIGHT)
    writer = RecordWriter(path)
    writer.append(frame)
    for pixel_format in ("y8", "z16"):
        writer.stream(0, {"name": "s", "pixel_format": pixel_format})
        writer.append(frame)
    writer.seal()
    recompress(path)
    assert depth_codecs(path) == [raw.id, raw.id, LATTICE]


def test_frames_that_would_get_larger_keep_their_payload_and_count_as_done(maker: SessionMaker) -> None:
    folder = maker.camera("front", frames=9, per_segment=4)
    maker.finish()
    before = segments(folder)
    report = recompress(maker.folder, "raw")
    assert (report.total().frames, report.total().kept) == (0, 9)
    for name, data in segments(folder).items():
        assert assert_same_but_for_depth_payloads(before[name], data) == 0
    assert verify(maker.folder).verdict == "clean"
    assert recompress_again_does_nothing(maker.folder, "raw")


def test_what_has_been_tried_survives_a_recovery(maker: SessionMaker, tmp_path: Path) -> None:
    maker.camera("front", frames=5)
    maker.finish()
    recompress(maker.folder, "raw")
    assert main(["recover", str(maker.folder), "--out", str(tmp_path / "out")]) == 0
    assert contents(tmp_path / "out") == contents(maker.folder)


def test_one_job_or_many_give_the_same_bytes(maker: SessionMaker, tmp_path: Path) -> None:
    maker.camera("front", frames=12, per_segment=7, depth_codec="raw")
    other = shutil.copytree(maker.folder, tmp_path / "other")
    recompress(maker.folder, jobs=1)
    recompress(other, jobs=5)
    assert segments(maker.folder) == segments(other)


def test_recording_without_depth_is_done_at_once(maker: SessionMaker) -> None:
    maker.estimator()
    maker.finish()
    assert recompress_again_does_nothing(maker.folder)


def test_progress_counts_each_frame_twice_and_ends_at_the_total(maker: SessionMaker) -> None:
    folder = maker.camera("front", frames=12, per_segment=4, depth_codec="raw")
    flip_payload(folder / "001.nrig", 6)
    steps: list[Step] = []
    with Recompression(maker.folder, codec="lattice-lz4") as work:
        assert work.frames == 12
        work.run(steps.append)
    assert sum(step.halves for step in steps) == 2 * 12
    assert sum(step.before_bytes for step in steps) > sum(step.after_bytes for step in steps) > 0


def test_memory_holds_a_few_frames_and_never_a_segment(
    maker: SessionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker.camera("front", frames=60, color=False, depth_codec="raw")
    read, written, most = 0, 0, 0
    read_bytes, append = RecordFile.read_bytes, RecordWriter.append

    def reading(file: RecordFile, index: int) -> bytes:
        nonlocal read, most
        read += 1
        most = max(most, read - written)
        return read_bytes(file, index)

    def writing(writer: RecordWriter, record: tuple[bytes, bytes, bytes]) -> int:
        nonlocal written
        written += 1
        return append(writer, record)

    monkeypatch.setattr(RecordFile, "read_bytes", reading)
    monkeypatch.setattr(RecordWriter, "append", writing)
    monkeypatch.setattr(_recompress_segment, "_compare", lambda *_: 0)
    recompress(maker.folder, jobs=2)
    assert written >= 60
    assert most <= 2 * 2 + 1


# ---- what is refused ----


def test_lossy_codec_is_refused_in_one_clear_line(
    maker: SessionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Near(Lz4PlanesCodec):
        name, id, lossless = "near", 4, False

    monkeypatch.setitem(codec.depth._BY_NAME, "near", Near)
    maker.camera("front", frames=2)
    with pytest.raises(ConfigError, match="--codec near: it is lossy"):
        recompress(maker.folder, "near")


def test_frames_of_a_lossy_codec_stay_since_their_payload_alone_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Near(Lz4PlanesCodec):
        name, id, lossless = "near", 4, False

    monkeypatch.setitem(codec.depth._BY_NAME, "near", Near)
    monkeypatch.setitem(codec.depth._BY_ID, 4, Near)
    path = tmp_path / "near.nrig"
    writer = RecordWriter(path)
    writer.stream(0, {"name": "depth", "pixel_format": "z16"})
    for number, codec_id in enumerate((4, 1)):
        payload = Near().encode(depth_picture(number))
        writer.append(pack_record(FRAME, payload, codec=codec_id, width=WIDTH, height=HEIGHT, number=number))
    writer.seal()
    recompress(path)
    assert depth_codecs(path) == [4, LATTICE]


@pytest.mark.parametrize(
    ("codec_name", "jobs", "words"),
    [("latice-lz4", 1, "did you mean 'lattice-lz4'"), ("lz4", 0, "--jobs 0"), ("lz4", -3, "--jobs -3")],
)
def test_wrong_arguments_are_usage_errors(
    maker: SessionMaker, codec_name: str, jobs: int, words: str
) -> None:
    maker.camera("front", frames=2)
    with pytest.raises(ConfigError, match=words):
        recompress(maker.folder, codec_name, jobs=jobs)


def test_file_that_is_being_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "night.nrig"
    with DepthWriter(path, width=WIDTH, height=HEIGHT, depth_scale_m=0.001, codec="raw") as writer:
        writer.append(depth_picture(1), number=1)
        let_it_age(path)
        with pytest.raises(FileBusyError, match=r"night\.nrig is in use"):
            recompress(path)
    assert recompress(path).total().frames == 1


def test_recording_held_by_somebody_else_is_refused_wherever_one_begins(maker: SessionMaker) -> None:
    folder = maker.camera("front", frames=2, depth_codec="raw")
    maker.finish()
    before = contents(maker.folder)
    with Recompression(maker.folder, codec="lattice-lz4"):
        for path in (maker.folder, folder, folder / "000.nrig"):
            with pytest.raises(FileBusyError, match="is in use"):
                recompress(path)
    assert contents(maker.folder) == before


def test_unfinished_segment_written_a_moment_ago_is_refused_where_no_lock_tells(maker: SessionMaker) -> None:
    folder = maker.camera("front", frames=4, sealed=False, depth_codec="raw")
    with pytest.raises(FileBusyError, match="try again in 2 minutes"):
        recompress(maker.folder)
    let_it_age(folder / "000.nrig")
    assert recompress(maker.folder).total().frames == 4


def test_unfinished_segment_of_a_session_that_ended_is_no_reason_to_wait(maker: SessionMaker) -> None:
    maker.camera("front", frames=4, sealed=False, depth_codec="raw")
    assert recompress(maker.finish()).total().frames == 4


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.nrig").write_bytes(b"\0" * 500)
    with pytest.raises(NotOurFileError):
        recompress(tmp_path / "x.nrig")
    with pytest.raises(ConfigError, match="does not exist"):
        recompress(tmp_path / "y.nrig")
