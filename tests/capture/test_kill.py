"""kill -9 of a recording: what had reached the ring a quarter of a second before is on disk, and right.

The witness reads the rings' shared memory from outside the killed group, as any observer can, and keeps
the checksum of every frame with the moment it saw it published.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
import zlib
from pathlib import Path

import pytest

from capture.ring import FRAME, FrameRing
from codec.depth import codec_by_id
from codec.errors import NotOurFileError
from codec.records import RecordFile
from tests.capture.rigs import Recording, children_of, small_rig, start_recording

_PROMISE_S = 0.25


class _Witness(threading.Thread):
    """Follows every ring of a process: (camera's ring, stream, epoch, number) -> (seen at, CRC)."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.seen: dict[tuple[int, int, int, int], tuple[float, int]] = {}
        self.stop = threading.Event()
        self._rings = []
        known = set()  # an mmap keeps a duplicate of its descriptor
        for path in sorted(Path(f"/proc/{pid}/fd").iterdir(), key=lambda p: int(p.name)):
            try:
                name, inode = path.readlink().name, path.stat().st_ino
            except FileNotFoundError:  # a descriptor that was open for a moment only
                continue
            if name.startswith("memfd:nightrig-ring") and inode not in known:
                known.add(inode)
                fd = os.open(path, os.O_RDWR)
                self._rings.append(FrameRing.of_memory(fd))
        assert len(self._rings) == 2

    def run(self) -> None:
        position = [0] * len(self._rings)
        while not self.stop.is_set():
            for index, ring in enumerate(self._rings):
                for at in range(position[index], ring.published):
                    entry = ring._entry(at, copy=True)
                    if entry is not None and entry.kind == FRAME:
                        key = (index, entry.stream, entry.epoch, entry.number)
                        self.seen[key] = (time.monotonic(), zlib.crc32(entry.data.tobytes()))
                    position[index] = at + 1
            time.sleep(0.001)
        for ring in self._rings:
            ring.close()


def _on_disk(session: Path, camera: str) -> dict[tuple[int, int, int], int]:
    """(stream, epoch, number) -> CRC of the decoded pixels (of the JPEG for colour)."""
    found = {}
    for path in sorted((session / camera).glob("*.nrig")):
        with RecordFile(path) as file:
            for index in file.of_kind(3):
                record = file.read(int(index))
                header = record.header
                pixels = record.payload
                if header.codec < 16:
                    pixels = codec_by_id(header.codec).decode(record.payload).tobytes()
                key = (header.stream, header.epoch, header.number)
                assert key not in found, "a frame was written twice"
                found[key] = zlib.crc32(pixels)
    return found


def _kill_at(tmp_path: Path, delay_s: float) -> tuple[int, int]:
    """Record, kill the group after `delay_s`; returns (frames promised, frames lost), asserts on content."""
    recording = start_recording(small_rig(tmp_path, fps=60, size=(320, 240)), tmp_path / "out")
    recording.wait_until_started()
    witness = _Witness(recording.process.pid)
    witness.start()
    time.sleep(delay_s)
    killed_s = time.monotonic()
    recording.kill_group()
    recording.process.communicate(timeout=10)
    witness.stop.set()
    witness.join()
    promised = lost = 0
    for index in range(2):
        disk = _on_disk(recording.session, f"cam{index}")
        for (ring, stream, epoch, number), (seen_s, crc) in witness.seen.items():
            key = (stream, epoch, number)
            if ring == index and key in disk:
                assert disk[key] == crc, f"cam{index} {key} came back wrong"
            if ring == index and seen_s < killed_s - _PROMISE_S:
                promised += 1
                lost += key not in disk
    return promised, lost


@pytest.mark.timeout(300)
def test_kill_9_of_the_group_loses_nothing_older_than_250_ms_and_returns_nothing_wrong(
    tmp_path: Path,
) -> None:
    moments = random.Random(8117)
    promised = lost = 0
    for attempt in range(6):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        more = _kill_at(folder, moments.uniform(0.3, 1.2))
        promised, lost = promised + more[0], lost + more[1]
    assert promised > 200
    assert lost == 0


def test_killed_supervisor_leaves_sealed_files_and_no_process(tmp_path: Path) -> None:
    recording = start_recording(small_rig(tmp_path), tmp_path / "out")
    recording.wait_until_started()
    time.sleep(1.0)
    children = children_of(recording.process.pid)
    assert len(children) == 3
    recording.process.kill()
    recording.process.communicate(timeout=10)
    deadline_s = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    for camera in ("cam0", "cam1"):
        with RecordFile(recording.session / camera / "000.nrig") as file:
            assert file.sealed
            assert len(file.frames(0)) >= 25


@pytest.mark.timeout(120)
def test_no_frame_is_unaccounted_for_whichever_processes_are_killed_or_stopped(tmp_path: Path) -> None:
    moments = random.Random(4711)
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        rig = small_rig(folder, fps=90, size=(640, 480), head="[record]\nreserve_mb = 0\nsegment_s = 0.5\n")
        rig.write_text(rig.read_text().replace("queue_mb = 32", "queue_mb = 8"))
        recording = start_recording(rig, folder / "out")
        recording.wait_until_started()
        done = [_trouble(recording, moments) for _ in range(6)]
        recording.interrupt()
        _, account, err = recording.finish(60)
        assert "Traceback" not in err
        for name, stream in account["streams"].items():
            _check_account(recording.session, name, stream, f"after {done}")


def _trouble(recording: Recording, moments: random.Random) -> str:
    """Kill or stop one of the processes, at some moment."""
    time.sleep(moments.uniform(0.0, 0.5))
    name = moments.choice(["writer", "writer", "cam0", "cam1"])
    what = moments.choice(["kill", "kill", "stop"])
    with contextlib.suppress(StopIteration, ProcessLookupError):  # it is just being started again
        pid = recording.child(name)
        os.kill(pid, signal.SIGSTOP if what == "stop" else signal.SIGKILL)
        if what == "stop":
            time.sleep(moments.uniform(0.1, 0.8))
            os.kill(pid, signal.SIGCONT)
    return f"{what} {name}"


def _check_account(session: Path, name: str, told: dict[str, int], why: str) -> None:
    """What the account says of a stream against what its files hold, to the frame."""
    assert told["captured"] == told["written"] + told["dropped"], f"{name} {why}"
    index = 0 if name.endswith("depth") else 1
    present, missing = set(), set()
    gaps: dict[str, dict[str, object]] = {}
    for path in sorted((session / name.split("/")[0]).glob("*.nrig")):
        with contextlib.suppress(NotOurFileError), RecordFile(path) as file:  # killed before its first record
            frames = file.entries[file.frames(index)]
            present |= set(zip(frames["epoch"].tolist(), frames["number"].tolist(), strict=True))
            gaps |= {f"{e} {sorted(g.items())}": {"epoch": e, **g} for s, e, g in file.gaps() if s == index}
    assert len(present) == told["written"], f"{name} {why}"
    lost = sum(int(str(g["count"])) for g in gaps.values() if g["reason"] in ("camera", "outage"))
    assert lost == told["lost_at_camera"], f"{name} {why}"
    assert sum(int(str(g["count"])) for g in gaps.values()) - lost == told["dropped"], f"{name} {why}"
    for gap in gaps.values():
        if gap["first"] is not None:
            numbers = range(int(str(gap["first"])), int(str(gap["last"])) + 1)
            covered = {(gap["epoch"], number) for number in numbers}
            assert not covered & (missing | present), f"{name}: accounted for twice {why}"
            missing |= covered
    for epoch in {epoch for epoch, _ in present}:
        numbers_there = sorted(number for of_epoch, number in present | missing if of_epoch == epoch)
        assert numbers_there == list(range(numbers_there[0], numbers_there[-1] + 1)), f"{name} {why}"
