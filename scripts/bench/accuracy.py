#!/usr/bin/env python3
"""Measures how near fitted bodies are to the true ones, in tables: `python scripts/bench/accuracy.py`.

1. pose errors on held-out motion, for one camera with and without landmarks and depth, two and four cameras
   at once and four that take turns; from single moments (cold) and followed (tracked);
2. trouble: wild key points, nobody in view, nonsense, a camera that goes away; how soon it is over;
3. two people who pass each other again and again: identity switches, IDF1;
4. the targets.

All of it is SYNTHETIC: the person is the procedural body that follows mocap clips of persons from whom
nothing was learnt, and a detector is the truth plus 3 px of noise, with the joints of the model that is
fitted. Real detectors and real people cost two to four centimetres more.

Exit code 0: everything that must be reached was measured and is; 1: something is not; 2: wrong arguments; 3:
the mocap clips (../shared/data/mocap; --motions names another place) are missing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)  # in place of this folder: here, modules are named from the root of the checkout

from scripts._needs import LACKS_SOMETHING, needed_modules  # noqa: E402

with needed_modules(venv=".venv"):
    from capture.body.procedural import procedural_body
    from scripts.bench._accuracy_crossing import cross
    from scripts.bench._accuracy_scene import FOUR_VIEWS_DEG, TWO_VIEWS_DEG, truths
    from scripts.bench._accuracy_tables import as_json, as_text, judge
    from scripts.bench._accuracy_trouble import disturb
    from scripts.bench._accuracy_ways import WAYS, Clip, measure
    from scripts.bench._mesh_clips import HELD_OUT_CLIPS, MOTIONS, UnusableClipError
    from scripts.bench._motion_poses import motion_poses

CLIPS = tuple(name for name in HELD_OUT_CLIPS if name.startswith("cmu/"))
CROSSING_CLIPS = ("cmu/07_05", "cmu/08_03")
_TROUBLED = ("mono + depth", "two views", "four views")


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
        disturbed = [way for way in ways if way.name in _TROUBLED and not args.no_trouble]
        troubles = [trouble for way in disturbed for trouble in disturb(way, clips, body)]
        crossings = []
        if args.crossing_seconds:
            pair = [motion_poses(name, body, motions=args.motions) for name in args.crossing_clips]
            for angles in ((0.0,), TWO_VIEWS_DEG, FOUR_VIEWS_DEG):
                crossings.append(cross(pair, body, angles_deg=angles, seconds=args.crossing_seconds))
    except UnusableClipError as error:
        print(f"accuracy.py: {error}", file=sys.stderr)
        return LACKS_SOMETHING
    verdicts = judge(figures, troubles, crossings)
    if args.json:
        print(as_json(figures, troubles, crossings))
    else:
        print(as_text(figures, troubles, crossings, verdicts, args.clips))
    return 0 if all(verdict.must_met is not False for verdict in verdicts) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=150, help="of each clip (default: %(default)s)")
    parser.add_argument("--cold-every", type=int, default=10, metavar="FRAMES")
    parser.add_argument("--crossing-seconds", type=float, default=20.0, help="0: none (default: %(default)s)")
    parser.add_argument("--no-trouble", action="store_true", help="leave the table of trouble out")
    parser.add_argument("--only", nargs="+", choices=[way.name for way in WAYS], help="these ways alone")
    parser.add_argument("--clips", nargs="+", default=CLIPS, metavar="CLIP", help="default: %(default)s")
    parser.add_argument("--crossing-clips", nargs=2, default=CROSSING_CLIPS, metavar="CLIP")
    parser.add_argument("--motions", type=Path, default=MOTIONS, help="the clips (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
