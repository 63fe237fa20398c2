"""`nightrig export`: what other programs open is what was recorded."""

from __future__ import annotations

import csv
import json
import struct
from pathlib import Path
from typing import Any

import cv2
import lz4.frame
import numpy as np
import pytest

from capture.body.procedural import procedural_body
from capture.cli import main
from capture.export import FORMATS
from capture.export._pairing import pair
from codec.mesh import MeshWriter
from tests.capture.make_session import (
    HEIGHT,
    START_NS,
    STEP_NS,
    WIDTH,
    SessionMaker,
    color_jpeg,
    depth_picture,
    flip_payload,
    infrared_picture,
)


@pytest.fixture
def maker(tmp_path: Path) -> SessionMaker:
    return SessionMaker(tmp_path / "session")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def export(maker: SessionMaker, out: Path, name: str, *more: str) -> int:
    return main(["export", str(maker.folder), "--format", name, "--out", str(out), *more])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def read_depth(path: Path) -> Any:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


# ---- png ----


def test_png_is_laid_out_as_open3d_has_it_and_bit_exact(maker: SessionMaker, out: Path) -> None:
    maker.camera("front", frames=5, infrared=True)
    assert export(maker, out, "png") == 0
    for number in range(5):
        assert np.array_equal(read_depth(out / f"depth/{number:06d}.png"), depth_picture(number, seed=1))
        assert (out / f"color/{number:06d}.jpg").read_bytes() == color_jpeg(number)
        assert np.array_equal(read_depth(out / f"infrared1/{number:06d}.png"), infrared_picture(number))
    assert json.loads((out / "camera_intrinsic.json").read_text()) == {
        "width": WIDTH,
        "height": HEIGHT,
        "intrinsic_matrix": [50.0, 0, 0, 0, 51.0, 0, 31.5, 23.5, 1],
    }
    facts = json.loads((out / "streams.json").read_text())
    assert facts["streams"]["depth"]["depth_scale_m"] == 0.001
    assert facts["streams"]["color"]["intrinsics"]["fx"] == 60.0
    assert facts["paired_by"] == "hardware"


def test_png_of_several_cameras_has_a_folder_for_each(maker: SessionMaker, out: Path) -> None:
    maker.camera("front", frames=2)
    maker.camera("side", frames=3, color=False)
    maker.estimator()
    assert export(maker, out, "png") == 0
    assert names(out) == ["front", "side"]
    assert names(out / "side") == ["camera_intrinsic.json", "depth", "streams.json", "times.csv"]


def test_camera_option_takes_one_and_puts_it_directly_in_the_folder(maker: SessionMaker, out: Path) -> None:
    maker.camera("front", frames=2)
    maker.camera("side", frames=3)
    assert export(maker, out, "png", "--camera", "side") == 0
    assert len(names(out / "depth")) == 3


def test_png_numbers_pair_pictures_of_one_moment_and_keep_those_without_partner(
    maker: SessionMaker, out: Path
) -> None:
    maker.camera("front", frames=6, lost=[2], color_lost=[4])
    assert export(maker, out, "png") == 0
    assert names(out / "depth") == [f"{n:06d}.png" for n in (0, 1, 3, 4, 5)]
    assert names(out / "color") == [f"{n:06d}.jpg" for n in (0, 1, 2, 3, 5)]
    rows = table(out / "times.csv")
    assert [row["depth_number"] for row in rows] == ["0", "1", "", "3", "4", "5"]
    assert [row["color_number"] for row in rows] == ["0", "1", "2", "3", "", "5"]
    assert rows[3]["depth_monotonic_ns"] == str(START_NS + 3 * STEP_NS)
    assert rows[3]["depth_utc"] == "2025-01-01T22:00:00.099Z"
    assert float(rows[3]["depth_device_time_s"]) == pytest.approx(0.1)


