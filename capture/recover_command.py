"""The rig's own way of bringing a camera back, as a USB power cycle: a command, run beside the recording.

Promises that the recording never waits for it: it is started, looked after while other things are done, and
killed with its whole group when its time is over. What it says is not kept; how it ended is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

TIME_LIMIT_S = 30.0
_LONGEST_DOUBLING = 6


@dataclass(slots=True)
class RecoverCommand:
    """One camera's command. Run when reopening has failed `after` times in a row, then after twice as many
    failures, four times, ... : what did not help is tried more and more seldom."""

    command: Sequence[str]
    after: int
    time_limit_s: float = TIME_LIMIT_S
    _runs: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _began_s: float = 0.0
    _environment: dict[str, str] = field(default_factory=dict)

    def is_due(self, failures: int) -> bool:
        """Whether so many failures in a row call for it; 0 failures begin the count anew."""
        if failures == 0:
            self._runs = 0
        due_at = self.after * 2 ** min(self._runs, _LONGEST_DOUBLING)
        return bool(self.command) and self._process is None and failures >= due_at

    def start(self, environment: Mapping[str, str]) -> str | None:
        """Start it; why that was impossible, or None."""
        self._runs += 1
        self._began_s = time.monotonic()
        try:
            self._process = subprocess.Popen(
                list(self.command),
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            return f"{self.command[0]} cannot be started: {error.strerror}"
        return None

    def ended(self) -> str | None:
        """How it ended ("" for well), once; None while it runs or where none does."""
        if self._process is None:
            return None
        code = self._process.poll()
        if code is None:
            if time.monotonic() - self._began_s < self.time_limit_s:
                return None
            self._kill()
            return f"not done after {self.time_limit_s:g} s; it was killed"
        self._process = None
        return "" if code == 0 else f"exit code {code}"

    def close(self) -> None:
        """End one that still runs."""
        if self._process is not None:
            self._kill()

    def _kill(self) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)  # one that cannot even be killed is reaped by init after us
        self._process = None
