"""Conversion both ways: whole numbers stay what they are, what cannot come along is told, nothing is half."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_frames import GOLDENS
from moving_bodies import moving_bodies

from codec.errors import CodecError, ConfigError, DiskFullError, StorageError
from codec.mesh import MeshReader, MeshWriter, conversion
from codec.mesh._grid import QUANTISED
from codec.mesh.bodycompress_reader import BodycompressReader
from codec.mesh.conversion import Target, convert, same_meshes
from codec.mesh.msgpack_arrays import pack

GOLDEN = Path(__file__).parent / "golden"
NATIVE = [Target("native", way=way) for way in conversion.WAYS]
XZ = Target("bodycompress", preset=0)


def frames_of(path: Path) -> list[dict[str, Any]]:
    with MeshReader(path) as reader:
        return list(reader)


def integers_of(path: Path) -> Iterator[dict[str, Any]]:
    """What stands in a bodycompress file: whole numbers, in the order of the points, and their scales."""
    with BodycompressReader(path) as reader:
        order = reader._header.order
        for stored in reader._all_objects():
            assert isinstance(stored, dict)
            found = {}
            points = None
            if "qd_vertices" in stored:
                points = stored["qd_vertices"][0].shape[-2]
            indices = order.given_from_stored(points)
            for name, (axis, scale) in QUANTISED.items():
                if f"qd_{name}" in stored:
                    steps, per_unit = stored[f"qd_{name}"]
                    whole = np.cumsum(steps, axis=axis, dtype=np.int64)
                    if indices is not None and name.startswith("vert"):
                        whole = np.take(whole, indices, axis=axis)
                    found[name] = (whole, per_unit / scale)
            yield found


@pytest.mark.parametrize("target", NATIVE, ids=lambda target: target.way)
@pytest.mark.parametrize("name", sorted(GOLDENS))
def test_what_the_stock_library_wrote_comes_through_both_ways_with_every_integer(
    tmp_path: Path, name: str, target: Target
) -> None:
    if name.endswith("zst"):
        pytest.importorskip("zstandard")
    done = convert(GOLDEN / name, tmp_path / "a.nrm", target)
    back = convert(tmp_path / "a.nrm", tmp_path / "a.xz", XZ)
    assert bool(done.damage) == GOLDENS[name].killed
    assert back.lossless
    ours = {"data": frames_of(GOLDEN / name), "native": frames_of(tmp_path / "a.nrm")}
    for there in (ours["native"], frames_of(tmp_path / "a.xz")):
        assert len(there) == len(ours["data"]) == done.frames
        for before, after in zip(ours["data"], there, strict=True):
            assert before.keys() == after.keys()
            for key in before:
                if key in QUANTISED:
                    assert before[key].dtype == after[key].dtype
                    np.testing.assert_array_equal(before[key], after[key])
                else:
                    assert pack(before[key], what=key) == pack(after[key], what=key)
    pairs = list(zip(integers_of(GOLDEN / name), integers_of(tmp_path / "a.xz"), strict=True))
    for before, after in pairs:
        assert before.keys() == after.keys()
        for key, (whole, scale) in before.items():
            np.testing.assert_array_equal(whole, after[key][0])
            assert scale == pytest.approx(after[key][1], rel=1e-12)
    with MeshReader(GOLDEN / name) as old, MeshReader(tmp_path / "a.xz") as new:
        assert pack(old.metadata, what="m") == pack(new.metadata, what="m")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nrm", "a.xz"]


def write_native(path: Path, frames: list[dict[str, Any]], **settings: Any) -> Path:
    with MeshWriter(path, codec="native", fps=30.0, **settings) as writer:
        for frame in frames:
            writer.append(**frame)
    return path


def test_unknown_people_are_left_out_listed_and_counted(tmp_path: Path) -> None:
    vertices = moving_bodies(6, people=3, points=40).astype(np.float64)
    vertices[1, 1] = np.nan
    vertices[2, [0, 2]] = np.nan
    vertices[3, 1, 4] = np.nan
    frames = [{"vertices": v, "joints": v[:, :4], "n": n} for n, v in enumerate(vertices)]
    frames[4]["rejected_people"] = [1]
    frames[4]["vertices"][0] = np.nan
    frames[4]["joints"][0] = np.nan
    frames[5]["rejected_people"] = [2]
    frames[5]["camera"] = {"name": "front"}
    path = write_native(tmp_path / "a.nrm", frames)
    done = convert(path, tmp_path / "a.xz", XZ)
    assert (done.frames, done.left_out, done.cut, done.bare, done.renamed_cameras) == (6, 4, 1, 0, 1)
    assert not done.lossless
    back = frames_of(tmp_path / "a.xz")
    assert [frame.get("rejected_people") for frame in back] == [None, [1], [0, 2], [1], [0], [2]]
    assert back[4]["rejected_people_recorded"] == [1]
    assert back[5]["camera_recorded"] == {"name": "front"}
    assert [len(frame["vertices"]) for frame in back] == [3, 2, 1, 2, 2, 3]
    convert(tmp_path / "a.xz", tmp_path / "b.nrm", Target("native"))
    for before, after in zip(back, frames_of(tmp_path / "b.nrm"), strict=True):
        assert before.keys() == after.keys()
        np.testing.assert_array_equal(before["vertices"], after["vertices"])


def test_a_frame_of_one_person_who_is_unknown_keeps_all_but_its_points(tmp_path: Path) -> None:
    one = moving_bodies(3, points=20)[:, 0].astype(np.float64)
    one[1, 3] = np.nan
    path = write_native(tmp_path / "a.nrm", [{"vertices": v, "n": n} for n, v in enumerate(one)])
    done = convert(path, tmp_path / "a.xz", XZ)
    assert (done.frames, done.bare, done.lossless) == (3, 1, False)
    assert [sorted(frame) for frame in frames_of(tmp_path / "a.xz")] == [
        ["n", "vertices"],
        ["n"],
        ["n", "vertices"],
    ]


@pytest.mark.parametrize("step_mm", [0.5, 0.1, 0.3, 1 / 3, 0.7, 2.0, 1 / 49])
def test_any_step_stays_what_it_is(tmp_path: Path, step_mm: float) -> None:
    with MeshWriter(tmp_path / "a.xz", quantization_mm=step_mm, preset=0) as writer:
        for each in moving_bodies(5, points=30):
            writer.append(each, vertex_uncertainties=each[..., 0] / 1e5)
    done = convert(tmp_path / "a.xz", tmp_path / "a.nrm", Target("native", way="fast"))
    assert done.quantization_mm == pytest.approx(step_mm, rel=1e-15)
    convert(tmp_path / "a.nrm", tmp_path / "b.xz", XZ)
    for before, after in zip(integers_of(tmp_path / "a.xz"), integers_of(tmp_path / "b.xz"), strict=True):
        for key in before:
            np.testing.assert_array_equal(before[key][0], after[key][0])
            assert before[key][1] == after[key][1]


def test_frames_of_two_grids_are_refused_by_number(tmp_path: Path) -> None:
    with MeshWriter(tmp_path / "a.xz") as writer:
        for n, each in enumerate(moving_bodies(4, points=10)):
            writer._writer._quantization_mm = 0.5 if n < 2 else 0.25  # type: ignore[union-attr]
            writer.append(each)
    with pytest.raises(CodecError, match=r"frame 2: its frames lie on grids of 0.5 and 0.25 mm"):
        convert(tmp_path / "a.xz", tmp_path / "a.nrm", Target("native"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.xz"]


@pytest.mark.parametrize("suffix", ["nrm", "xz"])
def test_of_a_damaged_file_what_is_whole_is_converted(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    codec = "native" if suffix == "nrm" else "bodycompress"
    settings: dict[str, Any] = {"fps": 30.0} if suffix == "nrm" else {"preset": 0}
    with MeshWriter(path, codec=codec, segment_s=0.5, **settings) as writer:
        for n, each in enumerate(moving_bodies(90, points=60)):
            writer.append(each, n=n)
            if n % 15 == 14:
                writer.flush()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    whole = frames_of(path)
    assert 0 < len(whole) < 90
    for target, out in ((Target("native"), "b.nrm"), (XZ, "b.xz")):
        done = convert(path, tmp_path / out, target)
        assert done.damage
        assert not done.lossless
        assert [frame["n"] for frame in frames_of(tmp_path / out)] == [frame["n"] for frame in whole]


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "b.nrm").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        convert(GOLDEN / "030-none.xz", tmp_path / "b.nrm", Target("native"))
    assert (tmp_path / "b.nrm").read_text() == "mine"


@pytest.mark.parametrize(
    "failure", [DiskFullError("no room"), KeyboardInterrupt()], ids=["disk full", "Ctrl-C"]
)
def test_what_does_not_get_to_its_end_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    append, count = MeshWriter.append, 0

    def failing(writer: MeshWriter, *args: Any, **frame: Any) -> None:
        nonlocal count
        count += 1
        if count == 5:
            raise failure
        append(writer, *args, **frame)

    monkeypatch.setattr(MeshWriter, "append", failing)
    with pytest.raises(type(failure)):
        convert(GOLDEN / "030-none.xz", tmp_path / "b.nrm", Target("native"))
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_comes_back_wrong_is_found_and_nothing_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = MeshWriter.append

    def one_off(writer: MeshWriter, **frame: Any) -> None:
        if frame["number"] == 3:
            frame["vertices"] = frame["vertices"] + np.float32(0.5)
        append(writer, **frame)

    monkeypatch.setattr(MeshWriter, "append", one_off)
    with pytest.raises(StorageError, match=r"frame 3 .*the entry vertices"):
        convert(GOLDEN / "030-none.xz", tmp_path / "b.nrm", Target("native"))
    assert list(tmp_path.iterdir()) == []


def test_small_is_smaller_than_affine_and_the_same_every_time(tmp_path: Path) -> None:
    frames = [{"vertices": v, "n": n} for n, v in enumerate(moving_bodies(900, people=2, points=300))]
    path = write_native(tmp_path / "a.nrm", frames)
    sizes = {}
    for way in ("fast", "affine", "small"):
        sizes[way] = convert(path, tmp_path / f"{way}.nrm", Target("native", way=way)).after_bytes
    assert sizes["small"] < sizes["affine"] < sizes["fast"]
    convert(path, tmp_path / "again.nrm", Target("native"))
    with MeshReader(tmp_path / "again.nrm") as reader:
        assert (reader.way, reader.closed) == ("small", True)
    assert (tmp_path / "again.nrm").stat().st_size == sizes["small"]
    assert same_meshes(path, tmp_path / "again.nrm", Target("native"))
    assert not same_meshes(GOLDEN / "030-none.xz", tmp_path / "again.nrm", Target("native"))


@pytest.mark.parametrize("way", ["affine", "small"])
@pytest.mark.parametrize("count", [30, 200])
def test_a_short_file_gets_no_model_that_takes_more_than_it_saves(
    tmp_path: Path, way: str, count: int
) -> None:
    frames = [{"vertices": v, "n": n} for n, v in enumerate(moving_bodies(count, points=1500))]
    path = write_native(tmp_path / "a.nrm", frames)
    fast = convert(path, tmp_path / "fast.nrm", Target("native", way="fast")).after_bytes
    stages: list[str] = []
    done = convert(path, tmp_path / "b.nrm", Target("native", way=way), stage=stages.append)
    assert stages == ([] if count == 30 else ["fitting a model", ""])
    assert done.after_bytes < fast + 200  # the word of its way, and other ends of segments
    with MeshReader(tmp_path / "b.nrm") as reader:
        assert reader.has_models == (done.after_bytes < fast - 200)


def test_nothing_is_fitted_where_the_model_alone_would_take_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("nothing was to be fitted")

    monkeypatch.setattr("codec.mesh._training.Training.fit", refused)
    frames = [{"vertices": v} for v in moving_bodies(48, people=1, points=1500)]
    path = write_native(tmp_path / "a.nrm", frames)
    convert(path, tmp_path / "b.nrm", Target("native"))


@pytest.mark.filterwarnings("error")
def test_a_grid_that_the_head_of_a_file_makes_up_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [{"vertices": each} for each in moving_bodies(6, people=1, points=40).astype(np.float64)]
    source = write_native(tmp_path / "a.nrm", frames)
    monkeypatch.setattr(MeshReader, "quantizations_mm", (2e-319,))
    assert convert(source, tmp_path / "a.xz", XZ).lossless
