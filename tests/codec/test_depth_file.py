"""Depth files as a library: what anybody gets from `from codec import DepthReader, DepthWriter`."""

from __future__ import annotations

import errno
import random
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import codec
from codec import DepthFrame, DepthGap, DepthReader, DepthWriter
from codec.depth import CODEC_NAMES, NearSettings, get_codec
from codec.durable import system
from codec.errors import (
    CodecError,
    DamagedError,
    DiskFullError,
    FormatError,
    NightrigError,
    NotOurFileError,
    StorageError,
)
from codec.records import RecordFile, RecordWriter
from codec.records.layout import FRAME, GAP, HEADER_BYTES, pack_json, pack_record
from scripts.campaigns._faulty_calls import FaultyCalls, fails
from tests.codec.records.made import COLOR

SHAPE = (12, 16)


def image(number: int, shape: tuple[int, int] = SHAPE) -> npt.NDArray[np.uint16]:
    """Depth that belongs to this number and no other."""
    pixels = np.random.default_rng(number).integers(300, 9000, shape).astype(np.uint16)
    pixels[0, :3] = 0
    return pixels


def depth_writer(path: Path, **changes: Any) -> DepthWriter:
    settings = {"width": SHAPE[1], "height": SHAPE[0], "depth_scale_m": 0.001, **changes}
    return DepthWriter(path, **settings)


def write(path: Path, count: int = 10, **changes: Any) -> None:
    with depth_writer(path, **changes) as writer:
        for number in range(count):
            writer.append(image(number), number=number, device_time_s=number / 30, monotonic_ns=1000 * number)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write(tmp_path / "night.nrig")
    return tmp_path / "night.nrig"


def spoil_frame(path: Path, index: int, *, at: int = HEADER_BYTES + 20) -> None:
    """Flip a bit of the payload (or of another place) of frame `index`."""
    with RecordFile(path) as file:
        offset = int(file.entries["offset"][file.frames(0)[index]])
    data = bytearray(path.read_bytes())
    data[offset + at] ^= 1
    path.write_bytes(data)


def _open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_public_names_of_the_package() -> None:
    assert codec.__all__ == ["DepthFrame", "DepthGap", "DepthReader", "DepthWriter"]


