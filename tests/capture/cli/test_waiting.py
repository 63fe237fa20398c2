"""Waiting for a right clock and for the hour: what ends it, what is told, and to whom."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time as times
from dataclasses import dataclass, field
from datetime import datetime, time, timezone
from pathlib import Path

import pytest

from capture.cli import main
from capture.cli._waiting import EndingSignals, Waiting
from capture.closing import Clocks
from capture.schedule import Hours
from capture.sd_notify import Notifier
from tests.capture.rigs import REPOSITORY, record, small_rig

NIGHT = Hours(time(22), time(7), timezone.utc)


def at(hour: int, minute: int = 0) -> float:
    return datetime(2026, 11, 25, hour, minute, tzinfo=timezone.utc).timestamp()


@dataclass
class Told(Notifier):
    """A service manager that remembers."""

    words: list[str] = field(default_factory=list)
    watchdog_s: float | None = 8.0

    def send(self, *assignments: str) -> None:
        self.words += assignments


@dataclass
class Machine:
    """Clocks that go on when somebody waits, and are set right after `wrong_s` of waiting."""

    wall_s: float
    wrong_s: float = 0.0
    off_s: float = 0.0
    waited: list[float] = field(default_factory=list)
    signal_after_s: float = float("inf")
    manager: Told = field(default_factory=Told)
    said: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    @property
    def passed_s(self) -> float:
        return sum(self.waited)

    @property
    def is_right(self) -> bool:
        return self.passed_s >= self.wrong_s

    def now_s(self) -> float:
        return self.wall_s + self.passed_s + (0.0 if self.is_right else self.off_s)

    def wait(self, timeout_s: float) -> bool:
        assert 0 < timeout_s <= 2.0  # a quarter of the watchdog's time, and never for long
        self.waited.append(timeout_s)
        return self.passed_s >= self.signal_after_s

    def waiting(self) -> Waiting:
        clocks = Clocks(self.now_s, lambda: self.passed_s, lambda: self.is_right)
        return Waiting(self.manager, self.said.append, self.shown.append, self.wait, clocks)


def test_hour_is_waited_for_with_a_status_and_pings() -> None:
    machine = Machine(at(21, 58))
    waiting = machine.waiting()
    waiting.for_the_hour(NIGHT)
    assert machine.passed_s == pytest.approx(120)
    assert not waiting.told
    assert machine.manager.words[0] == "READY=1"  # a start that lasts until the evening holds up the machine
    assert machine.manager.words.count("READY=1") == 1
    assert machine.manager.words.count("WATCHDOG=1") >= 60
    assert "STATUS=recording begins in 0:01:00" in machine.manager.words
    assert len(machine.said) == 1
    assert "recording begins at" in machine.said[0]


def test_within_the_hours_nothing_is_waited_for_nor_said() -> None:
    for wall_s, hours in ((at(23), NIGHT), (at(12), Hours()), (at(12), Hours(None, time(7)))):
        machine = Machine(wall_s)
        machine.waiting().for_the_hour(hours)
        assert (machine.waited, machine.said, machine.manager.words) == ([], [], [])


def test_clock_that_is_set_right_while_we_wait_for_the_hour_is_believed() -> None:
    machine = Machine(at(23), wrong_s=30.0, off_s=-11 * 3600.0)  # it shows noon
    machine.waiting().for_the_hour(NIGHT)
    assert machine.passed_s == pytest.approx(30)


def test_signal_ends_the_waiting() -> None:
    machine = Machine(at(12), signal_after_s=5.0)
    waiting = machine.waiting()
    waiting.for_the_hour(NIGHT)
    assert waiting.told
    assert machine.passed_s == pytest.approx(5)
    waiting = machine.waiting()
    machine.wrong_s = 1e9
    waiting.for_the_clock(60.0)
    waiting.for_the_hour(NIGHT)
    assert waiting.told


def test_right_clock_is_waited_for_while_the_manager_is_asked_for_time() -> None:
    machine = Machine(at(12), wrong_s=20.0)
    machine.waiting().for_the_clock(120.0)
    assert machine.passed_s == pytest.approx(20)
    assert machine.manager.words.count("EXTEND_TIMEOUT_USEC=60000000") == len(machine.waited)
    assert machine.said == []


def test_clock_that_never_gets_right_is_waited_for_as_long_as_was_said() -> None:
    machine = Machine(at(12), wrong_s=1e9)
    waiting = machine.waiting()
    waiting.for_the_clock(30.0)
    assert machine.passed_s == pytest.approx(30)
    assert not waiting.told
    assert machine.said == ["the clock is not synchronised after 30 s; going on with the time it has"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_that_another_thread_gets_ends_the_wait_too(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with EndingSignals() as signals:
        sender = threading.Timer(0.2, lambda: signal.pthread_kill(threading.get_ident(), number))
        sender.start()
        assert signals.wait(60.0)
        assert signals.wait(60.0)  # and goes on to say so
        sender.join()
    assert signal.getsignal(number) is before


def test_no_signal_is_none() -> None:
    with EndingSignals() as signals:
        assert not signals.wait(0.001)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_waiting_ends_at_once_with_nothing_recorded(
    tmp_path: Path, number: signal.Signals
) -> None:
    hour = (datetime.now().hour + 3) % 24
    command = [sys.executable, "-m", "capture", "record", str(small_rig(tmp_path))]
    command += ["--root", str(tmp_path / "out"), "--from", f"{hour}:00"]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "recording begins at" in process.stderr.readline()
        process.send_signal(number)
        assert "ended before the recording began" in process.stderr.read()
        assert process.wait(60) == 0
    assert not (tmp_path / "out").exists()


def test_recording_ends_by_itself_at_its_hour(tmp_path: Path) -> None:
    rig = small_rig(tmp_path, cameras=1)
    for in_s in (6.0, 80.0):  # a machine that is very busy may not have begun by then
        until = times.strftime("%H:%M:%S", times.localtime(times.time() + in_s))
        code, account, err = record(rig, tmp_path / f"out-{in_s:.0f}", "--until", until, timeout_s=110.0)
        if code == 0:
            break
    assert code == 0, err
    assert account["streams"]["cam0/depth"]["written"] > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demo", "--from", "25:00"], "--from: '25:00' is no time of day such as 22:00"),
        (["demo", "--until", "dawn"], "--until: 'dawn' is no time of day such as 22:00"),
    ],
)
def test_what_is_no_hour_is_a_usage_error(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["record", *arguments]) == 2
    assert capsys.readouterr().err == f"nightrig: {words}\n"


def test_rig_after_the_option_that_takes_seconds_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["record", "--wait-for-time-sync", "demo"])
    assert stopped.value.code == 2
    assert "the rig file stands before --wait-for-time-sync" in capsys.readouterr().err
