"""`nightrig` whose compressor never returns for a frame of camera cam1 while a file called "stuck" lies
beside the sessions: what a kernel with a loop without an end would do in one thread of the pool.

In one only: with all of them held the other cameras would wait, too. All processes live, all hearts beat, the
other cameras are written. Nobody is told anything.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from capture import lane, processes, vigil
from capture.cli import main
from capture.liveness import Liveness, Patience
from capture.spawn import Child, Link
from capture.writer import WriterJob
from capture.writer import run as run_real_writer

_encode = lane.Lane._encode


def run_writer(job: WriterJob, link: Link) -> int:
    """Entry of the writer process."""
    switch, held = job.session.parent / "stuck", threading.Lock()

    def encode(self: lane.Lane, *arguments: Any) -> Any:
        if self.name == "cam1" and switch.exists() and held.acquire(blocking=False):
            while switch.exists():
                time.sleep(0.05)
            held.release()
        return _encode(self, *arguments)

    lane.Lane._encode = encode  # type: ignore[method-assign]
    lane._ALONE_UP_TO = -1  # all frames go to the pool, as with many cameras
    return run_real_writer(job, link)


def _child(name: str, entry: str, job: Any, fds: Any) -> Child:
    return Child(name, f"{__spec__.name}:run_writer" if name == "writer" else entry, job, fds)


if __name__ == "__main__":
    processes.Child = _child  # type: ignore[assignment, misc]
    vigil.Liveness = lambda: Liveness(Patience(writer_s=2.0))  # type: ignore[assignment, misc]
    sys.exit(main())
