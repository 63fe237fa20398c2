"""The kill campaign in its short form, and that it sees what it looks for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.campaigns import kill
from scripts.campaigns._account import Account, Missing
from scripts.campaigns._numbered_mesh import MESH_STREAM
from scripts.campaigns._session import BODIES

_S = 1_000_000_000


@pytest.mark.timeout(240)
def test_three_recordings_killed_in_three_ways_lose_nothing_they_should_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kill.main(["--cases", "3", "--kills", "3", "--cameras", "2", "--json", "--out", str(tmp_path)])
    table = json.loads(capsys.readouterr().out)
    assert table["troubles"] == []
    assert table["tried"] == "3 of 3 cases"
    # How long things take is for the campaign itself, on a machine that has nothing else to do.
    promises = [promise for promise in table["promises"] if not promise["limit"].endswith("s")]
    assert len(promises) >= 8
    assert [promise for promise in promises if not promise["held"]] == []


def lost(camera: str, stream: int, at_s: float, *, in_hand: bool = False) -> Missing:
    return Missing(camera, (stream, 1, round(100 * at_s)), round(at_s * _S), in_hand)


def test_a_frame_lost_is_measured_from_when_it_was_sent_and_what_was_in_hand_is_left_out() -> None:
    account = Account(lost=[lost("cam0", 0, 9.5), lost("cam1", 1, 9.75), lost("cam0", 0, 1.0, in_hand=True)])
    found = kill.measure(account, "group", 10 * _S, [], {"cam0": 2 * _S})
    assert found["oldest_frame_ms"] == 500
    assert found["lost_without_need"] == 0
    assert kill.measure(account, "supervisor", 10 * _S, [], {"cam0": 2 * _S})["lost_without_need"] == 2
    assert kill.measure(account, "group", 10 * _S, [], {"cam1": 2 * _S})["oldest_frame_ms"] == 9000


def test_meshes_are_counted_by_the_writer_they_went_with() -> None:
    first = [lost(BODIES, MESH_STREAM, 1 + at) for at in (0.0, 0.5, 1.5)]
    second = [lost(BODIES, MESH_STREAM, 5 + at) for at in (0.0, 0.25)]
    last = [lost(BODIES, MESH_STREAM, 9.0)]
    account = Account(lost=[*second, *first, *last])
    told = [(0, round(2.5 * _S)), (0, round(5.5 * _S)), (round(8.5 * _S), 9 * _S)]
    assert kill.measure(account, "ctrl-c", 10 * _S, told, {})["longest_meshes_s"] == 1.5
    assert kill.measure(account, "group", 12 * _S, told[:2], {})["longest_meshes_s"] == 3.0
    assert kill.measure(account, "group", 12 * _S, told[:2], {})["oldest_frame_ms"] == 0


def test_a_loss_beyond_the_promise_breaks_it() -> None:
    account = Account(sent=2, written=1, lost=[lost("cam0", 0, 9.0)])
    result = kill.measure(account, "group", 10 * _S, [], {})
    result |= {"kills": 1, "skipped": 0, "descriptors_gained": 0, "left_behind": 0, "read_badly": 0}
    assert [promise.what for promise in kill.judge([result], kills=1) if not promise.held] == [
        "frames lost with all: age of the oldest"
    ]
