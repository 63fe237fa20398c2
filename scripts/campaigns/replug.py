#!/usr/bin/env python3
"""Unplugs cameras and makes them hang, again and again, and asks how soon frames flow again.

One recording after the other, each with seven cameras:
- cam0 is left alone: what befalls the others must not cost it a frame;
- cam1 to cam3 are test cameras that are unplugged, hang in open, read and close, fall silent, or repeat one
  frame for ever;
- rs0 and rs1 are virtual D435s that the real librealsense opens by serial from a bus they are pulled out of;
  they hang as well, also in the reset that a camera gets which cannot be opened;
- web is a camera on the network (MJPEG over HTTP, opened by the real cv2.VideoCapture) that is cut off, falls
  silent, or is gone from the network: it stands in for a V4L2 camera, which needs a device node.

Back means that frames are handed on again in the camera's own account. Time counts from the moment it is
plugged in again, from the beginning of the hang, or from the last frame before the silence. Between two
faults a camera is left alone for --hold seconds, since one that fails again and again is given more and more
time. In each recording, memory and descriptors of the supervisor and the writer are compared after the
warm-up (half of the cycles) and at the end, and every frame is held against the cameras' own account.

    scripts/campaigns/replug.py                      200 cycles, about 12 minutes
    scripts/campaigns/replug.py --cycles 6 --hold 1      a short look
"""

from __future__ import annotations

import random
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from scripts.campaigns._account import camera_account
from scripts.campaigns._campaign import Campaign, Promise, Result
from scripts.campaigns._campaign import at_most as held_up_to
from scripts.campaigns._faults import HANGS_NOW, Faults
from scripts.campaigns._mjpeg import MjpegCamera
from scripts.campaigns._sent import SENT
from scripts.campaigns._session import RigPlan, TriedRecording

_LIMIT_S = 5.0
_GIVE_UP_S = 90.0
_SILENCE_KNOWN_S = 0.5
_UNPLUGGED_S = 1.5  # long enough to be noticed
_GROWTH_PERCENT = 2.0
_BURST_S = 0.5
_SAMPLES, _SAMPLE_S = 10, 0.5
_LEAST_FOR_GROWTH = 24
_TEST = ("unplug", "hang_open", "hang_read", "hang_close", "silent", "stale")
_KINDS = {
    "cam1": _TEST,
    "cam2": _TEST[3:] + _TEST[:3],
    "cam3": _TEST[1:] + _TEST[:1],
    "rs0": ("unplug", "hang_read", "hang_reset", "silent"),
    "rs1": ("unplug", "hang_open", "unplug", "hang_close"),
    "web": ("unplug", "silent", "vanish"),
}
_AWAY = {"unplug": "absent", "vanish": "vanished"}
_REALSENSE = """source = "simulated"
through_realsense = true
depth = { width = 160, height = 120, fps = 30 }"""


