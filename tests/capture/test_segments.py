"""The segments of one camera: no hole between them, none touched again, and what a new writer learns."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from capture import segments
from capture.frames import CameraInfo, StreamInfo
from capture.segments import CameraFiles, SegmentLimits, what_is_on_disk
from codec.durable import SyncThread, system
from codec.errors import DiskFullError, StorageError
from codec.records import RecordFile
from codec.records.layout import CLOCK, FILE, FRAME, MAP, STREAM, pack_record
from scripts.campaigns._faulty_calls import FaultyCalls, fails, writes_at_most

DEPTH = StreamInfo("depth", "z16", 4, 2, 30.0)
COLOR = StreamInfo("color", "jpeg", 4, 2, 30.0)
HOUR = SegmentLimits(3600.0, 1 << 30)


def camera(*streams: StreamInfo, model: str = "D435") -> dict[str, Any]:
    """A camera as its INFO entry describes it."""
    return asdict(CameraInfo("front", "simulated", model, streams or (DEPTH, COLOR)))


def frame(number: int, stream: int = 0, epoch: int = 1, size: int = 100) -> tuple[bytes, bytes, bytes]:
    return pack_record(
        FRAME, bytes([number % 256]) * size, stream=stream, epoch=epoch, number=number, codec=16
    )


class Bench:
    """CameraFiles with everything around them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failures: list[StorageError] = []
        self.sync = SyncThread(0.01, lambda _, error: self.failures.append(error))
        self.sealer = ThreadPoolExecutor(1)
        self.counted = {"written": [0, 0]}

    def files(self, limits: SegmentLimits = HOUR, prefix: str = "") -> CameraFiles:
        return CameraFiles(
            self.folder,
            "front",
            limits=limits,
            sync=self.sync,
            sealer=self.sealer,
            counters=lambda: dict(self.counted),
            prefix=prefix,
        )

    def close(self) -> None:
        self.sync.close()
        self.sealer.shutdown()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "front")
    yield bench
    bench.close()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FaultyCalls:
    faulty = FaultyCalls()
    monkeypatch.setattr(system, "calls", faulty)
    return faulty


def numbers(folder: Path, stream: int = 0) -> list[int]:
    """The frames of a stream over all segments, in order."""
    found: list[int] = []
    for path in sorted(folder.glob("*.nrig")):
        with RecordFile(path) as file:
            found += file.entries["number"][file.frames(stream)].tolist()
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def finish(bench: Bench, files: CameraFiles) -> None:
    """Seal the last segment and wait for it."""
    files.rotate()
    bench.sealer.submit(lambda: None).result()


# ---- rotation ----


def test_nothing_is_made_before_there_is_something_to_write(bench: Bench) -> None:
    bench.files().rotate()
    assert not bench.folder.exists()


def test_a_segment_begins_with_what_is_needed_to_read_it_alone(bench: Bench) -> None:
    files = bench.files()
    files.begin(camera(), 3)
    files.append(frame(0, epoch=3))
    finish(bench, files)
    with RecordFile(bench.folder / "000.nrig") as file:
        assert file.sealed
        assert file.entries["kind"].tolist() == [FILE, STREAM, STREAM, MAP, CLOCK, FRAME, CLOCK]
        assert (file.info["camera"], file.info["segment"]) == ("front", 0)
        described = file.stream_records()
        assert [(stream, epoch) for stream, epoch, _ in described] == [(0, 3), (1, 3)]
        assert [info["name"] for _, _, info in described] == ["depth", "color"]
        assert described[0][2]["camera"]["model"] == "D435"
        assert "streams" not in described[0][2]["camera"]


