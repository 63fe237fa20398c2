"""Entries of child processes for the tests of capture.spawn."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from capture.spawn import Child, Link
from codec.errors import DiskFullError


def _next_commands(link: Link) -> list[str]:
    select.select([link.control_fd], [], [], 30.0)
    return link.commands()


def echo(job: Any, link: Link) -> int:
    """Say what the job is, then every command, until "stop"; the exit code is the number of commands."""
    link.event("job", job=job)
    count = 0
    while True:
        for command in _next_commands(link):
            count += 1
            link.event("command", word=command)
            if command in ("stop", "orphaned"):
                return count


def nothing(job: Any, link: Link) -> None:
    """End at once."""


def say_done(job: Any, link: Link) -> int:
    """End at once, with the word that all is done."""
    link.event("done")
    return 0


def repeat(job: Any, link: Link) -> int:
    """A camera process that does nothing but say what it is told."""
    while True:
        for command in _next_commands(link):
            link.event("problem", message=command)
            if command in ("stop", "orphaned"):
                return 0


def fail_as_planned(job: Any, link: Link) -> int:
    raise DiskFullError("there is no room left on /night")


def fail_by_mistake(job: Any, link: Link) -> int:
    raise RuntimeError("a mistake of ours")


def talk(job: Any, link: Link) -> int:
    """Events of the sizes in the job, from several threads."""

    def some(thread: int) -> None:
        for at, size in enumerate(job["sizes"]):
            link.event("text", thread=thread, at=at, text=chr(97 + thread) * size)

    threads = [threading.Thread(target=some, args=(i,)) for i in range(job["threads"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0


def look_around(job: Any, link: Link) -> int:
    """Tell of the world as a child sees it."""
    print("said on stdout")
    fds = {int(path.name): str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.exists()}
    link.event(
        "seen",
        fds=fds,
        ignores_ctrl_c=signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
        blocked=[int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
        stdin=sys.stdin.read(),
        loaded=sorted(sys.modules),
        blas_threads=os.environ["OPENBLAS_NUM_THREADS"],
        main=str(sys.modules["__main__"].__file__),
    )
    return 0


def leave_word(job: Any, link: Link) -> int:
    """Write the first command into a file: for a child whose parent is killed."""
    Path(job["file"] + ".started").touch()
    commands = _next_commands(link)
    link.event("nobody listens", text="x" * 200_000)
    Path(job["file"]).write_text(" ".join(commands))
    return 0


def parent_to_be_killed(file: str) -> None:
    """Start a child and wait for the end."""
    Child("orphan", "tests.capture.spawn_entries:leave_word", {"file": file}, ())
    signal.pause()


if __name__ == "__main__":
    parent_to_be_killed(sys.argv[1])
