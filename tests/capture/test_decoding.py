"""Frames of a file: what a payload claims is held against its record before anything is decoded."""

from __future__ import annotations

import numpy as np
import pytest

from capture import decoding
from capture.decoding import decode
from codec.depth import CODEC_NAMES, get_codec
from codec.errors import CodecError
from codec.records.layout import FRAME, Header, pack_record, unpack_header


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
