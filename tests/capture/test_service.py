"""A recording as its user sees it: exit codes, accounts, restarts, Ctrl-C, and what the files then hold."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from capture.spawn import Child
from codec import DepthReader
from codec.depth import StatedLoss, codec_by_id, has_kernels, stated_loss
from codec.records import RecordFile
from tests.capture.rigs import (
    Recording,
    event_kinds,
    events,
    record,
    small_rig,
    start_recording,
    wait_for,
)


def _numbers(session: Path, camera: str, stream: int = 0) -> list[tuple[int, int]]:
    """(epoch, number) of every frame of a stream, in file order over all segments."""
    found = []
    for path in sorted((session / camera).glob("*.nrig")):
        with RecordFile(path) as file:
            frames = file.entries[file.frames(stream)]
            found += list(zip(frames["epoch"].tolist(), frames["number"].tolist(), strict=True))
    return found


def _wait_for_epochs(recording: Recording, epochs: set[int]) -> None:
    wait_for(
        lambda: {epoch for epoch, _ in _numbers(recording.session, "cam1")} == epochs, 60.0, recording.process
    )


def _gaps(session: Path, camera: str) -> list[dict[str, object]]:
    found = []
    for path in sorted((session / camera).glob("*.nrig")):
        with RecordFile(path) as file:
            found += [gap for _, _, gap in file.gaps()]
    return found


def test_every_frame_captured_is_written_and_the_account_says_so(tmp_path: Path) -> None:
    code, account, err = record(small_rig(tmp_path), tmp_path / "out", "--duration", "2")
    assert code == 0, err
    session = Path(account["session"])
    assert set(account["streams"]) == {"cam0/depth", "cam0/color", "cam1/depth", "cam1/color"}
    for name, stream in account["streams"].items():
        assert stream["captured"] == stream["written"] >= 55
        assert stream["dropped"] == stream["lost_at_camera"] == 0
        index = 0 if name.endswith("depth") else 1
        numbers = [number for _, number in _numbers(session, name[:4], index)]
        assert len(numbers) == stream["written"]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    with DepthReader(session / "cam0" / "000.nrig") as reader:
        assert reader.info["depth_scale_m"] == pytest.approx(0.001)
        assert reader[0].data.shape == (120, 160)
    saved = json.loads((session / "session.json").read_text())
    assert saved["exit_code"] == 0
    assert saved["totals"]["streams"]["cam0/depth"]["written"] == account["streams"]["cam0/depth"]["written"]


def test_segments_rotate_by_time_without_losing_a_frame(tmp_path: Path) -> None:
    rig = small_rig(tmp_path, cameras=1, head="[record]\nreserve_mb = 1\nsegment_s = 0.4\n")
    code, account, err = record(rig, tmp_path / "out", "--duration", "2")
    assert code == 0, err
    session = Path(account["session"])
    assert len(list((session / "cam0").glob("*.nrig"))) >= 4
    numbers = [number for _, number in _numbers(session, "cam0")]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert len(numbers) == account["streams"]["cam0/depth"]["written"]


def test_segments_rotate_by_size_and_all_are_sealed(tmp_path: Path) -> None:
    rig = small_rig(tmp_path, cameras=1, head="[record]\nreserve_mb = 1\nsegment_mb = 0.2\n")
    code, account, err = record(rig, tmp_path / "out", "--duration", "2")
    assert code == 0, err
    paths = sorted((Path(account["session"]) / "cam0").glob("*.nrig"))
    assert len(paths) >= 3
    for path in paths:
        with RecordFile(path) as file:
            assert file.sealed
            assert file.streams().keys() == {0, 1}


def _has_segments(session: Path, count: int) -> bool:
    return all(len(list((session / camera).glob("*.nrig"))) == count for camera in ("cam0", "cam1"))


def test_killed_writer_is_replaced_and_no_frame_is_missing_or_twice(tmp_path: Path) -> None:
    recording = start_recording(small_rig(tmp_path), tmp_path / "out", "--duration", "5")
    recording.wait_until_started()
    for kills in range(2):
        time.sleep(0.8)
        wait_for(lambda: _has_segments(recording.session, kills + 1), 30)  # noqa: B023 - called at once
        os.kill(recording.child("writer"), signal.SIGKILL)
    code, account, err = recording.finish()
    assert "is started again" in err
    assert code == 0, err
    for camera in ("cam0", "cam1"):
        numbers = [number for _, number in _numbers(recording.session, camera)]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert len(numbers) == account["streams"][f"{camera}/depth"]["captured"]
        assert len(list((recording.session / camera).glob("*.nrig"))) == 3


def test_killed_camera_process_comes_back_and_the_outage_stands_in_the_file(tmp_path: Path) -> None:
    recording = start_recording(small_rig(tmp_path), tmp_path / "out")
    recording.wait_until_started()
    time.sleep(1.0)
    os.kill(recording.child("cam1"), signal.SIGKILL)
    _wait_for_epochs(recording, {1, 2})
    recording.interrupt()
    code, account, err = recording.finish()
    assert code == 3, err
    assert account["streams"]["cam0/depth"]["lost_at_camera"] == 0
    assert account["streams"]["cam0/depth"]["dropped"] == 0
    assert account["streams"]["cam1/depth"]["lost_at_camera"] > 20
    outages = [gap for gap in _gaps(recording.session, "cam1") if gap["reason"] == "outage"]
    assert len(outages) == 2  # one for each stream
    assert {epoch for epoch, _ in _numbers(recording.session, "cam1")} == {1, 2}
    assert "camera-restart" in event_kinds(tmp_path / "out")


def test_stopped_camera_process_is_taken_for_hanging_killed_and_replaced(tmp_path: Path) -> None:
    recording = start_recording(small_rig(tmp_path), tmp_path / "out")
    recording.wait_until_started()
    time.sleep(0.5)
    os.kill(recording.child("cam1"), signal.SIGSTOP)
    _wait_for_epochs(recording, {1, 2})
    recording.interrupt()
    code, account, err = recording.finish()
    assert code == 3, err
    assert "hangs" in err
    assert {epoch for epoch, _ in _numbers(recording.session, "cam1")} == {1, 2}
    assert account["streams"]["cam0/depth"]["lost_at_camera"] == 0


def test_ctrl_c_once_drains_finishes_the_files_and_exits_clean(tmp_path: Path) -> None:
    recording = start_recording(small_rig(tmp_path), tmp_path / "out")
    recording.wait_until_started()
    time.sleep(1.0)
    recording.interrupt()
    code, account, err = recording.finish(20)
    assert code == 0, err
    assert "Traceback" not in err
    stream = account["streams"]["cam0/depth"]
    assert stream["captured"] == stream["written"]
    with RecordFile(recording.session / "cam0" / "000.nrig") as file:
        assert file.sealed


def test_ctrl_c_twice_ends_at_once_and_what_was_queued_is_accounted_for(tmp_path: Path) -> None:
    recording = start_recording(small_rig(tmp_path), tmp_path / "out")
    recording.wait_until_started()
    time.sleep(1.0)
    writer = recording.child("writer")
    os.kill(writer, signal.SIGSTOP)  # frames pile up in the rings
    time.sleep(0.7)
    recording.interrupt()
    wait_for(lambda: event_kinds(tmp_path / "out").count("camera-done") == 2, 10)
    recording.interrupt()
    time.sleep(0.3)
    os.kill(writer, signal.SIGCONT)
    code, account, err = recording.finish(20)
    assert code == 3, err
    assert "Traceback" not in err
    for name, stream in account["streams"].items():
        assert stream["captured"] == stream["written"] + stream["dropped"], name
    dropped = sum(stream["dropped"] for stream in account["streams"].values())
    gaps = [g for camera in ("cam0", "cam1") for g in _gaps(recording.session, camera)]
    assert dropped > 0
    assert sum(int(str(gap["count"])) for gap in gaps if gap["reason"] == "stopped") == dropped


def test_a_full_ring_drops_and_the_ledger_balances_to_the_frame(tmp_path: Path) -> None:
    rig = small_rig(tmp_path, cameras=2, fps=60, size=(640, 480), head="# small queue")
    rig.write_text(rig.read_text().replace("queue_mb = 32", "queue_mb = 8"))
    recording = start_recording(rig, tmp_path / "out", "--duration", "5")
    recording.wait_until_started()
    time.sleep(0.5)
    writer = recording.child("writer")
    os.kill(writer, signal.SIGSTOP)
    time.sleep(1.5)
    os.kill(writer, signal.SIGCONT)
    code, account, err = recording.finish()
    assert code == 3, err
    for camera in ("cam0", "cam1"):
        gaps = [gap for gap in _gaps(recording.session, camera) if gap["reason"] == "ring-full"]
        streams = [account["streams"][f"{camera}/{kind}"] for kind in ("depth", "color")]
        assert sum(int(str(gap["count"])) for gap in gaps) == sum(s["dropped"] for s in streams) > 0
        for stream in streams:
            assert stream["captured"] == stream["written"] + stream["dropped"]


def test_full_disk_keeps_everything_before_it_and_says_so_once(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=3m tmpfs {disk} 2>/dev/null") != 0:
        pytest.skip("this system does not allow mounting a tmpfs")
    try:
        rig = small_rig(tmp_path, fps=60, size=(320, 240), head="[record]\nreserve_mb = 0\n")
        code, account, err = record(rig, disk, "--duration", "5")
        assert code == 3, err
        assert "Traceback" not in err
        stops = [event for event in events(disk) if event["event"] == "storage"]
        assert len(stops) <= 1
        assert err.count("cannot write to") + err.count("less than the reserve") == 1
        session = Path(account["session"])
        for name, stream in account["streams"].items():
            assert stream["captured"] == stream["written"] + stream["dropped"], name
            assert len(_numbers(session, name[:4], 0 if "depth" in name else 1)) == stream["written"]
    finally:
        os.system(f"umount {disk}")


def test_disk_with_less_than_the_reserve_is_refused_before_anything_starts(tmp_path: Path) -> None:
    rig = small_rig(tmp_path, head="[record]\nreserve_mb = 100000000\n")
    code, _, err = record(rig, tmp_path / "out")
    assert code == 1
    assert "reserve" in err
    assert "Traceback" not in err


def test_unwritable_folder_is_one_clear_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    code, _, err = record(small_rig(tmp_path), blocked / "out")
    assert code == 1
    assert len(err.strip().splitlines()) == 1
    assert str(blocked) in err


def test_typo_in_the_rig_file_names_the_key_and_the_right_one(tmp_path: Path) -> None:
    rig = small_rig(tmp_path)
    rig.write_text(rig.read_text().replace("loop_s", "lop_s", 1))
    code, _, err = record(rig, tmp_path / "out")
    assert code == 2
    assert "'cameras.0.lop_s'" in err
    assert "'loop_s'" in err


def test_absent_camera_at_the_start_is_one_line_and_exit_1(tmp_path: Path) -> None:
    rig = tmp_path / "rig.toml"
    rig.write_text('preview = false\n[[cameras]]\nname = "a"\nsource = "opencv"\ndevice = "/dev/video99"\n')
    code, _, err = record(rig, tmp_path / "out")
    assert code == 1
    assert "/dev/video99" in err
    assert "Traceback" not in err


def test_absent_camera_does_not_keep_the_others_from_recording(tmp_path: Path) -> None:
    rig = small_rig(tmp_path, cameras=1)
    extra = '[[cameras]]\nname = "gone"\nsource = "opencv"\ndevice = "/dev/video99"\n'
    rig.write_text(rig.read_text() + extra)
    code, account, err = record(rig, tmp_path / "out", "--duration", "2")
    assert code == 3, err
    assert account["streams"]["cam0/depth"]["written"] >= 55
    assert any("/dev/video99" in event.get("message", "") for event in events(tmp_path / "out"))


def test_camera_process_imports_neither_the_command_line_nor_pydantic(tmp_path: Path) -> None:
    job = {"module": "capture.camera", "forbidden": ["pydantic", "capture.cli", "capture.config", "cv2"]}
    child = Child("probe", "tests.capture.import_probe:run", job, ())
    assert child.wait(20)
    found = [event for event in child.events() if event["event"] == "imported"]
    child.close()
    assert found == [{"event": "imported", "modules": []}]


def test_file_that_breaks_off_is_recorded_up_to_there_and_exits_3(tmp_path: Path) -> None:
    folder = tmp_path / "depth"
    folder.mkdir()
    for number in range(10):
        cv2.imwrite(str(folder / f"{number:06d}.png"), np.full((48, 64), 500 + number, np.uint16))
    (folder / "000007.png").write_bytes(b"\x89PNG broken")
    rig = tmp_path / "rig.toml"
    rig.write_text(
        "preview = false\nqueue_mb = 16\n[record]\nreserve_mb = 1\n"
        f'[[cameras]]\nname = "old"\nsource = "playback"\npath = "{folder}"\npace = "fast"\n'
    )
    code, account, err = record(rig, tmp_path / "out")
    assert code == 3, err
    assert "000007.png" in err
    assert "Traceback" not in err
    assert account["streams"]["old/depth"]["written"] == 7


def test_closed_terminal_ends_nothing(tmp_path: Path) -> None:
    recording = start_recording(small_rig(tmp_path, cameras=1), tmp_path / "out", "--duration", "3")
    recording.wait_until_started()
    os.killpg(recording.process.pid, signal.SIGHUP)
    code, account, err = recording.finish()
    assert code == 0, err
    assert account["streams"]["cam0/depth"]["written"] >= 85


def test_sigterm_to_every_process_of_the_group_drains_like_ctrl_c(tmp_path: Path) -> None:
    """As `timeout` and systemd send it: writer and cameras have frames in their hands."""
    recording = start_recording(small_rig(tmp_path), tmp_path / "out")
    recording.wait_until_started()
    time.sleep(1.0)
    os.kill(recording.process.pid, signal.SIGTERM)
    os.killpg(recording.process.pid, signal.SIGTERM)
    code, account, err = recording.finish(20)
    assert code == 0, err
    for stream in account["streams"].values():
        assert stream["captured"] == stream["written"] > 0
    for camera in ("cam0", "cam1"):
        with RecordFile(recording.session / camera / "000.nrig") as file:
            assert file.sealed


def test_writer_killed_after_ctrl_c_is_replaced_and_everything_is_written(tmp_path: Path) -> None:
    recording = start_recording(small_rig(tmp_path), tmp_path / "out")
    recording.wait_until_started()
    time.sleep(0.5)
    writer = recording.child("writer")
    os.kill(writer, signal.SIGSTOP)
    time.sleep(0.3)
    recording.interrupt()
    wait_for(lambda: event_kinds(tmp_path / "out").count("camera-done") == 2, 10)
    os.kill(writer, signal.SIGKILL)
    code, account, err = recording.finish(20)
    assert code == 0, err
    for name, stream in account["streams"].items():
        assert stream["captured"] == stream["written"] > 0
        assert len(_numbers(recording.session, name[:4], 0 if "depth" in name else 1)) == stream["written"]


def test_writer_that_is_stuck_for_good_is_given_up_and_the_account_still_balances(tmp_path: Path) -> None:
    recording = start_recording(small_rig(tmp_path, cameras=1), tmp_path / "out")
    recording.wait_until_started()
    os.kill(recording.child("writer"), signal.SIGSTOP)
    time.sleep(0.3)
    recording.interrupt()
    wait_for(lambda: "camera-done" in event_kinds(tmp_path / "out"), 10)
    recording.interrupt()
    code, account, err = recording.finish(20)
    assert code in (1, 3), err
    assert "its files lack only their index" in err
    for stream in account["streams"].values():
        assert stream["captured"] == stream["written"] + stream["dropped"]
        assert stream["dropped"] > 0


def test_whole_group_stopped_and_continued_is_a_loss_but_nobody_is_killed_for_it(tmp_path: Path) -> None:
    recording = start_recording(small_rig(tmp_path, cameras=1), tmp_path / "out", "--duration", "8")
    recording.wait_until_started()
    time.sleep(0.5)
    os.killpg(recording.process.pid, signal.SIGSTOP)
    time.sleep(5.5)
    os.killpg(recording.process.pid, signal.SIGCONT)
    code, _, err = recording.finish()
    assert code == 3, err
    assert "hangs" not in err
    assert "camera-restart" not in event_kinds(tmp_path / "out")


def test_disk_that_has_room_again_takes_what_waited_in_the_queue(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=12m tmpfs {disk} 2>/dev/null") != 0:
        pytest.skip("this system does not allow mounting a tmpfs")
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(11_000_000))
        rig = small_rig(tmp_path, size=(320, 240), head="[record]\nreserve_mb = 0\n")
        recording = start_recording(rig, disk / "out", "--duration", "5")
        recording.wait_until_started()
        wait_for(lambda: "storage" in event_kinds(disk / "out") or "cannot" in _blocked(disk), 10)
        ballast.unlink()
        code, account, err = recording.finish()
        assert "Traceback" not in err
        assert code == 3, err  # the disk had refused; but nothing is missing
        for name, stream in account["streams"].items():
            assert stream["captured"] == stream["written"] > 100, name
            assert stream["dropped"] == 0
    finally:
        os.system(f"umount {disk}")


def _blocked(disk: Path) -> str:
    """The full disk may have no room for the event that says so."""
    used = os.statvfs(disk)
    return "cannot" if used.f_bavail == 0 else ""


def _codecs_on_disk(session: Path) -> set[str]:
    """Of all depth frames."""
    found = set()
    for path in session.glob("cam*/*.nrig"):
        with RecordFile(path) as file:
            found |= {codec_by_id(int(file.entries["codec"][i])).name for i in file.frames(0)}
    return found


def test_codec_that_auto_took_is_written_and_stands_beside_what_was_asked_for(tmp_path: Path) -> None:
    head = '[record]\nreserve_mb = 1\ncodec = "auto"\n'
    code, _, err = record(small_rig(tmp_path, head=head), tmp_path / "out", "--duration", "1")
    assert code == 0, err
    taken = "lattice-rans" if has_kernels() else "lattice-lz4"
    assert f"depth codec {taken}: " in err
    folder = next((tmp_path / "out").iterdir())
    told = json.loads((folder / "session.json").read_text())
    assert told["config"]["record"]["codec"] == "auto"
    assert (told["depth_codec"]["asked"], told["depth_codec"]["codec"]) == ("auto", taken)
    event = next(event for event in events(tmp_path / "out") if event["event"] == "codec")
    assert (event["codec"], event["reason"]) == (taken, told["depth_codec"]["reason"])
    assert event["trials"][0]["ns_per_pixel"] > 0
    assert _codecs_on_disk(folder) == {taken}


@pytest.mark.skipif(not has_kernels(), reason="without the kernel near gives way to a lossless codec")
def test_lossy_depth_is_announced_and_kept_to_the_bound_of_the_rig(tmp_path: Path) -> None:
    head = '[record]\nreserve_mb = 1\ncodec = "near"\nnear_bound_subpixels = 1.5\n'
    code, account, err = record(small_rig(tmp_path, head=head), tmp_path / "out", "--duration", "1")
    assert code == 0, err
    assert "depth is stored LOSSY, as the rig asks: disparity to within 1.5/32 pixel" in err
    assert "trying the depth codecs" not in err
    assert all(stream["dropped"] == 0 for stream in account["streams"].values())
    folder = next((tmp_path / "out").iterdir())
    assert _codecs_on_disk(folder) == {"near"}
    with RecordFile(next(folder.glob("cam0/*.nrig"))) as file:
        loss = stated_loss(file.read(int(file.frames(0)[0])).payload)
    assert loss == StatedLoss(1.5, 80 * 50 * 32)  # half the width, 50 mm, in millimetres


@pytest.fixture
def two_cores() -> Iterator[None]:
    """For what is started meanwhile: a large machine might keep pace with what two cores cannot."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:2])
    yield
    os.sched_setaffinity(0, before)


