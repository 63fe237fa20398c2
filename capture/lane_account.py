"""The account of one lane: what is told, in gap records and counters, of frames that are not on disk.

Owns what the writer process knows of a camera's streams: since when each is silent, what gap records call
missing, what an earlier writer process had told. What a killed camera or writer process could no longer
account for is settled from the counters. Appends no frame.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from capture.counters import CounterPage
from capture.inheritance import CameraOnDisk, GapName, StreamOnDisk, gap_name
from capture.ledger import DISK_FULL, ENCODE_FAILED, KILLED, LOST_AT_CAMERA, OUTAGE, RING_FULL, STOPPED, Gap
from capture.people import MeshSeries
from capture.segments import CameraFiles
from codec.errors import StorageError

QUIET_S = 1.0
"""An outage shorter than this (and than five frames) at the end of a recording is only the stop itself."""

_QUIET_FRAMES = 5


@dataclass(slots=True)
class LaneStream:
    """What is remembered of a stream. told: frames that gap records call missing, by reason."""

    pixel_format: str
    fps: float
    last_ns: int
    first_of_epoch: bool = False
    told: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class CameraCounts:
    """What a camera process has counted of one stream: frames captured, refused by a full ring, never
    given by the device."""

    captured: int
    refused: int
    lost: int


@dataclass(slots=True)
class LaneAccount:
    """Of the lane `index`. live: a camera, whose silence is an outage; an estimator may have nothing to say.

    files and meshes are the lane's, once they are made; epoch and streams are of the frames appended now.
    """

    index: int
    name: str
    counters: CounterPage
    report: Callable[..., None]
    live: bool
    files: CameraFiles | None = None
    meshes: MeshSeries | None = None
    epoch: int = -1
    streams: dict[int, LaneStream] = field(default_factory=dict)
    meshes_before_ns: int = 0  # what a mesh file of an earlier writer process got
    _began_ns: int = 0
    _reopened: bool = False
    _gaps_on_disk: set[GapName] = field(default_factory=set)

    # ---- what the camera is, and what an earlier writer process left ----

    def begin(self, camera: dict[str, Any], epoch: int, since_ns: int, *, is_late: bool) -> None:
        """The camera was opened (again). is_late: the recording had begun without it, then."""
        self._began_ns = self._began_ns or since_ns
        self._reopened |= 0 <= self.epoch < epoch
        if epoch > self.epoch or not self.live:
            self._learn_streams(camera, epoch, since_ns, was_away=is_late or self.epoch >= 0)

    def _learn_streams(
        self, camera: dict[str, Any], epoch: int, since_ns: int, *, was_away: bool = False
    ) -> None:
        for index, info in enumerate(camera["streams"]):
            known = self.streams.get(index)
            self.streams[index] = LaneStream(
                info["pixel_format"],
                info["fps"],
                last_ns=known.last_ns if known else since_ns,
                first_of_epoch=self.live and was_away,
                told=known.told if known else Counter(),
            )
        self.epoch = epoch

    def inherit(self, camera: dict[str, Any], left: CameraOnDisk) -> None:
        """Take over from a writer process that died."""
        self._learn_streams(camera, left.epoch, left.since_ns)
        self._began_ns, self._reopened = left.since_ns, left.is_cut or left.epoch > left.first_epoch
        self._gaps_on_disk = left.gaps
        for index, stream in self.streams.items():
            self._inherit(index, stream, left.streams.get(index, StreamOnDisk()), left.first_epoch)
        self._settle_meshes(left.meshes_deleted)

    def _inherit(self, index: int, stream: LaneStream, had: StreamOnDisk, first_epoch: int) -> None:
        stream.told = had.told
        stream.last_ns = max(stream.last_ns, had.last_ns)
        last_epoch = had.last_epoch if had.last_epoch >= 0 else first_epoch
        away = self.live and last_epoch < self.epoch
        stream.first_of_epoch = away and self.epoch not in had.outages
        dropped = sum(had.told[reason] for reason in (DISK_FULL, ENCODE_FAILED, KILLED, STOPPED))
        amounts = {"written": had.frames, "raw": had.raw_bytes, "file": had.file_bytes}
        for what, amount in {**amounts, "dropped": dropped, "outage": had.told[OUTAGE]}.items():
            name = f"{what}{self.index}.{index}"
            self.counters[name] = max(self.counters[name], amount)

    def _settle_meshes(self, deleted: int) -> None:
        """Meshes reach the disk once a second: what the last writer process had in hand went with it.

        Told first and counted then, since this process may be killed in between as well.
        """
        index = next((i for i, s in self.streams.items() if s.pixel_format == "mesh"), None)
        if index is None or self.meshes is None:
            return
        self.meshes_before_ns = self.counters[f"mesh_ns{self.index}"]
        told, counted = self.streams[index].told[KILLED], self.counters[f"killed{self.index}"]
        self._count_killed(index, max(0, told - counted))
        on_disk, newest_ns = self.meshes.on_disk()
        lost = self.counters[f"written{self.index}.{index}"] - on_disk - deleted
        if lost > 0:
            since_ns = newest_ns or self.streams[index].last_ns
            gap = Gap(KILLED, None, None, lost, since_ns, max(since_ns, self.meshes_before_ns))
            self.drop(index, self.epoch, gap)
            self._count_killed(index, lost)
            self.report("error", camera=self.name, message=f"{lost} meshes went with the killed writer")

    def _count_killed(self, index: int, meshes: int) -> None:
        self.counters.add(f"written{self.index}.{index}", -meshes)
        self.counters.add(f"killed{self.index}", meshes)

    # ---- telling ----

    def is_told(self, stream: int, epoch: int, gap: dict[str, Any]) -> bool:
        """Whether a writer process that died wrote this gap, which it had not released from the ring."""
        return bool(self._gaps_on_disk) and gap_name(stream, epoch, gap) in self._gaps_on_disk

    def released(self) -> None:
        """An entry has left the ring: the first, and one at most was both on disk and in the ring."""
        self._gaps_on_disk.clear()

    def tell(self, stream: int, epoch: int, gap: dict[str, Any]) -> None:
        """Write a gap record. Raises StorageError."""
        if self.files is not None:
            self.files.gap(stream, epoch, gap)
        if stream in self.streams:
            self.streams[stream].told[gap["reason"]] += gap["count"]

    def drop(self, stream: int, epoch: int, gap: Gap) -> None:
        """Write down if the disk lets us, and count: a successor finds uncounted what is written down."""
        with contextlib.suppress(StorageError):
            self.tell(stream, epoch, gap.as_dict())
        self.counters.add(f"dropped{self.index}.{stream}", gap.count)

    def count_lost_meshes(self) -> None:
        """Meshes that were taken and not yet written when the disk refused."""
        lost = self.meshes.take_lost() if self.meshes is not None else 0
        index = next((i for i, s in self.streams.items() if s.pixel_format == "mesh"), None)
        if lost and index is not None:
            now_ns = time.monotonic_ns()
            self.drop(index, self.epoch, Gap(DISK_FULL, None, None, lost, now_ns, now_ns))
            self.counters.add(f"written{self.index}.{index}", -lost)

    def outage(self, index: int, stream: LaneStream, until_ns: int) -> None:
        """The stream was silent from its last frame until then. Raises StorageError."""
        silent_s = (until_ns - stream.last_ns) / 1e9
        count = max(0, round(silent_s * stream.fps) - 1)
        gap = Gap(OUTAGE, None, None, count, stream.last_ns, until_ns, estimated=True)
        self.tell(index, self.epoch, gap.as_dict())
        self.counters.add(f"outage{self.index}.{index}", count)
        self.counters.add("outages")

    def outages_until(self, end_ns: int) -> None:
        """A stream that was silent when the recording ended: write down since when."""
        if not self.live:
            return
        for index, stream in self.streams.items():
            quiet_s = max(QUIET_S, _QUIET_FRAMES / stream.fps if stream.fps > 0 else 0.0)
            if (end_ns - stream.last_ns) / 1e9 > quiet_s:
                self.outage(index, stream, end_ns)
                stream.last_ns = end_ns

    def settle(self, counts: Mapping[int, CameraCounts], now_ns: int) -> None:
        """Account for what a camera process took with it when it was killed: frames between its hands and
        the ring, and gaps that it had counted and not yet told. Nothing is queued any more.

        Which of the processes that a camera has had took them, nobody knows.
        """
        for index, stream in self.streams.items():
            count = counts[index]
            since_ns = self._began_ns if self._reopened else stream.last_ns
            for reason, counted in ((RING_FULL, count.refused), (LOST_AT_CAMERA, count.lost)):
                if counted > stream.told[reason]:
                    untold = counted - stream.told[reason]
                    gap = Gap(reason, None, None, untold, since_ns, now_ns)
                    with contextlib.suppress(StorageError):
                        self.tell(index, self.epoch, gap.as_dict())
            passed_on = sum(self.counters[f"{what}{self.index}.{index}"] for what in ("written", "dropped"))
            vanished = count.captured - count.refused - passed_on
            if vanished > 0:
                self.drop(index, self.epoch, Gap(STOPPED, None, None, vanished, since_ns, now_ns))
