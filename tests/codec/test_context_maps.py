"""A file brings along the context map its frames name, for programs that have never heard of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codec import DepthReader, DepthWriter
from codec.context_maps import learn_maps
from codec.depth import _context_model, has_map, learn_map, newest_map
from codec.depth._context_model import NEWEST_MAP, ContextMap, context_map
from codec.depth.lattice_rans import LatticeRansCodec
from codec.errors import CodecError, DamagedError
from codec.records import RecordFile, RecordWriter
from codec.records.layout import FRAME, MAP, pack_record

PICTURE = (np.add.outer(np.arange(40), np.arange(60)) // 7 * 11 + 500).astype(np.uint16)


@pytest.fixture(autouse=True)
def nothing_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test learns is forgotten behind it."""
    monkeypatch.setattr(_context_model, "_learnt", {})
    context_map.cache_clear()


def later_map(number: int = 7, weight: int = 3) -> ContextMap:
    """One that this version does not have."""
    content = bytearray(newest_map()[1])
    content[:2] = number.to_bytes(2, "little")
    content[4] += weight
    return ContextMap.from_bytes(bytes(content))


def file_of_a_later_version(path: Path, *, brings: bytes | None) -> Path:
    codec = LatticeRansCodec(trial_map=later_map())
    writer = RecordWriter(path)
    writer.stream(0, {"name": "depth", "pixel_format": "z16"})
    if brings is not None:
        writer.append(pack_record(MAP, brings, number=7, raw_length=len(brings)))
    payload = codec.encode(PICTURE)
    height, width = PICTURE.shape
    writer.append(pack_record(FRAME, payload, codec=codec.id, width=width, height=height))
    writer.seal()
    return path


def test_frames_of_a_later_map_are_read_from_the_file_that_brings_it(tmp_path: Path) -> None:
    path = file_of_a_later_version(tmp_path / "new.nrig", brings=later_map().to_bytes())
    with DepthReader(path) as reader:
        np.testing.assert_array_equal(reader[0].data, PICTURE)


def test_without_it_they_are_said_to_need_it(tmp_path: Path) -> None:
    path = file_of_a_later_version(tmp_path / "new.nrig", brings=None)
    with DepthReader(path) as reader, pytest.raises(DamagedError, match="needs context map 7"):
        _ = reader[0]


@pytest.mark.parametrize("brings", [b"", b"no map", later_map().to_bytes()[:-1]])
def test_what_is_no_map_is_passed_over(tmp_path: Path, brings: bytes) -> None:
    path = file_of_a_later_version(tmp_path / "new.nrig", brings=brings)
    with RecordFile(path) as file:
        learn_maps(file)
    assert not has_map(7)


def test_a_map_of_our_own_number_is_never_replaced() -> None:
    ours = newest_map()[1]
    learn_map(ours)
    with pytest.raises(CodecError, match=f"another context map {NEWEST_MAP}"):
        learn_map(later_map(NEWEST_MAP).to_bytes())
    assert newest_map() == (NEWEST_MAP, ours)


def test_two_later_maps_of_one_number_are_not_mixed_up() -> None:
    learn_map(later_map().to_bytes())
    learn_map(later_map().to_bytes())
    with pytest.raises(CodecError, match="another context map 7"):
        learn_map(later_map(weight=4).to_bytes())


@pytest.mark.parametrize(("codec", "maps"), [("lattice-rans", 1), ("near", 1), ("lattice-lz4", 0)])
def test_the_library_writes_it_where_frames_name_it(tmp_path: Path, codec: str, maps: int) -> None:
    with DepthWriter(tmp_path / "a.nrig", width=60, height=40, depth_scale_m=0.001, codec=codec) as writer:
        writer.append(PICTURE)
    with RecordFile(tmp_path / "a.nrig") as file:
        assert len(file.of_kind(MAP)) == maps
        for index in file.of_kind(MAP):
            record = file.read(int(index))
            assert (record.header.number, record.payload) == newest_map()
