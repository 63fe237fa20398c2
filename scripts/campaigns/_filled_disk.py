"""Recordings on disks that fill up or fail once, held against what their cameras sent. The parts of `full`.

Each case returns what was found: the account of all frames, the errors that were told for one failure,
whether recording went on, and under "trouble" whatever should not be.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from capture.recording import Recording
from capture.session import file_size
from capture.verification import UNACCOUNTED, verify
from scripts.campaigns._account import Account, session_account
from scripts.campaigns._campaign import Result
from scripts.campaigns._failing_disk import plan_failure
from scripts.campaigns._session import RigPlan, TriedRecording
from scripts.campaigns._small_disk import small_disk
from scripts.campaigns._verbs import run_verb

_MB = 1 << 20
_FILLINGS = 2
_TELLING_S = 60.0
_DROPPING_S = 3.0  # longer than the queues last
_GOING_ON_S = 1.5
_DELETED_OWN = 4
_ERROR = re.compile(r"cannot |less than the reserve")
_GOES_ON = "takes data again"
_EXPECTED_DROPS = {"ring-full", "disk-full", "stopped"}


def stopping_case(folder: Path, file_system: str, reserve_mb: int) -> Result:
    """record.when_full = "stop": filled, given room, filled again; with a reserve of 0 to the last byte."""
    plan = RigPlan(cameras=2, color=True, queue_mb=16, record=f"reserve_mb = {reserve_mb}\nsegment_mb = 2")
    with small_disk(file_system, 64, folder) as disk:
        root = disk.path / "recordings"
        with TriedRecording(plan, folder / "logs", root) as recording:
            recording.wait_until_started()
            for filling in range(1, _FILLINGS + 1):
                time.sleep(_GOING_ON_S)
                ballast = disk.fill(reserve_mb * _MB + _MB // 2)
                recording.wait_for(lambda n=filling: len(_errors(recording)) >= n, _TELLING_S)
                time.sleep(_DROPPING_S)
                ballast.unlink()
                recording.wait_for(lambda n=filling: recording.said().count(_GOES_ON) >= n, _TELLING_S)
            again_ns = time.monotonic_ns()
            time.sleep(_GOING_ON_S)
            code = recording.stop()
        result = _found(recording.session, folder / "logs", plan.names)
        result["errors"] = math.ceil(len(_errors(recording)) / _FILLINGS)
        result["went_on"] = _wrote_after(recording.session, again_ns)
        if code != 3 or not result["dropped"]:
            result["trouble"].append(f"exit code {code} with {result['dropped']} frames dropped")
        _read_what_was_said(recording, result)
    return result


def deleting_case(folder: Path, file_system: str, reserve_mb: int) -> Result:
    """record.when_full = "delete-oldest": a recording eats up the one before it, then its own beginning."""
    settings = f'reserve_mb = {reserve_mb}\nsegment_mb = 1\ncodec = "lz4"\nwhen_full = "delete-oldest"'
    plan = RigPlan(cameras=2, color=True, queue_mb=32, record=settings)
    with small_disk(file_system, 64, folder) as disk:
        root = disk.path / "recordings"
        with TriedRecording(plan, folder / "older", root) as recording:
            recording.wait_until_started()
            time.sleep(4 * _GOING_ON_S)
            recording.stop()
            older = recording.session
        disk.fill(reserve_mb * _MB + 4 * _MB)
        with TriedRecording(plan, folder / "logs", root) as recording:
            recording.wait_until_started()
            recording.wait_for(lambda: _deletions(recording.session) >= _DELETED_OWN, _TELLING_S)
            again_ns = time.monotonic_ns()
            time.sleep(_GOING_ON_S)
            code = recording.stop()
        own = recording.session
        result = _found(own, folder / "logs", plan.names)
        before = _found(older, folder / "older", plan.names)
        for key in ("sent", "written", "deleted", "dropped", "at_camera", "unaccounted", "wrong", "trouble"):
            result[key] += before[key]
        result["errors"] = len(_errors(recording))
        result["went_on"] = _wrote_after(own, again_ns)
        result["trouble"] += _recovery_troubles(own, folder) + _recovery_troubles(older, folder)
        left = sorted(path.name for path in older.rglob("*") if path.is_file())
        if left != ["events.jsonl", "session.json"]:
            result["trouble"].append(f"newer segments were deleted, {left} of the older are left")
        if code != 0 or result["dropped"]:
            result["trouble"].append(
                f"exit code {code}, {result['dropped']} frames dropped where room was made"
            )
        _read_what_was_said(recording, result)
    return result


def failing_recording_case(folder: Path, process: str, kind: str, how: int | str, at: int) -> Result:
    """A whole recording in which one call of one process fails once."""
    plan = RigPlan(cameras=2, color=True, queue_mb=16, record="reserve_mb = 0\nsegment_mb = 1\nsync_s = 0.1")
    logs, root = folder / "logs", folder / "recordings"
    plan_failure(logs, process, kind=kind, how=how, at=at)
    with TriedRecording(plan, logs, root, "--duration", "3") as recording:
        code = recording.process.wait(_TELLING_S)
    if code == 1 and not list(logs.glob("*.sent")):  # it could not begin, and said so
        result = _result(Account(), [])
        result["went_on"] = True
    else:
        result = _found(recording.session, logs, plan.names)
        result["went_on"] = code in (0, 3) and result["written"] > 0
        if result["dropped"]:
            result["trouble"].append(f"{result['dropped']} frames dropped for one call that failed")
    result["errors"] = len(_errors(recording))
    if (logs / f"{process}.disk").exists():
        result["trouble"].append(f"the {process} never read how its disk was to fail")
    _read_what_was_said(recording, result)
    return result


def amplification_case(folder: Path, width: int, height: int) -> Result:
    """What an ext4 is given to write (its journal, its tables, blocks again) against what was recorded."""
    plan = RigPlan(cameras=4, width=width, height=height, queue_mb=128, record="reserve_mb = 1")
    with small_disk("ext4", 512, folder) as disk:
        before = disk.written_bytes()
        with TriedRecording(plan, folder / "logs", disk.path / "recordings") as recording:
            recording.wait_until_started()
            time.sleep(20.0)
            code = recording.stop()
        written = disk.written_bytes() - before
        recorded = sum(file_size(path) for path in recording.session.rglob("*") if path.is_file())
        result = _found(recording.session, folder / "logs", plan.names)
    result |= {"errors": len(_errors(recording)), "went_on": code in (0, 3)}
    result |= {
        "recorded_mb": recorded / 1e6,
        "written_mb": written / 1e6,
        "amplification": written / recorded,
    }
    _read_what_was_said(recording, result)
    return result


def _found(session: Path, logs: Path, cameras: list[str]) -> Result:
    report = verify(session)
    trouble = [f"verify: {problem}" for problem in report.problems]
    trouble += [f"damage: {stretch.path.name}: {stretch.what}" for stretch in report.damage]
    if report.verdict == UNACCOUNTED:
        trouble.append("verify calls the session unaccounted")
    return _result(session_account(session, logs, cameras), trouble)


def _recovery_troubles(session: Path, folder: Path) -> list[str]:
    """What recover should not say of a session that lost nothing but what was deleted to make room."""
    copy = folder / "copy"
    told = run_verb("recover", session, "--out", copy)
    if told.exit_code != 0 or "deleted to make room" not in told.out:
        return [f"recover ends with {told.exit_code}: {told.out.strip()} {told.err.strip()}"]
    before, after = verify(session), verify(copy)
    shutil.rmtree(copy)
    same = (before.verdict, before.frames, before.deleted) == (after.verdict, after.frames, after.deleted)
    return [] if same else [f"the recovered copy is {after.verdict}, the session {before.verdict}"]


def _result(account: Account, trouble: list[str]) -> Result:
    trouble += account.untrue + account.wrong[:3]
    if strange := set(account.dropped) - _EXPECTED_DROPS:
        trouble.append(f"dropped for {strange}")
    return {
        "sent": account.sent,
        "written": account.written,
        "deleted": account.deleted,
        "dropped": account.dropped_total,
        "at_camera": account.at_camera,
        "unaccounted": len(account.unaccounted),
        "wrong": len(account.wrong),
        "trouble": trouble,
    }


def _errors(recording: TriedRecording) -> list[str]:
    return [line for line in recording.said().splitlines() if _ERROR.search(line)]


def _read_what_was_said(recording: TriedRecording, result: Result) -> None:
    result["said"] = _errors(recording)
    if "Traceback" in recording.said():
        result["trouble"].append(f"a traceback: {recording.said().splitlines()[-1]}")


def _deletions(session: Path) -> int:
    """How many of its own segments a session has lost."""
    lines = (session / "events.jsonl").read_bytes().splitlines()
    events: Iterable[dict[str, object]] = (json.loads(line) for line in lines)
    return sum(event["event"] == "deleted" and "session" not in event for event in events)


def _wrote_after(session: Path, moment_ns: int) -> bool:
    """Whether every camera has frames on disk that came after that."""
    with Recording(session) as recording:
        return all(stream.last_ns > moment_ns for stream in recording.streams.values())
