"""How a service tells systemd that it is ready, alive and stopping: datagrams to a socket, nothing else.

The protocol is sd_notify(3): lines of KEY=VALUE to the AF_UNIX socket that NOTIFY_SOCKET names. Ours is
written here since the usual packages are C or have no wheel. Outside systemd every call does nothing. A
manager that does not listen (it is being restarted itself) is no reason to wait or to fail: what it did not
hear it hears with the next ping.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping


class Notifier:
    """The service's end of that socket. watchdog_s: how long systemd waits for a ping, or None."""

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        """`address` as NOTIFY_SOCKET has it; "" tells nobody anything."""
        self.watchdog_s = watchdog_s
        self._socket: socket.socket | None = None
        self._address = "\0" + address[1:] if address.startswith("@") else address
        if address.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Notifier:
        """What systemd has told us; taken out of the environment, since it is not meant for our children."""
        address = environment.pop("NOTIFY_SOCKET", "")
        watchdog_us = environment.pop("WATCHDOG_USEC", "")
        for_pid = environment.pop("WATCHDOG_PID", str(os.getpid()))
        ours = for_pid == str(os.getpid()) and watchdog_us.isdecimal() and int(watchdog_us) > 0
        return cls(address, int(watchdog_us) / 1e6 if ours else None)

    @property
    def listens(self) -> bool:
        """Whether there is a service manager to tell anything."""
        return self._socket is not None

    def send(self, *assignments: str) -> None:
        """One datagram of KEY=VALUE lines."""
        if self._socket is not None:
            try:
                self._socket.sendto("\n".join(assignments).encode(), self._address)
            except OSError:
                return  # see the module: nobody listens just now

    def ready(self) -> None:
        """The start is over; from here on the watchdog counts."""
        self.send("READY=1")

    def status(self, line: str) -> None:
        """What `systemctl status` shows."""
        self.send("STATUS=" + line.replace("\n", " "))

    def ping(self) -> None:
        """We live: the next `watchdog_s` seconds are ours."""
        self.send("WATCHDOG=1")

    def stopping(self) -> None:
        """The end has begun by itself; `systemctl stop` and a signal need no word."""
        self.send("STOPPING=1")

    def extend_timeout(self, seconds: float) -> None:
        """A start or stop that gets somewhere may take this much longer, counted from now."""
        self.send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
