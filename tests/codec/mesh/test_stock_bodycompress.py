"""Our mesh files against the stock bodycompress 0.3 and the xz program, in both directions."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moving_bodies import moving_bodies

from codec.mesh import MeshReader, MeshWriter

HERE = Path(__file__).parent
REVERSED = list(range(6890))[::-1]

needs_stock = pytest.mark.skipif(
    importlib.util.find_spec("bodycompress") is None or importlib.util.find_spec("lzma_mt") is None,
    reason="bodycompress 0.3, the reader our mesh files are held against, is not installed",
)
needs_xz = pytest.mark.skipif(shutil.which("xz") is None, reason="the xz program is not installed")


def stock(*arguments: object) -> None:
    command = [sys.executable, str(HERE / "stock_reader.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def stock_reads(path: Path, threads: object = "default") -> dict[str, Any]:
    out = path.with_suffix(".npz")
    stock(path, threads, out)
    with np.load(out) as content:
        return dict(content)


@needs_stock
@pytest.mark.parametrize("threads", ["default", 1, 0, 4])
def test_stock_reads_every_frame_within_half_a_step(tmp_path: Path, threads: object) -> None:
    vertices = moving_bodies(60, people=2, points=6890)
    with MeshWriter(tmp_path / "mesh.xz", metadata={"model": "tubes"}, segment_s=3600) as writer:
        for n, v in enumerate(vertices):
            writer.append(v, v[:, :24], number=n, pose=[np.eye(3), "text"])
            if n % 17 == 0:
                writer.flush()
    read = stock_reads(writer.path, threads)
    assert (int(read["length"]), str(read["metadata"])) == (60, "{'model': 'tubes'}")
    assert str(read["ended"]) == "clean"
    assert np.abs(read["vertices"].astype(float) - vertices).max() <= 0.2501
    assert np.abs(read["joints"].astype(float) - vertices[:, :, :24]).max() <= 0.2501
    np.testing.assert_array_equal(read["numbers"], np.arange(60))
    with MeshReader(writer.path) as reader:
        ours = np.array([frame["vertices"] for frame in reader])
    np.testing.assert_array_equal(ours, read["vertices"])


@needs_stock
def test_stock_opens_a_file_without_frames(tmp_path: Path) -> None:
    with MeshWriter(tmp_path / "mesh.xz"):
        read = stock_reads(tmp_path / "mesh.xz")
    assert (int(read["length"]), len(read["vertices"]), str(read["ended"])) == (0, 0, "clean")


WRITER_TO_BE_KILLED = """
import sys
from moving_bodies import moving_bodies
from codec.mesh import MeshWriter
writer = MeshWriter(sys.argv[1], segment_s=3600)
for n, v in enumerate(moving_bodies(50)):
    writer.append(v, number=n)
    if n in (20, 39):
        writer.flush()
print("flushed", flush=True)
sys.stdin.read()
"""


@needs_stock
def test_stock_reads_every_flushed_frame_of_a_killed_writer(tmp_path: Path) -> None:
    path = tmp_path / "mesh.xz"
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER_TO_BE_KILLED, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": ":".join([str(HERE), *sys.path])},
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"flushed\n"
        child.send_signal(signal.SIGKILL)
    read = stock_reads(path)
    assert (int(read["length"]), str(read["ended"])) == (40, "clean")
    np.testing.assert_array_equal(read["numbers"], np.arange(40))
    assert np.abs(read["vertices"].astype(float) - moving_bodies(50)[:40]).max() <= 0.2501


@needs_stock
@pytest.mark.parametrize("compression", ["xz", "zstd"])
@pytest.mark.parametrize(
    ("order", "points"),
    [("auto", 6890), ("smplx", 10475), (np.random.default_rng(3).permutation(200), 200)],
    ids=["auto", "smplx", "own"],
)
def test_stock_reads_every_order_and_compression(
    tmp_path: Path, compression: str, order: object, points: int
) -> None:
    vertices = moving_bodies(12, people=2, points=points)
    settings: dict[str, Any] = {"compression": compression, "vertex_order": order, "segment_s": 3600}
    with MeshWriter(tmp_path / "mesh.xz", metadata={"model": "tubes"}, fps=30, **settings) as writer:
        for n, v in enumerate(vertices):
            writer.append(v, v[:, :24], number=n)
            if n % 5 == 4:
                writer.flush()
    read = stock_reads(writer.path, 1)
    assert (int(read["length"]), str(read["ended"])) == (12, "clean")
    np.testing.assert_array_equal(read["numbers"], np.arange(12))
    with MeshReader(writer.path) as reader:
        np.testing.assert_array_equal([frame["vertices"] for frame in reader], read["vertices"])
    assert np.abs(read["vertices"].astype(float) - vertices).max() <= 0.2501


@needs_stock
@pytest.mark.parametrize(
    "settings",
    [{"vertex_order": None}, {}, {"vertex_order": "smpl", "compression": "zstd"}, {"vertex_order": REVERSED}],
    ids=["none", "auto", "zstd", "own"],
)
def test_we_read_what_stock_writes(tmp_path: Path, settings: dict[str, Any]) -> None:
    vertices = moving_bodies(8, points=6890)
    np.save(tmp_path / "frames.npy", vertices)
    stock("--write", tmp_path / "mesh.xz", tmp_path / "frames.npy", json.dumps(settings))
    with MeshReader(tmp_path / "mesh.xz") as reader:
        frames = list(reader)
        assert (len(reader), reader.complete, reader.closed) == (8, True, True)
        assert reader.metadata == {"who": "stock"}
    assert [frame["number"] for frame in frames] == list(range(8))
    np.testing.assert_array_equal(frames[3]["box"], np.arange(4.0))
    read = stock_reads(tmp_path / "mesh.xz")
    np.testing.assert_array_equal([frame["vertices"] for frame in frames], read["vertices"])
    np.testing.assert_array_equal([frame["joints"] for frame in frames], read["joints"])


@needs_xz
def test_the_xz_program_finds_nothing_wrong(tmp_path: Path) -> None:
    with MeshWriter(tmp_path / "mesh.xz", segment_s=3600) as writer:
        for v in moving_bodies(10):
            writer.append(v)
            writer.flush()
        subprocess.run(["xz", "-t", writer.path], check=True)
    subprocess.run(["xz", "-t", writer.path], check=True)
    plain = subprocess.run(["xz", "-dc", writer.path], check=True, capture_output=True).stdout
    assert plain.count(b"qd_vertices") == 10
