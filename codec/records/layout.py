"""How a record lies in a file: the 64-byte header, its kinds and its checks. Bytes only.

    u32 length | magic "NREC" | kind stream codec clock (u8 each) | u32 width | u32 height | u32 epoch
    u64 number | f64 device_time_s | i64 monotonic_ns | u32 meta_length | u32 raw_length
    u32 payload_crc | u32 header_crc                            64 bytes, little-endian
    payload (length - 60 - meta_length bytes) | meta (meta_length bytes of UTF-8 JSON)

`length` counts what follows it. header_crc covers the 60 bytes before it, so that a scan can trust the
length and step over the payload; payload_crc covers payload and meta. docs/FORMAT.md says the rest.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

MAGIC = b"NREC"
FORMAT_NAME = "nightrig-records"
FORMAT_VERSION = 1

# Record kinds.
FILE, STREAM, FRAME, GAP, CLOCK, INDEX, END, MAP, MESH_HEAD, MESH_MODEL, MESHES = range(1, 12)
KIND_NAMES = {
    FILE: "file",
    STREAM: "stream",
    FRAME: "frame",
    GAP: "gap",
    CLOCK: "clock",
    INDEX: "index",
    END: "end",
    MAP: "map",
    MESH_HEAD: "mesh head",
    MESH_MODEL: "mesh model",
    MESHES: "meshes",
}

# Payloads of frames that are not depth images; depth codecs have the ids 0 to 15.
CODEC_JPEG = 16
CODEC_F32 = 17

# Clock domains of device_time_s, by their number in the header.
CLOCKS = ("", "hardware", "system", "global", "monotonic", "media")

_HEADER = struct.Struct("<I4sBBBBIIIQdqIII")
_CRC = struct.Struct("<I")
_U32 = struct.Struct("<I")
_CODEC_AT, _PAYLOAD_CRC_AT = 10, 56
HEADER_BYTES = _HEADER.size + _CRC.size
LENGTH_BYTES = 4
MAX_RECORD_BYTES = 256 << 20  # a reader allocates no more than this for one record, whatever it claims

ENTRY = np.dtype(
    [
        ("offset", "<u8"),
        ("number", "<u8"),
        ("monotonic_ns", "<i8"),
        ("device_time_s", "<f8"),
        ("length", "<u4"),
        ("epoch", "<u4"),
        ("raw_length", "<u4"),
        ("kind", "u1"),
        ("stream", "u1"),
        ("codec", "u1"),
        ("clock", "u1"),
    ]
)
"""One record in an index: where it begins, how long it is as a whole, and what its header says."""

END_PAYLOAD = struct.Struct("<QQQ")  # offset of the index, records before it, frames among them
END_BYTES = HEADER_BYTES + END_PAYLOAD.size


@dataclass(frozen=True, slots=True)
class Header:
    """A record's header, decoded."""

    kind: int
    stream: int
    codec: int
    clock: int
    width: int
    height: int
    epoch: int
    number: int
    device_time_s: float
    monotonic_ns: int
    meta_length: int
    raw_length: int
    payload_crc: int
    length: int

    @property
    def total_bytes(self) -> int:
        """The whole record on disk, its length field included."""
        return self.length + LENGTH_BYTES

    @property
    def payload_length(self) -> int:
        """Bytes of the payload, without the meta behind it."""
        return self.total_bytes - HEADER_BYTES - self.meta_length


@dataclass(frozen=True, slots=True)
class Record:
    """A whole record, its payload checked against its CRC."""

    header: Header
    payload: bytes
    meta: bytes
    offset: int

    def json(self) -> dict[str, Any]:
        """The payload of a file, stream, gap or clock record. Raises ValueError where it is none."""
        try:
            value = json.loads(self.payload)
        except RecursionError as error:
            raise ValueError("JSON nested too deeply") from error
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
        return value


