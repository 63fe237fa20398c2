"""A lane's account: outages, killed processes, frames that no codec takes, and an end before everything is
written. Real rings and files; the other processes are played by the test."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture import ring as kinds
from capture.counters import CounterPage
from capture.deletion import OldestFirst
from capture.frames import CameraInfo, StreamInfo
from capture.lane import Lane, LaneSettings
from capture.lane_account import CameraCounts
from capture.ledger import LOST_AT_CAMERA, RING_FULL, Gap
from capture.people import MeshSeries
from capture.ring import FrameRing
from capture.segments import CameraFiles, SegmentLimits
from capture.writer import COUNTERS
from codec.durable import SyncThread
from codec.errors import StorageError
from codec.records import RecordFile
from codec.records.layout import FRAME

_SECOND_NS = 1_000_000_000
_INFO = CameraInfo("cam", "scripted", "", (StreamInfo("depth", "z16", 8, 6, 10.0),))


class Bench:
    """A ring, counters, and the lane of one writer process after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "cam"
        self.ring = FrameRing.create(1 << 20)
        self.counters = CounterPage(COUNTERS)
        self.told: list[str] = []
        self._pools: list[ThreadPoolExecutor] = []
        self._files: list[CameraFiles] = []
        self._sync = SyncThread(10.0, lambda *_: None)
        self.start_ns = time.monotonic_ns()
        self.lane = self.new_writer()

    def new_writer(self) -> Lane:
        """The lane of a writer process that takes over: what the one before had in its hands is gone."""
        self._pools += [ThreadPoolExecutor(1), ThreadPoolExecutor(1)]
        self.lane = Lane(
            index=0,
            name="cam",
            ring=FrameRing(self.ring.spec),
            open_files=self._open_files,
            pool=self._pools[-2],
            counters=self.counters,
            settings=LaneSettings(jpeg_quality=90, near_bound_subpixels=2.5, live=True, in_flight=6),
            on_done=lambda: None,
            report=lambda kind, **fields: self.told.append(fields["message"]),
        )
        self.lane.resume(sorted(self.folder.glob("*.nrig")))
        return self.lane

    def kill_writer(self) -> None:
        """Nothing holds its files any more."""
        for files in self._files:
            if files._writer is not None:
                files._writer.close()

    def _open_files(self, camera: dict[str, Any]) -> tuple[CameraFiles, MeshSeries | None]:
        limits = SegmentLimits(1e6, 1 << 30)
        files = CameraFiles(
            self.folder, "cam", limits=limits, sync=self._sync, sealer=self._pools[-1], counters=dict
        )
        self._files.append(files)
        return files, MeshSeries(self.folder, metadata={}, codec="bodycompress", preset=0)

    def open_camera(self, epoch: int, at_s: float, info: CameraInfo = _INFO) -> None:
        self._push(json.dumps(asdict(info)).encode(), at_s, kind=kinds.INFO, epoch=epoch)

    def frame(self, number: int, at_s: float, *, epoch: int = 1, data: Any = None, meta: bytes = b"") -> None:
        pixels = np.full((6, 8), number, np.uint16) if data is None else data
        self._push(pixels, at_s, epoch=epoch, number=number, meta=meta)

    def gap(self, gap: Gap, *, epoch: int = 1) -> None:
        self._push(json.dumps(gap.as_dict()).encode(), 0.0, kind=kinds.GAP, epoch=epoch)

    def _push(self, data: Any, at_s: float, **entry: Any) -> None:
        assert self.ring.push(data, monotonic_ns=self.ns(at_s), **entry)

    def ns(self, at_s: float) -> int:
        return self.start_ns + round(at_s * _SECOND_NS)

    def drain(self) -> None:
        until_s = time.monotonic() + 10
        while not self.lane.idle:
            assert time.monotonic() < until_s
            self.lane.take()
            self.lane.append_ready()

    def count(self, what: str) -> int:
        return self.counters[f"{what}0.0"]

    def numbers(self) -> list[tuple[int, int]]:
        found = []
        for path in sorted(self.folder.glob("*.nrig")):
            with RecordFile(path) as file:
                frames = file.entries[file.of_kind(FRAME)]
                found += list(zip(frames["epoch"].tolist(), frames["number"].tolist(), strict=True))
        return found

    def gaps(self) -> list[tuple[str, int | None, int | None, int]]:
        found = []
        for path in sorted(self.folder.glob("*.nrig")):
            with RecordFile(path) as file:
                found += [(g["reason"], g["first"], g["last"], g["count"]) for _, _, g in file.gaps()]
        return found

    def close(self) -> None:
        for pool in self._pools:
            pool.shutdown()
        self._sync.close()
        self.ring.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_outage_is_reckoned_from_the_first_frame_after_it_even_in_a_backlog(bench: Bench) -> None:
    bench.open_camera(1, 0.0)
    bench.frame(1, 0.1)
    bench.frame(2, 0.2)
    bench.open_camera(2, 3.0)  # taken from the ring together with the frames before it
    bench.frame(7, 3.2, epoch=2)
    bench.drain()
    assert bench.gaps() == [("outage", None, None, 29)]
    assert bench.counters["outages"] == 1
    assert bench.count("outage") == 29


