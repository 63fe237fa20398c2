from __future__ import annotations

import lzma
from dataclasses import replace
from typing import Any

import msgpack_numpy
import numpy as np
import pytest

from codec.mesh.bodycompress_format import (
    SECTOR_BYTES,
    SEEK_ENTRIES,
    Header,
    SeekPoint,
    header_slot,
    parse_header,
)
from codec.mesh.msgpack_arrays import ObjectStream
from codec.mesh.stored_streams import stored_xz, stored_zstd
from codec.mesh.vertex_order import vertex_order

BEGUN = Header(length=0, metadata_start=0, data_start=0, data_end=0, closed=False)
FULL = replace(
    BEGUN,
    length=2**40,
    metadata_start=2**20,
    data_start=2**41,
    data_end=2**46,
    closed=True,
    fps=29.97,
    seek=tuple(SeekPoint(n * 30, n << 36) for n in range(SEEK_ENTRIES)),
)
ORDERS: list[Any] = [
    None,
    "auto",
    "smpl",
    "smplx",
    np.arange(7)[::-1],
    np.arange(10475)[::-1],
    np.arange(70000),
]


def content(slot: bytes) -> bytes:
    if slot.startswith(b"\xfd7zXZ"):
        return lzma.decompress(slot)
    zstandard = pytest.importorskip("zstandard")
    return zstandard.ZstdDecompressor().decompress(slot)  # type: ignore[no-any-return]


@pytest.mark.parametrize("compression", ["xz", "zstd"])
@pytest.mark.parametrize("order", ORDERS, ids=lambda value: str(value)[:10])
def test_what_changes_lies_in_the_last_sector_of_whole_sectors(compression: str, order: Any) -> None:
    fixed = {"compression": compression, "order": vertex_order(order), "fps": 29.97}
    places = {"metadata_start": 2**20, "data_start": 2**41}
    begun, full = (header_slot(replace(header, **fixed, **places)) for header in (BEGUN, FULL))
    assert len(begun) == len(full)
    assert len(full) % SECTOR_BYTES == 0
    assert begun[:-SECTOR_BYTES] == full[:-SECTOR_BYTES]
    if isinstance(order, str | None):
        assert len(full) == SECTOR_BYTES


@pytest.mark.parametrize("compression", ["xz", "zstd"])
@pytest.mark.parametrize("order", ORDERS, ids=lambda value: str(value)[:10])
def test_a_header_comes_back_and_the_stock_reader_finds_its_keys(compression: str, order: Any) -> None:
    header = replace(FULL, compression=compression, order=vertex_order(order))
    slot = header_slot(header)
    (value,) = ObjectStream().feed(content(slot))
    back = parse_header(value)
    assert replace(back, order=header.order) == header
    np.testing.assert_array_equal(back.order.header, header.order.header)
    stock = msgpack_numpy.unpackb(content(slot))
    assert stock["length"] == 2**40
    assert stock["compression"] == compression
    assert tuple(stock["__bodycompress_version__"]) == (0, 3, 0)


def test_stored_streams_of_any_length_decompress() -> None:
    for size in (1, 2, 3, 4, 5, 300, 65_535, 65_536, 65_537, 131_072, 200_000):
        data = bytes(n * 7 % 251 for n in range(size))
        assert lzma.decompress(stored_xz(data)) == data
        assert content(stored_zstd(data)) == data


def test_a_seek_table_that_makes_no_sense_is_passed_over() -> None:
    value = {"__bodycompress_version__": [0, 3, 0], "data_start": 1, "seek": b"short", "fps": "fast"}
    header = parse_header(value)
    assert (header.seek, header.fps) == ((), None)
