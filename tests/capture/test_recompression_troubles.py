"""Recompressing what is damaged, on disks that refuse and machines that err: nothing is ever made worse."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import codec.depth
from capture import session
from capture.verification import verify
from codec import durable
from codec.depth import get_codec
from codec.depth.lz4_planes import Lz4PlanesCodec
from codec.durable import system
from codec.errors import DiskFullError, NotOurFileError, StorageError
from codec.records import RecordWriter
from codec.records.layout import CODEC_JPEG, FRAME, pack_record
from scripts.campaigns._faulty_calls import FaultyCalls, fails
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
from tests.capture.recompressed import LATTICE, contents, depth_codecs, raw_records, recompress, segments


@pytest.fixture
def maker(tmp_path: Path) -> SessionMaker:
    return SessionMaker(tmp_path / "session")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FaultyCalls:
    """What codec.durable calls; put faults into `disk.faults`."""
    faulty = FaultyCalls()
    monkeypatch.setattr(system, "calls", faulty)
    return faulty


# ---- damage ----


def _flipped_payload(path: Path) -> None:
    flip_payload(path, 5)


def _flipped_header(path: Path) -> None:
    flip(path, int(frame_entry(path, 5)["offset"]) + 12)


def _torn(path: Path) -> None:
    cut(path, int(frame_entry(path, 7)["offset"]) + 100)


def _index_cut_off_in_the_middle(path: Path) -> None:
    flip(path, path.stat().st_size - 88 - 10)


def _zeros(path: Path) -> None:
    path.write_bytes(b"\0" * 3000)


def _lying_index(path: Path) -> None:
    """An index that is whole and covers the file, and calls a frame by another number."""
    records = list(raw_records(path.read_bytes()))
    path.unlink()
    writer = RecordWriter(path, is_copy=True)
    for record in records:
        writer.append((record[:64], record[64:], b""))
    writer._index._open[48 * 4 + 8] ^= 1
    writer.seal()


def _payload_that_does_not_decode(path: Path) -> None:
    """Whole and with a right checksum, as bad memory writes it."""
    records = list(raw_records(path.read_bytes()))
    path.unlink()
    writer = RecordWriter(path, is_copy=True)
    for at, record in enumerate(records):
        if at == 6:
            writer.append(pack_record(FRAME, b"no picture", codec=1, width=WIDTH, height=HEIGHT))
        else:
            writer.append((record[:64], record[64:], b""))
    writer.seal()


@pytest.mark.parametrize(
    "damage",
    [
        _flipped_payload,
        _flipped_header,
        _torn,
        _index_cut_off_in_the_middle,
        _zeros,
        _lying_index,
        _payload_that_does_not_decode,
    ],
)
def test_damaged_segment_is_left_alone_and_named_and_the_others_go_on(
    maker: SessionMaker, damage: Callable[[Path], None]
) -> None:
    folder = maker.camera("front", frames=12, per_segment=4, color=False, depth_codec="raw")
    maker.finish()
    damage(folder / "001.nrig")
    before = segments(folder)
    report = recompress(maker.folder)
    assert [left.path for left in report.left_alone] == [folder / "001.nrig"]
    assert "001.nrig" in report.left_alone[0].why
    assert "`nightrig recover`" in report.left_alone[0].why
    after = segments(folder)
    assert after["001.nrig"] == before["001.nrig"]
    assert set(depth_codecs(folder / "000.nrig")) == set(depth_codecs(folder / "002.nrig")) == {LATTICE}
    assert sorted(path.name for path in folder.iterdir()) == ["000.nrig", "001.nrig", "002.nrig"]
    assert report.total().frames == 8
    assert verify(maker.folder).verdict == "damage"


def test_empty_segment_is_nothing_to_speak_of(maker: SessionMaker) -> None:
    folder = maker.camera("front", frames=4, depth_codec="raw")
    (folder / "001.nrig").write_bytes(b"")
    report = recompress(maker.finish())
    assert (report.left_alone, report.total().frames) == ([], 4)


@pytest.mark.parametrize("codec_id", [9, CODEC_JPEG])
def test_frames_of_a_codec_this_version_does_not_know_leave_their_segment_alone(
    maker: SessionMaker, codec_id: int
) -> None:
    folder = maker.camera("front", frames=4, depth_codec="raw")
    maker.finish()
    writer = RecordWriter(folder / "001.nrig")
    writer.stream(0, {"name": "depth", "pixel_format": "z16"})
    for each in (0, codec_id):
        payload = get_codec("raw").encode(depth_picture(1))
        writer.append(pack_record(FRAME, payload, codec=each, width=WIDTH, height=HEIGHT, number=4 + each))
    writer.seal()
    before = (folder / "001.nrig").read_bytes()
    report = recompress(maker.folder)
    assert [left.path for left in report.left_alone] == [folder / "001.nrig"]
    assert f"codec {codec_id}" in report.left_alone[0].why
    assert "recover" not in report.left_alone[0].why
    assert (folder / "001.nrig").read_bytes() == before
    assert report.total().frames == 4


def test_file_of_a_newer_version_is_refused_before_anything_changes(maker: SessionMaker) -> None:
    folder = maker.camera("front", frames=4, depth_codec="raw")
    maker.finish()
    RecordWriter(folder / "001.nrig", info={"version": 99}).seal()
    before = contents(maker.folder)
    with pytest.raises(NotOurFileError, match="update nightrig"):
        recompress(maker.folder)
    assert contents(maker.folder) == before


# ---- a disk that refuses, a machine that errs ----


@pytest.mark.parametrize("at", [0, 3, 11])
def test_disk_that_fills_up_in_the_middle_leaves_the_old_file_and_no_litter(
    maker: SessionMaker, disk: FaultyCalls, at: int
) -> None:
    folder = maker.camera("front", frames=12, per_segment=4, color=False, depth_codec="raw")
    maker.finish()
    before = segments(folder)
    disk.faults["writev"] = fails(errno.ENOSPC, at=at)
    with pytest.raises(DiskFullError, match="cannot write to"):
        recompress(maker.folder)
    disk.faults.clear()
    after = segments(folder)
    assert after.keys() == before.keys()
    done = [name for name in before if before[name] != after[name]]
    assert done == (["000.nrig"] if at == 11 else [])
    assert verify(maker.folder).verdict == "clean"
    assert recompress(maker.folder).total().rewritten == 3 - len(done)
    assert verify(maker.folder).verdict == "clean"


@pytest.mark.parametrize("call", ["fdatasync", "open", "fsync"])
def test_any_other_failure_of_the_disk_leaves_whole_files_too(
    maker: SessionMaker, disk: FaultyCalls, call: str
) -> None:
    folder = maker.camera("front", frames=8, per_segment=4, color=False, depth_codec="raw")
    maker.finish()
    for at in range(12):
        disk.faults[call] = fails(errno.EIO, at=at)
        with contextlib.suppress(StorageError):
            recompress(maker.folder)
        disk.faults.clear()
        assert sorted(path.name for path in folder.iterdir()) == ["000.nrig", "001.nrig"]
        assert verify(maker.folder).verdict == "clean"
    recompress(maker.folder)
    assert set(depth_codecs(folder / "000.nrig") + depth_codecs(folder / "001.nrig")) == {LATTICE}
    assert verify(maker.folder).verdict == "clean"


def test_disk_without_room_for_the_largest_segment_is_refused_before_anything_is_written(
    maker: SessionMaker, disk: FaultyCalls
) -> None:
    maker.camera("front", frames=4, depth_codec="raw")
    maker.finish()
    before = contents(maker.folder)

    class _Disk:
        f_bavail, f_frsize = 64 << 20, 1  # the reserve, and nothing for the segment

    disk.faults["statvfs"] = lambda *_: _Disk
    with pytest.raises(DiskFullError, match="make room first"):
        recompress(maker.folder)
    assert contents(maker.folder) == before


def test_what_does_not_come_back_from_the_disk_never_replaces_anything(
    maker: SessionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = maker.camera("front", frames=6, depth_codec="raw")
    maker.finish()
    before = segments(folder)
    size = 0

    def rot(path: Path) -> None:
        nonlocal size
        size = path.stat().st_size
        flip(path, offset)

    monkeypatch.setattr(durable, "drop_from_memory", rot)
    random = np.random.default_rng(3)
    for share in random.random(25):
        offset = int(share * size)
        with pytest.raises(StorageError, match="does not come back as it was"):
            recompress(maker.folder)
        assert segments(folder) == before
        assert len(list(folder.iterdir())) == 1
        assert verify(maker.folder).verdict == "clean"


def test_codec_that_errs_is_found_out(maker: SessionMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(Lz4PlanesCodec):
        name, id = "wrong", 15

        def encode(self, array: np.ndarray) -> bytes:
            changed = array.copy()
            changed[-1, -1] ^= array[0, 0] == depth_picture(3, seed=1)[0, 0]
            return super().encode(changed)

    monkeypatch.setitem(codec.depth._BY_NAME, "wrong", Wrong)
    monkeypatch.setitem(codec.depth._BY_ID, 15, Wrong)
    folder = maker.camera("front", frames=6, depth_codec="raw")
    before = segments(folder)
    with pytest.raises(StorageError, match="does not come back as it was"):
        recompress(maker.folder, "wrong")
    assert segments(folder) == before


def test_leftovers_of_a_killed_run_are_no_part_of_the_recording_and_go_with_the_next(
    maker: SessionMaker,
) -> None:
    folder = maker.camera("front", frames=6, per_segment=3, depth_codec="raw")
    maker.finish()
    left = session.temporary_segment(folder / "001.nrig", "lattice-lz4")
    left.write_bytes(b"half a segment")
    other = session.temporary_segment(folder / "000.nrig", "max")
    other.write_bytes((folder / "000.nrig").read_bytes())
    strange = folder / ".000.nrig.notes"
    strange.write_bytes(b"somebody else's")
    assert session.list_segments(folder) == [folder / "000.nrig", folder / "001.nrig"]
    assert verify(maker.folder).verdict == "clean"
    recompress(maker.folder)
    assert not left.exists()
    assert not other.exists()
    assert strange.exists()
