"""A disk that fails on purpose: stands in for `codec.durable.system.calls` (or any module of calls).

    with replaced(FaultyCalls(writev=fails(errno.ENOSPC, at=3))) as disk: ...

Tests and campaigns share it, the latter also inside a child process.
"""

from __future__ import annotations

import contextlib
import os
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
