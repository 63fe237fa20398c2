"""The default codec: a stranger can read it, each kind of image takes its mode, and it earns its keep."""

from __future__ import annotations

import struct
from typing import Any

import lz4.block
import lz4.frame
import numpy as np
import numpy.typing as npt
import pytest

from codec.depth import get_codec
from codec.depth._lattice import MAX_RANKS
from codec.errors import CodecError

Image = npt.NDArray[Any]
PLANES, VALUES, RANKS = 0, 1, 2


def stranger_reads(payload: bytes) -> Image:
    """The docstring of lattice_lz4, turned into code by somebody who has only struct, lz4 and NumPy."""
    mode, itemsize, n, h, w = struct.unpack_from("<BBHII", payload)
    if mode == PLANES:
        body = lz4.block.decompress(payload[12:], uncompressed_size=h * w * itemsize) if h * w else b""
        planes = np.frombuffer(body, np.uint8).reshape(itemsize, h, w)
        return planes[0] if itemsize == 1 else planes[0] + planes[1].astype(np.uint16) * np.uint16(256)
    e4, e8, e16 = struct.unpack_from("<III", payload, 12)
    sizes = [-(-h * w // 4), -(-e4 // 2), e8, e16, e16, n, n]
    body = lz4.block.decompress(payload[24:], uncompressed_size=sum(sizes))
    parts = np.split(np.frombuffer(body, np.uint8).astype(int), np.cumsum(sizes))
    codes = np.stack([parts[0] >> shift & 3 for shift in (0, 2, 4, 6)], 1).ravel()[: h * w]
    nibbles = np.stack([parts[1] & 15, parts[1] >> 4], 1).ravel()[:e4]
    eight = parts[2] - 127
    eight[parts[2] == 255] = parts[3] + 256 * parts[4]
    four = nibbles - 7
    four[nibbles == 15] = eight
    residuals = codes - 1
    residuals[codes == 3] = four
    ranks = residuals.reshape(h, w).cumsum(0).ravel().cumsum() % 65536
    palette = (parts[5] + 256 * parts[6]).cumsum() % 65536
    pixels = palette[ranks] if mode == RANKS else ranks
    return pixels.astype(np.uint16).reshape(h, w)


def disparity_image(height: int, width: int, *, seed: int = 0) -> Image:
    """z = C/k for smooth k with the noise of a sensor, and a slab in front that throws a shadow."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    k = 250 + y * 0.35 + 40 * np.sin(x / 90)
    k[height // 3 : height // 2, width // 4 : width // 2] += 330
    field = (
        rng.standard_normal((height // 8 + 2, width // 16 + 2)).repeat(8, 0).repeat(16, 1)[:height, :width]
    )
    z = np.rint(606_000 / np.rint(k + 0.8 * field + 0.3 * rng.standard_normal(k.shape)))
    z[height // 3 : height // 2, width // 4 - 9 : width // 4] = 0
    z[:, : width // 24] = 0
    return z.astype(np.uint16)


def rare_values_between_sampled_rows(height: int, width: int) -> Image:
    """Every third row of 240 x 424 pixels is sampled, from the second on."""
    image = disparity_image(height, width)
    image[0, 5:9] = (60001, 60003, 60001, 60002)
    image[height - 1, 3] = 59999
    return image


def time_of_flight(height: int, width: int) -> Image:
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0:height, 0:width]
    return (900 + 11 * y + 7 * x + 2 * rng.standard_normal((height, width))).astype(np.uint16)


def overflowing_palette() -> Image:
    """Sampled rows show one value, those between them more than the format has ranks for."""
    image = np.full((400, 1000), 700, np.uint16)
    image[1::8] = np.arange(50 * 1000).reshape(50, 1000)
    return image


@pytest.mark.parametrize(
    ("image", "mode"),
    [
        (disparity_image(240, 424), RANKS),
        (rare_values_between_sampled_rows(240, 424), RANKS),
        (np.full((48, 64), 1234, np.uint16), RANKS),
        (time_of_flight(96, 98), VALUES),
        (overflowing_palette(), VALUES),
        (np.arange(60, dtype=np.uint16).reshape(6, 10), VALUES),
        (np.random.default_rng(1).integers(0, 65536, (96, 98)).astype(np.uint16), PLANES),
        (np.random.default_rng(1).integers(0, 256, (96, 98)).astype(np.uint16), PLANES),
        (np.random.default_rng(1).integers(0, 256, (96, 98)).astype(np.uint8), PLANES),
        (np.zeros((4, 70000), np.uint16), PLANES),
        (np.zeros((0, 3), np.uint16), PLANES),
    ],
    ids=[
        "depth", "late values", "one value", "time of flight", "palette overflows", "ramp",
        "noise", "8-bit noise", "uint8", "wide", "empty",
    ],
)  # fmt: skip
def test_each_kind_of_image_takes_its_mode_and_a_stranger_reads_it(image: Image, mode: int) -> None:
    payload = get_codec("lattice-lz4").encode(image)
    assert payload[0] == mode
    np.testing.assert_array_equal(stranger_reads(payload), image)
    np.testing.assert_array_equal(get_codec("lattice-lz4").decode(payload), image)


def test_values_that_the_sample_missed_stand_behind_the_others() -> None:
    payload = get_codec("lattice-lz4").encode(rare_values_between_sampled_rows(240, 424))
    n = struct.unpack_from("<H", payload, 2)[0]
    body = lz4.block.decompress(payload[24:], uncompressed_size=2 * 240 * 424)
    low, high = np.frombuffer(body, np.uint8)[-2 * n :].reshape(2, n).astype(int)
    palette = (low + 256 * high).cumsum() % 65536
    assert [value for value in palette if value > 59000] == [60001, 60002, 60003, 59999]
    assert len(set(palette)) == n


def test_depth_takes_less_than_half_of_what_lz4_takes() -> None:
    image = disparity_image(480, 640)
    payload = get_codec("lattice-lz4").encode(image)
    assert 2 * len(payload) < len(lz4.frame.compress(image))
    assert 2 * len(payload) < len(get_codec("lz4").encode(image))


def test_noise_costs_at_most_a_percent_more_than_raw() -> None:
    image = np.random.default_rng(1).integers(0, 65536, (200, 300)).astype(np.uint16)
    assert len(get_codec("lattice-lz4").encode(image)) < 1.01 * image.nbytes


def rebuilt(payload: bytes, **changes: Any) -> bytes:
    """A mode 2 payload with other counts or another body, compressed as it should be."""
    keys = ("mode", "itemsize", "n", "h", "w", "e4", "e8", "e16")
    fields = dict(zip(keys, struct.unpack_from("<BBHIIIII", payload), strict=True))
    size = 2 * fields["h"] * fields["w"]
    body = bytearray(lz4.block.decompress(payload[24:], uncompressed_size=size))
    edit = changes.pop("edit", None)
    if edit:
        edit(body)
    fields.update(changes)
    return struct.pack("<BBHIIIII", *(fields[key] for key in keys)) + lz4.block.compress(
        bytes(body), store_size=False
    )


def test_ranks_outside_the_palette_are_refused() -> None:
    payload = get_codec("lattice-lz4").encode(np.full((48, 64), 1234, np.uint16))
    assert payload[0] == RANKS

    def climb(body: bytearray) -> None:
        body[10] = 0b01010110

    def sink(body: bytearray) -> None:
        body[10] = 0b01010100

    for edit in (climb, sink):
        with pytest.raises(CodecError, match="rank beyond its palette of 1"):
            get_codec("lattice-lz4").decode(rebuilt(payload, edit=edit))


def test_escapes_that_do_not_add_up_are_refused() -> None:
    payload = get_codec("lattice-lz4").encode(time_of_flight(96, 98))
    assert payload[0] == VALUES

    def one_more(body: bytearray) -> None:
        body[next(i for i in range(1200) if body[i] & 3 != 3)] |= 3

    def one_less(body: bytearray) -> None:
        body[next(i for i in range(1200) if body[i] & 3 == 3)] &= 0xFE

    for edit in (one_more, one_less):
        with pytest.raises(CodecError, match="escapes"):
            get_codec("lattice-lz4").decode(rebuilt(payload, edit=edit))


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": 3},
        {"itemsize": 1},
        {"itemsize": 4},
        {"n": 0},
        {"n": MAX_RANKS + 1},
        {"mode": 1},
        {"e8": 4800},
    ],
    ids=str,
)
def test_impossible_header_is_refused(changes: dict[str, int]) -> None:
    payload = get_codec("lattice-lz4").encode(disparity_image(60, 80) // 16 * 16)
    assert payload[0] == RANKS
    assert rebuilt(payload) == payload
    with pytest.raises(CodecError):
        get_codec("lattice-lz4").decode(rebuilt(payload, **changes))


def test_lz4_block_of_an_empty_image_is_refused() -> None:
    payload = get_codec("lattice-lz4").encode(np.zeros((0, 9), np.uint16))
    assert len(payload) == 12
    with pytest.raises(CodecError, match="empty image"):
        get_codec("lattice-lz4").decode(payload + b"\xff\xff\xff\x7f\0")
