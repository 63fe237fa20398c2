"""What was deleted from a session to make room, as its events.jsonl says: see capture.deletion."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from capture import session
from capture.given_files import exists, read_small
from codec.records import numbers

DELETED = "deleted"
"""The kind of its events."""
_NUMBER_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class DeletedSegment:
    """One file that is gone. `streams`: by their number, what of them was in it."""

    path: PurePosixPath
    size: int
    frames: int
    meshes: int
    first_ns: int
    last_ns: int
    wall_ns: int
    streams: dict[int, DeletedStream] = field(default_factory=dict)

    @property
    def series(self) -> str:
        """The camera's (or estimator's) folder, or "people"."""
        return str(self.path.parent)


@dataclass(frozen=True, slots=True)
class DeletedStream:
    """The frames of one stream in a file that is gone, and what its gap records called missing."""

    name: str
    frames: int
    gaps: Counter[str]


def deleted_segments(path: Path) -> list[DeletedSegment]:
    """What is gone from a session or a camera's folder; nothing from a file, or where there are no events.

    A line that speaks of a file that is there (a power cut between the two) does not count.
    """
    folder = None if path.is_file() else session.enclosing_session(path)
    if folder is None:
        return []
    events = folder / session.EVENTS_FILE
    try:
        lines = (
            read_small(events, session.EVENTS_BYTES_MAX).splitlines() if events.is_file() else []
        )  # a pipe would keep us waiting
    except OSError:
        return []
    found: dict[PurePosixPath, DeletedSegment] = {}
    for line in lines:
        if b'"deleted"' in line and (segment := _parse(line)) is not None:
            found[segment.path] = segment
    gone = [segment for name, segment in sorted(found.items()) if not exists(folder / name)]
    return gone if path.resolve() == folder.resolve() else of_series(gone, path.resolve().name)


def _parse(line: bytes) -> DeletedSegment | None:
    try:
        event = json.loads(line)
        # What this session made others lose stands in its events, too, and names theirs.
        if event["event"] != DELETED or "session" in event:
            return None
        path = PurePosixPath(event["path"])
        is_below = len(path.parts) == 2 and path.parts[0] not in ("/", "..")
        if not (is_below and session.is_segment_name(path.name)):
            return None
        streams = {
            int(number): DeletedStream(str(told["name"]), _number(told["frames"]), _gaps(told["gaps"]))
            for number, told in event.get("streams", {}).items()
        }
        return DeletedSegment(
            path=path,
            size=_number(event["bytes"]),
            frames=_number(event.get("frames", 0)),
            meshes=_number(event.get("meshes", 0)),
            first_ns=_number(event.get("first_ns", 0)),
            last_ns=_number(event.get("last_ns", 0)),
            wall_ns=_number(event["wall_ns"]),
            streams=streams,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):  # a torn line
        return None


def _number(value: Any) -> int:
    if type(value) is not int or not -_NUMBER_MAX <= value <= _NUMBER_MAX:
        raise ValueError(f"{value!r} is no number that an event has")
    return value


def _gaps(counts: Any) -> Counter[str]:
    return Counter({str(reason): _number(count) for reason, count in counts.items()})


def of_series(deleted: Iterable[DeletedSegment], series: str) -> list[DeletedSegment]:
    """Those of one camera's folder."""
    return [segment for segment in deleted if segment.series == series]


def deleted_facts(segment: DeletedSegment) -> dict[str, Any]:
    """One of them, for machines."""
    span = {"first_ns": segment.first_ns, "last_ns": segment.last_ns}
    counts = {"bytes": segment.size, "frames": segment.frames, "meshes": segment.meshes}
    return {"path": str(segment.path), **counts, **span, "deleted_wall_ns": segment.wall_ns}


def deletion_notes(deleted: Sequence[DeletedSegment]) -> list[str]:
    """One line for each series, of what is gone from it."""
    lines = []
    for series in sorted({segment.series for segment in deleted}):
        for is_mesh, unit in ((False, "frames"), (True, "meshes")):
            own = [s for s in of_series(deleted, series) if (s.path.suffix != ".nrig") is is_mesh]
            if own:
                count = sum(segment.frames + segment.meshes for segment in own)
                names = _names([segment.path.stem for segment in own])
                size = sum(segment.size for segment in own)
                gone = "was" if len(own) == 1 else "were"
                lines.append(
                    f"{series}: {names} {gone} deleted to make room for later recordings"
                    f" ({count} {unit}, {size / 1e6:.1f} MB; {session.EVENTS_FILE} has the rest)"
                )
    return lines


def _names(stems: list[str]) -> str:
    prefix = stems[0].rpartition("-")[0]
    runs = numbers.runs(int(stem.rpartition("-")[2]) for stem in stems)
    told = ", ".join(f"{a:03d}" if a == b else f"{a:03d} to {b:03d}" for a, b in runs)
    return f"{prefix or 'segment' + ('s' if len(stems) > 1 else '')} {told}"
