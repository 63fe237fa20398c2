"""The frame of all campaigns: what was tried is not tried again, and a broken promise is an exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.campaigns._campaign import (
    BROKEN,
    CANNOT_RUN,
    HELD,
    STOPPED,
    UNDECIDED,
    USAGE,
    Campaign,
    CannotRunError,
    Promise,
)
from scripts.campaigns._campaign import at_most as held_up_to
from scripts.campaigns._ledger import ROOT, Ledger


def run(out: Path, attempt: Any, *arguments: str, count: int = 4, limit: float = 0) -> int:
    campaign = Campaign("numbers", "Tries numbers.")
    campaign.parser.add_argument("--size", type=int, default=1)
    args = campaign.parse([*arguments, "--out", str(out)])
    cases = [str(number) for number in range(count)]
    return campaign.run(
        args, cases, attempt, lambda results: [held_up_to("lost", sum(r["lost"] for r in results), limit)]
    )


def test_every_case_is_tried_once_and_the_table_says_what_was_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[str] = []

    def attempt(case: str, folder: Path) -> dict[str, Any]:
        assert list(folder.iterdir()) == []
        tried.append(case)
        return {"lost": 0}

    assert run(tmp_path, attempt) == HELD
    assert run(tmp_path, attempt) == HELD
    assert tried == ["0", "1", "2", "3"]
    assert "4 of 4 cases" in capsys.readouterr().out
    assert "held" in (tmp_path / "numbers" / "table.md").read_text()
    assert [path.name for path in (tmp_path / "numbers").iterdir() if path.is_dir()] == []


def test_a_stopped_campaign_goes_on_where_it_was(tmp_path: Path) -> None:
    tried: list[str] = []

    def attempt(case: str, folder: Path) -> dict[str, Any]:
        if case == "2" and len(tried) == 2:
            tried.append("stopped")
            raise KeyboardInterrupt
        tried.append(case)
        return {"lost": 0}

    assert run(tmp_path, attempt) == STOPPED
    with (tmp_path / "numbers" / "ledger.jsonl").open("a") as file:
        file.write('{"case": "3", "resu')  # killed while it wrote
    (tmp_path / "numbers" / "case-killed").mkdir()
    assert run(tmp_path, attempt) == HELD
    assert tried == ["0", "1", "stopped", "2", "3"]
    assert list((tmp_path / "numbers").glob("case-*")) == []


def test_results_of_other_settings_are_never_mixed_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, lambda case, folder: {"lost": 1}, limit=4) == HELD
    assert run(tmp_path, lambda case, folder: {"lost": 0}, "--size", "2") == USAGE
    assert "--fresh begins anew" in capsys.readouterr().err
    assert run(tmp_path, lambda case, folder: {"lost": 0}, "--size", "2", "--fresh") == HELD


def test_a_broken_promise_and_a_trouble_are_exit_code_1(tmp_path: Path) -> None:
    assert run(tmp_path / "a", lambda case, folder: {"lost": 1}) == BROKEN
    assert run(tmp_path / "b", lambda case, folder: {"lost": 0, "trouble": ["it burns"]}) == BROKEN
    assert "it burns" in (tmp_path / "b" / "numbers" / "table.md").read_text()


def test_what_cannot_run_here_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def attempt(case: str, folder: Path) -> dict[str, Any]:
        raise CannotRunError("root is needed to mount a disk")

    assert run(tmp_path, attempt) == CANNOT_RUN
    assert "root is needed" in capsys.readouterr().err


def test_the_ledger_names_the_code_that_was_tried(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.jsonl", {"size": 1}) as ledger:
        ledger.note("first", {"lost": 0}, 1.25)
    settings, entry = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert settings == {"settings": {"size": 1}}
    assert entry.keys() == {"case", "seconds", "revision", "result"}


def test_what_is_not_decided_does_not_pass_for_held(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = Campaign("open", "Decides nothing.")
    args = campaign.parse(["--out", str(tmp_path)])
    promises = [Promise("growth", "<= 1", "0.5, error 3", None), Promise("lost", "<= 0", "0", True)]
    assert campaign.run(args, ["only"], lambda case, folder: {}, lambda results: promises) == UNDECIDED
    assert "not decided" in capsys.readouterr().out


def test_the_page_on_reliability_knows_every_campaign() -> None:
    campaigns = {path.stem for path in (ROOT / "scripts" / "campaigns").glob("[a-z]*.py")}
    page = (ROOT / "docs" / "RELIABILITY.md").read_text()
    assert {name for name in campaigns if f"| `{name}`" not in page} == set()
