"""From a frame in the ring to a record in the file: every pixel format, and nothing under a false name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from capture.decoding import decode
from capture.encoding import StreamFormat, encode, stream_format
from capture.ring import FRAME as RING_FRAME
from capture.ring import RingFrame
from codec.depth import CODEC_NAMES, StatedLoss, get_codec, stated_loss
from codec.errors import CodecError
from codec.records.layout import CODEC_F32, CODEC_JPEG, FRAME, Header, unpack_header

_RANDOM = np.random.default_rng(1)
DEPTH = _RANDOM.integers(300, 5000, (24, 32)).astype(np.uint16)
GREY = _RANDOM.integers(0, 255, (24, 32)).astype(np.uint8)
COLOR = cv2.resize(_RANDOM.integers(0, 255, (3, 4, 3)).astype(np.uint8), (32, 24))
JPEG = cv2.imencode(".jpg", COLOR)[1].reshape(-1)
NUMBERS = _RANDOM.normal(size=(2, 85)).astype(np.float32)


def ring_frame(data: npt.NDArray[Any], **changes: Any) -> RingFrame:
    fields: dict[str, Any] = {
        "sequence": 1,
        "kind": RING_FRAME,
        "stream": 3,
        "clock": 2,
        "epoch": 4,
        "number": 123456789,
        "device_time_s": 1.25,
        "monotonic_ns": 99,
        "data": data,
        "meta": b'{"exposure":1}',
        "end_position": 0,
    }
    return RingFrame(**{**fields, **changes})


def encoded(
    data: npt.NDArray[Any], pixel_format: str, codec: str = "lattice-lz4", **changes: Any
) -> tuple[Header, bytes]:
    stream = StreamFormat(pixel_format, 32, 24)
    head, payload, meta = encode(ring_frame(data, **changes), stream, depth_codec=codec, jpeg_quality=90)
    header = unpack_header(head)
    assert header is not None
    assert header.meta_length == len(meta)
    return header, payload


def test_everything_that_is_known_of_a_frame_stands_in_its_record() -> None:
    header, _ = encoded(DEPTH, "z16")
    assert header.kind == FRAME
    assert (header.stream, header.clock, header.epoch, header.number) == (3, 2, 4, 123456789)
    assert (header.device_time_s, header.monotonic_ns) == (1.25, 99)
    assert (header.width, header.height, header.raw_length) == (32, 24, DEPTH.nbytes)


@pytest.mark.parametrize("codec", [name for name in CODEC_NAMES if get_codec(name).lossless])
def test_depth_and_infrared_come_back_bit_for_bit_with_every_codec(codec: str) -> None:
    header, payload = encoded(DEPTH, "z16", codec)
    assert header.codec == get_codec(codec).id
    assert np.array_equal(decode(header, payload, "z16"), DEPTH)
    header, payload = encoded(GREY, "y8", codec)
    assert header.codec == get_codec("raw" if codec == "raw" else "lz4").id
    assert np.array_equal(decode(header, payload, "y8"), GREY)


ROOM = np.arange(500, 4500, 5, dtype=np.uint16).reshape(20, 40)
D435 = {"pixel_format": "z16", "width": 40, "height": 20, "depth_scale_m": 0.001}


@pytest.mark.parametrize(
    ("camera", "constant"),
    [
        ({"focal_baseline_px_m": 379 * 0.050}, 379 * 50 * 32),
        ({"focal_baseline_px_m": 379 * 0.050, "depth_scale_m": 0.0001}, 379 * 500 * 32),
        ({"focal_baseline_px_m": None}, 20 * 50 * 32),
        ({"depth_scale_m": 0.0001}, 20 * 500 * 32),
        ({"depth_scale_m": None}, 20 * 50 * 32),
        ({"focal_baseline_px_m": 1e30}, 20 * 50 * 32),
    ],
    ids=["known", "other-unit", "typical", "typical-in-other-unit", "no-unit", "nonsense"],
)
def test_lossy_depth_keeps_within_the_bound_of_this_very_camera(
    camera: dict[str, Any], constant: int
) -> None:
    stream = stream_format(D435 | camera, 1.5)
    _, payload, _ = encode(ring_frame(ROOM), stream, depth_codec="near", jpeg_quality=90)
    assert stated_loss(payload) == StatedLoss(1.5, constant)
    stored = get_codec("near").decode(payload)
    assert np.abs(constant / stored - constant / ROOM).max() <= 1.5


def test_each_stream_has_its_own_bound_in_the_same_thread() -> None:
    for bound in (1.0, 4.0, 1.0):
        stream = stream_format(D435, bound)
        _, payload, _ = encode(ring_frame(ROOM), stream, depth_codec="near", jpeg_quality=90)
        assert stated_loss(payload) == StatedLoss(bound, 20 * 50 * 32)


def test_picture_that_came_as_jpeg_stays_as_it_came() -> None:
    header, payload = encoded(JPEG, "jpeg")
    assert payload == JPEG.tobytes()
    assert (header.codec, header.width, header.height) == (CODEC_JPEG, 32, 24)
    assert header.raw_length == JPEG.nbytes
    assert decode(header, payload, "jpeg").shape == (24, 32, 3)


def test_bare_colour_becomes_a_jpeg_that_looks_the_same() -> None:
    header, payload = encoded(COLOR, "bgr8")
    assert header.codec == CODEC_JPEG
    assert payload[:2] == b"\xff\xd8"
    error = np.abs(decode(header, payload, "bgr8").astype(int) - COLOR.astype(int))
    assert error.mean() < 6
    stream = StreamFormat("bgr8", 32, 24)
    coarse = encode(ring_frame(COLOR), stream, depth_codec="raw", jpeg_quality=10)[1]
    assert len(coarse) < len(payload)


def test_numbers_come_back_bit_for_bit() -> None:
    header, payload = encoded(NUMBERS, "f32")
    assert (header.codec, header.width, header.height) == (CODEC_F32, 85, 2)
    assert np.array_equal(decode(header, payload, "f32"), NUMBERS)
    header, payload = encoded(np.zeros((0, 85), np.float32), "f32")
    assert (header.height, payload) == (0, b"")


def test_strided_frames_are_stored_as_they_look() -> None:
    header, payload = encoded(DEPTH[::2, ::-2], "z16")
    assert np.array_equal(decode(header, payload, "z16"), DEPTH[::2, ::-2])
    assert (header.width, header.height) == (16, 12)


def test_depth_of_another_size_than_announced_says_its_own() -> None:
    """Decimation or another mode after a reconnect: the record is right, whatever the stream said."""
    header, payload = encoded(DEPTH[:7, :5], "z16")
    assert (header.width, header.height) == (5, 7)
    assert np.array_equal(decode(header, payload, "z16"), DEPTH[:7, :5])


@pytest.mark.parametrize(
    ("data", "pixel_format"),
    [
        (GREY, "z16"),
        (DEPTH, "y8"),
        (DEPTH.astype(np.float32), "z16"),
        (COLOR, "z16"),
        (COLOR, "jpeg"),
        (DEPTH.reshape(-1), "jpeg"),
        (JPEG, "bgr8"),
        (GREY, "bgr8"),
        (DEPTH, "f32"),
        (NUMBERS[0], "f32"),
        (np.zeros((1, 2, 3), np.float32), "f32"),
        (np.zeros((1, 2, 3), np.float32), "mesh"),
        (DEPTH, "z17"),
        (DEPTH, ""),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.dtype}{value.shape}",
)
def test_frame_that_is_not_what_its_stream_announced_is_refused(
    data: npt.NDArray[Any], pixel_format: str
) -> None:
    with pytest.raises(CodecError, match=r"is no|no codec for"):
        encoded(data, pixel_format)


@pytest.mark.parametrize(
    "data",
    [np.zeros((0, 5, 3), np.uint8), np.zeros((2, 2, 7), np.uint8), np.zeros((1, 70_000, 3), np.uint8)],
    ids=lambda data: str(data.shape),
)
def test_picture_that_no_jpeg_can_hold_is_a_codec_error(data: npt.NDArray[Any]) -> None:
    with pytest.raises(CodecError, match="JPEG"):
        encoded(data, "bgr8")


@pytest.mark.parametrize("changes", [{"number": -1}, {"epoch": 2**32}, {"stream": 300}])
def test_number_that_fits_no_record_is_a_codec_error(changes: dict[str, int]) -> None:
    with pytest.raises(CodecError, match="does not fit"):
        encoded(DEPTH, "z16", **changes)


def test_unknown_depth_codec_is_a_codec_error() -> None:
    with pytest.raises(CodecError, match="no codec is called"):
        encoded(DEPTH, "z16", "latice")


def test_threads_do_not_disturb_each_other() -> None:
    images = [_RANDOM.integers(0, 3000, (24 + i % 3, 32 + i % 5)).astype(np.uint16) for i in range(60)]
    with ThreadPoolExecutor(4) as pool:
        records = list(pool.map(lambda image: encoded(image, "z16"), images))
    for image, (header, payload) in zip(images, records, strict=True):
        assert np.array_equal(decode(header, payload, "z16"), image)
