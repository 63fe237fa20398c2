"""`nightrig fit`: bodies out of single pictures."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from capture.body.cold import Mode, keeps_out
from capture.body.prior import PosePrior
from capture.cli._progress import Progress
from capture.cli._tables import plural
from capture.fitting.jobs import Bodies, Fitting, Job, Outcome
from capture.fitting.known_people import jobs_of
from capture.fitting.looking import people_in, whoever_fills
from capture.fitting.marked_files import digest_of, make_folder
from capture.fitting.pictures import pictures_in
from capture.keypoints import PersonKeypoints, Picture, open_source
from capture.keypoints.joint_sets import JOINT_SETS
from capture.keypoints.pose_bundle import BUNDLE_NAME
from capture.stamps import stamp_of
from codec.errors import ConfigError

HELP = "bodies from photographs: shape and pose of everybody in them, as SMPLify finds them"
EPILOG = """\
Without --joints people are looked for: with MediaPipe, which finds most down to a fifth of the picture's
height (`nightrig models pose` makes its file, and the extra mediapipe brings the package), or with an .onnx
file of yours, which sees whoever fills the picture (--keypoints rtmpose or movenet; extra onnx).
With --joints they are known: SMPLify's est_joints.npz, or a .npy of 2 or 3 rows x 14 joints in CPM's order,
or an .npz with `keypoints`; then PICTURE is the folder of the pictures.

Of each picture come
  NAME.pkl           cam_t, f, pose, betas, as SMPLify writes them: pickle.load(open(f, "rb"))
  NAME.obj           the mesh, at the origin as the original's; --placed: where the camera saw it
  NAME_overlay.png   the bodies over the picture
NAME is the picture's, or with --joints the number of the row, from 0000 on; others are NAME_person1 ...
A picture whose results are there is passed over (--again fits it anew), so that the same command goes on
where it was. A file that is not a fit's is never overwritten.

The camera is taken to look straight, at the picture's middle. Its focal length is --focal-px, or what the
photograph tells (EXIF), or the original's 5000 pixels; a wrong one puts people too near or too far.

examples:
  nightrig models pose && nightrig fit holiday.jpg
  nightrig fit holiday.jpg --focal-px 1400 --placed --out bodies
  nightrig fit holiday.jpg --model models/SMPL_NEUTRAL.pkl
  nightrig fit portrait.jpg --keypoints rtmpose --model-file rtmpose-m.onnx
  nightrig fit images/lsp --joints est_joints.npz --gender-file lsp_gender.csv --model models --out results

