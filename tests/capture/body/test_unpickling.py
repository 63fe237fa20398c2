"""Pickles as data: what a model holds comes out, everything else is refused before anything of it runs."""

from __future__ import annotations

import os
import pickle
import struct
import sys
import time
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture.body import unpickling
from capture.body.unpickling import SparseColumns, Unopened, load_objects, load_pickle
from codec.errors import FormatError, StorageError
from tests.capture.body import smpl_imitation

PROTOCOLS = range(6)


class _Watch:
    """What the interpreter did while `watching`: imports, calls of code, programs started, files opened."""

    def __init__(self) -> None:
        self.watching = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[object, ...]) -> None:
        if self.watching and event.split(".")[0] in _TELLING:
            self.seen.append(f"{event} {args!r:.80}")


_TELLING = {
    "import",
    "exec",
    "compile",
    "os",
    "subprocess",
    "pickle",
    "marshal",
    "ctypes",
    "socket",
    "shutil",
}
_WATCH: list[_Watch] = []


@pytest.fixture
def watch() -> Iterator[_Watch]:
    if not _WATCH:  # a hook stays for the life of the process
        _WATCH.append(_Watch())
    _WATCH[0].seen.clear()
    yield _WATCH[0]
    _WATCH[0].watching = False


def _write(folder: Path, data: bytes) -> Path:
    path = folder / "some.pkl"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_and_arrays_come_back_in_every_protocol(protocol: int, tmp_path: Path) -> None:
    values = {
        "none": None,
        "numbers": [True, False, 0, -1, 255, 256, 70000, -70000, 2**40, -(2**40), 0.5, 1e300],
        "text": ["", "ascii", "umlaut ä\n\\'\"", "snow ☃", "x" * 300],
        "bytes": (b"", b"\x00\xff\n'", b"y" * 300),
        "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        "set": {"a", "b", 3},
        "ordered": OrderedDict([("z", 1), ("a", [2])]),
        "scalars": [np.float64(0.1), np.int32(-7), np.uint8(200), np.bool_(True)],
        "shared": [["one"]] * 3,
        7: "a number for a key",
    }
    arrays = {
        "doubles": np.linspace(0, 1, 60).reshape(3, 4, 5),
        "columns": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "big endian": np.arange(5, dtype=">i4"),
        "unsigned": np.array([[2**32 - 1]], np.uint32),
        "halves": np.arange(4, dtype=np.float16),
        "bools": np.array([True, False]),
        "nothing": np.zeros((0, 3)),
        "scalar": np.array(1.5),
        "text": np.array(["ab", "ä"]),
    }
    out = load_pickle(_write(tmp_path, pickle.dumps({**values, "arrays": arrays}, protocol)))
    assert isinstance(out, dict)
    got = out.pop("arrays")
    assert out == values
    assert out["shared"][0] is out["shared"][2]
    for name, array in arrays.items():
        assert np.array_equal(got[name], array), name
        assert got[name].shape == array.shape
        assert got[name].dtype == array.dtype


def test_strings_of_python_2_are_latin1(tmp_path: Path) -> None:
    values = {"k\xe4y": ["caf\xe9", "\x00\x80\xff\r\n\t\\'\"", "x" * 300], "a": np.arange(200.0)}
    for protocol in (0, 1, 2):
        out = load_pickle(_write(tmp_path, smpl_imitation.pickled(values, protocol)))
        assert out["k\xe4y"] == values["k\xe4y"]
        assert np.array_equal(out["a"], values["a"])


@pytest.mark.parametrize("module", ["scipy.sparse.csc", "scipy.sparse._csc"])
def test_objects_of_chumpy_and_scipy_become_arrays(module: str, tmp_path: Path) -> None:
    plain = smpl_imitation.arrays(200, 5)
    for python2 in (True, False):
        for protocol in (0, 2, 4):
            values = smpl_imitation.content(plain, scipy_module=module)
            data = smpl_imitation.pickled(values, protocol, python2=python2 and protocol < 3)
            out = load_pickle(_write(tmp_path, data))
            assert np.array_equal(out["shapedirs"], plain["shapedirs"])
            assert np.array_equal(out["weights"], plain["weights"])
            assert isinstance(out["J_regressor"], SparseColumns)
            assert np.array_equal(out["J_regressor"].dense(), plain["J_regressor"])
            assert out["pose_training_info"]["ids"] == [3, 0.5]


