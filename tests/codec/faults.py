"""A disk that fails on purpose: the os module with some of its calls going wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any


class FaultyOs:
    """Stands in for a module's `os`. `faults` maps the name of a call to what happens instead.

    A fault is called with the real function and its arguments; `calls` lists the names in order.
    """

    def __init__(self, **faults: Callable[..., Any]) -> None:
        self.faults = faults
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if not callable(real) or isinstance(real, type):
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            fault = self.faults.get(name)
            return real(*args, **kwargs) if fault is None else fault(real, *args, **kwargs)

        return call


def fails(number: int, *, at: int = 0, every: bool = False) -> Callable[..., Any]:
    """The call number `at` (with `every`: and each later one) ends with this errno."""
    count = -1

    def fault(real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == at or (every and count > at):
            raise OSError(number, os.strerror(number))
        return real(*args, **kwargs)

    return fault


def writes_at_most(limits: Sequence[int], then: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Each writev takes at most the next of `limits` bytes; after the last one, `then` (or all) happens."""
    left = list(limits)

    def fault(real: Callable[..., Any], fd: int, views: Sequence[Any]) -> int:
        if not left:
            return int(then(real, fd, views) if then else real(fd, views))
        data = b"".join(bytes(view) for view in views)
        return os.write(fd, data[: left.pop(0)])

    return fault
