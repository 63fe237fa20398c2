"""Record files for tests, with known content, and what comes back from them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from codec.errors import DamagedError
from codec.records import RecordFile, RecordWriter
from codec.records import writer as writer_module
from codec.records.layout import FILE, FRAME, HEADER_BYTES, pack_record, unpack_header

DEPTH = {"name": "depth", "pixel_format": "z16", "width": 4, "height": 2, "fps": 30.0, "depth_scale_m": 0.001}
COLOR = {"name": "color", "pixel_format": "jpeg", "width": 8, "height": 4, "fps": 30.0}
BOOT_ID = "00000000-0000-4000-8000-000000000000"


class Kept(NamedTuple):
    """Everything of a frame that a file has to give back."""

    stream: int
    epoch: int
    number: int
    monotonic_ns: int
    payload: bytes
    meta: bytes


def frame_payload(number: int, stream: int, size: int = 40) -> bytes:
    """Bytes that belong to this frame and no other."""
    return b"".join(f"{number}/{stream}/{i};".encode() for i in range(size // 8))


def append_frame(writer: RecordWriter, number: int, stream: int = 0, **fields: Any) -> Kept:
    """Append a frame that is known again later."""
    kept = Kept(
        stream=stream,
        epoch=fields.pop("epoch", 1),
        number=number,
        monotonic_ns=1_000_000_000 + number * 33_333_333,
        payload=fields.pop("payload", frame_payload(number, stream)),
        meta=fields.pop("meta", b'{"exposure":%d}' % number if number % 3 == 0 else b""),
    )
    writer.append(
        pack_record(
            FRAME,
            kept.payload,
            stream=stream,
            codec=16,
            clock=1,
            width=8,
            height=4,
            epoch=kept.epoch,
            number=number,
            device_time_s=number / 30,
            monotonic_ns=kept.monotonic_ns,
            raw_length=100,
            meta=kept.meta,
            **fields,
        )
    )
    return kept


def write_file(path: Path, *, frames: int = 20, seal: bool = True, **fields: Any) -> list[Kept]:
    """Two streams in turn, with a gap and a clock record among the frames."""
    writer = RecordWriter(path)
    writer.stream(0, DEPTH, epoch=1)
    writer.stream(1, COLOR, epoch=1)
    kept = []
    for number in range(frames):
        kept.append(append_frame(writer, number, number % 2, **fields))
        if number == 4:
            gap = {"reason": "camera", "first": 2, "last": 2, "count": 1}
            writer.gap(0, {**gap, "start_ns": 5, "end_ns": 6, "estimated": False}, epoch=1)
        if number == 6:
            writer.clock({"written": [4, 3]})
    if seal:
        writer.seal()
    else:
        writer.close()
    return kept


def frozen_clocks(patch: pytest.MonkeyPatch) -> None:
    """Makes files come out the same, byte for byte, wherever and whenever they are written."""

    class Clocks:
        def __init__(self) -> None:
            self._ticks = itertools.count(1)

        def monotonic_ns(self) -> int:
            return next(self._ticks) * 1_000_000

        def time_ns(self) -> int:
            return 1_735_689_600_000_000_000 + next(self._ticks) * 1_000_000

    patch.setattr(writer_module, "time", Clocks())
    patch.setattr(writer_module, "boot_id", lambda: BOOT_ID)


def read_frames(file: RecordFile) -> list[Kept]:
    """The frames that can be read; those that cannot are left out."""
    found = []
    for index in file.of_kind(FRAME):
        try:
            record = file.read(int(index))
        except DamagedError:
            continue
        header = record.header
        found.append(
            Kept(header.stream, header.epoch, header.number, header.monotonic_ns, record.payload, record.meta)
        )
    return found


def record_ends(path: Path) -> list[tuple[int, int]]:
    """(kind, end) of every record in a whole file."""
    data, at, ends = path.read_bytes(), 0, []
    while at < len(data):
        header = unpack_header(data[at : at + HEADER_BYTES])
        assert header is not None
        at += header.total_bytes
        ends.append((header.kind, at))
    assert ends[0][0] == FILE
    return ends
