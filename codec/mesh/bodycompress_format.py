"""The header of a bodycompress file: what it says, and the slot it stands in; bytes and values, no files.

    header      one .xz stream or zstd frame, at the beginning
    metadata    one more, holding one object
    header      once more, as it was when the file was created
    data        msgpack frames one after the other: .xz streams end to end, or one zstd frame
    copy        one more, once the file is closed: header and metadata again (see header_copies)

Our header fills its slot to the last byte and is stored uncompressed, so that whatever changes while
frames are added lies in the last sector of it, which is rewritten in one piece: a power cut leaves the old
sector or the new one. Beyond what bodycompress writes it carries `data_end` (the file size that `length`
speaks of), `closed`, `fps` and `seek` (where some frames begin); the stock reader passes over them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from codec.errors import FormatError, NotOurFileError
from codec.mesh.bodycompress_frames import AS_GIVEN
from codec.mesh.msgpack_arrays import pack
from codec.mesh.stored_streams import stored_xz, stored_zstd
from codec.mesh.vertex_order import VertexOrder, vertex_order

SECTOR_BYTES = 512
SEEK_ENTRIES = 24

COMPRESSIONS = ("xz", "zstd")

_VERSION = (0, 3, 0)
_VERSION_KEY = "__bodycompress_version__"
_KNOWN_VERSIONS = ((0, 2), (0, 3))
_SEEK = struct.Struct("<IHI")  # frame number, then the offset: its upper 16 bits and its lower 32


@dataclass(frozen=True, slots=True)
class SeekPoint:
    """The frame with this number is the first one in the stream that begins at `offset`."""

    frame: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the header says. None: this file does not say it (yet)."""

    length: int | None
    metadata_start: int | None
    data_start: int | None
    data_end: int | None = None
    closed: bool = True
    compression: str = "xz"
    order: VertexOrder = AS_GIVEN
    version: tuple[int, ...] = _VERSION
    fps: float | None = None
    seek: tuple[SeekPoint, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether it was one of our writers that made the file."""
        return self.data_end is not None


def header_slot(header: Header) -> bytes:
    """The whole slot: whole sectors, as many whatever the numbers in it are."""
    stored = stored_xz if header.compression == "xz" else stored_zstd
    filling = 0
    while True:
        slot = stored(packed_header(header, filling))
        if len(slot) % SECTOR_BYTES == 0:
            return slot
        filling += -len(slot) % SECTOR_BYTES


def packed_header(header: Header, filling: int = 0) -> bytes:
    """The header as msgpack bytes, with so many zeros in it."""
    named = header.order.header is None or isinstance(header.order.header, str)
    large = [] if named else [("vertex_order", pack(header.order.header, what="the vertex order"))]
    items = [
        (_VERSION_KEY, pack(list(_VERSION), what="the version")),
        ("compression", pack(header.compression, what="the compression")),
        *([("vertex_order", pack(header.order.header, what="the vertex order"))] if named else []),
        ("metadata_start", _fixed(header.metadata_start)),
        ("data_start", _fixed(header.data_start)),
        ("fps", pack(header.fps, what="the frame rate")),
        ("seek", _bytes(_pack_seek(header.seek))),
        ("length", _fixed(header.length)),
        ("data_end", _fixed(header.data_end)),
        ("closed", pack(header.closed, what="the state")),
    ]
    return _packed_map([*large, ("filling", _bytes(bytes(filling))), *items])


def _packed_map(items: Iterable[tuple[str, bytes]]) -> bytes:
    pairs = [pack(key, what="a name") + value for key, value in items]
    return b"\xde" + len(pairs).to_bytes(2, "big") + b"".join(pairs)


def _fixed(number: int | None) -> bytes:
    """msgpack's longest form, so that a larger number takes no more room."""
    return b"\xc0" if number is None else b"\xcf" + number.to_bytes(8, "big")


def _bytes(data: bytes) -> bytes:
    return b"\xc5" + len(data).to_bytes(2, "big") + data


def _pack_seek(points: tuple[SeekPoint, ...]) -> bytes:
    packed = b"".join(_SEEK.pack(p.frame, p.offset >> 32, p.offset & 0xFFFFFFFF) for p in points)
    return packed.ljust(SEEK_ENTRIES * _SEEK.size, b"\xff")


def _unpack_seek(packed: object) -> tuple[SeekPoint, ...]:
    """Empty for anything that is no such table: it only saves time."""
    if not isinstance(packed, bytes) or len(packed) != SEEK_ENTRIES * _SEEK.size:
        return ()
    points = (
        SeekPoint(frame, high << 32 | low)
        for frame, high, low in _SEEK.iter_unpack(packed)
        if frame != 0xFFFFFFFF
    )
    return tuple(points)


def is_header(value: object) -> bool:
    """Whether the first object of a file is a header; in files of 0.1 it is the metadata."""
    return isinstance(value, dict) and _VERSION_KEY in value


def parse_header(value: object) -> Header:
    """The header out of the first object of a file. Raises NotOurFileError or FormatError."""
    version = value.get(_VERSION_KEY) if isinstance(value, dict) else None
    if not isinstance(value, dict) or not (
        isinstance(version, list) and 2 <= len(version) <= 8 and all(type(n) is int for n in version)
    ):
        raise NotOurFileError("no bodycompress header")
    if tuple(version[:2]) not in _KNOWN_VERSIONS:
        raise NotOurFileError(f"bodycompress version {version[:3]} is not known; 0.1, 0.2 and 0.3 are")
    compression = value.get("compression", "xz")
    if compression not in COMPRESSIONS:
        raise FormatError(f"compression {str(compression)[:20]!r} is not known; xz and zstd are")
    data_start = _count(value, "data_start")
    return Header(
        version=tuple(version),
        compression=compression,
        order=vertex_order(value.get("vertex_order")),
        length=_count(value, "length"),
        metadata_start=_count(value, "metadata_start"),
        data_start=data_start,
        data_end=_count(value, "data_end"),
        closed=value.get("closed", data_start is not None) is True,
        fps=usable_fps(value.get("fps")),
        seek=_unpack_seek(value.get("seek")),
    )


def header_of_01(metadata: object) -> Header:
    """What there is to know of a file of bodycompress 0.1, which has no header."""
    length = None
    for key in ("n_frames", "num_frames", "nframes"):
        value = metadata.get(key) if isinstance(metadata, dict) else None
        if type(value) is int and 0 <= value < 2**62:
            length = value
            break
    return Header(length=length, metadata_start=0, data_start=0, version=(0, 1, 0))


def usable_fps(value: object) -> float | None:
    """A frame rate, or None for what is none."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0.0 < value < 1e9:
        return float(value)
    return None


def _count(fields: Mapping[Any, Any], key: str) -> int | None:
    number = fields.get(key)
    if number is not None and not (type(number) is int and 0 <= number < 2**62):
        raise FormatError(f"the header says {key} {str(number)[:40]}")
    return number
