"""Files that bodycompress itself wrote, of every version and with every option, against what went in."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_frames import GOLDENS, CameraValues, Golden, on_grid, order_of

from codec.mesh import BodyDecompressor, Camera, MeshReader
from codec.mesh.camera import rotation_matrix
from codec.mesh.vertex_order import vertex_order

FOLDER = Path(__file__).parent / "golden"
WHOLE = [name for name, golden in GOLDENS.items() if not golden.killed]
QUANTISED = {"vertices": 1, "joints": 1, "vertex_uncertainties": 1000, "joint_uncertainties": 1000}


@pytest.fixture(autouse=True)
def zstandard_where_it_is_needed(request: pytest.FixtureRequest) -> None:
    if any(str(value).endswith(".zst") for value in request.node.callspec.params.values()):
        pytest.importorskip("zstandard", reason="the extra zstd is not installed")


def assert_same(given: Any, read: Any) -> None:
    if isinstance(given, np.ndarray | np.generic):
        assert read.dtype == given.dtype
        np.testing.assert_array_equal(read, given)
    elif isinstance(given, dict):
        assert list(given) == list(read)
        for key, value in given.items():
            assert_same(value, read[key])
    elif isinstance(given, list | tuple):
        assert len(given) == len(read)
        for one, other in zip(given, read, strict=True):
            assert_same(one, other)
    else:
        assert type(read) is type(given)
        assert read == given


def assert_camera(values: CameraValues | dict[str, Any], read: Any) -> None:
    if isinstance(values, dict):
        assert_same(values, read)
        return
    assert read.keys() == {"rotvec_w2c", "loc", "intr", "up"} | ({"distcoef"} if values.distortion else set())
    np.testing.assert_allclose(read["rotvec_w2c"], values.rotvec, atol=2e-6)
    np.testing.assert_array_equal(read["loc"], np.float32(values.centre))
    np.testing.assert_array_equal(read["intr"], np.float32(values.intrinsics[:2]))
    np.testing.assert_array_equal(read["up"], np.float32(values.up))
    if values.distortion:
        np.testing.assert_array_equal(read["distcoef"], np.float32(values.distortion))


def assert_frames(golden: Golden, frames: list[dict[str, Any]]) -> None:
    for given, read in zip(golden.frames, frames, strict=True):
        assert given.keys() == read.keys()
        for key, value in given.items():
            if key in QUANTISED:
                expected = on_grid(value, 1 / golden.step_mm * QUANTISED[key], golden.library)
                assert read[key].dtype == expected.dtype
                np.testing.assert_array_equal(read[key], expected)
            elif key == "camera":
                assert_camera(value, read[key])
            else:
                assert_same(value, read[key])


@pytest.mark.parametrize("name", WHOLE)
def test_every_frame_of_every_version_comes_back_as_it_was_given(name: str) -> None:
    golden = GOLDENS[name]
    with MeshReader(FOLDER / name) as reader:
        frames = list(reader)
        assert_frames(golden, frames)
        assert_same(golden.metadata, reader.metadata)
        assert (len(reader), reader.complete, reader.closed, reader.note) == (len(frames), True, True, "")
        assert ".".join(map(str, reader.version[:2])) == golden.library
        assert_frames(golden, [reader[n] for n in range(len(reader))])
        assert_frames(golden, [reader[n] for n in range(-len(reader), 0)])
        with pytest.raises(IndexError):
            reader[len(reader)]
    with BodyDecompressor(FOLDER / name) as decompressor:
        assert (decompressor.length, decompressor.metadata is None) == (len(frames), golden.metadata is None)
        assert_frames(golden, list(decompressor))


@pytest.mark.parametrize("name", [name for name in GOLDENS if GOLDENS[name].killed])
def test_a_file_whose_stock_writer_was_killed_gives_every_whole_frame(name: str) -> None:
    golden = GOLDENS[name]
    with MeshReader(FOLDER / name) as reader:
        frames = list(reader)
        assert len(frames) >= 20
        assert_frames(Golden(golden.library, golden.frames[: len(frames)]), frames)
        assert (reader.metadata, reader.complete, reader.closed) == (golden.metadata, False, False)
        assert "the writer stopped before it could close the file" in reader.note
        assert_frames(Golden(golden.library, golden.frames[len(frames) - 1 : len(frames)]), [reader[-1]])
    with (
        pytest.warns(UserWarning, match="every whole frame is read"),
        BodyDecompressor(FOLDER / name) as again,
    ):
        assert len(list(again)) == len(frames) == again.length


@pytest.mark.parametrize("name", ["030-cameras.xz", "020-camera.xz"])
def test_cameras_are_decoded_where_that_is_asked_for(name: str) -> None:
    for given, frame in zip(
        GOLDENS[name].frames, BodyDecompressor(FOLDER / name, decode_camera=True), strict=True
    ):
        values, camera = given["camera"], frame["camera"]
        assert isinstance(camera, Camera)
        if isinstance(values, CameraValues):
            np.testing.assert_allclose(camera.R, rotation_matrix(np.array(values.rotvec)), atol=2e-6)
            np.testing.assert_array_equal(camera.K, np.float32(values.intrinsics))
            np.testing.assert_array_equal(camera.t, np.float32(values.centre))
            assert camera.has_distortion() == (values.distortion is not None)
        else:
            np.testing.assert_array_equal(camera.up, [0, 0, 1])  # bodycompress's own default


@pytest.mark.parametrize(
    ("name", "points", "digest"),
    [
        ("smpl", 6890, "c7143d0fea0e58eeb9197d47b7fe72e250f6ccbf92d7fb3949703342570897e3"),
        ("smplx", 10475, "68c71a7cdd4f45373a103aae08e3a10726357546ff08618a32dc4ab9f290fa11"),
    ],
)
def test_the_named_orders_are_those_of_bodycompress(name: str, points: int, digest: str) -> None:
    order = vertex_order(name).stored_from_given(points)
    assert order is not None
    np.testing.assert_array_equal(np.sort(order), np.arange(points))
    assert hashlib.sha256(order.astype("<i4").tobytes()).hexdigest() == digest


@pytest.mark.parametrize("points", [30])
def test_the_formula_uses_an_order_that_is_none(points: int) -> None:
    assert not np.array_equal(order_of(points), np.arange(points))
