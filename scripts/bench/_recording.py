"""Runs one measured recording from outside and hands back its account.

Starts `_recorder` in a process of its own, samples the memory of its whole process tree, and reads what it
says at the end. What is left on disk belongs to the caller.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.bench._plan import Plan
from scripts.bench._usage import OthersLoad, Usage, descendants, pss_mb

ROOT = Path(__file__).resolve().parents[2]
_SAMPLE_S = 0.5


@dataclass(frozen=True, slots=True)
class Account:
    """How a recording went. used: by process name. peak_pss_mb: all processes together; peak_parts_mb: what
    each of them had at that moment. others_cores: how many cores worked for somebody else meanwhile."""

    session: Path
    exit_code: int
    problems: list[str]
    streams: dict[str, dict[str, int]]
    used: dict[str, Usage]
    peak_pss_mb: float
    peak_parts_mb: dict[str, float]
    others_cores: float

    def total(self, what: str, *, stream: str | None = None) -> int:
        """A count summed over all cameras: captured, written, dropped, lost_at_camera, file_bytes, ..."""
        chosen = [v for k, v in self.streams.items() if stream is None or k.endswith(f"/{stream}")]
        return sum(value[what] for value in chosen)

    @property
    def cpu_s(self) -> float:
        """Of all processes."""
        return sum(usage.cpu_s for usage in self.used.values())


class _MemorySampler:
    """The peak of the summed PSS of a process tree, looked at twice a second from its own thread."""

    def __init__(self, root: int) -> None:
        self.peak_mb = 0.0
        self.parts_mb: dict[int, float] = {}
        self._root = root
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            parts_mb = {pid: pss_mb(pid) for pid in descendants(self._root)}
            if sum(parts_mb.values()) > self.peak_mb:
                self.peak_mb, self.parts_mb = sum(parts_mb.values()), parts_mb

    def __enter__(self) -> _MemorySampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@contextmanager
def _recorder(plan: Plan) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.bench._recorder"],
        cwd=ROOT,
        env=plan.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()  # its own signal handler drains and ends its children
            process.wait()


def record(plan: Plan) -> Account:
    """Make the recording. Raises RuntimeError where it could not be made."""
    others = OthersLoad()
    with _recorder(plan) as process, _MemorySampler(process.pid) as memory:
        output, _ = process.communicate()
    lines = [json.loads(line) for line in output.splitlines()]
    if process.returncode != 0 or len(lines) != 2:
        raise RuntimeError(f"the measured recording failed (exit code {process.returncode})")
    pids: dict[str, int] = lines[0]
    said: dict[str, Any] = lines[1]
    used = {name: Usage(**usage) for name, usage in said["used"].items()}
    names = {pid: name for name, pid in pids.items()}
    return Account(
        session=Path(said["session"]),
        exit_code=said["exit_code"],
        problems=said["problems"],
        streams=said["streams"],
        used=used,
        peak_pss_mb=memory.peak_mb,
        peak_parts_mb={names.get(pid, str(pid)): mb for pid, mb in memory.parts_mb.items()},
        others_cores=others.cores,
    )
