"""docs/FORMAT.md is enough for lattice-rans and near: a reader written from it alone gives the pixels."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from codec.depth import _rans_twin, get_codec
from codec.depth.lattice_rans import LatticeRansCodec
from codec.errors import CodecError
from tests.codec.depth.stranger_rans import near_image, rans_image
from tests.codec.depth.test_lattice_lz4 import disparity_image
from tests.test_format_page import image as image_of_simpler_codecs

Image = npt.NDArray[Any]
ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parent / "golden"
MAP = (ROOT / "codec" / "depth" / "maps" / "1.map").read_bytes()
LATTICE_LZ4 = 2
PLAIN, RANS = 0, 1

lattice_lz4 = partial(image_of_simpler_codecs, LATTICE_LZ4)


def read(payload: bytes) -> Image:
    return rans_image(payload, MAP, lattice_lz4)


def with_holes(image: Image, share: float) -> Image:
    return np.where(np.random.default_rng(7).random(image.shape) < share, 0, image).astype(np.uint16)


def far_steps(height: int, width: int) -> Image:
    """Blocks thousands of ranks apart: sums of weighted neighbours leave 16 bits, and edges escape."""
    ramp = np.arange(height * width).reshape(height, width) + 1
    near, far = ramp % 7 + 1, ramp % 9000 + 6000
    return np.where(ramp // 20 % 2, far, near).astype(np.uint16)


PICTURES = {
    "a camera's": disparity_image(90, 160),
    "a tenth holes": with_holes(disparity_image(90, 160), 0.1),
    "half holes": with_holes(disparity_image(90, 160), 0.5),
    "far steps": far_steps(60, 200),
    "narrowest": disparity_image(400, 8),
    "one more than narrowest": disparity_image(300, 9),
    "margin fills up to 8": disparity_image(30, 508),
    "margin goes beyond 8": disparity_image(29, 509),
    "two rows": disparity_image(2, 1000),
    "one row": disparity_image(1, 4000),
    "nothing measured": np.zeros((40, 100), np.uint16),
    "one value, the last": np.full((64, 80), 65535, np.uint16),
    "first and last value": np.where(disparity_image(60, 80) % 2, 65535, 1).astype(np.uint16),
}


def test_the_page_names_the_context_map() -> None:
    page = (ROOT / "docs" / "FORMAT.md").read_text(encoding="utf-8")
    assert hashlib.sha256(MAP).hexdigest() in page
    assert f"{len(MAP)} bytes" in page


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("lattice-rans-*.bin")), ids=lambda path: path.stem)
def test_a_stranger_reads_stored_lattice_rans(path: Path) -> None:
    payload = path.read_bytes()
    assert payload[0] == (RANS if "-map1-" in path.stem else PLAIN)
    expected = get_codec("lattice-rans").decode(payload)
    got = read(payload)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("near-*.bin")), ids=lambda path: path.stem)
def test_a_stranger_reads_stored_near(path: Path) -> None:
    payload = path.read_bytes()
    expected = get_codec("near").decode(payload)
    got, _, _ = near_image(payload, MAP, lattice_lz4)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("case", PICTURES)
def test_a_stranger_reads_lattice_rans_bit_for_bit(case: str) -> None:
    payload = get_codec("lattice-rans").encode(PICTURES[case])
    assert payload[0] == RANS
    np.testing.assert_array_equal(read(payload), PICTURES[case])


@pytest.mark.parametrize("lanes", [2, 3, 13, 31, 32])
@pytest.mark.parametrize("shape", [(70, 120), (12, 509)], ids=str)
def test_every_number_of_lanes_means_what_the_page_says(
    lanes: int, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small images get few lanes; the page allows any number, and large images have 32."""
    picture = with_holes(disparity_image(*shape), 0.05)
    codec = LatticeRansCodec()
    with monkeypatch.context() as patch:
        patch.setattr(codec, "_coder", _rans_twin)
        patch.setattr(_rans_twin, "lanes_for", lambda height, width: lanes)
        payload = codec.encode(picture)
        np.testing.assert_array_equal(codec.decode(payload), picture)
    assert (payload[0], payload[12]) == (RANS, lanes)
    np.testing.assert_array_equal(read(payload), picture)
    np.testing.assert_array_equal(get_codec("lattice-rans").decode(payload), picture)


def test_a_stranger_finds_near_within_the_bound_it_states() -> None:
    picture = with_holes(disparity_image(90, 160), 0.1)
    got, bound, C = near_image(get_codec("near").encode(picture), MAP, lattice_lz4)
    assert bound == 640  # 2.5/32 pixel, the default
    np.testing.assert_array_equal(got == 0, picture == 0)
    z, kept = picture[picture > 0].astype(np.int64), got[picture > 0].astype(np.int64)
    assert (256 * C * np.abs(z - kept) <= bound * z * kept).all()
    assert (z != kept).any()


@pytest.mark.parametrize("damage", ["a word too many", "a state", "another map"])
def test_what_the_page_calls_damage_is_damage_to_both(damage: str) -> None:
    payload = bytearray(get_codec("lattice-rans").encode(disparity_image(60, 80)))
    if damage == "a word too many":
        payload += b"\0\0"
    elif damage == "a state":
        payload[17 + int.from_bytes(payload[13:17], "little")] ^= 1
    else:
        payload[2:4] = (60000).to_bytes(2, "little")
    with pytest.raises(ValueError, match=r"rank|lanes|map"):
        read(bytes(payload))
    with pytest.raises(CodecError, match=r"damaged|needs context map"):
        get_codec("lattice-rans").decode(bytes(payload))
