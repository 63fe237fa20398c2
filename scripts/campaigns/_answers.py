"""What a file answers when it is asked for its frames, so that two answers can be held against each other.

An answer is a frame's name (stream, epoch and number; of meshes their number) and a CRC-32 of all that is
known of it: its pixels as they decode, times, size, meta. What a reader refuses with one of our errors is
left out; any other exception goes through.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from capture.decoding import decode
from capture.recording import Recording
from codec.errors import CodecError, DamagedError, FormatError
from codec.mesh import MeshReader
from codec.records import Record
from codec.records.layout import CODEC_JPEG

Answer = tuple[tuple[int, ...], int]
Answers = tuple[Answer, ...]

_KNOWN_MAX = 4096
_known: dict[tuple[int, bytes], int] = {}


def record_answers(path: Path) -> tuple[Answers, int]:
    """The frames of a record file (or of a folder of them) in the order they come, and how many places of
    it are said to be damaged. Raises NightrigError."""
    found = []
    with Recording(path) as recording:
        for stream in recording.streams.values():
            for index in range(len(stream)):
                try:
                    record = stream.record(index)
                    found.append(answer_of(record))
                except (DamagedError, CodecError) as error:
                    stream.note_damage(index, str(error))
        return tuple(found), len(recording.damage)


def answer_of(record: Record) -> Answer:
    """Raises CodecError."""
    header = record.header
    facts = (header.codec, header.clock, header.width, header.height, header.monotonic_ns, header.raw_length)
    told = zlib.crc32(repr((facts, header.device_time_s)).encode(), zlib.crc32(record.meta, _pixels(record)))
    return (header.stream, header.epoch, header.number), told


def _pixels(record: Record) -> int:
    """A payload that was seen before decodes to what it did before: codecs have no memory."""
    key = record.header.codec, record.payload
    if key not in _known:
        if len(_known) >= _KNOWN_MAX:
            _known.clear()
        pixels: Any = record.payload
        if record.header.codec != CODEC_JPEG:
            pixels = decode(record.header, record.payload)
        _known[key] = zlib.crc32(np.ascontiguousarray(pixels).data if len(pixels) else b"")
    return _known[key]


def mesh_answers(path: Path) -> Answers:
    """The frames of a mesh file. Raises NightrigError."""
    found = []
    with MeshReader(path) as reader:
        frames = iter(reader)
        while True:
            try:
                frame = next(frames)
            except StopIteration:
                return tuple(found)
            except FormatError:
                return tuple(found)
            number = frame.get("frame_number")
            found.append(((int(number) if isinstance(number, int) else -1,), zlib.crc32(_told(frame))))


def _told(value: Any) -> bytes:
    """All of a frame, of whatever it is made; NaN is like itself."""
    if isinstance(value, np.ndarray | np.generic):
        return repr((str(value.dtype), np.shape(value))).encode() + value.tobytes()
    if isinstance(value, dict):
        return b"{" + b",".join(repr(key).encode() + _told(each) for key, each in value.items()) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(_told, value)) + b"]"
    return repr(value).encode()
