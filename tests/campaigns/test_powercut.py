"""The powercut campaign in its short form, and the disk it stands on."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.campaigns._campaign import CANNOT_RUN
from scripts.campaigns._disk_log import FLUSH, SECTOR_BYTES, WRITE, DiskLog, Entry, Replay, torn
from scripts.campaigns.powercut import judge

ROOT = Path(__file__).resolve().parents[2]
CAMPAIGN = ROOT / "scripts" / "campaigns" / "powercut.py"
HOLDER = """
import sys, time
from pathlib import Path
from scripts.campaigns._campaign import CannotRunError
from scripts.campaigns._mounted_disk import MountedDisk, make_image, private_mounts
folder = Path(sys.argv[1])
try:
    private_mounts()
except CannotRunError as error:
    sys.exit(str(error))
make_image(folder / "image", 32 << 20)
with MountedDisk(folder / "image", folder / "place", log=folder / "log") as disk:
    (disk.folder / "file").write_text("here")
    print("mounted", flush=True)
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    print(next(Path(what).name for what, where, *_ in mounts if where == str(disk.folder)), flush=True)
    time.sleep(600)
"""


@pytest.mark.timeout(240)
def test_a_recording_cut_short_in_both_ways_loses_nothing_it_should_not(tmp_path: Path) -> None:
    size = ["--recordings", "1", "--seconds", "2", "--snapshots", "2", "--torn", "2"]
    command = [sys.executable, str(CAMPAIGN), *size, "--json", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == CANNOT_RUN:
        pytest.skip(done.stderr.strip())
    table = json.loads(done.stdout)
    assert table["troubles"] == [], done.stderr
    assert table["tried"] == "1 of 1 cases"
    # How long things take is for the campaign itself, on a machine that has nothing else to do.
    promises = [promise for promise in table["promises"] if not promise["limit"].endswith(" s")]
    assert len(promises) == 6
    assert [promise for promise in promises if not promise["held"]] == []


def is_free_again(device: str) -> bool:
    """A loop device lets go of its file a moment after it was unmounted."""
    deadline_s = time.monotonic() + 20
    while Path(f"/sys/block/{device}/loop/backing_file").exists():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.05)
    return True


def test_a_killed_campaign_leaves_nothing_mounted_and_no_loop_device(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stderr is not None
        if holder.stdout.readline() != b"mounted\n":
            pytest.skip(holder.stderr.read().decode().strip())
        assert str(tmp_path) not in Path("/proc/mounts").read_text()
        device = holder.stdout.readline().decode().strip()
        assert Path(f"/sys/block/{device}/loop/backing_file").exists()
        holder.send_signal(signal.SIGKILL)
    assert is_free_again(device)
    assert (tmp_path / "log").stat().st_size > 0


def write_log(path: Path, *entries: Entry) -> DiskLog:
    path.write_bytes(b"".join(entry.pack() for entry in entries) + b"\x01torn")
    return DiskLog(path)


def test_a_log_knows_what_a_flush_has_made_sure_of(tmp_path: Path) -> None:
    log = write_log(
        tmp_path / "log",
        Entry(WRITE, 10, 0, b"a"),
        Entry(FLUSH, 20, 0, b""),
        Entry(WRITE, 30, 1, b"b"),
        Entry(WRITE, 40, 2, b"c"),
    )
    assert len(log) == 4
    assert [log.sure(count) for count in range(5)] == [0, 0, 2, 2, 2]
    assert [log.index_at(at_ns) for at_ns in (9, 10, 35, 99)] == [0, 1, 3, 4]
    assert log[2] == Entry(WRITE, 30, 1, b"b")
    (tmp_path / "image").write_bytes(b"____")
    replay = Replay(tmp_path / "image", log)
    replay.advance(3)
    replay.close()
    assert (tmp_path / "image").read_bytes() == b"ab__"


def test_a_torn_disk_keeps_whole_sectors_of_some_writes_in_any_order() -> None:
    writes = [Entry(WRITE, at, 8192 * at, bytes([at]) * 4096) for at in range(64)]
    kept = torn(writes, random.Random(1))
    assert 10 < len(kept) < 54
    assert kept != sorted(kept, key=lambda entry: entry.offset)
    pieces = [entry for entry in kept if len(entry.data) < 4096]
    assert pieces
    for entry in kept:
        assert len(entry.data) % SECTOR_BYTES == entry.offset % SECTOR_BYTES == 0
        assert set(entry.data) <= {entry.monotonic_ns}
        assert entry.offset // 8192 == entry.monotonic_ns or not entry.data
    assert torn(writes, random.Random(1)) == kept


def test_a_disk_that_cannot_be_mounted_and_a_late_frame_break_their_promises() -> None:
    cut = {"kind": "snapshot", "written": 9, "wrong": 0, "frames_s": 1.5, "meshes_s": 0.0, "events_s": 0.0}
    cuts = [{**cut, "files_broken": 0, "read_badly": 0}, {"kind": "torn"}]
    broken = [promise.what for promise in judge([{"cuts": cuts, "again": 1}]) if not promise.held]
    assert broken == [
        "snapshot: frames lost, age of the oldest",
        "torn: disks that mount and hold the session",
    ]
