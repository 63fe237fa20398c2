"""Fetches the wheel that `pose_bundle` takes its models from, with pip, into a folder of the caller's."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from capture.keypoints.pose_bundle import PACKAGE, VERSION, WHEEL_PLATFORM, WHEEL_PYTHON
from codec.errors import NightrigError

_ARGUMENTS = (
    *("download", f"{PACKAGE}=={VERSION}", "--no-deps", "--only-binary", ":all:"),
    *("--platform", WHEEL_PLATFORM, "--python-version", WHEEL_PYTHON, "--implementation", "cp"),
)
BY_HAND = f"pip {' '.join(_ARGUMENTS)}"
"""the same in words, for another machine"""


def fetch_wheel(folder: Path) -> Path:
    """The wheel, downloaded into `folder` (36 MB). Raises NightrigError with pip's reason and the way out."""
    way_out = f"fetch it elsewhere with `{BY_HAND}` and give it with --wheel"
    if importlib.util.find_spec("pip") is None:
        raise NightrigError(f"cannot fetch {PACKAGE} {VERSION}: this Python has no pip; {way_out}")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *_ARGUMENTS]
    done = subprocess.run(
        [*command, "--dest", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    wheels = sorted(folder.glob(f"{PACKAGE}-{VERSION}-*.whl"))
    if done.returncode != 0 or not wheels:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
        reason = (errors or lines or ["pip said nothing"])[-1]
        raise NightrigError(f"cannot fetch {PACKAGE} {VERSION}: {reason}; {way_out}")
    return wheels[0]
