"""What the names in a pickle of a body model stand for here: plain data in place of the classes they name.

`STAND_INS` is the whole list; a name that is not on it is not read. Nothing on it calls the class it stands
for: an array is rebuilt from its type, shape and bytes, each of them checked, not by NumPy's own unpickling,
which trusts what it is given. chumpy and SciPy are not needed. `plain` turns what was read into dicts, lists,
numbers and arrays.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from codec.errors import FormatError

MAX_DEPTH: Final = 64
_ARRAY_TYPE: Final = re.compile(r"[biufcSU]\d{1,9}")
_OBJECTS: Final = re.compile(r"O\d?")

Array = npt.NDArray[Any]


class Budget:
    """What may still be made out of values that the file names again and again: bytes, and entries."""

    def __init__(self, *, size_bytes: int, entries: int) -> None:
        self._bytes = size_bytes
        self._entries = entries

    def take_bytes(self, count: int) -> None:
        self._bytes -= count
        if self._bytes < 0:
            raise FormatError("it unfolds to many times its size")

    def take_entries(self, count: int) -> None:
        self._entries -= count
        if self._entries < 0:
            raise FormatError("it has more entries than a model can have")


class Name(Enum):
    """Classes that a pickle names without their being called."""

    ARRAY = auto()
    OBJECT = auto()
    CH = auto()
    SELECT = auto()
    CSC = auto()


INSTANCES: Final = (Name.CH, Name.SELECT, Name.CSC)


@dataclass(slots=True, eq=False)
class Instance:
    """An object of one of the classes `INSTANCES`: nothing but its attributes."""

    kind: Name
    state: dict[Any, object] = field(default_factory=dict)

    def build(self, state: object) -> None:
        if not isinstance(state, dict):
            raise FormatError(f"an object of chumpy or SciPy has a {type(state).__name__} for its attributes")
        self.state = state


@dataclass(slots=True, eq=False)
class ArrayType:
    """A numpy.dtype: a letter and a size, and the byte order that comes afterwards."""

    code: str
    order: str = "="

    def build(self, state: object) -> None:
        # (version, byte order, subtype, names, fields, size, alignment, flags): the order is all that is
        # true of plain types; the others describe records, which no model holds.
        if not (isinstance(state, tuple) and len(state) >= 5):
            raise FormatError("an array type without a byte order")
        if any(part is not None for part in state[2:5]):
            raise FormatError("an array of records is not opened; numbers and text are")
        self.order = _one_of("<>|=", state[1], "a byte order")

    def dtype(self) -> np.dtype[Any]:
        if not _ARRAY_TYPE.fullmatch(self.code):
            raise FormatError(f"an array of type {self.code[:20]!r} is not opened; numbers and text are")
        kind = np.dtype(self.order + self.code)
        # NumPy makes a byte of items that have none, so that any number of them would come out of nothing.
        if not kind.itemsize:
            raise FormatError("an array of items without a size is not opened")
        return kind


@dataclass(frozen=True, slots=True)
class Unopened:
    """In place of an array of Python objects, which a model may carry along but has no use for."""

    why: str


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """An array of Python objects, before anybody said whether they are wanted: its items in order."""

    shape: tuple[int, ...]
    items: list[object]


@dataclass(frozen=True, slots=True, eq=False)
class SparseColumns:
    """A matrix of mostly zeros as SciPy's csc keeps it: of column c the rows
    indices[starts[c]:starts[c + 1]] and their values."""

    shape: tuple[int, int]
    values: Array
    indices: Array
    starts: Array

    def dense(self) -> npt.NDArray[np.float64]:
        """(rows, columns) float64. To be called only once `shape` is known to be a sensible one.

        Raises FormatError where the parts do not fit each other.
        """
        rows, columns = self.shape
        starts, indices = self.starts, self.indices
        if not (
            starts.dtype.kind in "iu"
            and indices.dtype.kind in "iu"
            and self.values.dtype.kind in "biuf"
            and starts.shape == (columns + 1,)
            and indices.shape == self.values.shape == (int(starts[-1]),)
            and int(starts[0]) == 0
            and (np.diff(starts.astype(np.int64)) >= 0).all()
            and (indices.size == 0 or (indices.min() >= 0 and indices.max() < rows))
        ):
            raise FormatError("a sparse matrix whose parts do not fit each other")
        out = np.zeros((rows, columns))
        # Entries that come twice add up, as in SciPy.
        np.add.at(out, (indices, np.repeat(np.arange(columns), np.diff(starts))), self.values)
        return out


@dataclass(slots=True, eq=False)
class ArrayShell:
    """A numpy.ndarray whose type, shape and bytes come after it."""

    budget: Budget
    content: Array | Objects | None = None

    def build(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) == 5):
            raise FormatError("an array without type, shape and bytes")
        _, shape, kind, by_columns, data = state
        self.content = _array(data, kind, shape, by_columns=bool(by_columns), budget=self.budget)


def _one_of(choices: Iterable[str], value: object, what: str) -> str:
    if type(value) is not str or value not in list(choices):
        raise FormatError(f"{what} that does not exist")
    return value


def _array(data: object, kind: object, shape: object, *, by_columns: bool, budget: Budget) -> Array | Objects:
    if not isinstance(kind, ArrayType):
        raise FormatError("an array without a type")
    if not (isinstance(shape, tuple) and len(shape) <= 8 and all(type(n) is int and n >= 0 for n in shape)):
        raise FormatError("an array with a shape that does not exist")
    if _OBJECTS.fullmatch(kind.code):
        if not isinstance(data, list) or math.prod(shape) != len(data) or (by_columns and len(shape) > 1):
            raise FormatError("an array of objects that do not fill its shape")
        return Objects(shape, data)
    dtype = kind.dtype()
    if isinstance(data, str):  # bytes of Python 2
        budget.take_bytes(len(data))
        data = data.encode("latin1")
    if not isinstance(data, bytes) or math.prod(shape) * dtype.itemsize != len(data):
        raise FormatError("an array whose bytes do not fill its shape")
    return np.ndarray(shape, dtype, buffer=data, order="F" if by_columns else "C")


def _reconstructed_array(args: tuple[object, ...], budget: Budget) -> ArrayShell:
    if len(args) != 3 or args[0] is not Name.ARRAY:
        raise FormatError("an array of a class that is not opened")
    return ArrayShell(budget)


def _array_from_buffer(args: tuple[object, ...], budget: Budget) -> ArrayShell:
    if len(args) != 4:
        raise FormatError("an array without type, shape and bytes")
    data, kind, shape, order = args
    by_columns = _one_of("CF", order, "an order of an array") == "F"
    return ArrayShell(budget, _array(data, kind, shape, by_columns=by_columns, budget=budget))


def _number(args: tuple[object, ...], budget: Budget) -> object:
    if len(args) != 2:
        raise FormatError("a number without type and bytes")
    array = _array(args[1], args[0], (), by_columns=False, budget=budget)
    if isinstance(array, Objects):
        raise FormatError("a number that is an object")
    return array[()]


def _array_type(args: tuple[object, ...], _: Budget) -> ArrayType:
    if not args or not isinstance(args[0], str):
        raise FormatError("an array type without a name")
    return ArrayType(args[0])


def _instance(args: tuple[object, ...], _: Budget) -> Instance:
    if len(args) != 3 or args[1] is not Name.OBJECT or args[2] is not None:
        raise FormatError("an object of a class that is not opened")
    return new_instance(args[0])


def new_instance(kind: object) -> Instance:
    """An empty object of one of the classes in `INSTANCES`. Raises FormatError for anything else."""
    if not isinstance(kind, Name) or kind not in INSTANCES:
        raise FormatError("an object of a class that is not opened")
    return Instance(kind)


def _bytes_of_text(args: tuple[object, ...], budget: Budget) -> bytes:
    if len(args) != 2 or not isinstance(args[0], str):
        raise FormatError("bytes that are not told as text")
    _one_of(("latin1", "latin-1"), args[1], "an encoding of bytes")
    budget.take_bytes(len(args[0]))
    return args[0].encode("latin1")


def _no_bytes(args: tuple[object, ...], _: Budget) -> bytes:
    if args:
        raise FormatError("bytes made of something else")
    return b""


def _set(args: tuple[object, ...], budget: Budget) -> set[object]:
    values = args[0] if args else []
    if len(args) > 1 or not isinstance(values, list | tuple | set):
        raise FormatError("a set of something that is no list")
    budget.take_entries(len(values))
    return {checked_key(value) for value in values}


def _ordered(args: tuple[object, ...], budget: Budget) -> dict[object, object]:
    pairs = args[0] if args else []
    if len(args) > 1 or not isinstance(pairs, list):
        raise FormatError("a dict made of something that is no list")
    budget.take_entries(len(pairs))
    out = {}
    for pair in pairs:
        if not (isinstance(pair, list | tuple) and len(pair) == 2):
            raise FormatError("a dict made of something that is no list of pairs")
        out[checked_key(pair[0])] = pair[1]
    return out


def checked_key(key: object) -> object:
    """`key`, if it may be one of a dict or set: text or a small number, which cannot be chosen to collide."""
    if type(key) is str or (type(key) is int and abs(key) < 1 << 31):
        return key
    raise FormatError(f"a dict or set holds a {type(key).__name__} as a key; text and small numbers may be")


Maker = Callable[[tuple[object, ...], Budget], object]


def _in(modules: str, name: str, meaning: Name | Maker) -> dict[tuple[str, str], Name | Maker]:
    return {(module, name): meaning for module in modules.split()}


_BUILTINS: Final = "__builtin__ builtins"
_MULTIARRAY: Final = "numpy.core.multiarray numpy._core.multiarray"

STAND_INS: Final[Mapping[tuple[str, str], Name | Maker]] = {
    **_in("numpy", "ndarray", Name.ARRAY),
    **_in("numpy", "dtype", _array_type),
    **_in(_MULTIARRAY, "_reconstruct", _reconstructed_array),
    **_in(_MULTIARRAY, "scalar", _number),
    **_in("numpy.core.numeric numpy._core.numeric", "_frombuffer", _array_from_buffer),
    **_in("copy_reg copyreg", "_reconstructor", _instance),
    **_in("_codecs", "encode", _bytes_of_text),
    **_in(_BUILTINS, "object", Name.OBJECT),
    **_in(_BUILTINS, "bytes", _no_bytes),
    **_in(_BUILTINS, "set", _set),
    **_in("collections", "OrderedDict", _ordered),
    **_in("chumpy.ch", "Ch", Name.CH),
    **_in("chumpy.reordering", "Select", Name.SELECT),
    **_in("scipy.sparse.csc scipy.sparse._csc", "csc_matrix", Name.CSC),
    **_in("scipy.sparse._csc", "csc_array", Name.CSC),
}


_IN_PROGRESS: Final = object()


def plain(value: object, budget: Budget, *, opens_objects: bool = False) -> object:
    """What was read, as dicts, lists, tuples, sets, numbers, text, bytes, arrays, `SparseColumns` and
    `Unopened`; chumpy's objects become the arrays they hold. With `opens_objects` an array of objects becomes
    lists in lists, as deep as it has dimensions. Raises FormatError.
    """
    return _Plain(budget, opens_objects).of(value, 0)


class _Plain:
    def __init__(self, budget: Budget, opens_objects: bool) -> None:
        self._budget = budget
        self._opens_objects = opens_objects
        # Each value once, however often it is referred to: the number of ways to it may be astronomical.
        self._done: dict[int, object] = {}

    def of(self, value: object, depth: int) -> object:
        if isinstance(value, Name | ArrayType) or callable(value):
            raise FormatError("it holds a class where a value is due")
        if not isinstance(value, dict | list | tuple | ArrayShell | Instance):
            return value
        if depth > MAX_DEPTH:
            raise FormatError(f"it is nested deeper than {MAX_DEPTH}")
        known = self._done.get(id(value))
        if known is _IN_PROGRESS:
            raise FormatError("it contains itself")
        if known is None:
            self._done[id(value)] = _IN_PROGRESS
            known = self._done[id(value)] = self._made(value, depth + 1)
        return known

    def _made(
        self, value: dict[Any, Any] | list[Any] | tuple[Any, ...] | ArrayShell | Instance, depth: int
    ) -> object:
        if isinstance(value, ArrayShell):
            if value.content is None:
                raise FormatError("an array without type, shape and bytes")
            if isinstance(value.content, Objects):
                return self._objects(value.content, depth)
            return value.content
        if isinstance(value, Instance):
            return self._instance(value, depth)
        if isinstance(value, dict):
            return {key: self.of(item, depth) for key, item in value.items()}
        return type(value)(self.of(item, depth) for item in value)

    def _objects(self, value: Objects, depth: int) -> object:
        if not self._opens_objects:
            return Unopened("it is an array of Python objects")
        items = [self.of(item, depth) for item in value.items]
        for length in value.shape[:0:-1]:
            items = [items[k : k + length] for k in range(0, len(items), max(length, 1))]
        return items if value.shape else items[0]

    def _instance(self, value: Instance, depth: int) -> object:
        # Only what is asked for: chumpy's objects also keep notes about what depends on what.
        def attribute(name: str) -> object:
            return self.of(value.state.get(name), depth)

        def array(name: str) -> Array:
            content = attribute(name)
            if not isinstance(content, np.ndarray):
                raise FormatError(f"an object of chumpy or SciPy has no array {name!r}")
            return content

        if value.kind is Name.CH:
            return array("x")
        if value.kind is Name.SELECT:
            return self._selected(array("a"), array("idxs"), attribute("preferred_shape"))
        shape = attribute("_shape")
        if not (
            isinstance(shape, tuple)
            and len(shape) == 2
            and all(isinstance(n, int | np.integer) and n >= 0 for n in shape)
        ):
            raise FormatError("a sparse matrix without a shape")
        return SparseColumns((int(shape[0]), int(shape[1])), array("data"), array("indices"), array("indptr"))

    def _selected(self, values: Array, places: Array, shape: object) -> Array:
        """chumpy's Select: some of the values, in a shape of their own."""
        self._budget.take_bytes(places.size * values.itemsize)
        if places.dtype.kind not in "iu":
            raise FormatError("a selection by something that is no whole number")
        if places.size and not (-values.size <= places.min() and places.max() < values.size):
            raise FormatError("a selection from outside its array")
        chosen = values.ravel()[places]
        if shape is None:
            return chosen
        if not (isinstance(shape, tuple) and all(isinstance(n, int | np.integer) for n in shape)):
            raise FormatError("a selection with a shape that does not exist")
        if -1 not in shape and math.prod(map(int, shape)) != chosen.size:
            raise FormatError("a selection that does not fill its shape")
        return chosen.reshape(tuple(int(n) for n in shape))
