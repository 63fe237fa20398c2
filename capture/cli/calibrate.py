"""`nightrig calibrate`: lenses and places of a rig's cameras, from a board or somebody's file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from capture.calibration import CameraCalibration
from capture.calibration.applied import lens_at
from capture.calibration.boards import HOW_TO_NAME, Board, parse_board
from capture.calibration.qualisys import read_qualisys
from capture.calibration.rig_file import calibration_lines, write_calibration
from capture.cli._progress import Progress
from capture.config import LoadedRig, load_rig
from capture.marks import where_marks_stand, write_marked_picture
from codec.errors import CalibrationError, ConfigError

if TYPE_CHECKING:
    from capture.calibration.views import CameraViews
    from capture.calibration.whole_rig import RigCalibration

HELP = "find out what the cameras' lenses do and where they stand, with a printed board"
EPILOG = f"""The board: {HOW_TO_NAME}.
Measure its squares as printed, and glue it to something flat. Hold it tilted, near and far, into every corner
of the picture, and still for a moment each time; ten sightings are good. Cameras are placed by the moments at
which two or more of them see it: walk around with it, and end where the first camera sees it. The first
camera keeps its world_from_camera of the rig file, or becomes the world's origin.

What is found goes into CONFIG, whose other lines stay as they are; without CONFIG it is printed. Lenses that
a camera knows itself (RealSense, from the factory) are taken as they are; those that CONFIG says are fitted
anew, and kept where too little was seen for that. Look at the chart: errors that form a pattern mean a bent
board or one of another size.

examples:
  nightrig calibrate my-rig.toml --board charuco:7x5:40mm:30mm --record 60
  nightrig calibrate my-rig.toml --board checkerboard:9x6:25mm --session recordings/20250101T220000Z-rig
  nightrig calibrate --board checkerboard:4x7:60mm --pictures left=shots/left --pictures right=shots/right
  nightrig calibrate my-rig.toml --read Calib.qca.txt         a Qualisys calibration, cameras by their serials

exit codes: 0 done; 1 the pictures do not say enough; 2 usage."""


_MARK = "nightrig calibrate"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", nargs="?", help="the rig file to put it into")
    parser.add_argument("--board", metavar="BOARD", help="what is held before the cameras, see below")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--record", metavar="SECONDS", type=float, help="record the rig meanwhile and use that"
    )
    source.add_argument(
        "--session", metavar="SESSION", type=Path, help="a recording in which the board is shown"
    )
    source.add_argument(
        "--pictures",
        metavar="CAMERA=FOLDER",
        action="append",
        help="a folder of pictures of a camera; may be repeated",
    )
    source.add_argument(
        "--read", metavar="FILE", type=Path, help="take it from a Qualisys calibration (.qca.txt)"
    )
    parser.add_argument(
        "--same-moment",
        action="store_true",
        help="pictures of the same name were taken at the same moment: place the cameras by them",
    )
    parser.add_argument("--every", metavar="S", type=float, default=0.5, help="look every S seconds (0.5)")
    parser.add_argument(
        "--chart",
        metavar="PNG",
        type=Path,
        default=Path("calibration.png"),
        help="where the errors are drawn (%(default)s); an earlier chart is replaced, nothing else is",
    )
    parser.add_argument("--json", action="store_true", help="what was found as one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    rig = load_rig(args.config) if args.config else None
    if rig is not None and not Path(args.config).is_file():
        raise ConfigError(f"{args.config} is shipped with nightrig: copy {rig.path} and calibrate the copy")
    if args.read is not None:
        return _tell(args, rig, _by_name(rig, read_qualisys(args.read), args.read), {})
    if args.board is None:
        raise ConfigError(f"--board is missing: name it {HOW_TO_NAME}")
    board = parse_board(args.board)
    if not 0.05 <= args.every <= 60:
        raise ConfigError(f"--every {args.every:g}: from 0.05 to 60 seconds")
    _refuse_foreign(args.chart)
    return _from_board(args, rig, board)


def _by_name(
    rig: LoadedRig | None, found: dict[str, CameraCalibration], path: Path
) -> dict[str, CameraCalibration]:
    """Those of the rig's cameras, by name or serial; all of them without a rig."""
    if rig is None:
        return found
    chosen = {}
    for camera in rig.rig.cameras:
        known = found.get(camera.name) or found.get(getattr(camera, "serial", ""))
        if known is not None:
            chosen[camera.name] = known
    if not chosen:
        raise ConfigError(
            f"{path} has cameras {', '.join(sorted(found))}; none of the rig is called like that"
        )
    return chosen


