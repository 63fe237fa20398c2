"""The short form of `stall`: the writer stands still for a moment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.campaigns import stall

_SMALL = ("--peace", "1", "--queue-mb", "16", "--width", "320", "--height", "240", "--fresh", "--json")


def test_what_a_stopped_writer_costs_is_known_to_the_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stall.main(["--only", "writer", "--seconds", "3", "--out", str(tmp_path), *_SMALL])
    (line,) = [
        line for line in (tmp_path / "stall" / "ledger.jsonl").read_text().splitlines() if "case" in line
    ]
    result = json.loads(line)["result"]
    assert result["trouble"] == []
    assert result["unaccounted"] == result["lost_afterwards"] == 0
    assert result["dropped"].keys() == {"ring-full"}  # 3 s do not fit into the rings, 4 MB each
    assert result["sent"] == result["written"] + result["dropped"]["ring-full"] + result["at_camera"]
    assert "writer 3" in capsys.readouterr().out
