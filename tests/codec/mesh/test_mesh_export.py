from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codec.errors import CodecError, StorageError
from codec.mesh import write_obj, write_ply

VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 1.25, 0], [0, 0, -0.001]], np.float32)
FACES = np.array([[0, 1, 2], [0, 2, 3]])


def test_an_obj_file_has_its_faces_counted_from_one(tmp_path: Path) -> None:
    write_obj(tmp_path / "body.obj", VERTICES, FACES)
    lines = (tmp_path / "body.obj").read_text().splitlines()
    assert lines[2:4] == ["v 0.000000 1.250000 0.000000", "v 0.000000 0.000000 -0.001000"]
    assert lines[4:] == ["f 1 2 3", "f 1 3 4"]


def test_a_ply_file_holds_exactly_the_mesh(tmp_path: Path) -> None:
    write_ply(tmp_path / "body.ply", VERTICES.astype(np.float64), FACES.astype(np.uint16))
    header, body = (tmp_path / "body.ply").read_bytes().split(b"end_header\n", 1)
    assert header.startswith(b"ply\nformat binary_little_endian 1.0\nelement vertex 4\n")
    assert b"element face 2\nproperty list uchar int vertex_indices\n" in header
    np.testing.assert_array_equal(np.frombuffer(body, "<f4", 12).reshape(4, 3), VERTICES)
    rows = np.frombuffer(body, np.dtype([("n", "u1"), ("v", "<i4", 3)]), offset=48)
    assert rows["n"].tolist() == [3, 3]
    np.testing.assert_array_equal(rows["v"], FACES)


@pytest.mark.parametrize("write", [write_obj, write_ply])
def test_a_mesh_without_faces_is_a_point_cloud_and_a_second_export_replaces_the_first(
    tmp_path: Path, write: object
) -> None:
    assert callable(write)
    write(tmp_path / "body", VERTICES, FACES)
    with_faces = (tmp_path / "body").stat().st_size
    write(tmp_path / "body", VERTICES, np.zeros((0, 3), int))
    assert 0 < (tmp_path / "body").stat().st_size < with_faces
    assert [p.name for p in tmp_path.iterdir()] == ["body"]


@pytest.mark.parametrize("write", [write_obj, write_ply])
@pytest.mark.parametrize(
    ("vertices", "faces"),
    [
        (VERTICES[:, :2], FACES),
        (VERTICES.astype(int), FACES),
        (VERTICES, FACES + 2),
        (VERTICES, FACES - 1),
        (VERTICES, FACES.astype(float)),
        (VERTICES, FACES[0]),
    ],
)
def test_a_mesh_that_is_none_is_refused_and_nothing_written(
    tmp_path: Path, write: object, vertices: object, faces: object
) -> None:
    assert callable(write)
    with pytest.raises(CodecError):
        write(tmp_path / "body", vertices, faces)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        write_obj(tmp_path / "no folder" / "body.obj", VERTICES, FACES)
