"""near: never further off than it says, zero for zero, and the payload says how far."""

from __future__ import annotations

import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.depth import NearSettings, get_codec
from codec.depth.near import BELOW_SENSOR_NOISE, NearCodec, StatedLoss, stated_loss
from codec.errors import CodecError
from tests.codec.depth.test_lattice_lz4 import disparity_image

EVERY_VALUE = np.arange(65536, dtype=np.uint16).reshape(256, 256)


@settings(max_examples=25, deadline=None)
@given(bound=st.floats(0.01, 255), constant=st.floats(1, 2**32 - 1))
def test_no_value_is_further_off_than_the_bound_and_none_becomes_zero(bound: float, constant: float) -> None:
    codec = NearCodec(settings=NearSettings(bound, constant))
    back = codec.quantise(EVERY_VALUE).ravel().astype(object)[1:]
    stated = stated_loss(codec.encode(EVERY_VALUE))
    assert stated is not None
    limit, c = Fraction(stated.bound_subpixels), stated.disparity_constant
    assert limit <= bound
    assert codec.quantise(EVERY_VALUE)[0, 0] == 0
    for z, kept in zip(range(1, 65536), back, strict=True):
        assert kept > 0
        assert c * abs(z - kept) <= limit * z * kept


def test_default_bound_is_below_the_noise_of_the_sensor_and_far_smaller_than_lossless() -> None:
    image = disparity_image(240, 320)
    near, lossless = get_codec("near"), get_codec("lattice-rans")
    assert not near.lossless
    payload = near.encode(image)
    assert stated_loss(payload) == StatedLoss(BELOW_SENSOR_NOISE, 800 * 320)
    assert 3 * len(payload) < 2 * len(lossless.encode(image))
    back = near.decode(payload)
    np.testing.assert_array_equal(back == 0, image == 0)


def test_what_was_kept_is_kept_for_good() -> None:
    near = NearCodec(settings=NearSettings(2.5, 606_000))
    once = near.decode(near.encode(disparity_image(120, 160)))
    np.testing.assert_array_equal(near.decode(near.encode(once)), once)


def test_a_tiny_bound_changes_nothing() -> None:
    near = get_codec("near", near=NearSettings(1 / 256, 606_000))
    image = disparity_image(60, 80)
    np.testing.assert_array_equal(near.decode(near.encode(image)), image)


def test_the_inner_payload_stands_by_itself() -> None:
    near = NearCodec()
    image = disparity_image(60, 80)
    inner = near.encode(image)[18:]
    np.testing.assert_array_equal(get_codec("lattice-rans").decode(inner), near.quantise(image))


def test_8_bit_images_are_lossless_and_say_so() -> None:
    image = disparity_image(60, 80).astype(np.uint8)
    near = get_codec("near")
    payload = near.encode(image)
    assert stated_loss(payload) is None
    np.testing.assert_array_equal(near.decode(payload), image)


@pytest.mark.parametrize("bound", [0, -1, 256, float("nan"), float("inf")])
def test_impossible_bound_is_refused(bound: float) -> None:
    with pytest.raises(CodecError, match="a bound of"):
        NearSettings(bound)


@pytest.mark.parametrize("constant", [0, 0.75, -5, 2**32 - 0.25, 2**32, float("nan")])
def test_impossible_constant_is_refused(constant: float) -> None:
    with pytest.raises(CodecError, match="a disparity constant of"):
        NearSettings(2.5, constant)


def test_image_wider_than_any_camera_s_has_the_largest_constant_there_is() -> None:
    image = np.full((1, 6_000_000), 700, np.uint16)
    near = get_codec("near")
    payload = near.encode(image)
    assert stated_loss(payload) == StatedLoss(BELOW_SENSOR_NOISE, 2**32 - 1)
    np.testing.assert_array_equal(near.decode(payload), image)


def test_payload_that_hides_its_loss_is_refused() -> None:
    payload = bytearray(get_codec("near").encode(disparity_image(60, 80)))
    struct.pack_into("<HI", payload, 12, 0, 0)
    with pytest.raises(CodecError, match="impossible header"):
        get_codec("near").decode(payload)
