"""The campaign of full and failing disks, in short: some calls of each kind, and a disk that fills up."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from capture.session import append_event, create_session
from codec.durable import AppendFile, system
from scripts.campaigns import full
from scripts.campaigns._campaign import HELD
from scripts.campaigns._faulty_calls import BreaksOnce, replaced
from scripts.campaigns._tried_writer import TriedWriter

CALLS = "calls writev,calls open EIO,calls fdatasync EIO,calls ftruncate EIO n,calls fsync ENOSPC n,files"


def results(out: Path) -> dict[str, dict[str, Any]]:
    lines = (out / "full" / "ledger.jsonl").read_text().splitlines()[1:]
    return {entry["case"]: entry["result"] for entry in map(json.loads, lines)}


def test_no_call_that_fails_costs_a_frame(tmp_path: Path) -> None:
    chosen = ["--parts", "calls,files", "--only", CALLS, "--every", "30", "--frames", "40"]
    assert full.main(["--out", str(tmp_path), *chosen]) == HELD
    found = results(tmp_path)
    assert sum(result["tries"] for result in found.values()) > 40
    assert all(result["tries"] for result in found.values())


def test_disk_that_fills_up_makes_room_and_the_account_stays_whole(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    chosen = ["--parts", "disk", "--only", "disk delete-oldest tmpfs"]
    assert full.main(["--out", str(tmp_path), *chosen]) == HELD
    (found,) = results(tmp_path).values()
    assert found["deleted"] > 0
    assert found["sent"] == found["written"] + found["deleted"] + found["at_camera"]


def test_a_frame_that_is_not_there_afterwards_is_noticed(tmp_path: Path) -> None:
    """The campaign itself: a writer that lost something could not pass."""
    tried = TriedWriter(tmp_path / "try", frames=20, mesh_codec="native")
    lying = BreaksOnce("writev", "short", 12)
    lying.faults["writev"] = _claims_to_have_written(at=6)  # a frame
    result = tried.run(lying, may_tear=False)
    tried.close()
    assert result.trouble


def _claims_to_have_written(at: int) -> Any:
    count = 0

    def fault(real: Any, fd: int, views: list[memoryview]) -> int:
        nonlocal count
        count += 1
        return sum(len(view) for view in views) if count == at else int(real(fd, views))

    return fault


def test_a_call_breaks_when_it_is_to_and_works_again(tmp_path: Path) -> None:
    with replaced(BreaksOnce("writev", errno.EIO, 2, times=2)) as disk:
        file = AppendFile(tmp_path / "a")
        outcomes = []
        for _ in range(5):
            try:
                file.append(b"abc")
            except Exception:
                outcomes.append(False)
            else:
                outcomes.append(True)
        file.close()
    assert outcomes == [True, False, False, True, True]
    assert isinstance(disk, BreaksOnce)
    assert disk.fired
    assert isinstance(system.calls, system.Calls)
    append_event(create_session(tmp_path / "root", "a", {}, {}), {"event": "works"})
