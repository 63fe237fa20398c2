"""What a reader gives back from files that are whole, torn, damaged, hostile, old, or not ours at all."""

from __future__ import annotations

import errno
import itertools
import math
import os
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.depth import codec_by_id
from codec.errors import DamagedError, NightrigError, NotOurFileError, StorageError
from codec.records import RecordFile, RecordWriter
from codec.records import reader as reader_module
from codec.records.layout import (
    CLOCK,
    END,
    END_PAYLOAD,
    ENTRY,
    FILE,
    FRAME,
    HEADER_BYTES,
    INDEX,
    pack_json,
    pack_record,
)
from codec.records.reader import Damage
from scripts.campaigns._faulty_calls import FaultyCalls
from tests.codec.records.made import (
    COLOR,
    DEPTH,
    Kept,
    append_frame,
    frozen_clocks,
    read_frames,
    record_ends,
    write_file,
)

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A sealed file of 20 frames."""
    write_file(tmp_path / "whole.nrig")
    return tmp_path / "whole.nrig"


def _open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


# ---- torn files ----


def test_torn_tail_returns_every_whole_record_before_it_at_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.nrig"
    kept = write_file(path, frames=60, payload=b"payload", meta=b"")
    ends = record_ends(path)
    assert sum(kind == FRAME for kind, _ in ends) == 60
    size = path.stat().st_size
    with RecordFile(path) as file:
        all_entries = file.entries.copy()
    for cut in range(size - 1, -1, -1):
        os.truncate(path, cut)
        before = [(kind, end) for kind, end in ends if end <= cut]
        if not before:
            with pytest.raises(NotOurFileError):
                RecordFile(path)
            continue
        boundary = before[-1][1]
        with RecordFile(path) as file:
            assert not file.sealed
            count = sum(kind not in (INDEX, END) for kind, _ in before)
            assert file.entries.tobytes() == all_entries[:count].tobytes()
            torn = [] if cut == boundary else [Damage(boundary, cut - boundary, "torn tail")]
            assert file.damage == torn
            if cut - boundary < 2:  # what the payloads are does not change in between
                assert read_frames(file) == kept[: sum(kind == FRAME for kind, _ in before)]


def test_whole_file_reads_back_complete(whole: Path, tmp_path: Path) -> None:
    kept = write_file(tmp_path / "b.nrig", frames=33, seal=False)
    with RecordFile(tmp_path / "b.nrig") as file:
        assert read_frames(file) == kept
        assert (file.sealed, file.damage) == (False, [])
        assert file.streams() == {0: DEPTH, 1: COLOR}
        assert file.frames(0).size + file.frames(1).size == file.of_kind(FRAME).size == 33
        assert len(file) == file.entries.size


def test_tail_of_zeros_after_a_power_cut_is_damage_and_nothing_else(tmp_path: Path) -> None:
    """File systems may extend a file before its data has reached the disk."""
    path = tmp_path / "a.nrig"
    kept = write_file(path, seal=False)
    size = path.stat().st_size
    with path.open("ab") as raw:
        raw.write(bytes(100_000))
    with RecordFile(path) as file:
        assert read_frames(file) == kept
        assert file.damage == [Damage(size, 100_000, "damaged")]


# ---- damaged files ----


def test_any_flipped_bit_never_changes_a_frame_that_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.nrig"
    kept = write_file(path, frames=5)
    data = bytearray(path.read_bytes())
    known = set(kept)
    with path.open("r+b", buffering=0) as raw:
        for byte, value in enumerate(data):
            for bit in range(8):
                raw.seek(byte)
                raw.write(bytes([value ^ 1 << bit]))
                with RecordFile(path) as file:
                    found = read_frames(file)
                assert known.issuperset(found)
                assert len(found) >= len(kept) - 1
            raw.seek(byte)
            raw.write(bytes([value]))
    assert path.read_bytes() == bytes(data)


def test_one_damaged_record_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.nrig"
    kept = write_file(path, frames=150, seal=False)
    ends = record_ends(path)
    data = path.read_bytes()
    chosen = random.Random(1)
    found_total = expected_total = 0
    for (_, start), (kind, end) in itertools.pairwise(ends):
        spoilt = bytearray(data)
        for place in chosen.choices(range(start, end), k=3):
            spoilt[place] ^= chosen.randrange(1, 256)
        if spoilt == data:
            continue
        path.write_bytes(spoilt)
        with RecordFile(path) as file:
            found = read_frames(file)
        assert set(kept).issuperset(found)
        expected_total += len(kept) - (kind == FRAME)
        found_total += len(found)
    assert found_total >= 0.99 * expected_total


_Spoiler = Callable[[random.Random, bytes], bytes]


def _zero_run(chosen: random.Random, data: bytes) -> bytes:
    at, length = chosen.randrange(len(data)), chosen.randrange(1, 2000)
    return (data[:at] + bytes(length) + data[at + length :])[: len(data)]


def _cut_out(chosen: random.Random, data: bytes) -> bytes:
    at = chosen.randrange(len(data))
    return data[:at] + data[at + chosen.randrange(1, 500) :]


def _put_in(chosen: random.Random, data: bytes) -> bytes:
    at = chosen.randrange(len(data))
    return data[:at] + chosen.randbytes(chosen.randrange(1, 500)) + data[at:]


def _duplicate(chosen: random.Random, data: bytes) -> bytes:
    start, to = chosen.randrange(len(data)), chosen.randrange(len(data))
    return data[:to] + data[start : start + chosen.randrange(1, 3000)] + data[to:]


def _overwrite_with_another_place(chosen: random.Random, data: bytes) -> bytes:
    start, to, length = chosen.randrange(len(data)), chosen.randrange(len(data)), chosen.randrange(1, 1000)
    piece = data[start : start + length]
    return (data[:to] + piece + data[to + len(piece) :])[: len(data)]


def _swap_ends(chosen: random.Random, data: bytes) -> bytes:
    at = chosen.randrange(len(data))
    return data[at:] + data[:at]


_SPOILERS: tuple[_Spoiler, ...] = (
    _zero_run,
    _cut_out,
    _put_in,
    _duplicate,
    _overwrite_with_another_place,
    _swap_ends,
)


@pytest.mark.parametrize("spoil", _SPOILERS)
def test_spoilt_file_gives_only_frames_that_were_recorded(tmp_path: Path, spoil: _Spoiler) -> None:
    path = tmp_path / "a.nrig"
    kept = set(write_file(path, frames=30))
    data = path.read_bytes()
    chosen = random.Random(spoil.__name__)
    for _ in range(250):
        spoilt = data
        for _ in range(chosen.randrange(1, 4)):
            spoilt = spoil(chosen, spoilt)
        path.write_bytes(spoilt)
        _read_everything(path, kept)


def _read_everything(path: Path, kept: set[Kept]) -> None:
    try:
        file = RecordFile(path)
    except NotOurFileError:
        return
    with file:
        assert kept.issuperset(read_frames(file))
        file.streams()
        file.gaps()
        for damage in file.damage:
            assert 0 <= damage.offset < damage.offset + damage.length <= file.size


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_mixture_of_records_and_rubbish_gives_every_record_and_lists_the_rubbish(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "mixture.nrig"
    rubbish = st.binary(min_size=1, max_size=80).filter(lambda piece: b"NREC" not in piece)
    record = st.integers(0, 1000).map(lambda n: b"".join(pack_record(FRAME, b"payload", number=n)))
    pieces = data.draw(st.lists(record | rubbish, max_size=12))
    contents = b"".join([b"".join(pack_json(FILE, {"format": "nightrig-records", "version": 1})), *pieces])
    path.write_bytes(contents)
    whole = [piece for piece in pieces if piece[4:8] == b"NREC"]
    with RecordFile(path) as file:
        found = [file.read(int(i)).header.number for i in file.of_kind(FRAME)]
        assert found == [struct.unpack_from("<Q", piece, 24)[0] for piece in whole]
        listed = sum(damage.length for damage in file.damage)
        assert listed == len(contents) - int(file.entries["length"].sum())


def test_rubbish_before_the_first_record_is_stepped_over(whole: Path) -> None:
    with RecordFile(whole) as file:
        kept = read_frames(file)
    whole.write_bytes(b"\0rubbish" * 1000 + whole.read_bytes())
    with RecordFile(whole) as file:
        assert read_frames(file) == kept
        assert file.damage == [Damage(0, 8000, "damaged")]
        assert file.info["format"] == "nightrig-records"


def test_damage_longer_than_a_search_block_is_stepped_over(tmp_path: Path) -> None:
    path = tmp_path / "a.nrig"
    kept = write_file(path, seal=False)
    half = path.read_bytes()
    path.write_bytes(half + bytes(3 << 20) + half)
    with RecordFile(path) as file:
        assert read_frames(file) == kept + kept
        assert file.damage == [Damage(len(half), 3 << 20, "damaged")]


@pytest.mark.parametrize("shift", range(12))
def test_record_across_the_border_of_two_search_blocks_is_found(tmp_path: Path, shift: int) -> None:
    path = tmp_path / "a.nrig"
    kept = write_file(path, seal=False)
    contents = path.read_bytes()
    path.write_bytes(contents[:1] + bytes((1 << 20) - shift) + contents)
    with RecordFile(path) as file:
        assert read_frames(file) == kept


def test_file_record_that_is_damaged_does_not_cost_the_frames(whole: Path) -> None:
    with RecordFile(whole) as file:
        kept = read_frames(file)
    data = bytearray(whole.read_bytes())
    for place in (2, HEADER_BYTES + 5):  # its header, its payload
        spoilt = bytearray(data)
        spoilt[place] ^= 1
        whole.write_bytes(spoilt)
        for use_index in (True, False):
            with RecordFile(whole, use_index=use_index) as file:
                assert read_frames(file) == kept
                assert file.info == {}


def test_damaged_stream_and_gap_records_are_left_out_of_what_they_say(whole: Path) -> None:
    with RecordFile(whole) as file:
        stream, gap = int(file.of_kind(2)[1]), int(file.of_kind(4)[0])
        places = [int(file.entries["offset"][i]) + HEADER_BYTES for i in (stream, gap)]
    data = bytearray(whole.read_bytes())
    for place in places:
        data[place] ^= 0x40
    whole.write_bytes(data)
    with RecordFile(whole) as file:
        assert file.streams() == {0: DEPTH}
        assert file.gaps() == []


def test_reading_a_damaged_record_names_file_and_place(whole: Path) -> None:
    with RecordFile(whole) as file:
        index = int(file.of_kind(FRAME)[3])
        offset = int(file.entries["offset"][index])
        data = bytearray(whole.read_bytes())
        data[offset + HEADER_BYTES] ^= 1
        whole.write_bytes(data)
        with pytest.raises(DamagedError, match=rf"{whole.name}: the record at byte {offset} is damaged"):
            file.read(index)
        data[offset + 10] ^= 1
        whole.write_bytes(data)
        with pytest.raises(DamagedError, match=f"no whole record at byte {offset}"):
            file.read(index)
        file.read(index + 1)


def test_file_that_shrinks_while_it_is_open_is_damage_and_no_crash(whole: Path) -> None:
    with RecordFile(whole) as file:
        os.truncate(whole, 700)
        read = read_frames(file)
        assert len(read) < 20
        with pytest.raises(DamagedError):
            file.read(len(file) - 1)


# ---- a disk that cannot read any more ----


def _bad_sectors(patch: pytest.MonkeyPatch, first: int, last: int) -> None:
    def fault(real: Any, fd: int, length: int, offset: int) -> bytes:
        if offset <= last and offset + length > first:
            raise OSError(errno.EIO, "Input/output error")
        return bytes(real(fd, length, offset))

    patch.setattr(reader_module, "os", FaultyCalls(os, pread=fault))


def test_unreadable_sector_costs_only_the_records_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.nrig"
    kept = write_file(path, frames=400)
    with RecordFile(path) as file:
        entries = file.entries[file.of_kind(FRAME)].copy()
    first, last = 5 * 4096, 6 * 4096 - 1
    touched = (entries["offset"] <= last) & (entries["offset"] + entries["length"] > first)
    _bad_sectors(monkeypatch, first, last)
    expected = [frame for frame, bad in zip(kept, touched, strict=True) if not bad]
    assert len(expected) < len(kept)
    for use_index in (True, False):
        with RecordFile(path, use_index=use_index) as file:
            assert file.sealed == use_index
            assert read_frames(file) == expected
    assert file.damage


def test_disk_that_is_gone_is_a_storage_error(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> bytes:
        raise OSError(errno.ENODEV, "No such device")

    before = _open_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(reader_module, "os", FaultyCalls(os, pread=gone))
        with pytest.raises(StorageError, match=r"cannot read .*No such device"):
            RecordFile(whole)
    assert _open_descriptors() == before
    file = RecordFile(whole)
    file.close()
    file.close()
    with pytest.raises(StorageError, match="cannot read"):
        file.read(0)


# ---- hostile files ----


def _with_index(
    path: Path, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]], **end: int
) -> None:
    """Seal the records of a file with an index and an end record of our choice, all checksums right."""
    with RecordFile(path) as file:
        entries = change(file.entries.copy())
        size = int(file.entries["offset"][-1]) + int(file.entries["length"][-1])
    payload = entries.tobytes()
    values = {"offset": size, "records": len(entries), "frames": 0, **end}
    tail = b"".join(pack_record(INDEX, payload, raw_length=len(payload)))
    tail += b"".join(pack_record(END, END_PAYLOAD.pack(*values.values())))
    path.write_bytes(path.read_bytes()[:size] + tail)


def _set(field: str, at: int, value: int) -> Callable[[Any], Any]:
    def change(entries: Any) -> Any:
        entries[field][at] = value
        return entries

    return change


_HOSTILE_INDICES = {
    "offset outside": _set("offset", 5, 1 << 40),
    "offset that wraps": _set("offset", 5, 2**64 - 8),
    "last offset that wraps": _set("offset", -1, 2**64 - 1),
    "offset of another record": _set("offset", 5, 0),
    "length 0": _set("length", 5, 0),
    "length of 4 GiB": _set("length", 5, 2**32 - 1),
    "one left out": lambda entries: np.delete(entries, 7),
    "last left out": lambda entries: entries[:-1],
    "one twice": lambda entries: np.insert(entries, 7, entries[7]),
    "reversed": lambda entries: entries[::-1],
    "empty": lambda entries: entries[:0],
}


@pytest.mark.parametrize("name", _HOSTILE_INDICES)
def test_index_that_does_not_account_for_every_byte_is_not_believed(whole: Path, name: str) -> None:
    with RecordFile(whole) as file:
        kept, count = read_frames(file), len(file)
    _with_index(whole, _HOSTILE_INDICES[name])
    with RecordFile(whole) as file:
        assert not file.sealed
        assert len(file) == count
        assert read_frames(file) == kept


@pytest.mark.parametrize(
    "end",
    [
        {"offset": 2**64 - 1},
        {"offset": 2**63},
        {"offset": 1 << 40},
        {"offset": 0},
        {"offset": 1},
        {"records": 0},
        {"records": 2**64 - 1},
        {"records": 1},
    ],
    ids=str,
)
def test_end_record_that_lies_is_not_believed(whole: Path, end: dict[str, int]) -> None:
    with RecordFile(whole) as file:
        kept = read_frames(file)
    _with_index(whole, lambda entries: entries, **end)
    with RecordFile(whole) as file:
        assert not file.sealed
        assert read_frames(file) == kept


def test_honest_index_of_the_same_make_is_believed(whole: Path) -> None:
    _with_index(whole, lambda entries: entries)
    with RecordFile(whole) as file:
        assert file.sealed


def test_entry_that_contradicts_its_record_never_gives_a_wrong_payload(whole: Path) -> None:
    """An index may lie about numbers; what read() returns is what the record itself says."""
    with RecordFile(whole) as file:
        kept = read_frames(file)
    _with_index(whole, _set("number", 10, 999))
    with RecordFile(whole) as file:
        assert read_frames(file) == kept


@pytest.mark.parametrize("length", [1 << 20, 255 << 20, (256 << 20) - 4])
def test_length_that_is_only_claimed_takes_no_memory(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.nrig"
    kept = write_file(path, seal=False)
    head = bytearray(pack_record(FRAME, b"", number=99)[0])
    head[:4] = struct.pack("<I", length)
    head[60:] = struct.pack("<I", zlib.crc32(head[:60]))
    path.write_bytes(path.read_bytes() + bytes(head) + b"not much of a payload")
    tracemalloc.start()
    try:
        with RecordFile(path) as file:
            assert read_frames(file) == kept
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 << 20
    assert [damage.kind for damage in file.damage] == ["torn tail"]


def test_meta_longer_than_its_record_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.nrig"
    kept = write_file(path, seal=False)
    head = bytearray(pack_record(FRAME, b"payload", number=99)[0])
    head[48:52] = struct.pack("<I", 8)
    head[60:] = struct.pack("<I", zlib.crc32(head[:60]))
    path.write_bytes(path.read_bytes() + bytes(head) + b"payload")
    with RecordFile(path) as file:
        assert read_frames(file) == kept
        assert len(file.damage) == 1


def test_file_full_of_false_magics_is_searched_in_linear_time(tmp_path: Path) -> None:
    path = tmp_path / "a.nrig"
    kept = write_file(path, seal=False)
    contents = path.read_bytes()
    path.write_bytes(contents + b"NREC" * 20_000 + contents)
    with RecordFile(path) as file:
        assert read_frames(file) == kept + kept
        assert file.damage == [Damage(len(contents), 80_000, "damaged")]


@pytest.mark.parametrize("seal", [True, False])
def test_recording_inside_a_payload_stays_a_payload(tmp_path: Path, seal: bool) -> None:
    """END and INDEX records within a frame are that frame's bytes, even where they are the file's last."""
    write_file(tmp_path / "inner.nrig", frames=6)
    inner = (tmp_path / "inner.nrig").read_bytes()
    path = tmp_path / "outer.nrig"
    writer = RecordWriter(path)
    kept = [append_frame(writer, number, payload=inner, meta=b"") for number in range(100, 104)]
    if seal:
        writer.seal()
    writer.close()
    assert seal or path.read_bytes().endswith(inner)
    with RecordFile(path) as file:
        assert file.sealed == seal
        assert read_frames(file) == kept
        assert file.damage == []


def test_recordings_joined_end_to_end_give_the_records_of_both(tmp_path: Path) -> None:
    first = write_file(tmp_path / "a.nrig", frames=4)
    second = write_file(tmp_path / "b.nrig", frames=7)
    joined = tmp_path / "joined.nrig"
    joined.write_bytes((tmp_path / "a.nrig").read_bytes() + (tmp_path / "b.nrig").read_bytes())
    with RecordFile(joined) as file:
        assert not file.sealed
        assert read_frames(file) == first + second
        assert file.damage == []


def test_kinds_and_keys_of_later_versions_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.nrig"
    writer = RecordWriter(path)
    writer.append(pack_record(200, b"something new", stream=3))
    writer.stream(0, {**DEPTH, "something_new": [1, 2]})
    kept = append_frame(writer, 0)
    writer.seal()
    for use_index in (True, False):
        with RecordFile(path, use_index=use_index) as file:
            assert read_frames(file) == [kept]
            assert file.damage == []
            assert file.streams()[0]["name"] == "depth"


@pytest.mark.parametrize(
    "payload", [b"[]", b"{", b"\xff", b"[" * 100_000], ids=["list", "torn", "bytes", "deep"]
)
def test_stream_record_that_is_no_json_object_is_passed_over(tmp_path: Path, payload: bytes) -> None:
    path = tmp_path / "a.nrig"
    writer = RecordWriter(path)
    writer.append(pack_record(2, payload, stream=0))
    writer.append(pack_record(4, payload, stream=0))
    writer.stream(1, COLOR)
    writer.seal()
    with RecordFile(path) as file:
        assert file.streams() == {1: COLOR}
        assert file.gaps() == []


# ---- files that are not ours, or not yet ----


def _only(path: Path, info: dict[str, Any]) -> Path:
    path.write_bytes(b"".join(pack_json(FILE, info)))
    return path


@pytest.mark.parametrize("version", [2, 99, "1", None, 1.0])
def test_newer_version_is_refused_and_says_what_to_do(tmp_path: Path, version: object) -> None:
    path = _only(tmp_path / "a.nrig", {"format": "nightrig-records", "version": version})
    with pytest.raises(NotOurFileError, match=rf"format version {version}, .* up to 1: update nightrig"):
        RecordFile(path)


def test_another_format_in_our_framing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotOurFileError, match="is a 'sound' file, not nightrig-records"):
        RecordFile(_only(tmp_path / "a.nrig", {"format": "sound", "version": 1}))


@pytest.mark.parametrize(
    "contents",
    [b"", b"\0", b"NREC", b"hello, world\n" * 100, b"\x89PNG\r\n\x1a\n" + bytes(500), bytes(200_000)],
    ids=["empty", "one byte", "magic", "text", "png", "zeros"],
)
def test_something_else_is_not_our_file(tmp_path: Path, contents: bytes) -> None:
    before = _open_descriptors()
    (tmp_path / "a.nrig").write_bytes(contents)
    with pytest.raises(NotOurFileError, match="is not a nightrig recording"):
        RecordFile(tmp_path / "a.nrig")
    assert _open_descriptors() == before


@given(st.binary(max_size=2000))
@settings(max_examples=200, deadline=None)
def test_arbitrary_bytes_raise_nothing_but_ours(
    tmp_path_factory: pytest.TempPathFactory, contents: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "arbitrary.nrig"
    path.write_bytes(contents)
    with pytest.raises(NightrigError):
        RecordFile(path)


def test_missing_file_folder_and_pipe_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot open .*No such file"):
        RecordFile(tmp_path / "missing.nrig")
    with pytest.raises(StorageError, match="it is not a file"):
        RecordFile(tmp_path)
    os.mkfifo(tmp_path / "pipe.nrig")
    with pytest.raises(StorageError, match="it is not a file"):
        RecordFile(tmp_path / "pipe.nrig")


def test_file_without_permission_is_a_storage_error(whole: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    whole.chmod(0)
    with pytest.raises(StorageError, match="Permission denied"):
        RecordFile(whole)


def test_the_same_bytes_are_written_where_the_clocks_stand_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.nrig", "b.nrig"):
        frozen_clocks(monkeypatch)
        write_file(tmp_path / name)
    assert (tmp_path / "a.nrig").read_bytes() == (tmp_path / "b.nrig").read_bytes()


# ---- files of version 1, written once and read for ever ----


def _golden_depth(number: int) -> np.ndarray[Any, Any]:
    rows, columns = np.mgrid[0:6, 0:8]
    return ((rows * 131 + columns * 17 + number * 29) % 977 * 64 // (1 + rows)).astype(np.uint16)


_GOLDEN_NUMBERS = [(1, 10), (1, 11), (1, 12), (1, 20), (2, 21), (2, 22)]


@pytest.mark.parametrize(("name", "sealed", "sets"), [("version-1", True, 6), ("version-1-torn", False, 5)])
def test_files_of_version_1_open_for_ever(name: str, sealed: bool, sets: int) -> None:
    with RecordFile(GOLDEN / f"{name}.nrig") as file:
        assert file.sealed == sealed
        assert file.info["camera"] == "front"
        assert file.info["boot_id"] == "00000000-0000-4000-8000-000000000000"
        assert file.damage == ([] if sealed else [Damage(3344, 116, "torn tail")])
        streams = file.streams()
        assert [streams[i]["name"] for i in range(3)] == ["depth", "color", "parameters"]
        assert streams[0]["intrinsics"]["coefficients"] == [0.1, -0.2, 0.0, 0.0, 0.05]
        assert streams[0]["camera"]["serial"] == "1"
        assert [(s, e, g["reason"], g["first"], g["count"]) for s, e, g in file.gaps()] == [
            (0, 1, "camera", 13, 7),
            (0, 2, "outage", None, 60),
        ]
        assert len(file.of_kind(CLOCK)) == (2 if sealed else 1)
        assert len(file.of_kind(FRAME)) == 3 * sets
        for at, (epoch, number) in enumerate(_GOLDEN_NUMBERS[:sets]):
            _check_golden_set(file, at, epoch, number)


def _check_golden_set(file: RecordFile, at: int, epoch: int, number: int) -> None:
    depth, color, parameters = (file.read(int(file.frames(stream)[at])) for stream in range(3))
    for record in (depth, color, parameters):
        assert (record.header.epoch, record.header.number) == (epoch, number)
        assert record.header.monotonic_ns == 100 * number
    pixels = codec_by_id(depth.header.codec).decode(depth.payload)
    assert np.array_equal(pixels, _golden_depth(number))
    assert depth.header.device_time_s == number / 30
    assert depth.meta == (b'{"exposure":8500}' if number % 2 else b"")
    assert color.payload == b"\xff\xd8 picture %d \xff\xd9" % number
    assert math.isnan(color.header.device_time_s)
    numbers = np.frombuffer(parameters.payload, "<f4")
    assert numbers.tolist() == [float(number + i) for i in range(6)]


def test_index_of_version_1_is_what_a_scan_finds() -> None:
    path = GOLDEN / "version-1.nrig"
    with RecordFile(path) as indexed, RecordFile(path, use_index=False) as scanned:
        assert indexed.entries.tobytes() == scanned.entries.tobytes()
        assert indexed.entries.dtype == ENTRY
