"""`nightrig info`: what people and machines are told of a recording."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from capture.cli import main
from codec.records import RecordFile, RecordWriter
from tests.capture.make_session import HEIGHT, WIDTH, SessionMaker, cut


@pytest.fixture
def maker(tmp_path: Path) -> SessionMaker:
    return SessionMaker(tmp_path / "session")


def test_json_has_what_machines_need(maker: SessionMaker, capsys: pytest.CaptureFixture[str]) -> None:
    maker.camera("front", frames=31, per_segment=16, lost=[3, 4])
    maker.estimator(meshes=6)
    assert main(["info", str(maker.finish()), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["path"] == str(maker.folder)
    assert facts["started"] == "2025-01-01T22:00:00.000Z"
    assert facts["duration_s"] == pytest.approx(1.0, abs=0.01)
    assert (facts["meshes"], facts["segments"], facts["unsealed"], facts["damage"]) == (6, 3, 0, [])
    depth = facts["streams"]["front/depth"]
    assert (depth["format"], depth["width"], depth["height"]) == ("z16", WIDTH, HEIGHT)
    assert (depth["frames"], depth["gaps"]) == (29, {"camera": 2})
    assert depth["fps"] == 30
    assert depth["raw_bytes"] == 29 * WIDTH * HEIGHT * 2
    assert depth["ratio"] == pytest.approx(depth["raw_bytes"] / depth["file_bytes"], abs=1e-3)


def test_table_is_aligned_and_names_what_is_missing(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.camera("front", dropped=[2])
    maker.camera("a-longer-name", color=False)
    assert main(["info", str(maker.folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("stream"))
    rows = lines[head : head + 4]
    assert [row.split()[0] for row in rows] == ["stream", "a-longer-name/depth", "front/depth", "front/color"]
    assert len({row.index("z16") for row in rows if "z16" in row}) == 1
    assert len({len(row) for row in rows}) == 1
    assert "missing in front/depth: 1 ring-full" in lines


def test_lossy_depth_is_called_lossy_and_by_how_much(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.camera("front", frames=5, depth_codec="near")
    maker.camera("side", frames=5)
    assert main(["info", str(maker.finish()), "--json"]) == 0
    streams = json.loads(capsys.readouterr().out)["streams"]
    assert streams["front/depth"]["codecs"] == {"near": 5}
    assert streams["front/depth"]["lossy"] == {"bound_subpixels": 2.5, "disparity_constant": 800 * WIDTH}
    assert streams["side/depth"]["codecs"] == {"lattice-lz4": 5}
    assert streams["side/depth"]["lossy"] is None
    main(["info", str(maker.folder)])
    constant = 800 * WIDTH

    def error_mm(depth_mm: int) -> float:
        return constant / (constant / depth_mm - 2.5) - depth_mm

    lossy = [line for line in capsys.readouterr().out.splitlines() if "LOSSY" in line]
    assert lossy == [
        "LOSSY by choice: front/depth keeps disparity to within 2.5/32 pixel"
        f" ({error_mm(1000):.1f} mm at 1 m, {error_mm(4000):.1f} mm at 4 m)"
        " of what was measured (5 of 5 frames)"
    ]


def test_recording_that_was_killed_is_said_not_to_be_sealed(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = maker.camera("front", sealed=False)
    cut(folder / "000.nrig", (folder / "000.nrig").stat().st_size - 3)
    assert main(["info", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["unsealed"] == 1
    assert [damage["what"] for damage in facts["damage"]] == ["torn tail"]
    main(["info", str(folder)])
    assert "nightrig recover" in capsys.readouterr().out


def test_single_file_goes_by_its_camera(maker: SessionMaker, capsys: pytest.CaptureFixture[str]) -> None:
    folder = maker.camera("front")
    assert main(["info", str(folder / "000.nrig"), "--json"]) == 0
    assert "front/depth" in json.loads(capsys.readouterr().out)["streams"]


@pytest.mark.parametrize(("name", "code"), [("nowhere", 2), ("", 1)])
def test_what_is_no_recording_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, code: int
) -> None:
    assert main(["info", str(tmp_path / name)]) == code
    error = capsys.readouterr().err
    assert error.startswith("nightrig: ")
    assert error.count("\n") == 1


def test_file_of_another_kind_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "film.mp4").write_bytes(b"not ours" * 100)
    assert main(["info", str(tmp_path / "film.mp4")]) == 1
    assert "film.mp4 is not a nightrig recording" in capsys.readouterr().err


def test_mesh_stream_has_the_meshes_as_its_frames(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = maker.estimator(frames=6, meshes=5)
    for path in (maker.finish(), folder):
        assert main(["info", str(path), "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["meshes"] == facts["streams"]["people/mesh"]["frames"] == 5


def test_session_json_that_tells_nothing_is_named(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.camera("front", frames=2)
    path = maker.folder / "session.json"
    path.write_text("{")
    assert main(["info", str(maker.folder)]) == 0
    assert f"{path} at byte 0, 1 bytes: it is not the JSON it should be" in capsys.readouterr().out
    path.unlink()
    path.mkdir()  # no read of it succeeds, whoever reads
    assert main(["info", str(maker.folder)]) == 0
    assert "it is unreadable: Is a directory" in capsys.readouterr().out


def test_session_in_which_nothing_was_recorded_is_called_that(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(maker.finish())]) == 0
    assert "nothing was recorded" in capsys.readouterr().out


def test_device_is_neither_missing_nor_a_recording(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "/dev/null"]) == 2
    assert "/dev/null is not a file or folder" in capsys.readouterr().err


def test_codec_of_depth_has_a_column(maker: SessionMaker, capsys: pytest.CaptureFixture[str]) -> None:
    folder = maker.camera("front", frames=6, per_segment=3, depth_codec="lattice-rans")
    maker.camera("side", frames=4, infrared=True)
    maker.estimator()
    maker.finish()
    with RecordFile(folder / "001.nrig") as file:
        records = [file.read_bytes(index) for index in range(len(file))]
    other = maker.camera("other", frames=6, per_segment=3, depth_codec="raw")
    (other / "001.nrig").unlink()
    writer = RecordWriter(other / "001.nrig", is_copy=True)
    for record in records:
        writer.append((record[:64], record[64:], b""))
    writer.seal()
    assert main(["info", str(maker.folder)]) == 0
    rows = [re.split(r"  +", line) for line in capsys.readouterr().out.splitlines() if "  " in line]
    codecs = {row[0]: row[2] for row in rows}
    assert codecs["stream"] == "codec"
    assert codecs["front/depth"] == "lattice-rans"
    assert (codecs["side/depth"], codecs["side/infrared1"]) == ("lattice-lz4", "lz4")
    assert codecs["front/color"] == codecs["people/mesh"] == codecs["people/parameters"] == "-"
    assert codecs["other/depth"] == "raw 3, lattice-rans 3"


def test_size_is_the_one_that_verify_tells(maker: SessionMaker, capsys: pytest.CaptureFixture[str]) -> None:
    maker.camera("front", frames=4)
    mesh_bytes = (maker.estimator(meshes=5) / "mesh-000.xz").stat().st_size
    assert main(["info", str(maker.finish()), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert main(["verify", str(maker.folder), "--json"]) == 0
    assert told["file_bytes"] == json.loads(capsys.readouterr().out)["bytes"]
    assert told["mesh_bytes"] == mesh_bytes
    main(["info", str(maker.folder)])
    assert f"5 meshes, {mesh_bytes / 1000:.2f} kB" in capsys.readouterr().out
