"""The verbs that read a recording, run within this process, as a user would run them."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capture.cli import main
from capture.verification import CLEAN, EMPTY, LOSS


@dataclass(frozen=True, slots=True)
class Told:
    """What a verb has said, and its exit code."""

    exit_code: int
    out: str
    err: str

    def facts(self) -> dict[str, Any]:
        """What it printed as JSON; {} for nothing."""
        lines = self.out.splitlines()
        facts: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        return facts


def run_verb(*arguments: str | Path) -> Told:
    """`nightrig` with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Told(code, out.getvalue(), err.getvalue())


def reading_troubles(session: Path, copy: Path) -> list[str]:
    """What info, verify and recover should not have said of a recording that was cut short at any moment.

    info works; verify finds it clean, or with loss or a torn end, but nothing that it does not account for;
    recover makes a copy (into the new folder `copy`) in which verify finds no damage.
    """
    troubles = []
    info = run_verb("info", session, "--json")
    if info.exit_code != 0:
        troubles.append(f"info ends with {info.exit_code}: {info.err.strip()}")
    troubles += _verify_troubles("verify", session, damage_is_fine=True)
    recovered = run_verb("recover", session, "--out", copy)
    if recovered.exit_code not in (0, 3):
        return [*troubles, f"recover ends with {recovered.exit_code}: {recovered.err.strip()}"]
    return troubles + _verify_troubles("verify of the recovered copy", copy, damage_is_fine=False)


def _verify_troubles(what: str, session: Path, *, damage_is_fine: bool) -> list[str]:
    told = run_verb("verify", session, "--json")
    facts = told.facts()
    if not facts:
        return [f"{what} ends with {told.exit_code}: {told.err.strip()}"]
    troubles = [f"{what}: {problem}" for problem in facts["problems"]]
    if told.exit_code != (0 if facts["verdict"] == CLEAN else 3):
        troubles.append(f"{what} ends with {told.exit_code} on {facts['verdict']}")
    if facts["damage"] and not damage_is_fine:
        troubles += [f"{what}: damage in {damage['file']}: {damage['what']}" for damage in facts["damage"]]
    elif not facts["damage"] and not facts["problems"] and facts["verdict"] not in (CLEAN, LOSS, EMPTY):
        troubles.append(f"{what} calls it {facts['verdict']}")
    return troubles
