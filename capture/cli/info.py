"""`nightrig info`: what is in a recording, at a glance or for machines."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from capture.cli._progress import clock, size
from capture.cli._tables import plural, table
from capture.recording import RecordedStream, Recording
from capture.session import SESSION_FILE
from codec.depth import codec_name, stated_loss
from codec.depth.near import NearCodec
from codec.errors import CodecError, DamagedError

HELP = "show what is in a recording"
EPILOG = """examples:
  nightrig info recordings/20250101T220000Z-demo
  nightrig info recordings/20250101T220000Z-demo/front      one camera
  nightrig info night.nrig --json                           one file, for machines

Looks at headers and indexes only; `nightrig verify` reads every byte.
exit codes: 0 done; 1 failed; 2 usage."""

_HEADER = ("stream", "format", "size", "fps", "measured", "frames", "duration", "raw", "file", "ratio")
_DISTANCES_M = (1, 4)  # at which the error of a lossy stream is told


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", metavar="PATH", type=Path, help="a session, a camera's folder or a .nrig file"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    with Recording(args.path) as recording:
        facts = describe(recording)
    if args.json:
        print(json.dumps(facts))
    else:
        print(_text(facts))
    return 0


def describe(recording: Recording) -> dict[str, Any]:
    """The facts as --json prints them."""
    unsealed = sum(not segment.sealed for segment in recording.segments)
    meshes = recording.mesh_counts()
    damage = [(d.path, d.offset, d.length, d.what) for d in recording.damage]
    if recording.session_trouble:
        path = recording.path / SESSION_FILE
        damage.append((path, 0, path.stat().st_size, recording.session_trouble))
    return {
        "path": str(recording.path),
        "started": recording.utc(recording.first_ns) if recording.first_ns else None,
        "duration_s": round((recording.last_ns - recording.first_ns) / 1e9, 3),
        "file_bytes": recording.file_bytes,
        "streams": {name: _stream(stream, meshes) for name, stream in recording.streams.items()},
        "meshes": sum(meshes.values()),
        "segments": len(recording.segments) + len(recording.empty_segments),
        "unsealed": unsealed,
        "damage": [
            {"file": str(path), "offset": offset, "length": length, "what": what}
            for path, offset, length, what in damage
        ],
    }


def _stream(stream: RecordedStream, meshes: dict[Path, int]) -> dict[str, Any]:
    info, gaps = stream.info, Counter[str]()
    for gap in stream.gaps:
        gaps[gap.reason] += gap.count
    frames = len(stream)
    if info.pixel_format == "mesh":  # these lie in files of their own, in the same folder
        owner = stream.name.rpartition("/")[0]
        frames = sum(count for path, count in meshes.items() if path.parent.name == owner)
    return {
        "format": info.pixel_format,
        "width": info.width,
        "height": info.height,
        "fps": info.fps,
        "measured_fps": round(stream.fps, 3),
        "frames": frames,
        "duration_s": round((stream.last_ns - stream.first_ns) / 1e9, 3),
        "raw_bytes": stream.raw_bytes,
        "file_bytes": stream.file_bytes,
        "ratio": round(stream.raw_bytes / stream.file_bytes, 3) if stream.file_bytes else None,
        "depth_scale_m": info.depth_scale_m,
        "codecs": _codecs(stream) if info.pixel_format in ("z16", "y8") else {},
        "lossy": _lossy(stream),
        "camera": {"backend": stream.camera.backend, "model": stream.camera.model}
        | {"serial": stream.camera.serial},
        "gaps": dict(gaps),
    }


def _codecs(stream: RecordedStream) -> dict[str, int]:
    """How many frames each codec wrote."""
    counts = Counter[int]()
    for entries in stream.entries():
        counts.update(dict(enumerate(np.bincount(entries["codec"]).tolist())))
    return {codec_name(codec): count for codec, count in sorted(counts.items()) if count}


def _lossy(stream: RecordedStream) -> dict[str, float] | None:
    """What the first frame of the lossy codec says of its loss; None where there is no such frame."""
    before = 0
    for entries in stream.entries():
        found = np.flatnonzero(entries["codec"] == NearCodec.id)
        if found.size:
            try:
                loss = stated_loss(stream.record(before + int(found[0])).payload)
            except (CodecError, DamagedError):  # `verify` finds it and says where
                return None
            return loss._asdict() if loss is not None else None
        before += entries.size
    return None


def _text(facts: dict[str, Any]) -> str:
    begun = f"started {facts['started']}, " if facts["started"] else ""
    lines = [
        facts["path"],
        f"{begun}{clock(facts['duration_s'])} long, {size(facts['file_bytes'])} in "
        f"{plural(facts['segments'], 'segment')}, {_sealed(facts)}",
        "",
        table(_HEADER, [_row(name, stream) for name, stream in facts["streams"].items()], left=2),
    ]
    if facts["meshes"]:
        lines += ["", plural(facts["meshes"], "mesh", "meshes")]
    lines += ["", *_losses(facts), *_missing(facts)]
    for damage in facts["damage"]:
        where = f"{damage['file']} at byte {damage['offset']}"
        lines.append(f"DAMAGED: {where}, {damage['length']} bytes: {damage['what']}")
    if facts["damage"]:
        lines.append("`nightrig recover` makes a clean copy of what is whole")
    return "\n".join(lines)


def _sealed(facts: dict[str, Any]) -> str:
    return "all sealed" if not facts["unsealed"] else f"{facts['unsealed']} not sealed"


def _row(name: str, stream: dict[str, Any]) -> tuple[str, ...]:
    is_mesh = stream["format"] == "mesh"
    return (
        name,
        stream["format"],
        f"{stream['width']}x{stream['height']}",
        f"{stream['fps']:g}" if stream["fps"] else "-",
        f"{stream['measured_fps']:.2f}" if stream["measured_fps"] else "-",
        str(stream["frames"]),
        "-" if is_mesh else clock(stream["duration_s"]),
        "-" if is_mesh else size(stream["raw_bytes"]),
        "-" if is_mesh else size(stream["file_bytes"]),
        f"{stream['ratio']:.2f}" if stream["ratio"] else "-",
    )


def _losses(facts: dict[str, Any]) -> list[str]:
    """Streams whose depth is not what was measured, bit for bit."""
    lines = []
    for name, stream in facts["streams"].items():
        if stream["lossy"]:
            bound = f"{stream['lossy']['bound_subpixels']:g}/32 pixel{_at_distances(stream)}"
            share = f"{stream['codecs']['near']} of {stream['frames']} frames"
            lines.append(
                f"LOSSY by choice: {name} keeps disparity to within {bound} of what was measured ({share})"
            )
    return lines


def _at_distances(stream: dict[str, Any]) -> str:
    """What the bound means there, where the depth unit is known."""
    bound, constant = stream["lossy"]["bound_subpixels"], stream["lossy"]["disparity_constant"]
    unit_m = stream["depth_scale_m"]
    if not unit_m:
        return ""
    errors = []
    for distance_m in _DISTANCES_M:
        depth = distance_m / unit_m
        if bound * depth < constant:  # beyond this the camera measures nothing
            error_m = bound * depth**2 / (constant - bound * depth) * unit_m
            errors.append(f"{error_m * 1000:.1f} mm at {distance_m} m")
    return f" ({', '.join(errors)})" if errors else ""


def _missing(facts: dict[str, Any]) -> list[str]:
    lines = []
    if not facts["meshes"] and not any(stream["frames"] for stream in facts["streams"].values()):
        lines.append("nothing was recorded")
    for name, stream in facts["streams"].items():
        if stream["gaps"]:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(stream["gaps"].items()))
            lines.append(f"missing in {name}: {reasons}")
    return lines or ["nothing missing, as far as the recording knows"]
