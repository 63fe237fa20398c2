"""The words to a service manager, heard at a socket as it binds one."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from capture.sd_notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """NOTIFY_SOCKET's value, and the manager's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.settimeout(10.0)
        if request.param == "path":
            address = str(tmp_path / "notify")
            heard.bind(address)
        else:
            address = f"@nightrig-test-{secrets.token_hex(8)}"
            heard.bind("\0" + address[1:])
        yield address, heard


def test_every_word_arrives_as_a_datagram_of_its_own(manager: tuple[str, socket.socket]) -> None:
    address, heard = manager
    notifier = Notifier(address)
    notifier.ready()
    notifier.status("0:00:01  30 frames\nand more")
    notifier.ping()
    notifier.extend_timeout(1.5)
    notifier.stopping()
    words = [heard.recv(4096).decode() for _ in range(5)]
    assert words == [
        "READY=1",
        "STATUS=0:00:01  30 frames and more",
        "WATCHDOG=1",
        "EXTEND_TIMEOUT_USEC=1500000",
        "STOPPING=1",
    ]
    notifier.close()


def test_manager_that_is_gone_or_deaf_costs_nothing(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    notifier = Notifier(address)
    assert notifier.listens
    notifier.ready()  # nobody has bound it
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(address)
        for _ in range(10_000):  # more than its queue takes: whoever waited here would wait for ever
            notifier.ping()
    notifier.close()
    notifier.ping()


def test_environment_is_understood_and_not_handed_on() -> None:
    own = str(os.getpid())
    environment = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": own, "HOME": "/"}
    notifier = Notifier.from_environment(environment)
    assert (notifier.listens, notifier.watchdog_s) == (True, 30.0)
    assert environment == {"HOME": "/"}
    notifier.close()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},  # meant for another process
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": ""},
    ],
)
def test_no_watchdog_is_none(environment: dict[str, str]) -> None:
    assert Notifier.from_environment(environment).watchdog_s is None


def test_outside_a_service_manager_nobody_is_told_anything() -> None:
    for address in ("", "relative/path"):
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
        assert not notifier.listens
        notifier.ready()
        notifier.ping()
