"""What is told of a recording, and where: events.jsonl, session.json and the user's terminal.

Owns both files of the session folder while it is recorded. Nothing here raises: a disk that takes no more
events must not end a night, the line is told on the terminal instead.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capture import session
from capture.events import EventLog
from codec.errors import NightrigError, StorageError

_TOLD_AT_ONCE = 5
_LINES_REMEMBERED = 1000


@dataclass(slots=True)
class Repeats:
    """Which lines are worth telling again: a camera that flaps all night must not fill the terminal.

    The first few are told, then one in a minute, two minutes, four ... up to an hour.
    """

    _seen: dict[str, tuple[int, int, float]] = field(default_factory=dict)

    def worth_telling(self, message: str, now_s: float) -> str:
        """The line to tell, with what was left out since the last one; "" for none."""
        # The same line with another number in it is the same line; "cam1" and "camera 1:" are names.
        key = re.sub(r"\b[0-9]+\b(?!:)", "", message)
        if len(self._seen) > _LINES_REMEMBERED:
            self._seen.clear()
        told, held_back, next_s = self._seen.get(key, (0, 0, 0.0))
        if now_s < next_s:
            self._seen[key] = (told, held_back + 1, next_s)
            return ""
        pause_s = 0.0 if told < _TOLD_AT_ONCE else min(3600.0, 60.0 * 2 ** min(told - _TOLD_AT_ONCE, 6))
        self._seen[key] = (told + 1, 0, now_s + pause_s)
        return f"{message} (and {held_back} times before)" if held_back else message


class SessionJournal:
    """The journal of one recording (a capture.processes.Journal). problems: the serious lines, as told."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say` gets one line per thing worth telling."""
        self.problems: list[str] = []
        self._say = say
        self._repeats = Repeats()
        self._folder: Path | None = None
        self._events: EventLog | None = None

    def begin(self, folder: Path) -> None:
        """From now on there is a session folder to write to."""
        self._folder, self._events = folder, EventLog(folder)

    def event(self, kind: str, /, **fields: Any) -> None:
        """One line in events.jsonl."""
        assert self._events is not None
        try:
            self._events.note({"event": kind, **fields})
        except StorageError as error:
            self.say(str(error))

    def say(self, message: str) -> None:
        """One line for the user, unless it was told often enough."""
        line = self._repeats.worth_telling(message, time.monotonic())
        if line:
            self._say(line)

    def problem(self, message: str, *, serious: bool = True) -> None:
        """One line for the user; a serious one is kept with the session."""
        line = self._repeats.worth_telling(message, time.monotonic())
        if line:
            if serious:
                self.problems.append(line)
            self._say(line)

    def save(self, facts: dict[str, Any]) -> None:
        """session.json anew: what it had, and these facts."""
        assert self._folder is not None
        try:
            session.save_session(self._folder, {**session.load_session(self._folder), **facts})
        except NightrigError as error:
            self.problem(str(error))
