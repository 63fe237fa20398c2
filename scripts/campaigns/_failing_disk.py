"""Lets the disk of one process of a tried recording fail: a small file beside its logs says how.

The file is read once, by the process that begins; the one that takes its place finds a disk that works.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from capture import writer
from capture.spawn import Link
from codec.durable import system
from scripts.campaigns._faulty_calls import BreaksOnce
from scripts.campaigns._session import FOLDER_VARIABLE


def plan_failure(logs: Path, process: str, *, kind: str, how: int | str, at: int) -> None:
    """Before the recording starts: the `at`-th call of that kind in "writer" or "supervisor" will fail."""
    logs.mkdir(parents=True, exist_ok=True)
    (logs / f"{process}.disk").write_text(json.dumps({"kind": kind, "how": how, "at": at}))


def break_disk_of(process: str) -> None:
    """In that process: from here on its disk fails as planned, if it is."""
    path = Path(os.environ[FOLDER_VARIABLE]) / f"{process}.disk"
    if path.exists():
        system.calls = BreaksOnce(**json.loads(path.read_text()))  # type: ignore[assignment]
        path.unlink()


def run_writer(job: writer.WriterJob, link: Link) -> int:
    """Entry of the writer process."""
    break_disk_of("writer")
    return writer.run(job, link)
