"""What reaches the disk: whole pieces or nothing, never a false success, never somebody else's file."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.durable import (
    AppendFile,
    SyncThread,
    append_line,
    drop_from_memory,
    hold,
    make_directory,
    make_new_directory,
    publish_file,
    remove_file,
    replace_file,
    require_room,
    sync_directory,
    system,
    write_atomically,
)
from codec.errors import DiskFullError, FileBusyError, StorageError
from scripts.campaigns._faulty_calls import FaultyCalls, fails, writes_at_most

PIECES = [bytes([65 + i]) * (10 + 7 * i) for i in range(6)]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FaultyCalls:
    """What codec.durable calls; put faults into `disk.faults`."""
    faulty = FaultyCalls()
    monkeypatch.setattr(system, "calls", faulty)
    return faulty


def _open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


# ---- appending ----


def test_pieces_stand_one_behind_another_and_their_offsets_are_told(tmp_path: Path) -> None:
    file = AppendFile(tmp_path / "a")
    offsets = [file.append(piece[:3], bytearray(piece[3:5]), b"", memoryview(piece)[5:]) for piece in PIECES]
    assert offsets == [sum(map(len, PIECES[:i])) for i in range(len(PIECES))]
    assert file.size == sum(map(len, PIECES))
    assert file.path.read_bytes() == b"".join(PIECES)
    file.close()


def test_more_chunks_than_one_system_call_takes_are_one_piece(tmp_path: Path) -> None:
    file = AppendFile(tmp_path / "a")
    chunks = [bytes([i % 256]) * (i % 3) for i in range(5000)]
    file.append(*chunks)
    assert file.path.read_bytes() == b"".join(chunks)
    file.close()


def test_nothing_to_append_is_no_error(tmp_path: Path) -> None:
    file = AppendFile(tmp_path / "a")
    assert file.append() == file.append(b"", bytearray()) == 0
    assert file.size == 0
    file.close()


def test_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"last night")
    with pytest.raises(StorageError, match="exists already and is never overwritten"):
        AppendFile(path)
    assert path.read_bytes() == b"last night"


def test_dangling_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="exists already"):
        AppendFile(tmp_path / "a")
    assert not (tmp_path / "elsewhere").exists()


def test_missing_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot create .*No such file or directory"):
        AppendFile(tmp_path / "nowhere" / "a")


@pytest.mark.parametrize("limits", [[1] * 200, [5, 1, 30], [17]])
def test_short_writes_are_completed(tmp_path: Path, disk: FaultyCalls, limits: list[int]) -> None:
    disk.faults["writev"] = writes_at_most(limits)
    file = AppendFile(tmp_path / "a")
    for piece in PIECES:
        file.append(piece[:4], piece[4:])
    assert file.path.read_bytes() == b"".join(PIECES)
    file.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG, errno.EROFS])
@pytest.mark.parametrize("at", range(len(PIECES)))
def test_failed_write_leaves_the_whole_pieces_before_it_and_takes_the_next(
    tmp_path: Path, disk: FaultyCalls, number: int, at: int
) -> None:
    disk.faults["writev"] = fails(number, at=at)
    file = AppendFile(tmp_path / "a")
    kept = []
    for index, piece in enumerate(PIECES):
        if index == at:
            with pytest.raises(StorageError, match=f"cannot write to .*{os.strerror(number)}") as caught:
                file.append(piece)
            full = number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            assert isinstance(caught.value, DiskFullError) == full
        else:
            assert file.append(piece) == sum(map(len, kept))
            kept.append(piece)
        assert file.path.read_bytes() == b"".join(kept)
    assert not file.poisoned
    file.close()


@pytest.mark.parametrize("written", [[1], [9, 1], [15], [3, 3, 3]])
def test_write_that_fails_half_way_is_cut_back(tmp_path: Path, disk: FaultyCalls, written: list[int]) -> None:
    file = AppendFile(tmp_path / "a")
    file.append(PIECES[0])
    disk.faults["writev"] = writes_at_most(written, fails(errno.ENOSPC))
    with pytest.raises(DiskFullError):
        file.append(PIECES[1][:5], PIECES[1][5:])
    assert file.path.read_bytes() == PIECES[0]
    assert file.append(PIECES[2]) == len(PIECES[0])
    assert file.path.read_bytes() == PIECES[0] + PIECES[2]
    file.close()


def test_ctrl_c_in_the_middle_of_a_write_leaves_whole_pieces(tmp_path: Path, disk: FaultyCalls) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    file = AppendFile(tmp_path / "a")
    file.append(PIECES[0])
    disk.faults["writev"] = writes_at_most([6], interrupted)
    with pytest.raises(KeyboardInterrupt):
        file.append(PIECES[1])
    disk.faults.clear()
    assert file.append(PIECES[2]) == len(PIECES[0])
    assert file.path.read_bytes() == PIECES[0] + PIECES[2]
    file.close()


def test_file_that_cannot_be_cut_back_takes_nothing_more(tmp_path: Path, disk: FaultyCalls) -> None:
    file = AppendFile(tmp_path / "a")
    file.append(PIECES[0])
    disk.faults["writev"] = writes_at_most([6], fails(errno.EIO))
    disk.faults["ftruncate"] = fails(errno.EIO)
    with pytest.raises(StorageError):
        file.append(PIECES[1])
    assert file.poisoned
    disk.faults.clear()
    for call in (lambda: file.append(PIECES[2]), file.sync, lambda: file.write_at(0, b"x")):
        with pytest.raises(StorageError, match="takes no more data: could not be cut back"):
            call()
    assert file.path.read_bytes().startswith(PIECES[0])
    file.close()


_STEPS = st.lists(
    st.tuples(
        st.lists(st.binary(max_size=40), max_size=4),
        st.lists(st.integers(1, 30), max_size=4),
        st.sampled_from([None, errno.ENOSPC, errno.EIO]),
    ),
    max_size=20,
)


@given(_STEPS)
@settings(max_examples=150, deadline=None)
def test_whatever_fails_the_file_holds_exactly_what_was_accepted(
    steps: list[tuple[list[bytes], list[int], int | None]],
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        disk = FaultyCalls()
        patch.setattr(system, "calls", disk)
        file = AppendFile(Path(folder) / "a")
        accepted = b""
        for chunks, short, number in steps:
            then = None if number is None else fails(number, every=True)
            disk.faults["writev"] = writes_at_most(short, then)
            try:
                offset = file.append(*chunks)
            except StorageError:
                assert number is not None
            else:
                assert offset == len(accepted)
                accepted += b"".join(chunks)
            assert file.size == len(accepted)
            assert file.path.read_bytes() == accepted
        file.close()


_LIMITED = """
import resource, sys
from codec.durable import AppendFile
from codec.errors import DiskFullError
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
file = AppendFile(sys.argv[1])
refused = 0
for _ in range(6):
    try:
        file.append(b"x" * 1000, b"y" * 2000)
    except DiskFullError as error:
        refused += 1
