#!/usr/bin/env python3
"""Measures how near fitted bodies are to the true ones, in tables: `python scripts/bench/accuracy.py`.

1. pose errors on held-out motion, for one camera with and without landmarks and depth, two and four cameras
   at once and four that take turns; from single moments (cold) and followed (tracked);
2. two people who pass each other again and again: identity switches;
3. the targets.

All of it is SYNTHETIC: the person is the procedural body that follows mocap clips of persons from whom
nothing was learnt, and a detector is the truth plus 3 px of noise, with the joints of the model that is
fitted. Real detectors and real people cost two to four centimetres more.

Exit code 0: everything that must be reached was measured and is; 1: something is not; 2: wrong arguments; 3:
the mocap clips (../shared/data/mocap; --motions names another place) are missing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)  # in place of this folder: here, modules are named from the root of the checkout

from scripts._needs import LACKS_SOMETHING, needed_modules  # noqa: E402

with needed_modules(venv=".venv"):
    import numpy as np

    from capture.body.procedural import procedural_body
    from scripts.bench._accuracy_crossing import Crossing, cross
    from scripts.bench._accuracy_scene import FOUR_VIEWS_DEG, TWO_VIEWS_DEG, truths
    from scripts.bench._accuracy_ways import WAYS, Clip, Figures, measure
    from scripts.bench._mesh_clips import HELD_OUT_CLIPS, MOTIONS, UnusableClipError
    from scripts.bench._motion_poses import motion_poses
    from scripts.bench._report import markdown, number
    from scripts.bench._verdicts import VERDICT_HEADS, Limits, Verdict, judged

CLIPS = tuple(name for name in HELD_OUT_CLIPS if name.startswith("cmu/"))
CROSSING_CLIPS = ("cmu/07_05", "cmu/08_03")
TARGETS = {
    "mono": (90.0, 70.0),
    "mono + depth": (40.0, 30.0),
    "two views": (28.0, 22.0),
    "four views": (20.0, 14.0),
    "four staggered": (36.0, 30.0),
}
"""Root-relative MPJPE in millimetres: what must be reached, and the aim."""
_LEAST_FOUND = 0.98


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    if args.frames < 10 or args.cold_every < 1 or args.crossing_seconds < 0:
        _parser().error("--frames must be at least 10, --cold-every 1, and --crossing-seconds not negative")
    ways = [way for way in WAYS if args.only is None or way.name in args.only]
    try:
        body = procedural_body()
        clips = []
        for n, name in enumerate(args.clips):
            motion = motion_poses(name, body, motions=args.motions)
            moments = range(min(args.frames, len(motion.pose)))
            # People are seen from all sides: another one at each clip, the same at each run.
            seen = truths(motion, body, moments, skin=any(way.depth for way in ways))
            clips.append(Clip(name, 137.5 * n, seen))
        figures = measure(ways, clips, body, cold_every=args.cold_every)
        crossings = []
        if args.crossing_seconds:
            pair = [motion_poses(name, body, motions=args.motions) for name in args.crossing_clips]
            for angles in ((0.0,), TWO_VIEWS_DEG, FOUR_VIEWS_DEG):
                crossings.append(cross(pair, body, angles_deg=angles, seconds=args.crossing_seconds))
    except UnusableClipError as error:
        print(f"accuracy.py: {error}", file=sys.stderr)
        return LACKS_SOMETHING
    verdicts = judge(figures, crossings)
    print(as_json(figures, crossings) if args.json else as_text(figures, crossings, verdicts, args.clips))
    return 0 if all(verdict.must_met is not False for verdict in verdicts) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=150, help="of each clip (default: %(default)s)")
    parser.add_argument("--cold-every", type=int, default=10, metavar="FRAMES")
    parser.add_argument("--crossing-seconds", type=float, default=20.0, help="0: none (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=[way.name for way in WAYS], help="these ways alone")
    parser.add_argument("--clips", nargs="+", default=CLIPS, metavar="CLIP", help="default: %(default)s")
    parser.add_argument("--crossing-clips", nargs=2, default=CROSSING_CLIPS, metavar="CLIP")
    parser.add_argument("--motions", type=Path, default=MOTIONS, help="the clips (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")
    return parser


def judge(figures: Sequence[Figures], crossings: Sequence[Crossing]) -> list[Verdict]:
    """The targets: a way counts by the worse of cold and tracked, and only where it found the body."""
    verdicts = []
    for way, (must, aim) in TARGETS.items():
        own = [each for each in figures if each.way == way]
        lost = [each for each in own if each.found_share < _LEAST_FOUND]
        figure = max((each.errors.root for each in own), default=None) if not lost else None
        note = "the worse of " + " and ".join(f"{each.name} {number(each.errors.root)}" for each in own)
        if lost:
            note = "; ".join(f"{each.name}: a body in only {100 * each.found_share:.0f} %" for each in lost)
        limits = Limits(must, aim, "mm")
        verdicts.append(judged(f"{way}: root-relative", figure, limits, note=note if own else "left out"))
    for crossing in crossings:
        what = f"identity switches, {crossing.cameras} cameras"
        verdicts.append(judged(what, float(crossing.switches), Limits(0.0, None, "")))
    return verdicts


def as_text(
    figures: Sequence[Figures],
    crossings: Sequence[Crossing],
    verdicts: Sequence[Verdict],
    clips: Sequence[str],
) -> str:
    rows = [
        (
            each.name,
            *(number(value) for value in (each.errors.root, each.errors.aligned, each.errors.absolute)),
            f"{100 * each.found_share:.1f} %",
            number(float(np.median(each.cpu_ms))) if each.cpu_ms else "-",
        )
        for each in figures
    ]
    heads = ("way", "root-relative mm", "aligned (PA) mm", "absolute mm", "found", "CPU ms")
    parts = [
        "SYNTHETIC: procedural body on held-out mocap, 640 x 480, f = 600 px, 3 m, 3 px of noise, 30 fps.",
        f"Clips: {', '.join(clips)}. Two views stand 60 degrees apart, four 90.",
        "",
        markdown([heads, *rows]),
    ]
    if crossings:
        heads = ("two people who cross", "crossings", "identity switches", "identities", "seen")
        crossed = [
            (
                f"{each.cameras} cameras",
                str(each.crossings),
                str(each.switches),
                str(each.identities),
                f"{100 * each.seen_share:.0f} %",
            )
            for each in crossings
        ]
        parts += ["", markdown([heads, *crossed])]
    return "\n".join([*parts, "", markdown([VERDICT_HEADS, *(verdict.cells() for verdict in verdicts)])])


def as_json(figures: Sequence[Figures], crossings: Sequence[Crossing]) -> str:
    told = {
        each.name: {
            "errors_mm": asdict(each.errors),
            "found_share": each.found_share,
            "by_clip": {name: asdict(errors) for name, errors in each.by_clip.items()},
            "cpu_ms": float(np.median(each.cpu_ms)) if each.cpu_ms else None,
        }
        for each in figures
    }
    return json.dumps({"synthetic": True, "ways": told, "crossings": [asdict(each) for each in crossings]})


if __name__ == "__main__":
    sys.exit(main())
