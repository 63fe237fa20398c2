#!/usr/bin/env python3
"""A whole night: four cameras and an estimator that makes a mesh of every frame, for as long as you like.

The cameras are test cameras (depth and colour at 30 fps) and the estimator a cheap one of the campaigns' own
(_test_estimator: numbers and a small mesh for each depth frame of cam0), so that every frame, number and mesh
on disk can be held against what was sent. Segments are short, so that files rotate some hundreds of times.
Every few seconds all processes are looked at from outside (_watch); a line per look goes to
<out>/night/piece-N.jsonl at once. At the end `nightrig verify` reads every file, everything on disk is held
against the logs of cameras and estimator, and <out>/night/night.png shows how the night went.

    scripts/campaigns/night.py                  30 minutes
    scripts/campaigns/night.py --minutes 600    a night (at 320x240 about 170 GB; --width 160 --height 120
                                                need a quarter)

Memory counts as level when the slope of a fitted line plus two standard errors stays within 1 MB/h; where the
errors leave it open it says so, and how long it had to run. What is judged is what the processes have
allocated; the queues, which are taken as they are needed, are judged against queue_mb, and the share of
libraries that other programs have open as well is nobody's growth.

A night cannot be glued: stopped by Ctrl-C, the recording is ended and judged as a piece of its own, and the
same command records what is left of the time as another. Slopes are judged over the longest piece.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # modules are named from the root of the checkout

from scripts.campaigns._campaign import Campaign, CannotRunError, Promise, Result, at_least, at_most
from scripts.campaigns._plot import Panel, draw
from scripts.campaigns._session import RigPlan, TriedRecording
from scripts.campaigns._slope import Slope, fit
from scripts.campaigns._verbs import run_verb
from scripts.campaigns._watch import RecordingWatch, total

_MEMORY_MB_PER_H = 1.0
# A thread of the writer's that a calm recording did not need so far takes its share of memory (2.5 MB) when
# it is needed first, which may be after ten minutes.
_WARM_UP_S, _WARM_UP_SHARE = 900.0, 0.25
_SHORTEST_JUDGED_S = 300.0
_BYTES_PER_PIXEL = 0.7  # of the test cameras' depth, in the default codec
_QUEUE_MB = 128


class Night:
    """What all pieces have in common."""

    def __init__(self, folder: Path, plan: RigPlan, *, minutes: float, every_s: float) -> None:
        self.folder, self.plan, self.every_s = folder, plan, every_s
        self.wanted_s = 60.0 * minutes

    def record(self, case: str, work: Path) -> Result:
        """What is left of the night, as a piece of its own; the result holds all pieces."""
        pieces = self.pieces()
        left_s = self.wanted_s - sum(piece["seconds"] for piece in pieces)
        if left_s >= 1.0 or not pieces:
            self._refuse_small_disk(left_s)
            piece = self._piece(len(pieces) + 1, left_s, work)
            pieces.append(piece)
            if piece["stopped"]:
                raise KeyboardInterrupt
        return {"pieces": pieces, "trouble": [sentence for piece in pieces for sentence in piece["trouble"]]}

    def pieces(self) -> list[dict[str, Any]]:
        """Those that were ended and judged; one that was killed has samples only and counts for nothing."""
        found = []
        for path in sorted(self.folder.glob("piece-*.end.json")):
            found.append(json.loads(path.read_text()))
        return found

    def samples(self, piece: int) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._samples_path(piece).read_text().splitlines()]

    def _samples_path(self, piece: int) -> Path:
        return self.folder / f"piece-{piece}.jsonl"

    def _refuse_small_disk(self, seconds: float) -> None:
        plan = self.plan
        needed = seconds * plan.cameras * plan.fps * plan.width * plan.height * _BYTES_PER_PIXEL
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise CannotRunError(
                f"{seconds / 60:.0f} minutes need about {needed / 1e9:.0f} GB, {free / 1e9:.0f} GB are free:"
                " take --minutes, --width and --height smaller, or --out elsewhere"
            )

    def _piece(self, number: int, seconds: float, work: Path) -> dict[str, Any]:
        stopped = False
        with TriedRecording(self.plan, work / "logs", work / "root") as recording:
            recording.wait_until_started()
            watch = RecordingWatch(recording)
            began_s = time.monotonic()
            with self._samples_path(number).open("w") as file:
                try:
                    while (left_s := began_s + seconds - time.monotonic()) > 0:
                        time.sleep(min(self.every_s, left_s))
                        file.write(json.dumps(watch.sample()) + "\n")
                        file.flush()
                        if recording.process.poll() is not None:
                            raise RuntimeError(f"the recording ended early: {recording.said()}")
                except KeyboardInterrupt:
                    stopped = True
            recorded_s = time.monotonic() - began_s
            watch.close()
            exit_code = recording.stop()
            piece = {"piece": number, "seconds": recorded_s, "stopped": stopped}
            piece |= self._judge_files(recording, exit_code)
        (self.folder / f"piece-{number}.end.json").write_text(json.dumps(piece))
        return piece

    def _judge_files(self, recording: TriedRecording, exit_code: int) -> dict[str, Any]:
        account = recording.account()
        verified = run_verb("verify", recording.session, "--json")
        trouble = [*account.wrong, *account.untrue]
        if exit_code != 0:
            trouble.append(f"the recording ended with {exit_code}: {recording.said()[-400:]}")
        if verified.exit_code != 0:
            trouble.append(f"verify ends with {verified.exit_code}: {verified.out[-400:]}{verified.err}")
        return {
            "sent": account.sent,
            "written": account.written,
            "dropped": account.dropped_total,
            "at_camera": account.at_camera,
            "unaccounted": len(account.unaccounted),
            "wrong": len(account.wrong) + len(account.untrue),
            "verify": verified.exit_code,
            "segments": sum(1 for _ in recording.session.rglob("*.nrig")),
            "trouble": trouble,
        }


def settled(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those after the warm-up."""
    last_s = samples[-1]["at_s"] if samples else 0.0
    warm_s = min(_WARM_UP_S, _WARM_UP_SHARE * last_s)
    return [sample for sample in samples if sample["at_s"] >= warm_s]