@dataclass(slots=True)
class Victim:
    """One camera that is tried: its switches, and what it has sent."""

    name: str
    logs: Path
    web: MjpegCamera | None = None
    kinds: tuple[str, ...] = ()
    done: int = 0
    back_s: list[tuple[str, float]] = field(default_factory=list)
    faults: Faults = field(init=False)

    def __post_init__(self) -> None:
        self.faults = Faults(self.logs / f"{self.name}.faults")

    def set(self, switch: str, value: int) -> None:
        if self.web is None:
            self.faults[switch] = value
        else:
            setattr(self.web, switch, bool(value))

    def last_sent(self) -> tuple[int, int]:
        """(epoch, monotonic ns) of the newest frame."""
        import numpy as np

        path = self.logs / f"{self.name}.sent"
        count = path.stat().st_size // SENT.itemsize
        entry = np.fromfile(path, SENT, 1, offset=(count - 1) * SENT.itemsize)[0]
        return int(entry["epoch"]), int(entry["monotonic_ns"])

    def try_one(self, kind: str, rng: random.Random) -> float:
        """Do that to it; seconds until frames of a later epoch flowed."""
        if kind in _AWAY:
            self.set(_AWAY[kind], 1)
            time.sleep(rng.uniform(0.3, 8.0))
            epoch, _ = self.last_sent()
            self.set(_AWAY[kind], 0)
            return self._until_back(epoch, time.monotonic_ns())
        if kind in ("silent", "stale"):
            self.set(kind, 2)
            time.sleep(_SILENCE_KNOWN_S)
            epoch, since_ns = self.last_sent()
            if self.web is not None:  # whoever connects again gets pictures
                self.web.renewed()
            return self._until_back(epoch, since_ns)
        self.set(kind, 1)
        if kind != "hang_read":
            self.set("absent", 1)  # something must make it be closed and opened
        if kind == "hang_reset":
            self.set("stuck", 1)
            time.sleep(_UNPLUGGED_S)
            self.set("absent", 0)
        self._wait_for_the_hang(kind)
        epoch, since_ns = self.last_sent()[0], time.monotonic_ns()
        self.set("absent", 0)
        if kind == "hang_reset":
            self.set("stuck", 0)
        self.set(kind, 0)  # it hangs for good; the next process finds a sound camera
        return self._until_back(epoch, since_ns)

    def _wait_for_the_hang(self, kind: str) -> None:
        deadline_s = time.monotonic() + _GIVE_UP_S
        while self.faults[kind] != HANGS_NOW and time.monotonic() < deadline_s:
            time.sleep(0.005)

    def _until_back(self, epoch: int, since_ns: int) -> float:
        deadline_s = time.monotonic() + _GIVE_UP_S
        while time.monotonic() < deadline_s:
            now_epoch, sent_ns = self.last_sent()
            if now_epoch > epoch:
                return (sent_ns - since_ns) / 1e9
            time.sleep(0.02)
        return _GIVE_UP_S


class Gauge:
    """Memory (what is allocated, kB), descriptors and shared memory of the supervisor and the writer."""

    def __init__(self, recording: TriedRecording) -> None:
        self.pids = {"supervisor": recording.process.pid, "writer": recording.children()["writer"]}

    def read(self) -> dict[str, float]:
        """The median of a few seconds."""
        found: dict[str, list[float]] = {}
        for _ in range(_SAMPLES):
            for name, pid in self.pids.items():
                for key, value in _usage(pid).items():
                    found.setdefault(f"{name} {key}", []).append(value)
            found.setdefault("/dev/shm files", []).append(len(list(Path("/dev/shm").iterdir())))
            time.sleep(_SAMPLE_S)
        return {key: statistics.median(values) for key, values in found.items()}


def _usage(pid: int) -> dict[str, float]:
    process = Path(f"/proc/{pid}")
    rollup = dict(line.split(":", 1) for line in (process / "smaps_rollup").read_text().splitlines()[1:])
    fds = []
    for link in (process / "fd").iterdir():
        try:
            fds.append(str(link.readlink()))
        except OSError:
            continue
    return {
        # What it has allocated: queues fill as they are needed, libraries are shared with other programs.
        "memory": float(rollup["Pss_Anon"].split()[0]),
        "descriptors": len(fds),
        "memfds": sum("memfd:" in fd for fd in fds),
    }