def test_codec_that_does_not_keep_pace_gives_way_and_nothing_is_dropped(
    two_cores: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTRIG_NO_KERNELS", "1")
    rig = small_rig(
        tmp_path, cameras=4, size=(848, 480), head='[record]\nreserve_mb = 1\ncodec = "lattice-rans"\n'
    )
    code, account, err = record(rig, tmp_path / "out", "--duration", "1")
    assert code == 0, err
    assert "record.codec = 'lattice-rans' gives way to lattice-lz4: lattice-rans is not native here" in err
    assert "; `nightrig doctor` says how to get the native kernels" in err
    assert "trying the depth codecs ..." in err
    assert all(stream["dropped"] == 0 for stream in account["streams"].values())
    folder = next((tmp_path / "out").iterdir())
    told = json.loads((folder / "session.json").read_text())
    assert told["config"]["record"]["codec"] == "lattice-rans"
    assert told["depth_codec"]["gives_way"] is True
    assert any("gives way" in problem for problem in told["problems"])
    assert _codecs_on_disk(folder) == {"lattice-lz4"}


def test_estimator_whose_camera_is_absent_waits_for_it_without_a_traceback(tmp_path: Path) -> None:
    rig = small_rig(
        tmp_path,
        cameras=1,
        tail='[[cameras]]\nname = "gone"\nsource = "opencv"\ndevice = "/dev/video99"\n'
        '[[estimators]]\nname = "bodies"\nkind = "truth"\ncameras = ["gone"]\n',
    )
    code, account, err = record(rig, tmp_path / "out", "--duration", "1")
    assert code == 3, err
    assert "estimator bodies waits for its cameras: gone" in err
    assert "Traceback" not in err
    assert account["streams"]["cam0/depth"]["written"] > 0
