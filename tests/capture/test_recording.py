"""Reading a recording: every frame once, in order, by index, across segments, and past damage."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from capture.cli import main
from capture.ledger import LOST_AT_CAMERA, OUTAGE
from capture.recording import Recording
from codec import DepthWriter
from codec.depth import get_codec
from codec.errors import ConfigError, DamagedError, NotOurFileError
from codec.records import Record, RecordFile, RecordWriter
from codec.records.layout import CLOCK, FILE, FRAME, GAP, pack_json, pack_record
from tests.capture.make_session import (
    HEIGHT,
    START_NS,
    STEP_NS,
    WALL_NS,
    WIDTH,
    SessionMaker,
    color_jpeg,
    cut,
    depth_picture,
    flip_payload,
    frame_entry,
    infrared_picture,
    numbers_of,
)


@pytest.fixture
def maker(tmp_path: Path) -> SessionMaker:
    return SessionMaker(tmp_path / "session")


def test_frames_come_back_bit_for_bit_in_order_across_segments(maker: SessionMaker) -> None:
    maker.camera("front", frames=12, per_segment=5, infrared=True)
    with Recording(maker.folder) as recording:
        assert list(recording.streams) == ["front/depth", "front/color", "front/infrared1"]
        depth = recording.streams["front/depth"]
        assert len(depth) == 12
        for place, frame in enumerate(depth):
            assert frame.number == place
            assert frame.data.dtype == np.uint16
            assert np.array_equal(frame.data, depth_picture(place, seed=1))
        infrared = recording.streams["front/infrared1"].frame(3).data
        assert np.array_equal(infrared, infrared_picture(3))


def test_frame_carries_its_times_meta_and_bytes_as_recorded(maker: SessionMaker) -> None:
    maker.camera("front")
    with Recording(maker.folder) as recording:
        frame = recording.streams["front/depth"].frame(4)
        assert (frame.number, frame.epoch, frame.clock) == (4, 1, "hardware")
        assert frame.device_time_s == pytest.approx(4 / 30)
        assert frame.monotonic_ns == START_NS + 4 * STEP_NS
        assert frame.meta == {"exposure": 8500}
        color = recording.streams["front/color"].frame(4)
        assert color.payload == color_jpeg(4)
        assert color.data.shape == (HEIGHT, WIDTH, 3)


def test_stream_says_what_it_is_and_which_camera_it_came_from(maker: SessionMaker) -> None:
    maker.camera("front")
    with Recording(maker.folder) as recording:
        stream = recording.streams["front/depth"]
        assert stream.info.depth_scale_m == 0.001
        assert stream.info.intrinsics is not None
        assert stream.info.intrinsics.fx == 50.0
        assert (stream.camera.name, stream.camera.serial) == ("front", "0001")
        assert not stream.is_estimate
        assert stream.fps == pytest.approx(30.0, rel=1e-3)
        assert stream.raw_bytes == 12 * WIDTH * HEIGHT * 2


def test_any_frame_is_found_by_its_index_from_either_end(maker: SessionMaker) -> None:
    maker.camera("front", frames=11, per_segment=3, color=False)
    with Recording(maker.folder) as recording:
        depth = recording.streams["front/depth"]
        for index in (0, 2, 3, 10, 5, 9, -1, -11):
            assert depth[index].number == index % 11
        for index in (11, -12):
            with pytest.raises(IndexError):
                depth.frame(index)


def test_frames_that_a_taken_over_writer_wrote_twice_come_once(maker: SessionMaker) -> None:
    folder = maker.camera("front", frames=10, per_segment=6)
    repeat(folder / "000.nrig", folder / "001.nrig", last=2)
    with Recording(maker.folder) as recording:
        depth = recording.streams["front/depth"]
        assert numbers_of(depth) == list(range(10))
        assert depth.frame(7).number == 7
        assert depth.raw_bytes == 10 * WIDTH * HEIGHT * 2
        assert len(recording.streams["front/color"]) == 10


def repeat(earlier: Path, later: Path, *, last: int) -> None:
    """Begin `later` with the last frames of `earlier`, as a writer does that took over from a killed one."""
    with RecordFile(earlier) as file, RecordFile(later) as rest:
        repeated = [file.read(int(i)) for s in (0, 1) for i in file.frames(s)[-last:]]
        records = [rest.read(i) for i in range(len(rest)) if rest.entries["kind"][i] != FILE]
    later.unlink()
    raw = earlier.read_bytes()
    writer = RecordWriter(later)
    described = [record for record in records if record.header.kind != FRAME]
    for record in described:
        writer.append(rebuilt(record))
    for record in repeated:
        data = raw[record.offset : record.offset + record.header.total_bytes]
        writer.append((data[:64], data[64:], b""))
    for record in records:
        if record.header.kind == FRAME:
            writer.append(rebuilt(record))
    writer.seal()


def rebuilt(record: Record) -> tuple[bytes, bytes, bytes]:
    h = record.header
    return pack_record(
        h.kind,
        record.payload,
        stream=h.stream,
        codec=h.codec,
        clock=h.clock,
        width=h.width,
        height=h.height,
        epoch=h.epoch,
        number=h.number,
        device_time_s=h.device_time_s,
        monotonic_ns=h.monotonic_ns,
        raw_length=h.raw_length,
        meta=record.meta,
    )


def test_numbers_that_begin_anew_after_an_outage_are_other_frames(maker: SessionMaker) -> None:
    maker.camera("front", frames=5, second_epoch=4, color=False)
    with Recording(maker.folder) as recording:
        depth = recording.streams["front/depth"]
        assert [(f.epoch, f.number) for f in depth] == [(1, n) for n in range(5)] + [(2, n) for n in range(4)]
        assert np.array_equal(depth.frame(5).data, depth_picture(0, seed=2))


def test_gaps_are_listed_in_order_of_time(maker: SessionMaker) -> None:
    maker.camera("side", frames=8, lost=[5])
    maker.camera("front", frames=8, lost=[2], second_epoch=2)
    with Recording(maker.folder) as recording:
        found = [(g.stream, g.reason, g.first, g.count) for g in recording.gaps]
        assert found[:2] == [("front/depth", LOST_AT_CAMERA, 2, 1), ("side/depth", LOST_AT_CAMERA, 5, 1)]
        assert {g[:3] for g in found[2:]} == {("front/depth", OUTAGE, None), ("front/color", OUTAGE, None)}


def test_damaged_frame_is_stepped_over_and_named_when_asked_for(maker: SessionMaker) -> None:
    folder = maker.camera("front", frames=6)
    flip_payload(folder / "000.nrig", 3)
    with Recording(maker.folder) as recording:
        depth = recording.streams["front/depth"]
        assert not recording.damage
        assert numbers_of(depth) == [0, 1, 2, 4, 5]
        assert numbers_of(depth) == [0, 1, 2, 4, 5]
        (damage,) = recording.damage
        assert damage.path == folder / "000.nrig"
        assert damage.offset == frame_entry(folder / "000.nrig", 3)["offset"]
        with pytest.raises(DamagedError, match="checksum"):
            depth.frame(3)


def test_payload_that_does_not_decode_is_damage_even_with_a_right_checksum(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path / "a.nrig")
    writer.stream(0, {"name": "depth", "pixel_format": "z16", "width": 4, "height": 4, "fps": 30})
    writer.append(_frame_record(b"nonsense", codec=2))
    writer.seal()
    with Recording(tmp_path / "a.nrig") as recording:
        stream = recording.streams["a/depth"]
        with pytest.raises(DamagedError, match="byte"):
            stream.frame(0)
        assert list(stream) == []
        assert len(recording.damage) == 1


def _frame_record(payload: bytes, *, codec: int) -> tuple[bytes, bytes, bytes]:
    return pack_record(FRAME, payload, codec=codec, width=4, height=4, raw_length=32)


def test_torn_tail_loses_only_what_was_being_written(maker: SessionMaker) -> None:
    folder = maker.camera("front", frames=6, sealed=False, color=False)
    cut(folder / "000.nrig", int(frame_entry(folder / "000.nrig", 5)["offset"]) + 70)
    with Recording(maker.folder) as recording:
        assert numbers_of(recording.streams["front/depth"]) == [0, 1, 2, 3, 4]
        assert [d.what for d in recording.damage] == ["torn tail"]


def test_unreadable_segment_is_damage_and_the_others_are_read(maker: SessionMaker) -> None:
    folder = maker.camera("front", frames=9, per_segment=3, color=False)
    (folder / "001.nrig").write_bytes(b"\0" * 5000)
    with Recording(maker.folder) as recording:
        assert numbers_of(recording.streams["front/depth"]) == [0, 1, 2, 6, 7, 8]
        assert [d.path.name for d in recording.damage] == ["001.nrig"]


def test_empty_segment_is_no_damage(maker: SessionMaker) -> None:
    folder = maker.camera("front", frames=3)
    (folder / "001.nrig").touch()
    with Recording(maker.folder) as recording:
        assert not recording.damage
        assert recording.empty_segments == [folder / "001.nrig"]


def test_stream_whose_description_is_lost_in_one_segment_is_known_from_another(maker: SessionMaker) -> None:
    folder = maker.camera("front", frames=6, per_segment=3)
    data = bytearray((folder / "000.nrig").read_bytes())
    with RecordFile(folder / "000.nrig") as file:
        for index in (1, 2):  # the two stream records
            data[int(file.entries["offset"][index]) + 70] ^= 1
    (folder / "000.nrig").write_bytes(data)
    with Recording(maker.folder) as recording:
        assert numbers_of(recording.streams["front/depth"]) == list(range(6))
        assert numbers_of(recording.streams["front/color"]) == list(range(6))


def test_wall_time_follows_the_clock_records(maker: SessionMaker) -> None:
    maker.camera("front")
    with Recording(maker.folder) as recording:
        assert recording.wall_ns(START_NS) == WALL_NS
        assert recording.wall_ns(START_NS + 12 * STEP_NS) == WALL_NS + 12 * STEP_NS
        assert recording.first_ns == START_NS


def test_clock_that_was_set_in_between_is_followed_from_segment_to_segment(maker: SessionMaker) -> None:
    folder = maker.camera("front", frames=2)
    hour_ns = 3_600_000_000_000
    later_ns = START_NS + hour_ns
    writer = RecordWriter(folder / "001.nrig")
    writer.append(pack_json(CLOCK, {"wall_ns": WALL_NS + 3 * hour_ns}, monotonic_ns=later_ns))
    writer.append(_frame_record(b"", codec=0))
    writer.seal()
    with Recording(maker.folder) as recording:
        assert recording.wall_ns(START_NS + 5) == WALL_NS + 5
        assert recording.wall_ns(later_ns + 5) == WALL_NS + 3 * hour_ns + 5


def _segment_with_clocks(path: Path, pairs: list[tuple[int, int]]) -> None:
    """A segment with these pairs, in seconds since the session began."""
    writer = RecordWriter(path)
    for since_s, shown_s in pairs:
        wall_ns = WALL_NS + round(shown_s * 1e9)
        writer.append(pack_json(CLOCK, {"wall_ns": wall_ns}, monotonic_ns=START_NS + round(since_s * 1e9)))
    writer.append(_frame_record(b"", codec=0))
    writer.seal()


def test_clock_that_drifts_is_followed_from_pair_to_pair_within_a_segment(maker: SessionMaker) -> None:
    """The clock is 1000 ppm slow for 300 s, then is brought back by 1000 ppm: at both ends of the segment it
    is right, in the middle it is 0.3 s late."""
    folder = maker.camera("front", frames=2)
    pairs = [(float(t), t - 0.001 * (t if t <= 300 else 600 - t)) for t in range(0, 601, 10)]
    _segment_with_clocks(folder / "001.nrig", pairs)
    _segment_with_clocks(folder / "002.nrig", [(t + 610.0, t + 610.0) for t in range(0, 601, 10)])
    with Recording(maker.folder) as recording:

        def late_s(since_s: float) -> float:
            wall_ns = recording.wall_ns(START_NS + round(since_s * 1e9))
            assert wall_ns is not None
            return since_s - (wall_ns - WALL_NS) / 1e9

        for _ in range(2):  # from one segment to another, and back
            assert late_s(0) == pytest.approx(0, abs=1e-6)
            assert late_s(155) == pytest.approx(0.155, abs=1e-6)  # half-way between two pairs
            assert late_s(300) == pytest.approx(0.3, abs=1e-6)
            assert late_s(447.5) == pytest.approx(0.1525, abs=1e-6)
            assert late_s(605) == pytest.approx(0, abs=1e-6)
            assert late_s(900) == pytest.approx(0, abs=1e-6)
            assert late_s(1300) == pytest.approx(0, abs=1e-6)  # after the last pair
        times = [recording.wall_ns(START_NS + t * 100_000_000) or 0 for t in range(13_000)]
        assert times == sorted(times)
        assert recording.utc(START_NS + 300 * 10**9) == "2025-01-01T22:04:59.700Z"


def test_clock_that_is_set_within_a_segment_steps_between_two_pairs_and_nowhere_else(
    maker: SessionMaker,
) -> None:
    folder = maker.camera("front", frames=2)
    set_to_s = 50 * 365 * 86_400.0
    pairs = [(float(t), t + (set_to_s if t >= 30 else 0.0)) for t in range(0, 61, 10)]
    _segment_with_clocks(folder / "001.nrig", pairs)
    with Recording(maker.folder) as recording:
        for since_s in (0, 7, 24, 26, 33, 60):
            shown_s = since_s + (set_to_s if since_s > 25 else 0)
            assert recording.wall_ns(START_NS + since_s * 10**9) == WALL_NS + round(shown_s * 1e9)


def test_camera_folder_and_single_file_open_like_a_session(maker: SessionMaker) -> None:
    folder = maker.camera("front", frames=6, per_segment=3)
    with Recording(folder) as recording:
        assert len(recording.streams["front/depth"]) == 6
    with Recording(folder / "001.nrig") as recording:
        assert numbers_of(recording.streams["front/depth"]) == [3, 4, 5]


def test_depth_file_of_the_library_opens_under_its_own_name(tmp_path: Path) -> None:
    with DepthWriter(tmp_path / "night.nrig", width=WIDTH, height=HEIGHT, depth_scale_m=0.001) as writer:
        for number in range(3):
            writer.append(depth_picture(number))
    with Recording(tmp_path / "night.nrig") as recording:
        assert np.array_equal(recording.streams["night/depth"].frame(2).data, depth_picture(2))
        assert recording.streams["night/depth"].frame(0).device_time_s is None


def test_meshes_of_all_files_come_in_order_and_once(maker: SessionMaker) -> None:
    folder = maker.estimator(meshes=6)
    (folder / "mesh-001.xz").write_bytes((folder / "mesh-000.xz").read_bytes())
    with Recording(maker.folder) as recording:
        assert [mesh["frame_number"] for mesh in recording.meshes()] == [0, 2, 4, 6, 8, 10]
        assert recording.mesh_count() == 12
        assert recording.streams["people/parameters"].is_estimate
        assert recording.streams["people/parameters"].frame(1).data.tolist() == [[2, 3, 4, 5, 6]]


def test_torn_mesh_file_gives_what_is_whole_and_is_listed(maker: SessionMaker) -> None:
    folder = maker.estimator(meshes=6)
    cut(folder / "mesh-000.xz", (folder / "mesh-000.xz").stat().st_size - 30)
    with Recording(maker.folder) as recording:
        list(recording.meshes())
        assert [d.path.name for d in recording.damage] == ["mesh-000.xz"]


def test_only_a_few_files_are_open_at_a_time(maker: SessionMaker) -> None:
    maker.camera("front", frames=60, per_segment=2, color=False)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a kernel folder
    with Recording(maker.folder) as recording:
        assert numbers_of(recording.streams["front/depth"]) == list(range(60))
        assert len(os.listdir("/proc/self/fd")) - before <= 16  # noqa: PTH208
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_path_that_is_not_there_and_folder_without_recording_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        Recording(tmp_path / "nowhere")
    with pytest.raises(NotOurFileError, match="no recording"):
        Recording(tmp_path)


def test_file_of_a_newer_version_is_refused_not_called_damaged(maker: SessionMaker) -> None:
    folder = maker.camera("front", frames=3)
    writer = RecordWriter(folder / "001.nrig", info={"version": 99})
    writer.seal()
    with pytest.raises(NotOurFileError, match="version 99"):
        Recording(maker.folder)


def test_of_two_copies_the_one_that_can_be_read_is_taken(maker: SessionMaker) -> None:
    folder = maker.camera("front", frames=6, color=False)
    path = folder / "000.nrig"
    with RecordFile(path) as file:
        place = int(file.frames(0)[2])
        start = int(file.entries["offset"][place])
        copy = file.read_bytes(place)
    data = path.read_bytes()
    path.write_bytes(data[:start] + copy + data[start:])
    flip_payload(path, 2)  # the first one
    with Recording(maker.folder) as recording:
        depth = recording.streams["front/depth"]
        assert numbers_of(depth) == list(range(6))
        assert (depth.frame(2).data == depth_picture(2, seed=1)).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../../escaped"},
        {"name": ["depth"]},
        {"name": "two\nlines"},
        {"name": "\ud800"},
        {"width": 1e308},
        {"fps": "thirty"},
        {"fps": float("nan")},
        {"depth_scale_m": 10**400},
        {"focal_baseline_px_m": "x"},
        {"faces": [[0, 1, 2]]},
        {"intrinsics": {"width": 1, "height": 1, "fx": None, "fy": 1, "cx": 1, "cy": 1}},
        {"camera_from_stream": [[1]]},
        {"camera": {"model": 5, "world_from_camera": [[1]], "options": {"a": [1]}}},
    ],
    ids=str,
)
def test_a_stream_that_is_described_wrongly_is_read_all_the_same(tmp_path: Path, changes: dict) -> None:
    path = tmp_path / "000.nrig"
    writer = RecordWriter(path, info={"camera": "../front"})
    said = {"name": "depth", "pixel_format": "z16", "width": 4, "height": 2, "fps": 30.0, **changes}
    writer.stream(0, said, epoch=1)
    payload = get_codec("raw").encode(np.ones((2, 4), np.uint16))
    writer.append(pack_record(FRAME, payload, width=4, height=2, epoch=1, raw_length=16))
    writer.seal()
    with Recording(path) as recording:
        ((name, stream),) = recording.streams.items()
        assert name in ("000/depth", "000/stream0")
        assert (stream.frame(0).data == 1).all()
        assert (stream.info.width, stream.info.height) == (4, 2)
        assert stream.camera.model == ""


@pytest.mark.parametrize("name", ["session.json", "events.jsonl", "people/mesh-000.xz", "front/001.nrig"])
def test_a_pipe_among_the_files_keeps_nobody_waiting(maker: SessionMaker, tmp_path: Path, name: str) -> None:
    maker.camera("front", frames=3)
    maker.estimator()
    path = maker.finish() / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    for words in (["info"], ["verify"], ["recover", "--out", str(tmp_path / "out")]):
        assert main([words[0], str(maker.folder), *words[1:]]) in (0, 1, 3)


def test_words_out_of_a_file_stay_on_their_line(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.camera("front", frames=4)
    path = maker.folder / "front" / "000.nrig"
    writer = RecordWriter(maker.folder / "front" / "001.nrig", info={"camera": "front", "segment": 1})
    with RecordFile(path) as file:
        writer.stream(0, file.streams()[0], epoch=1)
    gap = {"first": 90, "last": 91, "count": 2, "start_ns": 5, "end_ns": 6}
    writer.gap(0, {**gap, "reason": "two\nlines \ud800 \x1b[2J"}, epoch=1)
    writer.seal()
    for verb in ("info", "verify"):
        main([verb, str(maker.folder)])
        out = capsys.readouterr().out
        assert r"two\nlines \ud800 \x1b[2J" in out
        assert all(line.isprintable() for line in out.splitlines())


def test_a_rate_that_makes_intervals_without_end_is_none(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path / "d.nrig")
    writer.stream(0, {"name": "depth", "pixel_format": "z16", "width": 4, "height": 4, "fps": 1e-320})
    codec = get_codec("raw")
    payload = codec.encode(np.zeros((4, 4), np.uint16))
    writer.append(pack_record(FRAME, payload, codec=codec.id, width=4, height=4))
    writer.seal()
    with Recording(tmp_path / "d.nrig") as recording:
        assert [stream.info.fps for stream in recording.streams.values()] == [0.0]


def test_a_gap_at_no_moment_of_64_bits_is_told_all_the_same(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.camera("front", frames=4)
    writer = RecordWriter(maker.folder / "front" / "001.nrig", info={"camera": "front", "segment": 1})
    gap: dict[str, object] = {"reason": "camera", "first": 90, "last": 91, "count": 2}
    gap.update(start_ns=10**400, end_ns=-(10**400))
    writer.append(pack_json(GAP, gap, epoch=1, number=90))
    writer.seal()
    assert main(["verify", str(maker.folder)]) == 3
    assert "90-91" in capsys.readouterr().out


@pytest.mark.parametrize("scale_m", [1e-320, -0.001, 1e6])
def test_a_unit_in_which_nothing_can_be_told_is_none(tmp_path: Path, scale_m: float) -> None:
    with DepthWriter(tmp_path / "d.nrig", width=4, height=4, depth_scale_m=scale_m) as writer:
        writer.append(np.ones((4, 4), np.uint16))
    with Recording(tmp_path / "d.nrig") as recording:
        assert [stream.info.depth_scale_m for stream in recording.streams.values()] == [None]
    words = [str(tmp_path / "d.nrig"), "--format", "mp4", "--out", str(tmp_path / "out")]
    assert main(["export", *words]) == 0


def test_a_session_json_that_claims_terabytes_is_no_session_json(maker: SessionMaker) -> None:
    maker.camera("front")
    maker.finish()
    os.truncate(maker.folder / "session.json", 1 << 40)
    with Recording(maker.folder) as recording:
        assert recording.info == {}
        assert "larger than 16 MB" in recording.session_trouble
