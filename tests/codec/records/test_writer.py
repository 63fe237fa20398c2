"""A record file under construction: what is in it is whole at every moment, whatever the disk does."""

from __future__ import annotations

import errno
import json
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from codec.durable import system
from codec.errors import DiskFullError, StorageError
from codec.records import RecordFile, RecordWriter
from codec.records import writer as writer_module
from codec.records.layout import CLOCK, FILE, FRAME, HEADER_BYTES, STREAM
from codec.records.writer import boot_id, clock_number
from scripts.campaigns._faulty_calls import FaultyCalls, fails, writes_at_most
from tests.codec.records.made import COLOR, DEPTH, append_frame, read_frames, write_file


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FaultyCalls:
    faulty = FaultyCalls()
    monkeypatch.setattr(system, "calls", faulty)
    return faulty


def _open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_first_record_says_what_the_file_is_and_ties_the_clocks_together(tmp_path: Path) -> None:
    before_ns = time.monotonic_ns()
    writer = RecordWriter(tmp_path / "a.nrig", info={"camera": "front", "segment": 3})
    writer.close()
    with RecordFile(tmp_path / "a.nrig") as file:
        assert file.entries["kind"].tolist() == [FILE]
        assert file.info["format"] == "nightrig-records"
        assert file.info["version"] == 1
        assert file.info["boot_id"] == boot_id() != ""
        assert (file.info["camera"], file.info["segment"]) == ("front", 3)
        assert abs(file.info["wall_ns"] - time.time_ns()) < 60e9
        assert before_ns <= int(file.entries["monotonic_ns"][0]) <= time.monotonic_ns()


def test_existing_file_is_refused_and_untouched(tmp_path: Path) -> None:
    kept = write_file(tmp_path / "a.nrig")
    before = (tmp_path / "a.nrig").read_bytes()
    with pytest.raises(StorageError, match="exists already"):
        RecordWriter(tmp_path / "a.nrig")
    assert (tmp_path / "a.nrig").read_bytes() == before
    with RecordFile(tmp_path / "a.nrig") as file:
        assert read_frames(file) == kept


def test_file_that_finds_no_room_for_its_first_record_is_not_there(tmp_path: Path, disk: FaultyCalls) -> None:
    before = _open_descriptors()
    disk.faults["writev"] = writes_at_most([20], fails(errno.ENOSPC))
    with pytest.raises(DiskFullError):
        RecordWriter(tmp_path / "a.nrig")
    assert list(tmp_path.iterdir()) == []
    assert _open_descriptors() == before


def test_append_tells_the_bytes_on_disk(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path / "a.nrig")
    for number in range(5):
        before = writer.size
        kept = append_frame(writer, number)
        grown = HEADER_BYTES + len(kept.payload) + len(kept.meta)
        assert writer.size - before == grown
        assert writer.size == (tmp_path / "a.nrig").stat().st_size
    writer.close()


def test_gap_stream_and_clock_records_carry_what_they_were_given(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path / "a.nrig")
    writer.stream(0, DEPTH, epoch=2)
    writer.stream(1, COLOR, epoch=2)
    first = {"reason": "camera", "first": 7, "last": 9, "count": 3, "start_ns": 10, "end_ns": 20}
    unknown = {"reason": "outage", "first": None, "last": None, "count": 90, "start_ns": 30, "end_ns": 40}
    writer.gap(0, {**first, "estimated": False}, epoch=2)
    writer.gap(1, {**unknown, "estimated": True}, epoch=3)
    writer.clock({"written": [1, 2]})
    writer.seal()
    with RecordFile(tmp_path / "a.nrig") as file:
        assert file.stream_records() == [(0, 2, DEPTH), (1, 2, COLOR)]
        assert file.gaps() == [(0, 2, {**first, "estimated": False}), (1, 3, {**unknown, "estimated": True})]
        clock = file.read(int(file.of_kind(CLOCK)[0]))
        assert clock.json()["counters"] == {"written": [1, 2]}
        assert clock.json()["boot_id"] == boot_id()


@pytest.mark.parametrize("frames", [50, 507, 1600])  # 512 records with the others: a block of the index
def test_sealed_file_opens_by_its_index_which_says_what_a_scan_says(tmp_path: Path, frames: int) -> None:
    kept = write_file(tmp_path / "a.nrig", frames=frames)
    with (
        RecordFile(tmp_path / "a.nrig") as indexed,
        RecordFile(tmp_path / "a.nrig", use_index=False) as scanned,
    ):
        assert indexed.sealed
        assert not scanned.sealed
        assert indexed.entries.tobytes() == scanned.entries.tobytes()
        assert read_frames(indexed) == read_frames(scanned) == kept
        assert indexed.damage == scanned.damage == []


