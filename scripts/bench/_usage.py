"""What processes use, read from outside (/proc) or left behind by the process itself.

CPU is user + system time of a whole process, threads that have ended included, to the nanosecond: the
kernel's own clock of that process. Work that the kernel does later for everybody (writing pages back) is in
nobody's account. Memory is PSS: private pages in full, shared ones in equal shares, so that it may be summed.
"""

from __future__ import annotations

import json
import os
import resource
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

MB = 1 << 20
_CPUCLOCK_SCHED = 2
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used. `switches` are the times it went to sleep: as many wake-ups. `stages_s` are
    CPU seconds of its parts, where it has measured them."""

    cpu_s: float
    switches: int
    page_faults: int
    stages_s: dict[str, float] = field(default_factory=dict)

    def since(self, before: Usage) -> Usage:
        """What was used after `before`."""
        return Usage(
            self.cpu_s - before.cpu_s,
            self.switches - before.switches,
            self.page_faults - before.page_faults,
            self.stages_s,
        )


def own_usage(stages_s: dict[str, float] | None = None) -> Usage:
    """Of this process, so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(time.process_time(), used.ru_nvcsw, used.ru_minflt, stages_s or {})


def leave_usage(folder: str, name: str, stages_s: dict[str, float] | None = None) -> None:
    """Write this process's usage where whoever started the recording will look for it."""
    path = Path(folder) / f"{name}-{os.getpid()}.json"
    path.write_text(json.dumps(asdict(own_usage(stages_s))))


def left_usage(folder: str, name: str, pid: int) -> Usage:
    """What the process `pid` has left there. Raises FileNotFoundError where it was killed."""
    return Usage(**json.loads((Path(folder) / f"{name}-{pid}.json").read_text()))


def usage_of(pid: int) -> Usage:
    """Usage of another process, so far."""
    switches = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                switches += int(line.split()[1])
    return Usage(time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED), switches, int(_stat_fields(pid)[7]))


def _stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name (which may hold anything): state, ppid, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def descendants(root: int) -> list[int]:
    """`root` and every process below it, now."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int(_stat_fields(int(entry.name))[1])
            except OSError:  # it has just ended
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def pss_mb(pid: int) -> float:
    """Proportional set size; 0 where the process has just ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / MB for line in lines if line.startswith("Pss:")), 0.0)


class OthersLoad:
    """How many cores worked for somebody else while we measured: their work disturbs ours.

    Ours is this process and every child it has waited for. Time that the host took from this machine counts
    as theirs.
    """

    def __init__(self) -> None:
        self._theirs_s, self._started_s = _machine_busy_s() - _our_cpu_s(), time.monotonic()

    @property
    def cores(self) -> float:
        """Since this was made."""
        theirs_s = _machine_busy_s() - _our_cpu_s() - self._theirs_s
        return max(0.0, theirs_s / (time.monotonic() - self._started_s))


def _our_cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _machine_busy_s() -> float:
    """CPU seconds that all cores have worked for anybody since the machine was started."""
    fields = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / _TICKS_PER_S
