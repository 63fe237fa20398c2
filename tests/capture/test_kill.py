"""kill -9 of a recording: what had reached the ring a quarter of a second before is on disk, and right.

The witness reads the rings' shared memory from outside the killed group, as any observer can, and keeps
the checksum of every frame with the moment it saw it published.
"""

from __future__ import annotations

import os
import random
import threading
import time
import zlib
from pathlib import Path

import pytest

from capture.ring import FRAME, FrameRing, RingSpec
from codec.depth import codec_by_id
from codec.records import RecordFile
from tests.capture.rigs import children_of, small_rig, start_recording

_CONTROL_AND_TABLE_BYTES = 4096 + 4096 * 64
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
            if path.readlink().name.startswith("memfd:nightrig-ring") and path.stat().st_ino not in known:
                known.add(path.stat().st_ino)
                fd = os.open(path, os.O_RDWR)
                arena_bytes = os.fstat(fd).st_size - _CONTROL_AND_TABLE_BYTES
                self._rings.append(FrameRing(RingSpec(fd, -1, -1, (), arena_bytes, 4096)))

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
    for attempt in range(20):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        more = _kill_at(folder, moments.uniform(0.3, 1.2))
        promised, lost = promised + more[0], lost + more[1]
    assert promised > 500
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