exit codes: 0 done; 3 done, but some pictures failed or show nobody, and which; 1 failed; 2 usage;
130 interrupted."""


_NETWORKS = ("rtmpose", "movenet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pictures", metavar="PICTURE", nargs="+", type=Path, help="photographs, or folders of them"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("fits"), help="default: %(default)s")
    parser.add_argument("--model", metavar="PATH", type=Path, help="SMPL's file or folder (default: our own)")
    parser.add_argument(
        "--gender", choices=("neutral", "female", "male"), help="which of a folder of models (neutral)"
    )
    parser.add_argument(
        "--prior",
        metavar="FILE",
        type=Path,
        help="a pose prior, SMPLify's gmm_08.pkl, say (default: our own)",
    )
    parser.add_argument("--joints", metavar="FILE", type=Path, help="key points somebody has found")
    parser.add_argument(
        "--joint-set", choices=tuple(JOINT_SETS), help="with --joints: their order, if not the usual one"
    )
    parser.add_argument("--gender-file", metavar="FILE", type=Path, help="with --joints: lsp_gender.csv")
    parser.add_argument(
        "--keypoints",
        choices=("mediapipe", *_NETWORKS),
        default="mediapipe",
        help="who looks for people (mediapipe); the others see whoever fills the picture",
    )
    parser.add_argument(
        "--model-file",
        metavar="FILE",
        type=Path,
        help=f"with --keypoints: mediapipe's .task (./{BUNDLE_NAME}), or the .onnx",
    )
    parser.add_argument("--people", metavar="N", type=int, default=10, help="at most so many (10)")
    parser.add_argument("--focal-px", metavar="F", type=float, help="focal length in pixels of the picture")
    parser.add_argument(
        "--mode",
        choices=("smplify", "fast"),
        help="the original's algorithm (default with --joints), or ours, which uses landmarks in space, too",
    )
    parser.add_argument(
        "--headings", metavar="N", type=int, help="turns of the body to try (1, 2 where it is seen sideways)"
    )
    parser.add_argument(
        "--interpenetration",
        action=argparse.BooleanOptionalAction,
        help="keep hands out of bellies and legs out of each other (default: with --mode smplify alone)",
    )
    parser.add_argument(
        "--capsules",
        metavar="PATH",
        type=Path,
        help="SMPLify's capsule regressors, a file or a folder of them (default: measured on the mesh)",
    )
    parser.add_argument("--placed", action="store_true", help="meshes where the camera saw them, in metres")
    parser.add_argument("--no-overlay", action="store_true", help="no pictures")
    parser.add_argument("--again", action="store_true", help="fit what has results, too")
    parser.add_argument("--json", action="store_true", help="the account as one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    _check(args)
    jobs = _jobs(args)
    bodies = Bodies(args.model, args.capsules)
    for gender in {job.gender for job in jobs}:
        bodies.of(gender)  # a wrong one is told before the first picture
        bodies.sizes_of(gender)
    mode = _mode(args)
    fitting = Fitting(
        bodies=bodies,
        out=args.out,
        digest=digest_of(_settings(args, mode)),
        mode=mode,
        headings=args.headings,
        focal_px=args.focal_px,
        enlargement=2.0 if args.joints else 1.0,
        prior=PosePrior.load(args.prior) if args.prior else None,
        interpenetration=args.interpenetration,
        is_placed=args.placed,
        has_overlay=not args.no_overlay,
        again=args.again,
    )
    make_folder(args.out)
    outcomes = _work(fitting, jobs)
    counts = Counter(outcome.state for outcome in outcomes)
    code = 3 if counts["failed"] or counts["nobody"] else 0
    if args.json:
        files = [str(path) for outcome in outcomes for path in outcome.files]
        told = [outcome.told for outcome in outcomes if outcome.told]
        print(json.dumps({"exit_code": code, "counts": dict(counts), "files": files, "told": told}))
    else:
        print(_summary(args.out, outcomes, counts))
    return code


def _check(args: argparse.Namespace) -> None:
    if args.joints is None and (args.gender_file or args.joint_set):
        raise ConfigError("--gender-file and --joint-set belong to --joints FILE")
    if args.gender and args.gender_file:
        raise ConfigError("--gender and --gender-file both say the gender: leave one out")
    if args.focal_px is not None and not 1 <= args.focal_px <= 1e6:
        raise ConfigError(f"--focal-px {args.focal_px:g} is not within 1 and 1000000 pixels")
    if args.people < 1:
        raise ConfigError(f"--people {args.people} is less than 1")
    if args.headings is not None and not 1 <= args.headings <= 16:
        raise ConfigError(f"--headings {args.headings} is not within 1 and 16")
    mode = _mode(args)
    if args.capsules and not keeps_out(mode, args.interpenetration):
        raise ConfigError(f"--capsules tells what keeps apart with --interpenetration, off in mode {mode}")


def _mode(args: argparse.Namespace) -> Mode:
    mode: Mode = args.mode or ("smplify" if args.joints else "fast")
    return mode


def _settings(args: argparse.Namespace, mode: str) -> dict[str, object]:
    """What makes results differ: of files, what is in them."""
    names = (
        "gender",
        "joint_set",
        "keypoints",
        "focal_px",
        "headings",
        "interpenetration",
        "placed",
        "people",
    )
    files = ("model", "capsules", "prior", "joints", "gender_file")
    return {
        **{name: getattr(args, name) for name in names},
        **{name: stamp_of(getattr(args, name)) for name in files},
        "model_file": None if args.joints else stamp_of(_model_file(args)),
        "mode": mode,
    }


def _jobs(args: argparse.Namespace) -> list[Job]:
    gender = args.gender or "neutral"
    if args.joints is not None:
        return jobs_of(
            args.pictures, args.joints, joint_set=args.joint_set, genders=args.gender_file, gender=gender
        )
    paths = [path for each in args.pictures for path in (pictures_in(each) if each.is_dir() else [each])]
    names: dict[str, Path] = {}
    for path in paths:
        if names.setdefault(path.stem, path) != path:
            raise ConfigError(f"{path} and {names[path.stem]} would have results of one name: fit them apart")
    look = _looking(args)
    return [Job(path.stem, path, gender, look) for path in names.values()]


def _model_file(args: argparse.Namespace) -> Path:
    path: Path = args.model_file or Path(BUNDLE_NAME)
    return path


def _looking(args: argparse.Namespace) -> Callable[[Picture], list[PersonKeypoints]]:
    if args.keypoints in _NETWORKS:
        if args.model_file is None:
            raise ConfigError(f"--keypoints {args.keypoints} needs --model-file FILE, its .onnx file")
        network = open_source(args.keypoints, {"model": str(args.model_file)})
        return lambda picture: whoever_fills(picture, network, most=args.people)
    model = _model_file(args)
    if not model.is_file():
        raise ConfigError(
            f"{model} is not there, with which people are found: `nightrig models pose` makes it here;"
            " --model-file FILE says where (or --joints FILE, where key points are known)"
        )
    options = {"model": str(model), "people": args.people}
    open_source("mediapipe", options).close()  # what is missing is told before the first picture

    def look(picture: Picture) -> Sequence[PersonKeypoints]:
        # A new one for each picture: it would follow people of one into the next.
        source = open_source("mediapipe", options)
        try:
            return source.detect(picture, time_s=0.0)
        finally:
            source.close()

    return lambda picture: people_in(picture, look, most=args.people)


def _work(fitting: Fitting, jobs: Sequence[Job]) -> list[Outcome]:
    outcomes = []
    with Progress("fit", len(jobs), unit="pictures") as progress:
        for job in jobs:
            outcome = fitting.run(job)
            if outcome.told:
                progress.say(f"nightrig: {outcome.told}")
            outcomes.append(outcome)
            progress()
    return outcomes


def _summary(out: Path, outcomes: Sequence[Outcome], counts: Counter[str]) -> str:
    bodies = sum(path.suffix == ".pkl" for outcome in outcomes for path in outcome.files)
    told = [f"{plural(bodies, 'body', 'bodies')} from {plural(counts['done'], 'picture')}"]
    for state, words in (
        ("passed over", "were done before"),
        ("nobody", "show nobody"),
        ("failed", "failed"),
    ):
        if counts[state]:
            told.append(f"{counts[state]} {words}")
    return f"{', '.join(told)}: {out}"
