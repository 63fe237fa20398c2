"""The writer process, which leaves behind what it used: `capture.writer:run` with three stop-watches.

Compressing (checksum included), appending and syncing are timed in CPU seconds of the thread that does them;
what the process used beyond their sum are wake-ups, hand-overs between threads and book-keeping.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import capture.lane
import capture.writer
from capture.encoding import encode
from capture.spawn import Link
from capture.writer import WriterJob
from codec.durable import AppendFile
from scripts.bench._plan import current_plan
from scripts.bench._usage import leave_usage

_P = ParamSpec("_P")
_R = TypeVar("_R")


class _StopWatch:
    """CPU seconds spent in a function, summed over the threads that call it."""

    def __init__(self) -> None:
        self._laps: list[float] = []  # appending is atomic; adding floats from several threads is not

    def timed(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            started_s = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self._laps.append(time.thread_time() - started_s)

        return call

    @property
    def total_s(self) -> float:
        return sum(self._laps)


def run(job: WriterJob, link: Link) -> int:
    """Entry of the process."""
    watches = {"compress": _StopWatch(), "append": _StopWatch(), "sync": _StopWatch()}
    vars(capture.lane)["encode"] = watches["compress"].timed(encode)
    AppendFile.append = watches["append"].timed(AppendFile.append)  # type: ignore[method-assign]
    AppendFile.sync = watches["sync"].timed(AppendFile.sync)  # type: ignore[method-assign]
    try:
        return capture.writer.run(job, link)
    finally:
        stages_s = {name: watch.total_s for name, watch in watches.items()}
        leave_usage(current_plan().usage_folder, "writer", stages_s)
