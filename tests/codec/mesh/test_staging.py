"""A new file is made where no other program is at work, and what a killed one left is cleared away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from moving_bodies import moving_bodies

from codec.errors import CodecError, ConfigError, FileBusyError
from codec.mesh import MeshReader, MeshWriter
from codec.mesh._staging import staged
from codec.mesh.conversion import Target, convert

XZ = Target("bodycompress", preset=0)
NATIVE = Target("native", way="fast")


def write(path: Path, count: int = 20) -> Path:
    with MeshWriter(path, preset=0) as writer:
        for frame in moving_bodies(count, points=40, people=1):
            writer.append(frame)
    return path


def test_nothing_is_left_beside_the_new_file(tmp_path: Path) -> None:
    convert(write(tmp_path / "a.xz"), tmp_path / "b.nrm", NATIVE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.xz", "b.nrm"]


def test_nothing_is_left_where_it_fails_and_the_error_names_the_old_file_alone(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xz")
    with pytest.raises(CodecError, match=r"a\.xz: frame 0 cannot be converted: vertices: ") as caught:
        convert(source, tmp_path / "b.xz", Target("bodycompress", preset=0, vertex_order="smplx"))
    assert ".part" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.xz"]


def test_what_a_killed_conversion_left_is_cleared_away_by_the_next(tmp_path: Path) -> None:
    out = tmp_path / "b.nrm"
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom codec.mesh._staging import staged\n"
        "with staged(Path(sys.argv[1])) as path:\n    path.write_bytes(b'half')\n    time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(out)], cwd=Path(__file__).parents[3])
    half = tmp_path / ".b.nrm.part" / "b.nrm"
    try:
        deadline_s = time.monotonic() + 30
        while not half.exists() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        with pytest.raises(FileBusyError, match=r"another program is making .*b\.nrm"), staged(out):
            pass
        assert half.exists()
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert half.exists()
    convert(write(tmp_path / "a.xz"), out, NATIVE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.xz", "b.nrm"]
    with MeshReader(out) as reader:
        assert len(reader) == 20


def test_a_folder_that_is_none_is_told_before_any_work(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xz")
    with pytest.raises(ConfigError, match="nowhere is no folder"):
        convert(source, tmp_path / "nowhere" / "b.nrm", NATIVE, progress=lambda _: pytest.fail("worked"))


def test_what_somebody_else_put_there_stays(tmp_path: Path) -> None:
    (tmp_path / ".b.xz.part").mkdir()
    (tmp_path / ".b.xz.part" / "notes").write_text("mine")
    convert(write(tmp_path / "a.xz"), tmp_path / "b.xz", XZ)
    assert (tmp_path / ".b.xz.part" / "notes").read_text() == "mine"
