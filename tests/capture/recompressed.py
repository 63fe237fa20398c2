"""Recordings before and after they were recompressed, compared without the code that did it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from capture.recompression import Recompression, RecompressionReport
from codec.depth import codec_by_id, get_codec
from codec.records import RecordFile
from codec.records.layout import FRAME, unpack_header

LATTICE = get_codec("lattice-lz4").id


def recompress(path: Path, codec_name: str = "lattice-lz4", *, jobs: int | None = 2) -> RecompressionReport:
    with Recompression(path, codec=codec_name, jobs=jobs) as work:
        return work.run()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in a folder, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def segments(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(folder).items() if name.endswith(".nrig")}


def raw_records(data: bytes, *, until: int = FRAME + 2) -> Iterator[bytes]:
    """The records of a file that stand before its index, by their lengths alone."""
    at = 0
    while at < len(data) and data[at + 8] <= until:
        length = 4 + int.from_bytes(data[at : at + 4], "little")
        yield data[at : at + length]
        at += length


def pixels(record: bytes) -> np.ndarray:
    header = unpack_header(record)
    assert header is not None
    return codec_by_id(header.codec).decode(record[64 : 64 + header.payload_length])


def assert_same_but_for_depth_payloads(before: bytes, after: bytes) -> int:
    """Compare two files record by record, with nothing of the code under test; how many frames changed."""
    changed = 0
    old, new = list(raw_records(before)), list(raw_records(after))
    assert len(old) == len(new)
    for one, other in zip(old, new, strict=True):
        if one == other:
            continue
        changed += 1
        assert (one[8], one[9]) == (FRAME, 0)
        assert one[4:10] == other[4:10]  # magic, kind, stream
        assert one[11:56] == other[11:56]  # all between the codec and the checksums
        first, second = unpack_header(one), unpack_header(other)
        assert first is not None
        assert second is not None
        assert one[64 + first.payload_length :] == other[64 + second.payload_length :]  # meta
        np.testing.assert_array_equal(pixels(one), pixels(other))
    return changed


def depth_codecs(path: Path) -> list[int]:
    with RecordFile(path) as file:
        return file.entries["codec"][file.frames(0)].tolist()


def let_it_age(segment: Path) -> None:
    """As if nothing had been written to it for an hour."""
    an_hour_ago_s = segment.stat().st_mtime - 3600
    os.utime(segment, (an_hour_ago_s, an_hour_ago_s))


def recompress_again_does_nothing(folder: Path, codec_name: str = "lattice-lz4") -> bool:
    before = contents(folder)
    assert recompress(folder, codec_name).total().rewritten == 0
    return contents(folder) == before
