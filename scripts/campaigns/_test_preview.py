"""The preview process, which writes down when it has drawn and what: a line per picture in preview.jsonl.

All else is the real thing, its OpenCV window included, so it needs a screen: screen() is one that nobody
sees (Xvfb).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from capture.preview import process, sampler
from capture.preview.job import PreviewJob
from capture.preview.sampler import Channel
from capture.ring import RingFrame
from capture.spawn import Link
from scripts.campaigns._session import FOLDER_VARIABLE

LOG = "preview.jsonl"
_NEWEST = sampler.Sampler.newest


def run(job: PreviewJob, link: Link) -> int:
    """Entry of the process."""
    shown: dict[str, int] = {}

    def newest(self: sampler.Sampler, channel: Channel) -> RingFrame | None:
        frame = _NEWEST(self, channel)
        if frame is not None:
            shown[f"{channel.owner}/{channel.index}"] = frame.monotonic_ns
        return frame

    with (Path(os.environ[FOLDER_VARIABLE]) / LOG).open("a", buffering=1) as log:

        class LoggingPace(process.Pace):
            def drawn(self, cpu_s: float) -> None:
                log.write(json.dumps({"at_ns": time.monotonic_ns(), "shown": shown}) + "\n")
                super().drawn(cpu_s)

        sampler.Sampler.newest = newest  # type: ignore[method-assign]
        process.Pace = LoggingPace  # type: ignore[misc]
        return process.run(job, link)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """A dict per picture: when it was drawn, and when each of its frames was taken."""
    path = folder / LOG
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def slowest_fps(pictures: list[dict[str, Any]], start_ns: int, end_ns: int) -> tuple[float, float]:
    """Between two moments: pictures drawn a second, and new frames of the camera of which fewest came."""
    during = [picture for picture in pictures if start_ns <= picture["at_ns"] <= end_ns]
    seconds = (end_ns - start_ns) / 1e9
    streams = {name for picture in pictures for name in picture["shown"]}
    fresh = [len({picture["shown"].get(name) for picture in during}) for name in streams]
    return len(during) / seconds, min(fresh, default=0) / seconds


@contextlib.contextmanager
def screen() -> Iterator[bool]:
    """A screen for this process's children; False where there is no Xvfb."""
    program = shutil.which("Xvfb")
    if program is None:
        yield False
        return
    read_fd, write_fd = os.pipe()
    command = [
        program,
        "-displayfd",
        str(write_fd),
        "-screen",
        "0",
        "1400x900x24",
        "-nolisten",
        "tcp",
        "-noreset",
    ]
    server = subprocess.Popen(command, pass_fds=[write_fd], stderr=subprocess.DEVNULL, start_new_session=True)
    os.close(write_fd)
    before = os.environ.get("DISPLAY")
    try:
        with os.fdopen(read_fd) as file:
            os.environ["DISPLAY"] = f":{file.readline().strip()}"
        yield True
    finally:
        del os.environ["DISPLAY"]
        if before is not None:
            os.environ["DISPLAY"] = before
        server.terminate()
        server.wait()
