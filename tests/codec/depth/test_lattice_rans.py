"""lattice-rans: kernel and twin agree to the bit, each kind of image takes its mode, damage is named."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.depth import _native, _rans_twin, get_codec
from codec.depth._context_model import CONTEXTS, NEWEST_MAP, ContextMap, context_map, expect, fill
from codec.depth._images import DEFAULT_MAX_PIXELS
from codec.depth.lattice_rans import LatticeRansCodec
from codec.errors import CodecError
from tests.codec.depth.test_lattice_lz4 import disparity_image

Image = npt.NDArray[Any]
PLAIN, RANS = 0, 1

needs_kernels = pytest.mark.skipif(
    _native.kernels is None, reason="the native kernels are not built: install a C compiler and python3-dev"
)


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> Callable[[], LatticeRansCodec]:
    """Makes codecs that know nothing of the kernels."""

    def make() -> LatticeRansCodec:
        with monkeypatch.context() as patch:
            patch.setattr(_native, "kernels", None)
            return LatticeRansCodec()

    return make


def pictures() -> dict[str, Image]:
    rng = np.random.default_rng(5)
    smooth = disparity_image(96, 200)
    holes = disparity_image(130, 301, seed=1)
    holes[rng.random(holes.shape) < 0.3] = 0
    return {
        "a camera's": smooth,
        "holes": holes,
        "one lane busy": disparity_image(40, 9, seed=2),
        "fewer rows than lanes": disparity_image(7, 700, seed=3),
        "steps between rows as long as a row": disparity_image(150, 508, seed=4),
        "constant": np.full((64, 80), 777, np.uint16),
        "all invalid": np.zeros((64, 80), np.uint16),
        "edges that escape": (smooth > np.median(smooth)) * np.uint16(40000) + smooth % 700,
        "last value": np.where(smooth == smooth.max(), 65535, smooth).astype(np.uint16),
        "steep floor": (np.add.outer(np.arange(90) * 3, np.arange(130) // 2) + 300).astype(np.uint16),
    }


PICTURES = pictures()


@needs_kernels
@pytest.mark.parametrize("case", PICTURES)
def test_kernel_and_twin_write_the_same_and_read_each_other(case: str, twin: Any) -> None:
    image = PICTURES[case]
    ours, theirs = get_codec("lattice-rans"), twin()
    payload = ours.encode(image)
    assert payload == theirs.encode(image)
    np.testing.assert_array_equal(ours.decode(payload), image)
    np.testing.assert_array_equal(theirs.decode(payload), image)


@needs_kernels
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_kernel_and_twin_agree_on_any_image(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 40), st.integers(8, 90)), label="shape")
    top = data.draw(st.sampled_from([1, 3, 40, 300]), label="largest value")
    image = data.draw(hnp.arrays(np.uint16, shape, elements=st.integers(0, top), fill=st.just(top)))
    chosen = context_map(NEWEST_MAP)
    body = _native.NativeRans(_native.kernels).encode(image, chosen)  # type: ignore[arg-type]
    assert body == _rans_twin.encode(image, chosen)
    if body is not None:
        back = np.empty_like(image)
        _rans_twin.decode(memoryview(body), chosen, back)
        np.testing.assert_array_equal(back, image)


@needs_kernels
@settings(max_examples=80, deadline=None)
@given(position=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_kernel_and_twin_agree_on_what_is_damaged(position: float, change: int) -> None:
    image = disparity_image(40, 60)
    payload = bytearray(get_codec("lattice-rans").encode(image))
    payload[int(position * len(payload))] ^= change
    results = []
    for coder in (_native.NativeRans(_native.kernels), _rans_twin):  # type: ignore[arg-type]
        codec = LatticeRansCodec(max_pixels=image.size)
        codec._coder = coder  # type: ignore[assignment]
        try:
            results.append(codec.decode(bytes(payload)).tobytes())
        except CodecError:
            results.append(b"refused")
    assert results[0] == results[1]


@pytest.mark.parametrize("without_kernels", [False, True], ids=["as built", "twin"])
def test_depth_images_are_much_smaller_than_by_the_default_codec(without_kernels: bool, twin: Any) -> None:
    image = disparity_image(240, 320)
    codec = twin() if without_kernels else get_codec("lattice-rans")
    payload = codec.encode(image)
    assert payload[0] == RANS
    assert 5 * len(payload) < 3 * len(get_codec("lattice-lz4").encode(image))


@pytest.mark.parametrize(
    ("image", "mode"),
    [
        (np.random.default_rng(0).integers(0, 65536, (64, 64)).astype(np.uint16), PLAIN),
        (np.arange(65536, dtype=np.uint16).reshape(256, 256), PLAIN),
        (disparity_image(240, 7), PLAIN),
        (disparity_image(60, 80).astype(np.uint8), PLAIN),
        (np.zeros((0, 9), np.uint16), PLAIN),
        (disparity_image(60, 80), RANS),
        (disparity_image(4000, 8), RANS),
        (disparity_image(4800, 8), PLAIN),
    ],
    ids=["noise", "all values", "narrow", "uint8", "empty", "depth", "tall", "too tall"],
)
def test_each_kind_of_image_takes_its_mode(image: Image, mode: int) -> None:
    codec = get_codec("lattice-rans")
    payload = codec.encode(image)
    assert payload[0] == mode
    np.testing.assert_array_equal(codec.decode(payload), image)


def test_no_shape_of_a_camera_comes_near_the_limit_of_steps() -> None:
    for height in (1, 2, 5, 31, 32, 33, 480, 1080, 4000):
        for width in (8, 9, 27, 28, 80, 255, 256, 507, 508, 848, 4096, 65536):
            lanes = _rans_twin.lanes_for(height, width)
            wave = _rans_twin.Wavefront.of(height, width, lanes)
            assert wave.has_few_steps, (height, width)


def test_the_twin_writes_no_image_of_too_many_steps_either() -> None:
    assert _rans_twin.encode(disparity_image(4800, 8), context_map(NEWEST_MAP)) is None


@pytest.mark.parametrize("lanes", [2, 32])
def test_steps_of_the_tallest_image_are_few_for_its_pixels_or_refused(lanes: int) -> None:
    tallest = DEFAULT_MAX_PIXELS // 8
    with pytest.raises(CodecError, match=f"cannot have {lanes} lanes for {tallest} x 8 pixels: damaged"):
        _rans_twin.check_sizes(memoryview(struct.pack("<BI", lanes, 0) + bytes(4 * lanes)), tallest, 8)


def test_every_payload_names_its_context_map_and_an_unknown_one_asks_for_a_newer_version() -> None:
    payload = bytearray(get_codec("lattice-rans").encode(disparity_image(60, 80)))
    assert struct.unpack_from("<H", payload, 2) == (NEWEST_MAP,)
    struct.pack_into("<H", payload, 2, 60000)
    with pytest.raises(CodecError, match="needs context map 60000: a newer nightrig has it"):
        get_codec("lattice-rans").decode(payload)


def test_a_map_can_be_tried_before_it_is_installed() -> None:
    image = disparity_image(60, 80)
    newest = context_map(NEWEST_MAP)
    flat = ContextMap(
        9, newest.weights, np.zeros(CONTEXTS, np.uint8), np.full((1, 16), 65, np.uint8), np.empty(0, np.uint8)
    )
    chosen = ContextMap.from_bytes(flat.to_bytes())
    codec = LatticeRansCodec(trial_map=chosen)
    payload = codec.encode(image)
    assert payload[2] == 9
    assert len(payload) > len(get_codec("lattice-rans").encode(image))
    np.testing.assert_array_equal(codec.decode(payload), image)
    np.testing.assert_array_equal(codec.decode(get_codec("lattice-rans").encode(image)), image)


@needs_kernels
@pytest.mark.parametrize("weight", [-32768, 32767])
def test_kernel_and_twin_take_any_number_and_any_weights_of_a_map(weight: int, twin: Any) -> None:
    newest = context_map(NEWEST_MAP)
    weights = np.full(11, weight, np.int16)
    given = ContextMap(40000, weights, newest.class_of, newest.defaults, np.empty(0, np.uint8))
    chosen = ContextMap.from_bytes(given.to_bytes())
    assert chosen.id == 40000
    image = disparity_image(60, 80)
    ours, theirs = LatticeRansCodec(trial_map=chosen), twin()
    theirs._trial_map = chosen
    payload = ours.encode(image)
    assert payload == theirs.encode(image)
    for codec in (ours, theirs):
        np.testing.assert_array_equal(codec.decode(payload), image)


@pytest.mark.parametrize("spoil", ["short", "long", "class", "code", "no table"])
def test_context_map_that_contradicts_itself_is_refused(spoil: str) -> None:
    good = context_map(NEWEST_MAP)
    content = bytearray(good.to_bytes())
    if spoil == "short":
        content = content[:100]
    elif spoil == "long":
        content += b"\0"
    elif spoil == "class":
        content[26] = good.classes
    elif spoil == "code":
        content[-1] = 98
    else:
        content[-16:] = bytes(16)
    with pytest.raises(CodecError, match="context map"):
        ContextMap.from_bytes(bytes(content))
    if _native.kernels is not None:
        array = np.frombuffer(bytes(content), np.uint8)
        assert _native.kernels.rans_check_map(array.__array_interface__["data"][0], array.size) != 0


def test_map_file_says_its_own_number() -> None:
    folder = Path(_rans_twin.__file__).parent / "maps"
    for file in folder.glob("*.map"):
        assert ContextMap.from_bytes(file.read_bytes()).id == int(file.stem)


def test_a_step_of_the_decoder_sees_what_the_encoder_saw() -> None:
    """Contexts of whole images are those of single pixels, looked up in a padded copy."""
    ranks = np.random.default_rng(2).integers(0, 6, (9, 11)).astype(np.int16)
    filled = fill(ranks)
    expected = expect(filled, context_map(NEWEST_MAP).weights)
    assert expected.context.min() >= 0
    assert expected.context.max() < CONTEXTS
    assert (filled.ranks[2:, 2:-2][ranks > 0] == ranks[ranks > 0]).all()
    above = filled.ranks[1:-1, 2:-2]
    assert (filled.ranks[2:, 2:-2][ranks == 0] == above[ranks == 0]).all()


@pytest.mark.parametrize("lanes", [0, 1, 33, 255])
def test_impossible_number_of_lanes_is_refused(lanes: int) -> None:
    payload = bytearray(get_codec("lattice-rans").encode(disparity_image(60, 80)))
    payload[12] = lanes
    with pytest.raises(CodecError, match=f"{lanes} lanes"):
        get_codec("lattice-rans", max_pixels=DEFAULT_MAX_PIXELS).decode(payload)


def test_plain_payload_inside_must_be_of_the_same_shape() -> None:
    codec = get_codec("lattice-rans")
    payload = bytearray(codec.encode(disparity_image(240, 7)))
    payload[4] += 1
    with pytest.raises(CodecError, match="contradicts itself"):
        codec.decode(payload)
