"""max: kernel and twin agree to the bit, each kind of image takes its mode, no damage passes unnoticed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.depth import CODEC_NAMES, _max_twin, _native, get_codec
from codec.depth._max_linear import PAD, TAPS, Fit, first_rows, push_row
from codec.depth._max_model import SQUASH, STRETCH, Decoder, Encoder
from codec.depth.max_codec import MaxCodec
from codec.errors import CodecError
from tests.codec.depth.test_lattice_lz4 import disparity_image

Image = npt.NDArray[Any]
PLAIN, MIXED = 0, 1
STREAM = 16
"""Where the stream begins: behind the image header and the check value."""

needs_kernels = pytest.mark.skipif(
    _native.kernels is None, reason="the native kernels are not built: install a C compiler and python3-dev"
)


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> Callable[[], MaxCodec]:
    """Makes codecs that know nothing of the kernels."""

    def make() -> MaxCodec:
        with monkeypatch.context() as patch:
            patch.setattr(_native, "kernels", None)
            return MaxCodec()

    return make


def pictures() -> dict[str, Image]:
    rng = np.random.default_rng(5)
    smooth = disparity_image(64, 120)
    holes = disparity_image(70, 101, seed=1)
    holes[rng.random(holes.shape) < 0.3] = 0
    edges = np.where(np.indices((50, 60)).sum(0) // 9 % 2, disparity_image(50, 60, seed=2), 60000)
    return {
        "a camera's": smooth,
        "holes": holes,
        "one column": disparity_image(300, 1, seed=2),
        "one row": disparity_image(1, 300, seed=3),
        "narrower than the window": disparity_image(100, 5, seed=4),
        "constant": np.full((64, 80), 777, np.uint16),
        "all invalid": np.zeros((64, 80), np.uint16),
        "edges": edges.astype(np.uint16),
        "jumps of a thousand ranks": (np.indices((60, 70)).sum(0) * 1009 % 2003 + 1).astype(np.uint16),
        "last value": np.where(smooth == smooth.max(), 65535, smooth).astype(np.uint16),
        "steep floor": (np.add.outer(np.arange(60) * 3, np.arange(90) // 2) + 300).astype(np.uint16),
        "checkerboard of holes": (disparity_image(40, 60) * (np.indices((40, 60)).sum(0) % 2)).astype(
            np.uint16
        ),
    }


PICTURES = pictures()


# ---- kernel and twin ---------------------------------------------------------------------------------------


@needs_kernels
@pytest.mark.parametrize("case", PICTURES)
def test_kernel_and_twin_write_the_same_and_read_each_other(case: str) -> None:
    image = PICTURES[case]
    native = _native.NativeMax(_native.kernels)  # type: ignore[arg-type]
    body = native.encode(image)
    assert body is not None
    assert body == _max_twin.encode(image)
    for decode in (native.decode, _max_twin.decode):
        back = np.empty_like(image)
        decode(memoryview(body), back)
        np.testing.assert_array_equal(back, image)


@needs_kernels
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_kernel_and_twin_agree_on_any_image(data: st.DataObject) -> None:
    shape = hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)
    top = data.draw(st.sampled_from([1, 3, 40, 300, 65535]), label="largest value")
    image = data.draw(hnp.arrays(np.uint16, shape, elements=st.integers(0, top)), label="image")
    body = _native.NativeMax(_native.kernels).encode(image)  # type: ignore[arg-type]
    assert body is not None
    assert body == _max_twin.encode(image)
    back = np.empty_like(image)
    _max_twin.decode(memoryview(body), back)
    np.testing.assert_array_equal(back, image)


@needs_kernels
@settings(max_examples=100, deadline=None)
@given(position=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255), cut=st.integers(0, 3))
def test_kernel_and_twin_agree_on_what_is_damaged(position: float, change: int, cut: int) -> None:
    image = disparity_image(24, 30)
    stream = bytearray(_native.NativeMax(_native.kernels).encode(image) or b"")  # type: ignore[arg-type]
    stream[int(position * len(stream))] ^= change
    results = []
    for coder in (_native.NativeMax(_native.kernels), _max_twin):  # type: ignore[arg-type]
        back = np.empty_like(image)
        try:
            coder.decode(memoryview(stream)[: len(stream) - cut], back)
            results.append(back.tobytes())
        except CodecError:
            results.append(b"refused")
    assert results[0] == results[1]


@needs_kernels
def test_what_the_workspace_held_before_changes_nothing() -> None:
    native = _native.NativeMax(_native.kernels)  # type: ignore[arg-type]
    image = PICTURES["holes"]
    body = native.encode(image)
    native._workspace._memory[:] = 0xA5
    assert native.encode(image) == body
    native._workspace._memory[:] = 0x5A
    back = np.empty_like(image)
    native.decode(memoryview(body or b""), back)
    np.testing.assert_array_equal(back, image)


@needs_kernels
def test_kernel_never_writes_past_the_room_it_was_given() -> None:
    image = PICTURES["a camera's"]
    kernels = _native.kernels
    assert kernels is not None
    memory = _native.Workspace()  # kept: the kernel works in it
    workspace = memory.address(kernels.max_workspace_bytes(image.shape[1]))
    body = _native.NativeMax(kernels).encode(image)
    assert body is not None
    out = np.empty(len(body) + 64, np.uint8)
    for room in (0, 1, 59, 60, 61, len(body) // 2, len(body) - 1, len(body)):
        out[:] = 0xEE
        address = out.__array_interface__["data"][0]
        pixels = image.__array_interface__["data"][0]
        size = kernels.max_encode(pixels, *image.shape, address, room, workspace)
        assert (out[room:] == 0xEE).all()
        assert size == (len(body) if room == len(body) else -2)


# ---- what it is for ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("without_kernels", [False, True], ids=["as built", "twin"])
def test_depth_images_are_smaller_than_by_any_other_lossless_codec(without_kernels: bool, twin: Any) -> None:
    image = disparity_image(150, 200)
    payload = (twin() if without_kernels else get_codec("max")).encode(image)
    assert payload[0] == MIXED
    others = [get_codec(name) for name in CODEC_NAMES if name != "max"]
    assert len(payload) < min(len(codec.encode(image)) for codec in others if codec.lossless)


@pytest.mark.parametrize(
    ("image", "mode"),
    [
        (np.random.default_rng(0).integers(0, 65536, (64, 64)).astype(np.uint16), PLAIN),
        (np.arange(65536, dtype=np.uint16).reshape(256, 256), PLAIN),
        (np.tile(disparity_image(3, 1000), (1, 17)), PLAIN),
        (disparity_image(60, 80).astype(np.uint8), PLAIN),
        (np.zeros((0, 9), np.uint16), PLAIN),
        (disparity_image(60, 80), MIXED),
        (np.zeros((300, 400), np.uint16), MIXED),
    ],
    ids=["noise", "all values", "wider than 16384", "uint8", "empty", "depth", "nothing measured"],
)
def test_each_kind_of_image_takes_its_mode(image: Image, mode: int) -> None:
    codec = get_codec("max")
    payload = codec.encode(image)
    assert payload[0] == mode
    np.testing.assert_array_equal(codec.decode(payload), image)


# ---- damage ------------------------------------------------------------------------------------------------


def resealed(payload: bytes, image: Image) -> bytes:
    """The payload with the check value of other pixels."""
    return payload[:12] + struct.pack("<I", zlib.crc32(image.astype("<u2").tobytes())) + payload[STREAM:]


def test_no_changed_byte_gives_other_pixels() -> None:
    image = disparity_image(24, 30)
    codec = get_codec("max", max_pixels=4096)
    payload = codec.encode(image)
    for position in range(STREAM - 4, len(payload)):
        damaged = bytearray(payload)
        damaged[position] ^= 1 << position % 8
        try:
            back = codec.decode(bytes(damaged))
        except CodecError:
            continue
        np.testing.assert_array_equal(back, image)


def test_pixels_that_are_not_those_of_the_check_value_are_refused() -> None:
    image = disparity_image(24, 30)
    payload = get_codec("max").encode(image)
    with pytest.raises(CodecError, match="decodes to other pixels"):
        get_codec("max").decode(resealed(payload, image + 1))


@pytest.mark.parametrize("without_kernels", [False, True], ids=["as built", "twin"])
def test_impossible_number_of_values_is_refused(without_kernels: bool, twin: Any) -> None:
    codec = twin() if without_kernels else get_codec("max")
    payload = bytearray(codec.encode(disparity_image(24, 30)))
    for values in (0, 1, 32767, 32768, 65535):
        struct.pack_into("<H", payload, STREAM, values)
        with pytest.raises(CodecError, match="max payload"):
            codec.decode(bytes(payload))


def test_extreme_weights_are_no_danger() -> None:
    codec = get_codec("max")
    image = disparity_image(24, 30)
    payload = bytearray(codec.encode(image))
    for weight in (-32768, 32767):
        struct.pack_into("<29h", payload, STREAM + 2, *[weight] * 29)
        with pytest.raises(CodecError):
            codec.decode(bytes(payload))


@pytest.mark.parametrize(
    ("offset", "value"),
    [(0, 2), (1, 1), (2, 1), (8, 16385)],
    ids=["mode", "uint8", "palette", "width"],
)
def test_impossible_header_is_refused(offset: int, value: int) -> None:
    payload = bytearray(get_codec("max").encode(disparity_image(24, 30)))
    struct.pack_into("<H" if value > 255 else "<B", payload, offset, value)
    with pytest.raises(CodecError, match="impossible header"):
        get_codec("max").decode(bytes(payload))


def test_plain_payload_inside_must_be_of_the_same_shape() -> None:
    codec = get_codec("max")
    payload = bytearray(codec.encode(np.zeros((5, 7), np.uint8)))
    payload[4] += 1
    with pytest.raises(CodecError, match="contradicts itself"):
        codec.decode(bytes(payload))


# ---- the parts ---------------------------------------------------------------------------------------------


def test_squash_and_stretch_undo_each_other() -> None:
    true = 65536 / (1 + np.exp(-np.arange(-2048, 2048) / 256))
    assert np.abs(np.array(SQUASH) - true).max() < 50
    # One step of the logistic scale is 64 of 65536 where it is steepest.
    back = np.array(SQUASH)[np.array(STRETCH) + 2048]
    assert np.abs(back - (np.arange(4096) * 16 + 8)).max() <= 64


@settings(max_examples=60, deadline=None)
@given(bits=st.lists(st.tuples(st.integers(16, 65520), st.integers(0, 1)), max_size=600))
def test_any_bits_come_back_from_the_arithmetic_coder(bits: list[tuple[int, int]]) -> None:
    encoder = Encoder()
    for p1, bit in bits:
        encoder.code(p1, bit)
    data = encoder.finish()
    decoder = Decoder(data)
    assert [decoder.code(p1, 0) for p1, _ in bits] == [bit for _, bit in bits]
    assert decoder.exhausted_exactly
    # The bound by which a decoder refuses impossible sizes before it takes memory.
    assert len(bits) <= 23000 * len(data)


def test_fit_finds_the_weights_an_image_was_made_with() -> None:
    rng = np.random.default_rng(4)
    wanted = dict.fromkeys(TAPS, 0) | {(0, -1): 700, (1, 1): 324}
    fit, rows = Fit(), first_rows(400)
    for y in range(400):
        row = (1000 + rng.integers(-1, 2, 400 + 2 * PAD)).tolist()
        for x in range(PAD + y % 8, PAD + 400, 8):  # the pixels that are sampled
            row[x] = int(row[x - 1] * 700 + rows[0][x + 1] * 324 + 512) >> 10
        push_row(rows, row, first=y == 0)
        fit.add_row(rows, [True] * 400, y)
    assert dict(zip(TAPS, fit.weights(), strict=True)) == pytest.approx(wanted, abs=40)
