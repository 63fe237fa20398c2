"""Looks at a recording from outside while it runs: memory, CPU, descriptors, queues, frames, files.

Nothing of what the recorder says of itself on screen is used: memory and CPU come from /proc, frames sent
from the cameras' own logs, queues from the words of the rings (opened through /proc as any debugger could).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from capture.camera import MAX_STREAMS
from capture.counters import CounterPage
from capture.ring import FrameRing
from capture.writer import COUNTERS as WRITER_COUNTERS
from codec.depth import codec_by_id
from scripts.campaigns._sent import SENT
from scripts.campaigns._session import TriedRecording

SUPERVISOR = "supervisor"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_KB_PER_MB = 1024.0


class RecordingWatch:
    """Attached to a recording that has started; close() lets go of its shared memory."""

    def __init__(self, recording: TriedRecording) -> None:
        self._recording = recording
        self._began_s = time.monotonic()
        self._began_ns = time.monotonic_ns()
        children = recording.children()
        self._rings = {name: _open_ring(children[name]) for name in recording.plan.names}
        self._writer = _open_writer_page(children["writer"])

    def sample(self) -> dict[str, Any]:
        """One look, as plain JSON."""
        rings = self._rings.values()
        processes = {name: _process(pid) for name, pid in self._pids().items()}
        return {
            "at_s": round(time.monotonic() - self._began_s, 2),
            "processes": {name: facts for name, facts in processes.items() if facts},
            "fill": max(ring.fill for ring in rings),
            "queued": sum(ring.queued for ring in rings),
            "codec": codec_by_id(self._writer["depth_codec"]).name,
            "sent": {name: self._sent(name) for name in self._rings},
            "written": [
                sum(self._writer[f"written{lane}.{stream}"] for stream in range(MAX_STREAMS))
                for lane in range(len(self._rings))
            ],
            "free_bytes": self._writer["free_bytes"],
            "files": sum(1 for path in self._recording.session.rglob("*") if path.is_file()),
        }

    def _sent(self, name: str) -> int:
        return (self._recording.logs / f"{name}.sent").stat().st_size // SENT.itemsize

    def _pids(self) -> dict[str, int]:
        return {SUPERVISOR: self._recording.process.pid, **self._recording.children()}

    @property
    def fill(self) -> float:
        """Of the fullest queue, 0 to 1."""
        return max(ring.fill for ring in self._rings.values())

    def at_ns(self, sample: dict[str, Any]) -> int:
        """When it was taken, on CLOCK_MONOTONIC."""
        return self._began_ns + int(sample["at_s"] * 1e9)

    def close(self) -> None:
        """Let go."""
        for ring in self._rings.values():
            ring.close()
        self._writer.close()


def total(sample: dict[str, Any], fact: str) -> float:
    """A fact of all processes, added up."""
    return float(sum(process[fact] for process in sample["processes"].values()))


def _process(pid: int) -> dict[str, float]:
    """Memory by kind, in proportion where it is shared; {} for a process that has gone.

    own_mb: what it has allocated. shared_mb: the queues. The rest of pss_mb are mapped files (libraries),
    whose share changes with every other program that has them open: no measure of this one.
    """
    proc = Path(f"/proc/{pid}")
    try:
        sizes = {}
        for line in (proc / "smaps_rollup").read_text().splitlines()[1:]:
            name, _, size = line.partition(":")
            sizes[name] = int(size.split()[0]) / _KB_PER_MB
        stat = (proc / "stat").read_text().rpartition(")")[2].split()
        descriptors = sum(1 for _ in (proc / "fd").iterdir())
    except (OSError, IndexError):
        return {}
    return {
        "pss_mb": round(sizes["Pss"], 3),
        "own_mb": round(sizes["Pss_Anon"], 3),
        "shared_mb": round(sizes["Pss_Shmem"], 3),
        "rss_mb": round(sizes["Rss"], 3),
        "cpu_s": (int(stat[11]) + int(stat[12])) / _TICKS_PER_S,
        "descriptors": descriptors,
    }


def _memories(pid: int, name: str) -> list[int]:
    """Descriptors of our own for the memfds of that name which a process holds, each memory once."""
    found: dict[int, int] = {}
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if f"memfd:{name}" not in str(path.readlink()):
                continue
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        if found.setdefault(os.fstat(fd).st_ino, fd) != fd:
            os.close(fd)
    return list(found.values())


def _open_ring(pid: int) -> FrameRing:
    """The one ring that a camera process holds."""
    (fd,) = _memories(pid, "nightrig-ring")
    return FrameRing.of_memory(fd)


def _open_writer_page(pid: int) -> CounterPage:
    """The writer's own page: the largest of those that it holds."""
    fds = sorted(_memories(pid, "nightrig-counters"), key=lambda fd: os.fstat(fd).st_size)
    for fd in fds[:-1]:
        os.close(fd)
    return CounterPage(WRITER_COUNTERS, fds[-1])
