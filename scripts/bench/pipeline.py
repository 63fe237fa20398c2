#!/usr/bin/env python3
"""Measures the recorder as a whole and prints one table: `python scripts/bench/pipeline.py`.

1. four cameras through the real service for a minute: losses, memory, rhythm, CPU;
2. CPU and bytes per depth frame against librealsense's recorder, issue 8117's way and mcap;
3. opening and seeking in a file of an hour.

Exit code 0: every target is met; 1: one is missed; 3: what it cannot do without is not installed.
docs/BENCHMARKS.md explains the figures. Wants the extras `bench` and `realsense`; what is not installed is
left out and named.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)  # in place of this folder: here, modules are named from the root of the checkout

from scripts._needs import needed_modules  # noqa: E402

with needed_modules(venv=".venv"):
    from capture.config import AUTO
    from codec.depth import CODEC_NAMES, DEFAULT_CODEC
    from scripts.bench import _compare, _four_cameras, _frames, _seek
    from scripts.bench._report import Section, as_json, as_text

PARTS = ("cameras", "compare", "seek")


def main() -> int:
    args = _parser().parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=args.work) as folder:
        sections = list(_measure(args, Path(folder)))
    print(as_json(sections, _machine()) if args.json else as_text(sections))
    return 1 if any(row.met is False for section in sections for row in section.rows) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the four cameras run")
    parser.add_argument(
        "--codec",
        choices=[AUTO, *CODEC_NAMES],
        default=DEFAULT_CODEC,
        help="what the four cameras record with; near is held to its bound",
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the comparison")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, one round")
    parser.add_argument("--only", choices=PARTS, action="append", help="leave out the other parts")
    parser.add_argument("--json", action="store_true", help="the table as one JSON object")
    parser.add_argument(
        "--depth-data",
        type=Path,
        default=ROOT.parent / "shared" / "data" / "depth",
        help="folders of 16-bit PNG depth of D400 cameras, named *_rs_* or *_d4xx_*; without them the\n"
        "frames are simulated (default: %(default)s)",
    )
    parser.add_argument(
        "--work", type=Path, default=ROOT / "out", help="where recordings go meanwhile (default: %(default)s)"
    )
    return parser


def _measure(args: argparse.Namespace, work: Path) -> Iterator[Section]:
    parts = args.only or PARTS
    say("preparing frames")
    wide = _frames.prepare(work, args.depth_data, width=848, height=480)
    say(_frames.FrameSet.load(wide).origin)
    if "cameras" in parts:
        seconds = args.seconds / 10 if args.quick else args.seconds
        say(f"four cameras for {seconds:.0f} s")
        yield _four_cameras.measure(wide, work, seconds=seconds, codec=args.codec)
    if "compare" in parts:
        yield from _compare_all(args, wide, work)
    if "seek" in parts:
        count = _seek.HOUR_FRAMES // 10 if args.quick else _seek.HOUR_FRAMES
        say(f"a file of {count} frames")
        yield _seek.measure(wide, work, count=count)


def _compare_all(args: argparse.Namespace, wide: Path, work: Path) -> Iterator[Section]:
    rounds, count = 1 if args.quick else args.rounds, 300
    say(f"comparison, {rounds} rounds")
    title = f"2. One depth camera 848x480, {count} frames, "
    yield _compare.measure(wide, work, title=title + "paced @30", fps=30.0, count=count, rounds=rounds)
    yield _compare.measure(wide, work, title=title + "flat out", fps=0.0, count=count, rounds=rounds)
    narrow = _frames.prepare(work, args.depth_data, width=640, height=480)
    title = f"2. One depth camera 640x480, moving, {count} frames, flat out"
    yield _compare.measure(narrow, work, title=title, fps=0.0, count=count, rounds=rounds)


def _machine() -> dict[str, object]:
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_1_min": os.getloadavg()[0],
    }


def say(line: str) -> None:
    """Progress, away from the table."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
