"""A target, what was measured, and what comes of it: the rows that end a benchmark of codecs.

A figure that was not measured meets nothing: only a run that has measured everything can end well.
"""

from __future__ import annotations

from dataclasses import dataclass

from scripts.bench._report import number


@dataclass(frozen=True, slots=True)
class Limits:
    """What must be reached and what is aimed at, inclusive; None where there is no such bound."""

    must: float | None
    aim: float | None
    unit: str
    at_least: bool = False

    def met(self, bound: float | None, figure: float | None) -> bool | None:
        """None where there is no bound; a figure that was not measured does not meet one."""
        if bound is None or figure is None:
            return None if bound is None else False
        return figure >= bound if self.at_least else figure <= bound

    def words(self, bound: float | None) -> str:
        return "" if bound is None else f"{'>=' if self.at_least else '<='} {number(bound)} {self.unit}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target and what came of it. `figure` is None where there is none; `note` then says why.

    `must_met` and `aim_met` are None where the target has no such bound. `doubt` says why a figure of time
    is provisional.
    """

    what: str
    figure: float | None
    unit: str
    must: str
    must_met: bool | None
    aim: str
    aim_met: bool | None
    note: str = ""
    doubt: str = ""

    def cells(self) -> tuple[str, ...]:
        words = {None: "", True: "met", False: "MISSED"}
        must_word = words[self.must_met] + (
            " (provisional)" if self.doubt and self.must_met is not None else ""
        )
        figure = "-" if self.figure is None else f"{number(self.figure)} {self.unit}".strip()
        aim_word = {None: "", True: "reached", False: "not reached"}[self.aim_met]
        notes = "; ".join(part for part in (self.note, self.doubt) if part)
        return self.what, figure, self.must, must_word, self.aim, aim_word, notes


VERDICT_HEADS = ("target", "measured", "must", "", "aim", "", "")


def judged(what: str, figure: float | None, limits: Limits, *, note: str = "", doubt: str = "") -> Verdict:
    """The verdict on a figure; None for one that there is not."""
    return Verdict(
        what,
        figure,
        limits.unit,
        limits.words(limits.must),
        limits.met(limits.must, figure),
        limits.words(limits.aim),
        limits.met(limits.aim, figure),
        note,
        doubt,
    )