def test_an_array_of_objects_does_not_spoil_the_others(tmp_path: Path) -> None:
    values = {"good": np.arange(3), "odd": np.array([None, "x", [1]], object)}
    for protocol in PROTOCOLS:
        out = load_pickle(_write(tmp_path, pickle.dumps(values, protocol)))
        assert np.array_equal(out["good"], values["good"])
        assert isinstance(out["odd"], Unopened)


class _Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self._call = (function, args)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._call


def _evil(command: str) -> dict[str, object]:
    import subprocess

    code = f"__import__('os').system({command!r})"
    call = _Calls(os.system, command)
    return {
        "system": call,
        "eval": _Calls(eval, code),
        "exec": _Calls(exec, code),
        "popen": _Calls(subprocess.Popen, command),
        "import": _Calls(__import__, "antigravity"),
        "getattr": _Calls(getattr, "x", "__class__"),
        "open": _Calls(open, "/dev/null"),
        "load": _Calls(np.load, "/dev/null", None, True),
        "frombuffer": _Calls(np.frombuffer, b"12345678"),
        "fromfile": _Calls(np.fromfile, "/dev/zero"),
        "zeros": _Calls(np.zeros, 10**12),
        "array": _Calls(np.array, [1]),
        "memmap": _Calls(np.memmap, "/dev/zero"),
        "bytearray": _Calls(bytearray, 10**11),
        "range": _Calls(list, range(10)),
        "frozenset": _Calls(frozenset, ["a"]),
        "nested": {"model": [({"deep": [call]},)]},
        "as a key": {call: 1},
        "in an array": np.array([call], object),
        "in chumpy": smpl_imitation.Ch(call),  # type: ignore[arg-type]
        "a class": [np.float64],
        "as a state": _WithState(call),
    }


