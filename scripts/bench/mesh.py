#!/usr/bin/env python3
"""Measures the mesh files beside their peers, in tables: `python scripts/bench/mesh.py`.

1. for each level of an estimator's noise: ratio against float32, CPU of writing and reading, every mesh
   held against the original;
2. native files from their first frame on, before there is a model;
3. writers in processes of their own, one and four people at 30 fps: cores and memory;
4. the targets.

The people are made: a procedural body that follows mocap clips on which nothing was chosen
(../shared/data/mocap; --motions names another place). Without them it says so and stops.

Exit code 0: everything that must be reached was measured and is; 1: something is not; 2: wrong arguments; 3:
something that it needs is missing. docs/MESH.md explains the figures. Wants the extra `bench`; peers that
are not installed are left out and named.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)  # in place of this folder: here, modules are named from the root of the checkout

from scripts._needs import LACKS_SOMETHING, needed_modules  # noqa: E402

with needed_modules(venv=".venv"):
    from codec.mesh._mesh_native import kernels
    from scripts.bench import _mesh_plan
    from scripts.bench._mesh_clips import MOTIONS, UnusableClipError
    from scripts.bench._mesh_live import Live, measure_live
    from scripts.bench._mesh_modes import NoScipyError
    from scripts.bench._mesh_noise import NOISE_LEVELS_MM
    from scripts.bench._mesh_plan import Plan
    from scripts.bench._mesh_report import LevelFigures, Run, WholeFile, as_json, as_text
    from scripts.bench._mesh_targets import LEVEL_MM, LIVE_PEOPLE, judge
    from scripts.bench._mesh_timing import NotInPlaceError, measure
    from scripts.bench._mesh_ways import AFFINE, FPS, native_file, size_of
    from scripts.bench._usage import OthersLoad

_QUICK = {"people": 2, "seconds": 4.0, "rounds": 3, "training_seconds": 6.0, "live_seconds": 20.0}
_LIVE_CLIP_S = 10.0
_ALONE_S = 20.0
"""Enough for one person's model: ten seconds until there are meshes enough, and then to fit and use it."""


def main() -> int:
    args = _parser().parse_args()
    if args.quick:
        for name, most in _QUICK.items():
            setattr(args, name, min(getattr(args, name), most))
        args.levels = [LEVEL_MM] if LEVEL_MM in args.levels else args.levels[:1]
    complaint = _unknown(args.only, _mesh_plan.way_names())
    if args.rounds < 1 or args.people < 1 or args.seconds < 1.0 or args.live_seconds < 0:
        complaint = "--rounds, --people and --seconds must be at least 1 and --live-seconds not negative"
    if complaint:
        say(f"mesh.py: {complaint}")
        return 2
    try:
        with tempfile.TemporaryDirectory(prefix="nightrig-mesh-") as work:
            run = _run(args, Path(work))
    except (UnusableClipError, NoScipyError) as error:
        say(f"mesh.py: {error}")
        return LACKS_SOMETHING
    except NotInPlaceError as error:
        say(f"mesh.py: {error}")
        return 1
    print(as_json(run) if args.json else as_text(run))
    return 0 if run.all_must_met else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--levels", type=float, nargs="+", default=list(NOISE_LEVELS_MM), metavar="MM")
    parser.add_argument("--people", type=int, default=3, help="side by side (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each (default: %(default)s)")
    parser.add_argument(
        "--training-seconds",
        type=float,
        default=20.0,
        help="before them, that models are fitted to (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=7, help="for what is quick (default: %(default)s)")
    parser.add_argument(
        "--live-seconds", type=float, default=60.0, help="of live writing; 0: none (default: %(default)s)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="5 mm alone, and less of everything: two minutes"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these ways alone, as the tables name them")
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")
    parser.add_argument("--motions", type=Path, default=MOTIONS, help="the clips (default: %(default)s)")
    return parser


def _unknown(asked: Sequence[str] | None, known: Sequence[str]) -> str:
    """What to say about the first name that there is not; "" if all are known."""
    for name in asked or ():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            return f"no way is called {name!r}{hint}"
    return ""


def _run(args: argparse.Namespace, work: Path) -> Run:
    plan = Plan(args.people, args.seconds, args.training_seconds, args.motions, work)
    if kernels is None:
        say("the native kernels are not built here: NumPy does their work, at many times their cost")
    others = OthersLoad()
    left_out = _mesh_plan.missing_ways(args.only or _mesh_plan.way_names())
    levels = [_measure_level(level, plan, args, left_out) for level in args.levels]
    others_cores = others.cores
    at_target = next((each.ways for each in levels if each.noise_mm == LEVEL_MM), [])
    files = _whole_files(plan) if args.only is None and not args.quick else []
    lives = _measure_live(plan, args.live_seconds) if args.live_seconds else []
    return Run(
        levels=levels,
        files=files,
        lives=lives,
        verdicts=judge(at_target, lives, others_cores=others_cores),
        left_out=left_out,
        others_cores=others_cores,
        has_kernels=kernels is not None,
    )


def _measure_level(
    level: float, plan: Plan, args: argparse.Namespace, left_out: dict[str, str]
) -> LevelFigures:
    names = [name for name in args.only or _mesh_plan.usual_ways(level) if name not in left_out]
    say(f"{level:g} mm: making {plan.people} people")
    clip = plan.clip(level)
    split = round(plan.training_s * FPS)
    training, measured = clip.vertices[:split], clip.vertices[split:]
    ways = _mesh_plan.open_ways(names, plan, training, say)
    figures = measure(measured, ways, rounds=args.rounds, say=say)
    return LevelFigures(level, ", ".join(clip.names), plan.people, plan.seconds, figures)


def _whole_files(plan: Plan) -> list[WholeFile]:
    """The writer waits for its models here, as where files are converted; live it would not."""
    found = []
    for count, seconds in ((1, 10.0), (3, 10.0), (1, 60.0)):
        what = f"{count} x {seconds:g} s at {LEVEL_MM:g} mm"
        say(f"a native file of {what}")
        vertices = plan.clip(LEVEL_MM, count=count, seconds=seconds).vertices
        size = size_of(native_file(AFFINE, plan.work, "affine").encode(vertices))
        found.append(WholeFile(what, vertices.nbytes / size))
    return found


def _measure_live(plan: Plan, seconds: float) -> list[Live]:
    say(f"live: making {LIVE_PEOPLE} people")
    clip = plan.clip(LEVEL_MM, count=LIVE_PEOPLE, seconds=_LIVE_CLIP_S)
    lives = []
    for count, codec, lasting in (
        (1, "native", min(seconds, _ALONE_S)),
        (LIVE_PEOPLE, "native", seconds),
        (LIVE_PEOPLE, "bodycompress", min(seconds, _ALONE_S)),
    ):
        say(f"live: {codec}, {count} at 30 fps for {lasting:g} s")
        vertices, joints = clip.vertices[:, :count], clip.joints[:, :count]
        lives.append(measure_live(vertices, joints, codec=codec, seconds=lasting, folder=plan.work))
    return lives


def say(line: str) -> None:
    """Progress, away from the tables."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
