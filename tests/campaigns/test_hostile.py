"""The campaign that throws hostile inputs: its short form holds, and it sees what it has to see."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.campaigns import hostile
from scripts.campaigns._campaign import BROKEN, HELD
from scripts.campaigns._hostile_files import HostileFiles


def test_the_short_form_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hostile.main(["--inputs", "150", "--batch", "150", "--out", str(tmp_path)]) == HELD
    assert "BROKEN" not in capsys.readouterr().out


def test_a_process_that_dies_is_counted_and_the_rest_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = tmp_path / "scripts" / "campaigns"
    dying.mkdir(parents=True)
    (dying / "_hostile_worker.py").write_text(
        "import json, os, sys\n"
        "for number in range(int(sys.argv[2]), int(sys.argv[2]) + int(sys.argv[3])):\n"
        "    print(json.dumps({'begin': number}), flush=True)\n"
        "    if number == 3: os.kill(os.getpid(), 11)\n"
        "print(json.dumps({'asked': {'info': 2}, 'came': {}, 'slowest_s': 0, 'most_mb': 0}))\n"
    )
    monkeypatch.setattr(hostile, "ROOT", tmp_path)
    assert hostile.main(["--inputs", "8", "--batch", "8", "--out", str(tmp_path)]) == BROKEN
    entry = json.loads((tmp_path / "hostile" / "ledger.jsonl").read_text().splitlines()[1])
    assert entry["result"]["inputs"] == 8
    assert entry["result"]["broken"] == {"crash": 1}
    kept = json.loads((tmp_path / "hostile" / "kept" / "1-3" / "finding.json").read_text())
    assert kept["again"].endswith("--seed 1 --only 3")


def test_the_same_number_makes_the_same_input(tmp_path: Path) -> None:
    def made(folder: Path, number: int) -> dict[str, bytes]:
        folder.mkdir(parents=True)
        HostileFiles(5).make(number, folder)
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    for number in range(12):
        one, other = (made(tmp_path / way / str(number), number) for way in "ab")
        assert {name: len(content) for name, content in one.items()} == {
            name: len(content) for name, content in other.items()
        }
