"""Rigs and running recordings for tests: real processes, small simulated cameras."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]

running: list[Recording] = []
"""Every recording a test has started; conftest.py ends what is left."""

SMALL_CAMERA = """
[[cameras]]
name = "{name}"
source = "simulated"
through_realsense = false
loop_s = 0.2
depth = {{ width = {width}, height = {height}, fps = {fps} }}
color = {{ width = 160, height = 120, fps = {fps} }}
"""


def small_rig(
    folder: Path,
    *,
    cameras: int = 2,
    fps: int = 30,
    size: tuple[int, int] = (160, 120),
    head: str = "",
    tail: str = "",
) -> Path:
    """A rig file with simulated cameras cam0, cam1, ...; `head` joins the top, `tail` the end."""
    text = f'name = "test"\nqueue_mb = 32\npreview = false\n{head}\n'
    if "[record]" not in head:
        text += "[record]\nreserve_mb = 1\n"
    for index in range(cameras):
        text += SMALL_CAMERA.format(name=f"cam{index}", width=size[0], height=size[1], fps=fps)
    path = folder / "rig.toml"
    path.write_text(text + tail)
    return path


@dataclass
class Recording:
    """A `nightrig record` running in a process group of its own; `with` ends it whatever happens."""

    process: subprocess.Popen[str]
    root: Path

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill_group()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        self.process.wait()

    @property
    def session(self) -> Path:
        return next(path for path in sorted(self.root.iterdir()) if path.is_dir())

    def wait_until_started(self, timeout_s: float = 60.0) -> None:
        """Until the supervisor has said go."""
        wait_for(lambda: "started" in event_kinds(self.root), timeout_s, self.process)

    def child(self, name: str) -> int:
        """The pid of the process with that name; one that is just being started, or dead, has none."""
        commands = children_of(self.process.pid)
        return next(pid for pid, command in commands.items() if command.split("\0")[3:4] == [name])

    def interrupt(self) -> None:
        """What Ctrl-C does: SIGINT to the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def kill_group(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)

    def finish(self, timeout_s: float = 60.0) -> tuple[int, dict[str, Any], str]:
        """Exit code, the JSON account (or {}), and stderr."""
        out, err = self.process.communicate(timeout=timeout_s)
        lines = out.strip().splitlines()
        return self.process.returncode, json.loads(lines[-1]) if lines else {}, err


def start_recording(
    rig: Path,
    root: Path,
    *arguments: str,
    module: str = "capture",
    environment: dict[str, str] | None = None,
) -> Recording:
    """Start `nightrig record` on a rig; stop it with interrupt() or kill_group().

    `module` takes the place of nightrig's own main module, `environment` joins ours.
    """
    command = [sys.executable, "-m", module, "record", str(rig), "--root", str(root), "--json", *arguments]
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    recording = Recording(process, root)
    running.append(recording)
    return recording


def record(
    rig: Path, root: Path, *arguments: str, timeout_s: float = 90.0
) -> tuple[int, dict[str, Any], str]:
    """Record to the end: exit code, the JSON account (or {}), and stderr."""
    return start_recording(rig, root, *arguments).finish(timeout_s)


def events(root: Path) -> list[dict[str, Any]]:
    """events.jsonl of the (only) session below root."""
    return [
        json.loads(line)
        for path in root.glob("*/events.jsonl")
        for line in path.read_text().splitlines()
        if line
    ]


def event_kinds(root: Path) -> list[str]:
    return [event["event"] for event in events(root)]


def children_of(pid: int) -> dict[int, str]:
    """pid -> command line (its words end in NUL; the fourth is the process's name)."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found[int(path.parent.name)] = (path.parent / "cmdline").read_text()
    return dict(sorted(found.items()))


def wait_for(condition: Any, timeout_s: float, process: subprocess.Popen[str] | None = None) -> None:
    """Poll until the condition holds; fails with what the process said if it ended or time ran out."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if process is not None and process.poll() is not None:
            raise AssertionError(f"the recording ended early: {process.communicate()}")
        if time.monotonic() > deadline_s:
            raise AssertionError("waited too long")
        time.sleep(0.01)
