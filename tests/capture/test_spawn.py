"""Child processes: what they are given, what they tell, and how they end."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from capture import spawn
from capture.spawn import Child, Link

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def start() -> Iterator[Callable[..., Child]]:
    """Starts children that do not outlive the test."""
    children: list[Child] = []

    def start(entry: str, job: Any = None, fds: tuple[int, ...] = ()) -> Child:
        children.append(Child(entry, f"tests.capture.spawn_entries:{entry}", job, fds))
        return children[-1]

    yield start
    for child in children:
        if child.exit_code() is None:
            child.kill()
        child.close()


def collect(child: Child, count: int, timeout_s: float = 20.0) -> list[dict[str, Any]]:
    """The next `count` events."""
    found: list[dict[str, Any]] = []
    until_s = time.monotonic() + timeout_s
    while len(found) < count:
        assert time.monotonic() < until_s, f"only {len(found)} events came"
        select.select([child.event_fd], [], [], 0.1)
        found += child.events()
    return found


def _open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_child_is_given_its_job_and_answers_commands_in_order(start: Callable[..., Child]) -> None:
    job = {"frames": [1, 2, 3], "name": "front", "none": None}
    child = start("echo", job)
    assert collect(child, 1) == [{"event": "job", "job": job}]
    assert child.exit_code() is None
    for word in ("go", "twice", "stop"):
        child.send(word)
    assert [event["word"] for event in collect(child, 3)] == ["go", "twice", "stop"]
    assert child.wait(10)
    assert child.exit_code() == 3
    assert child.events() == []


def test_entry_that_returns_nothing_ends_well(start: Callable[..., Child]) -> None:
    child = start("nothing")
    assert child.wait(10)
    assert child.exit_code() == 0


def test_waiting_for_a_child_that_runs_on_comes_back(start: Callable[..., Child]) -> None:
    child = start("echo")
    assert not child.wait(0.01)
    child.kill()
    assert child.exit_code() == -signal.SIGKILL
    child.send("go")  # nobody is there any more; no error
    assert child.events() in ([], [{"event": "job", "job": None}])


def test_known_error_is_one_event_and_no_traceback(
    start: Callable[..., Child], capfd: pytest.CaptureFixture[str]
) -> None:
    child = start("fail_as_planned")
    assert child.wait(10)
    assert child.exit_code() == 1
    expected = {"event": "error", "message": "there is no room left on /night", "type": "DiskFullError"}
    assert child.events() == [expected]
    assert capfd.readouterr().err == ""


def test_mistake_of_ours_is_a_traceback_and_no_event(
    start: Callable[..., Child], capfd: pytest.CaptureFixture[str]
) -> None:
    child = start("fail_by_mistake")
    assert child.wait(10)
    assert child.exit_code() == 1
    assert child.events() == []
    assert "RuntimeError: a mistake of ours" in capfd.readouterr().err


def test_child_ignores_ctrl_c_from_its_first_moment_on(start: Callable[..., Child]) -> None:
    for pause_s in (0.0, 0.0, 0.005, 0.02, 0.05):
        child = start("echo")
        time.sleep(pause_s)
        for _ in range(3):
            os.kill(child.pid, signal.SIGINT)
        collect(child, 1)
        os.kill(child.pid, signal.SIGINT)
        child.send("stop")
        assert collect(child, 1) == [{"event": "command", "word": "stop"}]
        assert child.wait(10)
        assert child.exit_code() == 1  # one command


def test_starting_a_child_leaves_the_parents_own_ctrl_c_alone(start: Callable[..., Child]) -> None:
    before = signal.getsignal(signal.SIGINT), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    start("nothing").wait(10)
    assert (signal.getsignal(signal.SIGINT), signal.pthread_sigmask(signal.SIG_BLOCK, ())) == before


def test_child_inherits_named_descriptors_and_no_others(
    start: Callable[..., Child], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    named = os.open(tmp_path / "named", os.O_CREAT | os.O_RDWR)
    other = os.open(tmp_path / "other", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(other, True)
    child = start("look_around", fds=(named,))
    (seen,) = collect(child, 1)
    assert child.wait(10)
    os.close(named)
    os.close(other)
    links = {int(fd): link for fd, link in seen["fds"].items()}
    assert links[named] == str(tmp_path / "named")
    assert str(tmp_path / "other") not in links.values()
    assert not any("memfd:nightrig-job" in link for link in links.values())
    assert seen["stdin"] == ""
    assert seen["ignores_ctrl_c"]
    assert seen["blocked"] == []
    assert seen["blas_threads"] == "1"
    assert capfd.readouterr() == ("", "said on stdout\n")


def test_child_begins_afresh_and_not_in_the_parents_main_module(start: Callable[..., Child]) -> None:
    (seen,) = collect(start("look_around"), 1)
    assert seen["main"].endswith("capture/_child.py")
    heavy = {"pytest", "pydantic", "cv2", "numpy", "capture.service", "capture.cli"}
    assert heavy.isdisjoint(seen["loaded"])


def test_child_sees_that_its_parent_was_killed(tmp_path: Path) -> None:
    """Also where it has more to say than a pipe holds: nobody listens, and it goes on."""
    file = tmp_path / "word"
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.capture.spawn_entries", str(file)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    _wait_for(tmp_path / "word.started")
    parent.kill()
    parent.wait()
    _wait_for(file)
    assert file.read_text() == "orphaned"


def _wait_for(path: Path) -> None:
    until_s = time.monotonic() + 20
    while not (path.exists() and (path.suffix or path.read_text())):
        assert time.monotonic() < until_s
        time.sleep(0.01)


def test_closing_the_pipes_is_also_an_orphaning(start: Callable[..., Child]) -> None:
    child = Child("echo", "tests.capture.spawn_entries:echo", None, ())
    collect(child, 1)
    child.close()
    assert child.wait(10)
    assert child.exit_code() == 1


@pytest.mark.parametrize("threads", [1, 4])
def test_events_larger_than_a_pipe_arrive_whole(start: Callable[..., Child], threads: int) -> None:
    sizes = [10, 4090, 4096, 5000, 65_536, 300_000, 1]
    child = start("talk", {"sizes": sizes, "threads": threads})
    events = collect(child, threads * len(sizes))
    for thread in range(threads):
        own = [event for event in events if event["thread"] == thread]
        assert [event["at"] for event in own] == list(range(len(sizes)))
        assert [event["text"] for event in own] == [chr(97 + thread) * size for size in sizes]
    assert child.wait(10)


def test_no_descriptor_is_left_open_however_a_child_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _open_descriptors()
    child = Child("nothing", "tests.capture.spawn_entries:nothing", None, ())
    assert child.wait(10)
    child.close()
    with pytest.raises(Exception, match=r"pickle|local object"):
        Child("unsendable", "tests.capture.spawn_entries:nothing", lambda: None, ())
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(FileNotFoundError):
        Child("unstartable", "tests.capture.spawn_entries:nothing", None, ())
    assert _open_descriptors() == before


# ---- one end alone ----


class Pipes:
    """A link whose other ends are in our hands."""

    def __init__(self) -> None:
        control_read, self.control = os.pipe()
        self.events, event_write = os.pipe()
        os.set_blocking(self.events, False)
        self.link = Link(control_read, event_write)
        self._fds = [control_read, self.control, self.events, event_write]

    def read(self) -> bytes:
        found = b""
        while True:
            try:
                data = os.read(self.events, 1 << 20)
            except BlockingIOError:
                return found
            found += data

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)


@pytest.fixture
def pipes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipes]:
    monkeypatch.setattr(spawn, "_EVENT_WAIT_S", 0.01)
    pipes = Pipes()
    yield pipes
    pipes.close()


def test_command_that_arrives_in_pieces_is_one_command(pipes: Pipes) -> None:
    assert pipes.link.commands() == []
    os.write(pipes.control, b"st")
    assert pipes.link.commands() == []
    os.write(pipes.control, b"op\ngo\nno")
    assert pipes.link.commands() == ["stop", "go"]
    os.write(pipes.control, b"w\n")
    assert pipes.link.commands() == ["now"]


def test_event_that_nobody_reads_is_dropped_and_those_after_it_arrive_whole(pipes: Pipes) -> None:
    texts = ["a" * 40_000, "b" * 40_000, "c" * 40_000, "d"]
    for text in texts:
        pipes.link.event("text", text=text)  # the pipe holds 65,536 bytes
    received = pipes.read()
    pipes.link.event("text", text="after")
    received += pipes.read()
    lines = received.split(b"\n")
    assert lines.pop() == b""
    found = [json.loads(line)["text"] for line in lines]
    assert found == [texts[0], texts[1], "after"]


def test_events_of_many_threads_never_mix_even_while_the_pipe_is_full(
    pipes: Pipes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawn, "_EVENT_WAIT_S", 10.0)
    senders = [
        threading.Thread(target=pipes.link.event, args=("text",), kwargs={"text": chr(97 + i) * 50_000})
        for i in range(8)
    ]
    for sender in senders:
        sender.start()
    received = b""
    while received.count(b"\n") < 8:
        select.select([pipes.events], [], [], 10.0)
        received += pipes.read()
    for sender in senders:
        sender.join()
    texts = sorted(json.loads(line)["text"] for line in received.splitlines())
    assert texts == [chr(97 + i) * 50_000 for i in range(8)]


def test_event_without_a_reader_at_all_is_no_error() -> None:
    control_read, control_write = os.pipe()
    event_read, event_write = os.pipe()
    link = Link(control_read, event_write)
    os.close(event_read)
    link.event("text", text="x" * 100_000)
    link.event("text")
    os.close(control_write)
    assert link.commands() == ["orphaned"]
    assert link.commands() == ["orphaned"]
    os.close(control_read)
    os.close(event_write)
