"""`nightrig recompress`: the depth and the meshes of a recording in fewer bytes, bit for bit the same."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capture.cli._ctrl_c import INTERRUPTED, CtrlC
from capture.cli._kernels import warn_of_recompressing
from capture.cli._meshes import parse_mesh_target
from capture.cli._progress import Progress, size
from capture.cli._recompress_meshes import recompress_meshes
from capture.cli._tables import as_text, plural, table
from capture.recompression import CameraReport, Recompression, RecompressionReport, Step
from capture.session import is_mesh_path
from codec.depth import CODEC_NAMES
from codec.errors import ConfigError

HELP = "store the depth and the meshes of a recording in fewer bytes, bit for bit the same"
EPILOG = f"""codecs: {", ".join(CODEC_NAMES)} (a lossy one is refused)
meshes: small (native files packed for keeping), native, bodycompress, bodycompress:PRESET (of xz, 0 to 9)

examples:
  nightrig recompress recordings/20250101T220000Z-demo --codec max --meshes small
  nightrig recompress recordings/20250101T220000Z-demo --meshes bodycompress:9
  nightrig recompress night.nrig --codec lattice-rans --jobs 2

Works in place, a segment at a time: the new file is written beside the old one, read back from the disk,
and every frame in it decoded and compared with the old one before it takes the old one's name. Ctrl-C (a
second one stops at once), a kill or a power cut at any moment loses nothing; the same command goes on where
it was, for which the part of a new file that was written stays beside the old one under a name with a dot;
with another codec that part is given up, and said to be. It needs room on the disk for the largest segment
once more. Everything but depth stays as it is, byte for byte, and a frame that would get larger keeps the
codec it has. Damaged segments are left alone and named. A recording that is still being written is refused.

