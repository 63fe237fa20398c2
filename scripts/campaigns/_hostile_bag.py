"""Plays hostile recordings of librealsense in a process of its own, as a recording plays them.

That library may wait for ever at a damaged file, or die of it: then the camera's process is lost, which is
what it is for. `BagPlayer` starts another and says so. It is no broken promise, but an error of its that is
not ours is, and so is a recording that does not bear the loss (see _hostile_commands.recorded_anyway).

    python -m scripts.campaigns._hostile_bag

Takes paths on stdin; for each it says a line of JSON: {"way": ...} or {"foreign": ...}.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import traceback
from pathlib import Path

from capture.sources.playback import open_playback
from capture.specs import PlaybackSpec
from codec.errors import NightrigError
from scripts.campaigns._ledger import ROOT

LOST = ("hung apart", "died apart")
RECORDED = ", recorded"
"""Behind these: a recording with it has been tried."""
_ANSWER_S = 5.0
_START_S = 120.0
_READS_MAX = 50
_READ_S = 0.02


class ApartError(Exception):
    """What went wrong in the other process, or in a recording."""


class BagPlayer:
    """The other process; `with` ends it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def play(self, path: Path) -> str:
        """The way it went: the name of our error, or one of LOST. Raises ApartError for a foreign one."""
        patience_s = _ANSWER_S
        if self._process is None or self._process.poll() is not None:
            self._process = self._started()
            patience_s += _START_S
        process = self._process
        assert process.stdin is not None
        process.stdin.write(f"{path}\n".encode())
        process.stdin.flush()
        answer = self._line(patience_s)
        if answer:
            told = json.loads(answer)
            if "foreign" in told:
                raise ApartError(told["foreign"])
            return str(told["way"])
        died = process.poll() is not None or answer is not None
        self.close()
        return LOST[1] if died else LOST[0]

    @staticmethod
    def _started() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "scripts.campaigns._hostile_bag"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def _line(self, timeout_s: float) -> bytes | None:
        """What it says; b"" where it has ended, None where it says nothing in time."""
        assert self._process is not None
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            return self._process.stdout.readline() if selector.select(timeout_s) else None

    def close(self) -> None:
        """Safe to call twice."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def play(path: str) -> dict[str, str]:
    """As a camera process does, and what came of it."""
    source = None
    try:
        source = open_playback("front", PlaybackSpec(path, pace="fast"))
        source.open()
        for _ in range(_READS_MAX):
            source.read(_READ_S)
    except NightrigError as error:
        lines = len(str(error).splitlines())
        return {"way": type(error).__name__} if lines == 1 else {"foreign": f"an error of {lines} lines"}
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        at = f"{Path(place.filename).name}:{place.lineno}"
        return {"foreign": f"{type(error).__name__} at {at}: {str(error)[:160]}"}
    finally:
        if source is not None:
            source.close()
    return {"way": "done"}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(play(line.rstrip("\n"))), flush=True)
