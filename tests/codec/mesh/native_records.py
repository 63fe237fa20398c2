"""Native mesh files record by record, for tests: taken apart, put together, made from nothing."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgpack

from codec.records import RecordFile
from codec.records.layout import FILE, FORMAT_NAME, MESH_HEAD, MESHES, pack_json, pack_record
from codec.records.writer import RecordWriter

HEAD = struct.Struct("<BBHIIIIdQ5I")
FAST, AFFINE = 1, 2


@dataclass(frozen=True)
class Piece:
    """One record, with right checksums whatever is in it."""

    kind: int
    payload: bytes
    number: int = 0
    raw_length: int = 0
    monotonic_ns: int = 0


def pieces_of(path: Path) -> list[Piece]:
    with RecordFile(path) as file:
        records = [file.read(n) for n in range(len(file))]
    return [
        Piece(r.header.kind, r.payload, r.header.number, r.header.raw_length, r.header.monotonic_ns)
        for r in records
    ]


def write_pieces(path: Path, pieces: list[Piece], *, sealed: bool = True) -> Path:
    path.unlink(missing_ok=True)
    writer = RecordWriter(path, is_copy=True)
    for each in pieces:
        fields = {"number": each.number, "raw_length": each.raw_length, "monotonic_ns": each.monotonic_ns}
        writer.append(pack_record(each.kind, each.payload, **fields))
    writer.seal() if sealed else writer.close()
    return path


def with_payload(piece: Piece, **changes: Any) -> Piece:
    return replace(piece, **changes)


def file_around(path: Path, *segments: bytes, frames: int = 1) -> Path:
    """A whole file of these segments, which claim to have so many frames each."""
    info = pack_json(FILE, {"format": FORMAT_NAME, "version": 1, "content": "meshes"})
    head = zlib.compress(msgpack.packb({"metadata": None, "quantization_mm": 0.5, "fps": 30.0}))
    own = [Piece(MESHES, segment, n * frames, frames) for n, segment in enumerate(segments)]
    return write_pieces(path, [Piece(FILE, info[1]), Piece(MESH_HEAD, head), *own])


def fast_points(symbols: bytes) -> bytes:
    """A stream of the fast way without escapes."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = compressor.compress(symbols) + compressor.flush()
    escapes = zlib.compress(b"")
    return struct.pack("<III", len(packed), 0, len(escapes)) + packed + escapes


def segment(
    *,
    way: int = FAST,
    arrays: int = 1,
    frames: int = 1,
    meshes: int = 0,
    vertices: int = 5,
    joints: int = 0,
    steps_per_mm: float = 2.0,
    model: int = 0,
    shape: tuple[int, ...] = (0,),
    states: bytes = b"",
    before: bytes | None = None,
    shifts: bytes = b"",
    entries: bytes | None = None,
    points: bytes | None = None,
) -> bytes:
    """A segment; everything that is not given is right for meshes of zeros without meshes before them."""
    zeros = bytes(3 * meshes * (vertices + joints)) if points is None else b""
    people = struct.pack("<I", len(states)) + states + (bytes(8 * meshes) if before is None else before)
    parts = [
        zlib.compress(struct.pack(f"<B{len(shape)}I", len(shape), *shape) * frames),
        zlib.compress(people, 9),
        shifts,
        zlib.compress(msgpack.packb([{}] * frames) if entries is None else entries),
        fast_points(zeros) if points is None else points,
    ]
    fields = (way, arrays, 0, frames, meshes, vertices, joints, steps_per_mm, model, *map(len, parts))
    return HEAD.pack(*fields) + b"".join(parts)