def test_outage_does_not_count_again_what_a_full_ring_had_refused_before_it(bench: Bench) -> None:
    bench.open_camera(1, 0.0)
    bench.frame(1, 0.1)
    bench.open_camera(2, 3.0)
    bench.gap(Gap(RING_FULL, 2, 11, 10, bench.ns(0.2), bench.ns(1.1)))
    bench.frame(7, 3.2, epoch=2)
    bench.drain()
    assert bench.gaps() == [("ring-full", 2, 11, 10), ("outage", None, None, 20)]


def test_new_writer_counts_what_the_killed_one_had_written_and_not_counted(bench: Bench) -> None:
    bench.open_camera(1, 0.0)
    for number in range(5):
        bench.frame(number, number / 10)
    bench.drain()
    wanted = {what: bench.count(what) for what in ("written", "raw", "file")}
    assert wanted["written"] == 5
    for what in wanted:
        bench.counters[f"{what}0.0"] -= 1
    bench.new_writer()
    assert {what: bench.count(what) for what in wanted} == wanted


def test_new_writer_knows_of_an_outage_that_the_killed_one_had_not_written_down(bench: Bench) -> None:
    bench.open_camera(1, 0.0)
    bench.frame(1, 0.1)
    bench.open_camera(2, 3.0)
    bench.drain()
    bench.new_writer()
    bench.frame(1, 3.1, epoch=2)
    bench.drain()
    assert bench.gaps() == [("outage", None, None, 29)]
    assert bench.count("outage") == 29


def test_camera_that_opens_while_there_is_no_writer_is_an_outage_since_its_last_frame(bench: Bench) -> None:
    bench.open_camera(1, 0.0)
    bench.frame(1, 0.1)
    bench.drain()
    bench.new_writer()
    bench.open_camera(2, 3.0)
    bench.frame(1, 3.1, epoch=2)
    bench.drain()
    assert bench.gaps() == [("outage", None, None, 29)]


def test_writer_killed_while_it_wrote_what_the_camera_is_makes_no_outage(bench: Bench) -> None:
    bench.open_camera(1, 0.0)
    bench.drain()
    bench.new_writer()
    bench.open_camera(1, 0.0)  # not released by the one that was killed
    bench.frame(1, 0.1)
    bench.drain()
    assert bench.gaps() == []
    assert bench.counters["outages"] == 0


@pytest.mark.parametrize("data", [np.zeros((6, 8), np.uint8), np.zeros((2, 2, 2), np.uint16)])
def test_frame_that_no_codec_takes_is_dropped_and_the_others_are_written(bench: Bench, data: Any) -> None:
    bench.open_camera(1, 0.0)
    bench.frame(1, 0.1)
    bench.frame(2, 0.2, data=data)
    bench.frame(3, 0.3)
    bench.drain()
    assert bench.numbers() == [(1, 1), (1, 3)]
    assert bench.gaps() == [("encode-failed", 2, 2, 1)]
    assert (bench.count("written"), bench.count("dropped")) == (2, 1)
    assert len(bench.told) == 1
    assert "frame 2" in bench.told[0]


