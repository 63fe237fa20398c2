"""Native mesh files: everything comes back on the grid, whoever comes and goes, whatever befalls the file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from moving_bodies import moving_bodies, worst_error_mm

from codec.errors import CodecError, DiskFullError, FormatError, NotOurFileError, StorageError
from codec.mesh import MeshReader as BodycompressReader
from codec.mesh import MeshWriter, native_writer
from codec.mesh._affine_fit import FitSettings
from codec.mesh._segment import make_batch, pack_segment, to_grid
from codec.mesh._training import Training
from codec.mesh.native_reader import NativeMeshReader
from codec.mesh.native_writer import NativeMeshWriter, Way
from codec.records import RecordFile
from codec.records.layout import MESH_MODEL, MESHES

WAYS: tuple[Way, ...] = ("fast", "affine")
FRAMES = 500


def write(path: Path, frames: list[dict[str, Any]], *, way: Way = "fast", **settings: Any) -> Path:
    with NativeMeshWriter(path, way=way, **{"fps": 30.0, **settings}) as writer:
        for frame in frames:
            writer.append(**frame)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    with NativeMeshReader(path) as reader:
        frames = list(reader)
        assert reader.complete, reader.note
        assert len(reader) == len(frames)
    return frames


def plain(vertices: npt.NDArray[np.float32]) -> list[dict[str, Any]]:
    return [{"vertices": each, "frame_number": n} for n, each in enumerate(vertices)]


def ways_in(path: Path) -> list[str]:
    with RecordFile(path) as file:
        return ["fast" if file.read(int(i)).payload[0] == 1 else "affine" for i in file.of_kind(MESHES)]


@pytest.mark.parametrize("way", WAYS)
def test_frames_come_back_within_half_a_step_with_everything_beside_them(tmp_path: Path, way: Way) -> None:
    vertices = moving_bodies(FRAMES, people=2, points=80)
    frames = [
        {
            "vertices": v,
            "joints": v[:, ::8] + 3,
            "vertex_uncertainties": v[..., 0] / 1e5,
            "joint_uncertainties": v[:, ::8, 1] / 1e5,
            "camera": {"loc": [1.0, 2.0, float(n)], "name": "front"},
            "pose": np.arange(6).reshape(2, 3) + n,
        }
        for n, v in enumerate(vertices)
    ]
    path = write(tmp_path / "a.nrm", frames, way=way, metadata={"model": "tubes", "limits": np.eye(2)})
    assert set(ways_in(path)) == ({"fast"} if way == "fast" else {"fast", "affine"})
    for got, gave in zip(read(path), frames, strict=True):
        for name, tolerance in (("vertices", 0.25), ("joints", 0.25)):
            assert np.abs(got[name] - gave[name]).max() <= tolerance + 1e-3
            assert got[name].dtype == np.float32
        for name in ("vertex_uncertainties", "joint_uncertainties"):
            assert np.abs(got[name] - gave[name]).max() <= 0.00025 + 1e-6
        assert got["camera"] == gave["camera"]
        np.testing.assert_array_equal(got["pose"], gave["pose"])
    with NativeMeshReader(path) as reader:
        assert reader.metadata["model"] == "tubes"  # type: ignore[index]
        np.testing.assert_array_equal(reader.metadata["limits"], np.eye(2))  # type: ignore[index]
        assert (reader.fps, reader.quantization_mm, reader.closed) == (30.0, 0.5, True)


@pytest.mark.parametrize("way", WAYS)
def test_the_grid_is_that_of_bodycompress_files_bit_for_bit(tmp_path: Path, way: Way) -> None:
    frames = plain(moving_bodies(FRAMES, points=60))
    for step in (0.5, 0.1):
        write(tmp_path / f"{step}.nrm", frames, way=way, quantization_mm=step)
        with MeshWriter(tmp_path / f"{step}.xz", quantization_mm=step) as writer:
            for frame in frames:
                writer.append(**frame)
        with BodycompressReader(tmp_path / f"{step}.xz") as reader:
            for ours, theirs in zip(read(tmp_path / f"{step}.nrm"), reader, strict=True):
                assert ours["vertices"].dtype == theirs["vertices"].dtype
                np.testing.assert_array_equal(ours["vertices"], theirs["vertices"])


def test_affine_is_smaller_than_fast_once_it_has_its_model(tmp_path: Path) -> None:
    frames = plain(moving_bodies(900, points=120))
    path = write(tmp_path / "a.nrm", frames, way="affine")
    with RecordFile(path) as file:
        lengths = file.entries["length"][file.of_kind(MESHES)]
        models = file.entries["number"][file.of_kind(MESH_MODEL)].tolist()
    assert len(set(models)) == 2  # the order, and the model
    assert all(models.count(model) == 2 for model in models)
    assert ways_in(path)[0] == "fast"
    assert ways_in(path)[-1] == "affine"
    assert lengths[-1] < 0.9 * lengths[0]


def test_a_long_file_made_in_no_time_has_its_model_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_writer, "_MODEL_EVERY_SEGMENTS", 150)
    frames = plain(moving_bodies(700, points=40))
    with RecordFile(write(tmp_path / "a.nrm", frames, segment_s=2 / 30)) as file:
        kinds = file.entries["kind"].tolist()
        models = file.entries["number"][file.of_kind(MESH_MODEL)].tolist()
    assert kinds.count(MESHES) == 350
    assert len(models) == 3
    assert len(set(models)) == 1  # copies


@pytest.mark.parametrize("way", WAYS)
def test_what_is_not_known_comes_back_as_nan_and_nothing_else_does(tmp_path: Path, way: Way) -> None:
    vertices = moving_bodies(FRAMES, people=3, points=50).astype(np.float64)
    vertices[20:40, 1] = np.nan  # somebody is lost
    vertices[30, 0, 5] = np.inf
    vertices[31, 0, 7, 2] = 1e300
    vertices[450:460] = np.nan
    vertices[470, 2, 10:20] = np.nan
    path = tmp_path / "a.nrm"
    with NativeMeshWriter(path, way=way, fps=30.0) as writer:
        for each in vertices:
            writer.append(each)
        assert writer.unknown_points == 20 * 50 + 2 + 10 * 150 + 10
    expected = np.isfinite(vertices).all(axis=-1, keepdims=True) & (np.abs(vertices) < 1e9).all(
        axis=-1, keepdims=True
    )
    for got, gave, known in zip(read(path), vertices, np.broadcast_to(expected, vertices.shape), strict=True):
        assert np.isnan(got["vertices"][~known]).all()
        assert np.abs(got["vertices"][known] - gave[known]).max(initial=0.0) <= 0.2501


@pytest.mark.parametrize("way", WAYS)
def test_people_come_go_and_change_places(tmp_path: Path, way: Way) -> None:
    bodies = moving_bodies(FRAMES, people=4, points=40)
    random = np.random.default_rng(1)
    frames = []
    for n, each in enumerate(bodies):
        here = [p for p in range(4) if (n // 37 + p) % 3] if n % 50 else []
        frames.append({"vertices": each[random.permutation(here).astype(int)], "n": n})
    for got, gave in zip(read(write(tmp_path / "a.nrm", frames, way=way)), frames, strict=True):
        assert got["vertices"].shape == gave["vertices"].shape
        assert np.abs(got["vertices"] - gave["vertices"]).max(initial=0.0) <= 0.2501


@pytest.mark.parametrize(
    "shape", [(60, 3), (1, 60, 3), (2, 3, 60, 3), (0, 60, 3), (2, 0, 3), (1, 1, 3), (3, 2, 3)], ids=str
)
@pytest.mark.parametrize("way", WAYS)
def test_any_leading_axes_and_any_number_of_points(tmp_path: Path, way: Way, shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(3)
    frames = [{"vertices": random.normal(0, 900, shape)} for _ in range(40)]
    for got, gave in zip(read(write(tmp_path / "a.nrm", frames, way=way)), frames, strict=True):
        assert got["vertices"].shape == shape
        assert np.abs(got["vertices"] - gave["vertices"]).max(initial=0.0) <= 0.2501


def test_other_points_begin_another_segment_and_another_model(tmp_path: Path) -> None:
    frames = [
        *plain(moving_bodies(400, points=70)),
        *[{"joints": each[:, :9]} for each in moving_bodies(30, points=70)],
        *[{"note": "nobody"} for _ in range(5)],
        *plain(moving_bodies(400, points=90)),
    ]
    back = read(write(tmp_path / "a.nrm", frames, way="affine"))
    for got, gave in zip(back, frames, strict=True):
        assert got.keys() == gave.keys()
        for key in gave:
            if isinstance(gave[key], np.ndarray):
                assert np.abs(got[key] - gave[key]).max() <= 0.2501


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        ({"vertices": np.zeros((1, 5, 2))}, "vertices must be numbers"),
        ({"vertices": np.array([["a"]])}, "vertices must be numbers"),
        ({"vertices": np.zeros((2, 5, 3)), "joints": np.zeros((1, 4, 3))}, "not of the same people"),
        (
            {"vertices": np.zeros((1, 5, 3)), "vertex_uncertainties": np.zeros((1, 4))},
            "not of the same points",
        ),
        ({"vertices": np.zeros((1, 5, 3)), "qd_x": 1}, "qd_x"),
        ({"vertices": np.zeros((1, 5, 3)), "x": object()}, "'x'"),
        ({"vertices": np.zeros((1, 5, 3)), "x": np.array([object()])}, "x"),
    ],
)
def test_a_frame_that_is_wrong_is_refused_and_the_file_stays_good(
    tmp_path: Path, frame: dict[str, Any], words: str
) -> None:
    good = plain(moving_bodies(5, points=5))
    with NativeMeshWriter(tmp_path / "a.nrm") as writer:
        writer.append(**good[0])
        with pytest.raises(CodecError, match=words) as caught:
            writer.append(**frame)
        assert "a.nrm: frame 1" in str(caught.value)
        for each in good[1:]:
            writer.append(**each)
    assert worst_error_mm(read(tmp_path / "a.nrm"), moving_bodies(5, points=5)) <= 0.2501


def test_frames_by_number_and_by_time(tmp_path: Path) -> None:
    vertices = moving_bodies(200, points=30)
    frames = [{"vertices": v, "monotonic_ns": 10**12 + n * 40_000_000} for n, v in enumerate(vertices)]
    with NativeMeshReader(write(tmp_path / "a.nrm", frames)) as reader:
        for number in (0, 59, 60, 61, 199, -1, -200):
            assert np.abs(reader[number]["vertices"] - vertices[number]).max() <= 0.2501
        for number in (200, -201):
            with pytest.raises(IndexError, match="200 frames"):
                _ = reader[number]
        for seconds, number in (
            (0.0, 0),
            (0.039, 1),
            (2.4, 60),
            (2.37, 59),
            (7.96, 199),
            (99.0, 199),
            (-5.0, 0),
        ):
            assert np.abs(reader.at(seconds)["vertices"] - vertices[number]).max() <= 0.2501
    with NativeMeshReader(write(tmp_path / "b.nrm", plain(vertices))) as reader:
        assert reader.at(2.0)["frame_number"] == 60
    timeless = NativeMeshReader(write(tmp_path / "c.nrm", plain(vertices), fps=None))
    with timeless, pytest.raises(FormatError, match="monotonic_ns"):
        timeless.at(1.0)


def test_segments_close_in_time_without_another_frame(tmp_path: Path) -> None:
    with NativeMeshWriter(tmp_path / "a.nrm", segment_s=0.2) as writer:
        writer.append(**plain(moving_bodies(1))[0])
        deadline_s = time.monotonic() + 10
        while writer.frames_written == 0 and time.monotonic() < deadline_s:
            time.sleep(0.02)
        with NativeMeshReader(tmp_path / "a.nrm") as reader:
            assert len(reader) == 1
            assert not reader.closed
            assert reader.note == "the writer stopped before it could close the file"


def test_an_exception_in_the_block_keeps_what_was_appended(tmp_path: Path) -> None:
    vertices = moving_bodies(70, points=20)

    def record() -> None:
        with NativeMeshWriter(tmp_path / "a.nrm") as writer:
            for each in vertices:
                writer.append(each)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        record()
    assert worst_error_mm(read(tmp_path / "a.nrm"), vertices) <= 0.2501


def test_an_existing_file_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "a.nrm").write_bytes(b"mine")
    with pytest.raises(StorageError, match="exists already"):
        NativeMeshWriter(tmp_path / "a.nrm")
    assert (tmp_path / "a.nrm").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "settings",
    [{"quantization_mm": 0.0}, {"segment_s": -1.0}, {"way": "best"}, {"fps": 0.0}, {"metadata": object()}],
)
def test_settings_that_make_no_sense_are_refused_before_a_file_is_made(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    with pytest.raises(CodecError):
        NativeMeshWriter(tmp_path / "a.nrm", **settings)
    assert list(tmp_path.iterdir()) == []


def test_disk_that_fills_up_is_told_and_what_is_written_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vertices = moving_bodies(120, points=50)
    writer = NativeMeshWriter(tmp_path / "a.nrm", fps=30.0)
    for each in vertices[:60]:
        writer.append(each)
    writer.flush()

    def full(*_: object) -> int:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("codec.durable.system.calls.writev", full)
    for each in vertices[60:]:
        writer.append(each)
    with pytest.raises(DiskFullError):
        writer.flush()
    with pytest.raises(DiskFullError):
        writer.append(vertices[0])
    writer.close()
    monkeypatch.undo()
    with NativeMeshReader(tmp_path / "a.nrm") as reader:
        assert worst_error_mm(list(reader), vertices[:60]) <= 0.2501
        assert "stopped before it could close" in reader.note


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"no meshes")
    with pytest.raises(NotOurFileError, match="text"):
        NativeMeshReader(tmp_path / "text")
    with pytest.raises(StorageError, match="missing"):
        NativeMeshReader(tmp_path / "missing")


def test_segment_is_packed_as_often_as_wanted_unless_its_points_may_be_used_up() -> None:
    vertices = moving_bodies(40, people=2, points=150)
    frames = [to_grid({"vertices": v}, 2.0) for v in vertices]
    batch = make_batch(frames, 2.0)
    training = Training(batch.signature, FitSettings(now=(5, 7), before=(6, 3)))
    training.see(batch)
    training.start()
    model = training.take(wait=True)
    first, second = (pack_segment(frames, batch, model, steps_per_mm=2.0) for _ in range(2))
    again = make_batch(frames, 2.0, use_up=True)
    assert first == second == pack_segment(frames, again, model, steps_per_mm=2.0, use_up=True)
    assert not any(frame.steps.size for frame in frames)


def test_points_that_are_masked_come_back_as_nan(tmp_path: Path) -> None:
    vertices = np.ma.masked_array(moving_bodies(1, points=5)[0], mask=False)
    vertices[0, 2, 1] = np.ma.masked
    with NativeMeshReader(write(tmp_path / "a.nrm", [{"vertices": vertices}])) as reader:
        got = reader[0]["vertices"]
    assert np.isnan(got[0, 2]).all()
    assert np.isfinite(got[0, [0, 1, 3, 4]]).all()
