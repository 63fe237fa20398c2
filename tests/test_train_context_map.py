"""scripts/train_context_map.py: what cannot work is said before the training, and new means new."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from scripts import train_context_map
from scripts.bench import _depth_sets

ROOT = Path(__file__).resolve().parent.parent
SIMULATED = ["sim-848x480", "sim-1280x720"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two cameras of one picture each."""
    for camera in ("garden", "cellar"):
        (tmp_path / camera).mkdir()
        cv2.imwrite(str(tmp_path / camera / "0.png"), np.full((24, 40), 900, np.uint16))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--leave-out", "sim-848x480", "attic"],
            "--leave-out: no set is called attic; there are cellar, garden, ",
        ),
        (
            ["--leave-out", "cellar", *SIMULATED],
            "of garden there is nothing to learn: the report needs two cameras",
        ),
        (["--leave-out", "cellar", "garden"], "of sim-848x480, sim-1280x720 there is nothing to learn"),
        (
            ["--leave-out", "cellar", "garden", *SIMULATED, "--write", "7"],
            "of no set there is nothing to learn",
        ),
        (["--write", "70000"], "--write: a map has a number from 1 to 65535, not 70000"),
        (["--write", "0"], "--write: a map has a number from 1 to 65535, not 0"),
        (["--write", "1"], "1.map exists: old frames need it as it is"),
    ],
)
def test_what_cannot_work_is_said_before_the_training(data: Path, arguments: list[str], said: str) -> None:
    script = ROOT / "scripts" / "train_context_map.py"
    command = [sys.executable, str(script), "--depth-data", str(data), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert said in answer.stderr.splitlines()[-1]
    assert "loading" not in answer.stderr


def test_unseen_is_without_everything_that_the_same_simulator_made(data: Path) -> None:
    sets = {name: name for name in _depth_sets.set_names(data)}
    assert list(train_context_map.without(sets, "garden")) == ["cellar", *SIMULATED]
    for name in SIMULATED:
        assert list(train_context_map.without(sets, name)) == ["cellar", "garden"]
    assert train_context_map.without(dict.fromkeys(SIMULATED), SIMULATED[0]) == {}
