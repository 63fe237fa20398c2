#!/usr/bin/env python3
"""Full and failing disks: nothing before is lost, one error is told, recording goes on, the account balances.

Four parts, each of many cases (--parts leaves some out):

  calls      the real writer process on a hundred small frames and meshes, again and again: the first call of
             a kind fails, then the second, and so on until it makes no such call any more; each kind of call
             (open, writev, fdatasync, ftruncate, ...) with each kind of failure (ENOSPC, EIO, EINTR, a short
             write, no room for a while), with either kind of mesh file
  files      the same for what the supervisor writes: the session's folder, session.json, events.jsonl
  recording  whole recordings with test cameras in which one call of the writer or the supervisor fails
  disk       small file systems (a tmpfs, a loop-mounted ext4) that are filled while cameras record on them,
             given room, filled again; with record.when_full = "stop" and "delete-oldest", which recover has
             to tell from a loss; and what an ext4 is given to write against what was recorded. Needs root.

    scripts/campaigns/full.py                        all of it, half an hour or less
    scripts/campaigns/full.py --parts disk           the file systems alone
    scripts/campaigns/full.py --every 40             every 40th call only

Whatever lies on disk afterwards is held against what the cameras sent, frame by frame, pixel by pixel.
"""

from __future__ import annotations

import argparse
import errno
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # modules are named from the root of the checkout

from scripts.campaigns._campaign import Campaign, Promise, Result, at_least, at_most
from scripts.campaigns._faulty_calls import BreaksOnce
from scripts.campaigns._filled_disk import (
    amplification_case,
    deleting_case,
    failing_recording_case,
    stopping_case,
)
from scripts.campaigns._tried_writer import TriedWriter, WriterTry, try_session_files

