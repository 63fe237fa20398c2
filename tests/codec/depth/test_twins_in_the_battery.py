"""The battery over every image codec, in small, with the native kernels switched off.

Where the kernels are built, the battery never sees their twins; where they are not, it is the twins that it
tests, and this repeats a part of it.
"""

from __future__ import annotations

import numpy as np
import pytest

from codec.depth import _native, get_codec
from tests.codec.depth import test_image_codecs as battery

LARGEST = {"lattice-rans": 20_000, "near": 10_000, "max": 3_200}
"""Pixels of an image that the twin is given; that of max takes a hundredth of a second for 300 of them."""
CASES = [
    (name, case)
    for name, largest in LARGEST.items()
    for case, image in battery.HOSTILE.items()
    if image.size <= largest
]

every_twin = pytest.mark.parametrize("name", LARGEST)


@pytest.fixture(autouse=True)
def no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "kernels", None)


@every_twin
def test_it_is_the_twin_that_works(name: str) -> None:
    codec = get_codec(name)
    coder = getattr(codec, "_inner", codec)._coder
    assert coder.__name__ in ("codec.depth._rans_twin", "codec.depth._max_twin")


@pytest.mark.parametrize(("name", "case"), CASES)
def test_hostile_image_comes_back_bit_for_bit(name: str, case: str) -> None:
    battery.test_hostile_image_comes_back_bit_for_bit(name, case)


@every_twin
def test_8_bit_image_comes_back_bit_for_bit(name: str) -> None:
    battery.test_8_bit_image_comes_back_bit_for_bit(name, (37, 41))


@every_twin
def test_payload_may_be_any_bytes_like_object(name: str) -> None:
    battery.test_payload_may_be_any_bytes_like_object(name)


@every_twin
def test_decode_fills_out_of_any_strides_and_refuses_what_does_not_fit(name: str) -> None:
    image = battery.lattice(40, 60)
    codec = get_codec(name)
    payload = codec.encode(image)
    strided = np.zeros((80, 120), np.uint16)[::2, ::2]
    assert codec.decode(payload, out=strided) is strided
    np.testing.assert_array_equal(strided, battery.kept(codec, image))
    battery.test_out_that_does_not_fit_is_refused(name)


@every_twin
def test_max_pixels_bounds_both_directions(name: str) -> None:
    battery.test_max_pixels_bounds_both_directions(name)


@every_twin
def test_payload_that_claims_a_huge_image_is_refused_before_memory_is_taken(name: str) -> None:
    battery.test_payload_that_claims_a_huge_image_is_refused_before_memory_is_taken(name, 1)


@every_twin
def test_truncated_and_extended_and_changed_payloads_are_refused_or_give_an_image(name: str) -> None:
    codec = get_codec(name, max_pixels=4096)
    every = 31 if name == "max" else 7  # its model alone takes two hundredths of a second to set up
    for payload in battery.small_payloads(name):
        for length in {*range(0, len(payload), every), len(payload) - 1}:
            with pytest.raises(battery.CodecError):
                codec.decode(payload[:length])
        with pytest.raises(battery.CodecError):
            codec.decode(payload + b"\0")
        for position in range(0, len(payload), every):
            changed = bytearray(payload)
            changed[position] ^= 1 << position % 8
            try:
                assert codec.decode(changed).size <= 4096
            except battery.CodecError:
                continue
