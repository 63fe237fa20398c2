"""Text for one line of a terminal or a log, whatever it is made of.

Names and words come out of files and from the disk: a file may claim a camera called "two\\nlines", a
folder's name may be bytes that are no text, and either may hold what a terminal takes for a command.
"""

from __future__ import annotations


def one_line(text: str) -> str:
    """The same text with everything that is not printable as an escape; most text comes back as it is."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
