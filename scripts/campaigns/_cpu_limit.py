"""A share of this machine's processors for some processes: a cgroup of their own (v1 or v2). Needs root."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from scripts.campaigns._campaign import CannotRunError

PI4_CORES = 4 / 6
"""One Raspberry Pi 4 in cores of a usual x86 server. It has four; each is four to five times slower than one
of those at compiled loops over arrays, and eight to ten times at what is left to Python: for the recorder,
which does mostly the former, a sixth."""

_V1, _V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
# Short, so that what is limited runs slowly instead of running and standing still by turns.
_PERIOD_US = 10_000


@contextlib.contextmanager
def cpu_limit(cores: float, pids: Iterable[int]) -> Iterator[None]:
    """These processes, and those they start from now on, get so many cores while the block runs."""
    is_v1 = (_V1 / "cpu.cfs_quota_us").exists()
    parent = _V1 if is_v1 else _V2
    group = parent / f"nightrig-{os.getpid()}-{time.monotonic_ns()}"
    quota_us = int(cores * _PERIOD_US)
    try:
        group.mkdir()
        if is_v1:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        else:
            (group / "cpu.max").write_text(f"{quota_us} {_PERIOD_US}")
        _move(pids, group)
    except OSError as error:
        _remove(group)
        raise CannotRunError(f"a cgroup that limits the CPU is refused: {error}") from error
    try:
        yield
    finally:
        _move((int(line) for line in (group / "cgroup.procs").read_text().split()), parent)
        _remove(group)


def _move(pids: Iterable[int], group: Path) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            (group / "cgroup.procs").write_text(str(pid))


def _remove(group: Path) -> None:
    with contextlib.suppress(OSError):
        group.rmdir()
