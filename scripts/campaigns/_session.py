"""A recording with test cameras, started and stopped by a campaign."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from capture.session import PEOPLE
from scripts.campaigns._account import Account, camera_account, session_account
from scripts.campaigns._ledger import ROOT

FOLDER_VARIABLE = "NIGHTRIG_CAMPAIGN_FOLDER"
PATCH_VARIABLE = "NIGHTRIG_CAMPAIGN_PATCH"
BODIES = "bodies"
_START_S = 60.0


@dataclass(frozen=True, slots=True)
class RigPlan:
    """A rig of test cameras cam0, cam1, ...; `head` are further lines of the top, `record` of [record],
    `camera` of each; `more` are further cameras: a name and the lines of its table.

    bodies: with a test estimator of that name, which gives numbers and a mesh for every depth frame of cam0.
    patch: see _test_camera.depth_loop.
    """

    cameras: int = 4
    width: int = 320
    height: int = 240
    fps: int = 30
    color: bool = False
    queue_mb: int = 64
    head: str = ""
    record: str = "reserve_mb = 1"
    camera: str = ""
    more: tuple[tuple[str, str], ...] = ()
    bodies: bool = False
    patch: int = 1

    @property
    def names(self) -> list[str]:
        return [*(f"cam{index}" for index in range(self.cameras)), *(name for name, _ in self.more)]

    def text(self) -> str:
        """The rig file."""
        lines = ['name = "campaign"', f"queue_mb = {self.queue_mb}", "preview = false", self.head]
        lines += ["[record]", self.record]
        for index, name in enumerate(self.names[: self.cameras]):
            size = f"{{ width = {self.width}, height = {self.height}, fps = {self.fps} }}"
            lines += ["[[cameras]]", f'name = "{name}"', 'source = "simulated"', f"seed = {index}"]
            lines += ["through_realsense = false", f"depth = {size}", self.camera]
            if self.color:
                lines.append(f"color = {{ width = 160, height = 120, fps = {self.fps} }}")
        for name, text in self.more:
            lines += ["[[cameras]]", f'name = "{name}"', text]
        if self.bodies:
            lines += ["[[estimators]]", 'kind = "test"', f'name = "{BODIES}"', 'cameras = ["cam0"]']
        return "\n".join(lines) + "\n"


def plan_account(plan: RigPlan, session: Path, logs: Path, *, until_ns: int | None = None) -> Account:
    """Everything that a rig's cameras and its estimator sent against a session, up to a moment."""
    total = session_account(session, logs, plan.names, until_ns=until_ns)
    if plan.bodies:
        total.add(camera_account(session / PEOPLE, logs / f"{BODIES}.sent", BODIES, until_ns=until_ns))
    return total


class TriedRecording:
    """`nightrig record` in a process group of its own; `with` ends it whatever happens.

    logs: the folder with what the cameras sent and their switches. root: where its session goes.
    temporary: what its processes take for the system's folder of temporary files.
    """

    def __init__(self, plan: RigPlan, logs: Path, root: Path, *arguments: str) -> None:
        self.plan, self.logs, self.root = plan, logs, root
        self.temporary = logs / "tmp"
        self.temporary.mkdir(parents=True, exist_ok=True)
        self._before = set(root.glob("*/session.json"))
        rig = logs / "rig.toml"
        rig.write_text(plan.text())
        recorder = Path(__file__).with_name("_recorder.py")
        self.err = (logs / "recorder.err").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, str(recorder), str(rig), "--root", str(root), "--json", *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                FOLDER_VARIABLE: str(logs),
                PATCH_VARIABLE: str(plan.patch),
                "TMPDIR": str(self.temporary),
            },
            stdout=subprocess.DEVNULL,
            stderr=self.err,
            start_new_session=True,
        )

    def wait_until_started(self) -> None:
        """Until the supervisor has said go."""
        self.wait_for(lambda: self._has_event("started"), _START_S)

    def _has_event(self, kind: str) -> bool:
        return any(f'"{kind}"' in (path.parent / "events.jsonl").read_text() for path in self._begun())

    def _begun(self) -> set[Path]:
        """Its own session, and not those that were below the root before."""
        begun = set(self.root.glob("*/session.json")) - self._before
        return {path for path in begun if (path.parent / "events.jsonl").exists()}

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Poll. Raises RuntimeError when the recording ends, or TimeoutError."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if self.process.poll() is not None:
                raise RuntimeError(f"the recording ended early: {self.said()}")
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"waited {timeout_s:g} s in vain: {self.said()}")
            time.sleep(0.01)

    def said(self) -> str:
        """What the recorder has said so far."""
        return (self.logs / "recorder.err").read_text(errors="replace")

    @property
    def session(self) -> Path:
        """The session folder."""
        return max(path.parent for path in set(self.root.glob("*/session.json")) - self._before)

    def children(self) -> dict[str, int]:
        """pid by process name ("writer", "cam0", ...); one that is just being started has none."""
        found: dict[str, int] = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(path.read_text().rpartition(")")[2].split()[1])
                words = (path.parent / "cmdline").read_text().split("\0")
            except (OSError, ValueError):
                continue
            if parent == self.process.pid and len(words) > 3:
                found[words[3]] = int(path.parent.name)
        return found

    @contextlib.contextmanager
    def stopped_writer(self) -> Iterator[None]:
        """The writer of now stands still; one that the supervisor has replaced meanwhile is left alone."""
        pid = self.children()["writer"]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def kill_group(self) -> None:
        """SIGKILL to every process of the recording."""
        os.killpg(self.process.pid, signal.SIGKILL)

    def stop(self, timeout_s: float = 120.0) -> int:
        """What Ctrl-C does; its exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(timeout_s)

    def account(self) -> Account:
        """What the cameras and the estimator sent against what lies in the session."""
        return plan_account(self.plan, self.session, self.logs)

    def __enter__(self) -> TriedRecording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill_group()
            self.process.wait()
        self.err.close()
