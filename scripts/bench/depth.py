#!/usr/bin/env python3
"""Measures the depth codecs beside their peers, in tables: `python scripts/bench/depth.py`.

1. for each set of frames: ratio, CPU per pixel of encoding and decoding, every round trip compared;
2. eight streams 848x480@30 in threads of one process: the cores they take;
3. the targets, and what it all means in gigabytes a night and cores.

Exit code 0: everything that must be reached was measured and is; 1: something is not; 2: wrong arguments; 3:
NumPy is missing. Without the native kernels, max and the streams of lattice-rans are left out and named, and
--quick takes three minutes of CPU.
docs/DEPTH.md explains the figures. Wants the extra `bench`; peers that are not installed are left out and
named.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)  # in place of this folder: here, modules are named from the root of the checkout

from scripts._needs import needed_modules  # noqa: E402

with needed_modules(venv=".venv"):
    from codec.depth import CODEC_NAMES, DEFAULT_CODEC, has_kernels
    from scripts import train_context_map
    from scripts.bench import _depth_sets, _depth_ways
    from scripts.bench._depth_nights import nights
    from scripts.bench._depth_report import Run, SetFigures, as_json, as_text
    from scripts.bench._depth_streams import StreamsLoad, measure_streams
    from scripts.bench._depth_targets import MAX, RANS, STREAM_FPS, STREAMS, judge
    from scripts.bench._depth_timing import Figures, NotLosslessError, measure
    from scripts.bench._depth_ways import Depth
    from scripts.bench._usage import OthersLoad

_QUICK_ROUNDS, _QUICK_SECONDS = 5, 3.0


def main() -> int:
    args = _parser().parse_args()
    if args.quick:
        args.rounds, args.seconds = min(args.rounds, _QUICK_ROUNDS), min(args.seconds, _QUICK_SECONDS)
    sets, ways = _depth_sets.set_names(args.depth_data), _depth_ways.way_names()
    complaint = _unknown("codec", args.only, ways) or _unknown("set", args.sets, sets)
    if args.rounds < 1 or args.seconds < 0:
        complaint = "--rounds must be at least 1 and --seconds not negative"
    if complaint:
        say(f"depth.py: {complaint}")
        return 2
    try:
        run = _run(args, args.sets or sets, args.only or ways)
    except (NotLosslessError, _depth_sets.UnusableDataError) as error:
        say(f"depth.py: {error}")
        return 1
    print(as_json(run) if args.json else as_text(run))
    return 0 if run.all_must_met else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25, help="rounds for each set (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="how long streams run; 0: not (default: %(default)s)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer frames, rounds and seconds: a minute of CPU"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these codecs and peers alone")
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="these sets of frames alone")
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")
    parser.add_argument(
        "--depth-data",
        type=Path,
        default=ROOT.parent / "shared" / "data" / "depth",
        help="folders of 16-bit PNG depth, a set each; without them there are the simulated sets alone\n"
        "(default: %(default)s)",
    )
    return parser


def _unknown(kind: str, asked: Sequence[str] | None, known: Sequence[str]) -> str:
    """What to say about the first name that there is not; "" if all are known."""
    for name in asked or ():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            return f"no {kind} is called {name!r}, there are {', '.join(known)}{hint}"
    return ""


def _run(args: argparse.Namespace, set_names: Sequence[str], names: Sequence[str]) -> Run:
    left_out = _depth_ways.missing_peers(names)
    needs_kernels = [] if has_kernels() or args.only else [name for name in names if name == MAX]
    names = [name for name in names if name not in (*left_out, *needs_kernels)]
    most = _depth_sets.QUICK_FRAMES if args.quick else _depth_sets.MOST_FRAMES
    others = OthersLoad()
    training = train_context_map.load_frames(args.depth_data) if RANS in names else {}
    sets = [_measure_set(name, names, args, most, training) for name in set_names]
    others_cores = others.cores
    by_name: dict[str, list[Figures]] = {figures.name: figures.codecs for figures in sets}
    real = by_name.get(_depth_sets.REAL_D400_SET)
    stream_names = [name for name in (DEFAULT_CODEC, RANS) if name in names and name in CODEC_NAMES]
    if args.seconds and RANS in stream_names and not has_kernels():
        stream_names.remove(RANS)
        needs_kernels.append(f"streams of {RANS}")
    streams = _measure_streams(stream_names, args, most) if args.seconds else []
    return Run(
        sets=sets,
        streams=streams,
        verdicts=judge(real, streams, others_cores=others_cores),
        nights=nights(real, by_name.get(_depth_sets.WIDE_SIMULATED_SET)),
        left_out=left_out,
        others_cores=others_cores,
        needs_kernels=tuple(needs_kernels),
    )


def _measure_set(
    name: str, ways: Sequence[str], args: argparse.Namespace, most: int, training: dict[str, list[Depth]]
) -> SetFigures:
    depth = _depth_sets.load_set(name, args.depth_data, most=most)
    height, width = depth.shape
    say(f"{name}: {len(depth.frames)} frames {width}x{height}, {len(ways)} codecs, {args.rounds} rounds")
    opened = [_depth_ways.open_way(way, depth.shape) for way in ways]
    # Where there are simulated sets alone, nothing is left to learn from: no such row then.
    if others := train_context_map.without(training, name):
        say(f"  training a context map on {', '.join(others)}")
        opened.append(_depth_ways.open_unseen_rans(train_context_map.train(others)))
    figures = measure(depth.frames, opened, rounds=args.rounds, say=say)
    return SetFigures(name, depth.origin, len(depth.frames), width, height, figures)


def _measure_streams(names: Sequence[str], args: argparse.Namespace, most: int) -> list[StreamsLoad]:
    if not names:
        return []
    frames = _depth_sets.load_set(_depth_sets.WIDE_SIMULATED_SET, args.depth_data, most=most).frames
    loads = []
    for name in names:
        say(f"{STREAMS} streams with {name} for {args.seconds:g} s")
        loads.append(measure_streams(name, frames, streams=STREAMS, fps=STREAM_FPS, seconds=args.seconds))
    return loads


def say(line: str) -> None:
    """Progress, away from the tables."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
