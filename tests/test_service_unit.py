"""The unit of the service: what it promises holds for the program it starts."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from capture import crew, stopping, vigil
from capture.cli import build_parser
from capture.cli.record import _hours
from capture.schedule import Hours, parse_time

ROOT = Path(__file__).resolve().parent.parent
UNIT = ROOT / "scripts" / "nightrig.service"

_LONGEST_STOP_S = (
    2 * (stopping._STOP_S + crew.DYING_S) + stopping._DRAIN_S + stopping._LAST_WORDS_S + crew.DYING_S
)


def settings(text: str) -> dict[str, list[str]]:
    """[Section] and key -> values, as "Service.Type"."""
    found: dict[str, list[str]] = defaultdict(list)
    section = ""
    for line in text.replace("\\\n", "").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[f"{section}.{key}"].append(value)
    return found


@pytest.fixture
def unit() -> dict[str, list[str]]:
    return settings(UNIT.read_text())


def test_recorder_is_started_again_whatever_its_end(unit: dict[str, list[str]]) -> None:
    assert unit["Service.Restart"] == ["always"]
    assert unit["Unit.StartLimitIntervalSec"] == ["0"]
    assert unit["Service.SuccessExitStatus"] == ["3"]
    assert not unit["Service.RestartPreventExitStatus"]


def test_what_the_recorder_says_is_heard_and_waited_for(unit: dict[str, list[str]]) -> None:
    assert unit["Service.Type"] == ["notify"]
    assert unit["Service.NotifyAccess"] == ["main"]
    assert int(unit["Service.WatchdogSec"][0]) >= 30
    assert unit["Service.WatchdogSignal"] == unit["Service.KillSignal"] == ["SIGTERM"]


def test_nobody_is_killed_while_the_supervisor_still_waits_for_something(unit: dict[str, list[str]]) -> None:
    assert float(unit["Service.TimeoutStopSec"][0]) > 1.5 * _LONGEST_STOP_S
    assert f"{_LONGEST_STOP_S:.0f} s. While the queues" in UNIT.read_text()  # the sum in the comment
    assert vigil._PATIENCE_S > stopping._DRAIN_S + stopping._LAST_WORDS_S + crew.DYING_S


def test_the_command_is_one_that_we_understand(unit: dict[str, list[str]]) -> None:
    program, *arguments = shlex.split(unit["Service.ExecStart"][0])
    assert program == "/home/pi/nightrig/scripts/nightrig"
    args = build_parser("record").parse_args(arguments)
    assert _hours(args) == Hours(parse_time("22:00"), parse_time("07:00"))
    assert args.wait_for_time_sync == 60.0
    assert args.preview is False


def test_nothing_hides_cameras(unit: dict[str, list[str]]) -> None:
    hiding = ("PrivateDevices", "ProtectClock", "ProtectKernelTunables", "DeviceAllow", "DevicePolicy")
    assert not any(unit[f"Service.{key}"] for key in (*hiding, "PrivateNetwork", "ProtectHome"))


def _installed() -> str:
    """The unit as the command on the page about the Pi makes it, in this checkout."""
    page = (ROOT / "docs" / "PI.md").read_text()
    command = re.search(r'^sed "(.*)" scripts/nightrig\.service \|', page, re.MULTILINE)
    assert command is not None
    assert f'sed "{command[1]}" scripts/nightrig.service' in UNIT.read_text()
    expression = command[1].replace("$PWD", str(ROOT)).replace("$USER", "root")
    return subprocess.run(["sed", expression, UNIT], capture_output=True, text=True, check=True).stdout


def test_command_that_installs_it_puts_this_checkout_and_this_user_in() -> None:
    unit = settings(_installed())
    assert unit["Service.User"] == ["root"]
    assert unit["Service.WorkingDirectory"] == [str(ROOT)]
    assert unit["Service.ExecStart"][0].startswith(f"{ROOT}/scripts/nightrig record rig.toml ")
    assert "/home/pi" not in str(dict(unit))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    path = tmp_path / UNIT.name
    path.write_text(_installed())
    verified = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")
