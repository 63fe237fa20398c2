"""A wall clock that jumps, forwards and back, changes no order, no name and no frame.

Every process of the recording gets a `time` module whose wall clock the test can set while it runs.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from capture.recording import Recording
from tests.capture.rigs import events, small_rig, start_recording
from tests.capture.test_service import _gaps, _numbers

_YEAR_S = 365 * 86_400
_FAKE = """
import pathlib, time
_offset = pathlib.Path({offset!r})
_time_ns, _gmtime = time.time_ns, time.gmtime

def time_ns():
    told = _offset.read_text()
    return int(told[1:]) * 10**9 if told[0] == "=" else _time_ns() + int(told) * 10**9

time.time_ns = time_ns
time.time = lambda: time.time_ns() / 1e9
time.gmtime = lambda seconds=None: _gmtime(time.time() if seconds is None else seconds)
"""


class WallClock:
    """The offset of everybody's wall clock, in seconds."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "offset"
        (folder / "sitecustomize.py").write_text(_FAKE.format(offset=str(self._path)))
        self.set(0)

    def set(self, offset_s: int) -> None:
        self._write(str(offset_s))

    def stand_still(self, at_s: int) -> None:
        self._write(f"={at_s}")

    def _write(self, told: str) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(told)
        new.replace(self._path)


@pytest.fixture
def wall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WallClock:
    folder = tmp_path / "faked"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    return WallClock(folder)


def test_jumps_of_minutes_and_years_cost_no_frame_and_no_order(wall: WallClock, tmp_path: Path) -> None:
    rig = small_rig(tmp_path, cameras=1, head="[record]\nreserve_mb = 1\nsegment_s = 0.7\nsync_s = 0.1")
    recording = start_recording(rig, tmp_path / "out")
    recording.wait_until_started()
    for offset_s in (600, -600, 20 * _YEAR_S, -56 * _YEAR_S, 3600, 0):  # the fourth lies before 1970
        time.sleep(0.5)
        wall.set(offset_s)
    time.sleep(0.5)
    recording.interrupt()
    code, account, err = recording.finish()
    assert code == 0, err
    stream = account["streams"]["cam0/depth"]
    assert stream["captured"] == stream["written"] > 60
    numbers = _numbers(recording.session, "cam0")
    assert [number for _, number in numbers] == list(range(numbers[0][1], numbers[0][1] + len(numbers)))
    assert _gaps(recording.session, "cam0") == []
    told = events(tmp_path / "out")
    kinds = {"codec", "camera-opened", "started", "clock", "camera-done", "ended"}
    assert {event["event"] for event in told} <= kinds
    assert [e["monotonic_ns"] for e in told] == sorted(e["monotonic_ns"] for e in told)
    assert max(e["wall_ns"] for e in told) - min(e["wall_ns"] for e in told) < 60e9  # jumped there and back
    with Recording(recording.session) as read:
        first, *_, last = read.streams.values()
        for series in (first, last):
            assert read.utc(series.last_ns) is not None


def test_a_clock_that_goes_back_to_the_same_second_gives_another_folder(
    wall: WallClock, tmp_path: Path
) -> None:
    rig = small_rig(tmp_path, cameras=1)
    wall.stand_still(0)  # a machine without a battery for its clock begins in 1970 every time
    for _ in range(2):
        code, account, err = start_recording(rig, tmp_path / "out", "--duration", "0.5").finish()
        assert code == 0, err
        assert account["streams"]["cam0/depth"]["written"] > 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["19700101T000000Z-test", "19700101T000000Z-test-1"]
