"""The campaign that throws hostile inputs: its short form holds, and it sees what it has to see."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from scripts.campaigns import _hostile_bag, _hostile_commands, hostile
from scripts.campaigns._campaign import BROKEN, HELD
from scripts.campaigns._hostile_files import (
    BAG,
    CALIBRATION,
    MESH,
    PICTURES,
    RECORD,
    RIG,
    SESSION,
    VIDEO,
    WHOLE_BAG,
    HostileFiles,
)


def test_the_short_form_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--inputs", "150", "--batch", "150", "--command-line-every", "30"]
    assert hostile.main([*size, "--out", str(tmp_path)]) == HELD
    assert "BROKEN" not in capsys.readouterr().out
    result = json.loads((tmp_path / "hostile" / "ledger.jsonl").read_text().splitlines()[1])["result"]
    assert result["asked"]["nightrig"] == 5


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
    makers = {way: HostileFiles(5) for way in "ab"}

    def made(folder: Path, number: int) -> dict[str, bytes]:
        folder.mkdir(parents=True)
        makers[folder.parent.name].make(number, folder)
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    for number in range(12):
        one, other = (made(tmp_path / way / str(number), number) for way in makers)
        assert {name: len(content) for name, content in one.items()} == {
            name: len(content) for name, content in other.items()
        }


def test_every_kind_of_input_is_made(tmp_path: Path) -> None:
    files, kinds = HostileFiles(1), set()
    for number in range(600):
        folder = tmp_path / str(number)
        folder.mkdir()
        kinds.add(files.make(number, folder).kind)
        shutil.rmtree(folder)
    assert kinds == {RECORD, MESH, SESSION, RIG, CALIBRATION, PICTURES, VIDEO, BAG, WHOLE_BAG}


@pytest.mark.parametrize(
    ("program", "complaint"),
    [
        ("raise ValueError('x')", "a traceback on stderr"),
        ("sys.exit(7)", "exit code 7"),
        ("sys.exit(1)", "exit code 1 with 0 error lines"),
        ("print('nightrig: a\\nnightrig: b', file=sys.stderr); sys.exit(1)", "with 2 error lines"),
        ("print('Segmentation fault', file=sys.stderr)", "on stderr: Segmentation fault"),
        ("print('\\x1b[2J')", "on stdout"),
    ],
)
def test_what_a_command_should_not_do_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, complaint: str
) -> None:
    (tmp_path / "capture").mkdir()
    (tmp_path / "capture" / "__main__.py").write_text(f"import sys\n{program}\n")
    monkeypatch.setattr(_hostile_commands, "ROOT", tmp_path)
    way, troubles = _hostile_commands.troubles_of(["info", "x"])
    assert complaint in " ".join(troubles), way
    (tmp_path / "capture" / "__main__.py").write_text("import time\ntime.sleep(600)\n")
    assert "hang" in _hostile_commands.troubles_of(["info", "x"], timeout_s=0.5)[1][0]


def test_a_player_that_hangs_or_dies_is_told_and_another_one_plays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "scripts" / "campaigns"
    package.mkdir(parents=True)
    (package / "_hostile_bag.py").write_text(
        "import json, os, sys, time\n"
        "for line in sys.stdin:\n"
        "    if 'hang' in line: time.sleep(600)\n"
        "    if 'die' in line: os.kill(os.getpid(), 11)\n"
        "    told = {'foreign': 'TypeError'} if 'foreign' in line else {'way': 'done'}\n"
        "    print(json.dumps(told), flush=True)\n"
    )
    monkeypatch.setattr(_hostile_bag, "ROOT", tmp_path)
    monkeypatch.setattr(_hostile_bag, "_START_S", 15.0)
    player = _hostile_bag.BagPlayer()
    try:
        ways = [player.play(Path(name)) for name in ("fine", "die", "fine", "hang", "fine")]
        assert ways == ["done", "died apart", "done", "hung apart", "done"]
        with pytest.raises(_hostile_bag.ApartError, match="TypeError"):
            player.play(Path("foreign"))
    finally:
        player.close()
