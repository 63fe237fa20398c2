"""`nightrig models`: model files that may be had freely, made ready for use."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from capture.cli._progress import size
from capture.keypoints.pose_bundle import BUNDLE_NAME, PACKAGE, VERSION, bundle_from_wheel
from codec.durable import write_atomically
from codec.errors import ConfigError, EstimatorError, MissingExtraError, StorageError

HELP = "make a model file that finds people in pictures"
EPILOG = f"""examples:
  nightrig models pose
  nightrig models pose --out models/{BUNDLE_NAME}

`pose` makes a Pose Landmarker file for the key point source "mediapipe", out of the models that
{PACKAGE} {VERSION} was published with (Apache License 2.0, whose text is in the file). Its wheel, 36 MB, is
fetched with pip and thrown away; on a machine without a network give it with --wheel. Where mediapipe is
installed the file is tried on a made picture of a person before it gets its name."""

_SURE = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", choices=("pose",), help="which one")
    parser.add_argument(
        "--out", type=Path, default=Path(BUNDLE_NAME), metavar="FILE", help="default: %(default)s"
    )
    parser.add_argument("--wheel", type=Path, metavar="FILE", help=f"a wheel of {PACKAGE} {VERSION} you have")


def run(args: argparse.Namespace) -> int:
    out: Path = args.out
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}")
    if out.is_dir():
        raise ConfigError(f"--out {out}: this is a folder; name a file in it")
    with tempfile.TemporaryDirectory(prefix="nightrig-") as temporary:
        bundle = bundle_from_wheel(args.wheel or _fetched(Path(temporary)))
        tried = _tried(bundle, Path(temporary) / BUNDLE_NAME)
    if not out.exists():
        write_atomically(out, bundle)
    elif _content(out) != bundle:
        raise ConfigError(f"--out {out}: there is another file of that name, which is never overwritten")
    print(f"{out}  {size(len(bundle))}  {tried}")
    return 0


def _fetched(folder: Path) -> Path:
    from capture.keypoints.pose_fetch import fetch_wheel

    print(f"fetching {PACKAGE} {VERSION} (36 MB) for the models in it", file=sys.stderr)
    return fetch_wheel(folder)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error


def _tried(bundle: bytes, path: Path) -> str:
    """What came of opening it. Raises EstimatorError where mediapipe does not see who is plainly there."""
    from capture.keypoints.mediapipe_pose import MediaPipeSource
    from capture.sources.simulated import render_loop
    from capture.specs import SimulatedSpec, StreamSpec

    path.write_bytes(bundle)
    try:
        source = MediaPipeSource(model=path)
    except MissingExtraError as error:
        return f"not tried: {error}"
    try:
        spec = SimulatedSpec(color=StreamSpec(640, 480, 30.0), loop_s=1 / 30)
        picture = render_loop(spec, name="trial", color_format="bgr8").color[0]
        people = source.detect(picture, time_s=0.0)
    finally:
        source.close()
    if len(people) != 1:
        raise EstimatorError(
            f"mediapipe opened the file but found {len(people)} people in a picture of one: it was not kept;"
            " try another version of mediapipe"
        )
    seen = int((people[0].confidences >= _SURE).sum())
    return f"tried: mediapipe finds {seen} of 33 joints of a person in a made picture"
