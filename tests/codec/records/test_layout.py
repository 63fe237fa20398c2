"""One record: 64 bytes of header that can be packed by hand from docs/FORMAT.md, and no bit more lenient."""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.records.layout import (
    END_BYTES,
    ENTRY,
    FRAME,
    HEADER_BYTES,
    MAX_RECORD_BYTES,
    STREAM,
    Record,
    differs_in_payload_only,
    pack_json,
    pack_record,
    replace_payload,
    unpack_header,
)

_U8, _U32 = st.integers(0, 255), st.integers(0, 2**32 - 1)
_FIELDS = st.fixed_dictionaries(
    {
        "stream": _U8,
        "codec": _U8,
        "clock": _U8,
        "width": _U32,
        "height": _U32,
        "epoch": _U32,
        "number": st.integers(0, 2**64 - 1),
        "device_time_s": st.none() | st.floats(allow_nan=False),
        "monotonic_ns": st.integers(-(2**63), 2**63 - 1),
        "raw_length": _U32,
        "meta": st.binary(max_size=50),
    }
)


@given(kind=_U8, payload=st.binary(max_size=200), fields=_FIELDS)
def test_every_field_comes_back_as_it_went_in(kind: int, payload: bytes, fields: dict[str, Any]) -> None:
    head, body, meta = pack_record(kind, payload, **fields)
    assert (body, meta) == (payload, fields["meta"])
    header = unpack_header(head)
    assert header is not None
    for name in (
        "stream",
        "codec",
        "clock",
        "width",
        "height",
        "epoch",
        "number",
        "monotonic_ns",
        "raw_length",
    ):
        assert getattr(header, name) == fields[name]
    if fields["device_time_s"] is None:
        assert math.isnan(header.device_time_s)
    else:
        assert header.device_time_s == fields["device_time_s"]
    assert header.kind == kind
    assert header.payload_length == len(payload)
    assert header.meta_length == len(meta)
    assert header.total_bytes == HEADER_BYTES + len(payload) + len(meta)
    assert header.payload_crc == zlib.crc32(payload + meta)


def test_a_header_packed_by_hand_from_the_format_page_is_read() -> None:
    fields = (60 + 5 + 2, b"NREC", 3, 1, 2, 4, 848, 480, 7, 123456789012, 12.5, 987654321, 2, 814080)
    head = struct.pack("<I4sBBBBIIIQdqII", *fields) + struct.pack("<I", zlib.crc32(b"bytes{}"))
    head += struct.pack("<I", zlib.crc32(head))
    assert len(head) == 64
    header = unpack_header(head)
    assert header is not None
    assert (header.kind, header.stream, header.codec, header.clock) == (3, 1, 2, 4)
    assert (header.width, header.height, header.epoch, header.number) == (848, 480, 7, 123456789012)
    assert (header.device_time_s, header.monotonic_ns, header.raw_length) == (12.5, 987654321, 814080)
    packed = pack_record(
        FRAME,
        b"bytes",
        stream=1,
        codec=2,
        clock=4,
        width=848,
        height=480,
        epoch=7,
        number=123456789012,
        device_time_s=12.5,
        monotonic_ns=987654321,
        raw_length=814080,
        meta=b"{}",
    )
    assert packed[0] == head


def test_sizes_are_those_of_the_format_page() -> None:
    assert (HEADER_BYTES, ENTRY.itemsize, END_BYTES, MAX_RECORD_BYTES) == (64, 48, 88, 256 << 20)


def test_any_flipped_bit_of_a_header_makes_it_none() -> None:
    head = pack_record(FRAME, b"payload", number=5, meta=b"{}")[0]
    for bit in range(8 * HEADER_BYTES):
        flipped = bytearray(head)
        flipped[bit // 8] ^= 1 << bit % 8
        assert unpack_header(bytes(flipped)) is None


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_header_and_no_error(data: bytes) -> None:
    assert unpack_header(data) is None
    assert unpack_header(memoryview(data)) is None


@pytest.mark.parametrize("length", [0, 59, 60 + 9, MAX_RECORD_BYTES - 3, 2**32 - 1])
def test_length_that_cannot_be_is_no_header_even_with_a_right_checksum(length: int) -> None:
    """Meta is 10 bytes: a body of less than 70 cannot hold it; more than the limit is refused unread."""
    head = bytearray(pack_record(FRAME, b"", meta=b"0123456789")[0])
    head[:4] = struct.pack("<I", length)
    head[60:] = struct.pack("<I", zlib.crc32(head[:60]))
    assert unpack_header(bytes(head)) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"number": -1},
        {"number": 2**64},
        {"epoch": -1},
        {"epoch": 2**32},
        {"stream": 256},
        {"codec": -1},
        {"width": 2**32},
        {"height": -1},
        {"monotonic_ns": 2**63},
        {"raw_length": 2**32},
    ],
)
def test_number_that_the_header_has_no_room_for_is_a_value_error(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="does not fit its header"):
        pack_record(FRAME, b"payload", **fields)  # type: ignore[arg-type]


