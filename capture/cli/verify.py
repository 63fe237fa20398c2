"""`nightrig verify`: is every frame there, and right."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from capture.cli._codecs import Lossy, bound_words, lossy_streams
from capture.cli._ctrl_c import CtrlC
from capture.cli._kernels import warn_of_verifying
from capture.cli._progress import Progress, clock, size
from capture.cli._tables import as_text, plural, table
from capture.deleted import deleted_facts
from capture.recording import RecordedGap, Recording
from capture.session import is_mesh_path
from capture.verification import CLEAN, DAMAGE, EMPTY, LOSS, UNACCOUNTED, Report, total_bytes, verify

HELP = "read every byte of a recording: is every frame there, and right"
EPILOG = """examples:
  nightrig verify recordings/20250101T220000Z-demo
  nightrig verify night.nrig --json

Checks every checksum, decodes every frame, holds indexes, frame numbers, gap records, counters and
session.json against each other, and prints what is missing (the ledger). A recording that was killed and
is whole up to that moment is clean, and so is one whose oldest segments were deleted to make room
(record.when_full); a torn tail is damage.
exit codes: 0 clean; 3 loss or damage, or nothing was recorded; 1 failed; 2 usage."""

_WORDS = {
    CLEAN: "CLEAN: everything that was captured is there, and {right}",
    EMPTY: "EMPTY: nothing was recorded",
    LOSS: "LOSS: what is there is {right}; what is missing is accounted for above",
    UNACCOUNTED: "UNACCOUNTED: something is missing that the recording does not account for; see above",
    DAMAGE: "DAMAGED: see above; `nightrig recover` makes a clean copy of what is whole",
}
_KILLED = "CLEAN: everything in it is {right}, up to the moment it was killed"
_DELETED = "CLEAN: everything in it is {right}; what was deleted to make room stands above"
_KILLED_MESHES = "CLEAN: every mesh in it reads, but its writer was killed: what came last may be missing"
_ALONE = "CLEAN: everything in it is {right}; whether whole cameras are missing nothing says"
_HEADER = ("stream", "reason", "when", "numbers", "count", "lasting")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", metavar="PATH", type=Path, help="a session, a camera's folder, a .nrig or a mesh file"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    total = total_bytes(args.path)
    warn_of_verifying(args.path)
    with Progress("verify", total, unit="B") as progress, CtrlC(progress.say):
        report = verify(args.path, progress=progress)
    code = 0 if report.verdict == CLEAN else 3
    with Recording(args.path) as recording:
        if args.json:
            print(json.dumps(_facts(report, recording, code)))
        else:
            print(_text(report, recording))
    return code


def _facts(report: Report, recording: Recording, code: int) -> dict[str, Any]:
    return {
        "path": str(report.path),
        "verdict": report.verdict,
        "exit_code": code,
        "ended": report.ended,
        "records": report.records,
        "frames": report.frames,
        "meshes": report.meshes,
        "meshes_lost": report.meshes_lost,
        "bytes": report.bytes,
        "gaps": [
            {
                "stream": gap.stream,
                "reason": gap.reason,
                "epoch": gap.epoch,
                "first": gap.first,
                "last": gap.last,
                "count": gap.count,
                "start_ns": gap.start_ns,
                "end_ns": gap.end_ns,
                "when": recording.utc(gap.start_ns),
            }
            for gap in report.gaps
        ],
        "damage": [
            {"file": str(d.path), "offset": d.offset, "length": d.length, "what": d.what}
            for d in report.damage
        ],
        "deleted": [deleted_facts(segment) for segment in report.deleted],
        "problems": report.problems,
        "notes": report.notes,
        "lossy": {lossy.name: lossy.loss._asdict() for lossy in lossy_streams(recording.streams.values())},
    }


def _text(report: Report, recording: Recording) -> str:
    lines = []
    if report.gaps:
        lines += [*table(_HEADER, [_row(gap, recording) for gap in report.gaps], left=4), ""]
    for damage in report.damage:
        # Of a mesh file `what` says where; the stretch is all of it.
        where = "" if is_mesh_path(damage.path) else f" at byte {damage.offset}, {damage.length} bytes"
        lines.append(f"damage: {damage.path}{where}: {damage.what}")
    lines += [f"problem: {problem}" for problem in report.problems]
    lines += [f"note: {note}" for note in report.notes]
    if report.meshes_lost:
        meshes = plural(report.meshes_lost, "mesh", "meshes")
        lines.append(f"lost: {meshes} with a writer that was killed; the body parameters are there")
    missing = sum(gap.count for gap in report.gaps)
    lines.append(
        f"{plural(report.frames, 'frame')} and {plural(report.meshes, 'mesh', 'meshes')} read, "
        f"{size(report.bytes)}; {missing} missing in {plural(len(report.gaps), 'gap')}, "
        f"{plural(len(report.damage), 'damaged place')}"
    )
    losses = lossy_streams(recording.streams.values())
    lines += [lossy.line() for lossy in losses]
    lines.append(_verdict(report).format(right=_how_right(losses)))
    return as_text(lines)


def _verdict(report: Report) -> str:
    if report.verdict == CLEAN and report.only_meshes and not report.ended:
        return _KILLED_MESHES
    if report.verdict == CLEAN and not report.cameras_known:
        return _ALONE
    if report.verdict == CLEAN and (report.deleted or report.gaps):
        return _DELETED
    if report.verdict == CLEAN and not report.ended:
        return _KILLED
    return _WORDS[report.verdict]


def _how_right(losses: list[Lossy]) -> str:
    """What is true of every frame that reads well."""
    if not losses:
        return "right"
    widest = max(lossy.loss.bound_subpixels for lossy in losses)
    return f"as stored (near keeps disparity to within {bound_words(widest)})"


def _row(gap: RecordedGap, recording: Recording) -> tuple[str, ...]:
    wall = recording.utc(gap.start_ns) if gap.start_ns else None
    since_s = (gap.start_ns - recording.first_ns) / 1e9
    numbers = "unknown" if gap.first is None else f"{gap.first}-{gap.last}"
    return (
        gap.stream,
        gap.reason,
        f"{wall or '-'} (+{clock(since_s)})",
        numbers,
        f"{gap.count}" if gap.first is not None else f"~{gap.count}",
        f"{(gap.end_ns - gap.start_ns) / 1e9:.2f} s",
    )
