"""msgpack with NumPy arrays, laid out byte for byte as msgpack-numpy lays them out, without its pickle.

Owns the mapping between Python values and msgpack bytes in mesh files: plain values, lists, maps with
str or int keys, and arrays of numbers, times and fixed-length strings. Arrays of Python objects, which
msgpack-numpy stores as a pickle that runs code when it is loaded, are refused in both directions.

Bounds: what pack() accepts, make_unpacker() with the default limits reads back. Knows nothing of files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from codec.errors import CodecError, FormatError

# 250 people of 6890 vertices; the stock reader stops at 100 MiB.
MAX_OBJECT_BYTES = 64 << 20
# Lists and maps cost many times their bytes once they are Python objects, so their entries are counted.
MAX_ENTRIES = 1 << 20
MAX_DEPTH = 64

# Bytes given to the unpacker at a time: they come on top of the object it is busy with.
FEED_BYTES = 1 << 20

_KEYS_TOLD = 6  # of those that lead to an array, in a message

_ARRAY_KINDS = "biufcSUMm"
_ARRAY_TYPE = re.compile(r"[<>|=](?:[biufc]\d{1,2}|[SU]\d{1,9}|[Mm]8(?:\[\w+\])?)")

Array = npt.NDArray[Any]


def pack(value: object, *, what: str) -> bytes:
    """`value` as msgpack bytes. Raises CodecError, which calls the value `what`."""
    return pack_counted(value, what=what)[0]


def pack_counted(value: object, *, what: str) -> tuple[bytes, int]:
    """`value` as msgpack bytes, and how many list and map entries of MAX_ENTRIES it has."""
    flattener = _Flattener(what)
    try:
        packed = msgpack.packb(flattener.flatten(value, what, 0), use_bin_type=True)
    except (ValueError, OverflowError, TypeError) as error:
        raise CodecError(f"{what} cannot be stored: {error}") from error
    if len(packed) > MAX_OBJECT_BYTES:
        raise CodecError(
            f"{what} takes {len(packed)} bytes, the most is {MAX_OBJECT_BYTES}: store fewer or smaller arrays"
        )
    return bytes(packed), flattener.entries


class _Flattener:
    """Turns arrays into the maps msgpack-numpy uses, and finds what could not be read back."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.entries = 0

    def flatten(self, value: object, where: str, depth: int) -> object:
        # np.float64, np.str_ and np.bytes_ are Python's own kinds and stay such, as in msgpack-numpy.
        if value is None or isinstance(value, bool | int | float | str | bytes):
            return value
        if isinstance(value, np.ndarray):
            return self._array(value, where)
        if isinstance(value, np.generic):
            self._check_kind(value.dtype, where)
            return {b"nd": False, b"type": value.dtype.str, b"data": value.tobytes()}
        if isinstance(value, complex):
            return {b"complex": True, b"data": repr(value)}
        if isinstance(value, dict | list | tuple):
            return self._container(value, where, depth)
        raise CodecError(
            f"{where} is a {type(value).__name__}, which cannot be stored; use numbers or arrays"
        )

    def _container(
        self, value: dict[Any, Any] | list[Any] | tuple[Any, ...], where: str, depth: int
    ) -> object:
        self.entries += len(value)
        if depth >= MAX_DEPTH or self.entries > MAX_ENTRIES:
            raise CodecError(
                f"{where}: {self._what} is nested deeper than {MAX_DEPTH} or has more than {MAX_ENTRIES} "
                "entries; use arrays"
            )
        if not isinstance(value, dict):
            return [self.flatten(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
        for key in value:
            # Other keys would be written, but make the whole file unreadable for the stock reader.
            if type(key) not in (str, int):
                raise CodecError(f"{where} has the key {key!r}; only str and int keys can be read back")
        return {key: self.flatten(item, f"{where}[{key!r}]", depth + 1) for key, item in value.items()}

    def _array(self, value: Array, where: str) -> dict[bytes, object]:
        self._check_kind(value.dtype, where)
        return {
            b"nd": True,
            b"type": value.dtype.str,
            b"kind": b"",
            b"shape": value.shape,
            b"data": value.tobytes(),
        }

    @staticmethod
    def _check_kind(dtype: np.dtype[Any], where: str) -> None:
        if dtype.kind not in _ARRAY_KINDS or not dtype.itemsize:
            raise CodecError(f"{where} is an array of {dtype}, which cannot be stored; use numbers")


class ObjectStream:
    """Python values out of msgpack bytes that arrive in pieces; refuses what is too big or not plain.

    Peak memory is a small multiple of `max_object_bytes`.
    """

    def __init__(self, *, max_object_bytes: int = MAX_OBJECT_BYTES) -> None:
        self._max_object_bytes = max_object_bytes
        self._entries = 0
        self._fed_bytes = 0
        self._done_bytes = 0
        self._refused = ""  # why an array is not read; which one is known when the whole object is there
        self._unpacker = msgpack.Unpacker(
            None,
            raw=False,
            strict_map_key=False,
            object_hook=self._on_map,
            list_hook=self._on_list,
            max_buffer_size=max_object_bytes + FEED_BYTES,
            max_array_len=MAX_ENTRIES,
            max_map_len=MAX_ENTRIES,
        )

    def feed(self, data: bytes) -> Iterator[object]:
        """The objects that these bytes complete. Raises FormatError."""
        for start in range(0, len(data), FEED_BYTES):
            part = data[start : start + FEED_BYTES]
            self._fed_bytes += len(part)
            try:
                self._unpacker.feed(part)
            except msgpack.BufferFull:
                raise FormatError(
                    f"an object takes more than {self._max_object_bytes} bytes; allow more if that is right"
                ) from None
            yield from self._ready()

    @property
    def pending_bytes(self) -> int:
        """Bytes fed that no object has been made of yet."""
        return self._fed_bytes - self._done_bytes

    def _ready(self) -> Iterator[object]:
        while True:
            try:
                value = self._unpacker.unpack()
            except msgpack.OutOfData:
                return
            except (msgpack.UnpackException, ValueError, TypeError, OverflowError, MemoryError) as error:
                why = "nested too deeply" if isinstance(error, msgpack.StackError) else str(error)
                raise FormatError(f"not msgpack that can be read: {why or type(error).__name__}") from error
            self._entries = 0
            self._done_bytes = self._unpacker.tell()
            if self._refused:
                why, self._refused = self._refused, ""
                raise FormatError(_refusal(value) or why)
            yield value

    def _on_list(self, value: list[object]) -> list[object]:
        self._count(len(value))
        return value

    def _on_map(self, value: dict[Any, Any]) -> object:
        self._count(len(value))
        if b"nd" in value:
            try:
                return _read_array(value)
            except FormatError as error:
                self._refused = str(error)
                return _Refused(self._refused)
        if b"complex" in value:
            try:
                return complex(value[b"data"])
            except (KeyError, TypeError, ValueError) as error:
                raise FormatError("a complex number cannot be read") from error
        return value

    def _count(self, entries: int) -> None:
        self._entries += entries
        if self._entries > MAX_ENTRIES:
            raise FormatError(f"an object has more than {MAX_ENTRIES} list and map entries")


@dataclass(slots=True)
class _Refused:
    """In place of an array that is not read."""

    why: str


def _refusal(value: object) -> str:
    """Where an array lies that was not read, and why; "" where another value has taken its place since (a key
    that comes twice). No recursion: nesting is somebody else's."""
    left: list[tuple[tuple[Any, ...], object]] = [((), value)]  # the way there as linked (before, key)
    while left:
        way, item = left.pop()
        if isinstance(item, _Refused):
            where = _spelled(way)
            return f"{where}: {item.why}" if where else item.why
        if isinstance(item, dict):
            left += [((way, key), child) for key, child in item.items()]
        elif isinstance(item, list):
            left += [((way, index), child) for index, child in enumerate(item)]
    return ""


def _spelled(way: tuple[Any, ...]) -> str:
    """The last few keys of a way, as Python writes them."""
    keys: list[object] = []
    while way and len(keys) < _KEYS_TOLD:
        way, key = way
        keys.append(key[:40] if isinstance(key, str) else key)
    return ("..." if way else "") + "".join(f"[{key!r}]" for key in reversed(keys))


def _read_array(value: dict[Any, Any]) -> object:
    if value.get(b"kind", b"") == b"O":
        raise FormatError("an array of Python objects (a pickle, which could run any code) is not opened")
    kind, data, shape = value.get(b"type"), value.get(b"data"), value.get(b"shape", [])
    if not (isinstance(kind, str) and isinstance(data, bytes) and _ARRAY_TYPE.fullmatch(kind)):
        raise FormatError(
            f"an array of type {str(kind)[:40]!r} is not supported; numbers, times and text are"
        )
    if not (isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)):
        raise FormatError(f"an array has the shape {str(shape)[:40]}")
    try:
        dtype = np.dtype(kind)
        # NumPy makes a byte of items that have none, so that any number of them would come out of nothing.
        if math.prod(shape) * dtype.itemsize != len(data) or not dtype.itemsize:
            raise FormatError(f"an array of {len(data)} bytes does not fill its shape {str(shape)[:40]}")
        # A copy is writable, aligned, and lets go of the bytes.
        array = np.ndarray(shape=shape, dtype=dtype, buffer=data).copy()
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        raise FormatError(f"an array cannot be read: {error}") from error
    return array if value[b"nd"] is True else array[()]
