"""The verbs that read a recording, run within this process, as a user would run them."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capture.cli import main
from capture.cli._ctrl_c import INTERRUPTED
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
    """`nightrig` with these arguments. Raises KeyboardInterrupt."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    if code == INTERRUPTED:
        raise KeyboardInterrupt  # the Ctrl-C was for the campaign
    return Told(code, out.getvalue(), err.getvalue())


def reading_troubles(session: Path, copy: Path) -> list[str]:
    """What info, verify and recover should not have said of a recording that was cut short at any moment.

    info works; verify finds it clean, or with loss or a torn end, but nothing that it does not account for;
    recover makes a copy (into the new folder `copy`) in which verify finds no damage, unless there is not
    a single frame or mesh in it.
    """
    troubles = []
    info = run_verb("info", session, "--json")
    if info.exit_code != 0:
        troubles.append(f"info ends with {info.exit_code}: {info.err.strip()}")
    facts, found = _verify("verify", session, damage_is_fine=True)
    troubles += found
    recovered = run_verb("recover", session, "--out", copy)
    if recovered.exit_code in (0, 3):
        troubles += _verify("verify of the recovered copy", copy, damage_is_fine=False)[1]
    elif recovered.exit_code != 1 or facts.get("frames") or facts.get("meshes"):
        troubles.append(f"recover ends with {recovered.exit_code}: {recovered.err.strip()}")
    return troubles


def _verify(what: str, session: Path, *, damage_is_fine: bool) -> tuple[dict[str, Any], list[str]]:
    """What verify tells, and what it should not have."""
    told = run_verb("verify", session, "--json")
    facts = told.facts()
    if not facts:
        return facts, [f"{what} ends with {told.exit_code}: {told.err.strip()}"]
    troubles = [f"{what}: {problem}" for problem in facts["problems"]]
    if told.exit_code != (0 if facts["verdict"] == CLEAN else 3):
        troubles.append(f"{what} ends with {told.exit_code} on {facts['verdict']}")
    if facts["damage"] and not damage_is_fine:
        troubles += [f"{what}: damage in {damage['file']}: {damage['what']}" for damage in facts["damage"]]
    elif not facts["damage"] and not facts["problems"] and facts["verdict"] not in (CLEAN, LOSS, EMPTY):
        troubles.append(f"{what} calls it {facts['verdict']}")
    return facts, troubles
