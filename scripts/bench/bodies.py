#!/usr/bin/env python3
"""Measures what a body costs in CPU of one thread, side by side in one run: `python scripts/bench/bodies.py`.

1. cold fits: SMPLify's schedule as published, and ours with and without depth, of one and more views;
2. the same against scipy's least_squares with a numeric Jacobian and torch's L-BFGS, on the same residuals;
3. tracked steps, one view, depth, four views;
4. the mesh of 6890 vertices with pose blend shapes, and the depth picture and mask of a body;
5. the targets.

All of it is SYNTHETIC: the procedural body follows held-out mocap clips, detectors are the truth plus 3 px of
noise; pose directions are random numbers (SMPL's are a user's file). How near the fits are to the truth is
accuracy.py's matter.

Exit code 0: everything that must be reached was measured and is; 1: something is not; 2: wrong arguments; 3:
the mocap clips (../shared/data/mocap; --motions names another place) are missing. scipy and torch come with
the extra `bench`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # read when NumPy is imported

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)  # in place of this folder: here, modules are named from the root of the checkout

from scripts._needs import LACKS_SOMETHING, needed_modules  # noqa: E402

with needed_modules(venv=".venv"):
    import cv2

    from capture.body.prior import default_prior
    from capture.body.procedural import procedural_body
    from scripts.bench._accuracy_scene import truths
    from scripts.bench._accuracy_ways import Clip
    from scripts.bench._bodies_tables import Measured, as_json, as_text, judge
    from scripts.bench._bodies_timing import (
        cold_timings,
        depth_timing,
        duels,
        mesh_timing,
        tracked_timings,
        with_pose_directions,
    )
    from scripts.bench._machine import machine
    from scripts.bench._mesh_clips import MOTIONS, UnusableClipError
    from scripts.bench._motion_poses import motion_poses
    from scripts.bench._report import doubt_about_times
    from scripts.bench._usage import OthersLoad

CLIPS = ("cmu/06_04", "cmu/07_05", "cmu/08_03", "cmu/09_05")


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    if args.frames < 10 or args.every < 1 or args.peer_moments < 0:
        _parser().error("--frames must be at least 10, --every 1, and --peer-moments not negative")
    cv2.setNumThreads(1)
    load = OthersLoad()
    try:
        body = procedural_body()
        clips = []
        motion = None
        for n, name in enumerate(args.clips):
            motion = motion_poses(name, body, motions=args.motions)
            moments = range(min(args.frames, len(motion.pose)))
            clips.append(Clip(name, 137.5 * n, truths(motion, body, moments, skin=True)))
    except UnusableClipError as error:
        print(f"bodies.py: {error}", file=sys.stderr)
        return LACKS_SOMETHING
    assert motion is not None
    measured = Measured(
        cold=cold_timings(clips, body, every=args.every),
        duels=duels(clips, body, default_prior(), moments=args.peer_moments),
        tracked=tracked_timings(clips, body),
        mesh=mesh_timing(with_pose_directions(body), motion.pose[: args.frames], motion.betas),
        depth=depth_timing([clip.truths[k] for clip in clips for k in (0, -1)], body),
    )
    where = machine(("opencv-python", "scipy", "torch"))
    verdicts = judge(measured, doubt_about_times(load.cores))
    if args.json:
        print(as_json(measured, verdicts, where))
    else:
        print(as_text(measured, verdicts, where, clips=", ".join(args.clips)))
    return 0 if all(verdict.must_met is not False for verdict in verdicts) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=150, help="of each clip (default: %(default)s)")
    parser.add_argument(
        "--every", type=int, default=10, metavar="FRAMES", help="for a cold fit (%(default)s)"
    )
    parser.add_argument(
        "--peer-moments", type=int, default=3, metavar="N", help="of each clip for the peers (%(default)s)"
    )
    parser.add_argument("--clips", nargs="+", default=CLIPS, metavar="CLIP", help="default: %(default)s")
    parser.add_argument("--motions", type=Path, default=MOTIONS, help="the clips (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
