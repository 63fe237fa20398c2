#!/usr/bin/env python3
"""kill -9 at random moments: of each process of a recording, and of all of them at once.

A case is one recording of four test cameras (depth and colour) and a test estimator (numbers and meshes).
While it runs, its children (the writer, the estimator, each camera) are killed one after the other; then it
ends in one of three ways, in turn:

    group        all its processes are killed at once, as when memory runs out
    supervisor   the supervisor alone is killed: cameras stop, the writer drains and seals
    ctrl-c       it is stopped as users do

Then every frame, result and mesh on disk is held against what cameras and estimator say they sent. Of a
process that was killed alone only the very last is left out, which it may have had in hand. `info`,
`verify` and `recover` have to do with the session what their help says.

    scripts/campaigns/kill.py                                50 recordings, 1,034 kills, a quarter of an hour
    scripts/campaigns/kill.py --cases 3 --kills 4            a short look

Stopped by Ctrl-C, it goes on where it was.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # modules are named from the root of the checkout

from capture.session import PEOPLE
from scripts.campaigns._account import Account, Missing, killed_meshes
from scripts.campaigns._campaign import Campaign, Promise, Result, at_least, at_most
from scripts.campaigns._numbered_mesh import MESH_STREAM
from scripts.campaigns._sent import SKIPPED, read_sent
from scripts.campaigns._session import BODIES, RigPlan, TriedRecording
from scripts.campaigns._verbs import reading_troubles

ENDINGS = ("group", "supervisor", "ctrl-c")
_FRAMES_LOST_MS = 250.0
_MESHES_LOST_S = 2.0
_LONGEST_PAUSE_S = 0.8
_BACK_S = 30.0
_GONE_S = 30.0


@dataclass(slots=True)
class Trial:
    """A case under way."""

    recording: TriedRecording
    chance: random.Random
    kills: list[tuple[str, int]] = field(default_factory=list)

    def kill(self, name: str) -> None:
        """One child, as soon as there is one of that name: it may just have been killed."""
        self.recording.wait_for(lambda: self._killed(name), _BACK_S)
        self.kills.append((name, time.monotonic_ns()))

    def _killed(self, name: str) -> bool:
        try:
            os.kill(self.recording.children()[name], signal.SIGKILL)
        except (KeyError, ProcessLookupError):
            return False
        return True

    def last_kill_ns(self) -> dict[str, int]:
        """When each camera, or the estimator, was killed for the last time while the others went on."""
        return {name.rpartition(" ")[2]: at_ns for name, at_ns in self.kills if name not in ENDINGS}

    def pause(self) -> None:
        time.sleep(self.chance.uniform(0.0, _LONGEST_PAUSE_S))

    def wait_until_all_record(self) -> None:
        """Every process is there, and the files of every camera and of the estimator grow."""
        recording = self.recording
        everybody = {"writer", f"estimator {BODIES}", *recording.plan.names}
        recording.wait_for(lambda: recording.children().keys() == everybody, _BACK_S)
        folders = [recording.session / name for name in (*recording.plan.names, PEOPLE)]
        sizes = [_size(folder) for folder in folders]
        recording.wait_for(
            lambda: all(_size(folder) > size for folder, size in zip(folders, sizes, strict=True)), _BACK_S
        )

    def descriptors(self) -> int:
        """How many the supervisor has open; the fewest of a few looks, since it opens files for a moment."""
        folder = Path(f"/proc/{self.recording.process.pid}/fd")
        counts = []
        for _ in range(5):
            counts.append(len(list(folder.iterdir())))
            time.sleep(0.02)
        return min(counts)

    def end(self, ending: str) -> int:
        """Returns when, in monotonic ns."""
        recording = self.recording
        if ending == "group":
            recording.kill_group()
        elif ending == "supervisor":
            os.kill(recording.process.pid, signal.SIGKILL)
        else:
            os.kill(recording.process.pid, signal.SIGINT)
        at_ns = time.monotonic_ns()
        if ending != "ctrl-c":
            self.kills.append((ending, at_ns))
        recording.process.wait(_GONE_S)
        return at_ns

    def left_behind(self) -> list[str]:
        """Processes of the group that do not end, and temporary files."""
        group = self.recording.process.pid
        deadline_s = time.monotonic() + _GONE_S
        while _processes_of(group) and time.monotonic() < deadline_s:
            time.sleep(0.02)
        left = [f"process {pid} is still there" for pid in _processes_of(group)]
        with contextlib.suppress(ProcessLookupError):
            self.recording.kill_group()
        left += [f"temporary file {path.name}" for path in self.recording.temporary.rglob("*")]
        session = self.recording.session
        left += [f"temporary file {path.relative_to(session)}" for path in session.rglob(".*")]
        return left


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.nrig"))


def _shared_memory() -> set[str]:
    """What is there of the kinds that a Python program can leave behind, or one that names it after us."""
    kinds = ("psm_", "sem.", "pym-", "nightrig")
    return {path.name for path in Path("/dev/shm").iterdir() if path.name.startswith(kinds)}


def _processes_of(group: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            state, _, of_group, _ = path.read_text().rpartition(")")[2].split()[:4]
            if int(of_group) == group and state != "Z":
                found.append(int(path.parent.name))
    return found


def victims(kills: int, cameras: Sequence[str], chance: random.Random) -> list[str]:
    """Everybody in turn, the writer most often, in an order of their own."""
    round_ = ["writer", f"estimator {BODIES}", *cameras, "writer", chance.choice(cameras)]
    chosen = [round_[index % len(round_)] for index in range(kills)]
    chance.shuffle(chosen)
    return chosen


def attempt(case: str, folder: Path, *, kills: int, cameras: int, seed: int) -> Result:
    """One recording."""
    chance = random.Random(f"{seed} {case}")
    ending, number = case.rsplit("-", 1)
    codec = ("native", "bodycompress")[int(number) // len(ENDINGS) % 2]
    plan = RigPlan(
        cameras=cameras,
        color=True,
        bodies=True,
        queue_mb=256,
        record=f'reserve_mb = 1\nmesh_codec = "{codec}"',
        camera="restart_max_s = 1",
    )
    shared_before = _shared_memory()
    with TriedRecording(plan, folder / "logs", folder / "root") as recording:
        trial = Trial(recording, chance)
        recording.wait_until_started()
        trial.wait_until_all_record()
        descriptors = trial.descriptors()
        for name in victims(kills, plan.names, chance):
            trial.pause()
            trial.kill(name)
        trial.wait_until_all_record()
        gained = trial.descriptors() - descriptors
        trial.pause()
        ended_ns = trial.end(ending)
        left = trial.left_behind()
    left += [f"shared memory {name}" for name in _shared_memory() - shared_before]
    account = recording.account()
    reading = reading_troubles(recording.session, folder / "copy")
    with_writers = killed_meshes(recording.session / PEOPLE)
    result = measure(account, ending, ended_ns, with_writers, trial.last_kill_ns())
    logs = [folder / "logs" / f"{name}.sent" for name in plan.names]
    result["skipped"] = sum(int((read_sent(log)["kind"] == SKIPPED).sum()) for log in logs)
    trouble = [*left, *account.wrong, *account.untrue, *reading]
    if "Traceback" in recording.said():
        trouble.append(f"the recorder raised: {recording.said()[-1000:]}")
    return {
        **result,
        "kills": len(trial.kills),
        "descriptors_gained": gained,
        "left_behind": len(left),
        "read_badly": len(reading),
        "trouble": trouble,
    }


def measure(
    account: Account,
    ending: str,
    ended_ns: int,
    with_writers: Sequence[tuple[int, int]],
    last_kill_ns: Mapping[str, int],
) -> dict[str, Any]:
    """What was lost, but for what a process was killed with in hand.

    with_writers: when the meshes were taken that went with each killed writer, as the files tell it.
    last_kill_ns: when a camera or the estimator was killed for the last time (alone).
    """

    def excused(each: Missing) -> bool:
        return each.in_hand and each.monotonic_ns <= last_kill_ns.get(each.camera, 0)

    lost = [each for each in account.lost if not excused(each)]
    frames = [each for each in lost if each.key[0] != MESH_STREAM or each.camera != BODIES]
    meshes = [each for each in lost if each not in frames]
    oldest_ms = max((ended_ns - each.monotonic_ns for each in frames), default=0) / 1e6
    stretches_s = _stretches_s([each.monotonic_ns for each in meshes], with_writers, ended_ns)
    return {
        "sent": account.sent,
        "written": account.written,
        "wrong": len(account.wrong),
        "untrue": len(account.untrue),
        "frames_lost": len(frames),
        "oldest_frame_ms": oldest_ms if ending == "group" else 0.0,
        "lost_without_need": 0 if ending == "group" else len(frames),
        "unaccounted": 0 if ending == "group" else sum(not excused(each) for each in account.unaccounted),
        "meshes_lost": len(meshes),
        "longest_meshes_s": max(stretches_s, default=0.0),
    }


def _stretches_s(lost_ns: list[int], with_writers: Sequence[tuple[int, int]], ended_ns: int) -> list[float]:
    """How long it was, of the meshes that went with each writer, from the first to the last."""
    stretches_s, told_ns = [], 0
    for start_ns, end_ns in with_writers:
        within = [at_ns for at_ns in lost_ns if max(start_ns, told_ns) < at_ns <= end_ns]
        stretches_s += [(max(within) - min(within)) / 1e9] if within else []
        told_ns = end_ns
    rest = [at_ns for at_ns in lost_ns if at_ns > told_ns]
    return [*stretches_s, (ended_ns - min(rest)) / 1e9] if rest else stretches_s  # no writer lived to tell


def judge(results: list[Result], *, kills: int) -> list[Promise]:
    def total(key: str) -> int:
        return sum(result[key] for result in results)

    def most(key: str) -> float:
        return max(result[key] for result in results)

    return [
        at_least("processes and groups killed at random moments", total("kills"), kills * len(results)),
        at_most(
            "frames lost with all: age of the oldest",
            most("oldest_frame_ms"),
            _FRAMES_LOST_MS,
            "ms",
        ),
        at_most("frames lost with one, but for its own outage", total("lost_without_need"), 0),
        at_most("frames a camera lost since nobody came for them", total("skipped"), 0),
        at_most("meshes lost: the longest stretch", most("longest_meshes_s"), _MESHES_LOST_S, "s"),
        at_most(f"wrong, of {total('written')} frames, results and meshes on disk", total("wrong"), 0),
        at_most("gap records that are untrue", total("untrue"), 0),
        at_most("frames that nothing accounts for", total("unaccounted"), 0),
        at_most("descriptors the supervisor gains over a case", most("descriptors_gained"), 0),
        at_most("processes, shared memory, temporary files left", total("left_behind"), 0),
        at_most("what info, verify, recover should not say", total("read_badly"), 0),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The campaign; its exit code."""
    campaign = Campaign("kill", __doc__)
    campaign.parser.add_argument("--cases", type=int, default=50, help="recordings (default: %(default)s)")
    campaign.parser.add_argument("--kills", type=int, default=20, help="of children, in each of them")
    campaign.parser.add_argument("--cameras", type=int, default=4)
    args = campaign.parse(arguments)
    return campaign.run(
        args,
        [f"{ENDINGS[number % len(ENDINGS)]}-{number:03d}" for number in range(args.cases)],
        lambda case, folder: attempt(case, folder, kills=args.kills, cameras=args.cameras, seed=args.seed),
        lambda results: judge(results, kills=args.kills),
    )


if __name__ == "__main__":
    sys.exit(main())
