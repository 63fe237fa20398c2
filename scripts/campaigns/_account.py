"""Holds what test cameras say they sent against what lies in a session: frame by frame, pixel by pixel.

For every frame a camera sent: it is on disk and right, or a gap record names it with a reason, or it is
unaccounted for. Nothing of the recorder's own counters is believed. Results of a test estimator are held
against its log in the same way, meshes among them.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from capture import session as names
from capture.deleted import deleted_segments
from capture.ledger import KILLED, LOST_AT_CAMERA, OUTAGE
from codec.depth import codec_by_id
from codec.errors import FormatError
from codec.mesh import MeshReader
from codec.records import RecordFile
from codec.records.layout import CODEC_JPEG, FRAME
from scripts.campaigns._numbered_mesh import MESH_STREAM, mesh_name
from scripts.campaigns._sent import DELIVERED, read_sent

Key = tuple[int, int, int]
"""Stream, epoch, number."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A frame that was sent and is not on disk.

    in_hand: the last that its process sent, which may have been killed before it could hand it on: nobody
    but that process ever had it.
    """

    camera: str
    key: Key
    monotonic_ns: int
    in_hand: bool = False


@dataclass(slots=True)
class Account:
    """One or several cameras. sent = written + deleted + dropped (by reason) + at_camera + unaccounted.

    deleted: frames of the oldest segments, which made room and of which the events say so, with what their
    gap records told of. at_camera: numbers that the camera itself left out, and of which the files say so.
    wrong: frames on disk that were never sent, or not with these pixels. untrue: gap records (or events of
    deletions) that do not agree with what was sent. lost: every frame that was delivered and is not on disk,
    whatever the files say of it.
    """

    sent: int = 0
    written: int = 0
    at_camera: int = 0
    deleted: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    unaccounted: list[Missing] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)
    lost: list[Missing] = field(default_factory=list)

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
        self.lost += other.lost

    @property
    def dropped_total(self) -> int:
        """For whatever reason."""
        return sum(self.dropped.values())


def session_account(session: Path, logs: Path, cameras: list[str], *, until_ns: int | None = None) -> Account:
    """Of all these cameras, up to a moment. `logs`: the folder with their `.sent` files."""
    total = Account()
    for camera in cameras:
        total.add(camera_account(session / camera, logs / f"{camera}.sent", camera, until_ns=until_ns))
    return total


def camera_account(folder: Path, log: Path, camera: str, *, until_ns: int | None = None) -> Account:
    """Of one camera (or estimator): its files in a folder against its log, up to a moment."""
    account = Account()
    on_disk, gaps = _read(folder, account, camera)
    named, spans = _spread(gaps)
    surely: Counter[int] = Counter()
    perhaps: Counter[int] = Counter()
    seen: set[Key] = set()
    entries = read_sent(log)
    in_hand = _in_hand(entries)
    for entry in entries if until_ns is None else entries[entries["monotonic_ns"] <= until_ns]:
        key = int(entry["stream"]), int(entry["epoch"]), int(entry["number"])
        at_ns = int(entry["monotonic_ns"])
        delivered = entry["kind"] == DELIVERED
        seen.add(key)
        account.sent += 1
        if key in on_disk:
            if not delivered or (entry["crc"] and on_disk[key] != entry["crc"]):
                account.wrong.append(f"{camera}: {key} differs from what was sent")
            account.written += 1
            continue
        missing = Missing(camera, key, at_ns, key[1:] in in_hand)
        if delivered:
            account.lost.append(missing)
        if key in named:
            _count(account, named[key], delivered)
        elif within := _spans_of(spans, key[0], at_ns):
            if missing.in_hand:
                perhaps.update(within)
            else:
                surely[within[0]] += 1
            _count(account, spans[within[0]]["reason"], delivered)
        else:
            account.unaccounted.append(missing)
    _count_deleted(folder, account, camera, on_disk)
    account.wrong += [f"{camera}: {key} was never sent" for key in on_disk.keys() - seen]
    account.untrue += [
        f"{camera}: {key} is called missing ({named[key]}) and was written"
        for key in named.keys() & on_disk.keys()
    ]
    account.untrue += [f"{camera}: {told}" for told in _untold(spans, surely, perhaps)]
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


def _in_hand(entries: npt.NDArray[np.void]) -> set[tuple[int, int]]:
    """(epoch, number) of what each process sent last: whatever came before, it had handed on."""
    last = {int(entry["process"]): entry for entry in entries}
    return {(int(entry["epoch"]), int(entry["number"])) for entry in last.values()}


def _untold(spans: list[dict[str, Any]], surely: Counter[int], perhaps: Counter[int]) -> Iterator[str]:
    """Gap records that give a count, and another one than is missing: by stream and reason, since the times
    of two that follow each other may overlap."""
    exact: dict[tuple[int, str], list[int]] = {}
    for index, span in enumerate(spans):
        if not span["estimated"]:
            exact.setdefault((span["stream"], span["reason"]), []).append(index)
    for (stream, reason), those in exact.items():
        told, sure = sum(spans[index]["count"] for index in those), sum(surely[index] for index in those)
        if not 0 <= told - sure <= sum(perhaps[index] for index in those):
            yield f"gaps ({reason}) of stream {stream} tell of {told} frames, {sure} are missing"


def killed_meshes(folder: Path) -> list[tuple[int, int]]:
    """When the meshes were taken that went with each killed writer, as the files tell it: after a moment, and
    up to another, in the order of time."""
    _, gaps = _read(folder, Account(), "")
    killed = [gap for gap in gaps if gap["stream"] == MESH_STREAM and gap["reason"] == KILLED]
    return sorted(((gap["start_ns"], gap["end_ns"]) for gap in killed), key=lambda span: span[1])


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
    for path in names.list_meshes(folder):
        for key, crc in _meshes(path):
            if key in found:
                account.wrong.append(f"{camera}: mesh {key} is on disk twice")
            found[key] = crc
    return found, list(gaps.values())


def _frames(file: RecordFile) -> Iterator[tuple[Key, int]]:
    for index in file.of_kind(FRAME):
        record = file.read(int(index))
        header = record.header
        pixels = record.payload
        if header.codec < CODEC_JPEG:
            pixels = codec_by_id(header.codec).decode(record.payload).tobytes()
        yield (header.stream, header.epoch, header.number), zlib.crc32(pixels)


def _meshes(path: Path) -> Iterator[tuple[Key, int]]:
    try:
        with MeshReader(path) as reader:
            for frame in reader:
                points = np.concatenate([frame["vertices"], frame["joints"]], axis=1)
                yield (MESH_STREAM, *mesh_name(points)), zlib.crc32(points.astype(np.float32).tobytes())
    except FormatError:  # killed before its head was whole
        return


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


def _spans_of(spans: list[dict[str, Any]], stream: int, at_ns: int) -> list[int]:
    return [
        index
        for index, span in enumerate(spans)
        if span["stream"] == stream and span["start_ns"] <= at_ns <= span["end_ns"]
    ]