@pytest.mark.parametrize("name", [name for name in CODEC_NAMES if get_codec(name).lossless])
def test_what_was_appended_comes_back_bit_for_bit(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a.nrig", codec=name)
    with DepthReader(tmp_path / "a.nrig") as reader:
        assert len(reader) == 10
        frames = list(reader)
        for number, frame in enumerate(frames):
            assert isinstance(frame, DepthFrame)
            assert (frame.number, frame.device_time_s, frame.monotonic_ns) == (
                number,
                number / 30,
                1000 * number,
            )
            assert frame.data.dtype == np.uint16
            assert np.array_equal(frame.data, image(number))
        assert reader.gaps == []
        assert reader.damage == []
        assert reader.info["depth_scale_m"] == 0.001
        assert (reader.info["width"], reader.info["height"]) == (SHAPE[1], SHAPE[0])
        assert reader.info["pixel_format"] == "z16"


def test_without_number_and_times_numbers_count_on_and_the_time_is_now(tmp_path: Path) -> None:
    before_ns = time.monotonic_ns()
    with depth_writer(tmp_path / "a.nrig") as writer:
        writer.append(image(0))
        writer.append(image(1))
        writer.append(image(2), number=50)
        writer.append(image(3))
    with DepthReader(tmp_path / "a.nrig") as reader:
        assert [frame.number for frame in reader] == [0, 1, 50, 51]
        assert [frame.device_time_s for frame in reader] == [None] * 4
        times = [frame.monotonic_ns for frame in reader]
        assert before_ns <= times[0] <= times[-1] <= time.monotonic_ns()


def test_frames_are_found_from_both_ends_in_any_order(written: Path) -> None:
    with DepthReader(written) as reader:
        assert reader[-1].number == 9
        assert reader[-10].number == 0
        assert reader[np.int64(4)].number == 4  # type: ignore[index]
        order = random.Random(1).sample(range(10), 10)
        assert [reader[index].number for index in order] == order
        for index in (10, -11, 1 << 70):
            with pytest.raises(IndexError, match="of 10"):
                reader[index]


@pytest.mark.parametrize("index", [slice(0, 2), "3", 1.0, None])
def test_what_is_no_index_is_a_type_error(written: Path, index: Any) -> None:
    with DepthReader(written) as reader, pytest.raises(TypeError):
        reader[index]


def test_reading_twice_and_two_readers_at_once_give_the_same(written: Path) -> None:
    with DepthReader(written) as first, DepthReader(written) as second:
        assert [f.number for f in first] == [f.number for f in second] == [f.number for f in first]
        kept = first[3].data
        first[4]
        assert np.array_equal(kept, image(3))
        kept[:] = 0
        assert np.array_equal(first[3].data, image(3))


def test_gaps_stand_in_the_file(tmp_path: Path) -> None:
    known = DepthGap("camera", 3, 7, 5, 100, 200)
    unknown = DepthGap("outage", None, None, 90, 300, 400)
    with depth_writer(tmp_path / "a.nrig") as writer:
        writer.append(image(0), number=2)
        writer.gap(known)
        writer.append(image(1), number=8)
        writer.gap(unknown)
    with DepthReader(tmp_path / "a.nrig") as reader:
        assert reader.gaps == [known, unknown]


@pytest.mark.parametrize(
    "gap",
    [
        {"reason": None, "first": "a", "last": [], "count": "many", "start_ns": 1, "end_ns": {}},
        {"reason": "x", "first": 9, "last": 3, "count": -4, "start_ns": 1},
        {"reason": "x", "first": -1, "last": 2**70, "count": None, "start_ns": 1},
    ],
)
def test_gap_record_of_nonsense_raises_nothing(tmp_path: Path, gap: dict[str, Any]) -> None:
    writer = depth_writer(tmp_path / "a.nrig")
    writer._writer.append(pack_json(GAP, gap))
    writer.close()
    with DepthReader(tmp_path / "a.nrig") as reader:
        (found,) = reader.gaps
        assert isinstance(found.count, int)
        assert found.count >= 0


# ---- writing what cannot be written ----


@pytest.mark.parametrize(
    "depth",
    [
        np.zeros((12, 15), np.uint16),
        np.zeros((16, 12), np.uint16),
        np.zeros((12, 16), np.int16),
        np.zeros((12, 16), np.float32),
        np.zeros((12, 16, 1), np.uint16),
        np.zeros(192, np.uint16),
    ],
    ids=lambda depth: f"{depth.dtype}{depth.shape}",
)
def test_image_of_another_shape_or_type_is_refused_and_the_file_stays_good(
    tmp_path: Path, depth: npt.NDArray[Any]
) -> None:
    with depth_writer(tmp_path / "a.nrig") as writer:
        writer.append(image(0))
        with pytest.raises(CodecError, match=r"takes uint16 images of \(12, 16\)"):
            writer.append(depth)
        writer.append(image(1))
    with DepthReader(tmp_path / "a.nrig") as reader:
        assert [frame.number for frame in reader] == [0, 1]


@pytest.mark.parametrize("number", [-1, 2**64])
def test_number_out_of_range_is_a_value_error_and_the_file_stays_good(tmp_path: Path, number: int) -> None:
    with depth_writer(tmp_path / "a.nrig") as writer:
        writer.append(image(0), number=7)
        with pytest.raises(ValueError, match="does not fit"):
            writer.append(image(1), number=number)
        writer.append(image(1))
    with DepthReader(tmp_path / "a.nrig") as reader:
        assert [frame.number for frame in reader] == [7, 8]
        assert reader.damage == []


def test_largest_number_there_is_comes_back(tmp_path: Path) -> None:
    with depth_writer(tmp_path / "a.nrig") as writer:
        writer.append(image(0), number=2**64 - 1, monotonic_ns=-(2**63))
    with DepthReader(tmp_path / "a.nrig") as reader:
        assert (reader[0].number, reader[0].monotonic_ns) == (2**64 - 1, -(2**63))


def test_strided_images_are_written_as_they_look(tmp_path: Path) -> None:
    large = image(0, (24, 32))
    with depth_writer(tmp_path / "a.nrig") as writer:
        writer.append(large[::2, ::2])
        writer.append(large[11::-1, :16])
    with DepthReader(tmp_path / "a.nrig") as reader:
        assert np.array_equal(reader[0].data, large[::2, ::2])
        assert np.array_equal(reader[1].data, large[11::-1, :16])


def test_unknown_codec_names_the_nearest_and_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="did you mean 'lattice-lz4'"):
        depth_writer(tmp_path / "a.nrig", codec="latice-lz4")
    assert list(tmp_path.iterdir()) == []


def test_existing_file_is_never_overwritten(written: Path) -> None:
    before = written.read_bytes()
    with pytest.raises(StorageError, match="exists already"):
        depth_writer(written)
    assert written.read_bytes() == before


