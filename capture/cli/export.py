"""`nightrig export`: a recording as files that other programs open."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from capture._new_folder import check_new_folder
from capture.cli._kernels import warn_of_showing
from capture.cli._progress import Progress
from capture.cli._tables import as_text, plural
from capture.export import FORMATS, ExportJob, Selection, export
from capture.mesh_faces import read_faces
from capture.recording import Recording
from codec.errors import ConfigError

HELP = "write a recording as files that other programs open"
_DECODING = ("png", "npz", "mp4", "frames")  # the formats that show pictures
_MESHES = ("obj", "ply")
_FORMAT_LIST = "\n".join(f"  {name:<7}{what}" for name, (_, what) in FORMATS.items())
EPILOG = f"""formats:
{_FORMAT_LIST}

With one camera the files lie directly in DIR, with several each has a folder of its own there. Files are
numbered from 0 in the order of time (frames: from 1); a times.csv beside them says which frame each is.

png: pictures of the same number belong together: each colour (or infrared) picture goes with the nearest
depth picture, by device time where the streams share a device clock, else by time of arrival; one without
a partner keeps a number of its own. Depth is 16 bit as it was recorded, not resampled into the colour
camera; camera_intrinsic.json is that of the depth stream (of the colour, where there is no depth), and
streams.json has everything else, the depth scale included.
mp4: at the nominal rate; missing frames are not filled in, so --every 30 makes a time-lapse.
npz: <stream>-000.npz has data, number, epoch, device_time_s and monotonic_ns. meshes-000.npz has vertices and
joints in millimetres (and uncertainties in metres) of all people one after the other, with the frame of each;
of each frame its number, monotonic_ns, how many people, and the camera; NaN for what nobody knew. Meshes are
of no camera: --camera leaves them out.
obj, ply: mesh_000000.obj is the first person of the first mesh, mesh_000000_person1.obj the next person.
Triangles are those that the recording names. Not every estimator knows them (nlf without body_model does
not): then --faces takes them from a SMPL model (.pkl, .npz) or an array of triangles (.npy), and without it
meshes are clouds of points. npz has an array of them where they are known.
frames: each file is a u32 length and an LZ4 frame of the raw little-endian z16, as proposed in issue 8117
of librealsense; `cat Frame_*.depth` makes the proposal's single file. Each time a camera was opened begins
a Capture folder.

examples:
  nightrig export recordings/20250101T220000Z-demo --format png --out pictures
  nightrig export recordings/20250101T220000Z-demo --format mp4 --camera front --every 30 --out timelapse
  nightrig export recordings/20250101T220000Z-demo --format obj --from 60 --to 70 --out meshes
  nightrig export mesh-000.xz --format npz --out arrays

exit codes: 0 done; 3 done, but damaged frames had to be left out; 1 failed; 2 usage."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", metavar="SESSION", type=Path, help="a session, a camera's folder, a .nrig or a mesh file"
    )
    parser.add_argument("--format", metavar="F", required=True, choices=FORMATS, help=", ".join(FORMATS))
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="a new or empty folder")
    parser.add_argument("--camera", metavar="NAME", action="append", help="only this one; may be repeated")
    parser.add_argument("--every", metavar="N", type=int, default=1, help="every Nth frame only")
    parser.add_argument("--from", metavar="S", type=float, dest="from_s", help="from second S on")
    parser.add_argument(
        "--faces", metavar="FILE", type=Path, help="obj, ply: triangles of meshes that name none"
    )
    parser.add_argument("--to", metavar="S", type=float, dest="to_s", help="up to second S of the recording")


def run(args: argparse.Namespace) -> int:
    if args.every < 1:
        raise ConfigError(f"--every {args.every}: must be 1 or more")
    for option, value_s in (("--from", args.from_s), ("--to", args.to_s)):
        if value_s is not None and not (math.isfinite(value_s) and value_s >= 0):
            raise ConfigError(f"{option} {value_s:g}: must be a number of seconds, 0 or more")
    if args.from_s is not None and args.to_s is not None and args.to_s <= args.from_s:
        raise ConfigError(f"--from {args.from_s:g} --to {args.to_s:g}: nothing lies between them")
    if args.faces is not None and args.format not in _MESHES:
        raise ConfigError(f"--faces {args.faces}: --format {args.format} has no triangles")
    faces = None if args.faces is None else read_faces(args.faces)
    selection = Selection(tuple(args.camera or ()), args.every, args.from_s, args.to_s)
    with Recording(args.path) as recording:
        check_new_folder(args.out, source=args.path)
        if args.format in _DECODING:
            warn_of_showing(
                stream
                for name, stream in recording.streams.items()
                if not args.camera or name.rpartition("/")[0] in args.camera
            )
        bars: list[Progress] = []
        job = ExportJob(recording, args.out, args.format, selection, faces, begin=_begin(args.format, bars))
        try:
            export(args.format, job)
        finally:
            for bar in bars:
                bar.close()
        lines = [*job.notes, f"{plural(job.files, 'file')} in {args.out}"]
        lines += [f"left out: {d.path} at byte {d.offset}: {d.what}" for d in recording.damage]
        print(as_text(lines))
        return 3 if recording.damage else 0


def _begin(label: str, bars: list[Progress]) -> Callable[[int], Callable[[int], None]]:
    def begin(total: int) -> Progress:
        bars.append(Progress(f"export {label}", total, unit="frames"))
        return bars[-1]

    return begin
