"""Telling a process that hangs from one that is only slow, and how long to wait before it is killed.

A heart that stands still is not proof of a hang: the machine may have been suspended, we may have been held
up ourselves, or the process may want a processor and get none. `Pulse` counts only the silence for which
there is no such excuse. `OpeningPatience` knows how long this camera's openings take.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_LONGEST_LOOK_S = 0.5
_LOOK_CLOSER_S = 0.5
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")

UNKNOWN_OPENING_S = 30.0
"""For a camera that has never opened: importing an SDK from a cold SD card, resetting a device."""

_LEAST_OPENING_S = 2.0
_LONGEST_OPENING_S = 120.0


@dataclass(frozen=True, slots=True)
class _Doing:
    """What a process's first thread is doing: its state, and how much it has used so far."""

    state: str
    cpu_s: float
    major_faults: int


def _doing(pid: int) -> _Doing | None:
    try:
        # The thread, not the process: a driver's own threads may be busy while ours waits for ever.
        fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return _Doing(fields[0], (int(fields[11]) + int(fields[12])) * _TICK_S, int(fields[9]))


@dataclass(slots=True)
class Pulse:
    """How long a heart has stood still without an excuse.

    Silence is added up look by look. A look counts half a second at most, however long ago the last one
    was: what was stopped together with us (Ctrl-Z, a suspended machine) is not held against anybody, and on
    a machine so busy that we come round too seldom a real hang is still found, only later. A process that
    wants a processor is silent only for as long as it had one (a busy loop is a hang, a place in the queue
    is not), and one that waits for its own pages to be read from disk is not silent at all.
    """

    _beat_ns: int = -1
    _looked_s: float = 0.0
    _silent_s: float = 0.0
    _doing: _Doing | None = None

    def silent_s(self, heartbeat_ns: int, pid: int | None = None) -> float:
        """Seconds without a beat, as far as we were there to hear it and there is no excuse."""
        now_s = time.monotonic()
        if heartbeat_ns != self._beat_ns:
            self._beat_ns, self._silent_s, self._doing = heartbeat_ns, 0.0, None
        else:
            look_s = min(now_s - self._looked_s, _LONGEST_LOOK_S)
            self._silent_s += look_s - self._excused_s(look_s, pid)
        self._looked_s = now_s
        return self._silent_s

    def _excused_s(self, look_s: float, pid: int | None) -> float:
        if pid is None or self._silent_s < _LOOK_CLOSER_S:  # reading /proc ten times a second costs
            return 0.0
        before, self._doing = self._doing, _doing(pid)
        if before is None or self._doing is None:
            return 0.0
        if self._doing.major_faults > before.major_faults:
            return look_s
        if self._doing.state == "R":
            return max(0.0, look_s - (self._doing.cpu_s - before.cpu_s))
        return 0.0


@dataclass(slots=True)
class OpeningPatience:
    """How long an opening may be silent before it is taken for hanging.

    Twice as long as the last one that succeeded, so that a hang of a camera that opens in a second is found
    in two and the camera is back within five. A camera may have become slower for a good reason (another
    port, a cold disk): every kill while opening doubles the patience, so none is killed for ever.
    least_s: what this camera's source needs to give up by itself.
    """

    least_s: float = _LEAST_OPENING_S
    _last_s: float | None = None
    _now_s: float = 0.0
    _kills: int = 0

    def note_silence(self, silent_s: float) -> None:
        """The opening that is under way has been silent for so long."""
        self._now_s = max(self._now_s, silent_s)

    def begun(self) -> None:
        """Another attempt begins."""
        self._now_s = 0.0

    def opened(self) -> None:
        """That attempt has succeeded."""
        self._last_s, self._now_s, self._kills = self._now_s, 0.0, 0

    def killed(self) -> None:
        """That attempt was taken for hanging."""
        self._kills += 1

    @property
    def patience_s(self) -> float:
        """For the opening that is under way."""
        usual_s = UNKNOWN_OPENING_S if self._last_s is None else 2.0 * self._last_s
        return min(max(self.least_s, usual_s) * 2.0 ** min(self._kills, 8), _LONGEST_OPENING_S)
