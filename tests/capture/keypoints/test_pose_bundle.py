"""Models out of an old wheel become a bundle that a new MediaPipe takes.

The small model here is laid out by hand from the format's description, and what was made of it is read back
by a reader of a few lines, so that neither leans on what it tests.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from capture.keypoints import pose_bundle
from capture.keypoints._flatbuffers import Table
from capture.keypoints._tflite_metadata import with_normalization
from capture.keypoints.pose_bundle import bundle_from_wheel
from codec.errors import DamagedError, NightrigError, NotOurFileError, StorageError

WEIGHTS = bytes(range(32))


def _small_model(*, metadata_name: bytes = b"other") -> bytes:
    """Version 3, two buffers (one of WEIGHTS at a multiple of 16), one metadata entry for buffer 1."""
    out = bytearray(struct.pack("<I4s", 0, b"TFL3"))

    def put(data: bytes, align: int = 4, ahead: int = 0) -> int:
        out.extend(bytes(-(len(out) + ahead) % align))
        out.extend(data)
        return len(out) - len(data)

    def refer(at: int, target: int) -> None:
        struct.pack_into("<I", out, at, target - at)

    vtable = put(struct.pack("<9H", 18, 16, 4, 0, 0, 0, 8, 0, 12))
    model = put(b"")
    model = put(struct.pack("<iI2I", 0, 3, 0, 0))
    struct.pack_into("<i", out, model, model - vtable)
    refer(0, model)
    buffers = put(struct.pack("<3I", 2, 0, 0))
    refer(model + 8, buffers)
    entries = put(struct.pack("<2I", 1, 0))
    refer(model + 12, entries)
    empty_vtable = put(struct.pack("<2H", 4, 4))
    empty = put(struct.pack("<i", 4))
    assert empty == empty_vtable + 4
    refer(buffers + 4, empty)
    full_vtable = put(struct.pack("<3H2x", 6, 8, 4))
    full = put(struct.pack("<iI", 8, 0))
    assert full == full_vtable + 8
    refer(buffers + 8, full)
    weights = put(struct.pack("<I", len(WEIGHTS)) + WEIGHTS, align=16, ahead=4)
    refer(full + 4, weights)
    entry_vtable = put(struct.pack("<4H", 8, 12, 4, 8))
    entry = put(struct.pack("<iII", 8, 0, 1))
    assert entry == entry_vtable + 8
    refer(entries + 4, entry)
    name = put(struct.pack("<I", len(metadata_name)) + metadata_name + b"\0")
    refer(entry + 4, name)
    return bytes(out)


def _field(data: bytes, table: int, number: int) -> int:
    """Where a field's value lies; 0 where there is none."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    size = struct.unpack_from("<H", data, vtable)[0]
    if 4 + 2 * number >= size:
        return 0
    offset = struct.unpack_from("<H", data, vtable + 4 + 2 * number)[0]
    return table + offset if offset else 0


def _follow(data: bytes, at: int) -> int:
    return at + int(struct.unpack_from("<I", data, at)[0])


def _elements(data: bytes, table: int, number: int) -> list[int]:
    start = _follow(data, _field(data, table, number))
    count = struct.unpack_from("<I", data, start)[0]
    return [_follow(data, start + 4 + 4 * i) for i in range(count)]


def _bytes(data: bytes, table: int, number: int) -> bytes:
    start = _follow(data, _field(data, table, number))
    return data[start + 4 : start + 4 + struct.unpack_from("<I", data, start)[0]]


def _scaling(data: bytes) -> tuple[float, float]:
    """Mean and deviation that a model tells, the long way: model, buffer, picture, first process unit."""
    model = _follow(data, 0)
    entry = _elements(data, model, 6)[-1]
    assert _bytes(data, entry, 0) == b"TFLITE_METADATA"
    buffer = _elements(data, model, 4)[struct.unpack_from("<I", data, _field(data, entry, 1))[0]]
    start = _follow(data, _field(data, buffer, 0)) + 4
    assert start % 16 == 0
    metadata = _bytes(data, buffer, 0)
    assert metadata[4:8] == b"M001"
    subgraph = _elements(metadata, _follow(metadata, 0), 3)[0]
    picture = _elements(metadata, subgraph, 2)[0]
    content = _follow(metadata, _field(metadata, picture, 3))
    assert metadata[_field(metadata, content, 0)] == 2  # it is an image
    properties = _follow(metadata, _field(metadata, content, 1))
    assert metadata[_field(metadata, properties, 0)] == 1  # in red, green and blue
    unit = _elements(metadata, picture, 4)[0]
    assert metadata[_field(metadata, unit, 0)] == 1  # that is scaled
    scaling = _follow(metadata, _field(metadata, unit, 1))
    (mean,), (deviation,) = (struct.unpack("<f", _floats(metadata, scaling, n)) for n in (0, 1))
    return mean, deviation