def test_thousand_bad_frames_are_four_lines(bench: Bench) -> None:
    bench.open_camera(1, 0.0)
    for number in range(1000):
        bench.frame(number, 0.1, data=np.zeros((2, 2), np.uint8))
    bench.drain()
    assert len(bench.told) == 4
    assert "(1000 frames so far)" in bench.told[-1]


@pytest.mark.parametrize("meta", [b"", b"{}", b'{"vertices": 9}', b'{"vertices": "all"}', b"[]"])
def test_estimator_that_says_nonsense_of_its_mesh_does_not_end_the_writer(bench: Bench, meta: bytes) -> None:
    bench.open_camera(1, 0.0, CameraInfo("cam", "estimator", "", (StreamInfo("mesh", "mesh", 4, 1, 10.0),)))
    bench.frame(1, 0.1, data=np.zeros((1, 4, 3), np.float32), meta=meta)
    bench.drain()
    assert bench.count("dropped") == 1
    assert "vertices" in bench.told[0]


def test_end_before_the_camera_was_known_counts_every_queued_frame(bench: Bench) -> None:
    bench.open_camera(1, 0.0)
    for number in (1, 2, 3):
        bench.frame(number, number / 10)
    bench.gap(Gap(RING_FULL, 4, 6, 3, bench.ns(0.4), bench.ns(0.6)))
    bench.frame(7, 0.7)
    bench.lane.abandon(disk_full=False)
    assert bench.count("dropped") == 4
    assert sorted(bench.gaps()) == [("ring-full", 4, 6, 3), ("stopped", 1, 3, 3), ("stopped", 7, 7, 1)]


def test_end_counts_no_frame_as_dropped_that_a_killed_writer_had_written(bench: Bench) -> None:
    bench.open_camera(1, 0.0)
    bench.frame(1, 0.1)
    bench.drain()
    bench.new_writer()
    bench.frame(1, 0.1)  # not released by the one that was killed
    bench.lane.abandon(disk_full=False)
    assert (bench.count("written"), bench.count("dropped")) == (1, 0)


def test_what_a_killed_camera_process_took_with_it_is_settled_at_the_end(bench: Bench) -> None:
    bench.open_camera(1, 0.0)
    bench.frame(1, 0.1)
    bench.gap(Gap(LOST_AT_CAMERA, 2, 3, 2, bench.ns(0.1), bench.ns(0.4)))
    bench.drain()
    counts = {0: CameraCounts(captured=6, refused=4, lost=5)}
    bench.lane.account.settle(counts, bench.ns(1.0))
    told = [("camera", 2, 3, 2), ("ring-full", None, None, 4), ("camera", None, None, 3)]
    assert bench.gaps() == [*told, ("stopped", None, None, 1)]
    assert bench.count("dropped") == 1
    bench.lane.account.settle(counts, bench.ns(1.0))
    assert len(bench.gaps()) == 4  # it is settled once


def test_gap_that_a_killed_writer_wrote_and_did_not_release_is_not_written_again(bench: Bench) -> None:
    gap = Gap(RING_FULL, 2, 11, 10, bench.ns(0.2), bench.ns(1.1))
    bench.open_camera(1, 0.0)
    bench.frame(1, 0.1)
    bench.gap(gap)
    bench.drain()
    bench.new_writer()
    bench.gap(gap)
    bench.frame(12, 1.2)
    bench.gap(Gap(RING_FULL, 13, 13, 1, bench.ns(1.3), bench.ns(1.3)))
    bench.drain()
    assert bench.gaps() == [("ring-full", 2, 11, 10), ("ring-full", 13, 13, 1)]


def test_bad_frame_that_a_killed_writer_told_and_did_not_release_is_one_bad_frame(bench: Bench) -> None:
    bad = np.zeros((2, 2), np.uint8)
    bench.open_camera(1, 0.0)
    bench.frame(1, 0.1, data=bad)
    bench.drain()
    bench.new_writer()
    bench.frame(1, 0.1, data=bad)
    bench.frame(2, 0.2, data=bad)
    bench.drain()
    assert bench.gaps() == [("encode-failed", 1, 1, 1), ("encode-failed", 2, 2, 1)]
    assert bench.count("dropped") == 2


