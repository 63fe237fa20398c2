"""What somebody wrote to do harm, or what a disk made of it: our errors, in time, in bounds."""

from __future__ import annotations

import importlib.util
import lzma
import pickle
import re
import resource
import time
from pathlib import Path
from typing import Any

import msgpack
import pytest
from mutations import Mutator, exercise

from codec.errors import DamagedError, FormatError, NotOurFileError
from codec.mesh import BodyDecompressor
from codec.mesh.bodycompress_reader import BodycompressReader
from codec.mesh.stored_streams import stored_xz, stored_zstd

HAS_ZSTD = importlib.util.find_spec("zstandard") is not None
both = pytest.mark.parametrize(
    "compression",
    ["xz", pytest.param("zstd", marks=pytest.mark.skipif(not HAS_ZSTD, reason="the extra zstd is missing"))],
)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files_raise_nothing_but_our_errors(tmp_path: Path, seed: int) -> None:
    mutator = Mutator(seed, with_zstd=HAS_ZSTD)
    path = tmp_path / "mesh"
    said = set()
    for _ in range(150):
        path.write_bytes(mutator.next())
        begun_s = time.monotonic()
        said.add(exercise(path))
        assert time.monotonic() - begun_s < 20.0
    assert {"read", "FormatError"} <= said


def whole_file(path: Path, compression: str, data: bytes, **header: Any) -> None:
    """A file of bodycompress 0.3 around packed frames that may be anything."""
    stored = stored_xz if compression == "xz" else stored_zstd
    metadata = stored(b"\xc0")
    fields = {
        "__bodycompress_version__": [0, 3, 0],
        "compression": compression,
        "length": 1,
        "metadata_start": 4096,
        "data_start": 4096 + len(metadata),
        "vertex_order": None,
    }
    slot = stored(msgpack.packb(fields | header))
    path.write_bytes(slot.ljust(4096, b"\0") + metadata + data)


def compressed(data: bytes, compression: str) -> bytes:
    if compression == "xz":
        return lzma.compress(data, preset=0)
    import zstandard

    return zstandard.ZstdCompressor().compress(data)


class Harmless:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.path,))


@both
def test_a_pickle_anywhere_is_refused_before_it_runs(tmp_path: Path, compression: str) -> None:
    canary = tmp_path / "ran"
    pickled = pickle.dumps(Harmless(canary))
    assert pickle.loads(pickled) is None
    canary.unlink()
    array = {b"nd": True, b"type": "|O", b"kind": b"O", b"shape": [1], b"data": pickled}
    path = tmp_path / "mesh"
    evil = msgpack.packb({"qd_vertices": [array, 2.0]})
    whole_file(path, compression, compressed(evil, compression))
    with BodycompressReader(path) as reader:
        for ask in (lambda: list(reader), lambda: reader[0], lambda: reader.at(0.0), reader._count):
            with pytest.raises(FormatError, match=r"mesh: .*could run any code"):
                ask()
    with pytest.raises(FormatError, match="could run any code"):
        list(BodyDecompressor(path))
    whole_file(path, compression, b"", vertex_order=array)
    with pytest.raises(FormatError, match="could run any code"):
        BodycompressReader(path)
    path.write_bytes(lzma.compress(msgpack.packb({"metadata": array}) + msgpack.packb({"qd_joints": 1})))
    with pytest.raises(FormatError, match="could run any code"):
        BodycompressReader(path)
    assert not canary.exists()


@both
def test_a_bomb_stays_within_memory(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "mesh"
    zeros = bytes(100 << 20)
    for frame in (b"\xc6\xff\xff\xff\xff" + zeros, b"\xdd\xff\xff\xff\xff" + zeros):
        whole_file(path, compression, compressed(frame, compression))
        assert path.stat().st_size < 50_000
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with BodycompressReader(path, max_frame_bytes=8 << 20) as reader, pytest.raises(FormatError):
            list(reader)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 100_000
    whole_file(path, compression, compressed(zeros, compression))
    with BodycompressReader(path) as reader, pytest.raises(FormatError, match="not a map"):
        list(reader)


@pytest.mark.parametrize("window_log", [28, 31])
def test_a_zstd_frame_that_wants_gigabytes_counts_as_broken(tmp_path: Path, window_log: int) -> None:
    pytest.importorskip("zstandard")
    path = tmp_path / "mesh"
    # Magic, no flags, the window's exponent, one raw block of nothing.
    whole_file(path, "zstd", b"\x28\xb5\x2f\xfd\x00" + bytes([(window_log - 10) << 3]) + b"\x01\x00\x00")
    with BodycompressReader(path) as reader:
        assert list(reader) == []
        assert "broken zstd frame" in reader.note


def test_frames_without_end_are_not_counted_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codec.mesh.bodycompress_reader._FRAMES_MAX", 10_000)
    path = tmp_path / "mesh.xz"
    whole_file(path, "xz", lzma.compress(b"\x80" * 20_000), length=None)
    with BodycompressReader(path) as reader, pytest.raises(FormatError, match="more than 10000 frames"):
        len(reader)


@pytest.mark.parametrize(
    ("header", "error", "complaint"),
    [
        ({"data_end": 2**61}, None, "cut off"),
        ({"data_start": 2**61}, None, "cut off|frames"),
        ({"metadata_start": 2**61}, None, "the metadata at byte"),
        ({"length": 2**61}, None, "the header speaks of"),
        ({"vertex_order": [3, 1]}, FormatError, r"no permutation of 0\.\.1"),
        ({"__bodycompress_version__": [1, 0, 0]}, NotOurFileError, r"version \[1, 0, 0\] is not known"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_header_that_lies_is_found_out(
    tmp_path: Path, header: dict[str, Any], error: type[Exception] | None, complaint: str
) -> None:
    path = tmp_path / "mesh.xz"
    whole_file(path, "xz", lzma.compress(msgpack.packb({"n": 1})), **header)
    if error is not None:
        with pytest.raises(error, match=rf"mesh\.xz: .*({complaint})"):
            BodycompressReader(path)
        return
    with BodycompressReader(path) as reader:
        list(reader)
        assert len(reader) <= 1
        assert not reader.complete
        assert re.search(complaint, reader.note)


def numbers_in(path: Path) -> list[int] | None:
    """None where even the header is missing."""
    try:
        with BodycompressReader(path) as reader:
            numbers = [frame["n"] for frame in reader]
            assert not reader.complete
            return numbers
    except (DamagedError, NotOurFileError):
        return None


@both
def test_a_file_cut_anywhere_gives_whole_frames_or_says_why_not(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "mesh"
    frames = [msgpack.packb({"n": n, "text": "x" * 50}) for n in range(20)]
    whole_file(path, compression, compressed(b"".join(frames), compression), length=20)
    whole = path.read_bytes()
    header_bytes = len(whole[:4096].rstrip(b"\0"))
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        numbers = numbers_in(path)
        assert numbers is not None or size < header_bytes
        assert numbers is None or numbers == list(range(len(numbers)))
