"""Flat buffers, as far as TensorFlow Lite models need them: tables are written, and read where they lie.

A table begins with the signed way back to its vtable, which lists the places of its fields; texts, vectors
and further tables are referred to by an unsigned way forward. `Writer` lays out parents before what they
refer to, so everything is written front to back; `Table` checks every place against the buffer's length.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from codec.errors import DamagedError

_U16: Final = struct.Struct("<H")
_U32: Final = struct.Struct("<I")
_I32: Final = struct.Struct("<i")

Reference = Callable[["Writer"], int]
"""Something that is written where the writer stands, and gives its place."""
Field = bytes | Reference
"""A number as its little-endian bytes, or what the field refers to"""


class Writer:
    """A buffer that grows from front to back."""

    def __init__(self, reserved: int) -> None:
        self.data = bytearray(reserved)

    def align(self, size: int, *, ahead: int = 0) -> None:
        """Pad, so that what comes `ahead` bytes from here lies at a multiple of `size`."""
        self.data.extend(bytes(-(len(self.data) + ahead) % size))

    def point(self, at: int, target: int) -> None:
        """Refer from the four bytes at `at` to `target`, which lies behind them."""
        _U32.pack_into(self.data, at, target - at)


def table(fields: Mapping[int, Field]) -> Reference:
    """A table with these fields by their numbers in the schema."""

    def write(out: Writer) -> int:
        order = sorted(fields, key=lambda number: -_width(fields[number]))  # wide ones first: no padding
        places, size = {}, 4
        for number in order:
            places[number] = size
            size += _width(fields[number])
        count = max(fields, default=-1) + 1
        out.align(4, ahead=4 + 2 * count)
        vtable = len(out.data)
        slots = [places.get(number, 0) for number in range(count)]
        out.data += struct.pack(f"<HH{count}H", 4 + 2 * count, size, *slots)
        start = len(out.data)
        out.data += _I32.pack(start - vtable) + bytes(size - 4)
        for number, value in fields.items():
            at = start + places[number]
            if isinstance(value, bytes):
                out.data[at : at + len(value)] = value
            else:
                out.point(at, value(out))
        return start

    return write


def _width(value: Field) -> int:
    return len(value) if isinstance(value, bytes) else 4


def string(text: str) -> Reference:
    """A text, which ends in a zero byte that its length does not count."""
    return vector_of_bytes(text.encode() + b"\0", length=len(text.encode()))


def vector_of_bytes(data: bytes, *, length: int | None = None, align: int = 4) -> Reference:
    """Bytes, the first of which lies at a multiple of `align`."""

    def write(out: Writer) -> int:
        out.align(align, ahead=4)
        start = len(out.data)
        out.data += _U32.pack(len(data) if length is None else length) + data
        return start

    return write


def vector_of_floats(values: Sequence[float]) -> Reference:
    return vector_of_bytes(struct.pack(f"<{len(values)}f", *values), length=len(values))


def vector_of(items: Sequence[Reference]) -> Reference:
    """A vector of tables."""

    def write(out: Writer) -> int:
        out.align(4)
        start = len(out.data)
        out.data += _U32.pack(len(items)) + bytes(4 * len(items))
        for index, item in enumerate(items):
            out.point(start + 4 + 4 * index, item(out))
        return start

    return write


def finished(root: Reference, identifier: bytes) -> bytes:
    """A whole buffer around its root table."""
    out = Writer(8)
    out.data[4:8] = identifier
    out.point(0, root(out))
    return bytes(out.data)


class Table:
    """A table that lies in a buffer. Raises DamagedError where the buffer is too short for what it says."""

    def __init__(self, data: bytes, start: int) -> None:
        self.data, self.start = data, start
        self._vtable = start - self._number(_I32, start)
        self._vtable_size = self._number(_U16, self._vtable)

    @classmethod
    def root(cls, data: bytes, identifier: bytes) -> Table:
        """The root of a buffer of that kind."""
        if data[4:8] != identifier:
            raise DamagedError(f"not a flat buffer of kind {identifier.decode()}: {data[4:8]!r}")
        return cls(data, cls._reference(data, 0))

    def place(self, field: int) -> int | None:
        """Where a field's value lies; None where the table has none, which means its default."""
        slot = 4 + 2 * field
        if slot + 2 > self._vtable_size:
            return None
        offset = self._number(_U16, self._vtable + slot)
        return self.start + offset if offset else None

    def target(self, field: int) -> int | None:
        """What a field refers to."""
        at = self.place(field)
        return None if at is None else self._reference(self.data, at)

    def targets(self, field: int) -> list[int]:
        """What the elements of a vector of tables refer to; [] where there is none."""
        start = self.target(field)
        if start is None:
            return []
        count = self._number(_U32, start)
        if start + 4 + 4 * count > len(self.data):
            raise DamagedError(f"a vector at byte {start} has {count} elements, more than there are bytes")
        return [self._reference(self.data, start + 4 + 4 * index) for index in range(count)]

    def bytes_of(self, field: int) -> bytes:
        """A vector of bytes, or a text; b"" where there is none."""
        start = self.target(field)
        if start is None:
            return b""
        size = self._number(_U32, start)
        if start + 4 + size > len(self.data):
            raise DamagedError(f"a vector at byte {start} has {size} bytes, more than there are")
        return self.data[start + 4 : start + 4 + size]

    @staticmethod
    def _reference(data: bytes, at: int) -> int:
        if not 0 <= at <= len(data) - 4:
            raise DamagedError(f"a reference at byte {at} lies outside of the {len(data)} bytes")
        target = at + int(_U32.unpack_from(data, at)[0])
        if target > len(data) - 4:
            raise DamagedError(f"a reference at byte {at} leads outside of the {len(data)} bytes")
        return target

    def _number(self, kind: struct.Struct, at: int) -> int:
        if not 0 <= at <= len(self.data) - kind.size:
            raise DamagedError(f"a number at byte {at} lies outside of the {len(self.data)} bytes")
        return int(kind.unpack_from(self.data, at)[0])
