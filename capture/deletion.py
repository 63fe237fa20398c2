"""Makes room by deleting the oldest recorded segments, for rigs with `record.when_full = "delete-oldest"`.

Older sessions of the same root go first, then the oldest segments of the session that is being recorded;
of one session what was recorded first goes first, and of one camera never anything but its oldest segment.
What another program holds (a recording, a recompression) is never touched, nor is the newest segment of
each series of the own session, nor anything on another disk. session.json and events.jsonl stay.

Before a segment goes, a "deleted" line in its session's events.jsonl says what was in it (capture.deleted
reads these), so that the account of the session stays whole.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from capture import session
from capture._recorded_clock import between
from capture._segment_survey import survey
from capture.deleted import DELETED
from capture.mesh_frames import whole_number
from codec import durable
from codec.errors import DiskFullError, FileBusyError, FormatError, NightrigError, StorageError
from codec.mesh import MeshReader
from codec.records import numbers
from codec.records.reader import RecordFile


@dataclass(frozen=True, slots=True)
class Segment:
    """A file that may go, and what its "deleted" event says. `first_ns` is 0 where nothing in it is."""

    path: Path
    size: int
    first_ns: int
    facts: dict[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Deletion:
    """A segment that is gone: whose it was, and what its event says."""

    session: Path
    size: int
    fields: dict[str, Any]


class OldestFirst:
    """Deletes below the root of the session that is being recorded. Used by one thread."""

    def __init__(self, own: Path) -> None:
        self._own = own

    def delete(self, wanted_bytes: int) -> Iterator[Deletion]:
        """Delete until so much is gone, or nothing is left that may go. Raises StorageError."""
        gone = 0
        for folder in (*_older_sessions(self._own), self._own):
            with contextlib.ExitStack() as held:
                if folder != self._own:
                    try:
                        held.enter_context(durable.hold(folder))
                    except (FileBusyError, StorageError):
                        continue
                for segment in self._in_order(folder):
                    if gone >= wanted_bytes:
                        return
                    yield self._delete(folder, segment)
                    gone += segment.size

    def _in_order(self, folder: Path) -> Iterator[Segment]:
        """The segments of a session that may go, as they were recorded; each is held while it is the one."""
        keep = 1 if folder == self._own else 0
        queues = [series[: len(series) - keep] for series in _series(folder)]
        heads: list[tuple[Segment, list[Path]]] = []
        while True:
            for queue in queues:
                if queue and (segment := self._look_at(queue[0])) is not None:
                    heads.append((segment, queue[1:]))
            queues.clear()
            if not heads:
                return
            oldest = min(heads, key=lambda head: head[0].first_ns)
            heads.remove(oldest)
            try:
                with durable.hold(oldest[0].path):
                    yield oldest[0]
            except FileBusyError:
                continue  # and with it what was recorded after it stays
            queues.append(oldest[1])

    def _look_at(self, path: Path) -> Segment | None:
        """None for what is not ours to delete, and then for all that was recorded after it."""
        try:
            status = path.lstat()
            if path.is_symlink() or status.st_dev != self._own.stat().st_dev:
                return None
            with durable.hold(path):
                first_ns, facts = _mesh_facts(path) if session.is_mesh_path(path) else _facts(path)
        except (OSError, StorageError):
            return None
        return Segment(path, status.st_size, first_ns, facts)

    def _delete(self, folder: Path, segment: Segment) -> Deletion:
        fields = {
            "path": str(segment.path.relative_to(folder)),
            "bytes": segment.size,
            **segment.facts,
            "for": self._own.name,
        }
        event = {"event": DELETED, **fields}
        try:
            session.append_event(folder, event, synced=True)
        except DiskFullError:  # not even for a line; there will be when it is gone
            durable.delete_file(segment.path)
            session.append_event(folder, event, synced=True)
        else:
            durable.delete_file(segment.path)
        return Deletion(folder, segment.size, fields)


def anything_to_delete(root: Path) -> bool:
    """Whether there are older sessions with anything in them, held by somebody or not."""
    return any(_series(folder) for folder in _older_sessions(root / "none"))


def _older_sessions(own: Path) -> list[Path]:
    """The other sessions of the root, by the time in their names: the clock of a machine without a battery
    makes some of them look younger than they are."""
    try:
        folders = sorted(path.parent for path in own.parent.glob(f"*/{session.SESSION_FILE}"))
    except OSError:
        return []
    return [folder for folder in folders if folder.name != own.name and not folder.is_symlink()]


def _series(folder: Path) -> list[list[Path]]:
    """The files of a session, series by series, in order."""
    try:
        found = session.open_session(folder)
    except NightrigError:
        return []
    meshes: dict[Path, list[Path]] = {}
    for path in sorted((*found.meshes, *found.empty_meshes, *found.mesh_doubles)):
        meshes.setdefault(path.parent, []).append(path)
    return [*(list(series.segments) for series in found.series), *meshes.values()]


def _facts(path: Path) -> tuple[int, dict[str, Any]]:
    """(its first moment, what is in it): what a ledger must know of frames that are gone."""
    try:
        with RecordFile(path) as file:
            seen = survey(file)
    except FormatError:
        return 0, {"frames": 0, "streams": {}}
    streams: dict[str, dict[str, Any]] = {}
    for stream in sorted({*seen.streams, *seen.parts, *(stream for stream, _, _ in seen.gaps)}):
        part = seen.parts.get(stream)
        gaps: Counter[str] = Counter()
        for of_stream, _, gap in seen.gaps:
            if of_stream == stream:
                gaps[str(gap.get("reason"))] += numbers.gap_count(gap)
        streams[str(stream)] = {
            "name": str(seen.streams.get(stream, {}).get("name", f"stream{stream}")),
            "frames": part.count if part else 0,
            "gaps": dict(gaps),
        }
    spans = [(part.first_ns, part.last_ns) for part in seen.parts.values()]
    first_ns, last_ns = min((s[0] for s in spans), default=0), max((s[1] for s in spans), default=0)
    begun_ns = first_ns or min((clock[0] for clock in seen.clocks), default=0)
    facts: dict[str, Any] = {"frames": sum(part.count for part in seen.parts.values())}
    facts |= {"first_ns": first_ns, "last_ns": last_ns}
    if spans and seen.clocks:
        facts["from"] = _utc(between(seen.clocks, first_ns) or 0)
        facts["to"] = _utc(between(seen.clocks, last_ns) or 0)
    return begun_ns, {**facts, "streams": streams}


def _utc(wall_ns: int) -> str:
    try:
        moment = datetime.fromtimestamp(wall_ns / 1e9, timezone.utc)
    except (OverflowError, OSError, ValueError):  # a clock that nobody has set
        return ""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _mesh_facts(path: Path) -> tuple[int, dict[str, Any]]:
    count, first_ns, last_ns = 0, 0, 0
    with contextlib.suppress(FormatError, StorageError), MeshReader(path) as reader:
        count = len(reader)
        if count:
            first_ns = whole_number(reader[0].get("monotonic_ns")) or 0
            last_ns = whole_number(reader[count - 1].get("monotonic_ns")) or 0
    return first_ns, {"meshes": count, "first_ns": first_ns, "last_ns": last_ns}
