"""Whatever names a message quotes, it stays one line that any terminal and any log can take."""

from __future__ import annotations

import pytest

from codec.errors import ConfigError, MeshValueError, NightrigError
from codec.one_line import one_line


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Kamera Süd, 2 m", "Kamera Süd, 2 m"),
        ("two\nlines\r\n", "two\\nlines\\r\\n"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\ud800 \udcff", "\\ud800 \\udcff"),
        ("\u202egnp", "\\u202egnp"),
        ("", ""),
    ],
)
def test_what_is_not_printable_is_an_escape(text: str, told: str) -> None:
    assert one_line(text) == told
    one_line(text).encode()


@pytest.mark.parametrize("kind", [NightrigError, ConfigError, MeshValueError])
def test_every_error_is_one_line(kind: type[NightrigError]) -> None:
    assert str(kind("a file of version two\nlines \ud800")) == "a file of version two\\nlines \\ud800"
