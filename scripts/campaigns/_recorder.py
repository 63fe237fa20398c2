#!/usr/bin/env python3
"""`nightrig record` with test cameras (_test_camera) in place of simulated ones, and a test estimator
(_test_estimator) in place of any; takes the verb's arguments. A preview writes down what it draws
(_test_preview).

Everything else is the real thing: the supervisor, its processes, rings, files. What the cameras sent is
logged in the folder that NIGHTRIG_CAMPAIGN_FOLDER names. Where that holds a `<process>.disk` (see
_failing_disk), the disk of that process, "supervisor" or "writer", fails as it says.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # modules are named from the root of the checkout

from capture import processes
from capture.cli import main
from scripts.campaigns._failing_disk import break_disk_of

if __name__ == "__main__":
    processes.CAMERA_ENTRY = "scripts.campaigns._test_camera:run"
    processes.WRITER_ENTRY = "scripts.campaigns._failing_disk:run_writer"
    break_disk_of("supervisor")
    processes.ESTIMATOR_ENTRY = "scripts.campaigns._test_estimator:run"
    processes.PREVIEW_ENTRY = "scripts.campaigns._test_preview:run"
    sys.exit(main(["record", *sys.argv[1:]]))
