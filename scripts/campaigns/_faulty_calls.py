"""A disk that fails on purpose: stands in for `codec.durable.system.calls` (or any module of calls).

    with replaced(FaultyCalls(writev=fails(errno.ENOSPC, at=3))) as disk: ...

Tests and campaigns share it, the latter also inside a child process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from codec.durable import system

Fault = Callable[..., Any]


class FaultyCalls:
    """`faults` maps the name of a call to what happens instead.

    A fault is called with the real function and its arguments; `calls` lists the names in order.
    """

    def __init__(self, real: Any = None, /, **faults: Fault) -> None:
        self._real = system.Calls() if real is None else real
        self.faults = faults
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if not callable(real) or isinstance(real, type):
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            fault = self.faults.get(name)
            return real(*args, **kwargs) if fault is None else fault(real, *args, **kwargs)

        return call


@contextlib.contextmanager
def replaced(disk: FaultyCalls) -> Iterator[FaultyCalls]:
    """Everything that is written in this process goes through `disk` while the block runs."""
    before, system.calls = system.calls, disk  # type: ignore[assignment]
    try:
        yield disk
    finally:
        system.calls = before


def fails(number: int, *, at: int = 0, every: bool = False) -> Fault:
    """The call number `at` (with `every`: and each later one) ends with this errno."""
    count = -1

    def fault(real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == at or (every and count > at):
            raise OSError(number, os.strerror(number))
        return real(*args, **kwargs)

    return fault


def writes_at_most(limits: Sequence[int], then: Fault | None = None) -> Fault:
    """Each writev takes at most the next of `limits` bytes; after the last one, `then` (or all) happens."""
    left = list(limits)

    def fault(real: Callable[..., Any], fd: int, views: Sequence[Any]) -> int:
        if not left:
            return int(then(real, fd, views) if then else real(fd, views))
        data = b"".join(bytes(view) for view in views)
        return os.write(fd, data[: left.pop(0)])

    return fault


class BreaksOnce(FaultyCalls):
    """The `at`-th call (from 1) of one kind goes wrong, and with `times` those that follow it; `fired` says
    whether there was one. how: an errno, or "short" for a write that takes half of what it was given.

    Threads may call at the same time; each call is counted once. What can only follow another failure is
    reached by that: with `first`, some calls of that kind write half and find no room (ENOSPC) until `fired`.
    """

    _REFUSALS_MAX = 12

    def __init__(self, kind: str, how: int | str, at: int, *, times: int = 1, first: str = "") -> None:
        super().__init__()
        self._how, self._at, self._times = how, at, times
        self._lock = threading.Lock()
        self._count = self._refusals = 0
        self.faults[kind] = self._fault
        if first:
            self.faults[first] = self._refused

    @property
    def lasts(self) -> bool:
        """Whether more than one call goes wrong."""
        return self._times > 1

    @property
    def fired(self) -> bool:
        return self._count >= self._at

    def _fault(self, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            self._count += 1
            breaks = self._at <= self._count < self._at + self._times
        if not breaks:
            return real(*args, **kwargs)
        if self._how == "short":
            return real(args[0], _half(args[1]), *args[2:])
        assert isinstance(self._how, int)
        raise OSError(self._how, os.strerror(self._how))

    def _refused(self, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Now and then, so that what comes before and after it succeeds."""
        with self._lock:
            self._refusals += 1
            refuse = not self.fired and self._refusals % 3 == 0 and self._refusals <= 3 * self._REFUSALS_MAX
        if not refuse:
            return real(*args, **kwargs)
        real(args[0], _half(args[1]), *args[2:])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _half(data: Any) -> Any:
    """The first half of what a write was given: one piece, or several."""
    if isinstance(data, list):
        whole = b"".join(bytes(piece) for piece in data)
        return [memoryview(whole[: max(1, len(whole) // 2)])]
    return data[: max(1, len(data) // 2)]
