"""Frames of a file: what a payload claims is held against its record before anything is decoded."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from capture import decoding
from capture.decoding import decode
from codec.depth import CODEC_NAMES, get_codec
from codec.errors import CodecError
from codec.records.layout import CODEC_JPEG, FRAME, Header, pack_record, unpack_header


def header_of(payload: bytes, codec_id: int, height: int, width: int) -> Header:
    head, *_ = pack_record(FRAME, payload, codec=codec_id, height=height, width=width)
    header = unpack_header(head)
    assert header is not None
    return header


@pytest.mark.parametrize("name", CODEC_NAMES)
def test_payload_of_another_size_than_its_record_s_is_refused_unread(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = get_codec(name)
    payload = codec.encode(np.full((90, 120), 700, np.uint16))
    image = decode(header_of(payload, codec.id, 90, 120), payload, "z16")
    np.testing.assert_array_equal(image, codec.decode(payload))
    monkeypatch.setattr(type(decoding.thread_codec(codec.id)), "decode", None)
    with pytest.raises(CodecError, match=r"decodes to \(90, 120\), its header says \(9, 12\)"):
        decode(header_of(payload, codec.id, 9, 12), payload, "z16")


def test_jpeg_of_another_size_than_its_record_s_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = cv2.imencode(".jpg", np.zeros((90, 120, 3), np.uint8))[1].tobytes()
    assert decode(header_of(payload, CODEC_JPEG, 90, 120), payload).shape == (90, 120, 3)
    at = payload.index(b"\xff\xc0")
    huge = payload[: at + 5] + (30_000).to_bytes(2, "big") * 2 + payload[at + 9 :]
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(CodecError, match=r"decodes to \(30000, 30000\), its header says \(90, 120\)"):
        decode(header_of(huge, CODEC_JPEG, 90, 120), huge)
    with pytest.raises(CodecError, match=r"claims 30000x30000 pixels, which its \d+ bytes cannot hold"):
        decode(header_of(huge, CODEC_JPEG, 30_000, 30_000), huge)