def attempt(case: str, folder: Path, *, cycles: int, hold_s: float, seed: int) -> Result:
    """One recording with so many cycles, spread over all cameras, which are tried side by side."""
    with MjpegCamera() as web:
        opencv = f'source = "opencv"\ndevice = "{web.url}"\ncolor = {{ width = 160, height = 120 }}'
        more = (("rs0", f"{_REALSENSE}\nindex = 0"), ("rs1", f"{_REALSENSE}\nindex = 1"), ("web", opencv))
        plan = RigPlan(cameras=4, width=160, height=120, more=more)
        with TriedRecording(plan, folder / "logs", folder / "root") as recording:
            recording.wait_until_started()
            time.sleep(1.0)
            # Once in so many minutes frames wait for a moment, and all threads of the writer take part: what
            # they need for that, they have from now on.
            with recording.stopped_writer():
                time.sleep(_BURST_S)
            time.sleep(hold_s)
            victims = [
                Victim(name, folder / "logs", web if name == "web" else None, kinds)
                for name, kinds in _KINDS.items()
            ]
            gauge = Gauge(recording)
            before: dict[str, float] = {}
            # The first half is the warm-up: caches, arenas and rings find their size.
            for part in (range(cycles // 2), range(cycles // 2, cycles)):
                before = gauge.read() if cycles >= _LEAST_FOR_GROWTH else {}
                _try_all(victims, part, hold_s, random.Random(f"{seed} {case} {part.start}"))
            after = gauge.read() if before else {}
            pids_same = recording.children().get("writer") == gauge.pids["writer"]
            code = recording.stop()
            session = recording.session
        trouble = [] if pids_same else ["the writer was replaced"]
        if code not in (0, 3):
            trouble.append(f"exit code {code}: {recording.said()[-500:]}")
        result: dict[str, Any] = {"back_s": [entry for victim in victims for entry in victim.back_s]}
        result["growth"] = {key: [before[key], after[key]] for key in before}
        calm = camera_account(session / "cam0", folder / "logs" / "cam0.sent", "cam0")
        whole = recording.account()
        result["calm_lost"] = calm.sent - calm.written
        result["sent"], result["written"] = whole.sent, whole.written
        result["unaccounted"] = len(whole.unaccounted)
        result["wrong"] = len(whole.wrong) + len(whole.untrue)
        result["events_bytes"] = (session / "events.jsonl").stat().st_size
        return {**result, "trouble": trouble + (whole.wrong + whole.untrue)[:5]}


def _try_all(victims: Sequence[Victim], cycles: range, hold_s: float, rng: random.Random) -> None:
    """Side by side; each camera gets its share of the cycles."""

    def one(victim: Victim, count: int, own: random.Random) -> None:
        for _ in range(count):
            kind = victim.kinds[victim.done % len(victim.kinds)]
            victim.done += 1
            victim.back_s.append((f"{kind} of {victim.name.rstrip('0123456789')}", victim.try_one(kind, own)))
            time.sleep(hold_s * own.uniform(1.0, 1.2))

    threads = []
    for index, victim in enumerate(victims):
        count = sum(cycle % len(victims) == index for cycle in cycles)
        threads.append(
            threading.Thread(target=one, args=(victim, count, random.Random(rng.random())), daemon=True)
        )
        threads[-1].start()
    for thread in threads:
        thread.join()


def judge(results: list[Result]) -> list[Promise]:
    """The table."""
    back: dict[str, list[float]] = {}
    for result in results:
        for kind, seconds in result["back_s"]:
            back.setdefault(kind, []).append(seconds)
    promises = [
        held_up_to(f"{kind}: back within ({len(seconds)} times)", max(seconds), _LIMIT_S, "s")
        for kind, seconds in sorted(back.items())
    ]
    for key in sorted({key for result in results for key in result["growth"]}):
        pairs = [result["growth"][key] for result in results if key in result["growth"]]
        worst = max(100.0 * (after - before) / max(1.0, before) for before, after in pairs)
        promises.append(
            held_up_to(f"{key}: growth", worst, _GROWTH_PERCENT if key.endswith("memory") else 0.0, "%")
        )
    for key, what in (
        ("calm_lost", "frames lost of the camera that is left alone"),
        ("unaccounted", "frames unaccounted for"),
        ("wrong", "frames or gap records that are wrong"),
    ):
        promises.append(held_up_to(what, sum(result[key] for result in results), 0))
    promises.append(held_up_to("events.jsonl", max(r["events_bytes"] for r in results) / 1e6, 1.0, "MB"))
    return promises


def main(arguments: Sequence[str] | None = None) -> int:
    campaign = Campaign("replug", __doc__)
    campaign.parser.add_argument("--cycles", type=int, default=200, help="in all (default: %(default)s)")
    campaign.parser.add_argument(
        "--batch", type=int, default=50, help="in one recording (default: %(default)s)"
    )
    campaign.parser.add_argument("--hold", type=float, default=11.0, help="seconds between two faults")
    args = campaign.parse(arguments)
    sizes = [min(args.batch, args.cycles - start) for start in range(0, args.cycles, args.batch)]
    cases = [f"recording-{index}" for index in range(len(sizes))]
    return campaign.run(
        args,
        cases,
        lambda case, folder: attempt(
            case, folder, cycles=sizes[cases.index(case)], hold_s=args.hold, seed=args.seed
        ),
        judge,
    )


if __name__ == "__main__":
    sys.exit(main())