def test_segments_rotate_by_size_without_a_hole_and_each_describes_its_streams(bench: Bench) -> None:
    files = bench.files(SegmentLimits(3600.0, 3000))
    files.begin(camera(), 1)
    for number in range(40):
        written = files.append(frame(number, number % 2))
        assert written == 64 + 100
    finish(bench, files)
    paths = sorted(bench.folder.iterdir())
    assert len(paths) >= 3
    assert files.file_bytes == 40 * 164
    for index, path in enumerate(paths):
        with RecordFile(path) as file:
            assert file.sealed
            assert file.info["segment"] == index
            assert set(file.streams()) == {0, 1}
            assert file.of_kind(FRAME).size > 0
    assert sorted(numbers(bench.folder, 0) + numbers(bench.folder, 1)) == list(range(40))
    assert numbers(bench.folder, 0) == sorted(numbers(bench.folder, 0))


def test_limit_below_one_record_still_writes_one_record_a_segment(bench: Bench) -> None:
    files = bench.files(SegmentLimits(3600.0, 1))
    files.begin(camera(), 1)
    for number in range(4):
        files.append(frame(number))
    finish(bench, files)
    assert numbers(bench.folder) == [0, 1, 2, 3]


def test_segments_rotate_by_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock(monkeypatch)
    files = bench.files(SegmentLimits(60.0, 1 << 30))
    files.begin(camera(), 1)
    for number in range(10):
        files.append(frame(number))
        clock.now_s += 20.0
    finish(bench, files)
    assert names(bench.folder) == ["000.nrig", "001.nrig", "002.nrig", "003.nrig"]
    assert numbers(bench.folder) == list(range(10))


def test_clocks_are_tied_together_at_the_start_every_ten_seconds_and_at_the_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = _Clock(monkeypatch, now_s=3.0)  # three seconds after the machine was switched on
    files = bench.files()
    files.begin(camera(), 1)
    for number in range(25):
        bench.counted["written"] = [number, 0]
        files.append(frame(number))
        clock.now_s += 1.0
    finish(bench, files)
    with RecordFile(bench.folder / "000.nrig") as file:
        counted = [file.read(int(i)).json()["counters"]["written"][0] for i in file.of_kind(CLOCK)]
        assert counted == [0, 10, 20, 24]
        assert int(file.entries["kind"][-1]) == CLOCK


class _Clock:
    """time.monotonic() in our hands; the other clocks go on."""

    def __init__(self, patch: pytest.MonkeyPatch, now_s: float = 1000.0) -> None:
        self.now_s = now_s
        patch.setattr(segments, "time", self)

    def monotonic(self) -> float:
        return self.now_s


def test_series_with_a_prefix_has_its_own_numbers(bench: Bench) -> None:
    bench.folder.mkdir()
    (bench.folder / "005.nrig").touch()
    files = bench.files(prefix="parameters-")
    files.begin(camera(DEPTH), 1)
    finish(bench, files)
    assert names(bench.folder) == ["005.nrig", "parameters-000.nrig"]


def test_earlier_segments_are_never_opened_for_writing_again(bench: Bench) -> None:
    bench.folder.mkdir()
    (bench.folder / "007.nrig").write_bytes(b"last night")
    files = bench.files()
    files.begin(camera(), 1)
    files.append(frame(0))
    finish(bench, files)
    assert names(bench.folder) == ["007.nrig", "008.nrig"]
    assert (bench.folder / "007.nrig").read_bytes() == b"last night"


