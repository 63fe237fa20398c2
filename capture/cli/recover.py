"""`nightrig recover`: a clean copy of a damaged recording."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from capture.cli._progress import Progress, size
from capture.cli._tables import as_text, plural
from capture.recovery import RecoveryReport, recover
from capture.verification import total_bytes

HELP = "make a clean copy of a damaged recording"
EPILOG = """examples:
  nightrig recover recordings/20250101T220000Z-demo --out recovered
  nightrig recover torn.nrig --out recovered
  nightrig recover people/mesh-000.xz --out recovered

Never touches the recording. The copy holds every whole record whose checksum is right, sealed, and accounts
for what is missing: `nightrig verify` on it finds no damage, only the ledger. Of a session, session.json,
events.jsonl and mesh files are copied too; other files in the folder stay where they are. The copy of a
single file is DIR/000.nrig, whatever the file is called; that of a mesh file keeps its name.
What was deleted to make room (record.when_full) is told and is no loss.
exit codes: 0 nothing that was on the disk was lost; 3 recovered with loss, and what; 1 failed; 2 usage."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", metavar="PATH", type=Path, help="a session, a camera's folder, a .nrig or a mesh file"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="a new or empty folder")


def run(args: argparse.Namespace) -> int:
    with Progress("recover", total_bytes(args.path), unit="B") as progress:
        report = recover(args.path, args.out, progress=progress)
    print(_text(report))
    return 0 if report.lossless else 3


def _text(report: RecoveryReport) -> str:
    records = report.records
    lines = list(report.notes)
    if records.recovered or not report.meshes:
        lines.append(f"recovered  {_kinds(records.recovered)}, {size(records.recovered_bytes)}")
    if report.meshes:
        lines.append(f"recovered  {plural(report.meshes, 'mesh', 'meshes')}")
    if not records.lossless:
        what = f"{_kinds(records.discarded)}, " if records.discarded else ""
        lines.append(f"discarded  {what}{size(records.discarded_bytes)}")
    if report.frames_missing:
        missing = plural(report.frames_missing, "frame")
        gaps = plural(records.gaps_added, "gap record")
        lines.append(f"missing    {missing} that nothing accounted for, now written down in {gaps}")
    verdict = _verdict(report)
    lines.append(f"{verdict}: {report.path}")
    return as_text(lines)


def _verdict(report: RecoveryReport) -> str:
    if not report.lossless:
        return "recovered WITH LOSS (see above)"
    if report.meshes_killed:
        return "nothing on the disk was lost; what a killed writer of meshes had in hand was (see above)"
    if report.deleted:
        return "nothing was lost but what was deleted on purpose (see above)"
    return "nothing was lost"


def _kinds(counts: Counter[str]) -> str:
    if not counts:
        return "nothing"
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
