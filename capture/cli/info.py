"""`nightrig info`: what is in a recording, at a glance or for machines."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capture.cli._codecs import codec_counts, codec_words, lossy_streams
from capture.cli._meshes import MESH_HEADER, mesh_facts, mesh_row
from capture.cli._progress import clock, size
from capture.cli._tables import as_text, plural, table
from capture.deleted import deleted_facts, deleted_segments, deletion_notes
from capture.recording import RecordedStream, Recording
from capture.session import SESSION_FILE
from codec.depth import StatedLoss

HELP = "show what is in a recording"
EPILOG = """examples:
  nightrig info recordings/20250101T220000Z-demo
  nightrig info recordings/20250101T220000Z-demo/front      one camera
  nightrig info night.nrig --json                           one file, for machines
  nightrig info people/mesh-000.nrm                         one mesh file, of any kind

Looks at headers and indexes, and a few frames of mesh files; `nightrig verify` reads every byte. The ratio of
mesh files is that to float32.
exit codes: 0 done; 1 failed; 2 usage."""

_COUNTS = ("frames", "duration", "raw", "file", "ratio")
_HEADER = ("stream", "format", "codec", "size", "fps", "measured", *_COUNTS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", metavar="PATH", type=Path, help="a session, a camera's folder, a .nrig or a mesh file"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    with Recording(args.path) as recording:
        lossy = lossy_streams(recording.streams.values())
        facts = describe(recording, {each.name: each.loss for each in lossy})
    if args.json:
        print(json.dumps(facts))
    else:
        print(_text(facts, [each.line() for each in lossy]))
    return 0


def describe(recording: Recording, losses: Mapping[str, StatedLoss]) -> dict[str, Any]:
    """The facts as --json prints them; `losses` of the streams that are lossy."""
    unsealed = sum(not segment.sealed for segment in recording.segments)
    meshes = recording.mesh_counts()
    deleted = deleted_segments(recording.path)
    damage = [(d.path, d.offset, d.length, d.what) for d in recording.damage]
    if recording.session_trouble:
        path = recording.path / SESSION_FILE
        damage.append((path, 0, path.stat().st_size, recording.session_trouble))
    return {
        "path": str(recording.path),
        "started": recording.utc(recording.first_ns) if recording.first_ns else None,
        "duration_s": round((recording.last_ns - recording.first_ns) / 1e9, 3),
        "file_bytes": recording.file_bytes + recording.mesh_bytes,
        "mesh_bytes": recording.mesh_bytes,
        "streams": {
            name: _stream(stream, meshes, losses.get(name)) for name, stream in recording.streams.items()
        },
        "meshes": sum(meshes.values()),
        "mesh_files": [mesh_facts(path) for path in recording.mesh_paths],
        "segments": len(recording.segments) + len(recording.empty_segments),
        "unsealed": unsealed,
        "damage": [
            {"file": str(path), "offset": offset, "length": length, "what": what}
            for path, offset, length, what in damage
        ],
        "notes": deletion_notes(deleted),
        "deleted": [deleted_facts(segment) for segment in deleted],
    }


def _stream(stream: RecordedStream, meshes: dict[Path, int], loss: StatedLoss | None) -> dict[str, Any]:
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
        "codecs": codec_counts(stream),
        "lossy": None if loss is None else loss._asdict(),
        "camera": {"backend": stream.camera.backend, "model": stream.camera.model}
        | {"serial": stream.camera.serial},
        "gaps": dict(gaps),
    }


def _text(facts: dict[str, Any], losses: list[str]) -> str:
    if not facts["streams"] and len(facts["mesh_files"]) == 1:
        lines = [*_mesh_lines(facts), "", *_unclosed(facts), *_damage_lines(facts)]
        return as_text(lines).rstrip()
    begun = f"started {facts['started']}, " if facts["started"] else ""
    lines = [
        facts["path"],
        f"{begun}{clock(facts['duration_s'])} long, {size(facts['file_bytes'])} in "
        f"{plural(facts['segments'], 'segment')}, {_sealed(facts)}",
        "",
        *table(_HEADER, [_row(name, stream) for name, stream in facts["streams"].items()], left=3),
    ]
    if facts["mesh_files"]:
        lines += ["", *_mesh_lines(facts)]
    if facts["meshes"]:
        lines += ["", f"{plural(facts['meshes'], 'mesh', 'meshes')}, {size(facts['mesh_bytes'])}"]
    lines += ["", *losses, *facts["notes"], *_missing(facts), *_damage_lines(facts)]
    return as_text(lines)


def _mesh_lines(facts: dict[str, Any]) -> list[str]:
    return table(MESH_HEADER, [mesh_row(each) for each in facts["mesh_files"]], left=2)


def _damage_lines(facts: dict[str, Any]) -> list[str]:
    lines = [f"note: {each['file']}: {each['note']}" for each in facts["mesh_files"] if each.get("note")]
    for damage in facts["damage"]:
        where = f"{damage['file']} at byte {damage['offset']}"
        lines.append(f"DAMAGED: {where}, {damage['length']} bytes: {damage['what']}")
    if facts["damage"]:
        lines.append("`nightrig recover` makes a clean copy of what is whole")
    return lines


def _unclosed(facts: dict[str, Any]) -> list[str]:
    """What nobody wrote down: a mesh writer that is killed takes along what it had in hand."""
    return [
        f"{Path(each['file']).name} was never closed: its writer was killed (or still writes), and what came "
        "last may be missing"
        for each in facts["mesh_files"]
        if each.get("closed") is False
    ]


def _sealed(facts: dict[str, Any]) -> str:
    return "all sealed" if not facts["unsealed"] else f"{facts['unsealed']} not sealed"


def _row(name: str, stream: dict[str, Any]) -> tuple[str, ...]:
    is_mesh = stream["format"] == "mesh"
    return (
        name,
        stream["format"],
        codec_words(stream["codecs"]),
        f"{stream['width']}x{stream['height']}",
        f"{stream['fps']:g}" if stream["fps"] else "-",
        f"{stream['measured_fps']:.2f}" if stream["measured_fps"] else "-",
        str(stream["frames"]),
        "-" if is_mesh else clock(stream["duration_s"]),
        "-" if is_mesh else size(stream["raw_bytes"]),
        "-" if is_mesh else size(stream["file_bytes"]),
        f"{stream['ratio']:.2f}" if stream["ratio"] else "-",
    )


def _missing(facts: dict[str, Any]) -> list[str]:
    lines = []
    there = facts["meshes"] or facts["deleted"]
    if not there and not any(stream["frames"] for stream in facts["streams"].values()):
        lines.append("nothing was recorded")
    for name, stream in facts["streams"].items():
        if stream["gaps"]:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(stream["gaps"].items()))
            lines.append(f"missing in {name}: {reasons}")
    lines += _unclosed(facts)
    if not lines and not facts["deleted"]:
        lines.append("nothing missing, as far as the recording knows")
    return lines