def _from_board(args: argparse.Namespace, rig: LoadedRig | None, board: Board) -> int:
    from capture.calibration import chart, views, whole_rig  # they load OpenCV

    if args.pictures:
        folders = _folders(args.pictures)
        total = sum(len(views.list_pictures(folder)) for folder in folders.values())
        with Progress("looking for the board", total, unit="pictures") as progress:
            seen = [views.views_in_folder(name, folder, board, progress) for name, folder in folders.items()]
        moments = views.moments_together(seen) if args.same_moment else []
    else:
        seen = _seen_in_recording(args, rig, board)
        moments = views.moments_together(seen)
    for camera in seen:
        print(
            f"{camera.name}: board seen in {len(camera.sightings)} of {camera.looked_at} pictures",
            file=sys.stderr,
        )
    if not any(camera.sightings for camera in seen):
        raise CalibrationError(f"the board {args.board} is in none of the pictures: {board.what_to_check}")
    if board.is_ambiguous and moments and len(seen) > 1:
        raise CalibrationError(
            f"a checkerboard of {board.columns}x{board.rows} looks the same upside down: cameras cannot be"
            " placed with it: take one with an odd and an even number of inner corners, or a ChArUco board"
        )
    if rig is not None:
        _take_lenses(rig, seen)
    found = whole_rig.calibrate_rig(seen, moments, world_from_first=_world(rig, seen[0].name))
    _refuse_foreign(args.chart)  # it may have come meanwhile
    write_marked_picture(args.chart, chart.draw_chart(found.panels), _MARK)
    for camera in seen:
        print(f"{camera.name}: {_told_lens(camera, found)}", file=sys.stderr)
    if found.placement is not None:
        for name, rms_px in found.placement.rms_px.items():
            count = found.placement.moments[name]
            print(f"{name}: placed by {count} moments, off by {rms_px:.2f} px", file=sys.stderr)
    elif len(seen) > 1:
        print(
            "the cameras are not placed: nothing says which pictures were taken at the same moment"
            if args.pictures and not args.same_moment
            else "the cameras are not placed: no two of them saw the board at the same moment",
            file=sys.stderr,
        )
    print(f"the errors are drawn in {args.chart}", file=sys.stderr)
    quality: dict[str, dict[str, object]] = {
        name: {"lens": f"kept, {lens.source}"} for name, lens in found.kept.items()
    }
    for name, fit in found.lenses.items():
        quality[name] = {"lens": "fitted", "rms_px": fit.rms_px, "fx_deviation_px": fit.focal_deviation_px}
    return _tell(args, rig, found.cameras, quality)


def _take_lenses(rig: LoadedRig, seen: Sequence[CameraViews]) -> None:
    """What this rig file says of lenses counts, whatever the one said that was recorded."""
    lenses = {spec.name: spec.intrinsics for spec in rig.rig.camera_specs()}
    for camera in seen:
        lens = lenses.get(camera.name)
        camera.rig_lens = None if lens is None else lens_at(lens, *camera.size)