def test_writer_after_a_killed_one_knows_what_was_in_segments_that_were_deleted(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "session.json").write_text("{}")
    (tmp_path / "events.jsonl").touch()
    bench.open_camera(1, -9.0)
    bench.frame(1, -8.9)
    bench.gap(Gap(RING_FULL, 2, 11, 10, bench.ns(-8.8), bench.ns(-7.9)))
    bench.frame(12, -7.8)
    bench.drain()
    bench.new_writer()  # begins a segment of its own
    bench.frame(13, -7.7)
    bench.drain()
    bench.counters["written0.0"] -= 1  # killed before it counted the last one
    bench.kill_writer()
    (deletion,) = OldestFirst(tmp_path).delete(1)
    assert deletion.fields["path"] == "cam/000.nrig"
    bench.new_writer()
    bench.lane.account.settle({0: CameraCounts(captured=14, refused=10, lost=0)}, bench.ns(1.0))
    assert bench.count("written") == 3
    assert bench.gaps() == [("stopped", None, None, 1)]  # nothing of what the first segment had told
    with RecordFile(max(bench.folder.glob("*.nrig"))) as file:
        assert file.gaps()[0][2]["start_ns"] == bench.ns(-8.9)  # it may be as old as what was deleted


def test_meshes_in_deleted_files_did_not_go_with_the_killed_writer(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "session.json").write_text("{}")
    (tmp_path / "events.jsonl").touch()
    info = CameraInfo("cam", "estimator", "", (StreamInfo("mesh", "mesh", 4, 1, 10.0),))
    bench.open_camera(1, 0.0, info)
    for number in (1, 2):
        bench.frame(number, number / 10, data=np.zeros((1, 4, 3), np.float32), meta=b'{"vertices": 4}')
        bench.drain()
        bench.lane.finish(bench.ns(number / 10))  # each mesh in a file of its own
        bench.new_writer()
    assert [d.fields["path"] for d in OldestFirst(tmp_path).delete(1 << 30) if "meshes" in d.fields] == [
        "cam/mesh-000.xz"
    ]
    bench.new_writer()
    assert bench.count("written") == 2
    assert bench.gaps() == []
    assert bench.told == []


@pytest.mark.parametrize("writers", [1, 2])
def test_what_one_of_several_processes_of_a_camera_took_with_it_may_be_as_old_as_the_first(
    bench: Bench, writers: int
) -> None:
    bench.open_camera(1, 0.0)
    bench.frame(1, 0.1)
    bench.drain()
    bench.open_camera(2, 0.8)
    bench.frame(1, 0.9, epoch=2)
    bench.drain()
    if writers == 2:
        bench.new_writer()
    bench.lane.account.settle({0: CameraCounts(captured=3, refused=0, lost=0)}, bench.ns(1.0))
    with RecordFile(max(bench.folder.glob("*.nrig"))) as file:
        gaps = [gap for _, _, gap in file.gaps() if gap["reason"] == "stopped"]
    assert [gap["count"] for gap in gaps] == [1]
    assert gaps[0]["start_ns"] < bench.ns(0.1) or writers == 2
    assert gaps[0]["start_ns"] < bench.ns(0.8)
    assert gaps[0]["end_ns"] == bench.ns(1.0)


def test_refusal_of_the_disk_leaves_a_bad_frame_uncounted_until_its_gap_is_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.open_camera(1, 0.0)
    bench.drain()
    right: Callable[..., None] = CameraFiles.gap

    def refuse(*_: Any) -> None:
        raise StorageError("no room")

    bench.frame(1, 0.1, data=np.zeros((2, 2), np.uint8))
    monkeypatch.setattr(CameraFiles, "gap", refuse)
    with pytest.raises(StorageError):
        bench.drain()
    assert bench.count("dropped") == 0
    monkeypatch.setattr(CameraFiles, "gap", right)
    bench.drain()
    assert bench.count("dropped") == 1
    assert bench.gaps() == [("encode-failed", 1, 1, 1)]
