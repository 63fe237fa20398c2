"""The supervisor of a measured recording, in a process of its own: the real Service, with prepared cameras.

`python -m scripts.bench._recorder` with a plan in the environment. Says on stdout, one JSON object a line,
when the recording has started (with the process ids) and how it ended, with what each process used from the
one to the other: starting interpreters is not in the account, finishing the files is.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import capture.processes
from capture.config import Rig
from capture.service import Service
from capture.spawn import Child
from scripts.bench._plan import Plan, current_plan
from scripts.bench._usage import Usage, left_usage, own_usage, usage_of

_MEASURED = {
    "capture.camera:run": "scripts.bench._prepared_camera:run",
    "capture.writer:run": "scripts.bench._measured_writer:run",
}


class _MeasuredChild(Child):
    """A child whose entry is the measured twin of the one that was asked for."""

    def __init__(self, name: str, entry: str, job: Any, fds: Iterable[int]) -> None:
        super().__init__(name, _MEASURED[entry], job, fds)


class _MeasuredService(Service):
    """Knows what every process had used when the first camera was told to go."""

    def __init__(self, rig: Rig, plan: Plan) -> None:
        super().__init__(rig, root=Path(plan.root), duration_s=plan.duration_s or None)
        self.pids: dict[str, int] = {}
        self.before: dict[str, Usage] = {}

    def _go(self) -> None:
        """The writer has finished its own start by then."""
        self._wait_until(lambda: self._crew.writer.ready)
        self.pids = {child.name: child.pid for child in self._crew.children}
        self.before = {name: usage_of(pid) for name, pid in self.pids.items()}
        self.before["supervisor"] = own_usage()
        print(json.dumps({"supervisor": os.getpid(), **self.pids}), flush=True)
        super()._go()


def _rig(plan: Plan) -> Rig:
    camera = {"source": "simulated", "through_realsense": False, "depth": {}}
    return Rig.model_validate(
        {
            "name": "bench",
            "preview": False,
            "queue_mb": plan.queue_mb,
            "record": {"codec": plan.codec},
            "cameras": [{**camera, "name": f"cam{i}"} for i in range(plan.cameras)],
        }
    )


def main() -> int:
    plan = current_plan()
    vars(capture.processes)["Child"] = _MeasuredChild
    service = _MeasuredService(_rig(plan), plan)
    outcome = service.run()
    after = {name: left_usage(plan.usage_folder, name, pid) for name, pid in service.pids.items()}
    after["supervisor"] = own_usage()
    print(
        json.dumps(
            {
                "session": str(outcome.session),
                "exit_code": outcome.exit_code,
                "problems": outcome.problems,
                "streams": {name: asdict(stream) for name, stream in outcome.totals.streams.items()},
                "used": {name: asdict(usage.since(service.before[name])) for name, usage in after.items()},
            }
        ),
        flush=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
