"""`nightrig estimate`: estimators over a recording, frame by frame."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from capture.calibration import CameraCalibration
from capture.cli._ctrl_c import INTERRUPTED
from capture.cli._kernels import warn_of_showing
from capture.cli._progress import Progress
from capture.cli._tables import plural, table
from capture.config import Rig, load_rig
from capture.recorded_estimation import EstimationOutcome, RecordedEstimation, finished_before
from capture.recording import Recording
from capture.specs import EstimatorSpec
from codec.depth import DEFAULT_CODEC
from codec.errors import ConfigError

HELP = "run an estimator over a recording: a result for every frame, also those skipped while it ran"
EPILOG = """Which estimators: those of the rig that was recorded, those of another rig file (--rig), whose
calibration of the cameras then counts, too, or one by --kind. Each writes a session of its own beside the
recording, SESSION-<estimator>, which info, verify, export and recompress take like any other; the recording
is only read. Ctrl-C, a kill or a power cut: the same command goes on where it was.

examples:
  nightrig estimate recordings/20250101T220000Z-demo
  nightrig estimate recordings/20250101T220000Z-lab --rig lab.toml
  nightrig estimate recordings/20250101T220000Z-lab --kind stereo --camera front --option max_depth_m=6
  nightrig export recordings/20250101T220000Z-demo-bodies --format obj --out meshes

exit codes: 0 every frame done; 3 done, but some frames failed or are damaged; 1 failed; 2 usage;
130 interrupted."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="SESSION", type=Path, help="a recording")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--rig", metavar="CONFIG", help="take estimators and calibration from this rig file")
    source.add_argument(
        "--kind", metavar="KIND", help="run an estimator of this kind (body, nlf, replay ...)"
    )
    parser.add_argument("--name", metavar="NAME", help="only the estimator of this name")
    parser.add_argument("--camera", metavar="NAME", action="append", help="with --kind: it looks at this one")
    parser.add_argument(
        "--option",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="with --kind: a setting of it (TOML)",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="where results go (SESSION-<estimator>)")
    parser.add_argument(
        "--mesh-codec", choices=("bodycompress", "native"), default="bodycompress", help="kind of mesh files"
    )
    parser.add_argument("--json", action="store_true", help="the account as one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    with Recording(args.path) as recording:
        rig = load_rig(args.rig).rig if args.rig else None
        specs = _specs(args, recording, rig)
        if args.out is not None and len(specs) > 1:
            names = ", ".join(spec.name for spec in specs)
            raise ConfigError(f"--out takes the results of one estimator: say --name, one of {names}")
        warn_of_showing(recording.streams.values())
        calibration = _calibration(rig) if rig is not None else {}
        outcomes: dict[Path, EstimationOutcome] = {}
        for spec in specs:
            out = args.out or args.path.parent / f"{args.path.resolve().name}-{spec.name}"
            try:
                outcomes[out] = _run_one(args, recording, spec, out, calibration)
            except KeyboardInterrupt:
                print("nightrig: interrupted; the same command goes on where it was", file=sys.stderr)
                return INTERRUPTED
    code = 3 if any(x.failed or x.damaged or x.untaken for x in outcomes.values()) else 0
    if args.json:
        print(json.dumps({"exit_code": code, "results": {str(o): asdict(x) for o, x in outcomes.items()}}))
    else:
        print(_table(outcomes))
    return code


def _specs(args: argparse.Namespace, recording: Recording, rig: Rig | None) -> list[EstimatorSpec]:
    if args.kind is not None:
        cameras = list(
            dict.fromkeys(
                stream.name.rpartition("/")[0]
                for stream in recording.streams.values()
                if not stream.is_estimate
            )
        )
        chosen = args.camera or cameras
        if strange := [name for name in chosen if name not in cameras]:
            raise ConfigError(f"--camera {strange[0]}: {recording.path} has {', '.join(cameras) or 'none'}")
        specs = [EstimatorSpec(args.name or args.kind, args.kind, tuple(chosen), _options(args.option))]
    else:
        if args.camera or args.option:
            raise ConfigError("--camera and --option belong to --kind KIND")
        specs = list(rig.estimator_specs()) if rig is not None else _recorded_specs(recording)
        if args.name is not None:
            known = ", ".join(spec.name for spec in specs) or "none"
            specs = [spec for spec in specs if spec.name == args.name]
            if not specs:
                raise ConfigError(f"--name {args.name}: no such estimator; there are {known}")
    if not specs:
        raise ConfigError(
            f"{recording.path} was recorded without an estimator: say --kind KIND, or --rig with a rig file"
            " that has one"
        )
    return specs


def _recorded_specs(recording: Recording) -> list[EstimatorSpec]:
    """As session.json has the rig that was recorded."""
    config = recording.info.get("config")
    told: Any = config.get("estimators") if isinstance(config, dict) else None
    cameras = [c.get("name") for c in config.get("cameras", ())] if isinstance(config, dict) else []
    specs = []
    for each in told if isinstance(told, list) else ():
        kind, options = each.get("kind"), each.get("options") or {}
        specs.append(
            EstimatorSpec(
                each.get("name") or kind, kind, tuple(each.get("cameras") or cameras), dict(options)
            )
        )
    return specs


def _options(pairs: list[str]) -> dict[str, object]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    options: dict[str, object] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key.isidentifier():
            raise ConfigError(f"--option {pair}: write it KEY=VALUE")
        try:
            options[key] = tomllib.loads(f"value = {value}")["value"]
        except ValueError:
            options[key] = value  # a word without quotation marks, as shells leave it
    return options


def _calibration(rig: Rig) -> dict[str, CameraCalibration]:
    return {
        spec.name: CameraCalibration(spec.intrinsics, spec.world_from_camera) for spec in rig.camera_specs()
    }


def _run_one(
    args: argparse.Namespace,
    recording: Recording,
    spec: EstimatorSpec,
    out: Path,
    calibration: Mapping[str, CameraCalibration],
) -> EstimationOutcome:
    finished = finished_before(recording, spec, out, calibration)
    if finished is not None:
        print(f"{out}: every frame of {recording.path} is done already", file=sys.stderr)
        return finished
    with RecordedEstimation(
        recording,
        replace(spec, options=dict(spec.options)),
        out,
        calibration=calibration,
        depth_codec=DEFAULT_CODEC,
        mesh_codec=args.mesh_codec,
    ) as work:
        if work.done:
            print(f"{out}: {work.done} of {work.total} sets of frames are done already", file=sys.stderr)
        with Progress(spec.name, work.total, unit="frames") as progress:
            progress(work.done)
            return work.run(progress, progress.say)


def _table(outcomes: Mapping[Path, EstimationOutcome]) -> str:
    header = ("results", "frames", "estimated", "nobody", "failed", "damaged", "meshes", "per second")
    rows = [
        (
            str(out),
            *(str(n) for n in (x.seen, x.estimated, x.empty, x.failed, x.damaged, x.meshes)),
            f"{x.seen / x.seconds:.1f}" if x.seconds > 0 else "-",
        )
        for out, x in outcomes.items()
    ]
    told = [outcome.summary for outcome in outcomes.values() if outcome.summary]
    told += [
        f"{out}: {plural(x.untaken, 'picture')} of other cameras could not be taken; results lack what was in"
        " them"
        for out, x in outcomes.items()
        if x.untaken
    ]
    return "\n".join([*table(header, rows), *told])