class _WithState(smpl_imitation.Ch):
    __module__ = "chumpy.ch"
    __qualname__ = "Ch"

    def __init__(self, state: object) -> None:
        self._state = state

    def __getstate__(self) -> object:
        return self._state


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_would_run_is_refused_and_nothing_of_it_runs(
    protocol: int, tmp_path: Path, watch: _Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "it ran"
    made = {}
    with smpl_imitation.importable({}):
        for name, value in _evil(f"touch '{trace}'").items():
            if isinstance(value, _WithState):
                monkeypatch.setattr(sys.modules["chumpy.ch"], "Ch", _WithState)
            made[name] = pickle.dumps({"v_template": np.zeros(3), "evil": value}, protocol)
    path = _write(tmp_path, pickle.dumps({"v_template": np.zeros(3)}, protocol))
    load_pickle(path)  # so that nothing is imported for the first time below
    modules = set(sys.modules)
    for name, data in made.items():
        path.write_bytes(data)
        watch.watching = True
        with pytest.raises(FormatError, match=r"some\.pkl is refused at byte \d+: it wants '") as refusal:
            load_pickle(path)
        watch.watching = False
        assert "nothing in the file was run" in str(refusal.value), name
        assert "\n" not in str(refusal.value)
        assert not watch.seen, name
        assert not trace.exists(), name
    assert set(sys.modules) == modules


def test_the_watch_sees_what_pythons_own_unpickler_runs(tmp_path: Path, watch: _Watch) -> None:
    trace = tmp_path / "it ran"
    data = pickle.dumps(_evil(f"touch '{trace}'")["system"])
    watch.watching = True
    pickle.loads(data)
    watch.watching = False
    assert any(seen.startswith("os.system") for seen in watch.seen)
    assert trace.exists()


# Steps that Python's unpickler takes and ours does not, or not with these operands.
_BY_HAND = {
    "persistent": b"Psome id\n.",
    "persistent, binary": b"K\x01Q.",
    "old instance": b"(S'touch x'\nios\nsystem\n.",
    "old object": b"(cos\nsystem\nS'x'\no.",
    "extension": b"\x80\x02\x82\x01.",
    "extension, wide": b"\x80\x02\x84\x01\x00\x00\x00.",
    "new with keywords": b"\x80\x04cchumpy.ch\nCh\n)}\x92.",
    "new of a function": b"cnumpy\ndtype\n)\x81.",
    "new of an array": b"cnumpy\nndarray\n)\x81.",
    "new with arguments": b"cchumpy.ch\nCh\nK\x01\x85\x81.",
    "call of a class": b"cnumpy\nndarray\nK\x08\x85R.",
    "call of chumpy": b"cchumpy.ch\nCh\n)R.",
    "call of text": b"U\x02os)R.",
    "call without a tuple": b"cnumpy\ndtype\n]R.",
    "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.",
    "dotted module": b"cnumpy.ndarray\n__class__\n.",
    "name of numbers": b"\x80\x04K\x01K\x02\x93.",
    "attributes of a dict": b"}}b.",
    "attributes of a function": b"cnumpy\ndtype\n}b.",
    "attributes that are none": b"cchumpy.ch\nCh\n)\x81K\x01b.",
    "buffer out of band": b"\x80\x05\x97.",
    "protocol to come": b"\x80\x06N.",
    "unhashable key": b"}]Ns.",
    "colliding key": b"}\x8a\x09" + (2**61 - 1).to_bytes(9, "little") + b"Ns.",
    "append to a tuple": b")Na.",
    "items of a list": b"](NNu.",
    "odd items": b"}(Nu.",
    "itself": b"]q\x00h\x00a.",
    "empty": b"",
    "no value": b".",
    "a function as the value": b"cnumpy\ndtype\n.",
    "unknown memory": b"h\x07.",
    "no mark": b"t.",
    "text": b"<!DOCTYPE html><html>",
}


@pytest.mark.parametrize("name", _BY_HAND)
def test_steps_that_no_model_takes_are_refused(name: str, tmp_path: Path, watch: _Watch) -> None:
    path = _write(tmp_path, _BY_HAND[name])
    watch.watching = True
    with pytest.raises(FormatError, match=r"some\.pkl"):
        load_pickle(path)
    watch.watching = False
    assert not watch.seen


def _array_bytes(kind: bytes, shape: bytes, data: bytes, order: bytes = b"U\x01<") -> bytes:
    """An array as Python 2 pickled it, with parts of choice."""
    start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    dtype = b"cnumpy\ndtype\nU" + bytes([len(kind)]) + kind + b"K\x00K\x01\x87R(K\x03" + order + b"NNNJ"
    dtype += b"\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    content = b"T" + struct.pack("<i", len(data)) + data
    return start + b"(K\x01" + shape + dtype + b"\x89" + content + b"tb."


def test_an_array_by_hand_is_an_array(tmp_path: Path) -> None:
    out = load_pickle(_write(tmp_path, _array_bytes(b"f8", b"K\x02K\x01\x86", np.arange(2.0).tobytes())))
    assert np.array_equal(out, [[0.0], [1.0]])


@pytest.mark.parametrize(
    ("kind", "shape", "data", "order"),
    [
        (b"f8", b"K\x02\x85", b"\0" * 8, b"U\x01<"),  # fewer bytes than its shape
        (b"f8", b"K\x01\x85", b"\0" * 16, b"U\x01<"),  # more
        (b"f8", b"J\xff\xff\xff\xff\x85", b"", b"U\x01<"),
        (b"f8", b"M\xff\xffM\xff\xffM\xff\xff\x87", b"\0" * 8, b"U\x01<"),
        (b"f8", b"K\x01", b"\0" * 8, b"U\x01<"),  # no tuple
        (b"f8", b"G?\xf0\0\0\0\0\0\0\x85", b"\0" * 8, b"U\x01<"),  # 1.0 for a size
        (b"f8", b"K\x01\x85", b"\0" * 8, b"U\x01?"),
        (b"f8", b"K\x01\x85", b"\0" * 8, b"N"),
        (b"V8", b"K\x01\x85", b"\0" * 8, b"U\x01|"),
        (b"S0", b"M\xff\xffM\xff\xff\x86", b"", b"U\x01|"),
        (b"M8", b"K\x01\x85", b"\0" * 8, b"U\x01<"),
        (b"f8,O", b"K\x01\x85", b"\0" * 16, b"U\x01<"),
        (b"f3", b"K\x01\x85", b"\0" * 3, b"U\x01<"),
        (b"", b"K\x01\x85", b"", b"U\x01<"),
        (b"i8" * 100, b"K\x01\x85", b"\0" * 8, b"U\x01<"),
    ],
)
def test_arrays_that_are_not_what_they_claim_are_refused(
    kind: bytes, shape: bytes, data: bytes, order: bytes, tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match=r"some\.pkl"):
        load_pickle(_write(tmp_path, _array_bytes(kind, shape, data, order)))


def test_an_array_of_pointers_is_not_made_of_bytes(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="objects that do not fill its shape"):
        load_pickle(_write(tmp_path, _array_bytes(b"O8", b"K\x01\x85", b"A" * 8, b"U\x01|")))
    path = tmp_path / "objects.pkl"
    path.write_bytes(pickle.dumps(np.array(["a", None], dtype=object), protocol=2))
    assert isinstance(load_pickle(path), Unopened)


@pytest.mark.parametrize(
    ("empty", "why"), [(b"}", "dicts and sets"), (b"\x8f", "dicts and sets"), (b"]", "values wait")]
)
def test_a_byte_for_each_of_millions_of_containers_is_refused(empty: bytes, why: str) -> None:
    import io

    many = b"\x80\x04" + empty * (1 << 19) + b"."
    with pytest.raises(FormatError, match=rf"here.*more than 262144 {why}"):
        load_objects(io.BytesIO(many), len(many), "here")


_CSC = b"cscipy.sparse.csc\ncsc_matrix\n)\x81"


@pytest.mark.parametrize(
    ("shape", "indices", "starts", "values"),
    [
        ((2, 2), [0, 5], [0, 1, 2], [1.0, 1.0]),  # a row that is not there
        ((2, 2), [0, -1], [0, 1, 2], [1.0, 1.0]),
        ((2, 2), [0, 1], [0, 1], [1.0, 1.0]),
        ((2, 2), [0, 1], [0, 2, 1], [1.0, 1.0]),
        ((2, 2), [0, 1], [0, 1, 9], [1.0, 1.0]),
        ((2, 2), [0, 1], [1, 1, 2], [1.0, 1.0]),
        ((2, 2), [0.0, 1.0], [0, 1, 2], [1.0, 1.0]),
        ((2, 2), [0, 1], [0, 1, 2], [1.0]),
    ],
)
def test_a_sparse_matrix_whose_parts_do_not_fit_is_refused(
    shape: tuple[int, int], indices: list[Any], starts: list[int], values: list[float]
) -> None:
    matrix = SparseColumns(shape, np.array(values), np.array(indices), np.array(starts))
    with pytest.raises(FormatError, match="sparse matrix"):
        matrix.dense()


def test_entries_of_a_sparse_matrix_that_come_twice_add_up() -> None:
    matrix = SparseColumns((2, 3), np.array([1.0, 2.0, 5.0]), np.array([1, 1, 0]), np.array([0, 2, 2, 3]))
    assert np.array_equal(matrix.dense(), [[0, 0, 5], [3, 0, 0]])


def _select(values: object, places: object, shape: object) -> bytes:
    with smpl_imitation.importable({}):
        chosen = smpl_imitation.Select(smpl_imitation.Ch(values), places, shape)  # type: ignore[arg-type]
        return pickle.dumps(chosen, 2)


def test_a_selection_from_outside_is_refused(tmp_path: Path) -> None:
    for places, shape in (
        (np.array([3]), (1,)),
        (np.array([-4]), (1,)),
        (np.array([0, 1]), (3,)),
        (np.array([0, 1]), (-1, -1)),
        (np.array([0.5]), (1,)),
        (np.array([0]), "no shape"),
        ([0], (1,)),
    ):
        with pytest.raises(FormatError, match=r"some\.pkl"):
            load_pickle(_write(tmp_path, _select(np.arange(3.0), places, shape)))


def _bombs() -> dict[str, bytes]:
    mega = 1 << 20
    long_list = b"](" + b"K\x01" * 100_000 + b"eq\x00"
    text_of_a_megabyte = b"T" + struct.pack("<i", mega) + b"x" * mega + b"q\x01"
    laughs = b"]q\x00Na" + b"".join(
        b"]q" + bytes([n]) + b"(" + (b"h" + bytes([n - 1])) * 10 + b"e" for n in range(1, 50)
    )
    whole_array = _array_bytes(b"f8", b"K\x01\x85", b"\0" * 8)[:-1] + b"q\x02"
    wide = b"cnumpy\ndtype\nU\x08S1048576K\x00K\x01\x87R"
    return {
        "bytes that are not there": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40),
        "text that is not there": b"\x80\x04\x8d" + struct.pack("<Q", (1 << 63) + 5),
        "text of less than nothing": b"T\xff\xff\xff\xff",
        "frame that is not there": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"N.",
        "a place in memory far away": b"Nr\xff\xff\xff\xff.",
        "a place in memory spelled": b"Np99999999999999999999\n.",
        "a number without end": b"I" + b"9" * mega + b"\n.",
        "a long number without end": b"L" + b"9" * 150 + b"L\n.",
        "a long number in bytes": b"\x80\x02\x8b" + struct.pack("<i", mega) + b"\xff" * mega + b".",
        "a name without end": b"c" + b"x" * mega,
        "a line without end": b"S'" + b"x" * mega,
        "deep": b"]" * 100_000 + b"a" * 99_999 + b".",
        "deep in tuples": b")" + b"\x85" * 100_000 + b".",
        "deep in chumpy": b"cchumpy.ch\nCh\nq\x00"
        + b"h\x00)\x81}U\x01x" * 20_000
        + b"N"
        + b"sb" * 20_000
        + b".",
        "marks": b"(" * 300_000,
        "steps": b"N" * 300_000,
        "laughs": laughs + b".",
        "sets of one list": long_list + b"c__builtin__\nset\nq\x01" + b"h\x01h\x00\x85R" * 20_000 + b".",
        "arrays of one text": text_of_a_megabyte
        + (wide + b"q\x03")
        + b"cnumpy.core.multiarray\nscalar\nq\x04"
        + b"h\x04h\x03h\x01\x86R" * 2_000
        + b".",
        "bytes of one text": text_of_a_megabyte
        + b"U\x06latin1q\x05c_codecs\nencode\nq\x06"
        + b"h\x06h\x01h\x05\x86R" * 2_000
        + b".",
        "an array again and again": whole_array + b"h\x02" * 200_000 + b".",
    }


