"""A recompression that was interrupted goes on within a segment, and trusts nothing that it finds there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capture import recompression, session
from capture.recompression import Recompression, Step
from capture.verification import verify
from codec import durable
from codec.depth.lattice_lz4 import LatticeLz4Codec
from codec.errors import DiskFullError
from codec.records import RecordFile, RecordWriter
from codec.records.layout import HEADER_BYTES, replace_payload, unpack_header
from tests.capture.make_session import SessionMaker, cut, flip
from tests.capture.recompressed import LATTICE, assert_same_but_for_depth_payloads, depth_codecs, recompress

FRAMES = 40


@pytest.fixture
def maker(tmp_path: Path) -> SessionMaker:
    return SessionMaker(tmp_path / "session")


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every frame that is compressed from here on."""
    calls: list[int] = []
    encode = LatticeLz4Codec.encode

    def counting(codec: LatticeLz4Codec, array: np.ndarray) -> bytes:
        calls.append(1)
        return encode(codec, array)

    monkeypatch.setattr(LatticeLz4Codec, "encode", counting)
    return calls


def interrupt_after(folder: Path, halves: int, codec: str = "lattice-lz4") -> Path:
    """Ctrl-C when so many half frames are done; what stays behind."""
    left = halves

    def progress(step: Step) -> None:
        nonlocal left
        left -= step.halves
        if left <= 0:
            raise KeyboardInterrupt

    with Recompression(folder, codec=codec, jobs=1) as work, pytest.raises(KeyboardInterrupt):
        work.run(progress)
    left_behind = sorted(folder.rglob(".*.recompress"), key=lambda path: path.stat().st_size)
    return left_behind[-1]


def one_segment(maker: SessionMaker) -> Path:
    folder = maker.camera("front", frames=FRAMES, color=False, depth_codec="raw")
    maker.finish()
    return folder / "000.nrig"


def is_done(maker: SessionMaker, segment: Path, before: bytes) -> bool:
    assert assert_same_but_for_depth_payloads(before, segment.read_bytes()) == FRAMES
    assert set(depth_codecs(segment)) == {LATTICE}
    assert verify(maker.folder).verdict == "clean"
    return [path.name for path in segment.parent.iterdir()] == ["000.nrig"]


@pytest.mark.parametrize("halves", [1, 17, FRAMES, FRAMES + 5])
def test_no_frame_is_compressed_twice(maker: SessionMaker, encoded: list[int], halves: int) -> None:
    segment = one_segment(maker)
    before = segment.read_bytes()
    interrupt_after(maker.folder, halves)
    assert segment.read_bytes() == before
    encoded.clear()
    report = recompress(maker.folder)
    assert len(encoded) == max(FRAMES - halves, 0)
    assert (report.total().frames, report.total().kept) == (FRAMES, 0)
    assert is_done(maker, segment, before)


def test_interrupted_again_and_again_it_goes_on_from_the_longest_attempt(
    maker: SessionMaker, encoded: list[int]
) -> None:
    segment = one_segment(maker)
    before = segment.read_bytes()
    longest = interrupt_after(maker.folder, 30)
    encoded.clear()
    assert interrupt_after(maker.folder, 10) == longest  # a second one, before it has caught up
    assert len(list(segment.parent.glob(".*.recompress"))) == 2
    assert encoded == []
    recompress(maker.folder)
    assert len(encoded) == FRAMES - 30
    assert is_done(maker, segment, before)


@pytest.mark.parametrize("share", np.linspace(0.0, 1.0, 9).tolist())
def test_damage_in_what_is_left_costs_work_and_nothing_else(maker: SessionMaker, share: float) -> None:
    segment = one_segment(maker)
    before = segment.read_bytes()
    left = interrupt_after(maker.folder, 20)
    flip(left, int(share * (left.stat().st_size - 1)))
    recompress(maker.folder)
    assert is_done(maker, segment, before)


def test_torn_or_empty_remains_cost_nothing_but_work(maker: SessionMaker, encoded: list[int]) -> None:
    segment = one_segment(maker)
    before = segment.read_bytes()
    left = interrupt_after(maker.folder, 20)
    cut(left, left.stat().st_size - 7)
    encoded.clear()
    assert interrupt_after(maker.folder, 30) != left
    assert len(encoded) in (11, 12, 13, 14)  # the torn one again, and what was under way
    for path in segment.parent.glob(".*.recompress"):
        path.write_bytes(b"")
    recompress(maker.folder)
    assert is_done(maker, segment, before)


