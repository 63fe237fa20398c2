"""How every campaign runs: cases one by one, a ledger, progress, one table, an exit code.

    campaign = Campaign("truncate", __doc__)
    campaign.parser.add_argument(...)            its own arguments; they are the settings of its ledger
    return campaign.run(cases, attempt, judge)

`cases` gives the cases (names, the same ones for the same settings), `attempt` tries one and returns its
result (JSON), `judge` makes promises out of all results. What a result lists under "trouble" is a broken
promise whatever the judge says. Exit codes: 0 every promise held, 1 one is broken, 2 usage, 3 it cannot
run here, 4 none is broken but one is not decided by what was measured, 130 stopped by Ctrl-C: the same
command goes on with what is left.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scripts.bench._report import markdown
from scripts.campaigns._ledger import ROOT, Ledger, OtherCampaignError, revision

Result = dict[str, Any]
HELD, BROKEN, USAGE, CANNOT_RUN, UNDECIDED, STOPPED = 0, 1, 2, 3, 4, 130
_TELL_EVERY_S = 5.0
_NOT_SETTINGS = ("out", "fresh", "json")
_TROUBLES_SHOWN = 20
_CASE_PREFIX = "case-"
_VERDICTS = {True: "held", False: "BROKEN", None: "not decided"}


class CannotRunError(Exception):
    """Something that this campaign needs is missing here (root, a program, a kernel feature)."""


@dataclass(frozen=True, slots=True)
class Promise:
    """A row of the table: what is promised, the limit, what was measured, and whether it held.

    held: None where what was measured decides nothing, which never passes for a promise that held.
    """

    what: str
    limit: str
    measured: str
    held: bool | None


def at_most(what: str, measured: float, limit: float, unit: str = "") -> Promise:
    """A promise that holds up to and including `limit`."""
    return Promise(what, f"<= {limit:g} {unit}".strip(), f"{measured:.4g} {unit}".strip(), measured <= limit)


def at_least(what: str, measured: float, limit: float, unit: str = "") -> Promise:
    """A promise that holds from `limit` on."""
    return Promise(what, f">= {limit:g} {unit}".strip(), f"{measured:.4g} {unit}".strip(), measured >= limit)


class Campaign:
    """One campaign's command line and its run. Each has a folder `<out>/<name>` with its ledger."""

    def __init__(self, name: str, description: str | None) -> None:
        self.name = name
        self.parser = argparse.ArgumentParser(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        self.parser.add_argument(
            "--out",
            type=Path,
            default=ROOT / "out" / "campaigns",
            help="ledger, table and what is recorded meanwhile (default: %(default)s)",
        )
        self.parser.add_argument("--seed", type=int, default=1, help="of every random choice")
        self.parser.add_argument("--fresh", action="store_true", help="begin anew, forget earlier results")
        self.parser.add_argument("--json", action="store_true", help="the table as one JSON object")

    def parse(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:
        """The arguments; `args.work` is a folder that this run may fill and that goes afterwards."""
        args = self.parser.parse_args(arguments)
        self.folder: Path = args.out / self.name
        return args

    def run(
        self,
        args: argparse.Namespace,
        cases: Sequence[str],
        attempt: Callable[[str, Path], Result],
        judge: Callable[[list[Result]], list[Promise]],
    ) -> int:
        """Try what the ledger lacks and print the table; `attempt` gets a case and an empty folder."""
        if args.fresh:
            shutil.rmtree(self.folder, ignore_errors=True)
        settings = {
            key: value if isinstance(value, int | float | str | bool | None) else str(value)
            for key, value in sorted(vars(args).items())
            if key not in _NOT_SETTINGS
        }
        try:
            with Ledger(self.folder / "ledger.jsonl", settings) as ledger:
                stopped = self._try_all(ledger, cases, attempt)
                results = [ledger.results[case] for case in cases if case in ledger.results]
        except OtherCampaignError as error:
            print(f"{self.name}: {error}; --fresh begins anew, --out goes elsewhere", file=sys.stderr)
            return USAGE
        except CannotRunError as error:
            print(f"{self.name}: cannot run here: {error}", file=sys.stderr)
            return CANNOT_RUN
        promises = judge(results) if results else []
        troubles = [f"{sentence}" for result in results for sentence in result.get("trouble", ())]
        self._print(args, promises, troubles, f"{len(results)} of {len(cases)} cases")
        if stopped:
            print(f"{self.name}: stopped; the same command goes on", file=sys.stderr)
            return STOPPED
        if troubles or any(promise.held is False for promise in promises):
            return BROKEN
        return HELD if all(promise.held for promise in promises) else UNDECIDED

    def _try_all(self, ledger: Ledger, cases: Sequence[str], attempt: Callable[[str, Path], Result]) -> bool:
        for folder in self.folder.glob(f"{_CASE_PREFIX}*"):  # this campaign was killed at one
            shutil.rmtree(folder, ignore_errors=True)
        left = [case for case in cases if case not in ledger.results]
        if len(left) < len(cases):
            self._say(f"{len(cases) - len(left)} cases were tried before; {len(left)} are left")
        began_s = told_s = time.monotonic()
        troubled = 0
        for index, case in enumerate(left):
            case_began_s = time.monotonic()
            try:
                with tempfile.TemporaryDirectory(prefix=_CASE_PREFIX, dir=self.folder) as folder:
                    result = attempt(case, Path(folder))
            except KeyboardInterrupt:
                return True
            now_s = time.monotonic()
            ledger.note(case, result, now_s - case_began_s)
            troubled += bool(result.get("trouble"))
            for sentence in result.get("trouble", ()):
                self._say(f"{case}: {sentence}")
            if now_s - told_s >= _TELL_EVERY_S and index + 1 < len(left):
                told_s = now_s
                minutes = (now_s - began_s) / (index + 1) * (len(left) - index - 1) / 60
                self._say(f"{index + 1} of {len(left)}, {troubled} with trouble, {minutes:.0f} min left")
        return False

    def _say(self, line: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {self.name}: {line}", file=sys.stderr, flush=True)

    def _print(
        self, args: argparse.Namespace, promises: list[Promise], troubles: list[str], tried: str
    ) -> None:
        heads = (f"{self.name}: {tried}", "promised", "measured", "")
        rows: list[Sequence[str]] = [heads]
        rows += [(p.what, p.limit, p.measured, _VERDICTS[p.held]) for p in promises]
        table = markdown(rows)
        for sentence in troubles[:_TROUBLES_SHOWN]:
            table += f"\n- {sentence}"
        if len(troubles) > _TROUBLES_SHOWN:
            table += f"\n- and {len(troubles) - _TROUBLES_SHOWN} more: see the ledger"
        (self.folder / "table.md").write_text(f"{table}\n\n{revision()}, seed {args.seed}\n")
        if args.json:
            facts = {"campaign": self.name, "tried": tried, "troubles": troubles, "revision": revision()}
            print(json.dumps({**facts, "promises": [asdict(promise) for promise in promises]}))
        else:
            print(table)
