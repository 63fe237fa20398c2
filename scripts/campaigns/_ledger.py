"""The ledger of a campaign: one line per case that was tried, so that a stopped campaign goes on there.

A JSONL file. Its first line says what was asked for: results of another size of campaign, or of other
settings, are never mixed in. Each later line is a case with its result and the revision of the code that
was tried. A torn last line (the campaign itself was killed) is cut off when it goes on.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class OtherCampaignError(Exception):
    """The ledger belongs to a campaign of other settings."""


class Ledger:
    """Results by case, in the order they came. `with` closes it."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        """Open or begin it. Raises OtherCampaignError."""
        self.results: dict[str, dict[str, Any]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._revision = revision()
        whole = _whole_lines(path)
        self._file = path.open("ab")
        self._file.truncate(sum(len(line) for line in whole))
        if not whole:
            self._append({"settings": settings})
        elif (before := json.loads(whole[0])["settings"]) != settings:
            self._file.close()
            raise OtherCampaignError(f"{path} is of a campaign with {before}, not with {settings}")
        for line in whole[1:]:
            entry = json.loads(line)
            self.results[entry["case"]] = entry["result"]

    def note(self, case: str, result: dict[str, Any], seconds: float) -> None:
        """A case was tried; it is on disk when this returns."""
        self.results[case] = result
        entry = {"case": case, "seconds": round(seconds, 3), "revision": self._revision, "result": result}
        self._append(entry)

    def _append(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _whole_lines(path: Path) -> list[bytes]:
    data = path.read_bytes() if path.exists() else b""
    return [line for line in data.splitlines(keepends=True) if line.endswith(b"\n")]


def revision() -> str:
    """The commit that is tried, with a + where files differ from it; "" outside a checkout."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
