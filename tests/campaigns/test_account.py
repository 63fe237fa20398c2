"""The account: what test cameras sent against what is on disk, in sickness and in health."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from scripts.campaigns._account import camera_account, session_account
from scripts.campaigns._faults import Faults
from scripts.campaigns._sent import DELIVERED, SentLog, read_sent
from scripts.campaigns._session import RigPlan, TriedRecording

PLAN = RigPlan(cameras=2, width=64, height=48, color=True, queue_mb=16)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(session, logs) of a recording with a skip, a killed camera and a killed writer."""
    folder = tmp_path_factory.mktemp("recorded")
    with TriedRecording(PLAN, folder / "logs", folder / "root") as recording:
        recording.wait_until_started()
        time.sleep(0.5)
        Faults(folder / "logs" / "cam1.faults")["skip"] = 7
        time.sleep(0.3)
        os.kill(recording.children()["cam0"], signal.SIGKILL)
        os.kill(recording.children()["writer"], signal.SIGKILL)
        recording.wait_for(lambda: "is back" in recording.said(), 20)
        time.sleep(0.5)
        assert recording.stop() == 3
        return recording.session, folder / "logs"


def test_every_frame_sent_is_on_disk_or_accounted_for(recorded: tuple[Path, Path]) -> None:
    account = session_account(*recorded, PLAN.names)
    assert account.wrong == account.untrue == account.unaccounted == []
    assert account.sent == account.written + account.at_camera + account.dropped_total
    assert account.at_camera >= 14  # seven numbers of either stream, and what the killed process had in hand
    assert account.written > 80


def test_a_frame_that_is_not_on_disk_is_found_missing(recorded: tuple[Path, Path], tmp_path: Path) -> None:
    session, logs = recorded
    shutil.copy(logs / "cam1.sent", tmp_path)
    last = read_sent(logs / "cam1.sent")[-1]
    log = SentLog(tmp_path / "cam1.sent")
    number, at_ns = int(last["number"]) + 1, int(last["monotonic_ns"]) + 1
    log.note(DELIVERED, stream=0, epoch=1, number=number, monotonic_ns=at_ns, crc=1)
    log.close()
    account = camera_account(session / "cam1", tmp_path / "cam1.sent", "cam1")
    assert [(missing.key, missing.monotonic_ns) for missing in account.unaccounted] == [
        ((0, 1, number), at_ns)
    ]


def test_other_pixels_than_were_sent_and_frames_nobody_sent_are_wrong(
    recorded: tuple[Path, Path], tmp_path: Path
) -> None:
    session, logs = recorded
    entries = read_sent(logs / "cam1.sent").copy()
    first = int((entries["kind"] == DELIVERED).argmax())
    entries["crc"][first] ^= 1
    (tmp_path / "cam1.sent").write_bytes(entries[:-1].tobytes())
    account = camera_account(session / "cam1", tmp_path / "cam1.sent", "cam1")
    assert [sentence.partition(") ")[2] for sentence in account.wrong] == [
        "differs from what was sent",
        "was never sent",
    ]