def test_records_of_another_segment_are_not_taken_for_this_one(
    maker: SessionMaker, encoded: list[int], tmp_path: Path
) -> None:
    segment = one_segment(maker)
    before = segment.read_bytes()
    left = interrupt_after(maker.folder, 30)
    other = SessionMaker(tmp_path / "other")
    other_folder = other.camera("side", frames=FRAMES, per_segment=FRAMES // 2, depth_codec="raw")
    strange = interrupt_after(other.finish(), FRAMES + 1)
    left.write_bytes(strange.read_bytes())
    encoded.clear()
    recompress(maker.folder)
    assert other_folder.exists()
    assert len(encoded) > 0
    assert is_done(maker, segment, before)


def test_other_pictures_in_the_right_place_are_found_out(maker: SessionMaker, tmp_path: Path) -> None:
    """Whole records with right checksums that say they belong here: only comparing the pictures helps."""
    segment = one_segment(maker)
    before = segment.read_bytes()
    left = interrupt_after(maker.folder, 20)
    _swap_two_payloads(left)
    with pytest.raises(Exception, match="does not come back as it was"):
        recompress(maker.folder)
    assert segment.read_bytes() == before
    assert [path.name for path in segment.parent.iterdir()] == ["000.nrig"]
    recompress(maker.folder)
    assert is_done(maker, segment, before)


def _swap_two_payloads(path: Path) -> None:
    with RecordFile(path) as file:
        records = [file.read_bytes(index) for index in range(len(file))]
        frames = file.frames(0)[3:5].tolist()
    first, second = (records[index] for index in frames)
    headers = [unpack_header(record) for record in (first, second)]
    payloads = [
        record[HEADER_BYTES : HEADER_BYTES + header.payload_length]  # type: ignore[union-attr]
        for record, header in zip((first, second), headers, strict=True)
    ]
    path.unlink()
    writer = RecordWriter(path, is_copy=True)
    for index, record in enumerate(records):
        if index in frames:
            payload = payloads[1 - frames.index(index)]
            writer.append(replace_payload(record, payload, codec=LATTICE))
        else:
            writer.append((record[:HEADER_BYTES], record[HEADER_BYTES:], b""))
    writer.close()


def test_remains_of_another_codec_are_of_no_use(maker: SessionMaker, encoded: list[int]) -> None:
    segment = one_segment(maker)
    before = segment.read_bytes()
    left = interrupt_after(maker.folder, 20, "lz4")
    recompress(maker.folder)
    assert not left.exists()
    assert len(encoded) == FRAMES
    assert is_done(maker, segment, before)


def test_frames_that_stay_as_they_were_are_not_tried_again(
    maker: SessionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = maker.camera("front", frames=FRAMES, color=False, depth_codec="lattice-rans")
    maker.finish()
    interrupt_after(maker.folder, 25)
    tried = []
    encode = LatticeLz4Codec.encode
    monkeypatch.setattr(
        LatticeLz4Codec, "encode", lambda codec, array: tried.append(1) or encode(codec, array)
    )
    report = recompress(maker.folder)
    assert len(tried) == FRAMES - 25
    assert report.total().kept + report.total().frames == FRAMES
    assert report.total().kept > 0
    assert [path.name for path in folder.iterdir()] == ["000.nrig"]


def test_without_room_for_both_the_remains_make_way(
    maker: SessionMaker, monkeypatch: pytest.MonkeyPatch, encoded: list[int]
) -> None:
    segment = one_segment(maker)
    before = segment.read_bytes()
    left = interrupt_after(maker.folder, 20)
    needed, taken = len(before) + recompression.RESERVE_BYTES, left.stat().st_size

    def require_room(folder: Path, wanted_bytes: int) -> None:
        if wanted_bytes > needed - (taken if left.exists() else 0):
            raise DiskFullError("no room")

    monkeypatch.setattr(durable, "require_room", require_room)
    encoded.clear()
    recompress(maker.folder)
    assert len(encoded) == FRAMES
    assert session.list_temporary_segments([segment]) == []
    assert is_done(maker, segment, before)


def test_what_lies_beside_a_segment_that_is_done_already_is_taken_away(maker: SessionMaker) -> None:
    segment = one_segment(maker)
    maker.camera("side", frames=4, color=False, depth_codec="raw")
    left_behind = interrupt_after(maker.folder, FRAMES // 2)
    assert left_behind.parent == segment.parent
    kept = left_behind.read_bytes()
    before = segment.read_bytes()
    recompress(segment)
    # As where a run is killed when the new file has its name and what it went on from is still there.
    left_behind.write_bytes(kept)
    recompress(maker.folder)
    assert is_done(maker, segment, before)
