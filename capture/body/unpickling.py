"""Pickles of body models and pose priors, read as data: nothing that stands in them is ever run.

Python's own unpickler calls what a file tells it to. This one is a small interpreter of pickle's opcodes
(protocols 0 to 5, strings of Python 2 as latin1) that imports nothing and calls nothing of what a file
names: arrays, sparse matrices and chumpy's objects have stand-ins (`_pickle_stand_ins`), any other name ends
the reading. Every length is held against what is left of the file before memory is taken, and what is made
out of values that are named repeatedly is bounded: memory stays below a small multiple of the file's size.

Knows nothing of what the values mean.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from capture.body._files import opened
from capture.body._pickle_stand_ins import (
    STAND_INS,
    ArrayShell,
    ArrayType,
    Budget,
    Instance,
    Name,
    SparseColumns,
    Unopened,
    checked_key,
    new_instance,
    plain,
)
from codec.errors import FormatError

__all__ = ["SparseColumns", "Unopened", "load_objects", "load_pickle"]

# Models take a few thousand steps, as their numbers stand in a few long strings.
MAX_STEPS: Final = 1 << 18
# Detections of an hour have two arrays for each picture, of some twenty steps.
MAX_OBJECT_STEPS: Final = 1 << 22
# A string that spells its bytes takes many times its length in being read.
_MAX_SPELLED_BYTES: Final = 16 << 20
_MAX_PROTOCOL: Final = 5
_MAX_DIGITS: Final = 40
_MAX_NAME: Final = 200

_ESCAPE: Final = re.compile(rb"\\(x[0-9a-fA-F]{2}|[nrt\\'\"])")
_ESCAPED: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def load_objects(file: BinaryIO, size_bytes: int, what: str) -> object:
    """The array of objects that stands behind the header of a .npy file of `size_bytes`.

    Lists in lists, as deep as it has dimensions, of what `load_pickle` reads. Raises FormatError, which
    begins with `what`.
    """
    machine = _Machine(file, size_bytes, MAX_OBJECT_STEPS)
    return _read(machine, what, opens_objects=True)


def load_pickle(path: str | os.PathLike[str]) -> object:
    """The value in a pickle: dicts, lists, tuples, sets, numbers, text, bytes and NumPy arrays (read-only).

    A sparse matrix of SciPy is a `SparseColumns`, an array of Python objects an `Unopened`, an object of
    chumpy the array it holds. Raises FormatError for a file that is damaged, too large, no pickle or one that
    names anything else, and StorageError where it cannot be read.
    """
    with opened(path) as (file, size_bytes):
        return _read(_Machine(file, size_bytes, MAX_STEPS), str(Path(path)), opens_objects=False)


def _read(machine: _Machine, what: str, *, opens_objects: bool) -> object:
    try:
        return plain(machine.run(), machine.budget, opens_objects=opens_objects)
    except FormatError as error:
        raise FormatError(f"{what} is refused at byte {machine.at}: {error}") from None
    except (ValueError, TypeError, LookupError, OverflowError, MemoryError, struct.error) as error:
        why = " ".join(str(error).split())[:100]
        raise FormatError(
            f"{what} is no pickle that can be read: damaged at byte {machine.at} ({why})"
        ) from error


class _Machine:
    """Pickle's stack machine. `at` is where the step began that is being taken."""

    def __init__(self, file: BinaryIO, size_bytes: int, most_steps: int) -> None:
        self._file = file
        self._most_steps = most_steps
        self._hashed = 0
        self._size = size_bytes
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}
        self.at = 0
        # Twice: each string may become bytes on its way into an array, and each array be selected from.
        self.budget = Budget(size_bytes=2 * size_bytes + 4096, entries=most_steps)

    def run(self) -> object:
        for _ in range(self._most_steps):
            self.at = self._file.tell()
            opcode = self._bytes(1)
            if opcode == b".":
                return self.pop()
            step = _STEPS.get(opcode)
            if step is None:
                raise FormatError(f"it is no pickle of a model ({opcode!r} is no step that one takes)")
            step(self)
        raise FormatError(f"it takes more than {self._most_steps} steps, which no model does")

    # What comes out of the file.

    def _left(self) -> int:
        return self._size - self._file.tell()

    def _bytes(self, count: int) -> bytes:
        if not 0 <= count <= self._left():
            raise FormatError(f"{count} bytes are due where {self._left()} are left")
        return self._file.read(count)

    def number(self, layout: str) -> int:
        return int(struct.unpack(layout, self._bytes(struct.calcsize(layout)))[0])

    def _line(self) -> bytes:
        line = self._file.readline(_MAX_SPELLED_BYTES)
        if not line.endswith(b"\n"):
            raise FormatError(f"a line has no end, or more than {_MAX_SPELLED_BYTES >> 20} MB")
        return line[:-1]

    def _short_line(self) -> str:
        line = self._file.readline(_MAX_NAME + 1)
        if not line.endswith(b"\n"):
            raise FormatError("a name or number is longer than any of a model")
        return line[:-1].decode("ascii")

    def _whole_number(self, text: str) -> int:
        if len(text) > _MAX_DIGITS:
            raise FormatError("a number has more digits than any of a model")
        return int(text)

    def _counted(self, layout: str) -> bytes:
        return self._bytes(self.number(layout))

    # What goes on the stack and comes off it.

    def push(self, value: object) -> None:
        # Who writes pickles puts what belongs together a thousand at a time.
        if len(self._stack) > MAX_STEPS:
            raise FormatError(f"more than {MAX_STEPS} values wait to be put somewhere")
        self._stack.append(value)

    def pop(self) -> object:
        return self._stack.pop()

    def _top(self) -> object:
        return self._stack[-1]

    def since_mark(self) -> list[object]:
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def mark(self) -> None:
        self._marks.append(len(self._stack))

    def tuple_of(self, count: int) -> None:
        values = self._stack[-count:]
        if len(values) < count:
            raise FormatError("a tuple of more values than there are")
        del self._stack[-count:]
        self.push(tuple(values))

    def append(self, values: list[object]) -> None:
        target = self._top()
        if not isinstance(target, list):
            raise FormatError(f"values are appended to a {type(target).__name__}")
        target.extend(values)

    def set_items(self, values: list[object]) -> None:
        target = self._top()
        if not isinstance(target, dict) or len(values) % 2:
            raise FormatError(f"keys and values are put into a {type(target).__name__}")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[checked_key(key)] = value

    def add_items(self) -> None:
        values = self.since_mark()
        target = self._top()
        if not isinstance(target, set):
            raise FormatError(f"values are added to a {type(target).__name__}")
        target.update(map(checked_key, values))

    def dict_of(self) -> None:
        values = self.since_mark()
        self.push({})
        self.set_items(values)

    def push_hashed(self, empty: dict[object, object] | set[object]) -> None:
        # A byte of the file each, and two hundred of memory; arrays of detections have none but a few.
        self._hashed += 1
        if self._hashed > MAX_STEPS:
            raise FormatError(f"it has more than {MAX_STEPS} dicts and sets")
        self.push(empty)

    def remember(self, index: int) -> None:
        # Larger ones could be chosen such that they collide in the dict.
        if not 0 <= index <= self._most_steps:
            raise FormatError(f"a value is kept under the number {index}, more than there can be")
        self._memo[index] = self._top()

    def remember_next(self) -> None:
        self.remember(len(self._memo))

    def recall(self, index: int) -> None:
        self.push(self._memo[index])

    # What names stand for.

    def name(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise FormatError("a name that is no text")
        meaning = STAND_INS.get((module, name))
        if meaning is None:
            told = f"{module[:_MAX_NAME]}.{name[:_MAX_NAME]}"
            raise FormatError(
                f"it wants {told!r}, which no body model needs; nothing in the file was run, do not trust it"
            )
        self.push(meaning)

    def reduce(self) -> None:
        args, maker = self.pop(), self.pop()
        if isinstance(maker, Name) or not callable(maker) or not isinstance(args, tuple):
            raise FormatError("it calls something that is nothing to be called")
        self.push(maker(args, self.budget))

    def new(self) -> None:
        args, kind = self.pop(), self.pop()
        if args != ():
            raise FormatError("an object of chumpy or SciPy is made of something")
        self.push(new_instance(kind))

    def build(self) -> None:
        state, target = self.pop(), self._top()
        if not isinstance(target, ArrayShell | ArrayType | Instance):
            raise FormatError(f"a {type(target).__name__} is given attributes")
        target.build(state)

    # Strings and numbers.

    def text_line(self) -> None:
        line = self._line()
        if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
            raise FormatError("a string without its quotes")
        self.push(_ESCAPE.sub(_unescaped, line[1:-1]).decode("latin1"))

    def int_line(self) -> None:
        text = self._short_line()
        self.push(text == "01" if text in ("00", "01") else self._whole_number(text))

    def long_line(self) -> None:
        self.push(self._whole_number(self._short_line().rstrip("L")))

    def recall_line(self) -> None:
        self.recall(self._whole_number(self._short_line()))

    def remember_line(self) -> None:
        self.remember(self._whole_number(self._short_line()))

    def protocol(self) -> None:
        if (number := self.number("<B")) > _MAX_PROTOCOL:
            raise FormatError(f"it is a pickle of protocol {number}, newer than {_MAX_PROTOCOL}")

    def float_line(self) -> None:
        self.push(float(self._short_line()))

    def float_binary(self) -> None:
        self.push(struct.unpack(">d", self._bytes(8))[0])

    def push_number(self, layout: str) -> None:
        self.push(self.number(layout))

    def push_long(self) -> None:
        self.push(int.from_bytes(self._counted("<B"), "little", signed=True))

    def push_bytes(self, layout: str) -> None:
        self.push(self._counted(layout))

    def push_text(self, layout: str, encoding: str) -> None:
        errors = "surrogatepass" if encoding == "utf-8" else "strict"
        self.push(self._counted(layout).decode(encoding, errors))

    def unicode_line(self) -> None:
        self.push(self._line().decode("raw-unicode-escape"))

    def global_line(self) -> None:
        self.name(self._short_line(), self._short_line())

    def global_stack(self) -> None:
        name, module = self.pop(), self.pop()
        self.name(module, name)

    def frame(self) -> None:
        count = self.number("<Q")
        if count > self._left():
            raise FormatError("a frame is longer than the file")


def _unescaped(match: re.Match[bytes]) -> bytes:
    spelled = match.group(1)
    return bytes([int(spelled[1:], 16)]) if spelled[:1] == b"x" else _ESCAPED.get(spelled, spelled)


Step = Callable[[_Machine], None]

_STEPS: Final[dict[bytes, Step]] = {
    b"\x80": _Machine.protocol,
    b"\x95": _Machine.frame,
    b"(": _Machine.mark,
    # Constants, numbers and strings.
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": _Machine.int_line,
    b"L": _Machine.long_line,
    b"F": _Machine.float_line,
    b"J": lambda m: m.push_number("<i"),
    b"K": lambda m: m.push_number("<B"),
    b"M": lambda m: m.push_number("<H"),
    b"G": _Machine.float_binary,
    b"\x8a": _Machine.push_long,
    b"S": _Machine.text_line,
    b"V": _Machine.unicode_line,
    b"T": lambda m: m.push_text("<i", "latin1"),
    b"U": lambda m: m.push_text("<B", "latin1"),
    b"X": lambda m: m.push_text("<I", "utf-8"),
    b"\x8c": lambda m: m.push_text("<B", "utf-8"),
    b"\x8d": lambda m: m.push_text("<Q", "utf-8"),
    b"C": lambda m: m.push_bytes("<B"),
    b"B": lambda m: m.push_bytes("<I"),
    b"\x8e": lambda m: m.push_bytes("<Q"),
    b"\x96": lambda m: m.push_bytes("<Q"),  # a bytearray, of which nothing is changed here
    # Containers.
    b")": lambda m: m.push(()),
    b"]": lambda m: m.push([]),
    b"}": lambda m: m.push_hashed({}),
    b"\x8f": lambda m: m.push_hashed(set()),
    b"t": lambda m: m.push(tuple(m.since_mark())),
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"l": lambda m: m.push(m.since_mark()),
    b"d": _Machine.dict_of,
    b"a": lambda m: m.append([m.pop()]),
    b"e": lambda m: m.append(m.since_mark()),
    b"s": lambda m: m.set_items([m.pop(), m.pop()][::-1]),
    b"u": lambda m: m.set_items(m.since_mark()),
    b"\x90": _Machine.add_items,
    # Values that come again.
    b"p": _Machine.remember_line,
    b"q": lambda m: m.remember(m.number("<B")),
    b"r": lambda m: m.remember(m.number("<I")),
    b"\x94": _Machine.remember_next,
    b"g": _Machine.recall_line,
    b"h": lambda m: m.recall(m.number("<B")),
    b"j": lambda m: m.recall(m.number("<I")),
    # Names, and objects made of them.
    b"c": _Machine.global_line,
    b"\x93": _Machine.global_stack,
    b"R": _Machine.reduce,
    b"\x81": _Machine.new,
    b"b": _Machine.build,
}