PARTS = ("calls", "files", "recording", "disk")
_WRITER_CALLS = (
    "open", "writev", "pwrite", "fdatasync", "fsync", "ftruncate", "unlink", "mkdir", "statvfs", "flock",
)  # fmt: skip
_FILE_CALLS = ("open", "write", "pread", "fsync", "rename", "mkdir", "fstat")
_FAILURES: dict[str, int | str] = {
    "ENOSPC": errno.ENOSPC,
    "EIO": errno.EIO,
    "EINTR": errno.EINTR,
    "short": "short",
    "ENOSPC-for-a-while": errno.ENOSPC,
}
_WRITES = ("writev", "pwrite", "write")
_AFTER = {"ftruncate": "writev", "unlink": "writev"}
"""Calls that are made only when another one has failed."""
_WHILE = 8
_MEMORY = Path("/dev/shm")  # what fails is made up: no need to wait for a disk a thousand times
_RECORDINGS = (
    "writer writev ENOSPC 40", "writer writev EIO 3", "writer writev short 50", "writer fdatasync EIO 4",
    "writer open EIO 5", "writer fsync EIO 3", "writer statvfs EIO 2", "writer mkdir ENOSPC 1",
    "supervisor rename EIO 2", "supervisor fsync EIO 4", "supervisor write ENOSPC 5",
    "supervisor mkdir ENOSPC 1",
)  # fmt: skip
_DISKS = (
    "stop tmpfs 0", "stop ext4 0", "stop ext4 4", "delete-oldest tmpfs 8", "delete-oldest ext4 8",
    "amplification 640x480", "amplification 320x240", "amplification 160x120",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    campaign = Campaign("full", __doc__)
    campaign.parser.add_argument("--parts", default=",".join(PARTS), help="(default: %(default)s)")
    campaign.parser.add_argument("--frames", type=int, default=100, help="of a try of the part calls")
    campaign.parser.add_argument("--every", type=int, default=1, help="fail every n-th call only")
    campaign.parser.add_argument("--only", default="", help="cases whose names begin so, with commas")
    args = campaign.parse(arguments)
    names = [case for part in args.parts.split(",") for case in cases_of(part)]
    names = [name for name in names if name.startswith(tuple(args.only.split(",")))]
    return campaign.run(args, names, lambda case, folder: attempt(args, case, folder), judge)


def cases_of(part: str) -> list[str]:
    """The cases of one part."""
    if part == "calls":
        return [
            f"calls {kind} {how} {codec}"
            for kind in _WRITER_CALLS
            for how in _FAILURES
            for codec in ("native", "bodycompress")
            if (how != "short" or kind in _WRITES) and (kind != "pwrite" or codec == "bodycompress")
        ]
    if part == "files":
        return [
            f"files {kind} {how}"
            for kind in _FILE_CALLS
            for how in ("ENOSPC", "EIO", "EINTR", "short")
            if how != "short" or kind in _WRITES
        ]
    return [f"{part} {case}" for case in {"recording": _RECORDINGS, "disk": _DISKS}[part]]


def attempt(args: argparse.Namespace, case: str, folder: Path) -> Result:
    """One case, in an empty folder."""
    part, *words = case.split()
    if part == "calls":
        kind, how, codec = words
        return _each_call(args, kind, how, lambda disk, place: _try_writer(args, place, disk, codec))
    if part == "files":
        kind, how = words
        return _each_call(args, kind, how, lambda disk, place: try_session_files(place, disk))
    if part == "recording":
        process, kind, how, at = words
        return failing_recording_case(folder, process, kind, _FAILURES[how], int(at))
    if words[0] == "amplification":
        width, height = words[1].split("x")
        return amplification_case(folder, int(width), int(height))
    policy, file_system, reserve = words
    disk_case = stopping_case if policy == "stop" else deleting_case
    return disk_case(folder, file_system, int(reserve))


def _each_call(
    args: argparse.Namespace, kind: str, how: str, try_one: Callable[[BreaksOnce, Path], WriterTry]
) -> Result:
    """Let the first call fail, the second, ... until there is no such call any more."""
    tries, dropped, lost, torn = 0, 0, 0, 0
    trouble: list[str] = []
    at, fired = 1, True
    while fired:
        times = _WHILE if how.endswith("while") else 1
        disk = BreaksOnce(kind, _FAILURES[how], at, times=times, first=_AFTER.get(kind, ""))
        with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as place:
            result = try_one(disk, Path(place) / "try")
        fired = result.fired
        tries += fired
        dropped, lost, torn = dropped + result.dropped, lost + result.meshes_lost, torn + result.torn
        trouble += [f"call {at}: {sentence}" for sentence in result.trouble]
        # A sync that fails costs the file: each of several is a failure of its own.
        failures = times if kind == "fdatasync" else 1
        if how in ("EINTR", "short") and kind not in _AFTER:
            failures = 0
        if result.errors > failures:
            trouble.append(f"call {at}: {result.errors} errors were told of {failures} failures")
        at += args.every
    return {"tries": tries, "dropped": dropped, "meshes_lost": lost, "torn": torn, "trouble": trouble}


def _try_writer(args: argparse.Namespace, folder: Path, disk: BreaksOnce, codec: str) -> WriterTry:
    tried = TriedWriter(folder, frames=args.frames, mesh_codec=codec)
    try:
        return tried.run(disk, may_tear="ftruncate" in disk.faults)
    finally:
        tried.close()


def judge(results: list[Result]) -> list[Promise]:
    """The promises, out of all results."""
    calls = [result for result in results if "tries" in result]
    promises = []
    if calls:
        promises += [
            at_least("single calls that failed", sum(r["tries"] for r in calls), 1),
            at_most("frames dropped for a call that failed", sum(r["dropped"] for r in calls), 0),
            at_most(
                "frames wrong, untold or unbalanced afterwards", sum(len(r["trouble"]) for r in calls), 0
            ),
        ]
    recorded = [result for result in results if "sent" in result]
    if recorded:
        fields = ("sent", "written", "deleted", "dropped", "at_camera", "unaccounted", "wrong")
        sums = {key: sum(result[key] for result in recorded) for key in fields}
        kept = sums["written"] + sums["deleted"] + sums["dropped"] + sums["at_camera"]
        promises += [
            at_least("frames sent to full and failing disks", sums["sent"], 1),
            at_most("frames wrong", sums["wrong"], 0),
            at_most("sent - written - deleted - dropped - lost at the camera", sums["sent"] - kept, 0),
            at_most("errors told for one failure, the most", max(r["errors"] for r in recorded), 1),
            at_most("disks after whose filling it did not go on", sum(not r["went_on"] for r in recorded), 0),
        ]
    amplified = [result["amplification"] for result in results if "amplification" in result]
    if amplified:
        promises.append(at_most("written to the disk / recorded", max(amplified), 1.15))
    return promises


if __name__ == "__main__":
    sys.exit(main())
