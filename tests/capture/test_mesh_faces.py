"""The triangles of meshes: told with the stream, never guessed from a number of vertices."""

from __future__ import annotations

import base64
import zlib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from capture.body.procedural import procedural_body
from capture.estimation import estimator_info
from capture.frames import CameraInfo, StreamInfo
from capture.mesh_faces import faces_of, mesh_metadata, pack_faces, read_faces, unpack_faces
from capture.specs import EstimatorSpec
from codec.errors import EstimatorError, FormatError, StorageError
from codec.mesh import MeshReader, MeshWriter
from tests.capture.body import smpl_imitation

SQUARE = np.array([[0, 1, 2], [2, 3, 0]])
MESH = StreamInfo("mesh", "mesh", 6, 1, 30.0)
FRONT = {"front": CameraInfo("front", "simulated", "", (StreamInfo("color", "bgr8", 8, 8, 30.0),))}


def someone_elses() -> np.ndarray:
    """A body of as many vertices as ours, numbered otherwise, as SMPL's are."""
    points = procedural_body().template_vertices
    return points[np.random.default_rng(1).permutation(len(points))]


@pytest.mark.parametrize("faces", [SQUARE, procedural_body().faces, np.array([[0, 0, 2**31 - 1]])])
def test_triangles_go_into_a_text_and_come_back(faces: np.ndarray) -> None:
    text = pack_faces(faces)
    assert text.isascii()
    np.testing.assert_array_equal(unpack_faces(text), faces)
    assert len(pack_faces(procedural_body().faces)) < 12_000
    assert unpack_faces("") is None


@pytest.mark.parametrize(
    "text",
    [
        "?",
        "AAAA",
        pack_faces(SQUARE)[:-8],
        base64.b64encode(zlib.compress(bytes(4))).decode(),
        base64.b64encode(zlib.compress(b"")).decode(),
        base64.b64encode(zlib.compress(b"\xff" * 12)).decode(),
        base64.b64encode(zlib.compress(bytes(12 * (2 << 20)))).decode(),
    ],
    ids=["no base64", "no zlib", "cut off", "two thirds missing", "none", "below 0", "too many"],
)
def test_a_text_that_holds_no_triangles_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="triangles"):
        unpack_faces(text)


@pytest.mark.parametrize("wrong", [np.zeros((2, 3)), np.zeros((2, 4), int), np.zeros(3, int), -SQUARE])
def test_what_is_no_triangles_is_not_packed(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="triangles"):
        pack_faces(wrong)


@pytest.mark.parametrize("suffix", ["xz", "nrm"])
def test_a_mesh_file_brings_its_triangles_along(tmp_path: Path, suffix: str) -> None:
    info = estimator_info(
        EstimatorSpec("bodies", "body", ("front",), {}),
        (replace(MESH, faces=pack_faces(SQUARE)),),
        FRONT,
        ("front", "color"),
    )
    path = tmp_path / f"a.{suffix}"
    codec = {"xz": "bodycompress", "nrm": "native"}[suffix]
    with MeshWriter(path, codec=codec, metadata=mesh_metadata(asdict(info))) as writer:
        writer.append(np.zeros((1, 4, 3), np.float32))
    with MeshReader(path) as reader:
        assert isinstance(reader.metadata, dict)
        assert reader.metadata["camera"]["model"] == "body"
        np.testing.assert_array_equal(faces_of(reader.metadata, np.zeros((4, 3))), SQUARE)


def test_an_estimator_that_knows_no_triangles_tells_none() -> None:
    camera = asdict(CameraInfo("bodies", "estimator", "nlf", (MESH,)))
    assert mesh_metadata(camera) == {"camera": {"name": "bodies", "backend": "estimator", "model": "nlf"}}


@pytest.mark.parametrize(
    ("faces", "message"), [("?", "stream mesh: packed triangles"), (pack_faces(SQUARE + 9), "name point 12")]
)
def test_an_estimator_with_impossible_triangles_is_refused(faces: str, message: str) -> None:
    spec = EstimatorSpec("mine", "foreign", ("front",), {})
    with pytest.raises(EstimatorError, match=message):
        estimator_info(spec, (replace(MESH, faces=faces),), FRONT, ("front", "color"))


def test_older_meshes_of_our_own_body_are_recognised_in_any_pose() -> None:
    body = procedural_body()
    random = np.random.default_rng(4)
    for _ in range(10):
        points = body.skin(0.6 * random.normal(size=72), 2 * random.normal(size=10), random.normal(size=3))
        assert faces_of({"camera": {}}, 1000 * points) is body.faces


@pytest.mark.parametrize(
    "points",
    [
        someone_elses(),
        np.roll(procedural_body().template_vertices, 1, axis=0),
        np.zeros((6890, 3)),
        np.full((6890, 3), np.nan),
        procedural_body().template_vertices[:-1],
    ],
    ids=["other order", "one further on", "a point", "no numbers", "one vertex less"],
)
def test_another_body_never_gets_our_triangles(points: np.ndarray) -> None:
    assert faces_of(None, points) is None


@pytest.mark.parametrize("told", [SQUARE + 3, SQUARE.astype(float), SQUARE[:, :2], -SQUARE])
def test_triangles_that_a_file_tells_wrong_are_not_taken(told: np.ndarray) -> None:
    assert faces_of({"faces": told}, np.zeros((4, 3))) is None


def test_a_user_may_name_a_file_of_triangles(tmp_path: Path) -> None:
    arrays = smpl_imitation.arrays(500)
    np.savez(tmp_path / "SMPL_NEUTRAL.npz", **arrays)
    np.testing.assert_array_equal(read_faces(tmp_path / "SMPL_NEUTRAL.npz"), arrays["f"])
    np.save(tmp_path / "faces.npy", SQUARE.astype(np.uint16))
    np.testing.assert_array_equal(read_faces(tmp_path / "faces.npy"), SQUARE)


def test_a_file_of_other_things_is_one_line_that_names_it(tmp_path: Path) -> None:
    np.save(tmp_path / "floats.npy", np.zeros((2, 3)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "floats.npy").read_bytes()[:-8])
    (tmp_path / "text.npy").write_text("f 1 2 3\n")
    for name, message in (("floats", "whole numbers"), ("cut", "no .npy file"), ("text", "no .npy file")):
        with pytest.raises(FormatError, match=f"{name}.npy.*{message}"):
            read_faces(tmp_path / f"{name}.npy")
    with pytest.raises(StorageError, match=r"missing.npy: No such file"):
        read_faces(tmp_path / "missing.npy")
