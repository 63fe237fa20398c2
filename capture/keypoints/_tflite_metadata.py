"""Tells a TensorFlow Lite model how its picture wants to be scaled: a mean and a deviation.

MediaPipe's tasks refuse a model with a float picture that does not say so. The model's own bytes stay as they
are: a new root goes in front of them, which refers to everything of the old one and to one more buffer, that
of the metadata. Field numbers are those of the public schemas of TensorFlow Lite (TFL3) and of its metadata
(M001).
"""

from __future__ import annotations

import struct
from typing import Final

from capture.keypoints._flatbuffers import (
    Field,
    Reference,
    Table,
    Writer,
    finished,
    string,
    table,
    vector_of,
    vector_of_bytes,
    vector_of_floats,
)
from codec.errors import DamagedError

_MODEL_IDENTIFIER: Final = b"TFL3"
_METADATA_IDENTIFIER: Final = b"M001"
_METADATA_NAME: Final = "TFLITE_METADATA"
# Tensors are read 16 bytes at a time; the model's own bytes must keep their alignment.
_ALIGNMENT: Final = 16

# Model: its fields, of which 5 was a vector of numbers in old models.
_VERSION, _OPERATORS, _SUBGRAPHS, _DESCRIPTION, _BUFFERS, _OLD_METADATA, _METADATA, _SIGNATURES = range(8)
_COPIED: Final = (_OPERATORS, _SUBGRAPHS, _DESCRIPTION, _OLD_METADATA, _SIGNATURES)
_BUFFER_DATA: Final = 0
_ENTRY_NAME, _ENTRY_BUFFER = 0, 1
# ModelMetadata, SubGraphMetadata, TensorMetadata and ProcessUnit
_MODEL_SUBGRAPHS, _MODEL_PARSER = 3, 7
_SUBGRAPH_INPUTS: Final = 2
_TENSOR_NAME, _TENSOR_CONTENT, _TENSOR_UNITS = 0, 3, 4
_UNION_KIND, _UNION_VALUE = 0, 1
_IMAGE_PROPERTIES: Final = b"\x02"
_NORMALIZATION: Final = b"\x01"
_RGB: Final = b"\x01"
_OLDEST_PARSER: Final = "1.0.0"
_SOMEWHERE_BEHIND: Final = 1 << 24


def with_normalization(model: bytes, *, mean: float, deviation: float) -> bytes:
    """The model, telling that its one picture is RGB and wants (pixel - mean) / deviation, pixels 0 to 255.

    Metadata that it has already is replaced. The result is the same every time. Raises DamagedError for what
    is no TensorFlow Lite model.
    """
    old = Table.root(model, _MODEL_IDENTIFIER)
    version = old.place(_VERSION)
    if version is None or not old.targets(_BUFFERS):
        raise DamagedError("a TensorFlow Lite model without a version or buffers")

    numbers = model[version : version + 4]
    metadata = _normalization(mean, deviation)
    # Its length does not depend on where the model will lie, only what it says about that.
    length = len(_front(old, numbers, metadata, model_at=_SOMEWHERE_BEHIND))
    return _front(old, numbers, metadata, model_at=length) + model


def _front(old: Table, version: bytes, metadata: bytes, *, model_at: int) -> bytes:
    """What stands before the model: a root of all that the old one has, and the metadata."""

    def in_model(target: int) -> Reference:
        return lambda _: model_at + target

    buffers = [in_model(at) for at in old.targets(_BUFFERS)]
    others = [at for at in old.targets(_METADATA) if not _is_metadata(Table(old.data, at))]
    entry = table({_ENTRY_NAME: string(_METADATA_NAME), _ENTRY_BUFFER: struct.pack("<I", len(buffers))})
    added = table({_BUFFER_DATA: vector_of_bytes(metadata, align=_ALIGNMENT)})
    fields: dict[int, Field] = {
        _VERSION: version,
        _BUFFERS: vector_of([*buffers, added]),
        _METADATA: vector_of([*map(in_model, others), entry]),
    }
    for field in _COPIED:
        target = old.target(field)
        if target is not None:
            fields[field] = in_model(target)
    out = Writer(8)
    out.data[4:8] = _MODEL_IDENTIFIER
    out.point(0, table(fields)(out))
    out.align(_ALIGNMENT)
    return bytes(out.data)


def _is_metadata(entry: Table) -> bool:
    return entry.bytes_of(_ENTRY_NAME) == _METADATA_NAME.encode()


def _normalization(mean: float, deviation: float) -> bytes:
    """The metadata itself."""
    normalization = table({0: vector_of_floats([mean]), 1: vector_of_floats([deviation])})
    unit = table({_UNION_KIND: _NORMALIZATION, _UNION_VALUE: normalization})
    content = table({_UNION_KIND: _IMAGE_PROPERTIES, _UNION_VALUE: table({0: _RGB})})
    picture = table(
        {_TENSOR_NAME: string("image"), _TENSOR_CONTENT: content, _TENSOR_UNITS: vector_of([unit])}
    )
    subgraph = table({_SUBGRAPH_INPUTS: vector_of([picture])})
    metadata = table({_MODEL_SUBGRAPHS: vector_of([subgraph]), _MODEL_PARSER: string(_OLDEST_PARSER)})
    return finished(metadata, _METADATA_IDENTIFIER)