def _floats(data: bytes, table: int, number: int) -> bytes:
    start = _follow(data, _field(data, table, number))
    return data[start + 4 : start + 4 + 4 * struct.unpack_from("<I", data, start)[0]]


def test_the_scaling_is_told_and_everything_else_stays() -> None:
    made = with_normalization(_small_model(), mean=127.5, deviation=63.25)
    assert _scaling(made) == (127.5, 63.25)
    assert made[4:8] == b"TFL3"
    assert made.endswith(_small_model())
    assert (len(made) - len(_small_model())) % 16 == 0
    model = _follow(made, 0)
    assert struct.unpack_from("<I", made, _field(made, model, 0))[0] == 3
    buffers = _elements(made, model, 4)
    assert len(buffers) == 3
    assert _field(made, buffers[0], 0) == 0
    assert _bytes(made, buffers[1], 0) == WEIGHTS
    assert (_follow(made, _field(made, buffers[1], 0)) + 4) % 16 == 0
    assert [_bytes(made, entry, 0) for entry in _elements(made, model, 6)] == [b"other", b"TFLITE_METADATA"]
    assert with_normalization(_small_model(), mean=127.5, deviation=63.25) == made


def test_what_a_model_told_before_is_replaced() -> None:
    made = with_normalization(_small_model(metadata_name=b"TFLITE_METADATA"), mean=0.0, deviation=255.0)
    assert _scaling(made) == (0.0, 255.0)
    assert len(_elements(made, _follow(made, 0), 6)) == 1


def test_a_cut_or_damaged_model_is_refused_and_never_read_beyond_its_end() -> None:
    model = _small_model()
    with pytest.raises(DamagedError, match="not a flat buffer of kind TFL3"):
        with_normalization(b"PK\3\4" + model, mean=0, deviation=1)
    for size in range(len(model)):
        try:
            with_normalization(model[:size], mean=0, deviation=1)
        except NightrigError:
            continue
    for at in range(0, len(model), 2):
        for value in (0xFF, 0x7F, 0x80):
            damaged = bytearray(model)
            damaged[at] ^= value
            try:
                with_normalization(bytes(damaged), mean=0, deviation=1)
            except NightrigError:
                continue
    with pytest.raises(DamagedError, match="outside of"):
        Table.root(struct.pack("<I4s", 1 << 30, b"TFL3"), b"TFL3")


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with two small models in it, which are taken for the published ones."""
    path = tmp_path / "mediapipe-0.10.18-any.whl"
    model = _small_model()
    digest = hashlib.sha256(model).hexdigest()
    small = [replace(each, sha256=digest, size_bytes=len(model)) for each in pose_bundle._MODELS]
    monkeypatch.setattr(pose_bundle, "_MODELS", tuple(small))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in small:
            archive.writestr(each.path, model)
        archive.writestr(pose_bundle._LICENSE, "Apache License")
    return path


def test_a_bundle_has_both_models_uncompressed_and_aligned_and_the_licence(wheel: Path) -> None:
    data = bundle_from_wheel(wheel)
    with zipfile.ZipFile(io.BytesIO(data)) as bundle:
        names = ["pose_detector.tflite", "pose_landmarks_detector.tflite", "LICENSE"]
        assert bundle.namelist() == names
        assert bundle.testzip() is None
        assert bundle.read("LICENSE") == b"Apache License"
        assert _scaling(bundle.read(names[0])) == (127.5, 127.5)
        assert _scaling(bundle.read(names[1])) == (0.0, 255.0)
        for info in bundle.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            assert data.index(bundle.read(info), info.header_offset) % 64 == 0
    assert bundle_from_wheel(wheel) == data


@pytest.mark.parametrize("change", [lambda model: model + b"\0", lambda model: bytes(len(model))])
def test_a_model_that_is_not_the_published_one_is_refused(wheel: Path, change: object) -> None:
    model = pose_bundle._MODELS[1].path
    with zipfile.ZipFile(wheel) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content[model] = change(content[model])  # type: ignore[operator]
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    with pytest.raises(DamagedError, match=rf"{wheel.name}: {model} is not the model that .* fetch it anew"):
        bundle_from_wheel(wheel)


def test_a_file_that_is_no_such_wheel_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot read .*absent\.whl: No such file"):
        bundle_from_wheel(tmp_path / "absent.whl")
    other = tmp_path / "other.whl"
    other.write_bytes(b"no zip at all")
    with pytest.raises(NotOurFileError, match=r"other\.whl is no wheel, or a damaged one"):
        bundle_from_wheel(other)
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("mediapipe/__init__.py", "")
    with pytest.raises(
        NotOurFileError, match=r"is no wheel of mediapipe 0\.10\.18: .*pose_detection\.tflite"
    ):
        bundle_from_wheel(other)
