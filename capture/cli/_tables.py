"""Text, tables and counts as the verbs print them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from codec.one_line import one_line


def as_text(lines: Iterable[str]) -> str:
    """What a verb prints. Each of `lines` stays one, whatever names it quotes."""
    return "\n".join(map(one_line, lines))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Lines with columns as wide as they need to be; the first `left` ones flush left, the others right."""
    cells = [[one_line(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = []
    for row in cells:
        padded = [
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def plural(count: int, word: str, words: str | None = None) -> str:
    """ "1 frame", "2 frames"."""
    return f"{count} {word if count == 1 else words or word + 's'}"
