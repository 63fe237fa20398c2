"""`nightrig convert`: a mesh file as one of the other kind, with every whole number of its grid."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from capture.cli._ctrl_c import CtrlC
from capture.cli._meshes import kind_of
from capture.cli._progress import Progress, size
from capture.cli._tables import as_text, plural
from codec.errors import ConfigError
from codec.mesh import MeshReader
from codec.mesh.conversion import WAYS, Converted, Target, convert

HELP = "turn a mesh file into one of the other kind, on the same grid"
EPILOG = """kinds:
  bodycompress   .xz, .zst: opens with bodycompress and `xz -d`; everything of 0.1, 0.2 and 0.3 is read;
                 .zst needs the package zstandard (the extra zstd), to be written and to be read
  native         .nrm: a third of the size; docs/FORMAT.md

examples:
  nightrig convert people/mesh-000.xz mesh.nrm
  nightrig convert mesh.nrm mesh.xz --preset 9
  nightrig convert old.xz new.xz --vertex-order smpl       the same kind, packed anew

OUT appears when it is whole: it is written beside its place in a folder with a dot (.OUT.part), read back
from the disk and held against IN frame by frame, whole number by whole number. An existing file is never
overwritten and IN never touched. Ctrl-C or a kill leaves no OUT; the same command begins anew, and clears
away the .OUT.part that a kill left.

Metadata, cameras and all other entries of the frames come along; what bodycompress files have no room for
(people who are not known) is left out, listed in its frame, and counted at the end. Of a damaged file
everything that is whole is converted.
exit codes: 0 done; 3 done, but not all of IN is in OUT, and what is not; 1 failed; 2 usage;
130 interrupted."""

_KINDS = {".nrm": "native", ".xz": "bodycompress", ".zst": "bodycompress", ".zstd": "bodycompress"}
_PRESETS = {"xz": 5, "zstd": 3}
_PRESETS_KNOWN = {"xz": (0, 9), "zstd": (1, 22)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="IN", type=Path, help="a mesh file of any kind")
    parser.add_argument("out", metavar="OUT", type=Path, help="a new file; its name says the kind")
    parser.add_argument(
        "--to", metavar="KIND", choices=("bodycompress", "native"), help="whatever OUT is called"
    )
    parser.add_argument(
        "--way", metavar="WAY", choices=WAYS, help="native: small (default), affine, or fast, the cheapest"
    )
    parser.add_argument(
        "--preset", metavar="N", type=int, help="bodycompress: of xz 0 to 9 (default 5), of zstd 1 to 22 (3)"
    )
    parser.add_argument(
        "--vertex-order",
        metavar="ORDER",
        choices=("auto", "none", "smpl", "smplx"),
        help="bodycompress: auto (default), none (which 0.2 reads too), smpl or smplx",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    target = _target(args)
    if not args.source.is_file():
        raise ConfigError(f"{args.source} is no file: name a mesh file (recompress --meshes takes a session)")
    with MeshReader(args.source) as reader:
        count, before = len(reader), kind_of(reader)
    steps = target.readings
    with Progress("convert", steps * count, unit="frames", steps=steps) as progress, CtrlC(progress.say):
        done = convert(args.source, args.out, target, progress, progress.stage)
    with MeshReader(args.out) as reader:
        after = kind_of(reader)
    code = 0 if done.lossless else 3
    if args.json:
        print(json.dumps(_facts(args, done, before, after, code)))
    else:
        print(as_text([*_notes(done), _summary(args.out, done, before, after)]))
    return code


def _target(args: argparse.Namespace) -> Target:
    kind = args.to or _KINDS.get(args.out.suffix)
    if kind is None:
        known = ", ".join(_KINDS)
        raise ConfigError(
            f"{args.out}: its name says no kind ({known}): say --to bodycompress or --to native"
        )
    if kind == "native":
        if args.preset is not None or args.vertex_order:
            raise ConfigError(
                "--preset and --vertex-order are for bodycompress files, and OUT is a native one"
            )
        return Target("native", way=args.way or "small")
    if args.way:
        raise ConfigError("--way is for native files, and OUT is a bodycompress one")
    compression = "zstd" if args.out.suffix in (".zst", ".zstd") else "xz"
    order = None if args.vertex_order == "none" else args.vertex_order or "auto"
    preset = _PRESETS[compression] if args.preset is None else args.preset
    least, most = _PRESETS_KNOWN[compression]
    if not least <= preset <= most:
        raise ConfigError(f"--preset {preset}: of {compression} it must be {least} to {most}")
    return Target("bodycompress", compression=compression, preset=preset, vertex_order=order)


def _facts(args: argparse.Namespace, done: Converted, before: str, after: str, code: int) -> dict[str, Any]:
    return {
        "in": str(args.source),
        "out": str(args.out),
        "exit_code": code,
        "from": before,
        "to": after,
        "frames": done.frames,
        "people": done.people,
        "quantization_mm": done.quantization_mm,
        "before_bytes": done.before_bytes,
        "after_bytes": done.after_bytes,
        "ratio": round(done.before_bytes / done.after_bytes, 3) if done.lossless else None,
        "ratio_to_float32": round(done.raw_bytes / done.after_bytes, 3) if done.after_bytes else None,
        "unknown_people_left_out": done.left_out,
        "partly_known_people_left_out": done.cut,
        "frames_without_their_points": done.bare,
        "cameras_renamed": done.renamed_cameras,
        "frames_skipped": done.skipped,
        "damage": done.damage,
    }


def _notes(done: Converted) -> list[str]:
    listed = "left out and listed in their frames as rejected_people"
    lines = []
    if done.left_out:
        lines.append(f"{_times(done.left_out)} was not known at all: {listed}")
    if done.cut:
        lines.append(f"LOST: {_times(done.cut)} was known in part: {listed}; IN has what was known")
    if done.bare:
        lines.append(f"LOST: the points of {plural(done.bare, 'frame')} that are not known in full")
    if done.renamed_cameras:
        lines.append(
            f"{plural(done.renamed_cameras, 'camera')} bodycompress would not take for one: camera_recorded"
        )
    if done.skipped:
        lines.append(f"LOST: {plural(done.skipped, 'frame')} next to the damage that no file can hold")
    if done.damage:
        lines.append(f"DAMAGED: {done.damage}; what is whole is converted")
    return lines


def _times(count: int) -> str:
    return f"{plural(count, 'time')} somebody"


def _summary(out: Path, done: Converted, before: str, after: str) -> str:
    told = ""
    if done.lossless:  # else it is smaller for what is missing, too
        change = done.before_bytes / done.after_bytes
        told = f", {change:.2f} times smaller" if change >= 1 else f", {1 / change:.2f} times larger"
    against = (
        f", {done.raw_bytes / done.after_bytes:.1f} times smaller than float32" if done.raw_bytes else ""
    )
    return (
        f"{plural(done.frames, 'frame')}, {plural(done.people, 'mesh', 'meshes')}: {size(done.before_bytes)}"
        f" ({before}) -> {size(done.after_bytes)} ({after}){told}{against}; every number compared: {out}"
    )
