"""The campaign that cuts files off: its short form holds, and it sees what it has to see."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.campaigns import truncate
from scripts.campaigns._answers import Answers
from scripts.campaigns._campaign import BROKEN, HELD

SHORT = ("--step", "61", "--frames", "4", "--recover", "5")


def test_the_short_form_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert truncate.main([*SHORT, "--out", str(tmp_path)]) == HELD
    assert "BROKEN" not in capsys.readouterr().out


def test_a_reader_that_loses_frames_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = truncate.record_answers

    def forgetful(path: Path) -> tuple[Answers, int]:
        answers, damages = honest(path)
        return answers[:-1], damages

    monkeypatch.setattr(truncate, "record_answers", forgetful)
    assert truncate.main([*SHORT, "--out", str(tmp_path)]) == BROKEN
