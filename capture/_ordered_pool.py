"""Threads that work on a stream of items, a few ahead, and hand the results over in the items' order.

Memory stays bounded: no more items are taken than are under way. Knows nothing of what is done to them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_AHEAD_PER_THREAD = 2


class OrderedPool:
    """A number of threads. Leaving the `with` block waits for what has begun and forgets the rest."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="frames")
        self._most = threads * _AHEAD_PER_THREAD + 1

    def map(self, call: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """call(item) of each, in order. What `items` or a call raises comes out here and ends it."""
        under_way: deque[Future[_Result]] = deque()
        try:
            for item in items:
                under_way.append(self._pool.submit(call, item))
                if len(under_way) >= self._most:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()

    def __enter__(self) -> OrderedPool:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