def test_long_segment_takes_little_memory_for_its_index(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path / "a.nrig")
    tracemalloc.start()
    try:
        taken = []
        for number in range(12_000):
            append_frame(writer, number, number % 2)
            if number in (1999, 11_999):
                taken.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert taken[1] - taken[0] < 16 * 10_000  # 48 bytes each in the file
    writer.seal()


def test_sealing_and_closing_twice_changes_nothing(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path / "a.nrig")
    append_frame(writer, 0)
    writer.seal()
    before = (tmp_path / "a.nrig").read_bytes()
    writer.seal()
    writer.close()
    writer.seal()
    assert (tmp_path / "a.nrig").read_bytes() == before
    with pytest.raises(StorageError, match="is closed"):
        append_frame(writer, 1)


@pytest.mark.parametrize("at", [0, 1], ids=["index", "end"])
@pytest.mark.parametrize("short", [[], [50]], ids=["at once", "half-way"])
def test_disk_that_fills_while_sealing_costs_only_the_index(
    tmp_path: Path, disk: FaultyCalls, at: int, short: list[int]
) -> None:
    before = _open_descriptors()
    writer = RecordWriter(tmp_path / "a.nrig")
    kept = [append_frame(writer, number) for number in range(10)]
    disk.faults["writev"] = fails(errno.ENOSPC, at=at) if not short else _nth_short(at, short)
    with pytest.raises(DiskFullError):
        writer.seal()
    assert _open_descriptors() == before
    with RecordFile(tmp_path / "a.nrig") as file:
        assert not file.sealed
        assert file.damage == []
        assert read_frames(file) == kept


def _nth_short(at: int, short: list[int]) -> Any:
    failing, count = writes_at_most(short, fails(errno.ENOSPC)), -1

    def fault(real: Any, *args: Any) -> int:
        nonlocal count
        count += 1
        return int(failing(real, *args) if count >= at else real(*args))

    return fault


def test_sync_that_fails_while_sealing_is_told_and_closes_the_file(tmp_path: Path, disk: FaultyCalls) -> None:
    before = _open_descriptors()
    writer = RecordWriter(tmp_path / "a.nrig")
    append_frame(writer, 0)
    disk.faults["fdatasync"] = fails(errno.EIO)
    with pytest.raises(StorageError, match="cannot sync"):
        writer.seal()
    assert _open_descriptors() == before


def test_record_that_the_disk_refused_is_not_in_the_index(tmp_path: Path, disk: FaultyCalls) -> None:
    writer = RecordWriter(tmp_path / "a.nrig")
    kept = [append_frame(writer, number) for number in range(3)]
    disk.faults["writev"] = writes_at_most([70, 5], fails(errno.ENOSPC))
    with pytest.raises(DiskFullError):
        append_frame(writer, 3)
    disk.faults.clear()
    kept += [append_frame(writer, number) for number in range(3, 6)]
    writer.seal()
    with (
        RecordFile(tmp_path / "a.nrig") as indexed,
        RecordFile(tmp_path / "a.nrig", use_index=False) as scanned,
    ):
        assert indexed.sealed
        assert indexed.entries.tobytes() == scanned.entries.tobytes()
        assert read_frames(indexed) == kept


def test_index_that_would_be_too_large_for_a_record_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_RECORD_BYTES", 500)
    kept = write_file(tmp_path / "a.nrig", frames=20)
    with RecordFile(tmp_path / "a.nrig") as file:
        assert not file.sealed
        assert file.damage == []
        assert read_frames(file) == kept


def test_negative_first_number_of_a_gap_does_not_end_the_recording(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path / "a.nrig")
    gap = {"reason": "camera", "first": -3, "last": -1, "count": 3, "start_ns": 1, "end_ns": 2}
    writer.gap(0, gap)
    writer.close()
    with RecordFile(tmp_path / "a.nrig") as file:
        assert [value for _, _, value in file.gaps()] == [gap]


def test_records_can_be_read_while_the_file_is_still_written(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path / "a.nrig")
    kept = []
    for number in range(5):
        kept.append(append_frame(writer, number))
        with RecordFile(tmp_path / "a.nrig") as file:
            assert read_frames(file) == kept
    writer.close()


def test_clock_domains_have_their_numbers_and_unknown_ones_count_as_none() -> None:
    names = ("", "hardware", "system", "global", "monotonic", "media")
    assert [clock_number(name) for name in names] == list(range(6))
    assert clock_number("sundial") == 0


def test_payloads_of_json_records_are_plain_utf8(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path / "a.nrig")
    writer.stream(0, {**DEPTH, "name": "Tiefe größer"})
    writer.close()
    with RecordFile(tmp_path / "a.nrig") as file:
        record = file.read(int(file.of_kind(STREAM)[0]))
        assert json.loads(record.payload.decode())["name"] == "Tiefe größer"
        assert file.frames(0).size == 0
        assert file.of_kind(FRAME).size == 0