def memory_slope(samples: list[dict[str, Any]]) -> Slope | None:
    """In MB/h."""
    after = settled(samples)
    return fit([sample["at_s"] / 3600 for sample in after], [total(sample, "own_mb") for sample in after])


def slope_promise(slope: Slope | None) -> Promise:
    """Held, broken, or not decided."""
    what, limit = "growth of memory after warm-up", f"<= {_MEMORY_MB_PER_H:g} MB/h"
    if slope is None or slope.span * 3600 < _SHORTEST_JUDGED_S:
        return Promise(what, limit, "too short to judge", None)
    held = slope.at_most(_MEMORY_MB_PER_H)
    measured = f"{slope.per_unit:+.2f} MB/h, standard error {slope.error:.2f}"
    if held is None:
        measured += f": about {slope.span_needed(_MEMORY_MB_PER_H) * 60:.0f} minutes decide"
    return Promise(what, limit, measured, held)


def judge(night: Night, results: list[Result], *, judge_slope: bool) -> list[Promise]:
    """The promises of a night."""
    pieces = results[0]["pieces"]
    longest = max(pieces, key=lambda piece: piece["seconds"])
    samples = night.samples(longest["piece"])
    after = settled(samples)
    half = len(after) // 2
    # The lowest of each half: a look may come upon a segment that is just being sealed.
    first, second = (min(int(total(s, "descriptors")) for s in part) for part in (after[:half], after[half:]))
    sums = {name: sum(piece[name] for piece in pieces) for name in ("sent", "written", "segments")}
    lengths = " + ".join(f"{piece['seconds'] / 60:.1f}" for piece in pieces)
    pieces_s = f"{len(pieces)} pieces, not one night" if len(pieces) > 1 else "one piece"
    promises = [
        at_least(
            f"recorded ({lengths} min: {pieces_s})",
            sum(p["seconds"] for p in pieces) / 60,
            night.wanted_s / 60 * 0.99,
            "min",
        ),
        at_most("sent and not on disk", sums["sent"] - sums["written"], 0, f"of {sums['sent']}"),
        at_most("dropped", sum(piece["dropped"] for piece in pieces), 0),
        at_most("lost at a camera", sum(piece["at_camera"] for piece in pieces), 0),
        at_most("wrong frames or gaps", sum(piece["wrong"] for piece in pieces), 0),
        at_most(
            f"files that verify faults (of {sums['segments']} segments)",
            sum(p["verify"] != 0 for p in pieces),
            0,
        ),
        at_most("growth of descriptors", second - first, 0, f"from {first}"),
        at_most(
            "memory of the queues",
            max(total(sample, "shared_mb") for sample in samples),
            night.plan.queue_mb * 1.1,
            "MB",
        ),
    ]
    return [*promises, slope_promise(memory_slope(samples))] if judge_slope else promises


