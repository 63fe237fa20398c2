"""Frames by number and by time."""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moving_bodies import moving_bodies

from codec.errors import FormatError
from codec.mesh import frame_index as frame_index_module
from codec.mesh.bodycompress_format import SEEK_ENTRIES
from codec.mesh.bodycompress_reader import BodycompressReader
from codec.mesh.bodycompress_writer import BodycompressWriter
from codec.mesh.frame_index import stream_starts

SECOND_NS = 1_000_000_000
BEGUN_NS = 77 * SECOND_NS


def write(path: Path, segments: list[int], *, close: bool = True, **settings: Any) -> None:
    """Frames numbered from 0, ten a second, in segments of that many."""
    writer = BodycompressWriter(path, segment_s=3600, **settings)
    number = 0
    for frames in segments:
        for _ in range(frames):
            vertices = moving_bodies(1, people=number % 3, points=20, seed=number)[0]
            writer.append(vertices, number=number, monotonic_ns=BEGUN_NS + number * SECOND_NS // 10)
            number += 1
        writer.flush()
    killed = path.read_bytes()
    writer.close()
    if not close:
        path.write_bytes(killed)


def decompressed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Where streams began that were read for the sake of a frame."""
    places: list[int] = []
    real = BodycompressReader._read_stream

    def spy(reader: BodycompressReader, start: int) -> list[object]:
        places.append(start)
        return real(reader, start)

    monkeypatch.setattr(BodycompressReader, "_read_stream", spy)
    return places


@pytest.mark.parametrize("close", [True, False])
def test_every_number_finds_its_frame_in_any_order(tmp_path: Path, close: bool) -> None:
    path = tmp_path / "mesh.xz"
    sizes = [int(n) for n in np.random.default_rng(0).integers(0, 9, 70)]
    write(path, sizes, close=close)
    with BodycompressReader(path) as reader:
        expected = list(reader)
    total = len(expected)
    for seed in range(3):
        with BodycompressReader(path) as reader:
            for number in np.random.default_rng(seed).permutation(total):
                frame = reader[number]
                assert frame["number"] == number
                np.testing.assert_array_equal(frame["vertices"], expected[number]["vertices"])
                assert reader[int(number) - total]["number"] == number
            assert reader.complete


def test_a_frame_costs_the_stream_it_lies_in_and_few_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mesh.xz"
    write(path, [3] * 200)
    places = decompressed(monkeypatch)
    with BodycompressReader(path) as reader:
        assert reader[-1]["number"] == 599
        assert reader[0]["number"] == 0
        assert len(places) == 2
        assert reader[311]["number"] == 311
        assert len(places) <= 2 + 2 * 200 // (SEEK_ENTRIES // 2)
        places.clear()
        assert [reader[n]["number"] for n in (310, 311, 309)] == [310, 311, 309]
        assert places == []
        assert reader.at(21.04)["number"] == 210
        assert len(places) <= 2 + (200).bit_length()


def test_at_gives_the_nearest_frame_in_time(tmp_path: Path) -> None:
    path = tmp_path / "mesh.xz"
    write(path, [7, 1, 12, 30])
    with BodycompressReader(path) as reader:
        wanted = {-5.0: 0, 0.0: 0, 0.04: 0, 0.06: 1, 0.66: 7, 0.74: 7, 1.94: 19, 1.96: 20, 4.9: 49, 1e30: 49}
        for seconds, number in wanted.items():
            assert reader.at(seconds)["number"] == number
        assert reader.at(float("-inf"))["number"] == 0
        with pytest.raises(ValueError, match="NaN"):
            reader.at(float("nan"))
    with BodycompressReader(path, fps=5) as reader:  # the caller knows better
        assert [reader.at(s)["number"] for s in (0.0, 1.0, 2.09, 99.0)] == [0, 5, 10, 49]


@pytest.mark.parametrize("compression", ["xz", "zstd"])
def test_without_times_the_frame_rate_counts(tmp_path: Path, compression: str) -> None:
    if compression == "zstd":
        pytest.importorskip("zstandard")
    vertices = moving_bodies(1)[0]
    said: dict[str, Any] = {"header": {"fps": 25.0}, "metadata": {"metadata": {"fps": 25}}, "none": {}}
    for name, settings in said.items():
        path = tmp_path / name
        with BodycompressWriter(path, compression=compression, **settings) as writer:
            for number in range(50):
                writer.append(vertices, number=number)
        with BodycompressReader(path) as reader:
            if name == "none":
                with pytest.raises(FormatError, match=r"none: its frames have no monotonic_ns; say fps="):
                    reader.at(1.0)
            else:
                assert (reader.at(1.0)["number"], reader.fps) == (25, 25.0)


def test_a_file_of_one_stream_is_read_on_from_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mesh.zst"
    pytest.importorskip("zstandard")
    write(path, [20, 20, 20], compression="zstd")
    with BodycompressReader(path) as reader:
        for number in (5, 5, 40, 41, 3, -1, 0):
            assert reader[number]["number"] == number % 60
        assert reader.at(3.04)["number"] == 30
        assert reader.at(5.96)["number"] == 59


def test_no_such_frame_is_an_index_error(tmp_path: Path) -> None:
    write(tmp_path / "mesh.xz", [4])
    with BodycompressReader(tmp_path / "mesh.xz") as reader:
        for number in (4, -5, 10**12):
            with pytest.raises(IndexError, match=rf"mesh\.xz has 4 frames, and no frame {number}"):
                reader[number]
        with pytest.raises(TypeError):
            reader[1.0]  # type: ignore[index]
    write(tmp_path / "empty.xz", [])
    with BodycompressReader(tmp_path / "empty.xz") as reader:
        with pytest.raises(IndexError):
            reader[0]
        with pytest.raises(IndexError):
            reader.at(0.0)


@pytest.mark.parametrize("wanted", [25, 49, 0, -1])
def test_once_damage_is_noticed_numbers_are_those_that_iteration_gives(tmp_path: Path, wanted: int) -> None:
    path = tmp_path / "mesh.xz"
    write(path, [10] * 6)
    data = bytearray(path.read_bytes())
    with BodycompressReader(path) as reader, path.open("rb") as file:
        starts = stream_starts(file.fileno(), reader._data_start, len(data))
    assert starts is not None
    for broken in (0, 2, 5):
        damaged = bytearray(data)
        damaged[starts[broken] + 40] ^= 0xFF
        path.write_bytes(damaged)
        left = [n for n in range(60) if n // 10 != broken]
        with BodycompressReader(path) as reader:
            # In the broken stream it is noticed, elsewhere not: then it is the frame of that number.
            noticed = wanted % 60 // 10 == broken
            assert reader[wanted]["number"] == (left[wanted] if noticed else wanted % 60)
            assert [frame["number"] for frame in reader] == left
            assert not reader.complete
            assert reader[wanted]["number"] == left[wanted]
            with pytest.raises(IndexError):
                reader[59]
        with BodycompressReader(path) as reader:
            # Counted from the first frame that is left.
            assert reader.at(2.5)["number"] in ((35,) if broken == 0 else (25, 19, 30))


def test_stream_starts_are_none_where_anything_is_wrong(tmp_path: Path) -> None:
    streams = [lzma.compress(b"x" * n) for n in (0, 5, 100_000)]
    path = tmp_path / "streams"
    path.write_bytes(b"head" + b"".join(streams))
    size = path.stat().st_size
    with path.open("rb") as file:
        places = [4 + len(streams[0]), 4 + len(streams[0]) + len(streams[1])]
        assert stream_starts(file.fileno(), 4, size) == places
        assert stream_starts(file.fileno(), 4, 4) == []
        for start, end in ((0, size), (8, size), (4, size - 1), (4, size - 4)):
            assert stream_starts(file.fileno(), start, end) is None
    whole = path.read_bytes()
    for place in range(len(whole) - 40, len(whole)):
        for flip in (1, 0x80):
            broken = bytearray(whole)
            broken[place] ^= flip
            path.write_bytes(broken)
            with path.open("rb") as file:
                assert stream_starts(file.fileno(), 4, size) in (None, places)


def test_few_streams_are_kept_in_memory(tmp_path: Path) -> None:
    write(tmp_path / "mesh.xz", [2] * 30)
    with BodycompressReader(tmp_path / "mesh.xz") as reader:
        for number in range(60):
            assert reader[number]["number"] == number
        index = reader._access
        assert isinstance(index, frame_index_module.FrameIndex)
        assert len(index._kept) == 2
