"""Recovery of single record files: what is whole comes back byte for byte, the rest is accounted for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.errors import NotOurFileError, StorageError
from codec.records import RecordFile, RecordWriter, numbers
from codec.records.layout import FRAME, HEADER_BYTES, pack_record
from codec.records.recovery import DAMAGED, recover_file

FRAMES = 20


def frame(number: int, *, stream: int = 0, epoch: int = 1, size: int = 100) -> tuple[bytes, bytes, bytes]:
    payload = bytes([number % 256]) * size
    return pack_record(
        FRAME,
        payload,
        stream=stream,
        epoch=epoch,
        number=number,
        monotonic_ns=1000 * number,
        raw_length=size,
        meta=b'{"n":%d}' % number,
    )


def write_file(path: Path, *, sealed: bool = True, skip: tuple[int, ...] = ()) -> Path:
    writer = RecordWriter(path, info={"camera": "front"})
    writer.stream(0, {"name": "depth", "pixel_format": "z16"})
    for number in range(FRAMES):
        if number not in skip:
            writer.append(frame(number))
    writer.clock({"written": [FRAMES - len(skip)]})
    if sealed:
        writer.seal()
    writer.close()
    return path


def offsets(path: Path) -> list[int]:
    with RecordFile(path) as file:
        return [int(offset) for offset in file.entries["offset"][file.frames(0)]]


def damage(path: Path, *places: int) -> None:
    data = bytearray(path.read_bytes())
    for place in places:
        data[place] ^= 0xFF
    path.write_bytes(data)


def frame_numbers(path: Path) -> list[int]:
    with RecordFile(path) as file:
        return [file.read(int(i)).header.number for i in file.frames(0)]


def damaged_ranges(path: Path) -> list[tuple[int | None, int | None, int]]:
    with RecordFile(path) as file:
        return [(g["first"], g["last"], g["count"]) for _, _, g in file.gaps() if g["reason"] == DAMAGED]


def test_clean_sealed_file_comes_back_byte_for_byte(tmp_path: Path) -> None:
    source = write_file(tmp_path / "a.nrig")
    report = recover_file(source, tmp_path / "b.nrig")
    assert report.lossless
    assert report.recovered == {"file": 1, "stream": 1, "frame": FRAMES, "clock": 1}
    assert (tmp_path / "b.nrig").read_bytes() == source.read_bytes()


def test_file_that_was_never_closed_loses_nothing_and_gets_its_index(tmp_path: Path) -> None:
    source = write_file(tmp_path / "a.nrig", sealed=False)
    report = recover_file(source, tmp_path / "b.nrig")
    assert report.lossless
    with RecordFile(tmp_path / "b.nrig") as file:
        assert file.sealed
        assert not file.damage
    assert (tmp_path / "b.nrig").read_bytes().startswith(source.read_bytes())


def test_frame_with_a_wrong_checksum_becomes_a_gap(tmp_path: Path) -> None:
    source = write_file(tmp_path / "a.nrig")
    damage(source, offsets(source)[7] + HEADER_BYTES + 3)
    report = recover_file(source, tmp_path / "b.nrig")
    assert report.discarded == {"frame": 1}
    assert frame_numbers(tmp_path / "b.nrig") == [n for n in range(FRAMES) if n != 7]
    assert damaged_ranges(tmp_path / "b.nrig") == [(7, 7, 1)]
    with RecordFile(tmp_path / "b.nrig") as file:
        (gap,) = (gap for _, _, gap in file.gaps())
    assert (gap["start_ns"], gap["end_ns"]) == (6000, 8000)


@pytest.mark.parametrize("sealed", [True, False])
def test_frames_without_readable_headers_become_one_gap(tmp_path: Path, sealed: bool) -> None:
    source = write_file(tmp_path / "a.nrig", sealed=sealed)
    places = offsets(source)
    damage(source, places[4] + 10, places[5] + 10)
    report = recover_file(source, tmp_path / "b.nrig")
    assert not report.lossless
    assert damaged_ranges(tmp_path / "b.nrig") == [(4, 5, 2)]


def test_lost_first_and_last_frames_are_accounted_for_too(tmp_path: Path) -> None:
    source = write_file(tmp_path / "a.nrig")
    places = offsets(source)
    damage(source, places[0] + HEADER_BYTES, places[-1] + HEADER_BYTES)
    recover_file(source, tmp_path / "b.nrig")
    assert damaged_ranges(tmp_path / "b.nrig") == [(0, 0, 1), (FRAMES - 1, FRAMES - 1, 1)]


def test_torn_frame_whose_header_is_whole_is_named_in_a_gap(tmp_path: Path) -> None:
    source = write_file(tmp_path / "a.nrig", sealed=False)
    source.write_bytes(source.read_bytes()[: offsets(source)[-1] + HEADER_BYTES + 5])
    report = recover_file(source, tmp_path / "b.nrig")
    assert report.discarded == {"torn tail": 1}
    assert report.discarded_bytes == HEADER_BYTES + 5
    assert damaged_ranges(tmp_path / "b.nrig") == [(FRAMES - 1, FRAMES - 1, 1)]


def test_frames_known_only_from_the_writers_count_become_an_estimated_gap(tmp_path: Path) -> None:
    source = write_file(tmp_path / "a.nrig", sealed=False)
    places = offsets(source)
    # Nothing is left of the last two frames, but the clock record behind them has counted them.
    damage(source, places[-1] + 10, places[-2] + 10)
    recover_file(source, tmp_path / "b.nrig")
    assert damaged_ranges(tmp_path / "b.nrig") == [(None, None, 2)]


def test_holes_that_gap_records_explain_are_not_accounted_for_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.nrig"
    writer = RecordWriter(path)
    for number in (0, 1, 4, 5):
        writer.append(frame(number))
    gap = {"reason": "camera", "first": 2, "last": 3, "count": 2, "start_ns": 1000, "end_ns": 4000}
    writer.gap(0, gap, epoch=1)
    writer.seal()
    report = recover_file(path, tmp_path / "b.nrig")
    assert report.gaps_added == 0
    assert (tmp_path / "b.nrig").read_bytes() == path.read_bytes()


def test_unreadable_gap_record_leaves_a_hole_that_is_written_down_again(tmp_path: Path) -> None:
    path = tmp_path / "a.nrig"
    writer = RecordWriter(path)
    for number in (0, 3):
        writer.append(frame(number))
    place = writer.size
    writer.gap(
        0, {"reason": "camera", "first": 1, "last": 2, "count": 2, "start_ns": 0, "end_ns": 9}, epoch=1
    )
    writer.seal()
    damage(path, place + HEADER_BYTES + 1)
    report = recover_file(path, tmp_path / "b.nrig")
    assert report.discarded == {"gap": 1}
    assert damaged_ranges(tmp_path / "b.nrig") == [(1, 2, 2)]


def test_damaged_file_record_is_replaced_so_that_the_copy_opens(tmp_path: Path) -> None:
    source = write_file(tmp_path / "a.nrig")
    damage(source, HEADER_BYTES + 2)
    report = recover_file(source, tmp_path / "b.nrig")
    assert report.discarded == {"file": 1}
    with RecordFile(tmp_path / "b.nrig") as file:
        assert file.info["recovered"] is True
        assert len(file.frames(0)) == FRAMES


def test_recovering_a_recovered_file_changes_nothing(tmp_path: Path) -> None:
    source = write_file(tmp_path / "a.nrig")
    places = offsets(source)
    damage(source, places[3] + HEADER_BYTES, places[9] + 5, 2)
    recover_file(source, tmp_path / "b.nrig")
    again = recover_file(tmp_path / "b.nrig", tmp_path / "c.nrig")
    assert again.lossless
    assert (tmp_path / "c.nrig").read_bytes() == (tmp_path / "b.nrig").read_bytes()


def test_source_is_not_touched_and_an_existing_target_refused(tmp_path: Path) -> None:
    source = write_file(tmp_path / "a.nrig")
    before = source.read_bytes()
    (tmp_path / "b.nrig").write_bytes(b"mine")
    with pytest.raises(StorageError, match="never overwritten"):
        recover_file(source, tmp_path / "b.nrig")
    assert source.read_bytes() == before
    assert (tmp_path / "b.nrig").read_bytes() == b"mine"


def test_file_without_any_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nrig").write_bytes(b"something else " * 100)
    with pytest.raises(NotOurFileError):
        recover_file(tmp_path / "a.nrig", tmp_path / "b.nrig")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_is_broken_the_copy_is_clean_and_accounts_for_every_frame(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("broken")
    source = write_file(folder / "a.nrig", sealed=data.draw(st.booleans()))
    content = bytearray(source.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(1, 300))] = data.draw(st.binary(max_size=200))
    source.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    try:
        recover_file(source, folder / "b.nrig")
    except NotOurFileError:
        return
    with RecordFile(folder / "b.nrig", use_index=False) as file, RecordFile(folder / "b.nrig") as indexed:
        assert not file.damage
        assert indexed.sealed
        assert indexed.entries.tobytes() == file.entries.tobytes()
        for i in range(len(file)):
            file.read(i)
    there = frame_numbers(folder / "b.nrig")
    assert there == sorted(set(there))
    for number in there:
        assert number < FRAMES
    covered = [
        (f, last) for f, last, _ in damaged_ranges(folder / "b.nrig") if f is not None and last is not None
    ]
    assert not numbers.within(np.array(there, np.uint64), covered)
    if there:
        left = numbers.subtract(numbers.holes(np.array(there, np.uint64)), covered)
        assert left == []


# ---- the arithmetic ----

RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8)


def members(ranges: list[tuple[int, int]]) -> set[int]:
    return {n for first, last in ranges for n in range(first, last + 1)}


@given(RANGES, RANGES)
def test_subtracting_ranges_is_subtracting_their_numbers(
    ranges: list[tuple[int, int]], taken: list[tuple[int, int]]
) -> None:
    left = numbers.subtract(ranges, taken)
    assert members(left) == members(ranges) - members(taken)
    assert left == numbers.merge(left)
    assert numbers.total(left) == len(members(left))


@given(st.sets(st.integers(0, 80), max_size=40))
def test_holes_and_numbers_make_up_the_whole_range(there: set[int]) -> None:
    ordered = np.array(sorted(there), np.uint64)
    missing = members(numbers.holes(ordered))
    whole = set(range(min(there), max(there) + 1)) if there else set()
    assert missing == whole - there
    assert members(numbers.runs(there)) == there
    assert numbers.within(ordered, [(10, 20), (15, 30)]) == len(there & set(range(10, 31)))
