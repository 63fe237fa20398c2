#!/usr/bin/env python3
"""Four cameras, and something that cannot keep up: the writer, the disk or the processor.

    writer   the writer process stands still (SIGSTOP) for 10 s and for 60 s
    disk     the disk takes 2 MB/s for 60 s (_slow_disk: ext4 on a loop device on a FUSE file with a token
             bucket, so that the kernel's own writing is what is slowed down; needs root)
    pi       all processes together get what a Raspberry Pi 4 has (_cpu_limit; needs root) for 60 s, with the
             densest codec of the effort ladder and as many cameras as its USB can carry, 1280x720 at 30 fps:
             too much for it

Each case records a while in peace, then stalls, waits until the queues are empty again, and records in peace
once more. Then every frame is held against what the cameras say they sent: sent = written + dropped (with
its reason) + lost at the camera, to the frame. Memory is what all processes have beyond what they had with
empty queues, and has to stay within queue_mb and a tenth. The preview is the real one on a screen that
nobody sees (Xvfb); what counts is how often a new picture of the slowest camera was drawn.

    scripts/campaigns/stall.py                                    all four, six minutes
    scripts/campaigns/stall.py --only writer --seconds 2          a short look
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # modules are named from the root of the checkout

from scripts.campaigns._campaign import Campaign, Promise, Result, at_least, at_most
from scripts.campaigns._cpu_limit import PI4_CORES, cpu_limit
from scripts.campaigns._session import RigPlan, TriedRecording, plan_account
from scripts.campaigns._slow_disk import SlowDisk
from scripts.campaigns._test_preview import read_log, screen, slowest_fps
from scripts.campaigns._watch import RecordingWatch, total

_CASES = ("writer 10", "writer 60", "disk 60", "pi 60")
_PI_RIG = {"cameras": 6, "width": 1280, "height": 720, "fps": 30}  # 332 MB/s of depth; its USB carries 350
_DISK_BYTES_PER_S = 2e6
_EASY_FILL = 0.05
_DRAINED_S = 300.0
_LOOK_S = 0.5
_PREVIEW_FPS = 5.0
_STEPS = {"disk": ("lattice-rans", "disk"), "pi": ("lattice-lz4", "cpu")}


@dataclass(slots=True)
class Trial:
    """One recording with one stall. stall: gives a context in which it is short of something."""

    recording: TriedRecording
    watch: RecordingWatch
    seconds: float
    peace_s: float
    samples: list[dict[str, Any]] = field(default_factory=list)
    base_mb: float = 0.0
    began_ns: int = 0
    ended_ns: int = 0
    drained_ns: int = 0

    def run(self, stall: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
        self._look_for(self.peace_s)
        self.base_mb = total(self.samples[-1], "own_mb")
        self.began_ns = time.monotonic_ns()
        with stall():
            self._look_for(self.seconds)
        self.ended_ns = time.monotonic_ns()
        self.recording.wait_for(self._is_drained, _DRAINED_S)
        self.drained_ns = time.monotonic_ns()
        self._look_for(self.peace_s)

    def _look_for(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.samples.append(self.watch.sample())
            time.sleep(max(0.0, min(_LOOK_S, end_s - time.monotonic())))

    def _is_drained(self) -> bool:
        time.sleep(0.1)
        return self.watch.fill < _EASY_FILL


@contextlib.contextmanager
def slow_disk(disk: SlowDisk) -> Iterator[None]:
    """As slow as an old memory card."""
    disk.limit(_DISK_BYTES_PER_S)
    try:
        yield
    finally:
        disk.limit(0)


def attempt(case: str, folder: Path, *, plan: RigPlan, peace_s: float) -> Result:
    """One recording."""
    kind, _, seconds = case.partition(" ")
    with contextlib.ExitStack() as stack:
        has_screen = stack.enter_context(screen())
        disk = stack.enter_context(SlowDisk(folder)) if kind == "disk" else None
        root = disk.folder if disk else folder / "root"
        preview = "--preview" if has_screen else "--no-preview"
        recording = stack.enter_context(TriedRecording(plan, folder / "logs", root, preview))
        recording.wait_until_started()
        watch = RecordingWatch(recording)
        trial = Trial(recording, watch, float(seconds), peace_s)
        if kind == "writer":
            trial.run(recording.stopped_writer)
        elif disk:
            trial.run(lambda: slow_disk(disk))
        else:
            pids = [recording.process.pid, *recording.children().values()]
            trial.run(lambda: cpu_limit(PI4_CORES, pids))
        watch.close()
        exit_code = recording.stop()
        return measure(case, trial, exit_code, has_screen)


def memory_mb(sample: dict[str, Any]) -> float:
    """What all processes have allocated, and the queues."""
    return total(sample, "own_mb") + total(sample, "shared_mb")


def measure(case: str, trial: Trial, exit_code: int, has_screen: bool) -> Result:
    """What came of it."""
    recording, plan = trial.recording, trial.recording.plan
    account = recording.account()
    until = plan_account(plan, recording.session, recording.logs, until_ns=trial.drained_ns)
    lines = (recording.session / "events.jsonl").read_text().splitlines()
    efforts = [event for event in map(json.loads, lines) if event["event"] == "effort"]
    drawn, fresh = slowest_fps(read_log(recording.logs), trial.began_ns, trial.ended_ns)
    fullest = max(trial.samples, key=memory_mb)
    during = [s for s in trial.samples if trial.began_ns <= trial.watch.at_ns(s) <= trial.ended_ns]
    trouble = [*account.wrong, *account.untrue]
    if exit_code not in (0, 3):
        trouble.append(f"{case}: the recording ended with {exit_code}: {recording.said()[-400:]}")
    lost = {"dropped": account.dropped_total, "at_camera": account.at_camera}
    lost_until = {"dropped": until.dropped_total, "at_camera": until.at_camera}
    return {
        "case": case,
        "sent": account.sent,
        "written": account.written,
        "dropped": dict(account.dropped),
        "at_camera": account.at_camera,
        "unaccounted": len(account.unaccounted),
        "lost_afterwards": sum(lost.values()) - sum(lost_until.values()),
        "drained_s": (trial.drained_ns - trial.ended_ns) / 1e9,
        "fill": max(sample["fill"] for sample in during),
        "memory_mb": memory_mb(fullest) - trial.base_mb,
        "processes": fullest["processes"],
        "budget_mb": plan.queue_mb * 1.1,
        "effort": [(event["codec"], event["reason"]) for event in efforts],
        "drawn_fps": drawn if has_screen else None,
        "fresh_fps": fresh if has_screen else None,
        "exit_code": exit_code,
        "said": recording.said()[-2000:],
        "trouble": trouble,
    }


def judge(results: list[Result]) -> list[Promise]:
    """The promises of each case."""
    return [promise for result in results for promise in _judge_one(result)]


def _judge_one(result: Result) -> list[Promise]:
    case = result["case"]
    reasons = (
        ", ".join(f"{count} {reason}" for reason, count in sorted(result["dropped"].items()))
        or "none dropped"
    )
    accounted = result["written"] + sum(result["dropped"].values()) + result["at_camera"]
    told = f"written {result['written']}, {reasons}, at camera {result['at_camera']}"
    promises = [
        at_most(
            f"{case}: frames without account ({told})", result["sent"] - accounted, 0, f"of {result['sent']}"
        ),
        at_most(
            f"{case}: lost once the queues were empty ({result['drained_s']:.1f} s later)",
            result["lost_afterwards"],
            0,
        ),
        at_most(
            f"{case}: memory beyond that with empty queues", result["memory_mb"], result["budget_mb"], "MB"
        ),
        _fps(f"{case}: pictures drawn by the preview", result["drawn_fps"]),
        _fps(f"{case}: new pictures of the slowest stream", result["fresh_fps"]),
    ]
    wanted = _STEPS.get(case.partition(" ")[0])
    if wanted:
        seen = " ".join(f"{codec} ({reason})" for codec, reason in result["effort"]) or "none"
        promises.append(
            Promise(
                f"{case}: steps of effort",
                f"{wanted[0]} ({wanted[1]})",
                seen,
                list(wanted) in map(list, result["effort"]),
            )
        )
    return promises


def _fps(what: str, fps: float | None) -> Promise:
    if fps is None:
        return Promise(what, f">= {_PREVIEW_FPS:g} /s", "no screen: Xvfb is not installed", None)
    return at_least(what, fps, _PREVIEW_FPS, "/s")


def main(arguments: Sequence[str] | None = None) -> int:
    """The campaign; its exit code."""
    campaign = Campaign("stall", __doc__)
    add = campaign.parser.add_argument
    add("--only", choices=("writer", "disk", "pi"), help="one kind of stall")
    add("--seconds", type=float, help="of every stall, in place of 10 and 60")
    add("--peace", type=float, default=10.0, help="seconds before and after (default: %(default)g)")
    add("--queue-mb", type=int, default=256, help="of the rig (default: %(default)s)")
    add("--width", type=int, default=640, help="of a depth picture (default: %(default)s)")
    add("--height", type=int, default=480, help="of a depth picture (default: %(default)s)")
    args = campaign.parse(arguments)
    cases = [case for case in _CASES if args.only in (None, case.partition(" ")[0])]
    if args.seconds is not None:
        cases = list(dict.fromkeys(f"{case.partition(' ')[0]} {args.seconds:g}" for case in cases))

    def plan(case: str) -> RigPlan:
        if case.startswith("pi"):
            record = 'reserve_mb = 1\ncodec = "lattice-rans"'
            return RigPlan(**_PI_RIG, color=True, queue_mb=2 * args.queue_mb, record=record, patch=2)
        return RigPlan(
            width=args.width,
            height=args.height,
            color=True,
            queue_mb=args.queue_mb,
            record='reserve_mb = 1\ncodec = "lattice-lz4"',
        )

    return campaign.run(
        args, cases, lambda case, folder: attempt(case, folder, plan=plan(case), peace_s=args.peace), judge
    )


if __name__ == "__main__":
    sys.exit(main())
