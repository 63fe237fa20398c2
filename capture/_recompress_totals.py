"""Keeps session.json true while the record files under it shrink.

Its totals say how many bytes of each stream are in the files, and verify holds that against them. While
segments are replaced no number could be right, and a kill may come at any time; so the numbers that hold
are taken back (null) before the first segment is replaced, and made anew from the files in the end, by
whichever run gets there. A number that did not hold before is left for verify to find. Where a segment is a
link to nowhere nobody can tell: the number is taken back, and made by a run that finds it there again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from capture import session
from capture.recording import RecordedStream, Recording

_KEY = "file_bytes"


def withdraw_totals(folder: Path) -> None:
    """Take back what session.json says of bytes on disk in depth streams. Raises StorageError."""

    def withdrawn(told: object, stream: RecordedStream, all_there: bool) -> object:
        holds = told == stream.file_bytes or not all_there
        return None if stream.info.pixel_format == "z16" and holds else told

    _update(folder, withdrawn)


def renew_totals(folder: Path) -> None:
    """Say again what was taken back, as it is now. Raises StorageError."""

    def renewed(told: object, stream: RecordedStream, all_there: bool) -> object:
        return stream.file_bytes if told is None and all_there else told

    _update(folder, renewed)


def _update(folder: Path, change: Callable[[object, RecordedStream, bool], object]) -> None:
    info = session.load_session(folder)
    changed = False
    streams = _streams(info)
    if not streams:
        return
    with Recording(folder) as recording:
        broken = {damage.path.parent.name for damage in recording.damage if session.broken_link(damage.path)}
        for name, told in streams.items():
            stream = recording.streams.get(name)
            if stream is None or not isinstance(told, dict) or _KEY not in told:
                continue
            value = change(told[_KEY], stream, name.rpartition("/")[0] not in broken)
            changed |= value != told[_KEY]
            told[_KEY] = value
    if changed:
        session.save_session(folder, info)


def _streams(info: dict[str, Any]) -> dict[str, Any]:
    totals = info.get("totals")
    streams = totals.get("streams") if isinstance(totals, dict) else None
    return streams if isinstance(streams, dict) else {}
