"""ONNX files of a few nodes, written byte by byte: networks whose answers can be foretold.

A file is a protobuf message; only the fields that these networks need are here, by their numbers in the
public schema (onnx.proto), of IR version 6 and operator set 11.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

FLOAT, UINT8, INT32, INT64 = 1, 2, 6, 7
_IR_VERSION: Final = 6
_OPERATOR_SET: Final = 11

Attribute = int | Sequence[int]


def _varint(number: int) -> bytes:
    out = bytearray()
    number &= (1 << 64) - 1
    while True:
        number, low = number >> 7, number & 0x7F
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def node(operator: str, inputs: Sequence[str], output: str, **attributes: Attribute) -> bytes:
    """One operation; attributes are whole numbers or lists of them."""
    out = b"".join(_bytes(1, name) for name in inputs) + _bytes(2, output) + _bytes(4, operator)
    for name, value in attributes.items():
        if isinstance(value, int):
            told = _bytes(1, name) + _number(3, value) + _number(20, 2)
        else:
            told = _bytes(1, name) + b"".join(_number(8, each) for each in value) + _number(20, 7)
        out += _bytes(5, told)
    return out


def constant(name: str, values: Sequence[float] | Sequence[int], kind: int = INT64) -> bytes:
    """A list of numbers that is part of the file."""
    packed = struct.pack(f"<{len(values)}{'f' if kind == FLOAT else 'q'}", *values)
    return _number(1, len(values)) + _number(2, kind) + _bytes(8, name) + _bytes(9, packed)


def value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    """An input or output; a side that is a text is free."""
    sides = b"".join(
        _bytes(1, _number(1, side) if isinstance(side, int) else _bytes(2, side)) for side in shape
    )
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, sides)))


def model(
    nodes: Sequence[bytes], constants: Sequence[bytes], inputs: Sequence[bytes], outputs: Sequence[bytes]
) -> bytes:
    """A whole file."""
    graph = b"".join(_bytes(1, each) for each in nodes) + _bytes(2, "tiny")
    for field, parts in ((5, constants), (11, inputs), (12, outputs)):
        graph += b"".join(_bytes(field, each) for each in parts)
    return _number(1, _IR_VERSION) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _number(2, _OPERATOR_SET))


def simcc_of_the_reddest(joints: int, *, height: int = 256, width: int = 192, free: bool = False) -> bytes:
    """Every joint where most red is, two bins to a pixel, trusted a fifth of the scaled red there."""
    nodes = [
        node("Gather", ["picture", "first"], "red", axis=1),  # (1, 1, h, w)
        node("Mul", ["red", "fifth"], "scores"),
        node("ReduceMax", ["scores"], "columns", axes=[2], keepdims=1),  # (1, 1, 1, w)
        node("ReduceMax", ["scores"], "rows", axes=[3], keepdims=1),  # (1, 1, h, 1)
        node("Reshape", ["columns", "x_flat"], "columns4"),
        node("Expand", ["columns4", "x_wide"], "columns_wide"),  # (1, joints, w, 2)
        node("Reshape", ["columns_wide", "x_out"], "simcc_x"),
        node("Expand", ["rows", "y_wide"], "rows_wide"),  # (1, joints, h, 2)
        node("Reshape", ["rows_wide", "y_out"], "simcc_y"),
    ]
    constants = [
        constant("first", [0]),
        constant("fifth", [0.2], FLOAT),
        constant("x_flat", [1, 1, width, 1]),
        constant("x_wide", [1, joints, width, 2]),
        constant("x_out", [1, joints, 2 * width]),
        constant("y_wide", [1, joints, height, 2]),
        constant("y_out", [1, joints, 2 * height]),
    ]
    shape: list[int | str] = ["batch", 3, "height", "width"] if free else [1, 3, height, width]
    return model(
        nodes,
        constants,
        [value("picture", FLOAT, shape)],
        [
            value("simcc_x", FLOAT, ["batch", joints, "bins"]),
            value("simcc_y", FLOAT, ["batch", joints, "bins"]),
        ],
    )


def movenet_of_the_reddest(*, side: int = 192, kind: int = INT32, people: int = 0) -> bytes:
    """All 17 joints where most red is, trusted by its share of 255; of several people only one is there."""
    nodes = [
        node("Cast", ["picture"], "numbers", to=FLOAT),
        node("Gather", ["numbers", "first"], "red", axis=3),  # (1, h, w, 1)
        node("ReduceMax", ["red"], "rows", axes=[2, 3], keepdims=0),
        node("ReduceMax", ["red"], "columns", axes=[1, 3], keepdims=0),
        node("ReduceMax", ["red"], "most", axes=[1, 2, 3], keepdims=0),
        node("ArgMax", ["rows"], "row", axis=1, keepdims=0),  # (1,)
        node("ArgMax", ["columns"], "column", axis=1, keepdims=0),
        node("Cast", ["row"], "row_number", to=FLOAT),
        node("Cast", ["column"], "column_number", to=FLOAT),
        node("Add", ["row_number", "half"], "row_middle"),
        node("Add", ["column_number", "half"], "column_middle"),
        node("Mul", ["row_middle", "per_side"], "y"),
        node("Mul", ["column_middle", "per_side"], "x"),
        node("Mul", ["most", "per_255"], "score"),
        node("Concat", ["y", "x", "score"], "joint", axis=0),  # (3,)
        node("Reshape", ["joint", "as_row"], "joint_row"),  # (1, 1, 1, 3)
        node("Expand", ["joint_row", "seventeen"], "joints"),  # (1, 1, 17, 3)
    ]
    constants = [
        constant("first", [0]),
        constant("half", [0.5], FLOAT),
        constant("per_side", [1 / side], FLOAT),
        constant("per_255", [1 / 255], FLOAT),
        constant("as_row", [1, 1, 1, 3]),
        constant("seventeen", [1, 1, 17, 3]),
    ]
    if not people:
        nodes.append(node("Identity", ["joints"], "found"))
    else:
        nodes += [
            node("Reshape", ["joints", "one_person"], "person"),
            node("Concat", ["person", "box_and_score"], "person56", axis=1),
            node("Concat", ["person56", "others"], "people", axis=1),
            node("Reshape", ["people", "as_people"], "found"),
        ]
        constants += [
            constant("one_person", [1, 51]),
            _matrix("box_and_score", [0.0] * 5),
            _matrix("others", [0.0] * 56 * (people - 1)),
            constant("as_people", [1, people, 56]),
        ]
    shape = [1, people, 56] if people else [1, 1, 17, 3]
    return model(
        nodes, constants, [value("picture", kind, [1, side, side, 3])], [value("found", FLOAT, shape)]
    )


def _matrix(name: str, row: Sequence[float]) -> bytes:
    """One row as (1, n)."""
    return _number(1, 1) + constant(name, row, FLOAT)


def constant_outputs(shapes: Sequence[Sequence[int]], fill: float) -> bytes:
    """A network that gives arrays of these shapes full of one number, whatever the picture is."""
    nodes, constants, outputs = [], [], []
    for at, shape in enumerate(shapes):
        # The picture's part in it is nothing, but an input must be used.
        nodes += [
            node("ReduceMax", ["picture"], f"most{at}", axes=[0, 1, 2, 3], keepdims=0),
            node("Mul", [f"most{at}", "nothing"], f"zero{at}"),
            node("Add", [f"zero{at}", "fill"], f"filled{at}"),
            node("Expand", [f"filled{at}", f"shape{at}"], f"out{at}"),
        ]
        constants.append(constant(f"shape{at}", list(shape)))
        outputs.append(value(f"out{at}", FLOAT, list(shape)))
    constants += [constant("nothing", [0.0], FLOAT), constant("fill", [fill], FLOAT)]
    return model(nodes, constants, [value("picture", FLOAT, [1, 3, 256, 192])], outputs)
