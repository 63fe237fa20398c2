"""`export --format npz` of meshes: arrays of all people, and to which frame each belongs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture.cli import main
from codec.mesh import MeshReader, MeshWriter

CODECS = {"nrm": "native", "xz": "bodycompress"}
CAMERA = {
    "rotvec_w2c": np.zeros(3, np.float32),
    "loc": np.ones(3, np.float32),
    "intr": np.eye(3, dtype=np.float32)[:2],
    "up": np.float32([0, -1, 0]),
}


def points(people: int, count: int, seed: int) -> Any:
    return np.random.default_rng(seed).normal(0, 300, (people, count, 3)).astype(np.float32)


def export(path: Path, out: Path, *options: str) -> int:
    return main(["export", str(path), "--format", "npz", "--out", str(out), *options])


@pytest.mark.parametrize("suffix", CODECS)
def test_people_who_come_and_go_keep_their_frames(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    with MeshWriter(path, codec=CODECS[suffix]) as writer:
        for n, people in enumerate([2, 0, 1]):
            more: dict[str, Any] = {"camera": CAMERA} if n == 2 else {}
            joints = {} if n == 2 else {"joints": points(people, 4, n)}
            writer.append(points(people, 9, n), **joints, frame_number=7 + n, monotonic_ns=n, **more)
    assert export(path, tmp_path / "out") == 0
    with MeshReader(path) as reader:
        frames = list(reader)
    with np.load(tmp_path / "out" / "meshes-000.npz") as arrays:
        assert arrays["number"].tolist() == [7, 8, 9]
        assert arrays["monotonic_ns"].tolist() == [0, 1, 2]
        assert arrays["people"].tolist() == [2, 0, 1]
        assert arrays["frame"].tolist() == [0, 0, 2]
        np.testing.assert_array_equal(
            arrays["vertices"], np.concatenate([frame["vertices"] for frame in frames])
        )
        np.testing.assert_array_equal(arrays["joints"][:2], frames[0]["joints"])
        assert np.isnan(arrays["joints"][2]).all()
        assert np.isnan(arrays["camera_intr"][:2]).all()
        np.testing.assert_array_equal(arrays["camera_intr"][2], CAMERA["intr"])


def test_triangles_lie_beside_the_meshes_where_they_are_known(tmp_path: Path) -> None:
    folder = tmp_path / "night" / "people"
    folder.mkdir(parents=True)
    for place, faces in enumerate([np.int32([[0, 1, 2]]), np.int32([[2, 1, 0], [0, 1, 2]]), None]):
        metadata = {} if faces is None else {"faces": faces}
        with MeshWriter(folder / f"mesh-{place:03d}.xz", metadata=metadata) as writer:
            for n, people in enumerate([1, 0]):
                writer.append(points(people, 9, n), frame_number=n, monotonic_ns=10 * place + n)
    assert export(tmp_path / "night", tmp_path / "out") == 0
    archives = [dict(np.load(each)) for each in sorted((tmp_path / "out").glob("meshes-*.npz"))]
    assert [each["people"].tolist() for each in archives] == [[1, 0]] * 3
    assert archives[0]["faces"].tolist() == [[0, 1, 2]]
    assert archives[1]["faces"].tolist() == [[2, 1, 0], [0, 1, 2]]
    assert "faces" not in archives[2]


def test_another_number_of_points_begins_the_next_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.xz"
    with MeshWriter(path) as writer:
        for n, count in enumerate([9, 9, 5]):
            writer.append(points(1, count, n))
    assert export(path, tmp_path / "out") == 0
    with np.load(tmp_path / "out" / "meshes-000.npz") as first:
        assert first["vertices"].shape == (2, 9, 3)
        assert first["number"].tolist() == first["monotonic_ns"].tolist() == [-1, -1]
    with np.load(tmp_path / "out" / "meshes-001.npz") as second:
        assert second["vertices"].shape == (1, 5, 3)


def test_archives_stay_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capture.export.npz_meshes._CHUNK_BYTES", 2 * 9 * 3 * 4)
    path = tmp_path / "a.xz"
    with MeshWriter(path) as writer:
        for n in range(5):
            writer.append(points(1, 9, n))
    assert export(path, tmp_path / "out", "--every", "1") == 0
    shapes = [np.load(each)["vertices"].shape[0] for each in sorted((tmp_path / "out").iterdir())]
    assert shapes == [2, 2, 1]


def test_joints_alone_are_meshes_enough(tmp_path: Path) -> None:
    with MeshWriter(tmp_path / "a.xz") as writer:
        writer.append(joints=points(2, 4, 0))
    assert export(tmp_path / "a.xz", tmp_path / "out") == 0
    with np.load(tmp_path / "out" / "meshes-000.npz") as arrays:
        assert arrays["joints"].shape == (2, 4, 3)
        assert "vertices" not in arrays
