"""kill -9 of a mesh writer, then `recover`, then the stock reader."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from capture.recovery import recover
from codec.mesh import MeshReader

MESH_TESTS = Path(__file__).parent.parent / "codec" / "mesh"
sys.path.insert(0, str(MESH_TESTS))

from killed_writer import MODES, frames_left, kill_one, name_of  # noqa: E402 (found beside the codec's tests)

HAS_STOCK = all(importlib.util.find_spec(name) for name in ("bodycompress", "lzma_mt"))


def stock_numbers(path: Path) -> list[int]:
    out = path.with_suffix(".npz")
    command = [sys.executable, str(MESH_TESTS / "stock_reader.py"), str(path), "1", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(out) as content:
        assert str(content["ended"]) == "clean"
        assert int(content["length"]) == len(content["numbers"])
        return [int(n) for n in content["numbers"]]


@pytest.mark.parametrize("mode", MODES)
def test_after_a_kill_and_recover_every_reader_has_every_frame(tmp_path: Path, mode: str) -> None:
    if "zstd" in mode:
        pytest.importorskip("zstandard")
    chance = random.Random(mode)
    for number in range(2):
        people = tmp_path / f"session{number}" / "people"
        people.mkdir(parents=True)
        path = people / name_of(mode)
        appended, written = kill_one(path, mode, chance.uniform(0.05, 0.6))
        frames = frames_left(path, mode, appended, written)
        if not frames:
            continue
        report = recover(people, tmp_path / f"copy{number}")
        (copy,) = (tmp_path / f"copy{number}").rglob(path.name)
        assert report.meshes == len(frames)
        with MeshReader(copy) as reader:
            for before, after in zip(frames, reader, strict=True):
                np.testing.assert_array_equal(before["vertices"], after["vertices"])
            assert reader.closed
            assert reader.complete
        if HAS_STOCK and "native" not in mode:
            assert stock_numbers(copy) == list(range(len(frames)))
