"""Counters that every process can read, and that outlive the one that writes them."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import pytest

from capture.camera import COUNTERS as CAMERA_COUNTERS
from capture.counters import CounterPage
from capture.estimation import COUNTERS as ESTIMATION_COUNTERS
from capture.spawn import Child, Link
from capture.writer import COUNTERS as WRITER_COUNTERS

NAMES = ("frames", "dropped", "heartbeat_ns")


def _open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def count(job: dict[str, Any], link: Link) -> int:
    """Entry of a child: count up, say so, and wait to be killed."""
    page = CounterPage(NAMES, job["fd"])
    for _ in range(job["times"]):
        page.add("frames")
    page["heartbeat_ns"] = 2**64 - 1
    link.event("counted", frames=page["frames"])
    while "stop" not in link.commands():
        os.sched_yield()
    return 0


def test_counters_begin_at_zero_and_keep_what_they_are_given() -> None:
    page = CounterPage(NAMES)
    assert page.as_dict() == dict.fromkeys(NAMES, 0)
    page["frames"] = 2**64 - 1
    page.add("dropped")
    page.add("dropped", 41)
    assert page.as_dict() == {"frames": 2**64 - 1, "dropped": 42, "heartbeat_ns": 0}
    assert page["dropped"] == 42
    page.close()


def test_unknown_name_and_impossible_value_are_errors_at_once() -> None:
    page = CounterPage(NAMES)
    with pytest.raises(KeyError):
        page["frame"]
    with pytest.raises(KeyError):
        page.add("frame")
    for value in (-1, 2**64):
        with pytest.raises(ValueError, match="memoryview"):
            page["frames"] = value
    with pytest.raises(ValueError, match="memoryview"):
        page.add("frames", -1)
    assert page["frames"] == 0
    page.close()


def test_more_names_than_fit_one_page_have_their_own_places() -> None:
    names = [f"n{i}" for i in range(3 * mmap.PAGESIZE // 8)]
    page = CounterPage(names)
    for i, name in enumerate(names):
        page[name] = i
    assert page.as_dict() == {name: i for i, name in enumerate(names)}
    page.close()


def test_both_ends_of_a_page_see_the_same_and_nothing_stays_open() -> None:
    before = _open_descriptors()
    page = CounterPage(NAMES)
    other = CounterPage(NAMES, os.dup(page.fd))
    page.add("frames", 3)
    assert other["frames"] == 3
    other.close()
    page.close()
    assert _open_descriptors() == before


def test_restarted_process_counts_on_where_the_killed_one_stopped() -> None:
    page = CounterPage(NAMES)
    for attempt in (1, 2):
        job = {"fd": page.fd, "times": 5000}
        child = Child("counting", "tests.capture.test_counters:count", job, (page.fd,))
        while not (events := child.events()):
            assert child.exit_code() is None
        assert events == [{"event": "counted", "frames": 5000 * attempt}]
        assert page.as_dict() == {"frames": 5000 * attempt, "dropped": 0, "heartbeat_ns": 2**64 - 1}
        child.kill()
        child.close()
    page.close()


@pytest.mark.parametrize("names", [CAMERA_COUNTERS, WRITER_COUNTERS, ESTIMATION_COUNTERS])
def test_no_two_counters_of_a_process_share_a_name(names: tuple[str, ...]) -> None:
    assert len(set(names)) == len(names)
