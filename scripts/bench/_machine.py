"""Where a benchmark ran, and with which versions of what."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def machine(peer_packages: Iterable[str]) -> dict[str, object]:
    """Where it ran, and with which versions of NumPy and these packages, where they are installed."""
    packages = ["numpy", *peer_packages]
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {package: found for package in packages if (found := _version(package))},
    }


def _cpu_model() -> str:
    """What the kernel calls it; the architecture where it does not say (as on a Pi)."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
