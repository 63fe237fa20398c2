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

_EVENTS_AT_ONCE = 30  # lines of one kind about one process
_EVENTS_EVERY_S = 60.0  # and then one so often: 600 of a kind in a night of ten hours
_EVENTS_MOST = 20_000  # of all kinds together
_LONGEST_TEXT = 500
_PROBLEMS_KEPT = 50  # the first ones, and as many of the last ones
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


@dataclass(slots=True)
class EventRate:
    """Which events are written: a camera that flaps all night must leave a small file.

    Of each kind about each process a burst, then one a minute. What is held back is counted; the next line
    of that kind says how many there were, and the end of the file says what was still owed.
    """

    held_back: dict[str, int] = field(default_factory=dict)
    _written: int = 0
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict)

    def admit(self, key: str, now_s: float) -> int | None:
        """How many of that key were held back before this one; None where this one is, too."""
        tokens, last_s = self._buckets.get(key, (float(_EVENTS_AT_ONCE), now_s))
        tokens = min(float(_EVENTS_AT_ONCE), tokens + (now_s - last_s) / _EVENTS_EVERY_S)
        if tokens < 1.0 or self._written >= _EVENTS_MOST:
            self._buckets[key] = tokens, now_s
            self.held_back[key] = self.held_back.get(key, 0) + 1
            return None
        self._buckets[key] = tokens - 1.0, now_s
        self._written += 1
        return self.held_back.pop(key, 0)


def shortened(text: str) -> str:
    """No longer than a line in a file of ours needs to be."""
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}... ({len(text)} characters)"


class SessionJournal:
    """The journal of one recording (a capture.processes.Journal).

    problems: the serious lines, as told, the first and the last of them; problems_left_out between these.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say` gets one line per thing worth telling."""
        self.problems: list[str] = []
        self._say = say
        self.problems_left_out = 0
        self._repeats = Repeats()
        self._rate = EventRate()
        self._folder: Path | None = None
        self._events: EventLog | None = None

    def begin(self, folder: Path) -> None:
        """From now on there is a session folder to write to."""
        self._folder, self._events = folder, EventLog(folder, self.say)

    def event(self, kind: str, /, **fields: Any) -> None:
        """One line in events.jsonl, unless there were too many of its kind."""
        about = fields.get("camera", fields.get("process", ""))
        held_back = self._rate.admit(f"{kind} {about}".strip(), time.monotonic())
        if held_back is None:
            return
        self._append(kind, {**fields, **({"held_back_before": held_back} if held_back else {})})

    def end(self, **fields: Any) -> None:
        """The last line: how it ended, and which events were held back."""
        owed = dict(sorted(self._rate.held_back.items(), key=lambda item: -item[1])[:_PROBLEMS_KEPT])
        self._append("ended", {**fields, **({"held_back": owed} if owed else {})})

    def close(self) -> None:
        """Sync the events and let go of them. Safe to call twice."""
        if self._events is not None:
            self._events.close()

    def _append(self, kind: str, fields: dict[str, Any]) -> None:
        assert self._events is not None
        short = {key: shortened(value) if isinstance(value, str) else value for key, value in fields.items()}
        try:
            self._events.note({"event": kind, **short})
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
                self.problems.append(shortened(line))
                if len(self.problems) > 2 * _PROBLEMS_KEPT:
                    del self.problems[_PROBLEMS_KEPT]
                    self.problems_left_out += 1
            self._say(line)

    def save(self, facts: dict[str, Any]) -> None:
        """session.json anew: what it had, and these facts."""
        assert self._folder is not None
        try:
            session.save_session(self._folder, {**session.load_session(self._folder), **facts})
        except NightrigError as error:
            self.problem(str(error))
