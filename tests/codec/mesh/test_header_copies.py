"""Header and metadata stand in our bodycompress files more than once: no single bad place costs a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from codec.errors import NightrigError
from codec.mesh import header_copies
from codec.mesh.bodycompress_opening import read_opening
from codec.mesh.bodycompress_reader import BodycompressReader
from codec.mesh.bodycompress_writer import BodycompressWriter
from codec.mesh.stored_streams import ZSTD_MAGIC

FRAMES = [{"n": n, "text": "x" * 40} for n in range(12)]
UNUSED_BIT = 4 * 8 + 4
METADATA = {"who": "nobody", "n": 99}


@pytest.fixture(params=["xz", "zstd"])
def mesh(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "zstd":
        pytest.importorskip("zstandard")
    return written(tmp_path / "mesh", request.param)


def written(path: Path, compression: str, *, close: bool = True) -> Path:
    writer = BodycompressWriter(path, compression=compression, metadata=METADATA, segment_s=0.1, fps=30.0)
    for frame in FRAMES:
        writer.append(**frame)
    if close:
        writer.close()
    else:
        writer.flush()
    return path


def starts(path: Path) -> tuple[int, int]:
    """Where the metadata and where the data begin."""
    with path.open("rb") as file:
        header = read_opening(file.fileno(), max_object_bytes=1 << 20).header
    assert header.metadata_start is not None
    assert header.data_start is not None
    return header.metadata_start, header.data_start


def spoil(path: Path, *places: int) -> None:
    content = bytearray(path.read_bytes())
    for place in places:
        content[place] ^= 0xFF
    path.write_bytes(content)


def test_every_bit_of_the_header_may_flip(mesh: Path) -> None:
    whole, (metadata_start, _) = mesh.read_bytes(), starts(mesh)
    untold = []
    for bit in range(metadata_start * 8):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        mesh.write_bytes(content)
        with BodycompressReader(mesh) as reader:
            assert list(reader) == FRAMES, bit
            assert reader.metadata == METADATA, bit
            assert reader.lossless, bit
            if reader.complete:
                untold.append(bit)
    # Of a zstd frame's descriptor: a bit that no decompressor looks at.
    assert untold == ([] if whole[:4] != ZSTD_MAGIC else [UNUSED_BIT])


def test_metadata_that_is_damaged_comes_from_the_copy(mesh: Path) -> None:
    metadata_start, _ = starts(mesh)
    spoil(mesh, metadata_start + 20)
    with BodycompressReader(mesh) as reader:
        assert list(reader) == FRAMES
        assert reader.metadata == METADATA
        assert reader.lossless
        assert not reader.complete
        assert "the copy of it at byte" in reader.note


def test_both_headers_before_the_data_may_be_gone(mesh: Path) -> None:
    metadata_start, data_start = starts(mesh)
    spoil(mesh, 60, data_start - metadata_start + 60, data_start - 80)
    with BodycompressReader(mesh) as reader:
        assert list(reader) == FRAMES
        assert reader.metadata == METADATA


def test_a_copy_behind_the_data_that_is_damaged_costs_nothing(mesh: Path) -> None:
    spoil(mesh, mesh.stat().st_size - 40)
    with BodycompressReader(mesh) as reader:
        assert list(reader) == FRAMES
        assert reader.metadata == METADATA
        assert reader.lossless
        assert not reader.complete


def test_with_every_copy_gone_it_is_said_where(mesh: Path) -> None:
    metadata_start, data_start = starts(mesh)
    spoil(mesh, 60, data_start - metadata_start + 60, data_start - 80, mesh.stat().st_size - 40)
    with pytest.raises(NightrigError, match=r"mesh: the header at byte 0 cannot be read"):
        BodycompressReader(mesh)


@pytest.mark.parametrize("compression", ["xz", "zstd"])
def test_a_file_that_was_never_closed_has_the_first_copy(tmp_path: Path, compression: str) -> None:
    if compression == "zstd":
        pytest.importorskip("zstandard")
    path = written(tmp_path / "mesh", compression, close=False)
    spoil(path, 60)
    with BodycompressReader(path) as reader:
        frames = list(reader)
        assert frames == FRAMES
        assert reader.metadata == METADATA
        assert not reader.complete


def test_frames_alone_are_counted_and_sought(mesh: Path) -> None:
    with BodycompressReader(mesh) as reader:
        assert len(reader) == len(FRAMES)
        assert reader.complete
        assert reader[len(FRAMES) - 1] == FRAMES[-1]
        assert reader.note == ""


def test_what_a_search_may_cost_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    path = tmp_path / "mesh.xz"
    path.write_bytes(header_copies.XZ_MAGIC * 5000)
    real = header_copies.open_stream
    monkeypatch.setattr(header_copies, "open_stream", lambda *a, **k: looked.append(a) or real(*a, **k))
    with pytest.raises(NightrigError):
        BodycompressReader(path)
    assert 0 < len(looked) <= 2 * 1024
