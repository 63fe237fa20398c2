#!/usr/bin/env python3
"""The power goes at any moment of a recording: what is on the disk afterwards?

A case is one recording, by the real service, of two test cameras (depth and colour) and a test estimator
(numbers and meshes) onto an ext4 of its own, on a loop device, on a disk that logs every write and every
flush that reaches it. One camera is killed on the way, and segments are short, so that files are begun,
sealed and written to the journal all the time. Afterwards the disk is made again as it was at random moments:

    snapshot   everything that had reached it: the system stopped, the disk lost nothing
    torn       everything before the last flush, and of what came after it anything in any order, some
               of it in part: all that a disk with a write cache promises

Each of these disks is mounted (so that the journal is replayed as after a real power cut), and what is on it
held against what cameras and estimator had sent by that moment. `info`, `verify` and `recover` have to do
with the session what their help says, session.json and events.jsonl are there and whole, and after every
tenth cut another recording is made in the same folder.

    scripts/campaigns/powercut.py                      10 recordings, 300 snapshots, 100 torn disks
    scripts/campaigns/powercut.py --recordings 1 --seconds 4 --snapshots 3 --torn 2       a short look

Root is needed, and /dev/fuse, loop devices and mkfs.ext4; where it cannot run it says so and ends with 3.
Everything is mounted in a mount namespace of its own: nothing is left mounted, whatever ends it. Stopped by
Ctrl-C, it goes on where it was.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # modules are named from the root of the checkout

from capture.session import EVENTS_FILE, SESSION_FILE
from scripts.campaigns._campaign import Campaign, Promise, Result, at_least, at_most
from scripts.campaigns._disk_log import WRITE, DiskLog, Replay, torn
from scripts.campaigns._mounted_disk import MountedDisk, MountError, make_image, private_mounts
from scripts.campaigns._numbered_mesh import MESH_STREAM
from scripts.campaigns._session import BODIES, RigPlan, TriedRecording, plan_account
from scripts.campaigns._verbs import reading_troubles

SNAPSHOT, TORN = "snapshot", "torn"
_FRAMES_LOST_S = 1.0
_MESHES_LOST_S = 3.0
_DISK_BYTES = 512 << 20
_RECORDINGS = "recordings"
_AGAIN_EVERY = 10
_AGAIN_S = 0.5
_AGAIN_PATIENCE_S = 120.0
_SLACK_S = 20.0


@dataclass(frozen=True, slots=True)
class Cut:
    """The power goes after the first `count` entries of the disk's log, at `at_ns`."""

    kind: str
    count: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording that was made, and its disk before anything was on it."""

    plan: RigPlan
    folder: Path
    image: Path
    log: DiskLog
    started_ns: int
    ended_ns: int
    events: list[bytes]

    @property
    def sent(self) -> Path:
        """The folder with the logs of cameras and estimator."""
        return self.folder / "logs"


def record(folder: Path, *, seconds: float, codec: str, chance: random.Random) -> Recorded:
    """Make a recording on a disk of its own."""
    plan = RigPlan(
        cameras=2,
        color=True,
        bodies=True,
        record=f'reserve_mb = 1\nsegment_s = 6\nmesh_codec = "{codec}"',
        camera="restart_max_s = 1",
    )
    image = folder / "disk.img"
    make_image(image, _DISK_BYTES)
    with MountedDisk(image, folder / "live", log=folder / "disk.log") as disk:
        root = disk.folder / _RECORDINGS
        with TriedRecording(plan, folder / "logs", root, "--duration", f"{seconds + _SLACK_S}") as recording:
            recording.wait_until_started()
            started_ns = time.monotonic_ns()
            first_s = chance.uniform(0.2, 0.8) * seconds
            time.sleep(first_s)
            os.kill(recording.children()["cam1"], signal.SIGKILL)
            time.sleep(seconds - first_s)
            recording.stop()
            ended_ns = time.monotonic_ns()
            events = (recording.session / EVENTS_FILE).read_bytes().splitlines(keepends=True)
    log = DiskLog(folder / "disk.log")
    return Recorded(plan, folder, image, log, started_ns, ended_ns, events)


def choose(recorded: Recorded, *, snapshots: int, torn_disks: int, chance: random.Random) -> list[Cut]:
    """Cuts in the order of time: snapshots at any moment, torn disks right after a write; the rather after
    one, the more there is that no flush has made sure of."""
    log = recorded.log
    cuts = []
    for _ in range(snapshots):
        at_ns = chance.randint(recorded.started_ns, recorded.ended_ns)
        cuts.append(Cut(SNAPSHOT, log.index_at(at_ns), at_ns))
    first, last = log.index_at(recorded.started_ns), log.index_at(recorded.ended_ns)
    writes = [index for index in range(first, last) if log.kinds[index] == WRITE]
    unsure = [index + 1 - log.sure(index + 1) for index in writes]
    for index in chance.choices(writes, unsure, k=torn_disks):
        cuts.append(Cut(TORN, index + 1, int(log.times_ns[index])))
    return sorted(cuts, key=lambda cut: cut.count)


def try_cut(recorded: Recorded, replay: Replay, cut: Cut, *, again: bool, chance: random.Random) -> Result:
    """Make the disk as the cut left it, mount it and look."""
    log = recorded.log
    sure = log.sure(cut.count)
    replay.advance(sure)
    rest = [log[index] for index in range(sure, cut.count)]
    kept = torn(rest, chance) if cut.kind == TORN else rest
    patch = recorded.folder / "patch.log"
    patch.write_bytes(b"".join(entry.pack() for entry in kept))
    found: Result = {"kind": cut.kind, "at_s": (cut.at_ns - recorded.started_ns) / 1e9, "unsure": len(rest)}
    try:
        with MountedDisk(recorded.image, recorded.folder / "cut", patch=patch) as disk:
            found |= _look(recorded, disk.folder, cut)
            if again:
                found["trouble"] += _record_again(recorded, disk.folder / _RECORDINGS)
    except MountError as error:
        found["trouble"] = [f"the disk cannot be mounted: {error}"]
    found["trouble"] = [f"{cut.kind} at {found['at_s']:.3f} s: {each}" for each in found["trouble"]]
    return found


def _look(recorded: Recorded, disk: Path, cut: Cut) -> Result:
    sessions = list((disk / _RECORDINGS).iterdir()) if (disk / _RECORDINGS).is_dir() else []
    if len(sessions) != 1:
        return {"trouble": [f"there are {len(sessions)} sessions"]}
    session = sessions[0]
    account = plan_account(recorded.plan, session, recorded.sent, until_ns=cut.at_ns)
    lost = [each for each in account.lost if not each.in_hand]
    ages = {True: 0.0, False: 0.0}
    for each in lost:
        is_mesh = each.camera == BODIES and each.key[0] == MESH_STREAM
        ages[is_mesh] = max(ages[is_mesh], (cut.at_ns - each.monotonic_ns) / 1e9)
    trouble = _session_file_troubles(recorded, session / SESSION_FILE)
    reading = reading_troubles(session, disk / "copy")
    whole = _whole_events(recorded, session / EVENTS_FILE, disk / "copy" / EVENTS_FILE, trouble)
    lost_ns = [json.loads(line)["monotonic_ns"] for line in recorded.events[whole:]]
    return {
        "sent": account.sent,
        "written": account.written,
        "wrong": len(account.wrong),
        "frames_s": ages[False],
        "meshes_s": ages[True],
        "events_s": max([(cut.at_ns - at_ns) / 1e9 for at_ns in lost_ns if at_ns <= cut.at_ns], default=0.0),
        "files_broken": len(trouble),
        "read_badly": len(reading),
        "trouble": [*trouble, *reading, *account.wrong],
    }


def _whole_events(recorded: Recorded, path: Path, copy: Path, trouble: list[str]) -> int:
    """How many events are on the disk. Behind them may stand what had no time to become one: a piece of a
    line, and the zeros that ext4 puts where data did not get to; recover leaves that out of its copy."""
    if not path.exists():
        trouble.append(f"there is no {path.name}")
        return 0
    data, whole = path.read_bytes(), 0
    for line in recorded.events:
        if not data.startswith(line):
            break
        data, whole = data[len(line) :], whole + 1
    if not b"".join(recorded.events[whole:]).startswith(data.rstrip(b"\0")):
        trouble.append(f"{path.name} is not whole: after {whole} events comes {data[:80]!r}")
    if copy.exists() and copy.read_bytes() != b"".join(recorded.events[:whole]):
        trouble.append(f"{path.name} is not whole in the recovered copy")
    return whole


def _session_file_troubles(recorded: Recorded, path: Path) -> list[str]:
    try:
        facts: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        return [f"{path.name} is not whole: {error}"]
    names = [camera["name"] for camera in facts["config"]["cameras"]]
    return [] if names == recorded.plan.names else [f"{path.name} tells of {names}"]


def _record_again(recorded: Recorded, root: Path) -> list[str]:
    """A new recording beside the one that was cut short."""
    before = sorted(root.iterdir())
    logs = recorded.folder / "again"
    shutil.rmtree(logs, ignore_errors=True)
    plan = RigPlan(cameras=1, width=64, height=48, queue_mb=16)
    with TriedRecording(plan, logs, root, "--duration", f"{_AGAIN_S}") as recording:
        code = recording.process.wait(_AGAIN_PATIENCE_S)
        said = recording.said()
    if code != 0 or len(list(root.iterdir())) != len(before) + 1:
        return [f"a new recording ends with {code}: {said.strip()[-500:]}"]
    account = recording.account()
    return [] if account.written and not account.lost else ["a new recording lacks frames"]


def attempt(case: str, folder: Path, *, seconds: float, snapshots: int, torn_disks: int, seed: int) -> Result:
    """One recording and its cuts."""
    private_mounts()
    chance = random.Random(f"{seed} {case}")
    codec = ("native", "bodycompress")[int(case.rsplit("-", 1)[1]) % 2]
    recorded = record(folder, seconds=seconds, codec=codec, chance=chance)
    cuts = choose(recorded, snapshots=snapshots, torn_disks=torn_disks, chance=chance)
    replay = Replay(recorded.image, recorded.log)
    found = [
        try_cut(recorded, replay, cut, again=place % _AGAIN_EVERY == 0, chance=chance)
        for place, cut in enumerate(cuts)
    ]
    replay.close()
    again = len(range(0, len(cuts), _AGAIN_EVERY))
    trouble = [sentence for each in found for sentence in each.pop("trouble")]
    return {"cuts": found, "again": again, "trouble": trouble}


def judge(results: list[Result]) -> list[Promise]:
    cuts = [cut for result in results for cut in result["cuts"]]

    def worst(key: str, kind: str) -> float:
        return max((cut.get(key, 0.0) for cut in cuts if cut["kind"] == kind), default=0.0)

    def total(key: str) -> int:
        return sum(cut.get(key, 0) for cut in cuts)

    promises = []
    for kind in (SNAPSHOT, TORN):
        count = sum(cut["kind"] == kind for cut in cuts)
        looked = sum(cut["kind"] == kind and "written" in cut for cut in cuts)
        promises += [
            at_least(f"{kind}: disks that mount and hold the session", looked, count),
            at_most(f"{kind}: frames lost, age of the oldest", worst("frames_s", kind), _FRAMES_LOST_S, "s"),
            at_most(f"{kind}: meshes lost, age of the oldest", worst("meshes_s", kind), _MESHES_LOST_S, "s"),
            at_most(f"{kind}: events lost, age of the oldest", worst("events_s", kind), _FRAMES_LOST_S, "s"),
        ]
    return [
        *promises,
        at_most(f"wrong, of {total('written')} frames, results, meshes", total("wrong"), 0),
        at_most("session.json or events.jsonl not there or not whole", total("files_broken"), 0),
        at_most("what info, verify, recover should not say", total("read_badly"), 0),
        at_least("new recordings beside those cut short", sum(r["again"] for r in results), len(results)),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The campaign; its exit code."""
    campaign = Campaign("powercut", __doc__)
    campaign.parser.add_argument("--recordings", type=int, default=10, help="(default: %(default)s)")
    campaign.parser.add_argument("--seconds", type=float, default=12.0, help="how long each of them is")
    campaign.parser.add_argument("--snapshots", type=int, default=30, help="cuts of each, of this kind")
    campaign.parser.add_argument("--torn", type=int, default=10, help="cuts of each, of this kind")
    args = campaign.parse(arguments)
    return campaign.run(
        args,
        [f"recording-{number:02d}" for number in range(args.recordings)],
        lambda case, folder: attempt(
            case,
            folder,
            seconds=args.seconds,
            snapshots=args.snapshots,
            torn_disks=args.torn,
            seed=args.seed,
        ),
        judge,
    )


if __name__ == "__main__":
    sys.exit(main())