def test_record_above_the_limit_is_refused_and_one_at_the_limit_is_not() -> None:
    payload = bytes(MAX_RECORD_BYTES - HEADER_BYTES)
    head = pack_record(FRAME, payload)[0]
    header = unpack_header(head)
    assert header is not None
    assert header.total_bytes == MAX_RECORD_BYTES
    with pytest.raises(ValueError, match="above the limit"):
        pack_record(FRAME, payload, meta=b"1")


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans() | st.none(), max_size=5))
@settings(max_examples=50)
def test_json_records_give_their_object_back(value: dict[str, Any]) -> None:
    head, payload, meta = pack_json(STREAM, value, stream=1, epoch=3)
    header = unpack_header(head)
    assert header is not None
    assert (header.kind, header.stream, header.epoch) == (STREAM, 1, 3)
    assert Record(header, payload, meta, 0).json() == value


@pytest.mark.parametrize(
    "payload",
    [b"", b"[1]", b"3", b"{", b"\xff\xfe", b'{"a":' + b"[" * 100_000, b'{"a":' + b"9" * 5000 + b"}"],
    ids=["empty", "list", "number", "torn", "not-utf8", "too-deep", "too-long-a-number"],
)
def test_payload_that_is_no_json_object_is_a_value_error(payload: bytes) -> None:
    header = unpack_header(pack_record(STREAM, payload)[0])
    assert header is not None
    with pytest.raises(ValueError):
        Record(header, payload, b"", 0).json()


# ---- another payload in the same record ----


def _bare(record: tuple[bytes, bytes, bytes]) -> bytes:
    return b"".join(record)


@given(_FIELDS, st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=20), _U8)
@settings(max_examples=200)
def test_record_with_another_payload_is_the_one_packed_with_it(
    fields: dict[str, Any], payload: bytes, other: bytes, meta: bytes, codec: int
) -> None:
    old = _bare(pack_record(FRAME, payload, **{**fields, "meta": meta}))
    new = _bare(replace_payload(old, other, codec=codec))
    assert new == _bare(pack_record(FRAME, other, **{**fields, "meta": meta, "codec": codec}))
    assert differs_in_payload_only(old, new)


def test_time_that_is_no_number_stays_the_same_one_bit_for_bit() -> None:
    head, payload, _ = pack_record(FRAME, b"payload")
    marked = head[:32] + struct.pack("<Q", 0xFFF8_0000_0000_1234) + head[40:60]
    old = marked + struct.pack("<I", zlib.crc32(marked)) + payload
    new = _bare(replace_payload(old, b"other", codec=5))
    assert new[32:40] == old[32:40]
    assert differs_in_payload_only(old, new)


@pytest.mark.parametrize("field", ["stream", "clock", "width", "height", "epoch", "number", "raw_length"])
def test_any_other_field_is_a_difference(field: str) -> None:
    old = _bare(pack_record(FRAME, b"payload", meta=b"{}"))
    assert not differs_in_payload_only(old, _bare(pack_record(FRAME, b"x", meta=b"{}", **{field: 1})))  # type: ignore[arg-type]


def test_other_meta_other_kind_and_no_record_at_all_are_differences() -> None:
    old = _bare(pack_record(FRAME, b"payload", meta=b"{}"))
    for other in (pack_record(FRAME, b"x", meta=b"[]"), pack_record(STREAM, b"x", meta=b"{}"), (b"x",) * 3):
        assert not differs_in_payload_only(old, _bare(other))


def test_payload_that_would_go_above_the_limit_or_into_no_record_is_a_value_error() -> None:
    old = _bare(pack_record(FRAME, b"payload", meta=b"{}"))
    with pytest.raises(ValueError, match="above the limit"):
        replace_payload(old, bytes(MAX_RECORD_BYTES - HEADER_BYTES - 1), codec=0)
    with pytest.raises(ValueError, match="not a record"):
        replace_payload(b"x" * 100, b"", codec=0)
