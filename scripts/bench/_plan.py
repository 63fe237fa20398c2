"""What the processes of one measured recording are told: plain data in one environment variable.

The service starts its children itself and knows nothing of benchmarks, so what only a benchmark needs
(which frames, at what pace, where to leave the account) travels in the environment. Nothing heavy is
imported here: the writer process is measured too.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

_VARIABLE = "NIGHTRIG_BENCH_PLAN"


@dataclass(frozen=True, slots=True)
class Plan:
    """One recording to be measured.

    frames_path: an .npz of prepared frames (see _frames). cameras, color: how many cameras, and whether they
    have a colour stream beside depth. fps: their rate; 0 hands frames over as fast as the ring takes them.
    frame_limit: where fps is 0, depth frames per camera, after which the source ends. duration_s: when the
    recording is stopped; 0 waits for the sources to end. usage_folder: where each process leaves what it
    used. root: where the recording goes. codec: record.codec of the rig.
    """

    frames_path: str
    cameras: int
    color: bool
    fps: float
    frame_limit: int
    duration_s: float
    queue_mb: float
    usage_folder: str
    root: str
    codec: str = "lattice-lz4"

    def environment(self) -> dict[str, str]:
        """This process's environment with the plan in it, for subprocess."""
        return {**os.environ, _VARIABLE: json.dumps(asdict(self))}


def current_plan() -> Plan:
    """The plan this process was started with."""
    return Plan(**json.loads(os.environ[_VARIABLE]))
