"""The supervisor's view of a worker: which ends it takes for the end, and which for a death."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from capture.processes import WorkerProcess


class _Journal:
    """What was told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.problems: list[str] = []

    def event(self, kind: str, /, **fields: Any) -> None:
        self.events.append((kind, fields))

    def problem(self, message: str, *, serious: bool = True) -> None:
        self.problems.append(message)

    def say(self, message: str) -> None:
        pass


@pytest.fixture
def worker_of() -> Iterator[Callable[..., WorkerProcess]]:
    """Starts workers of tests.capture.spawn_entries that do not outlive the test."""
    workers: list[WorkerProcess] = []

    def worker_of(entry: str, **settings: Any) -> WorkerProcess:
        where = f"tests.capture.spawn_entries:{entry}"
        workers.append(WorkerProcess("writer", where, None, (), 1_000_000, _Journal(), **settings))
        workers[-1].spawn()
        return workers[-1]

    yield worker_of
    for worker in workers:
        if worker.child is not None:
            worker.child.kill()
            worker.child.close()


def _tend_until(worker: WorkerProcess, condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < deadline_s
        worker.pump()
        worker.tend()
        time.sleep(0.01)


@pytest.mark.parametrize("entry", ["nothing", "say_done"])
def test_writer_that_ends_unasked_has_died_whatever_it_says_of_it(
    worker_of: Callable[..., WorkerProcess], entry: str
) -> None:
    worker = worker_of(entry)
    journal: Any = worker.journal
    _tend_until(worker, lambda: len(journal.events) >= 3)
    assert {kind for kind, _ in journal.events} == {"restart"}
    assert journal.events[0][1] == {"process": "writer", "exit_code": 0}
    assert journal.problems[0] == "the writer process ended (exit code 0) and is started again"
    assert not worker.done


@pytest.mark.parametrize("entry", ["nothing", "say_done"])
def test_end_that_was_asked_for_is_the_end(worker_of: Callable[..., WorkerProcess], entry: str) -> None:
    worker = worker_of(entry)
    worker.send("stop")
    _tend_until(worker, lambda: worker.child is None)
    assert worker.done
    assert worker.journal.problems == []  # type: ignore[attr-defined]


def test_preview_may_leave_when_it_likes(worker_of: Callable[..., WorkerProcess]) -> None:
    worker = worker_of("say_done", may_leave=True)
    _tend_until(worker, lambda: worker.child is None)
    assert worker.done
    assert worker.journal.problems == []  # type: ignore[attr-defined]
