"""One battery over every image codec: what goes in comes out, whatever it is, and damage is always named.

Of the one lossy codec comes what it promises: `kept` says what, test_near.py that it is within the bound.
"""

from __future__ import annotations

import struct
import threading
import tracemalloc
from typing import Any

import hypothesis.extra.numpy as hnp
import lz4.frame
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import codec.depth
from codec.depth import CODEC_NAMES, DEFAULT_CODEC, codec_by_id, codec_name, get_codec
from codec.depth._images import ImageHeader, contiguous_image, output_for
from codec.depth.near import NearCodec
from codec.errors import CodecError

Image = npt.NDArray[Any]
every_codec = pytest.mark.parametrize("name", CODEC_NAMES)


def kept(codec_: codec.depth.DepthCodec, image: Image) -> Image:
    """What must come back of an image."""
    if isinstance(codec_, NearCodec) and image.dtype.itemsize == 2:
        return codec_.quantise(image)
    assert codec_.lossless or image.dtype == np.uint8
    return image


def lattice(height: int, width: int, *, seed: int = 0, noise: float = 1.0) -> Image:
    """What a stereo camera gives: disparities of 1/32 pixel as millimetres, noise, holes, invalid border."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    disparity = 300 + 200 * y + 80 * np.sin(5 * x) + noise * rng.standard_normal((height, width))
    depth = np.rint(600_000 / np.rint(disparity))
    depth[rng.random((height, width)) < 0.01] = 0
    depth[:, : width // 20] = 0
    return depth.astype(np.uint16)


def hostile_images() -> dict[str, Image]:
    rng = np.random.default_rng(7)
    images = {
        "one pixel": np.array([[12345]]),
        "one row": rng.integers(0, 65536, (1, 1001)),
        "one column": rng.integers(0, 65536, (1001, 1)),
        "no rows": np.zeros((0, 17)),
        "no columns": np.zeros((17, 0)),
        "nothing": np.zeros((0, 0)),
        "odd sides": rng.integers(500, 530, (33, 47)),
        "all zero": np.zeros((48, 64)),
        "all 65535": np.full((48, 64), 65535),
        "checkerboard": np.indices((51, 53)).sum(0) % 2 * 65535,
        "every value once": rng.permutation(65536).reshape(256, 256),
        "every value in order": np.arange(65536).reshape(256, 256),
        "noise": rng.integers(0, 65536, (120, 130)),
        "lattice": lattice(121, 161),
        "lattice with late values": lattice(300, 301, noise=0.3),
        "lattice with a 65535": np.where(
            np.arange(160 * 120).reshape(120, 160) == 777, 65535, lattice(120, 160)
        ),
        "time of flight": 3000 + 5 * rng.standard_normal((96, 97)).cumsum(0).cumsum(1),
        "wider than a block": np.tile(lattice(3, 1000), (1, 70)),
        "too wide for residuals": np.tile(lattice(2, 1000), (1, 66)),
    }
    return {name: image.astype(np.uint16) for name, image in images.items()}


HOSTILE = hostile_images()


def small_payloads(name: str) -> list[bytes]:
    """Payloads of few bytes that go through every branch of the decoder."""
    rng = np.random.default_rng(3)
    coarse = lattice(24, 24, noise=0) // 256 * 256
    coarse[11, 13] = 60000
    smooth = (500 + np.indices((9, 14)).sum(0) * 9).astype(np.uint16)
    smooth[4, 5] += 90
    noise = rng.integers(0, 65536, (5, 7)).astype(np.uint16)
    codec_ = get_codec(name)
    return [codec_.encode(image) for image in (coarse, smooth, noise, noise.astype(np.uint8), noise[:0])]


@every_codec
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_image_comes_back_bit_for_bit(name: str, case: str) -> None:
    image = HOSTILE[case]
    before = image.copy()
    codec_ = get_codec(name)
    back = codec_.decode(codec_.encode(image))
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back, kept(codec_, image))
    np.testing.assert_array_equal(image, before, err_msg="encode changed its input")


@every_codec
@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (1, 9), (37, 41), (300, 301)])
def test_8_bit_image_comes_back_bit_for_bit(name: str, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    codec_ = get_codec(name)
    back = codec_.decode(codec_.encode(image))
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, image)


@every_codec
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_image_comes_back_bit_for_bit(name: str, data: st.DataObject) -> None:
    shape = hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=40)
    top = data.draw(st.sampled_from([1, 3, 300, 65535]), label="largest value")
    image = data.draw(hnp.arrays(np.uint16, shape, elements=st.integers(0, top)), label="image")
    codec_ = get_codec(name)
    np.testing.assert_array_equal(codec_.decode(codec_.encode(image)), kept(codec_, image))


def unaligned(image: Image) -> Image:
    """A copy that begins at an odd address, as one in the midst of a record does."""
    copy = np.empty(image.nbytes + 1, np.uint8)[1:].view(image.dtype).reshape(image.shape)
    copy[:] = image
    return copy


@pytest.mark.parametrize("of", [np.uint8, np.uint16])
def test_kernels_are_given_aligned_pixels_alone(of: type[Any]) -> None:
    odd = unaligned(lattice(12, 16).astype(of))
    assert contiguous_image(odd, max_pixels=1000).flags.aligned
    header = ImageHeader(0, odd.itemsize, 0, *odd.shape)
    target, result = output_for(header, odd)
    assert target.flags.carray
    assert result is odd


@every_codec
def test_strided_and_byte_swapped_input_gives_the_payload_of_its_copy(name: str) -> None:
    whole = lattice(121, 162)
    codec_ = get_codec(name)
    views = [whole[::2, 1::3], whole.T, whole[::-1, ::-1], np.asfortranarray(whole), whole.astype(">u2")]
    for view in [*views, unaligned(whole)]:
        assert codec_.encode(view) == codec_.encode(view.astype(np.uint16, order="C", copy=True))


@every_codec
def test_payload_may_be_any_bytes_like_object(name: str) -> None:
    image = lattice(40, 41)
    codec_ = get_codec(name)
    payload = codec_.encode(image)
    assert isinstance(payload, bytes)
    for data in (bytearray(payload), memoryview(b"--" + payload)[2:]):
        np.testing.assert_array_equal(codec_.decode(data), kept(codec_, image))


@every_codec
@pytest.mark.parametrize("dtype", [np.uint16, np.uint8])
def test_decode_fills_and_returns_out(name: str, dtype: type[Any]) -> None:
    image = (lattice(120, 160) % 251).astype(dtype)
    codec_ = get_codec(name)
    payload = codec_.encode(image)
    strided = np.zeros((240, 320), dtype)[::2, ::2]
    for out in (np.zeros((120, 160), dtype), strided, np.zeros((160, 120), dtype).T, unaligned(image * 0)):
        assert codec_.decode(payload, out=out) is out
        np.testing.assert_array_equal(out, kept(codec_, image))


@every_codec
def test_out_that_does_not_fit_is_refused(name: str) -> None:
    codec_ = get_codec(name)
    payload = codec_.encode(lattice(12, 16))
    read_only = np.zeros((12, 16), np.uint16)
    read_only.flags.writeable = False
    for out in (np.zeros((16, 12), np.uint16), np.zeros((12, 16), np.uint8), read_only):
        with pytest.raises(CodecError, match="out= must be a writeable uint16 array"):
            codec_.decode(payload, out=out)


@every_codec
@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4), np.int16),
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 3), np.uint8),
        np.zeros(4, np.uint16),
    ],
    ids=["int16", "float32", "three-dimensional", "one-dimensional"],
)
def test_what_is_no_image_is_refused(name: str, wrong: Image) -> None:
    with pytest.raises(CodecError, match="an image to encode must be"):
        get_codec(name).encode(wrong)


@every_codec
def test_payload_depends_on_the_image_alone(name: str) -> None:
    seasoned = get_codec(name)
    fresh = {case: get_codec(name).encode(image) for case, image in HOSTILE.items()}
    for _ in range(2):
        for case, image in HOSTILE.items():
            assert seasoned.encode(image) == fresh[case], case
            np.testing.assert_array_equal(seasoned.decode(fresh[case]), kept(seasoned, image))


@every_codec
def test_an_instance_goes_on_after_damage(name: str) -> None:
    codec_ = get_codec(name)
    image = lattice(120, 160)
    payload = codec_.encode(image)
    with pytest.raises(CodecError):
        codec_.decode(payload[:-1])
    np.testing.assert_array_equal(codec_.decode(payload), kept(codec_, image))


@every_codec
def test_threads_with_their_own_instances_do_not_disturb_each_other(name: str) -> None:
    images = [lattice(120, 123, seed=seed) for seed in range(2)]
    expected = [get_codec(name).encode(image) for image in images]
    wrong: list[int] = []

    def work(which: int) -> None:
        mine = get_codec(name)
        for _ in range(6):
            payload = mine.encode(images[which])
            back = kept(mine, images[which])
            if payload != expected[which] or not np.array_equal(mine.decode(payload), back):
                wrong.append(which)

    threads = [threading.Thread(target=work, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ---- damage ------------------------------------------------------------------------------------------------


@every_codec
def test_every_truncation_and_every_extension_is_refused(name: str) -> None:
    codec_ = get_codec(name)
    for payload in small_payloads(name):
        for length in range(len(payload)):
            with pytest.raises(CodecError):
                codec_.decode(payload[:length])
        for tail in (b"\0", b"\xff", bytes(40)):
            with pytest.raises(CodecError):
                codec_.decode(payload + tail)


@every_codec
def test_every_changed_byte_gives_an_image_within_bounds_or_a_codec_error(name: str) -> None:
    codec_ = get_codec(name, max_pixels=4096)
    for payload in small_payloads(name):
        for position in range(len(payload)):
            for flip in (0x01, 0x80, 0xFF):
                damaged = bytearray(payload)
                damaged[position] ^= flip
                try:
                    image = codec_.decode(damaged)
                except CodecError:
                    continue
                assert image.size <= 4096


@every_codec
@settings(max_examples=150, deadline=None)
@given(
    header=st.tuples(
        st.integers(0, 3), st.sampled_from([1, 2]), st.integers(0, 5), st.integers(0, 9), st.integers(0, 9)
    ),
    counts=st.tuples(st.integers(0, 9), st.integers(0, 5), st.integers(0, 3)),
    rest=st.binary(max_size=60),
)
def test_made_up_payloads_give_an_image_or_a_codec_error(
    name: str, header: tuple[int, ...], counts: tuple[int, ...], rest: bytes
) -> None:
    data = struct.pack("<BBHII", *header) + struct.pack("<III", *counts) + rest
    try:
        image = get_codec(name).decode(data)
    except CodecError:
        return
    assert image.shape == header[3:]


@every_codec
@pytest.mark.parametrize("mode", [0, 1, 2])
def test_payload_that_claims_a_huge_image_is_refused_before_memory_is_taken(name: str, mode: int) -> None:
    codec_ = get_codec(name)
    palette = 1 if mode == 2 or (name, mode) == ("lattice-rans", 1) else 0
    for height, width in ((2**32 - 1, 2**32 - 1), (8192, 8192), (2**26, 1)):
        claim = bytes([mode, 2, palette, 0]) + height.to_bytes(4, "little") + width.to_bytes(4, "little")
        tracemalloc.start()
        try:
            with pytest.raises(CodecError):
                codec_.decode(claim + bytes(60))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 2**20


@every_codec
def test_memory_stays_within_twenty_bytes_a_pixel(name: str) -> None:
    # Too many values for a palette, and every residual goes through all but the last layer of escapes.
    rough = np.arange(700 * 700).reshape(700, 700) % 50000 + 12 * (np.indices((700, 700)).sum(0) % 2)
    payload = get_codec(name).encode(rough.astype(np.uint16))
    tracemalloc.start()
    try:
        get_codec(name).decode(payload)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * rough.size + 3 * 2**20


@every_codec
def test_max_pixels_bounds_both_directions(name: str) -> None:
    image = lattice(20, 20)
    narrow = get_codec(name, max_pixels=399)
    with pytest.raises(CodecError, match="20 x 20 pixels, the limit is 399"):
        narrow.encode(image)
    with pytest.raises(CodecError, match="20 x 20 pixels, the limit is 399"):
        narrow.decode(get_codec(name).encode(image))


# ---- the registry ------------------------------------------------------------------------------------------


def test_ids_and_names_never_change() -> None:
    ids = {"raw": 0, "lz4": 1, "lattice-lz4": 2, "lattice-rans": 3, "near": 4, "max": 5}
    assert {name: get_codec(name).id for name in CODEC_NAMES} == ids
    assert DEFAULT_CODEC == "lattice-lz4"
    for name in CODEC_NAMES:
        assert codec_by_id(get_codec(name).id).name == codec_name(get_codec(name).id) == name
    assert codec_name(200) == "codec 200"


def test_public_names() -> None:
    assert sorted(codec.depth.__all__) == [
        "BELOW_SENSOR_NOISE",
        "CODEC_NAMES",
        "DEFAULT_CODEC",
        "DEFAULT_MAX_PIXELS",
        "DepthCodec",
        "NearSettings",
        "StatedLoss",
        "codec_by_id",
        "codec_name",
        "declared_shape",
        "get_codec",
        "has_kernels",
        "has_map",
        "learn_map",
        "newest_map",
        "stated_loss",
    ]


def test_unknown_name_names_the_nearest() -> None:
    with pytest.raises(CodecError, match=r"no codec is called 'latice-lz4'.*did you mean 'lattice-lz4'"):
        get_codec("latice-lz4")


def test_unknown_id_says_that_a_newer_version_reads_it() -> None:
    with pytest.raises(CodecError, match=r"no image codec 16 \(jpeg\): a newer nightrig"):
        codec_by_id(16)
    with pytest.raises(CodecError, match="no image codec 200: a newer nightrig"):
        codec_by_id(200)


def test_one_codec_does_not_read_the_payload_of_another_as_pixels() -> None:
    payload = get_codec("lattice-lz4").encode(lattice(120, 160))
    for name in ("raw", "lz4"):
        with pytest.raises(CodecError):
            get_codec(name).decode(payload)


def test_body_of_an_lz4_payload_opens_with_any_lz4_tool() -> None:
    depth = lattice(60, 81)
    planes = np.frombuffer(lz4.frame.decompress(get_codec("lz4").encode(depth)[12:]), np.uint8)
    low, high = planes.reshape(2, 60, 81).astype(np.uint16)
    np.testing.assert_array_equal(low + 256 * high, depth)
    infrared = (depth % 256).astype(np.uint8)
    assert lz4.frame.decompress(get_codec("lz4").encode(infrared)[12:]) == infrared.tobytes()
