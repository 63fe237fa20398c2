"""Starts child processes: a fresh interpreter, one entry function, plain data, named descriptors.

Never a fork (a forked librealsense hangs) and never the parent's main module (a child must not pay for
the imports of the command line). A child ignores Ctrl-C and SIGTERM, which often go to the whole group: it
is told to stop through its control pipe, whose end it sees even when the parent was killed.
"""

from __future__ import annotations

import json
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from capture._voice import voice_of

_CHILD = Path(__file__).with_name("_child.py")
_PIPE_READ = 1 << 16
_EVENT_WAIT_S = 1.0
# Idle threads of a BLAS pool spin: several processes with one each would burn the cores they share.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class Link:
    """A child's end of its two pipes: commands from the parent, events to it.

    Commands are words and events JSON objects, one a line. The end of the control pipe, which says that
    the parent is gone, reads as the command "orphaned".
    """

    def __init__(self, control_fd: int, event_fd: int) -> None:
        self.control_fd = control_fd
        self._event_fd = event_fd
        self._pending = b""
        self._lock = threading.Lock()
        self._unsent = b""  # the rest of a line that was begun
        os.set_blocking(control_fd, False)
        os.set_blocking(event_fd, False)

    def commands(self) -> list[str]:
        """Commands that have arrived; never waits."""
        try:
            data = os.read(self.control_fd, _PIPE_READ)
        except BlockingIOError:
            return []
        if not data:
            return ["orphaned"]
        *lines, self._pending = (self._pending + data).split(b"\n")
        return [line.decode() for line in lines]

    def event(self, kind: str, **fields: Any) -> None:
        """Tell the parent; dropped where it does not listen for a second, since work must go on.

        Any thread may call it. What arrives are whole events.
        """
        line = json.dumps({"event": kind, **fields}, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            self._unsent = self._write(self._unsent)
            if not self._unsent:
                left = self._write(line)
                self._unsent = left if len(left) < len(line) else b""

    def _write(self, data: bytes) -> bytes:
        """What could not be written, since nobody reads."""
        while data:
            try:
                data = data[os.write(self._event_fd, data) :]
            except BlockingIOError:
                if not select.select([], [self._event_fd], [], _EVENT_WAIT_S)[1]:
                    return data
            except BrokenPipeError:
                return b""
        return b""


class Child:
    """A running child, seen from its parent."""

    def __init__(self, name: str, entry: str, job: Any, fds: Iterable[int]) -> None:
        """Start `entry` ("package.module:function"), which gets (job, link). `fds` keep their numbers."""
        self.name = name
        control_read, self._control_fd = os.pipe()
        self.event_fd, event_write = os.pipe()
        self._said_fd, said_write = os.pipe()
        # A child must never wait for somebody to read its complaints: what finds no room is gone.
        for fd in (self._said_fd, said_write):
            os.set_blocking(fd, False)
        job_fd = os.memfd_create("nightrig-job", os.MFD_CLOEXEC)
        try:
            os.write(job_fd, pickle.dumps((entry, job, control_read, event_write)))
            os.lseek(job_fd, 0, os.SEEK_SET)
            self._process = _start(name, job_fd, said_write, [job_fd, control_read, event_write, *fds])
        except BaseException:
            self.close()
            raise
        finally:
            for fd in (job_fd, control_read, event_write, said_write):
                os.close(fd)
        self._pending = b""
        self.silent = False  # its pipe has ended: from then on a select on event_fd returns at once, always
        os.set_blocking(self.event_fd, False)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, command: str) -> None:
        """Send a command; a dead child's is dropped."""
        try:
            os.write(self._control_fd, command.encode() + b"\n")
        except BrokenPipeError:
            return

    def events(self) -> list[dict[str, Any]]:
        """Events that have arrived; never waits. What it said on stderr is passed on."""
        self._listen()
        events: list[dict[str, Any]] = []
        while True:
            try:
                data = os.read(self.event_fd, _PIPE_READ)
            except BlockingIOError:
                return events
            if not data:
                self.silent = True
                return events
            *lines, self._pending = (self._pending + data).split(b"\n")
            events += [json.loads(line) for line in lines]

    def _listen(self) -> None:
        try:
            while said := os.read(self._said_fd, _PIPE_READ):
                voice_of(self.name).pass_on(said)
        except BlockingIOError:
            return

    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def wait(self, timeout_s: float) -> bool:
        """True once it has ended."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL; a hung SDK call knows no other way."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Close the pipes; the child, if it still runs, reads that as "orphaned"."""
        self._listen()
        os.close(self._said_fd)
        os.close(self._control_fd)
        os.close(self.event_fd)


def _start(name: str, job_fd: int, said_fd: int, fds: list[int]) -> subprocess.Popen[bytes]:
    # The child is born with these blocked and ignores them before it unblocks them.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        return subprocess.Popen(
            [sys.executable, str(_CHILD), str(job_fd), name],  # the name is for those who look with ps
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **_ENVIRONMENT},
            stdout=said_fd,  # ours belongs to the verb's own output
            stderr=said_fd,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
