"""Kills writers of mesh files at random moments and looks at what they leave.

The tests do it a few times; many times by hand:

    PYTHONPATH=. .venv-test/bin/python tests/codec/mesh/killed_writer.py 50 [MODE...]
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from moving_bodies import moving_bodies

from codec.mesh import MeshReader

HERE = Path(__file__).resolve().parent

MODES: dict[str, str] = {
    "xz": "threads=2, segment_s=0.05",
    "xz of 6890 points, auto": "preset='auto', vertex_order='auto', segment_s=0.3",
    "xz, own order": "vertex_order=np.arange(VERTICES.shape[2])[::-1], segment_s=0.02, threads=4",
    "zstd": "compression='zstd', segment_s=0.05",
    "native, fast": "codec='native', way='fast', segment_s=0.05",
    "native, affine": "codec='native', way='affine', segment_s=0.1",
    "native of 6890 points, auto": "codec='native', segment_s=0.3",
}

_WRITER = """
import sys, time
import numpy as np
from moving_bodies import moving_bodies
from codec.mesh import MeshWriter
VERTICES = moving_bodies(16, people=2, points=int(sys.argv[2]))
writer = MeshWriter(sys.argv[1], metadata={{"who": "killed"}}, {settings})
for n in range(1_000_000):
    writer.append(VERTICES[n % 16], number=n, monotonic_ns=n * 2_000_000)
    print(n + 1, writer.frames_written, flush=True)
    time.sleep(0.002)
"""


def points_of(mode: str) -> int:
    return 6890 if "6890" in mode else 300


def name_of(mode: str) -> str:
    return "mesh-000.nrm" if "native" in mode else "mesh-000.xz"


def kill_one(path: Path, mode: str, after_s: float) -> tuple[int, int]:
    """Write to `path` and be killed that long after the first frame: how many were appended and written."""
    child = subprocess.Popen(
        [sys.executable, "-c", _WRITER.format(settings=MODES[mode]), str(path), str(points_of(mode))],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join([str(HERE), *sys.path])},
    )
    with child:
        assert child.stdout is not None
        lines = [child.stdout.readline()]
        time.sleep(after_s)
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
    assert child.returncode == -signal.SIGKILL
    whole = [line for line in lines if line.endswith("\n")]
    appended, written = map(int, whole[-1].split())
    return appended, written


def frames_left(path: Path, mode: str, appended: int, written: int) -> list[dict[str, Any]]:
    """What a killed writer left: everything that counted as written, in order, and nothing wrong."""
    with MeshReader(path) as reader:
        frames = list(reader)
        assert reader.metadata == {"who": "killed"}
        assert not reader.closed
        # A segment may be on its way to the disk: what is there of it comes out, with a note of the rest.
        told = ("torn tail", "the writer stopped") if "native" in mode else ("cut off",)
        assert reader.complete or any(each in reader.note for each in told), reader.note
        assert written <= len(frames) <= appended + 1
        expected = moving_bodies(16, people=2, points=points_of(mode))
        for number, frame in enumerate(frames):
            assert frame["number"] == number
            on_grid = np.rint(expected[number % 16].astype(np.float64) * 2) / 2
            assert (frame["vertices"] == on_grid).all()
        if frames:
            assert reader[-1]["number"] == len(frames) - 1
            assert reader.at(0.0)["number"] == 0
    return frames


def main(rounds: int, *modes: str) -> None:
    chance = random.Random(rounds)
    for mode in modes or MODES:
        lost = []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / name_of(mode)
                appended, written = kill_one(path, mode, chance.uniform(0.0, 1.2))
                lost.append(appended - len(frames_left(path, mode, appended, written)))
        print(f"{mode}: {rounds} kills, lost {min(lost)} to {max(lost)} frames of 500 a second at most")


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
