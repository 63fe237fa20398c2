"""What the kernel says of its clock, asked without changing anything."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import pytest

from capture import clock


class Kernel:
    """Stands in for libc."""

    def __init__(self, answer: int) -> None:
        self._answer = answer
        self.asked = b""

    def adjtimex(self, timex: ctypes.Array[ctypes.c_char]) -> int:
        self.asked = timex.raw
        return self._answer


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[int], Kernel]:
    def make(answer: int) -> Kernel:
        made = Kernel(answer)
        monkeypatch.setattr(ctypes, "CDLL", lambda name: made)
        monkeypatch.setattr(clock, "_SYNCHRONISED_ONCE", tmp_path / "synchronized")
        return made

    return make


@pytest.mark.parametrize(("answer", "right"), [(0, True), (1, True), (4, True), (5, False), (-1, False)])
def test_kernel_knows_whether_the_clock_is_right(
    kernel: Callable[[int], Kernel], answer: int, right: bool
) -> None:
    asked = kernel(answer)
    assert clock.is_synchronised() is right
    assert not any(asked.asked)  # modes 0: a question
    assert len(asked.asked) >= 208  # struct timex of 64 bits, and larger than any other


def test_clock_that_timesyncd_has_set_is_right_though_nothing_steers_it_now(
    kernel: Callable[[int], Kernel], tmp_path: Path
) -> None:
    kernel(5)
    (tmp_path / "synchronized").touch()
    assert clock.is_synchronised()


def test_system_without_that_call_is_not_taken_for_synchronised(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    monkeypatch.setattr(clock, "_SYNCHRONISED_ONCE", tmp_path / "synchronized")
    assert not clock.is_synchronised()


def test_this_machine_answers() -> None:
    assert clock.is_synchronised() in (True, False)
    assert 0 < clock.steady_s() <= clock.steady_s()