def _told_lens(camera: CameraViews, found: RigCalibration) -> str:
    if camera.name in found.kept:
        kept = found.kept[camera.name]
        return f"lens kept ({kept.source}): {kept.why}"
    fit = found.lenses[camera.name]
    lens, old = fit.intrinsics, camera.rig_lens
    instead = "" if old is None else f"; it was fx {old.fx:.1f}, fy {old.fy:.1f} in the rig file"
    return (
        f"lens fitted: fx {lens.fx:.1f}, fy {lens.fy:.1f} (+-{fit.focal_deviation_px:.1f}),"
        f" centre {lens.cx:.1f}, {lens.cy:.1f}; off by {fit.rms_px:.2f} px{instead}"
    )


def _refuse_foreign(path: Path) -> None:
    """Raises ConfigError where a chart may not be written there."""
    found = where_marks_stand(path)
    if found is not None and _MARK.encode() not in found:
        raise ConfigError(
            f"{path} is no chart of ours, and is never overwritten: name another file with --chart PNG"
        )
    if not path.parent.is_dir():
        raise ConfigError(f"--chart {path}: there is no folder {path.parent}; make it, or name another")


def _folders(pictures: list[str]) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for text in pictures:
        name, separator, folder = text.partition("=")
        if not separator or not name or not folder or name in folders:
            raise ConfigError(f"--pictures {text}: write it CAMERA=FOLDER, each camera once")
        folders[name] = Path(folder)
    return folders


def _seen_in_recording(args: argparse.Namespace, rig: LoadedRig | None, board: Board) -> list[Any]:
    from capture.calibration.views import RecordingViews
    from capture.recording import Recording

    session = args.session if args.record is None else _record(args.record, rig)
    with Recording(session) as recording:
        views = RecordingViews(recording, board, every_s=args.every)
        with Progress("looking for the board", len(views), unit="pictures") as progress:
            return views.find(progress)


def _record(seconds: float, rig: LoadedRig | None) -> Path:
    from capture.service import Service

    if rig is None:
        raise ConfigError("--record needs a rig file: nightrig calibrate my-rig.toml --record 60 ...")
    if not 1 <= seconds <= 3600:
        raise ConfigError(f"--record {seconds:g}: from 1 to 3600 seconds")
    print(
        f"recording for {seconds:.0f} s: show the board to the cameras now; Ctrl-C ends it earlier",
        file=sys.stderr,
    )
    outcome = Service(
        rig.rig,
        root=Path(rig.rig.record.root),
        duration_s=seconds,
        say=lambda line: print(line, file=sys.stderr),
    ).run()
    return outcome.session


def _world(rig: LoadedRig | None, first: str) -> Any:
    if rig is None:
        return None
    pose = next((c.world_from_camera for c in rig.rig.cameras if c.name == first), None)
    return None if pose is None else np.array(pose, np.float64)


def _tell(
    args: argparse.Namespace,
    rig: LoadedRig | None,
    cameras: Mapping[str, CameraCalibration],
    quality: Mapping[str, Mapping[str, object]],
) -> int:
    if args.json:
        print(
            json.dumps({name: {**asdict(known), **quality.get(name, {})} for name, known in cameras.items()})
        )
    if rig is not None:
        known = {camera.name for camera in rig.rig.cameras}
        if strange := [name for name in cameras if name not in known]:
            raise ConfigError(f"{rig.path} has no camera {strange[0]}; it has {', '.join(sorted(known))}")
        told = _told_keys(cameras)
        if told:
            write_calibration(rig.path, cameras)
        print(f"{rig.path}: {f'{told} written' if told else 'nothing to write'}", file=sys.stderr)
    elif not args.json:
        for name, found in cameras.items():
            print(f"# {name}\n{calibration_lines(found)}")
    return 0


def _told_keys(cameras: Mapping[str, CameraCalibration]) -> str:
    told = []
    for key in (field.name for field in fields(CameraCalibration)):
        names = [name for name, known in cameras.items() if getattr(known, key) is not None]
        if names:
            told.append(f"{key} of {', '.join(names)}")
    return " and ".join(told)