def plot(night: Night, path: Path) -> None:
    """Of the longest piece."""
    longest = max(night.pieces(), key=lambda piece: piece["seconds"])
    samples = night.samples(longest["piece"])
    pairs = list(itertools.pairwise(samples))
    if not pairs:
        return

    def rate(before: float, after: float, pair: tuple[dict[str, Any], dict[str, Any]]) -> float:
        return (after - before) / (pair[1]["at_s"] - pair[0]["at_s"])

    streams = 1 + night.plan.color
    fps = {
        name: [rate(p[0]["written"][lane], p[1]["written"][lane], p) / streams for p in pairs]
        for lane, name in enumerate(night.plan.names)
    }
    names = [name for name in samples[-1]["processes"] if all(name in s["processes"] for s in samples)]
    after = samples[1:]
    cpu = {
        name: [
            100 * rate(p[0]["processes"][name]["cpu_s"], p[1]["processes"][name]["cpu_s"], p) for p in pairs
        ]
        for name in names
    }
    memory = {name: [s["processes"][name]["own_mb"] for s in after] for name in names}
    panels = [
        Panel("frames written per second, by camera and stream", fps, night.plan.fps),
        Panel("queue fill, percent of the fullest", {"fill": [100 * s["fill"] for s in after]}),
        Panel("memory that each process has allocated, MB", memory),
        Panel(
            "memory in all, MB",
            {"own": [total(s, "own_mb") for s in after], "queues": [total(s, "shared_mb") for s in after]},
        ),
        Panel("CPU, percent of one core", cpu),
        Panel(
            "open descriptors and files",
            {"descriptors": [total(s, "descriptors") for s in after], "files": [s["files"] for s in after]},
        ),
    ]
    draw(path, [sample["at_s"] / 60 for sample in after], panels, time_unit="min")


def main(arguments: Sequence[str] | None = None) -> int:
    """The campaign; its exit code."""
    campaign = Campaign("night", __doc__)
    add = campaign.parser.add_argument
    add("--minutes", type=float, default=30.0, help="how long (default: %(default)g)")
    add("--every", type=float, default=10.0, help="seconds between two looks (default: %(default)g)")
    add("--segment", type=float, default=5.0, help="seconds of a segment (default: %(default)g)")
    add("--width", type=int, default=320, help="of a depth picture (default: %(default)s)")
    add("--height", type=int, default=240, help="of a depth picture (default: %(default)s)")
    add("--no-slope", action="store_true", help="do not judge the growth of memory, for a short look")
    args = campaign.parse(arguments)
    plan = RigPlan(
        width=args.width,
        height=args.height,
        color=True,
        queue_mb=_QUEUE_MB,
        record=f"reserve_mb = 1\nsegment_s = {args.segment:g}",
        bodies=True,
    )
    night = Night(campaign.folder, plan, minutes=args.minutes, every_s=args.every)
    code = campaign.run(
        args, ["night"], night.record, lambda results: judge(night, results, judge_slope=not args.no_slope)
    )
    if night.pieces():
        plot(night, campaign.folder / "night.png")
    return code


if __name__ == "__main__":
    sys.exit(main())