def test_full_disk_keeps_every_frame_before_it_and_takes_the_next_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FaultyCalls()
    monkeypatch.setattr(system, "calls", disk)
    writer = depth_writer(tmp_path / "a.nrig")
    writer.append(image(0))
    disk.faults["writev"] = fails(errno.ENOSPC)
    with pytest.raises(DiskFullError):
        writer.append(image(1))
    writer.append(image(1))
    writer.sync()
    writer.close()
    with DepthReader(tmp_path / "a.nrig") as reader:
        assert [frame.number for frame in reader] == [0, 1]


def test_error_in_the_with_block_leaves_a_finished_file(tmp_path: Path) -> None:
    def program() -> None:
        with depth_writer(tmp_path / "a.nrig") as writer:
            writer.append(image(0))
            raise RuntimeError("the program's own")

    with pytest.raises(RuntimeError):
        program()
    with RecordFile(tmp_path / "a.nrig") as file:
        assert file.sealed
    with DepthReader(tmp_path / "a.nrig") as reader:
        assert len(reader) == 1


def test_closing_twice_is_fine_and_nothing_is_left_open(tmp_path: Path) -> None:
    before = _open_descriptors()
    with depth_writer(tmp_path / "a.nrig") as writer:
        writer.append(image(0))
        writer.close()
        with pytest.raises(StorageError, match="is closed"):
            writer.append(image(1))
    with DepthReader(tmp_path / "a.nrig") as reader:
        reader.close()
        with pytest.raises(StorageError):
            reader[0]
    assert _open_descriptors() == before


# ---- reading what is not whole ----


def test_damaged_frame_is_stepped_over_and_listed_and_its_index_raises(written: Path) -> None:
    spoil_frame(written, 4)
    with DepthReader(written) as reader:
        assert len(reader) == 10
        with pytest.raises(DamagedError, match="damaged"):
            reader[4]
        assert reader[5].number == 5
        for _ in range(2):
            assert [frame.number for frame in reader] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
            assert len(reader.damage) == 1
            assert reader.damage[0].kind == "damaged"


def test_damaged_header_costs_one_frame_with_and_without_index(written: Path) -> None:
    spoil_frame(written, 4, at=30)
    with DepthReader(written) as reader:  # by the index: the frame is known, and known to be damaged
        assert len(reader) == 10
        assert [frame.number for frame in reader] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    written.write_bytes(written.read_bytes()[:-1])
    with DepthReader(written) as reader:  # by a scan: it is not there
        assert [frame.number for frame in reader] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
        assert [damage.kind for damage in reader.damage] == ["damaged", "torn tail"]


def test_frame_whose_payload_is_no_image_is_damaged(tmp_path: Path) -> None:
    writer = depth_writer(tmp_path / "a.nrig")
    raw = get_codec("raw")
    for payload in (b"rubbish", raw.encode(image(0, (3, 4))), raw.encode(np.zeros(SHAPE, np.uint8)), b""):
        writer._writer.append(pack_record(FRAME, payload, codec=0, width=SHAPE[1], height=SHAPE[0]))
    writer.append(image(4), number=4)
    writer.close()
    with DepthReader(tmp_path / "a.nrig") as reader:
        for index in range(4):
            with pytest.raises(DamagedError, match="the frame at byte"):
                reader[index]
        assert [frame.number for frame in reader] == [4]
        assert len(reader.damage) == 4


def test_lossy_file_is_as_far_off_as_it_says(tmp_path: Path) -> None:
    near = NearSettings(bound_subpixels=4, disparity_constant=600_000)
    depth = np.linspace(400, 6000, SHAPE[0] * SHAPE[1]).reshape(SHAPE).astype(np.uint16)
    with DepthWriter(
        tmp_path / "a.nrig", width=SHAPE[1], height=SHAPE[0], depth_scale_m=0.001, codec="near", near=near
    ) as writer:
        writer.append(depth)
    with DepthReader(tmp_path / "a.nrig") as reader:
        off = 600_000 / depth.astype(float) - 600_000 / reader[0].data.astype(float)
    assert 3 < np.abs(off).max() <= 4


def test_codec_of_a_later_version_says_so_and_is_not_called_damage(tmp_path: Path) -> None:
    writer = depth_writer(tmp_path / "a.nrig")
    writer._writer.append(pack_record(FRAME, b"something", codec=6, width=SHAPE[1], height=SHAPE[0]))
    writer.close()
    with DepthReader(tmp_path / "a.nrig") as reader:
        with pytest.raises(CodecError, match="a newer nightrig reads it"):
            reader[0]
        with pytest.raises(CodecError, match="a newer nightrig reads it"):
            list(reader)
        assert reader.damage == []


def test_file_of_a_killed_program_reads_up_to_its_last_whole_frame(written: Path) -> None:
    with RecordFile(written) as file:
        last = file.entries[file.frames(0)[-1]]
    written.write_bytes(written.read_bytes()[: int(last["offset"]) + 70])
    with DepthReader(written) as reader:
        assert [frame.number for frame in reader] == list(range(9))
        assert [damage.kind for damage in reader.damage] == ["torn tail"]


