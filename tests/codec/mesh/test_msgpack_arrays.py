from __future__ import annotations

import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.errors import CodecError, FormatError
from codec.mesh import msgpack_arrays
from codec.mesh.msgpack_arrays import ObjectStream, pack

VALUES: list[object] = [
    None,
    True,
    -(2**63),
    2**64 - 1,
    1.5,
    "Körper",
    b"\x00\xff",
    [1, [2, []], {}],
    {"a": {"b": [1.0]}, 7: "seven"},
    3 + 4j,
    np.float32(1.5),
    np.bool_(True),
    np.complex64(1 - 2j),
    np.datetime64("2024-05-06T07:08:09", "ms"),
    np.arange(24, dtype="<i2").reshape(2, 3, 4),
    np.zeros((0, 6890, 3), np.float32),
    np.array(5.0),
    np.array(["left", "right"]),
    np.arange(6, dtype=">u4").reshape(2, 3).T,
]


def read_one(packed: bytes) -> Any:
    (value,) = ObjectStream().feed(packed)
    return value


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_is_packed_comes_back_with_its_type_and_shape(value: object) -> None:
    back = read_one(pack({"value": value}, what="it"))["value"]
    assert type(back) is type(value)
    if isinstance(value, np.ndarray):
        assert back.dtype == value.dtype
        assert back.shape == value.shape
        assert back.flags.writeable
    assert np.array_equal(back, value) if isinstance(value, np.ndarray) else back == value


def test_the_bytes_are_those_of_msgpack_numpy() -> None:
    msgpack_numpy = pytest.importorskip("msgpack_numpy", reason="the packer our bytes are held against")
    for value in VALUES:
        if not isinstance(value, np.datetime64):  # of which msgpack-numpy knows only arrays
            assert pack(value, what="it") == msgpack_numpy.packb(value)


def test_tuples_come_back_as_lists() -> None:
    assert read_one(pack({"ids": (1, 2)}, what="it")) == {"ids": [1, 2]}


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"a": np.array([None])}, r"it\['a'\] is an array of object"),
        ({"a": [np.zeros(2, "f4,i4")]}, r"it\['a'\]\[0\] is an array of"),
        ({"a": {1, 2}}, r"it\['a'\] is a set"),
        ({np.int64(3): 1}, "only str and int keys"),
        ({b"nd": True}, "only str and int keys"),
        (2**64, "it cannot be stored"),
        ("\ud800", "it cannot be stored"),
    ],
)
def test_what_could_not_be_read_back_is_refused_by_name(value: object, complaint: str) -> None:
    with pytest.raises(CodecError, match=complaint):
        pack(value, what="it")


def test_too_deep_too_many_and_too_big_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    deep: list[object] = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(CodecError, match="nested deeper than 64"):
        pack(deep, what="it")
    monkeypatch.setattr(msgpack_arrays, "MAX_ENTRIES", 10)
    with pytest.raises(CodecError, match="more than 10 entries"):
        pack([[0] * 6, [0] * 6], what="it")
    monkeypatch.setattr(msgpack_arrays, "MAX_OBJECT_BYTES", 100)
    with pytest.raises(CodecError, match="the most is 100"):
        pack(np.zeros(200, np.uint8), what="it")


class Boom:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.path,))


def test_a_pickled_array_is_refused_and_does_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "ran"
    array = {b"nd": True, b"type": "|O", b"kind": b"O", b"shape": [1], b"data": pickle.dumps(Boom(canary))}
    with pytest.raises(FormatError, match="could run any code"):
        read_one(msgpack.packb({"a": array}))
    del array[b"kind"]
    with pytest.raises(FormatError, match="not supported"):
        read_one(msgpack.packb({"a": array}))
    assert not canary.exists()


def test_a_refused_array_is_named_by_the_keys_that_lead_to_it() -> None:
    array = {b"nd": True, b"type": "|O", b"kind": b"O", b"shape": [1], b"data": b""}
    with pytest.raises(FormatError, match=r"^\['person'\]\[1\]\['hair'\]: an array of Python objects"):
        read_one(msgpack.packb({"person": [0, {"hair": array}]}))
    deep: object = array
    for _ in range(900):
        deep = {"k": deep}
    with pytest.raises(FormatError, match=r"^\.\.\.\['k'\]"):
        read_one(msgpack.packb(deep))
    twice = b"\x82" + 2 * msgpack.packb("hair")
    with pytest.raises(FormatError, match=r"^an array of Python objects"):
        read_one(twice[:6] + msgpack.packb(array) + twice[6:] + b"\x01")
    stream = ObjectStream()
    with pytest.raises(FormatError):
        list(stream.feed(msgpack.packb([array])))
    assert list(stream.feed(msgpack.packb({"a": 1}))) == [{"a": 1}]


@pytest.mark.parametrize(
    "change",
    [
        {b"type": "i4,O"},
        {b"type": "<i99"},
        {b"type": ["f4"]},
        {b"type": "<V4"},
        {b"shape": [5]},
        {b"shape": [-1, -4]},
        {b"shape": [2**62, 2**62]},
        {b"shape": [1] * 200 + [4]},
        {b"shape": "44"},
        {b"data": "text"},
        {b"data": b""},
    ],
    ids=repr,
)
def test_an_array_that_contradicts_itself_is_refused(change: dict[bytes, object]) -> None:
    array = {b"nd": True, b"type": "<i4", b"kind": b"", b"shape": [4], b"data": bytes(16)}
    assert read_one(msgpack.packb(array)).shape == (4,)
    with pytest.raises(FormatError):
        read_one(msgpack.packb(array | change))


def test_an_object_beyond_the_limit_is_refused_before_it_is_held() -> None:
    stream = ObjectStream(max_object_bytes=1 << 20)
    four_gigabytes_to_come = b"\xc6\xff\xff\xff\xff"
    with pytest.raises(FormatError, match="more than 1048576 bytes"):
        list(stream.feed(four_gigabytes_to_come + bytes(5 << 20)))


def test_nested_lists_cannot_outgrow_their_bytes() -> None:
    list_of_60_000_lists = b"\xdd" + (60_000).to_bytes(4, "big") + b"\x90" * 60_000
    many = b"\xdd" + (20).to_bytes(4, "big") + list_of_60_000_lists * 20
    with pytest.raises(FormatError, match="more than 1048576 list and map entries"):
        read_one(many)
    with pytest.raises(FormatError):
        read_one(b"\xdd\xff\xff\xff\xff")


def test_objects_cut_at_every_byte_come_out_whole_and_in_order() -> None:
    packed = b"".join(pack({"n": n, "a": np.arange(n)}, what="it") for n in range(5))
    stream = ObjectStream()
    numbers = []
    for byte in packed:
        numbers += [value["n"] for value in stream.feed(bytes([byte]))]  # type: ignore[index]
    assert numbers == list(range(5))
    assert stream.pending_bytes == 0
    assert list(stream.feed(packed[:7])) == []
    assert stream.pending_bytes == 7


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_arbitrary_bytes_raise_nothing_but_format_error(noise: bytes, place: int, byte: int) -> None:
    packed = bytearray(pack({"a": [np.arange(9.0), np.float32(3), 2j], "b": {"c": "d" * 40}}, what="it"))
    packed[place % len(packed)] = byte
    for data in (noise, bytes(packed), noise + bytes(packed)):
        with suppress(FormatError):
            list(ObjectStream().feed(data))
