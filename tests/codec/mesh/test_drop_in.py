"""BodyCompressor and BodyDecompressor against what a program written for bodycompress 0.3 expects."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moving_bodies import moving_bodies, worst_error_mm

from codec.errors import MeshValueError, NotOurFileError, StorageError
from codec.mesh import BodyCompressor, BodyDecompressor, Camera


def test_the_arguments_are_those_of_bodycompress() -> None:
    parameters = inspect.signature(BodyCompressor).parameters.values()
    assert {p.name: p.default for p in parameters} == {
        "path": inspect.Parameter.empty,
        "metadata": None,
        "quantization_mm": 0.5,
        "n_threads": 0,
        "compression_level": None,
        "compression": "xz",
        "vertex_order": "auto",
        "queue_size": 8,
    }
    parameters = inspect.signature(BodyDecompressor).parameters.values()
    assert {p.name: p.default for p in parameters} == {
        "path": inspect.Parameter.empty,
        "n_threads": 1,
        "decode_camera": False,
    }


def test_a_program_for_bodycompress_runs_as_it_is(tmp_path: Path) -> None:
    path = str(tmp_path / "new" / "folders" / "mesh.xz")
    vertices = moving_bodies(40, people=2)
    camera = {"rotvec_w2c": np.zeros(3), "loc": np.ones(3), "intr": np.ones((2, 3))}
    with BodyCompressor(path, metadata={"fps": 30}, quantization_mm=0.25, n_threads=2) as compressor:
        for number, v in enumerate(vertices):
            compressor.append(vertices=v, joints=v[:, :24], camera=camera, poses=(number, "text"))
        assert compressor.length == 40
    decompressor = BodyDecompressor(path, decode_camera=True)
    assert (len(decompressor), decompressor.length, decompressor.version) == (40, 40, (0, 3, 0))
    assert decompressor.metadata == {"fps": 30}
    for _ in range(2):
        frames = list(decompressor)
        assert worst_error_mm(frames, vertices) <= 0.1251
    assert frames[7]["poses"] == [7, "text"]
    assert isinstance(frames[7]["camera"], Camera)
    with BodyDecompressor(path) as decompressor:
        assert isinstance(next(iter(decompressor))["camera"], dict)
    with pytest.raises(StorageError):
        list(decompressor)


@pytest.mark.parametrize(
    "settings",
    [
        {"compression": "gzip"},
        {"compression_level": 10},
        {"compression": "zstd", "compression_level": 0},
        {"quantization_mm": float("nan")},
        {"vertex_order": "human"},
        {"vertex_order": [1, 2]},
        {"metadata": {"a": object()}},
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_value_errors_and_leave_no_file(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    if settings.get("compression") == "zstd":
        pytest.importorskip("zstandard")
    with pytest.raises(ValueError):
        BodyCompressor(tmp_path / "mesh.xz", **settings)
    assert list(tmp_path.iterdir()) == []


def test_a_frame_that_is_wrong_is_a_value_error_and_the_file_stays_good(tmp_path: Path) -> None:
    v = moving_bodies(1)[0]
    with BodyCompressor(tmp_path / "mesh.xz") as compressor:
        compressor.append(vertices=v)
        for frame in (
            {"vertices": None},
            {"vertices": v[0, 0]},
            {"joints": v[0] * np.nan},
            {"qd_vertices": 1},
            {"camera": {"loc": 1}},
        ):
            with pytest.raises(ValueError, match=r"mesh\.xz: frame 1: "):
                compressor.append(**frame)
        with pytest.raises(TypeError, match="cannot be stored"):
            compressor.append(vertices=v, other=object())
        compressor.append(vertices=v)
    with pytest.raises(MeshValueError, match="closed"):
        compressor.append(vertices=v)
    assert len(list(BodyDecompressor(tmp_path / "mesh.xz"))) == 2


def test_a_person_who_is_not_finite_is_left_out_with_a_warning(tmp_path: Path) -> None:
    v = moving_bodies(1, people=3)[0]
    v[1, 5] = np.nan
    with BodyCompressor(tmp_path / "mesh.xz") as compressor:
        with pytest.warns(UserWarning, match=r"frame 0: 1 people .* left out"):
            compressor.append(vertices=v)
        compressor.append(vertices=v)  # told once
    first, second = BodyDecompressor(tmp_path / "mesh.xz")
    np.testing.assert_allclose(first["vertices"], v[[0, 2]], atol=0.2501)
    assert first["rejected_people"] == second["rejected_people"] == [1]


def test_metres_are_warned_of(tmp_path: Path) -> None:
    v = moving_bodies(1)[0]
    with BodyCompressor(tmp_path / "mesh.xz") as compressor:
        compressor.append(vertices=v, joints=np.zeros((1, 4, 3)))
        with pytest.warns(UserWarning, match="multiply metres by 1000"):
            compressor.append(vertices=v / 1000)


def test_an_exception_in_the_block_keeps_the_file_and_forceful_close_does_not(tmp_path: Path) -> None:
    def interrupted(path: Path) -> None:
        with BodyCompressor(path) as compressor:
            compressor.append(vertices=moving_bodies(1)[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "kept.xz")
    assert len(BodyDecompressor(tmp_path / "kept.xz")) == 1
    compressor = BodyCompressor(tmp_path / "thrown.xz")
    compressor.append(vertices=moving_bodies(1)[0])
    compressor.forceful_close()
    assert not (tmp_path / "thrown.xz").exists()
    compressor.close()
    kept = BodyCompressor(tmp_path / "again.xz")
    kept.close()
    kept.forceful_close()
    assert (tmp_path / "again.xz").exists()
    with pytest.raises(StorageError, match="exists already"):
        BodyCompressor(tmp_path / "again.xz")


def test_a_program_that_forgets_to_close_has_its_frames_and_a_warning(tmp_path: Path) -> None:
    program = (
        "import sys; from moving_bodies import moving_bodies; from codec.mesh import BodyCompressor\n"
        "compressor = BodyCompressor(sys.argv[1])\n"
        "for v in moving_bodies(9): compressor.append(vertices=v)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", program, str(tmp_path / "mesh.xz")],
        env={"PYTHONPATH": ":".join([str(Path(__file__).parent), *sys.path])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "was never closed" in done.stderr
    assert len(list(BodyDecompressor(tmp_path / "mesh.xz"))) == 9


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"a text file")
    with pytest.raises(NotOurFileError):
        BodyDecompressor(tmp_path / "text")
    with pytest.raises(StorageError):
        BodyDecompressor(tmp_path / "none")