Mesh files go the same way, one after the other, and are compared on their grid, number by number. One that
would not become smaller in the kind it has stays as it was, and is counted. Where the kind changes the name
does (mesh-000.xz, mesh-000.nrm): the new file is there before the old one goes, and what a kill leaves of
both the next run puts right. A file that was interrupted is begun again.
exit codes: 0 all done; 3 done, but segments had to be left alone, and which; 1 failed; 2 usage;
130 interrupted."""

_HEADER = ("camera", "segments", "frames", "kept", "before", "after", "file ratio")
_NO_DEPTH: dict[str, Any] = {"codec": None, "cameras": {}, "total": None, "left_alone": [], "given_up": {}}
_GOES_ON = "nothing is lost, the same command goes on where it was"
_MESHES_GO_ON = "nothing is lost, the same command goes on with the mesh file it was at, from its beginning"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", metavar="SESSION", type=Path, help="a session, a folder in it, a .nrig or a mesh file"
    )
    parser.add_argument("--codec", metavar="NAME", help="the codec that the depth is to have")
    parser.add_argument("--meshes", metavar="KIND", help="the kind that the mesh files are to have")
    parser.add_argument("--jobs", metavar="N", type=int, help="threads that compress (default: one a core)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    if args.codec is None and args.meshes is None:
        raise ConfigError(
            "nothing to do: say --codec NAME for the depth, --meshes KIND for mesh files, or both"
        )
    kind = None if args.meshes is None else parse_mesh_target(args.meshes)
    is_mesh_file = args.path.is_file() and is_mesh_path(args.path)
    if args.codec is not None and is_mesh_file:
        raise ConfigError(f"--codec is for depth, and {args.path} is a mesh file: say --meshes KIND")
    goes_on = _GOES_ON
    try:
        facts, lines, code = _depth(args) if args.codec is not None else ({**_NO_DEPTH}, [], 0)
        facts = {"path": str(args.path), **facts, "meshes": None}
        if kind is not None:
            goes_on = _MESHES_GO_ON
            facts["meshes"], more, meshes_code = recompress_meshes(
                args.path, args.meshes, *kind, at_once=f"stopped at once; {_MESHES_GO_ON}"
            )
            lines += [*([""] if lines else []), *more]
            code = max(code, meshes_code)
    except KeyboardInterrupt:
        print(f"nightrig: interrupted; {goes_on}", file=sys.stderr)
        return INTERRUPTED
    print(json.dumps({**facts, "exit_code": code}) if args.json else as_text(lines))
    return code


def _depth(args: argparse.Namespace) -> tuple[dict[str, Any], list[str], int]:
    with Recompression(args.path, codec=args.codec, jobs=args.jobs) as work:
        warn_of_recompressing(work.frames, work.pixels, args.codec)
        given_up = work.given_up
        for codec, count in given_up.items():
            told = f"what an interrupted run to {codec} had done ({size(count)}) is given up"
            print(told, file=sys.stderr, flush=True)
        pace = _Pace(work.frames)
        total = 2 * work.frames
        with (
            Progress("recompress", total, unit="frames", steps=2, left_s=pace.left_s) as progress,
            CtrlC(progress.say, at_once=f"stopped at once; {_GOES_ON}"),
        ):
            report = work.run(_Teller(progress, pace))
    code = 3 if report.left_alone else 0
    return _facts(report, code, given_up), _lines(report), code


class _Pace:
    """How long what is left will take: rewriting and comparing each at the rate it has had so far, since
    either may take ten times as long as the other. Unknown until both have been seen."""

    def __init__(self, frames: int) -> None:
        self._to_write = self._to_compare = frames
        self._writing, self._comparing = _Rate(), _Rate()
        self._at_s = time.monotonic()

    def note(self, step: Step) -> None:
        """The time since the last one went into this step."""
        now_s = time.monotonic()
        self._to_write -= step.written
        self._to_compare -= step.compared
        if step.is_work:
            rate = self._writing if step.written else self._comparing
            rate.seconds += now_s - self._at_s
            rate.frames += step.halves
        self._at_s = now_s

    def left_s(self) -> float | None:
        """In seconds; None where it cannot be known yet."""
        writing_s = self._writing.seconds_for(self._to_write)
        comparing_s = self._comparing.seconds_for(self._to_compare)
        if writing_s is None or comparing_s is None:
            return None
        return max(0.0, writing_s + comparing_s - (time.monotonic() - self._at_s))


@dataclass(slots=True)
class _Rate:
    frames: int = 0
    seconds: float = 0.0

    def seconds_for(self, frames: int) -> float | None:
        if not frames:
            return 0.0
        return frames * self.seconds / self.frames if self.frames else None


class _Teller:
    """Draws the bar, with the ratio of the depth so far behind it."""

    def __init__(self, progress: Progress, pace: _Pace) -> None:
        self._progress, self._pace = progress, pace
        self._before_bytes = self._after_bytes = 0

    def __call__(self, step: Step) -> None:
        self._before_bytes += step.before_bytes
        self._after_bytes += step.after_bytes
        if self._after_bytes:
            self._progress.note = f"depth ratio {self._before_bytes / self._after_bytes:.2f}"
        self._pace.note(step)
        self._progress(step.halves)


def _facts(report: RecompressionReport, code: int, given_up: Mapping[str, int]) -> dict[str, Any]:
    return {
        "path": str(report.path),
        "codec": report.codec,
        "exit_code": code,
        "cameras": {camera.name: _camera_facts(camera) for camera in report.cameras},
        "total": _camera_facts(report.total()),
        "left_alone": [{"file": str(left.path), "why": left.why} for left in report.left_alone],
        "given_up": dict(given_up),
    }


def _camera_facts(camera: CameraReport) -> dict[str, Any]:
    return {
        "segments": camera.segments,
        "rewritten": camera.rewritten,
        "frames": camera.frames,
        "kept": camera.kept,
        "before_bytes": camera.before_bytes,
        "after_bytes": camera.after_bytes,
        "ratio": _ratio(camera),
    }


def _ratio(camera: CameraReport) -> float | None:
    return round(camera.before_bytes / camera.after_bytes, 3) if camera.after_bytes else None


def _lines(report: RecompressionReport) -> list[str]:
    total = report.total()
    lines: list[str] = []
    if total.rewritten:
        cameras = [camera for camera in report.cameras if camera.rewritten]
        rows = [_row(camera) for camera in ([*cameras, total] if len(cameras) > 1 else cameras)]
        lines += [*table(_HEADER, rows), ""]
        if total.kept:
            lines.append(f"{plural(total.kept, 'frame')} would have become larger and stay as they were")
    lines += [f"left alone: {left.why}" for left in report.left_alone]
    lines.append(_verdict(report, total))
    return lines


def _row(camera: CameraReport) -> tuple[str, ...]:
    ratio = _ratio(camera)
    return (
        camera.name,
        f"{camera.rewritten} of {camera.segments}",
        str(camera.frames),
        str(camera.kept),
        size(camera.before_bytes),
        size(camera.after_bytes),
        "-" if ratio is None else f"{ratio:.2f}",
    )


def _verdict(report: RecompressionReport, total: CameraReport) -> str:
    if not total.rewritten:
        rest = "nothing else" if report.left_alone else "nothing"
        return f"{rest} to do: no depth frame that {report.codec} has not been tried on: {report.path}"
    freed = size(total.before_bytes - total.after_bytes)
    words = "done, but for what was left alone" if report.left_alone else "done"
    return f"{words}: {freed} freed, every frame compared with what it was: {report.path}"
