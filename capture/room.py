"""Room for a recording that goes on: deletes on a thread of its own, so that the writer never waits for it.

What is deleted, and in which order, is capture.deletion's; this tells of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from capture.deletion import OldestFirst
from codec.errors import NightrigError

_TOLD_AGAIN_S = 3600.0
_NOTHING_LEFT_S = 10.0


class RoomMaker:
    """Deletes what is oldest when it is asked to, below the root of the session that is recorded.

    `report` gets an event "deleted" for what another session has lost (our own has it in its events already),
    a notice when it begins, and what goes wrong.
    """

    def __init__(self, own: Path, report: Callable[..., None]) -> None:
        self._own, self._report = own, report
        self._oldest = OldestFirst(own)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="room")
        self._work: Future[None] | None = None
        self._told_s = -_TOLD_AGAIN_S
        self._pause_until_s = 0.0

    def ask_for(self, wanted_bytes: int) -> None:
        """Begin to make so much room, unless that is under way, or there was nothing to delete just now."""
        if time.monotonic() < self._pause_until_s or (self._work is not None and not self._work.done()):
            return
        self._work = self._thread.submit(self._make, wanted_bytes)

    def _make(self, wanted_bytes: int) -> None:
        gone = 0
        try:
            for deletion in self._oldest.delete(wanted_bytes):
                gone += deletion.size
                self._tell_first()
                if deletion.session != self._own:
                    self._report("deleted", session=deletion.session.name, **deletion.fields)
        except Exception as error:  # whatever it is, it must not stay in a Future that nobody asks
            told = str(error) if isinstance(error, NightrigError) else repr(error)
            self._report("storage", ok=False, message=f"cannot make room: {told}")
        if not gone:
            self._pause_until_s = time.monotonic() + _NOTHING_LEFT_S

    def _tell_first(self) -> None:
        if time.monotonic() - self._told_s >= _TOLD_AGAIN_S:
            self._told_s = time.monotonic()
            what = "the oldest recorded segments are deleted to make room (record.when_full)"
            self._report("notice", message=f"the disk of {self._own.parent} is full: {what}")

    def close(self) -> None:
        """Wait for what is under way."""
        self._thread.shutdown(wait=True)
