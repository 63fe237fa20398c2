"""Which versions of what are installed, without importing any of it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = (
    "nightrig",
    "numpy",
    "opencv-python",
    "lz4",
    "msgpack",
    "msgpack-numpy",
    "pydantic",
    "pyrealsense2",
)


def versions() -> dict[str, str]:
    """Package -> version; packages that are not installed are left out."""
    found = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.platform(),
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
