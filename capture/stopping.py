"""The end of a recording: cameras first, then those who look on, then the writer, which drains.

Promises: it comes to an end whatever hangs, and what could not be written stands in the account.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from capture.crew import DYING_S, Crew
from capture.processes import Journal, kill
from capture.spawn import Child

_STOP_S = 5.0
_DRAIN_S = 30.0  # without a frame that leaves a ring
_LAST_WORDS_S = 5.0


def stop(crew: Crew, journal: Journal, in_a_hurry: Callable[[], bool]) -> None:
    """End all processes of a recording. `in_a_hurry`: somebody pressed Ctrl-C again."""
    for camera in crew.cameras:
        if camera.child is not None:
            camera.child.send("stop")
    _await_exit(crew, journal, [camera.child for camera in crew.cameras], in_a_hurry)
    observers = [*crew.estimators.values(), *crew.previews]
    for worker in observers:
        worker.send("stop")
    _await_exit(crew, journal, [worker.child for worker in observers], in_a_hurry)
    _drain(crew, journal, in_a_hurry)


def _await_exit(
    crew: Crew, journal: Journal, children: Sequence[Child | None], in_a_hurry: Callable[[], bool]
) -> None:
    deadline_s, killed = time.monotonic() + _STOP_S, False
    while running := [c for c in children if c is not None and c.exit_code() is None]:
        crew.pump()
        crew.writer.tend()  # somebody must take what is still coming
        now_s = time.monotonic()
        if not killed and (now_s > deadline_s or in_a_hurry()):
            killed, deadline_s = True, now_s + DYING_S
            for child in running:
                journal.event("killed", process=child.name)
                kill(child)
        elif killed and now_s > deadline_s:  # in the hands of a broken driver; nobody can wait for that
            journal.problem(f"{', '.join(child.name for child in running)} cannot be killed and stays behind")
            break
    crew.pump(0.0)


def _drain(crew: Crew, journal: Journal, in_a_hurry: Callable[[], bool]) -> None:
    """The writer writes what is queued, for as long as it gets anywhere; one that dies is replaced."""
    crew.writer.send("stop")
    hurried, queued, deadline_s = False, -1, time.monotonic() + _DRAIN_S
    while not crew.writer.done:
        now_s, left = time.monotonic(), crew.queued
        if left != queued and not hurried:
            queued, deadline_s = left, now_s + _DRAIN_S
        if not hurried and (in_a_hurry() or now_s > deadline_s):
            hurried, deadline_s = True, now_s + _LAST_WORDS_S
            if left:
                journal.problem("stopped with frames still queued; they are counted as dropped")
            crew.writer.send("now")
        elif hurried and now_s > deadline_s:
            journal.problem("the writer did not end and was killed; its files lack only their index")
            break
        crew.pump()
        crew.writer.tend()
    if crew.writer.child is not None and not crew.writer.child.wait(DYING_S if crew.writer.done else 0):
        kill(crew.writer.child)
        crew.writer.child.wait(DYING_S)
    crew.pump(0.0)
    if not crew.writer.done:
        crew.count_unwritten()
