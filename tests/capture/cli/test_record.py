"""What `nightrig record` says last: complete means bit for bit, unless the rig asked for less."""

from __future__ import annotations

from pathlib import Path

import pytest

from capture import session
from capture.cli.record import _print_account
from capture.config import Rig
from capture.service import Outcome
from capture.totals import Totals

_CAMERA = {"name": "a", "source": "simulated", "depth": {"width": 848, "height": 480, "fps": 30}}


def _told(folder: Path, rig: Rig, code: int, capsys: pytest.CaptureFixture[str]) -> str:
    _print_account(Outcome(folder, Totals({}), code, []), rig)
    return capsys.readouterr().out.splitlines()[-2]


def test_last_line_says_that_near_is_lossy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig.model_validate({"record": {"codec": "near", "near_bound_subpixels": 1.5}, "cameras": [_CAMERA]})
    whole = "complete: every frame captured is on disk"
    lossy = "; depth is LOSSY by choice: near keeps disparity to within 1.5/32 pixel"
    for taken, words in (("near", whole + lossy), ("lattice-lz4", whole)):  # it may have given way
        session.save_session(tmp_path, {"depth_codec": {"codec": taken}})
        assert _told(tmp_path, rig, 0, capsys) == words
    session.save_session(tmp_path, {"depth_codec": {"codec": "near"}})
    assert _told(tmp_path, rig, 3, capsys) == f"recorded WITH LOSS (see above){lossy}"
    (tmp_path / session.SESSION_FILE).unlink()
    assert _told(tmp_path, rig, 0, capsys) == whole