def test_damaged_frames_are_left_out_and_make_exit_3(
    maker: SessionMaker, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = maker.camera("front", frames=4)
    flip_payload(folder / "000.nrig", 1)
    assert export(maker, out, "png") == 3
    assert names(out / "depth") == [f"{n:06d}.png" for n in (0, 2, 3)]
    assert len(names(out / "color")) == 4
    assert table(out / "times.csv")[1]["depth_number"] == ""
    assert "left out" in capsys.readouterr().out


def test_every_and_from_and_to_choose_frames(maker: SessionMaker, out: Path) -> None:
    maker.camera("front", frames=30)
    assert export(maker, out, "png", "--from", "0.3", "--to", "0.8", "--every", "3") == 0
    numbers = [int(row["depth_number"]) for row in table(out / "times.csv")]
    assert numbers == [10, 13, 16, 19, 22]
    assert names(out / "depth") == [f"{n:06d}.png" for n in range(5)]


# ---- the others ----


def test_npz_holds_arrays_with_numbers_and_times(maker: SessionMaker, out: Path) -> None:
    maker.camera("front", frames=6, lost=[3])
    maker.estimator(frames=3)
    assert export(maker, out, "npz") == 0
    with np.load(out / "front" / "depth-000.npz") as arrays:
        assert arrays["data"].dtype == np.uint16
        assert arrays["number"].tolist() == [0, 1, 2, 4, 5]
        assert np.array_equal(arrays["data"][3], depth_picture(4, seed=1))
        assert arrays["monotonic_ns"][1] == START_NS + STEP_NS
        assert arrays["device_time_s"][1] == pytest.approx(1 / 30)
    with np.load(out / "front" / "color-000.npz") as arrays:
        assert arrays["data"].shape == (6, HEIGHT, WIDTH, 3)
    with np.load(out / "people" / "parameters-000.npz") as arrays:
        assert arrays["data"].shape == (3, 1, 5)
    with np.load(out / "meshes-000.npz") as arrays:
        assert arrays["vertices"].shape == (6, 3, 3)
        assert arrays["monotonic_ns"][1] == START_NS + 2 * STEP_NS


def test_npz_of_one_camera_leaves_the_meshes_out(maker: SessionMaker, out: Path) -> None:
    maker.camera("front", frames=2, color=False)
    maker.estimator(frames=3)
    assert export(maker, out, "npz", "--camera", "front") == 0
    assert names(out) == ["depth-000.npz"]


def test_npz_chunks_stay_small(maker: SessionMaker, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capture.export.npz._CHUNK_BYTES", 3 * WIDTH * HEIGHT * 2)
    maker.camera("front", frames=7, color=False)
    assert export(maker, out, "npz") == 0
    assert names(out) == ["depth-000.npz", "depth-001.npz", "depth-002.npz"]
    with np.load(out / "depth-002.npz") as arrays:
        assert arrays["number"].tolist() == [6]


def test_mp4_has_every_frame_at_the_nominal_rate(maker: SessionMaker, out: Path) -> None:
    maker.camera("front", frames=9)
    assert export(maker, out, "mp4") == 0
    for name in ("depth", "color"):
        video = cv2.VideoCapture(str(out / f"{name}.mp4"))
        assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(30)
        pictures = []
        while (result := video.read())[0]:
            pictures.append(result[1])
        assert len(pictures) == 9
        assert pictures[0].shape == (HEIGHT, WIDTH, 3)
        video.release()


def test_meshes_come_as_one_file_per_frame_and_person_in_metres(maker: SessionMaker, out: Path) -> None:
    folder = maker.estimator(meshes=2)
    body = procedural_body()
    vertices = np.stack([body.template_vertices, body.template_vertices + 1]) * 1000
    with MeshWriter(folder / "mesh-001.xz") as writer:
        writer.append(vertices=vertices, frame_number=50, monotonic_ns=START_NS + 50 * STEP_NS)
    assert export(maker, out, "obj") == 0
    assert names(out) == [f"mesh_{n:06d}.obj" for n in range(3)] + ["mesh_000002_person1.obj", "times.csv"]
    lines = (out / "mesh_000002_person1.obj").read_text().splitlines()
    points = [line for line in lines if line.startswith("v ")]
    assert len(points) == 6890
    assert [float(v) for v in points[0].split()[1:]] == pytest.approx(
        (body.template_vertices[0] + 1).tolist(), abs=1e-3
    )
    assert sum(line.startswith("f ") for line in lines) == len(body.faces)
    small = (out / "mesh_000000.obj").read_text().splitlines()
    assert small == [
        "v 0.000000 0.000000 0.000000",
        "v 0.000000 0.100000 0.000000",
        "v 0.000000 0.000000 0.100000",
    ]
    rows = table(out / "times.csv")
    assert [(row["number"], row["people"]) for row in rows] == [("0", "1"), ("2", "1"), ("50", "2")]


def test_a_mesh_of_another_body_never_gets_our_triangles(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = procedural_body()
    order = np.random.default_rng(1).permutation(len(body.template_vertices))
    vertices = 1000 * body.template_vertices[order][None]
    place = np.argsort(order)  # of our vertices in the other body
    with MeshWriter(tmp_path / "mesh-000.xz", metadata={"camera": {"model": "nlf"}}) as writer:
        writer.append(vertices=vertices, frame_number=1, monotonic_ns=1)
    command = ["export", str(tmp_path / "mesh-000.xz"), "--format", "obj", "--out"]
    assert main([*command, str(out)]) == 0
    assert "\nf " not in (out / "mesh_000000.obj").read_text()
    assert "1 of the meshes are points without triangles" in capsys.readouterr().out
    np.save(tmp_path / "faces.npy", place[body.faces])
    assert main([*command, str(tmp_path / "given"), "--faces", str(tmp_path / "faces.npy")]) == 0
    assert "points without" not in capsys.readouterr().out
    with MeshWriter(tmp_path / "mesh-001.xz", metadata={"faces": place[body.faces]}) as writer:
        writer.append(vertices=vertices, frame_number=1, monotonic_ns=1)
    command[1] = str(tmp_path / "mesh-001.xz")
    assert main([*command, str(tmp_path / "told")]) == 0
    for folder in ("given", "told"):
        lines = (tmp_path / folder / "mesh_000000.obj").read_text().splitlines()
        faces = [line for line in lines if line.startswith("f ")]
        assert faces[7] == "f {} {} {}".format(*(place[body.faces[7]] + 1))
        assert len(faces) == len(body.faces)


def test_triangles_that_cannot_be_those_of_the_meshes_are_refused(
    maker: SessionMaker, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.estimator(meshes=2)
    np.save(tmp_path / "faces.npy", np.array([[0, 1, 3]]))
    assert export(maker, out, "obj", "--faces", str(tmp_path / "faces.npy")) == 2
    assert "name vertex 3, and the meshes" in capsys.readouterr().err
    assert export(maker, out, "csv", "--faces", str(tmp_path / "faces.npy")) == 2
    assert "--format csv has no triangles" in capsys.readouterr().err
    assert not out.exists()
    np.save(tmp_path / "faces.npy", np.array([[0, 1, 2]]))
    assert export(maker, out, "obj", "--faces", str(tmp_path / "faces.npy")) == 0
    assert (out / "mesh_000001.obj").read_text().endswith("f 1 2 3\n")


def test_ply_selects_by_time_too(maker: SessionMaker, out: Path) -> None:
    maker.camera("front", frames=2)
    maker.estimator(meshes=6)
    assert export(maker, out, "ply", "--from", "0.1", "--every", "2") == 0
    assert [row["number"] for row in table(out / "times.csv")] == ["4", "8"]
    assert (out / "mesh_000000.ply").read_bytes().startswith(b"ply\nformat binary_little_endian 1.0\n")


def test_csv_lists_every_frame_every_gap_and_every_mesh(maker: SessionMaker, out: Path) -> None:
    maker.camera("front", frames=6, per_segment=4, lost=[2])
    maker.estimator(meshes=3)
    assert export(maker, out, "csv") == 0
    rows = table(out / "front" / "depth.csv")
    assert [int(row["number"]) for row in rows] == [0, 1, 3, 4, 5]
    assert [int(row["index"]) for row in rows] == list(range(5))
    assert rows[0]["utc"] == "2025-01-01T22:00:00.000Z"
    assert rows[0]["clock"] == "hardware"
    (gap,) = table(out / "gaps.csv")
    assert (gap["stream"], gap["reason"], gap["first"], gap["count"]) == ("front/depth", "camera", "2", "1")
    assert [row["number"] for row in table(out / "meshes.csv")] == ["0", "2", "4"]


def test_frames_are_length_and_lz4_of_the_raw_image_and_concatenate(maker: SessionMaker, out: Path) -> None:
    maker.camera("front", frames=3, second_epoch=2)
    maker.camera("side", frames=1)
    assert export(maker, out, "frames") == 0
    assert names(out) == ["Camera_01", "Camera_02"]
    assert names(out / "Camera_01") == ["Capture_001", "Capture_002", "camera.json"]
    files = [out / f"Camera_01/Capture_001/Frame_{n:04d}.depth" for n in (1, 2, 3)]
    stream, found = b"".join(path.read_bytes() for path in files), []
    while stream:
        (length,) = struct.unpack_from("<I", stream)
        raw = lz4.frame.decompress(stream[4 : 4 + length])
        found.append(np.frombuffer(raw, "<u2").reshape(HEIGHT, WIDTH))
        stream = stream[4 + length :]
    assert len(found) == 3
    assert np.array_equal(found[2], depth_picture(2, seed=1))
    facts = json.loads((out / "Camera_01" / "camera.json").read_text())
    assert (facts["stream"]["width"], facts["stream"]["depth_scale_m"]) == (WIDTH, 0.001)
    assert [r["number"] for r in table(out / "Camera_01" / "Capture_002" / "times.csv")] == ["0", "1"]


# ---- refusals ----


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_in_one_line_when_there_is_nothing_for_it(
    maker: SessionMaker, out: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert export(maker, out, name) == 2
    error = capsys.readouterr().err
    assert error.startswith("nightrig: ")
    assert error.count("\n") == 1


def test_wrong_arguments_are_named(
    maker: SessionMaker, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.camera("front", frames=2)
    assert export(maker, out, "png", "--camera", "frnt") == 2
    assert export(maker, out, "png", "--every", "0") == 2
    assert export(maker, out, "png", "--from", "5", "--to", "5") == 2
    assert "did you mean front?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        export(maker, out, "bmp")


def test_folder_with_something_in_it_is_left_alone(maker: SessionMaker, out: Path) -> None:
    maker.camera("front", frames=2)
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    assert export(maker, out, "png") == 2
    assert names(out) == ["mine.txt"]
    assert export(maker, maker.folder / "front", "png") == 2


@pytest.mark.parametrize("option", ["--from", "--to"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1"])
def test_times_that_are_no_times_are_one_clear_line(
    maker: SessionMaker, out: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    maker.camera("front", frames=2)
    assert export(maker, out, "png", f"{option}={value}") == 2
    error = capsys.readouterr().err
    assert f"{option} {value}: must be a number of seconds" in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("start_s", ["100", "1e308"])
def test_times_outside_the_recording_are_refused_and_leave_nothing_behind(
    maker: SessionMaker, out: Path, capsys: pytest.CaptureFixture[str], name: str, start_s: str
) -> None:
    maker.camera("front", frames=31)
    maker.estimator()
    assert export(maker, out, name, "--from", start_s) == 2
    error = capsys.readouterr().err
    assert "nothing to export lies there" in error
    assert "is 1.0 s long" in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_refused_export_leaves_no_folder(maker: SessionMaker, out: Path) -> None:
    maker.camera("front", frames=2)
    for name in FORMATS:
        assert export(maker, out / "deep", name, "--camera", "nobody") == 2
    assert not out.exists()
    assert export(maker, out, "obj") == 2
    maker.estimator()
    assert export(maker, out, "obj", "--camera", "nobody") == 2
    assert export(maker, out, "png", "--camera", "people") == 2
    assert not out.exists()


# ---- pairing ----


def test_streams_of_different_rates_pair_with_the_nearest() -> None:
    slow = np.arange(4, dtype=np.int64) * 100
    fast = np.arange(8, dtype=np.int64) * 50 + 10
    moments, rows = pair([slow, fast])
    assert rows[rows[:, 0] >= 0].tolist() == [[0, 0], [1, 2], [2, 4], [3, 6]]
    assert sorted(rows[rows[:, 0] < 0][:, 1].tolist()) == [1, 3, 5, 7]
    assert moments.tolist() == sorted(moments.tolist())


def test_no_frame_is_lost_or_used_twice_in_pairing() -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        times = [np.sort(random.integers(0, 2000, random.integers(1, 30))).astype(np.int64) for _ in range(3)]
        _, rows = pair(times)
        for column, own in enumerate(times):
            used = rows[:, column][rows[:, column] >= 0]
            assert sorted(used.tolist()) == list(range(len(own)))
