"""Holds what test cameras say they sent against what lies in a session: frame by frame, pixel by pixel.

For every frame a camera sent: it is on disk and right, or a gap record names it with a reason, or it is
unaccounted for. Nothing of the recorder's own counters is believed.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capture.deleted import deleted_segments
from capture.ledger import LOST_AT_CAMERA, OUTAGE
from codec.depth import codec_by_id
from codec.errors import FormatError
from codec.records import RecordFile
from codec.records.layout import CODEC_JPEG, FRAME
from scripts.campaigns._sent import DELIVERED, read_sent

Key = tuple[int, int, int]
"""Stream, epoch, number."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A frame that was sent, is not on disk, and of which no gap record tells."""

    camera: str
    key: Key
    monotonic_ns: int


@dataclass(slots=True)
class Account:
    """One or several cameras. sent = written + deleted + dropped (by reason) + at_camera + unaccounted.

    deleted: frames of the oldest segments, which made room and of which the events say so, with what their
    gap records told of. at_camera: numbers that the camera itself left out, and of which the files say so.
    wrong: frames on disk that were never sent, or not with these pixels. untrue: gap records (or events of
    deletions) that do not agree with what was sent.
    """

    sent: int = 0
    written: int = 0
    at_camera: int = 0
    deleted: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    unaccounted: list[Missing] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)

    def add(self, other: Account) -> None:
        """Take another camera's account in."""
        self.sent += other.sent
        self.written += other.written
        self.at_camera += other.at_camera
        self.deleted += other.deleted
        self.dropped += other.dropped
        self.unaccounted += other.unaccounted
        self.wrong += other.wrong
        self.untrue += other.untrue

    def lost_before(self, monotonic_ns: int) -> list[Missing]:
        """Unaccounted frames that were sent before a moment."""
        return [missing for missing in self.unaccounted if missing.monotonic_ns < monotonic_ns]

    @property
    def dropped_total(self) -> int:
        """For whatever reason."""
        return sum(self.dropped.values())


def session_account(session: Path, logs: Path, cameras: list[str]) -> Account:
    """Of all these cameras. `logs`: the folder with their `.sent` files."""
    total = Account()
    for camera in cameras:
        total.add(camera_account(session / camera, logs / f"{camera}.sent", camera))
    return total


def camera_account(folder: Path, log: Path, camera: str) -> Account:
    """Of one camera: its segments against its log."""
    account = Account()
    on_disk, gaps = _read(folder, account, camera)
    named, spans = _spread(gaps)
    counted: Counter[int] = Counter()
    seen: set[Key] = set()
    for entry in read_sent(log):
        key = int(entry["stream"]), int(entry["epoch"]), int(entry["number"])
        at_ns = int(entry["monotonic_ns"])
        delivered = entry["kind"] == DELIVERED
        seen.add(key)
        account.sent += 1
        if key in on_disk:
            if not delivered or (entry["crc"] and on_disk[key] != entry["crc"]):
                account.wrong.append(f"{camera}: {key} differs from what was sent")
            account.written += 1
        elif key in named:
            _count(account, named[key], delivered)
        elif (span := _span_of(spans, key[0], at_ns)) is not None:
            counted[span] += 1
            _count(account, spans[span]["reason"], delivered)
        else:
            account.unaccounted.append(Missing(camera, key, at_ns))
    _count_deleted(folder, account, camera, on_disk)
    account.wrong += [f"{camera}: {key} was never sent" for key in on_disk.keys() - seen]
    account.untrue += [
        f"{camera}: {key} is called missing ({named[key]}) and was written"
        for key in named.keys() & on_disk.keys()
    ]
    for index, span in enumerate(spans):
        missing = counted[index]
        if not span["estimated"] and missing != span["count"]:
            told = f"a gap ({span['reason']}) tells of {span['count']} frames"
            account.untrue.append(f"{camera}: {told}, {missing} are missing")
    return account


def _count_deleted(folder: Path, account: Account, camera: str, on_disk: dict[Key, int]) -> None:
    """What is missing before the oldest frame on disk, where the events speak of so many deleted frames."""
    gone: Counter[int] = Counter()
    for segment in deleted_segments(folder):
        for stream, told in segment.streams.items():
            gone[stream] += told.frames + told.gaps.total()
    for stream, count in gone.items():
        first = min((key[1:] for key in on_disk if key[0] == stream), default=(1 << 32, 0))
        before = [m for m in account.unaccounted if m.key[0] == stream and m.key[1:] < first]
        account.deleted += len(before)
        account.unaccounted = [missing for missing in account.unaccounted if missing not in before]
        if len(before) != count:
            told = f"events tell of {count} deleted frames of stream {stream}"
            account.untrue.append(f"{camera}: {told}, {len(before)} are missing before the oldest on disk")


def _count(account: Account, reason: str, delivered: bool) -> None:
    if not delivered or reason in (LOST_AT_CAMERA, OUTAGE):
        account.at_camera += 1
    else:
        account.dropped[reason] += 1


def _read(folder: Path, account: Account, camera: str) -> tuple[dict[Key, int], list[dict[str, Any]]]:
    """CRCs of all frames on disk, and all gap records, each once."""
    found: dict[Key, int] = {}
    gaps: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.nrig")):
        try:
            with RecordFile(path) as file:
                for key, crc in _frames(file):
                    if key in found:
                        account.wrong.append(f"{camera}: {key} is on disk twice")
                    found[key] = crc
                for stream, epoch, gap in file.gaps():
                    gaps[f"{stream} {epoch} {sorted(gap.items())}"] = {
                        **gap,
                        "stream": stream,
                        "epoch": epoch,
                    }
        except FormatError:  # killed before its first record was whole
            continue
    return found, list(gaps.values())


def _frames(file: RecordFile) -> Iterator[tuple[Key, int]]:
    for index in file.of_kind(FRAME):
        record = file.read(int(index))
        header = record.header
        pixels = record.payload
        if header.codec < CODEC_JPEG:
            pixels = codec_by_id(header.codec).decode(record.payload).tobytes()
        yield (header.stream, header.epoch, header.number), zlib.crc32(pixels)


def _spread(gaps: list[dict[str, Any]]) -> tuple[dict[Key, str], list[dict[str, Any]]]:
    """Reasons by frame where gap records give numbers; the others, which give a count and a time."""
    named: dict[Key, str] = {}
    spans = []
    for gap in gaps:
        if gap["first"] is None:
            spans.append(gap)
            continue
        for number in range(gap["first"], gap["last"] + 1):
            named[gap["stream"], gap["epoch"], number] = gap["reason"]
    return named, spans


def _span_of(spans: list[dict[str, Any]], stream: int, at_ns: int) -> int | None:
    for index, span in enumerate(spans):
        if span["stream"] == stream and span["start_ns"] <= at_ns <= span["end_ns"]:
            return index
    return None
