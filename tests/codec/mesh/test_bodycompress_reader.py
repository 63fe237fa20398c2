from __future__ import annotations

import lzma
import pickle
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moving_bodies import moving_bodies, worst_error_mm

from codec.errors import DamagedError, FormatError, NightrigError, NotOurFileError, StorageError
from codec.mesh import MeshReader, MeshWriter
from codec.mesh.bodycompress_format import SECTOR_BYTES, Header, header_slot
from codec.mesh.bodycompress_frames import decode_frame, encode_frame
from codec.mesh.msgpack_arrays import pack

FRAMES, SEGMENTS = 24, 4


def write(path: Path, vertices: np.ndarray, *, segments: int = SEGMENTS, close: bool = True) -> list[int]:
    """A file of that many segments; returns where each ends. close=False: as a killed writer leaves it."""
    writer = MeshWriter(path, metadata={"who": "tubes"}, segment_s=3600)
    ends = []
    for n, v in enumerate(vertices):
        writer.append(v, number=n)
        if (n + 1) % (len(vertices) // segments) == 0:
            writer.flush()
            ends.append(writer.size_bytes)
    killed = path.read_bytes()
    writer.close()
    if not close:
        path.write_bytes(killed)
    return ends


def read(path: Path) -> tuple[list[dict[str, Any]], MeshReader]:
    with MeshReader(path) as reader:
        frames = list(reader)
        assert len(reader) == len(frames)
    return frames, reader


def assert_none_is_wrong(frames: list[dict[str, Any]], vertices: np.ndarray) -> None:
    numbers = [frame["number"] for frame in frames]
    assert numbers == sorted(set(numbers))
    assert worst_error_mm(frames, vertices[numbers]) <= 0.2501 if frames else True


def test_a_file_can_be_read_again_and_again_and_by_two_at_once(tmp_path: Path) -> None:
    vertices = moving_bodies(FRAMES)
    write(tmp_path / "mesh.xz", vertices)
    with MeshReader(tmp_path / "mesh.xz") as reader:
        assert worst_error_mm(list(reader), vertices) <= 0.2501
        for one, other in zip(reader, reader, strict=True):
            np.testing.assert_array_equal(one["vertices"], other["vertices"])
        assert next(iter(reader))["number"] == 0
        assert (len(reader), reader.complete, reader.closed, reader.note) == (FRAMES, True, True, "")
    with pytest.raises(StorageError, match="cannot read"):
        list(reader)


def test_a_file_cut_anywhere_gives_every_whole_frame_before_the_cut(tmp_path: Path) -> None:
    vertices = moving_bodies(FRAMES)
    path = tmp_path / "mesh.xz"
    ends = write(path, vertices)
    whole = path.read_bytes()
    data_start = len(whole) - (ends[-1] - ends[0])
    for size in [*range(data_start, len(whole), 197), len(whole) - 1]:
        path.write_bytes(whole[:size])
        frames, reader = read(path)
        assert_none_is_wrong(frames, vertices)
        assert len(frames) >= sum(end <= size for end in ends) * FRAMES // SEGMENTS
        assert not reader.complete
        assert "cut off" in reader.note
    assert len(frames) == FRAMES  # only the very last byte of the footer was missing


def test_the_whole_frames_of_a_torn_segment_come_back(tmp_path: Path) -> None:
    vertices = moving_bodies(FRAMES)
    path = tmp_path / "mesh.xz"
    ends = write(path, vertices)
    path.write_bytes(path.read_bytes()[: (ends[2] + ends[3]) // 2])
    frames, _ = read(path)
    assert_none_is_wrong(frames, vertices)
    assert FRAMES * 3 // 4 < len(frames) < FRAMES


@pytest.mark.parametrize("close", [True, False])
def test_a_zero_filled_tail_counts_as_not_written(tmp_path: Path, close: bool) -> None:
    vertices = moving_bodies(FRAMES)
    path = tmp_path / "mesh.xz"
    ends = write(path, vertices, close=close)
    whole = path.read_bytes()
    for zeros_from in (ends[3], ends[3] - 1, ends[2] + 900, ends[2], ends[1] + 50):
        for size in (len(whole), len(whole) + 4096):
            path.write_bytes(whole[:zeros_from].ljust(size, b"\0"))
            if size == zeros_from:
                continue
            frames, reader = read(path)
            assert_none_is_wrong(frames, vertices)
            assert len(frames) >= sum(end <= zeros_from for end in ends) * FRAMES // SEGMENTS
            assert not reader.complete
            assert reader.note


def test_a_broken_segment_costs_only_itself(tmp_path: Path) -> None:
    vertices = moving_bodies(FRAMES)
    path = tmp_path / "mesh.xz"
    ends = write(path, vertices)
    whole = path.read_bytes()
    for place in range(ends[0], ends[1], 97):
        broken = bytearray(whole)
        broken[place] ^= 0x10
        path.write_bytes(broken)
        with MeshReader(path) as reader:
            assert len(reader) == FRAMES  # the header says so
            frames = list(reader)
            assert_none_is_wrong(frames, vertices)
            assert len(frames) == FRAMES * 3 // 4 == len(reader)
            assert not reader.complete
            assert reader.note.startswith(f"at byte {ends[0]}: a broken xz stream")


def test_garbage_behind_the_last_segment_is_noted_and_passed_over(tmp_path: Path) -> None:
    vertices = moving_bodies(FRAMES)
    path = tmp_path / "mesh.xz"
    (*_, end) = write(path, vertices, close=False)
    path.write_bytes(path.read_bytes() + bytes(range(1, 256)) * 9 + b"\xfd7zXZ\0 not one")
    frames, reader = read(path)
    assert len(frames) == FRAMES
    assert reader.note.startswith(f"at byte {end}: a broken xz stream")


def test_segments_behind_the_one_the_header_knows_of_are_counted(tmp_path: Path) -> None:
    vertices = moving_bodies(FRAMES)
    path = tmp_path / "mesh.xz"
    write(path, vertices[:12], segments=2, close=False)
    older_slot = path.read_bytes()[:SECTOR_BYTES]
    path.unlink()
    write(path, vertices, close=False)
    path.write_bytes(older_slot + path.read_bytes()[SECTOR_BYTES:])
    frames, reader = read(path)
    assert (len(frames), reader.complete, reader.closed) == (FRAMES, True, False)


def test_a_header_that_promises_more_is_found_out(tmp_path: Path) -> None:
    vertices = moving_bodies(FRAMES)
    path = tmp_path / "mesh.xz"
    (*_, end) = write(path, vertices)
    whole = path.read_bytes()
    header = lzma.LZMADecompressor().decompress(whole[:SECTOR_BYTES])
    start = msgpack.unpackb(header)["data_start"]
    for length in (FRAMES + 1, 2**60):
        slot = header_slot(Header(length=length, metadata_start=SECTOR_BYTES, data_start=start, data_end=end))
        path.write_bytes(slot + whole[SECTOR_BYTES:])
        frames, reader = read(path)
        assert len(frames) == FRAMES
        assert not reader.complete
        assert f"the header speaks of {length} frames, {FRAMES} are here" in reader.note


def test_broken_metadata_costs_nothing_but_itself_and_that_only_in_an_open_file(tmp_path: Path) -> None:
    path = tmp_path / "mesh.xz"
    for close in (True, False):
        path.unlink(missing_ok=True)
        write(path, moving_bodies(FRAMES), close=close)
        whole = bytearray(path.read_bytes())
        whole[SECTOR_BYTES + 30] ^= 0xFF
        path.write_bytes(whole)
        frames, reader = read(path)
        assert (len(frames), reader.metadata) == (FRAMES, {"who": "tubes"} if close else None)
        assert (reader.complete, reader.lossless) == (False, close)
        assert "the metadata" in reader.note


# What others wrote.


def stock_file(path: Path, header: dict[str, Any], frames: list[bytes], *, gap: int = 128) -> None:
    """Laid out as bodycompress does: one stream of data, offsets filled in where `header` names them."""
    metadata = lzma.compress(pack({"made by": "stock"}, what="metadata"))
    size = len(lzma.compress(pack(header | {"data_start": 10**6}, what="header")))
    start = (size + gap) // 4 * 4
    for key, offset in (("metadata_start", start), ("data_start", start + len(metadata))):
        if header.get(key) == "here":
            header = header | {key: offset}
    slot = lzma.compress(pack(header, what="header")).ljust(start, b"\0")
    path.write_bytes(slot + metadata + lzma.compress(b"".join(frames)))


STOCK_HEADER = {
    "__bodycompress_version__": (0, 3, 0),
    "compression": "xz",
    "length": FRAMES,
    "metadata_start": "here",
    "data_start": "here",
    "vertex_order": None,
}


def packed_frames(vertices: np.ndarray) -> list[bytes]:
    return [
        encode_frame({"vertices": v, "number": n}, quantization_mm=0.5)[0] for n, v in enumerate(vertices)
    ]


@pytest.mark.parametrize(
    "change",
    [{}, {"__bodycompress_version__": (0, 2, 1), "metadata_start": None}],
    ids=["0.3", "0.2 without metadata_start"],
)
def test_files_of_one_long_stream_are_read(tmp_path: Path, change: dict[str, Any]) -> None:
    vertices = moving_bodies(FRAMES)
    path = tmp_path / "mesh.xz"
    stock_file(path, STOCK_HEADER | change, packed_frames(vertices))
    frames, reader = read(path)
    assert worst_error_mm(frames, vertices) <= 0.2501
    assert (reader.metadata, reader.complete, reader.closed) == ({"made by": "stock"}, True, True)
    path.write_bytes(path.read_bytes()[:-3000])
    frames, reader = read(path)
    assert 0 < len(frames) < FRAMES
    assert not reader.complete


def test_a_file_its_writer_never_finished_still_gives_its_frames(tmp_path: Path) -> None:
    vertices = moving_bodies(FRAMES)
    path = tmp_path / "mesh.xz"
    stock_file(
        path,
        STOCK_HEADER | {"metadata_start": None, "data_start": None, "length": 0},
        packed_frames(vertices),
    )
    path.write_bytes(path.read_bytes()[:-3000])
    frames, reader = read(path)
    assert_none_is_wrong(frames, vertices)
    assert len(frames) > FRAMES // 2
    assert (reader.complete, reader.closed) == (False, False)


def test_large_coordinates_come_back_in_float64(tmp_path: Path) -> None:
    path = tmp_path / "mesh.xz"
    vertices = np.full((1, 4, 3), 2.0**25 + 0.5)
    stock_file(
        path, STOCK_HEADER | {"length": 1}, [encode_frame({"vertices": vertices}, quantization_mm=0.5)[0]]
    )
    ((frame,), _) = read(path)
    np.testing.assert_array_equal(frame["vertices"], vertices)


@pytest.mark.parametrize(
    ("change", "error", "complaint"),
    [
        ({"vertex_order": "manx"}, FormatError, "vertex order 'manx' is not known"),
        ({"vertex_order": np.arange(5) * 2}, FormatError, "no permutation of 0..4"),
        ({"vertex_order": np.zeros((2, 2), np.int32)}, FormatError, "whole numbers in a row"),
        ({"vertex_order": [[1], 2]}, FormatError, "the vertex order is no array"),
        ({"compression": "lz4"}, FormatError, "compression 'lz4' is not known"),
        ({"compression": "zstd"}, FormatError, "the header says zstd, but is itself compressed with xz"),
        ({"__bodycompress_version__": (0, 9, 0)}, NotOurFileError, "version .* is not known"),
        ({"__bodycompress_version__": "new"}, NotOurFileError, "no bodycompress header"),
        ({"length": -1}, FormatError, "the header says length -1"),
        ({"data_start": "soon"}, FormatError, "the header says data_start soon"),
        ({"metadata_start": 10**9, "data_start": None}, DamagedError, "the metadata"),
    ],
)
def test_what_is_not_read_is_named_with_the_file(
    tmp_path: Path, change: dict[str, Any], error: type[NightrigError], complaint: str
) -> None:
    path = tmp_path / "mesh.xz"
    stock_file(path, STOCK_HEADER | change, [])
    with pytest.raises(error, match=rf"mesh\.xz: .*{complaint}"):
        MeshReader(path)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", NotOurFileError),
        (b"a text file", NotOurFileError),
        (bytes(5000), NotOurFileError),
        (b"\x28\xb5\x2f\xfd rest", DamagedError),
        (lzma.compress(b"a compressed text file"), NotOurFileError),
        (lzma.compress(pack({"fps": 30}, what="m")), NotOurFileError),
        (lzma.compress(b""), DamagedError),
        (lzma.compress(pack(STOCK_HEADER, what="m"))[:40], DamagedError),
    ],
)
def test_other_files_are_refused_in_one_line(
    tmp_path: Path, content: bytes, error: type[NightrigError]
) -> None:
    path = tmp_path / "mesh.xz"
    path.write_bytes(content)
    with pytest.raises(error, match=r"mesh\.xz: ") as caught:
        MeshReader(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_storage_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "none.xz", tmp_path):
        with pytest.raises(StorageError, match="cannot read"):
            MeshReader(path)


# What somebody wrote to do harm.


def hostile_file(path: Path, data: bytes) -> None:
    stock_file(path, STOCK_HEADER | {"length": 1}, [data])


def test_a_pickle_in_a_frame_or_in_the_metadata_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mesh.xz"
    evil = msgpack.packb({"x": {b"nd": True, b"type": "|O", b"kind": b"O", b"data": pickle.dumps(1)}})
    hostile_file(path, evil)
    with MeshReader(path) as reader, pytest.raises(FormatError, match=r"mesh\.xz: .*could run any code"):
        list(reader)
    path.write_bytes(lzma.compress(evil))
    with pytest.raises(FormatError, match="could run any code"):
        MeshReader(path)


def test_a_frame_beyond_the_limit_is_refused_and_the_limit_can_be_raised(tmp_path: Path) -> None:
    path = tmp_path / "mesh.xz"
    vertices = moving_bodies(1, people=200)
    stock_file(path, STOCK_HEADER | {"length": 1}, packed_frames(vertices))
    with MeshReader(path, max_frame_bytes=100_000) as reader:
        # Less than this and what is read at a time is not told apart.
        assert len(list(reader)) == 1
    hostile_file(path, b"\xc6\x7f\xff\xff\xff" + bytes(8 << 20))
    with (
        MeshReader(path, max_frame_bytes=1 << 20) as reader,
        pytest.raises(FormatError, match="1048576 bytes"),
    ):
        list(reader)
    with MeshReader(path) as reader:
        assert list(reader) == []
        assert "middle of a frame" in reader.note


def test_a_stream_that_wants_gigabytes_to_decompress_counts_as_broken(tmp_path: Path) -> None:
    path = tmp_path / "mesh.xz"
    write(path, moving_bodies(FRAMES))
    stream = bytearray(lzma.compress(bytes(100)))
    # Block header: size, flags, filter LZMA2, one byte of properties: the dictionary size, 40 for 4 GiB.
    assert stream[14:16] == b"\x21\x01"
    stream[16] = 40
    stream[20:24] = zlib.crc32(stream[12:20]).to_bytes(4, "little")
    path.write_bytes(path.read_bytes() + stream)
    frames, reader = read(path)
    assert len(frames) == FRAMES
    assert "memory usage limit" in reader.note


@pytest.mark.parametrize(
    "frame",
    [
        5,
        {"qd_vertices": 1},
        {"qd_vertices": [1, 2.0]},
        {"qd_vertices": [np.zeros((2, 3)), 2.0]},
        {"qd_vertices": [np.zeros(3, np.int32), 2.0]},
        {"qd_vertices": [np.zeros((2, 3), np.int32), 0.0]},
        {"qd_vertices": [np.zeros((2, 3), np.int32), float("nan")]},
        {"qd_joints": [np.zeros((2, 3), np.int32), "2"]},
        {"qd_vertices": [np.zeros((9 << 20, 2), np.int8), 2.0]},
    ],
    ids=lambda frame: str(frame)[:40],
)
def test_a_frame_that_makes_no_sense_is_a_format_error(frame: object) -> None:
    with pytest.raises(FormatError):
        decode_frame(frame)


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("fuzz") / "mesh.xz"
    write(path, moving_bodies(8, points=10), segments=4)
    return path.read_bytes()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_raises_only_our_errors_and_gives_only_true_frames(
    tmp_path: Path, small_file: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(small_file)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(1, len(small_file))) :]
    path = tmp_path / "mesh.xz"
    path.write_bytes(damaged)
    with suppress(NightrigError):
        frames, reader = read(path)
        assert len(frames) == 8 or not reader.complete
        assert_none_is_wrong(frames, moving_bodies(8, points=10))


def test_a_damaged_zstd_file_of_ours_gives_nothing_rather_than_something_wrong(tmp_path: Path) -> None:
    pytest.importorskip("zstandard")
    path = tmp_path / "a.zst"
    with MeshWriter(path, compression="zstd") as writer:
        for number in range(20):
            writer.append(np.full((1, 30, 3), 7.5 * number) + np.arange(30)[:, None], number=number)
            writer.flush()
    whole = path.read_bytes()
    with MeshReader(path) as reader:
        right = [frame["vertices"].tobytes() for frame in reader]
    begin = whole.rindex(b"\x28\xb5\x2f\xfd")
    for at in range(begin + 5, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with MeshReader(path) as reader:
            assert [frame["vertices"].tobytes() for frame in reader] in ([], right[: len(reader)])