def test_segment_that_somebody_else_has_made_meanwhile_is_left_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writers on one folder must not be, but if they are, neither removes what the other records."""
    bench.folder.mkdir()
    (bench.folder / "000.nrig").write_bytes(b"the other's")
    monkeypatch.setattr(segments.session, "next_segment_number", lambda *_, **__: 0)
    files = bench.files()
    with pytest.raises(StorageError, match="exists already"):
        files.begin(camera(), 1)
    assert (bench.folder / "000.nrig").read_bytes() == b"the other's"


# ---- a camera that comes back ----


def test_camera_that_comes_back_the_same_goes_on_in_its_segment(bench: Bench) -> None:
    files = bench.files()
    files.begin(camera(), 1)
    files.append(frame(0))
    files.begin(camera(), 2)
    files.append(frame(0, epoch=2))
    finish(bench, files)
    with RecordFile(bench.folder / "000.nrig") as file:
        assert [(s, e) for s, e, _ in file.stream_records()] == [(0, 1), (1, 1), (0, 2), (1, 2)]
        assert file.entries["epoch"][file.of_kind(FRAME)].tolist() == [1, 2]
    assert names(bench.folder) == ["000.nrig"]


def test_camera_that_comes_back_with_other_streams_begins_a_segment(bench: Bench) -> None:
    files = bench.files()
    files.begin(camera(DEPTH, COLOR), 1)
    files.append(frame(0))
    files.begin(camera(COLOR), 2)
    files.append(frame(0, epoch=2))
    finish(bench, files)
    assert names(bench.folder) == ["000.nrig", "001.nrig"]
    with RecordFile(bench.folder / "001.nrig") as file:
        assert {index: info["name"] for index, info in file.streams().items()} == {0: "color"}


def test_begin_leaves_the_description_on_disk_before_it_returns(bench: Bench) -> None:
    files = bench.files()
    files.begin(camera(), 1)
    described, last = what_is_on_disk([bench.folder / "000.nrig"])
    assert described is not None
    assert [stream["name"] for stream in described["streams"]] == ["depth", "color"]
    assert last == {}
    finish(bench, files)


# ---- a disk that refuses ----


@pytest.mark.parametrize("at", range(5))
def test_full_disk_while_a_segment_is_opened_leaves_no_file_and_is_tried_again(
    bench: Bench, disk: FaultyCalls, at: int
) -> None:
    """The file record, two stream records, the map, the clock record: whichever finds no room."""
    disk.faults["writev"] = fails(errno.ENOSPC, at=at)
    files = bench.files()
    with pytest.raises(DiskFullError):
        files.begin(camera(), 1)
    assert names(bench.folder) == ([] if at < 4 else ["000.nrig"])
    files.begin(camera(), 1)
    files.append(frame(0))
    finish(bench, files)
    assert names(bench.folder) == ["000.nrig"]
    with RecordFile(bench.folder / "000.nrig") as file:
        assert file.sealed
        assert set(file.streams()) == {0, 1}
    assert numbers(bench.folder) == [0]


def test_full_disk_during_rotation_loses_nothing_that_was_accepted(bench: Bench, disk: FaultyCalls) -> None:
    files = bench.files(SegmentLimits(3600.0, 1500))
    files.begin(camera(), 1)
    accepted, refused = [], 0
    for number in range(60):
        if number % 7 == 3:
            disk.faults["writev"] = writes_at_most([number % 50], fails(errno.ENOSPC))
        while True:
            try:
                files.append(frame(number))
            except DiskFullError:
                refused += 1
                disk.faults.clear()
                continue
            break
        disk.faults.clear()
        accepted.append(number)
    finish(bench, files)
    assert refused >= 5
    assert numbers(bench.folder) == accepted == list(range(60))
    for path in sorted(bench.folder.iterdir()):
        with RecordFile(path) as file:
            assert file.damage == []
            assert file.of_kind(FRAME).size > 0


def test_poisoned_segment_is_left_as_it_is_and_another_one_begun(bench: Bench, disk: FaultyCalls) -> None:
    files = bench.files()
    files.begin(camera(), 1)
    files.append(frame(0))
    disk.faults["fdatasync"] = fails(errno.EIO)
    until_s = time.monotonic() + 10
    while not files.poisoned and time.monotonic() < until_s:
        time.sleep(0.005)
    assert files.poisoned
    assert len(bench.failures) == 1
    disk.faults.clear()
    files.append(frame(1))
    assert not files.poisoned
    finish(bench, files)
    assert names(bench.folder) == ["000.nrig", "001.nrig"]
    assert numbers(bench.folder) == [0, 1]
    with RecordFile(bench.folder / "000.nrig") as first, RecordFile(bench.folder / "001.nrig") as second:
        assert not first.sealed
        assert second.sealed
        assert set(second.streams()) == {0, 1}


def test_segment_that_could_not_be_cut_back_is_left_and_the_record_goes_into_the_next(
    bench: Bench, disk: FaultyCalls
) -> None:
    files = bench.files()
    files.begin(camera(), 1)
    files.append(frame(0))
    disk.faults["writev"] = writes_at_most([30], fails(errno.EIO))
    disk.faults["ftruncate"] = fails(errno.EIO)
    with pytest.raises(StorageError):
        files.append(frame(1))
    disk.faults.clear()
    files.append(frame(1))
    finish(bench, files)
    assert numbers(bench.folder) == [0, 1]
    with RecordFile(bench.folder / "000.nrig") as file:
        assert [damage.kind for damage in file.damage] == ["torn tail"]


def test_segment_that_cannot_be_sealed_keeps_every_record(bench: Bench, disk: FaultyCalls) -> None:
    files = bench.files()
    files.begin(camera(), 1)
    files.append(frame(0))
    disk.faults["writev"] = fails(errno.ENOSPC, every=True)
    finish(bench, files)
    disk.faults.clear()
    assert numbers(bench.folder) == [0]
    with RecordFile(bench.folder / "000.nrig") as file:
        assert not file.sealed
        assert file.damage == []


def test_sync_that_fails_while_a_segment_is_sealed_is_told_once(bench: Bench, disk: FaultyCalls) -> None:
    files = bench.files()
    files.begin(camera(), 1)
    files.append(frame(0))
    disk.faults["fdatasync"] = fails(errno.EIO, every=True)
    finish(bench, files)
    disk.faults.clear()
    assert len(bench.failures) == 1
    assert numbers(bench.folder) == [0]


def test_sync_under_way_that_fails_while_its_segment_is_sealed_is_told_once(
    bench: Bench, disk: FaultyCalls
) -> None:
    """The last sync waits for the one under way, and so both of them know of its failure."""
    begun, is_sealed = threading.Event(), threading.Event()

    def fails_late(real: Any, fd: int) -> None:
        begun.set()
        assert is_sealed.wait(10)
        raise OSError(errno.EIO, "Input/output error")

    def notes_the_end(real: Any, fd: int, views: Any) -> int:
        written = int(real(fd, views))
        if begun.is_set() and disk.calls.count("writev") >= before + 3:  # clock, index, end
            is_sealed.set()
        return written

    files = bench.files()
    files.begin(camera(), 1)
    disk.faults.update(fdatasync=fails_late, writev=notes_the_end)
    files.append(frame(0))
    assert begun.wait(10)
    before = disk.calls.count("writev")
    finish(bench, files)
    bench.sync.close()
    assert is_sealed.is_set()
    assert len(bench.failures) == 1
    disk.faults.clear()
    assert numbers(bench.folder) == [0]


def test_segment_without_room_for_its_index_is_synced_all_the_same(bench: Bench, disk: FaultyCalls) -> None:
    files = bench.files()
    files.begin(camera(), 1)
    files.append(frame(0))
    disk.faults["writev"] = fails(errno.ENOSPC, every=True)
    before = disk.calls.count("fdatasync")
    finish(bench, files)
    assert disk.calls.count("fdatasync") > before
    assert bench.failures == []


def test_gap_records_go_where_the_frames_go(bench: Bench) -> None:
    files = bench.files()
    files.begin(camera(), 1)
    gap = {
        "reason": "camera",
        "first": 1,
        "last": 3,
        "count": 3,
        "start_ns": 1,
        "end_ns": 2,
        "estimated": False,
    }
    files.gap(1, 1, gap)
    finish(bench, files)
    with RecordFile(bench.folder / "000.nrig") as file:
        assert file.gaps() == [(1, 1, gap)]


# ---- what a new writer learns ----


def written(bench: Bench, *epochs: int, streams: tuple[StreamInfo, ...] = (DEPTH, COLOR)) -> list[Path]:
    """One segment for each epoch, frames 0 to 4 of each stream in it; sealed."""
    for epoch in epochs:
        files = bench.files()
        files.begin(camera(*streams), epoch)
        for number in range(5):
            for stream in range(len(streams)):
                files.append(frame(number, stream, epoch))
        finish(bench, files)
    return sorted(bench.folder.iterdir())


def cut_after(path: Path, kind: int, count: int) -> None:
    """What a kill leaves: the file ends behind the `count`-th record of a kind."""
    with RecordFile(path) as file:
        entry = file.entries[file.of_kind(kind)[count - 1]]
    path.write_bytes(path.read_bytes()[: int(entry["offset"]) + int(entry["length"])])


def test_nothing_on_disk_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "000.nrig").touch()
    (tmp_path / "001.nrig").write_bytes(b"not ours")
    assert what_is_on_disk([]) == (None, {})
    assert what_is_on_disk([tmp_path / "missing.nrig"]) == (None, {})
    assert what_is_on_disk(sorted(tmp_path.iterdir())) == (None, {})


def test_new_writer_learns_the_camera_and_the_last_frame_of_each_stream(bench: Bench) -> None:
    found, last = what_is_on_disk(written(bench, 1, 2))
    assert found == camera() | {"streams": [asdict(DEPTH), asdict(COLOR)]}
    assert last == {0: (2, 4), 1: (2, 4)}


def test_only_the_newest_segment_with_frames_counts(bench: Bench) -> None:
    paths = written(bench, 1, 2)
    cut_after(paths[1], FRAME, 3)
    _, last = what_is_on_disk(paths)
    assert last == {0: (2, 1), 1: (2, 0)}
    cut_after(paths[1], CLOCK, 1)  # no frame in it yet
    _, last = what_is_on_disk(paths)
    assert last == {0: (1, 4), 1: (1, 4)}


@pytest.mark.parametrize("count", [0, 1])
def test_segment_whose_writer_was_killed_while_it_described_the_camera_hides_no_stream(
    bench: Bench, count: int
) -> None:
    paths = written(bench, 1, 1)
    cut_after(paths[1], STREAM, count) if count else cut_after(paths[1], FILE, 1)
    found, last = what_is_on_disk(paths)
    assert found is not None
    assert [stream["name"] for stream in found["streams"]] == ["depth", "color"]
    assert last == {0: (1, 4), 1: (1, 4)}


def test_camera_of_the_newest_epoch_is_the_one(bench: Bench) -> None:
    written(bench, 1)
    paths = written(bench, 2, streams=(COLOR,))
    found, last = what_is_on_disk(paths)
    assert found is not None
    assert [stream["name"] for stream in found["streams"]] == ["color"]
    assert last == {0: (2, 4)}


def test_damaged_newest_segment_does_not_hide_the_others(bench: Bench) -> None:
    paths = written(bench, 1, 1)
    paths[1].write_bytes(bytes(paths[1].stat().st_size))
    found, last = what_is_on_disk(paths)
    assert found is not None
    assert last == {0: (1, 4), 1: (1, 4)}


def test_new_writer_goes_on_in_a_segment_of_its_own_with_the_same_description(bench: Bench) -> None:
    paths = written(bench, 7)
    found, last = what_is_on_disk(paths)
    assert found is not None
    files = bench.files()
    files.describe_as(found, max(epoch for epoch, _ in last.values()))
    files.append(frame(5, epoch=7))
    finish(bench, files)
    assert names(bench.folder) == ["000.nrig", "001.nrig"]
    with RecordFile(paths[0]) as first, RecordFile(bench.folder / "001.nrig") as second:
        assert second.stream_records() == first.stream_records()


def test_what_is_not_on_the_disk_counts_until_it_is_there_also_of_a_segment_that_was_left(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path / "front")
    bench.sync.close()
    files = bench.files()
    files.begin(camera(), 1)
    before = files.unsynced_bytes
    written = files.append(frame(1, size=1000))
    assert files.unsynced_bytes == before + written
    hold = threading.Event()
    bench.sealer.submit(hold.wait)
    files.rotate()
    assert files.unsynced_bytes >= before + written
    hold.set()
    bench.sealer.shutdown()
    assert files.unsynced_bytes == 0