print(refused, file.size, file.poisoned)
"""


def test_limit_of_the_file_size_is_a_full_disk_and_leaves_whole_pieces(tmp_path: Path) -> None:
    """A real short write: the kernel takes 1,000 bytes of the fourth piece, then refuses."""
    path = tmp_path / "a"
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(path)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["3", "9000", "False"]
    assert path.read_bytes() == (b"x" * 1000 + b"y" * 2000) * 3


# ---- overwriting a slot ----


def test_slot_is_rewritten_in_place_and_the_end_stays(tmp_path: Path) -> None:
    file = AppendFile(tmp_path / "a")
    file.append(b"0123456789")
    file.write_at(2, b"ab")
    file.append(b"!")
    assert file.path.read_bytes() == b"01ab456789!"
    file.close()


@pytest.mark.parametrize(("offset", "data"), [(9, b"ab"), (-1, b"a"), (11, b"")])
def test_slot_beyond_the_end_is_refused(tmp_path: Path, offset: int, data: bytes) -> None:
    file = AppendFile(tmp_path / "a")
    file.append(b"0123456789")
    with pytest.raises(ValueError, match="are not all in"):
        file.write_at(offset, data)
    assert file.path.read_bytes() == b"0123456789"
    file.close()


def test_slot_that_the_disk_refuses_is_a_storage_error(tmp_path: Path, disk: FaultyCalls) -> None:
    file = AppendFile(tmp_path / "a")
    file.append(b"0123456789")
    disk.faults["pwrite"] = fails(errno.EIO)
    with pytest.raises(StorageError, match="Input/output error"):
        file.write_at(0, b"ab")
    file.close()


# ---- syncing ----


def test_sync_covers_what_was_appended_and_costs_nothing_when_nothing_was(
    tmp_path: Path, disk: FaultyCalls
) -> None:
    file = AppendFile(tmp_path / "a")
    file.sync()
    assert disk.calls.count("fdatasync") == 0
    file.append(PIECES[0])
    file.sync()
    file.sync()
    assert disk.calls.count("fdatasync") == 1
    assert file.synced_size == file.size == len(PIECES[0])
    file.close()


def test_rewritten_slot_is_synced_although_the_file_has_not_grown(tmp_path: Path, disk: FaultyCalls) -> None:
    file = AppendFile(tmp_path / "a")
    file.append(PIECES[0])
    file.sync()
    file.write_at(0, b"new")
    file.sync()
    assert disk.calls.count("fdatasync") == 2
    file.close()


def test_append_during_a_sync_waits_for_the_next_one(tmp_path: Path, disk: FaultyCalls) -> None:
    file = AppendFile(tmp_path / "a")

    def slow(real: Any, fd: int) -> None:
        disk.faults.clear()
        file.append(PIECES[1])
        real(fd)

    file.append(PIECES[0])
    disk.faults["fdatasync"] = slow
    file.sync()
    assert file.synced_size == len(PIECES[0])
    file.sync()
    assert file.synced_size == file.size
    assert disk.calls.count("fdatasync") == 2
    file.close()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_failed_sync_poisons_and_no_later_call_claims_success(
    tmp_path: Path, disk: FaultyCalls, number: int
) -> None:
    file = AppendFile(tmp_path / "a")
    file.append(PIECES[0])
    file.sync()
    file.append(PIECES[1])
    disk.faults["fdatasync"] = fails(number)  # once: Linux reports a lost page once
    with pytest.raises(StorageError, match="cannot sync"):
        file.sync()
    assert file.poisoned
    assert file.synced_size == len(PIECES[0])
    for call in (file.sync, lambda: file.append(b"x"), lambda: file.write_at(0, b"x")):
        with pytest.raises(StorageError, match="takes no more data: a sync failed"):
            call()
    file.close()


def test_closed_file_says_so_and_closing_twice_is_fine(tmp_path: Path) -> None:
    file = AppendFile(tmp_path / "a")
    file.append(PIECES[0])
    assert not file.closed
    file.close()
    file.close()
    assert file.closed
    file.sync()
    with pytest.raises(StorageError, match="is closed and takes no more data"):
        file.append(b"x")
    assert file.path.read_bytes() == PIECES[0]


def test_file_whose_name_cannot_be_made_to_last_is_taken_away_again(
    tmp_path: Path, disk: FaultyCalls
) -> None:
    before = _open_descriptors()
    disk.faults["fsync"] = fails(errno.EIO)
    with pytest.raises(StorageError, match="cannot sync the folder"):
        AppendFile(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    assert _open_descriptors() == before


# ---- the sync thread ----


class _Failures:
    def __init__(self) -> None:
        self.seen: list[AppendFile] = []
        self.happened = threading.Event()

    def __call__(self, file: AppendFile, error: StorageError) -> None:
        self.seen.append(file)
        self.happened.set()


def _wait_until_synced(file: AppendFile) -> None:
    for _ in range(1000):
        if file.synced_size == file.size:
            return
        threading.Event().wait(0.005)
    raise AssertionError("was not synced")


def test_sync_thread_syncs_what_is_added_until_it_is_removed(tmp_path: Path) -> None:
    failures = _Failures()
    thread = SyncThread(0.005, failures)
    first, second = AppendFile(tmp_path / "1"), AppendFile(tmp_path / "2")
    for file in (first, second):
        file.append(PIECES[0])
        thread.add(file)
    _wait_until_synced(first)
    _wait_until_synced(second)
    thread.remove(first)
    thread.remove(first)
    second.append(PIECES[1])
    _wait_until_synced(second)
    thread.close()
    assert failures.seen == []
    first.close()
    second.close()


def test_sync_thread_tells_of_a_failure_once_and_goes_on_with_the_others(
    tmp_path: Path, disk: FaultyCalls
) -> None:
    bad, good = AppendFile(tmp_path / "bad"), AppendFile(tmp_path / "good")

    def fault(real: Any, fd: int) -> None:
        if fd == bad._fd:
            raise OSError(errno.EIO, "Input/output error")
        real(fd)

    disk.faults["fdatasync"] = fault
    failures = _Failures()
    thread = SyncThread(0.005, failures)
    for file in (bad, good):
        file.append(PIECES[0])
        thread.add(file)
    assert failures.happened.wait(10)
    for piece in PIECES:
        good.append(piece)
        _wait_until_synced(good)
    thread.close()
    assert failures.seen == [bad]
    bad.close()
    good.close()


def test_files_that_are_due_are_synced_at_the_same_moment(tmp_path: Path, disk: FaultyCalls) -> None:
    """So that the file system makes one entry of them in its journal."""
    files = [AppendFile(tmp_path / name) for name in "abcd"]
    all_of_them = threading.Barrier(len(files), timeout=10)

    def waits_for_the_others(real: Any, fd: int) -> None:
        all_of_them.wait()  # breaks, which ends the thread, where they come one after the other
        real(fd)

    disk.faults["fdatasync"] = waits_for_the_others
    thread = SyncThread(3600.0, _Failures(), unsynced_limit_bytes=1)
    for file in files:
        file.append(PIECES[0])
        thread.add(file)
    files[0].append(PIECES[1])  # wakes it
    for file in files:
        _wait_until_synced(file)
    thread.close()
    for file in files:
        file.close()


def test_failures_of_one_round_are_told_one_by_one(tmp_path: Path, disk: FaultyCalls) -> None:
    disk.faults["fdatasync"] = fails(errno.EIO, every=True)
    told: list[tuple[AppendFile, str]] = []
    thread = SyncThread(0.005, lambda file, _: told.append((file, threading.current_thread().name)))
    files = [AppendFile(tmp_path / name) for name in "abc"]
    for file in files:
        file.append(PIECES[0])
        thread.add(file)
    for _ in range(1000):
        if len(told) == len(files):
            break
        threading.Event().wait(0.005)
    thread.close()
    assert sorted(file.path.name for file, _ in told) == ["a", "b", "c"]
    assert {name for _, name in told} == {"sync"}
    assert all(file.poisoned for file in files)
    for file in files:
        file.close()


def test_much_unsynced_is_synced_before_its_time_comes(tmp_path: Path, disk: FaultyCalls) -> None:
    failures = _Failures()
    thread = SyncThread(3600.0, failures, unsynced_limit_bytes=100)
    much, little = AppendFile(tmp_path / "much"), AppendFile(tmp_path / "little")
    for file in (much, little):
        thread.add(file)
    little.append(bytes(99))
    for _ in range(3):
        much.append(bytes(60))
        much.append(bytes(60))
        _wait_until_synced(much)
    thread.remove(much)
    much.append(bytes(200))
    thread.close()
    assert (much.synced_size, much.unsynced_bytes) == (360, 200)
    assert little.synced_size == 0
    assert failures.seen == []
    much.close()
    little.close()


def test_appending_never_waits_for_a_sync(tmp_path: Path, disk: FaultyCalls) -> None:
    begun, end = threading.Event(), threading.Event()

    def slow(real: Any, fd: int) -> None:
        begun.set()
        assert end.wait(10)
        real(fd)

    disk.faults["fdatasync"] = slow
    thread = SyncThread(3600.0, _Failures(), unsynced_limit_bytes=1)
    file = AppendFile(tmp_path / "a")
    thread.add(file)
    file.append(PIECES[0])
    assert begun.wait(10)
    for piece in PIECES:  # while the sync hangs
        file.append(piece)
    thread.remove(file)
    assert file.synced_size == 0
    end.set()
    thread.close()
    file.close()


def test_sync_thread_leaves_a_closed_file_alone(tmp_path: Path) -> None:
    failures = _Failures()
    thread = SyncThread(0.005, failures)
    closed, other = AppendFile(tmp_path / "closed"), AppendFile(tmp_path / "other")
    closed.append(PIECES[0])
    closed.close()
    other.append(PIECES[0])
    thread.add(closed)
    thread.add(other)
    _wait_until_synced(other)
    thread.close()
    assert failures.seen == []
    other.close()


# ---- folders ----


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_file_system_that_knows_no_sync_of_folders_is_no_error(disk: FaultyCalls, number: int) -> None:
    disk.faults["fsync"] = fails(number)
    with tempfile.TemporaryDirectory() as folder:
        sync_directory(folder)


def test_folder_that_cannot_be_synced_is_a_storage_error_and_leaks_nothing(
    tmp_path: Path, disk: FaultyCalls
) -> None:
    before = _open_descriptors()
    disk.faults["fsync"] = fails(errno.EIO)
    with pytest.raises(StorageError, match="cannot sync the folder"):
        sync_directory(tmp_path)
    with pytest.raises(StorageError, match="cannot open the folder"):
        sync_directory(tmp_path / "missing")
    assert _open_descriptors() == before


def test_every_folder_that_is_made_is_synced_in_its_parent(tmp_path: Path, disk: FaultyCalls) -> None:
    synced: list[str] = []

    def note(real: Any, path: Any, flags: int, mode: int) -> int:
        synced.append(str(path))
        return int(real(path, flags, mode))

    disk.faults["open"] = note
    assert make_directory(tmp_path / "a" / "b" / "c") == tmp_path / "a" / "b" / "c"
    assert sorted(synced) == sorted(str(p) for p in (tmp_path, tmp_path / "a", tmp_path / "a" / "b"))
    make_directory(tmp_path / "a" / "b" / "c")


def test_file_in_the_place_of_a_folder_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError, match="cannot create the folder"):
            make_directory(path)


def test_new_folder_whose_name_is_taken_is_left_alone(tmp_path: Path, disk: FaultyCalls) -> None:
    make_new_directory(tmp_path / "a")
    with pytest.raises(FileExistsError):
        make_new_directory(tmp_path / "a")
    disk.faults["fsync"] = fails(errno.EIO)
    with pytest.raises(StorageError, match="cannot sync the folder"):
        make_new_directory(tmp_path / "b")
    disk.faults["mkdir"] = fails(errno.ENOSPC)
    with pytest.raises(DiskFullError, match="cannot create the folder"):
        make_new_directory(tmp_path / "c")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


# ---- all or nothing ----


@pytest.mark.parametrize("call", ["open", "write", "fsync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_replacement_that_fails_leaves_the_old_content_and_no_litter(
    tmp_path: Path, disk: FaultyCalls, call: str, number: int
) -> None:
    path = tmp_path / "session.json"
    path.write_bytes(b"old")
    disk.faults[call] = fails(number)
    with pytest.raises(StorageError, match="cannot write") as caught:
        write_atomically(path, b"new" * 100)
    assert isinstance(caught.value, DiskFullError) == (number == errno.ENOSPC)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_replacement_that_fails_half_way_leaves_the_old_content(tmp_path: Path, disk: FaultyCalls) -> None:
    path = tmp_path / "session.json"
    path.write_bytes(b"old")
    taken = 0

    def fills_up(real: Any, fd: int, view: Any) -> int:
        nonlocal taken
        if taken >= 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken += 10
        return int(real(fd, view[:10]))

    disk.faults["write"] = fills_up
    with pytest.raises(DiskFullError):
        write_atomically(path, b"new" * 100)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_replacement_is_complete_in_spite_of_short_writes(tmp_path: Path, disk: FaultyCalls) -> None:
    disk.faults["write"] = lambda real, fd, view: real(fd, view[:7])
    path = tmp_path / "session.json"
    write_atomically(path, b"0123456789" * 10)
    write_atomically(path, b"new" * 100)
    assert path.read_bytes() == b"new" * 100
    assert list(tmp_path.iterdir()) == [path]


def test_folder_in_the_place_of_the_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "session.json").mkdir()
    with pytest.raises(StorageError, match="cannot write"):
        write_atomically(tmp_path / "session.json", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["session.json"]


def test_a_disk_that_also_refuses_the_clean_up_is_still_a_storage_error(
    tmp_path: Path, disk: FaultyCalls
) -> None:
    disk.faults["unlink"] = fails(errno.EROFS)
    disk.faults["fsync"] = fails(errno.EIO)
    with pytest.raises(StorageError, match=r"cannot write .*Input/output error"):
        write_atomically(tmp_path / "session.json", b"new")


# ---- calls that a signal broke off ----


@pytest.mark.parametrize(
    "call", ["open", "writev", "pwrite", "fdatasync", "fsync", "write", "rename", "mkdir", "statvfs", "flock"]
)
def test_call_that_a_signal_breaks_off_is_made_again(tmp_path: Path, disk: FaultyCalls, call: str) -> None:
    disk.faults[call] = fails(errno.EINTR)
    make_directory(tmp_path / "new")
    file = AppendFile(tmp_path / "new" / "a")
    file.append(b"abc", b"def")
    file.write_at(0, b"A")
    file.sync()
    file.close()
    write_atomically(tmp_path / "new" / "b", b"content")
    require_room(tmp_path, 1)
    assert disk.calls.count(call) >= 2
    assert (tmp_path / "new" / "a").read_bytes() == b"Abcdef"
    assert (tmp_path / "new" / "b").read_bytes() == b"content"


@pytest.mark.parametrize("number", [errno.EIO, errno.EINTR, errno.EDQUOT])
def test_close_that_fails_is_no_error_and_is_not_made_again(
    tmp_path: Path, disk: FaultyCalls, number: int
) -> None:
    file = AppendFile(tmp_path / "a")
    file.append(b"abc")
    file.sync()

    def refuse(real: Any, fd: int) -> None:
        real(fd)
        raise OSError(number, os.strerror(number))

    disk.faults["close"] = refuse
    before = disk.calls.count("close")
    file.close()
    assert disk.calls.count("close") == before + 1


# ---- journals ----


def test_lines_of_several_writers_stand_one_behind_another(tmp_path: Path) -> None:
    path = tmp_path / "events"
    for line in (b"one", b"two\n"):
        append_line(path, line, synced=True)
    assert path.read_bytes() == b"one\ntwo\n"


def test_line_behind_a_torn_one_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(b"one\ntw")
    append_line(path, b"three")
    assert path.read_bytes() == b"one\ntw\nthree\n"


def test_line_for_which_there_is_no_room_is_not_there_at_all(tmp_path: Path, disk: FaultyCalls) -> None:
    path = tmp_path / "events"
    append_line(path, b"one")
    full = fails(errno.ENOSPC, at=1)
    disk.faults["write"] = lambda real, fd, data: full(real, fd, data[:2])
    with pytest.raises(DiskFullError, match="cannot write"):
        append_line(path, b"two")
    assert path.read_bytes() == b"one\n"


def test_line_of_another_that_came_in_between_is_left_alone(tmp_path: Path, disk: FaultyCalls) -> None:
    path = tmp_path / "events"
    append_line(path, b"one")

    def torn(real: Any, fd: int, data: bytes) -> int:
        if "write" in disk.faults:
            del disk.faults["write"]
            taken = int(real(fd, data[:2]))
            append_line(path, b"other")
            disk.faults["write"] = fails(errno.ENOSPC)
            return taken
        return int(real(fd, data))

    disk.faults["write"] = torn
    with pytest.raises(DiskFullError):
        append_line(path, b"two")
    assert path.read_bytes() == b"one\ntw\nother\n"


# ---- one at a time ----


def test_file_being_written_is_held_until_it_is_closed(tmp_path: Path) -> None:
    before = _open_descriptors()
    file = AppendFile(tmp_path / "a")
    with pytest.raises(FileBusyError, match="a is in use"), hold(tmp_path / "a"):
        pass
    file.close()
    with hold(tmp_path / "a"):
        pass
    assert _open_descriptors() == before


_WRITER = """
import sys
from codec.durable import AppendFile
file = AppendFile(sys.argv[1])
print("ready", flush=True)
sys.stdin.read()
"""


def test_file_of_a_killed_writer_is_free_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    command = [sys.executable, "-c", _WRITER, str(path)]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        with pytest.raises(FileBusyError), hold(path):
            pass
        writer.kill()
        writer.wait()
        with hold(path):
            pass


def test_folder_is_held_once_and_let_go_of_whatever_happens(tmp_path: Path) -> None:
    with pytest.raises(FileBusyError), hold(tmp_path), hold(tmp_path):
        pass
    with hold(tmp_path):
        pass


def test_file_that_is_replaced_while_it_is_taken_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, new = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"old")
    new.write_bytes(b"new")
    try_lock = system.try_lock

    def replaced_meanwhile(fd: int) -> bool:
        if new.exists():
            new.replace(path)
        return try_lock(fd)

    monkeypatch.setattr(system, "try_lock", replaced_meanwhile)
    with hold(path), pytest.raises(FileBusyError), hold(path):
        pass


def test_file_system_without_locks_holds_nothing_and_fails_nothing(tmp_path: Path, disk: FaultyCalls) -> None:
    disk.faults["flock"] = fails(errno.ENOLCK, every=True)
    with hold(tmp_path), hold(tmp_path):
        AppendFile(tmp_path / "a").close()


def test_what_is_not_there_cannot_be_held(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot open"), hold(tmp_path / "a"):
        pass


# ---- one file in the place of another ----


def test_replacement_has_the_content_of_the_new_and_the_mode_and_time_of_the_old(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"old")
    new.write_bytes(b"new")
    old.chmod(0o640)
    os.utime(old, ns=(1_000_000_007, 2_000_000_009))
    replace_file(new, old)
    status = old.stat()
    assert (old.read_bytes(), status.st_mode & 0o777, status.st_mtime_ns) == (b"new", 0o640, 2_000_000_009)
    assert list(tmp_path.iterdir()) == [old]


def test_replacement_that_the_disk_refuses_leaves_both(tmp_path: Path, disk: FaultyCalls) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"old")
    with pytest.raises(StorageError, match="cannot replace"):
        replace_file(new, old)
    new.write_bytes(b"new")
    disk.faults["utime"] = fails(errno.EROFS)
    with pytest.raises(StorageError, match="cannot replace"):
        replace_file(new, old)
    assert (old.read_bytes(), new.read_bytes()) == (b"old", b"new")


def test_owner_that_we_may_not_give_is_no_error(tmp_path: Path, disk: FaultyCalls) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"old")
    new.write_bytes(b"new")
    disk.faults["chown"] = fails(errno.EPERM)
    replace_file(new, old)
    assert old.read_bytes() == b"new"


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_file_system_without_links_gives_names_in_another_way(
    tmp_path: Path, disk: FaultyCalls, number: int
) -> None:
    (tmp_path / "new").write_bytes(b"new")
    disk.faults["link"] = fails(number, every=True)
    publish_file(tmp_path / "new", tmp_path / "name")
    assert [path.name for path in tmp_path.iterdir()] == ["name"]
    (tmp_path / "new").write_bytes(b"newer")
    with pytest.raises(StorageError, match="exists already"):
        publish_file(tmp_path / "new", tmp_path / "name")
    assert (tmp_path / "name").read_bytes() == b"new"


def test_room_is_asked_for_before_it_is_needed(tmp_path: Path) -> None:
    require_room(tmp_path, 1)
    with pytest.raises(DiskFullError, match="needed: make room first"):
        require_room(tmp_path, 1 << 60)
    with pytest.raises(StorageError, match="cannot look at the disk"):
        require_room(tmp_path / "missing", 1)


def test_dropping_from_memory_and_removing_never_fail(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"content")
    drop_from_memory(path)
    assert path.read_bytes() == b"content"
    for _ in range(2):
        remove_file(path)
        drop_from_memory(path)
    assert not path.exists()
