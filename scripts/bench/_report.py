"""The table: what was measured, the target, whether it is met, and how far the figure can be trusted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

# With more than this many cores at work for somebody else, times are provisional.
_QUIET_CORES = 0.15


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `met` is None where it has no target; `provisional` says why not to trust it yet."""

    what: str
    value: float
    unit: str
    target: str = ""
    met: bool | None = None
    provisional: str = ""
    note: str = ""

    def cells(self) -> tuple[str, ...]:
        verdict = {None: "", True: "met", False: "MISSED"}[self.met]
        if self.provisional and self.met is not None:
            verdict += " (provisional)"
        notes = "; ".join(part for part in (self.note, self.provisional) if part)
        return self.what, f"{number(self.value)} {self.unit}".strip(), self.target, verdict, notes


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the table with its heading."""

    title: str
    rows: list[Row]


def at_most(what: str, value: float, unit: str, limit: float, *, note: str = "") -> Row:
    """A row that is met up to and including `limit`."""
    return Row(what, value, unit, f"<= {number(limit)} {unit}".strip(), value <= limit, note=note)


def doubted(rows: Iterable[Row], others_cores: float) -> list[Row]:
    """The rows; those with a target are marked as provisional where the machine was not ours alone."""
    doubt = doubt_about_times(others_cores)
    if not doubt:
        return list(rows)
    return [row if row.met is None else replace(row, provisional=doubt) for row in rows]


def doubt_about_times(others_cores: float) -> str:
    """Why times measured beside that much work of others are provisional; "" where they are not."""
    return f"others used {others_cores:.1f} cores meanwhile" if others_cores > _QUIET_CORES else ""


def number(value: float) -> str:
    """A figure with about three digits."""
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def as_text(sections: Iterable[Section]) -> str:
    """A Markdown table that can be read as it stands."""
    rows: list[Sequence[str]] = [("what", "measured", "target", "", "")]
    for section in sections:
        rows.append((f"**{section.title}**", "", "", "", ""))
        rows += [row.cells() for row in section.rows]
    return markdown(rows)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equally many cells, the first one the heads. The last column, for notes, is not padded."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines = []
    for index, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append(f"| {' | '.join(cells)} | {row[-1]} |")
        if index == 0:
            lines.append(f"|{'|'.join('-' * (width + 2) for width in widths)}|---|")
    return "\n".join(lines)


def as_json(sections: Iterable[Section], machine: dict[str, object]) -> str:
    """The same for machines."""
    return json.dumps({"machine": machine, "sections": [asdict(section) for section in sections]}, indent=1)
