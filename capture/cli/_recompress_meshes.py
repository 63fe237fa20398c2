"""The mesh half of `nightrig recompress`: runs it with a bar, and tells what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from capture.cli._ctrl_c import CtrlC
from capture.cli._progress import Progress, size
from capture.cli._tables import plural, table
from capture.mesh_recompression import MeshRecompression, MeshReport, Repacked
from codec.mesh.conversion import Target

_HEADER = ("meshes", "frames", "before", "after", "file ratio", "to float32")


def recompress_meshes(
    path: Path, name: str, target: Target, again: bool, *, at_once: str
) -> tuple[dict[str, Any], list[str], int]:
    """The facts for --json, the lines for people, and the exit code."""
    with MeshRecompression(path, target=target, again=again) as work:
        steps = work.readings
        with (
            Progress("recompress meshes", steps * work.frames, unit="frames", steps=steps) as progress,
            CtrlC(progress.say, at_once=at_once),
        ):
            report = work.run(progress, progress.stage)
    code = 3 if report.left_alone else 0
    return _facts(report, name), _lines(report, name), code


def _facts(report: MeshReport, name: str) -> dict[str, Any]:
    return {
        "kind": name,
        "files": report.files,
        "repacked": [_file_facts(each) for each in report.repacked],
        "before_bytes": sum(each.before_bytes for each in report.repacked),
        "after_bytes": sum(each.after_bytes for each in report.repacked),
        "left_alone": [{"file": str(path), "why": why} for path, why in report.left_alone],
        "second_copies_removed": [str(path) for path in report.tidied],
    }


def _file_facts(each: Repacked) -> dict[str, Any]:
    return {
        "file": str(each.before),
        "now": str(each.after),
        "frames": each.frames,
        "kept": each.kept,
        "before_bytes": each.before_bytes,
        "after_bytes": each.after_bytes,
        "ratio": round(each.before_bytes / each.after_bytes, 3) if each.after_bytes else None,
        "ratio_to_float32": round(each.raw_bytes / each.after_bytes, 3) if each.after_bytes else None,
    }


def _lines(report: MeshReport, name: str) -> list[str]:
    changed = [each for each in report.repacked if not each.kept]
    kept = len(report.repacked) - len(changed)
    lines = []
    if changed:
        lines += [*table(_HEADER, [_row(each) for each in changed]), ""]
    if kept:
        lines.append(f"{plural(kept, 'mesh file')} would not have become smaller, and stays as it was")
    lines += [f"taken away: {path}, the second copy of an interrupted run" for path in report.tidied]
    lines += [f"left alone: {why}" for _, why in report.left_alone]
    lines.append(_verdict(report, changed, name))
    return lines


def _row(each: Repacked) -> tuple[str, ...]:
    return (
        each.after.name,
        str(each.frames),
        size(each.before_bytes),
        size(each.after_bytes),
        f"{each.before_bytes / each.after_bytes:.2f}",
        f"{each.raw_bytes / each.after_bytes:.1f}",
    )


def _verdict(report: MeshReport, changed: list[Repacked], name: str) -> str:
    if not changed:
        rest = "nothing else" if report.left_alone or report.repacked or report.tidied else "nothing"
        return f"{rest} to do: no mesh file that could become {name}: {report.path}"
    freed = sum(each.before_bytes - each.after_bytes for each in changed)
    told = f"{size(freed)} freed" if freed >= 0 else f"{size(-freed)} larger"
    words = "done, but for what was left alone" if report.left_alone else "done"
    return f"{words}: {told}, every number compared with what it was: {report.path}"
