"""Text tables and times as the verbs print them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Columns as wide as they need to be; the first `left` ones flush left, the others right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = []
    for row in (header, *rows):
        cells = [
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def utc(wall_ns: int | None) -> str | None:
    """ISO 8601 with milliseconds, in UTC; None where the time is not known."""
    if wall_ns is None:
        return None
    try:
        moment = _EPOCH + timedelta(microseconds=wall_ns // 1000)
    except OverflowError:
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plural(count: int, word: str, words: str | None = None) -> str:
    """ "1 frame", "2 frames"."""
    return f"{count} {word if count == 1 else words or word + 's'}"
