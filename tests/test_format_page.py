"""docs/FORMAT.md is enough for a stranger: a reader written from it alone reads what the service writes."""

from __future__ import annotations

import inspect
import json
import struct
import zlib
from pathlib import Path

import lz4.block
import lz4.frame
import numpy as np
import pytest

from codec import DepthWriter
from codec.records import RecordFile
from tests.capture.rigs import record, small_rig

HEADER = struct.Struct("<I4s4BIIIQdqIIII")


def records(data: bytes):
    """(kind, stream, codec, number, payload) of every good record; steps over damage, stops at the end."""
    at = 0
    while at + 64 <= len(data):
        head = HEADER.unpack_from(data, at)
        length, magic, kind, stream, codec, number, meta_length = *head[:5], head[9], head[12]
        end = at + 4 + length
        good = magic == b"NREC" and zlib.crc32(data[at : at + 60]) == head[15] and end <= len(data)
        if not good:
            found = data.find(b"NREC", at + 5)
            if found < 0:
                return
            at = found - 4
            continue
        if zlib.crc32(data[at + 64 : end]) == head[14]:
            yield kind, stream, codec, number, data[at + 64 : end - meta_length]
        at = end


def image(codec: int, payload: bytes) -> np.ndarray:
    """The pixels of a raw, lz4 or lattice-lz4 payload."""
    mode, size, n, h, w = struct.unpack_from("<BBHII", payload)
    if codec == 0:
        return np.frombuffer(payload, f"<u{size}", offset=12).reshape(h, w)
    if codec == 1 or mode == 0:
        planes = lz4.frame.decompress(payload[12:]) if codec == 1 else None
        if planes is None:
            planes = lz4.block.decompress(payload[12:], uncompressed_size=h * w * size) if h * w else b""
        low_high = np.frombuffer(planes, np.uint8).reshape(size, h, w)
        return low_high[0] if size == 1 else low_high[0] + (low_high[1].astype(np.uint16) << 8)
    e4, e8, e16 = struct.unpack_from("<III", payload, 12)
    body = np.frombuffer(lz4.block.decompress(payload[24:], uncompressed_size=2 * h * w), np.uint8)
    sizes = [(h * w + 3) // 4, (e4 + 1) // 2, e8, e16, e16, n, n]
    codes, nibbles, wide, low, high, pal_low, pal_high = np.split(body, np.cumsum(sizes)[:-1])
    two = (codes[:, None] >> np.array([0, 2, 4, 6], np.uint8) & 3).ravel()[: h * w]
    four = (nibbles[:, None] >> np.array([0, 4], np.uint8) & 15).ravel()[:e4]
    residual8 = wide.astype(np.int64) - 127
    residual8[wide == 255] = low + (high.astype(np.int64) << 8)
    residual4 = four.astype(np.int64) - 7
    residual4[four == 15] = residual8
    residual = two.astype(np.int64) - 1
    residual[two == 3] = residual4
    ranks = np.cumsum(np.cumsum(residual.reshape(h, w), axis=0).ravel()).astype(np.uint16).reshape(h, w)
    palette = np.cumsum(pal_low + (pal_high.astype(np.int64) << 8)).astype(np.uint16)
    return palette[ranks] if mode == 2 else ranks


def test_the_strangers_reader_is_short() -> None:
    assert len((inspect.getsource(records) + inspect.getsource(image)).splitlines()) + 1 <= 60


@pytest.mark.parametrize("codec", ["raw", "lz4", "lattice-lz4"])
def test_a_stranger_reads_depth_bit_for_bit(tmp_path: Path, codec: str) -> None:
    random = np.random.default_rng(3)
    lattice = np.round(600_000 / np.arange(150, 1200)).astype(np.uint16)
    ramp = np.clip(np.arange(99)[:, None] * 5 + random.integers(-9, 9, (99, 101)), 0, 1049)
    frames = [
        np.where(random.random((99, 101)) < 0.1, 0, lattice[ramp]).astype(np.uint16),
        random.integers(0, 65536, (99, 101), dtype=np.uint16),
        (np.arange(99 * 101, dtype=np.uint16).reshape(99, 101) // 3).astype(np.uint16),
        np.zeros((99, 101), np.uint16),
    ]
    path = tmp_path / "depth.nrig"
    with DepthWriter(path, width=101, height=99, depth_scale_m=0.001, codec=codec) as writer:
        for number, frame in enumerate(frames):
            writer.append(frame, number=number)
    found = [
        (number, image(c, payload)) for kind, _, c, number, payload in records(path.read_bytes()) if kind == 3
    ]
    assert [number for number, _ in found] == [0, 1, 2, 3]
    for (_, got), sent in zip(found, frames, strict=True):
        np.testing.assert_array_equal(got, sent)


def test_a_stranger_finds_every_stream_frame_and_gap_of_a_recording(tmp_path: Path) -> None:
    code, account, err = record(small_rig(tmp_path, cameras=1), tmp_path / "out", "--duration", "1")
    assert code == 0, err
    path = Path(account["session"]) / "cam0" / "000.nrig"
    found = list(records(path.read_bytes()))
    assert json.loads(found[0][4])["format"] == "nightrig-records"
    streams = {stream: json.loads(payload)["name"] for kind, stream, _, _, payload in found if kind == 2}
    assert streams == {0: "depth", 1: "color"}
    depth = [image(codec, payload) for kind, stream, codec, _, payload in found if (kind, stream) == (3, 0)]
    assert len(depth) == account["streams"]["cam0/depth"]["written"]
    assert depth[0].shape == (120, 160)
    with RecordFile(path) as file:
        assert len(found) == len(file) + 2  # the index and the end are records, too
    index = found[-2][4]
    offset, number = struct.unpack_from("<QQ", index)
    assert (offset, number) == (0, 0)
    assert len(index) == 48 * (len(found) - 2)


def test_a_stranger_steps_over_damage(tmp_path: Path) -> None:
    path = tmp_path / "depth.nrig"
    with DepthWriter(path, width=32, height=32, depth_scale_m=0.001) as writer:
        for number in range(20):
            writer.append(np.full((32, 32), number, np.uint16), number=number)
    data = bytearray(path.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 40] = bytes(40)
    numbers = [number for kind, _, _, number, _ in records(bytes(data)) if kind == 3]
    assert 18 <= len(numbers) < 20