def pack_record(
    kind: int,
    payload: bytes,
    *,
    stream: int = 0,
    codec: int = 0,
    clock: int = 0,
    width: int = 0,
    height: int = 0,
    epoch: int = 0,
    number: int = 0,
    device_time_s: float | None = None,
    monotonic_ns: int = 0,
    raw_length: int = 0,
    meta: bytes = b"",
) -> tuple[bytes, bytes, bytes]:
    """A record ready to be appended: header, payload, meta. A pure function: any thread may call it.

    Raises ValueError for a record above the limit, and for numbers that the header has no room for.
    """
    length = HEADER_BYTES - LENGTH_BYTES + len(payload) + len(meta)
    if length + LENGTH_BYTES > MAX_RECORD_BYTES:
        raise ValueError(f"a record of {length} bytes is above the limit of {MAX_RECORD_BYTES}")
    try:
        head = _HEADER.pack(
            length,
            MAGIC,
            kind,
            stream,
            codec,
            clock,
            width,
            height,
            epoch,
            number,
            float("nan") if device_time_s is None else device_time_s,
            monotonic_ns,
            len(meta),
            raw_length,
            zlib.crc32(meta, zlib.crc32(payload)),
        )
    except struct.error as error:
        raise ValueError(f"record {number} of stream {stream} does not fit its header: {error}") from error
    return head + _CRC.pack(zlib.crc32(head)), payload, meta


def pack_json(kind: int, value: dict[str, Any], **fields: Any) -> tuple[bytes, bytes, bytes]:
    """A record whose payload is a JSON object; `fields` as in pack_record."""
    return pack_record(kind, json.dumps(value, separators=(",", ":")).encode(), **fields)


def pack_index(entries: bytes, *, recompressed_to: int | None) -> tuple[bytes, bytes, bytes]:
    """The index record. `recompressed_to` is the depth codec that all depth frames were offered to."""
    number = 0 if recompressed_to is None else 1 + recompressed_to
    return pack_record(INDEX, entries, number=number, raw_length=len(entries))


def replace_payload(record: bytes, payload: bytes, *, codec: int) -> tuple[bytes, bytes, bytes]:
    """The same whole record with another payload: header, payload, meta. Every other field stays as it is,
    bit for bit. `record` must be whole and good. Raises ValueError for a record above the limit.
    """
    old = unpack_header(record)
    if old is None:
        raise ValueError("these bytes are not a record")
    meta = record[HEADER_BYTES + old.payload_length :]
    length = HEADER_BYTES - LENGTH_BYTES + len(payload) + len(meta)
    if length + LENGTH_BYTES > MAX_RECORD_BYTES:
        raise ValueError(f"a record of {length} bytes is above the limit of {MAX_RECORD_BYTES}")
    head = bytearray(record[: _HEADER.size])
    _U32.pack_into(head, 0, length)
    head[_CODEC_AT] = codec
    _U32.pack_into(head, _PAYLOAD_CRC_AT, zlib.crc32(meta, zlib.crc32(payload)))
    return bytes(head) + _CRC.pack(zlib.crc32(head)), payload, meta


def differs_in_payload_only(one: bytes, other: bytes) -> bool:
    """Whether two whole records have the same meta and the same header, but for the payload's codec, length
    and CRC. Looks at bytes, so that a NaN is like itself."""
    first, second = unpack_header(one), unpack_header(other)
    if first is None or second is None:
        return False
    metas = (one[len(one) - first.meta_length :], other[len(other) - second.meta_length :])
    before, after = slice(LENGTH_BYTES, _CODEC_AT), slice(_CODEC_AT + 1, _PAYLOAD_CRC_AT)
    return metas[0] == metas[1] and one[before] == other[before] and one[after] == other[after]


def unpack_header(data: bytes | memoryview) -> Header | None:
    """The header in the first 64 bytes, or None where they are not one (or a hostile one)."""
    if len(data) < HEADER_BYTES:
        return None
    fields = _HEADER.unpack_from(data)
    length, magic, kind, stream, codec, clock, width, height, epoch, number = fields[:10]
    device_time_s, monotonic_ns, meta_length, raw_length, payload_crc = fields[10:]
    if magic != MAGIC or zlib.crc32(data[: _HEADER.size]) != _CRC.unpack_from(data, _HEADER.size)[0]:
        return None
    if not HEADER_BYTES - LENGTH_BYTES + meta_length <= length <= MAX_RECORD_BYTES - LENGTH_BYTES:
        return None
    return Header(
        kind,
        stream,
        codec,
        clock,
        width,
        height,
        epoch,
        number,
        device_time_s,
        monotonic_ns,
        meta_length,
        raw_length,
        payload_crc,
        length,
    )


def entry_tuple(
    header: Header, offset: int
) -> tuple[int, int, int, float, int, int, int, int, int, int, int]:
    """One ENTRY, as np.array(..., dtype=ENTRY) takes it."""
    return (
        offset,
        header.number,
        header.monotonic_ns,
        header.device_time_s,
        header.total_bytes,
        header.epoch,
        header.raw_length,
        header.kind,
        header.stream,
        header.codec,
        header.clock,
    )