def test_empty_recording_has_no_frames(tmp_path: Path) -> None:
    write(tmp_path / "a.nrig", 0)
    with DepthReader(tmp_path / "a.nrig") as reader:
        assert len(reader) == 0
        assert list(reader) == []
        with pytest.raises(IndexError):
            reader[0]


@pytest.mark.parametrize("contents", [b"", b"not ours at all" * 20])
def test_other_files_are_refused_and_nothing_stays_open(tmp_path: Path, contents: bytes) -> None:
    before = _open_descriptors()
    (tmp_path / "a.nrig").write_bytes(contents)
    with pytest.raises(NotOurFileError):
        DepthReader(tmp_path / "a.nrig")
    with pytest.raises(NightrigError):
        DepthReader(tmp_path / "missing.nrig")
    assert _open_descriptors() == before


# ---- files of the service ----


def _service_file(path: Path, *, seal: bool = True) -> None:
    """Two depth streams and colour in turn, as a camera's file has them."""
    writer = RecordWriter(path, info={"camera": "front"})
    depth = {"pixel_format": "z16", "width": 16, "height": 12, "fps": 30.0, "depth_scale_m": 0.0005}
    writer.stream(0, COLOR, epoch=1)
    writer.stream(1, {**depth, "name": "depth"}, epoch=1)
    writer.stream(2, {**depth, "name": "far"}, epoch=1)
    lattice = get_codec("lattice-lz4")
    for number in range(6):
        fields = {"epoch": 1 + number // 3, "number": number, "monotonic_ns": number}
        writer.append(pack_record(FRAME, b"\xff\xd8jpeg\xff\xd9", stream=0, codec=16, **fields))
        for stream in (1, 2):
            payload = lattice.encode(image(10 * stream + number))
            writer.append(
                pack_record(FRAME, payload, stream=stream, codec=lattice.id, width=16, height=12, **fields)
            )
    gap = {"reason": "ring-full", "first": 6, "last": 6, "count": 1, "start_ns": 1, "end_ns": 2}
    writer.gap(2, gap, epoch=1)
    if seal:
        writer.seal()
    writer.close()


@pytest.mark.parametrize("seal", [True, False])
def test_depth_stream_among_others_is_found(tmp_path: Path, seal: bool) -> None:
    _service_file(tmp_path / "000.nrig", seal=seal)
    with DepthReader(tmp_path / "000.nrig") as reader:
        assert reader.info["name"] == "depth"
        assert [(f.epoch, f.number) for f in reader] == [(1, 0), (1, 1), (1, 2), (2, 3), (2, 4), (2, 5)]
        assert all(np.array_equal(f.data, image(10 + f.number)) for f in reader)
        assert reader.gaps == []
    with DepthReader(tmp_path / "000.nrig", stream="far") as reader:
        assert all(np.array_equal(f.data, image(20 + f.number)) for f in reader)
        assert [gap.reason for gap in reader.gaps] == ["ring-full"]


def test_missing_stream_is_refused_and_names_those_there_are(tmp_path: Path) -> None:
    before = _open_descriptors()
    _service_file(tmp_path / "000.nrig")
    with pytest.raises(FormatError, match="no depth stream 'near'; it holds color, depth, far"):
        DepthReader(tmp_path / "000.nrig", stream="near")
    with pytest.raises(FormatError, match="no depth stream 'color'"):
        DepthReader(tmp_path / "000.nrig", stream="color")
    assert _open_descriptors() == before


def test_file_without_stream_records_has_no_depth(tmp_path: Path) -> None:
    RecordWriter(tmp_path / "bare.nrig").close()
    with pytest.raises(FormatError, match="no depth stream; it holds nothing readable"):
        DepthReader(tmp_path / "bare.nrig")


def test_one_hour_at_thirty_frames_a_second_opens_and_seeks_by_its_index(tmp_path: Path) -> None:
    count = 108_000
    payload = get_codec("raw").encode(np.full((1, 2), 700, np.uint16))
    writer = DepthWriter(tmp_path / "hour.nrig", width=2, height=1, depth_scale_m=0.001)
    for number in range(count):
        writer._writer.append(pack_record(FRAME, payload, width=2, height=1, number=number))
    writer.close()
    tracemalloc.start()
    try:
        with DepthReader(tmp_path / "hour.nrig") as reader:
            assert len(reader) == count
            assert reader._file.sealed
            for index in random.Random(1).sample(range(count), 200):
                assert reader[index].number == index
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 150 * count  # the index and what is derived from it, no frame
