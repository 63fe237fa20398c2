#!/usr/bin/env python3
"""Throws arbitrary and mutated inputs at every reader and every verb that reads files.

    scripts/campaigns/hostile.py                      100,000 inputs, half an hour; goes on where it was
    scripts/campaigns/hostile.py --inputs 200 --batch 100
    scripts/campaigns/hostile.py --only 4711          one of them again, here, with its traceback

Record files, mesh files of every kind, sessions with wrong things in them (links to themselves, pipes,
folders named like files), rigs, calibrations, pickles, folders of pictures, videos, recordings of
librealsense. Each is asked two things in a process of its own whose memory is limited: it must not die, take
more than a second of CPU or 64 MB, raise or print anything but our errors, or leave a file where none was
asked for. Some go through the command line as well. What breaks a promise is kept in the folder `kept`.

Whole recordings of librealsense are played in a third process, as a camera's process does it: the library
may hang at a damaged one, or die of it. A recording with such a camera has to end in order all the same, and
to hold what its other camera sent.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # modules are named from the root of the checkout

from scripts.campaigns import _hostile_worker
from scripts.campaigns._campaign import Campaign, Promise, Result, at_least, at_most
from scripts.campaigns._hostile_bag import LOST, RECORDED
from scripts.campaigns._hostile_files import HostileFiles
from scripts.campaigns._ledger import ROOT

_SILENT_S = 300.0
"""A worker that says nothing for so long hangs. Most inputs take a hundredth of a second, but one that is
recorded (see _hostile_commands) takes a minute."""
_START_S = 120.0
_TOLD = 5


def main(arguments: Sequence[str] | None = None) -> int:
    campaign = Campaign("hostile", __doc__)
    campaign.parser.add_argument("--inputs", type=int, default=100_000)
    campaign.parser.add_argument("--batch", type=int, default=2000, help="inputs of one worker process")
    campaign.parser.add_argument(
        "--command-line-every", type=int, default=200, help="of so many inputs one goes through it as well"
    )
    campaign.parser.add_argument("--only", type=int, help="repeat this input, with its traceback")
    args = campaign.parse(arguments)
    if args.only is not None:
        folder = str(campaign.folder / "only")
        every = ["--command-line-every", "1", "--trace"]
        return _hostile_worker.main([str(args.seed), str(args.only), "1", folder, *every])
    cases = [f"from {first}" for first in range(0, args.inputs, args.batch)]

    def attempt(case: str, work: Path) -> Result:
        first = int(case.removeprefix("from "))
        end = min(first + args.batch, args.inputs)
        batch = _Batch(args.seed, first, end, work, args.command_line_every)
        batch.run()
        _keep(args.seed, batch.findings, campaign.folder / "kept")
        return batch.result(args.seed)

    return campaign.run(args, cases, attempt, _judge)


class _Batch:
    """Some inputs, in one worker after the other: one that dies is followed by another."""

    def __init__(self, seed: int, first: int, end: int, work: Path, command_line_every: int) -> None:
        self._seed, self._next, self._end, self._work = seed, first, end, work
        self._command_line_every = command_line_every
        self._tried = 0
        self.findings: list[dict[str, Any]] = []
        self._asked: Counter[str] = Counter()
        self._came: Counter[str] = Counter()
        self._slowest_s = self._most_mb = 0.0

    def run(self) -> None:
        while self._next < self._end:
            self._run_worker()

    def _run_worker(self) -> None:
        command = [sys.executable, "-m", "scripts.campaigns._hostile_worker", str(self._seed)]
        command += [str(self._next), str(self._end - self._next), str(self._work / "asked")]
        command += ["--command-line-every", str(self._command_line_every)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8:strict"}
        began = self._next
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as worker:
            hung = False
            for line in _lines(worker):
                if line is None:
                    hung = True
                    worker.kill()
                    break
                self._note(json.loads(line))
            worker.wait()
            if worker.returncode == 0:
                return
            said = (worker.stderr.read() if worker.stderr else b"").decode(errors="replace").splitlines()
        if self._next == began:
            raise RuntimeError(f"the worker does not start: {said[-1:]}")
        what = "hang" if hung else f"crash: the process ended with {worker.returncode} {said[-1:]}"
        self.findings.append({"number": self._next - 1, "kind": "", "ask": "", "what": what})

    def _note(self, told: dict[str, Any]) -> None:
        if "begin" in told:
            self._next = told["begin"] + 1
            self._tried += 1
        elif "what" in told:
            self.findings.append(told)
        else:
            self._asked.update(told["asked"])
            self._came.update(told["came"])
            self._slowest_s = max(self._slowest_s, told["slowest_s"])
            self._most_mb = max(self._most_mb, told["most_mb"])

    def result(self, seed: int) -> Result:
        """For the ledger."""
        broken = Counter(_broken(finding["what"]) for finding in self.findings)
        trouble = [
            f"input {f['number']} ({f['kind']}, {f['ask']}): {f['what']}; again: "
            f"scripts/campaigns/hostile.py --seed {seed} --only {f['number']}"
            for f in self.findings[:_TOLD]
        ]
        figures = {"slowest_s": self._slowest_s, "most_mb": self._most_mb, "asks": sum(self._asked.values())}
        counts = {"asked": dict(self._asked), "came": dict(self._came), "broken": dict(broken)}
        return {"inputs": self._tried, **figures, **counts, "trouble": trouble}


def _lines(worker: subprocess.Popen[bytes]) -> Any:
    """What it says, line by line; None once it has said nothing for too long."""
    assert worker.stdout is not None
    os.set_blocking(worker.stdout.fileno(), False)
    rest, patience_s = b"", _START_S
    heard_s = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(worker.stdout, selectors.EVENT_READ)
        while True:
            if selector.select(1.0):
                block = os.read(worker.stdout.fileno(), 1 << 16)
                if not block:
                    return
                *whole, rest = (rest + block).split(b"\n")
                yield from whole
                heard_s, patience_s = time.monotonic(), _SILENT_S
            elif time.monotonic() - heard_s > patience_s:
                yield None
                return


def _broken(what: str) -> str:
    """Which promise."""
    word = what.split(":")[0].split()[0]
    return word if word in ("crash", "hang", "slow", "memory") else "foreign"


def _keep(seed: int, findings: list[dict[str, Any]], folder: Path) -> None:
    """Copies of the inputs that broke a promise, each with the command that repeats it."""
    if not findings:
        return
    files = HostileFiles(seed)
    for finding in findings:
        place = folder / f"{seed}-{finding['number']}"
        shutil.rmtree(place, ignore_errors=True)
        (place / "in").mkdir(parents=True)
        files.make(finding["number"], place / "in")
        again = f"scripts/campaigns/hostile.py --seed {seed} --only {finding['number']}"
        (place / "finding.json").write_text(json.dumps({**finding, "again": again}, indent=1) + "\n")


def _judge(results: list[Result]) -> list[Promise]:
    def total(key: str) -> int:
        return sum(result["broken"].get(key, 0) for result in results)

    def asked(what: str) -> int:
        return sum(result["asked"].get(what, 0) for result in results)

    def came(*ways: str) -> int:
        return sum(result["came"].get(way, 0) for result in results for way in ways)

    recorded = [way + RECORDED for way in LOST]
    slowest_s = max(result["slowest_s"] for result in results)
    most_mb = max(result["most_mb"] for result in results)
    return [
        at_least("inputs", sum(result["inputs"] for result in results), 1),
        at_least("asked of them", sum(result["asks"] for result in results), 1),
        at_least("of these through the command line", asked("nightrig"), 1),
        at_least("recordings of librealsense played apart", asked("bag"), 0),
        at_least("of these hung or died in their process", came(*LOST, *recorded), 0),
        at_least("of these recorded with a good camera", came(*recorded), 0),
        at_most("processes that died", total("crash"), 0),
        at_most("hangs", total("hang"), 0),
        at_most(f"asks above 1 s of CPU (slowest {slowest_s:.2f} s)", total("slow"), 0),
        at_most(f"asks above 64 MB (most {most_mb:.0f} MB)", total("memory"), 0),
        at_most("errors, words and files that are not ours", total("foreign"), 0),
    ]


if __name__ == "__main__":
    sys.exit(main())
