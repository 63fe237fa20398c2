"""A disk that is behind: nothing more is given to it, and the time is known."""

from __future__ import annotations

import pytest

from capture.backlog import DiskBacklog


def test_a_disk_that_keeps_up_is_never_waited_for() -> None:
    backlog = DiskBacklog(100)
    assert not any(backlog.is_behind(99, now_s) for now_s in range(10))
    assert backlog.take_waited_s(10.0) == 0.0


def test_what_is_not_on_the_disk_is_bounded_and_the_wait_is_counted_once() -> None:
    backlog = DiskBacklog(100)
    assert backlog.is_behind(100, 1.0)
    assert backlog.is_behind(500, 1.5)
    assert backlog.take_waited_s(2.0) == pytest.approx(1.0)
    assert backlog.is_behind(100, 2.5)
    assert not backlog.is_behind(50, 2.75)
    assert backlog.take_waited_s(9.0) == pytest.approx(0.75)
    assert backlog.take_waited_s(10.0) == 0.0