@pytest.mark.parametrize("name", _bombs())
def test_bombs_take_neither_memory_nor_time(name: str, tmp_path: Path) -> None:
    data = _bombs()[name]
    path = _write(tmp_path, data)
    started = time.monotonic()
    tracemalloc.start()
    try:
        if name in ("an array again and again", "laughs"):
            load_pickle(path)  # the same value in many places is no crime, and is kept once
        else:
            with pytest.raises(FormatError, match=r"some\.pkl"):
                load_pickle(path)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # 262,144 steps of a few objects each, whatever the file claims.
    assert peak_bytes < 8 * len(data) + (96 << 20)
    assert time.monotonic() - started < 60


def test_a_file_that_cannot_be_a_model_is_not_even_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "huge.pkl"
    with path.open("wb") as file:
        file.truncate((1 << 29) + 1)
    with pytest.raises(FormatError, match=r"huge\.pkl has 512 MB"):
        load_pickle(path)
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "nowhere.pkl"):
        with pytest.raises(StorageError, match="cannot read"):
            load_pickle(tmp_path / name)
    monkeypatch.setattr(unpickling, "MAX_STEPS", 10)
    with pytest.raises(FormatError, match="more than 10 steps"):
        load_pickle(_write(tmp_path, pickle.dumps(list(range(100)), 2)))
