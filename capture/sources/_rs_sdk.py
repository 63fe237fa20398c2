"""librealsense itself: how it is loaded, and three of its Python binding's habits put right.

Owns the import of pyrealsense2 (2.55 to 2.59) and the translation of its one exception, RuntimeError, into
ours. Knows no profiles, options or frames. Nothing else in the project imports pyrealsense2.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import threading
from typing import Any

from codec.errors import (
    CameraBusyError,
    CameraError,
    CameraLostError,
    CameraProfileError,
    MissingExtraError,
    NightrigError,
)

# A context that never probes USB: software devices and recordings only (256 is RS2_PRODUCT_LINE_SW_ONLY).
SOFTWARE_ONLY = '{"dds":false,"inherit":false,"device-mask":256}'

_start_lock = threading.Lock()


class UnloadableSdkError(MissingExtraError):
    """pyrealsense2 is installed, but this system lacks what it needs; the message names it."""

    def __init__(self, message: str) -> None:
        NightrigError.__init__(self, message)
        self.package = "pyrealsense2"
        self.extra = "realsense"


def load_sdk(purpose: str) -> Any:
    """The module pyrealsense2; where it cannot be had, an error that says what to install."""
    try:
        return importlib.import_module("pyrealsense2")
    except ModuleNotFoundError as error:
        raise MissingExtraError(package="pyrealsense2", extra="realsense", purpose=purpose) from error
    except ImportError as error:
        raise UnloadableSdkError(f"{purpose}: {_why_it_does_not_load(str(error))}") from error


def _why_it_does_not_load(message: str) -> str:
    if "libusb" in message:
        return (
            "pyrealsense2 is installed but libusb is not: apt-get install -y --no-install-recommends "
            "libusb-1.0-0"
        )
    needs = re.search(r"(GLIBC|GLIBCXX)_[\d.]+", message)
    if needs:
        # The aarch64 wheels for Python 3.12 claim an older glibc than they were built on.
        return (
            f"this pyrealsense2 wheel needs {needs[0]}, newer than this system's: on Debian 12 use the "
            "wheel for Python 3.10 (uv venv -p 3.10), on Debian 13 the one for 3.12 or 3.10"
        )
    return f"pyrealsense2 is installed but does not load: {message}"


def sdk_version(rs: Any) -> tuple[int, ...]:
    """(2, 59, 1, 11053) and the like; empty where the library does not say (built from source, old)."""
    try:
        text = importlib.metadata.version("pyrealsense2")
    except importlib.metadata.PackageNotFoundError:
        text = str(getattr(rs, "__version__", ""))
    return tuple(int(part) for part in re.findall(r"\d+", text))


def start_into_queue(rs: Any, sensor: Any, queue: Any) -> None:
    """`sensor.start(queue)` without Python in the frames' way.

    The binding tries the overload `start(callback)` first, and a frame_queue is callable: every frame would
    then be enqueued by Python code on the library's thread, waiting for the interpreter's lock, and a queue
    that is full during playback would wait for ever while holding that lock. With `__call__` out of
    sight for the moment of the call, the overload that was meant is taken, and frames go from the sensor to
    the queue without touching Python.
    """
    queue_type = rs.frame_queue
    with _start_lock:
        call = queue_type.__call__
        del queue_type.__call__
        try:
            sensor.start(queue)
        finally:
            queue_type.__call__ = call


def info(rs: Any, device_or_sensor: Any, key: str) -> str:
    """A fact such as "serial_number"; "" where the device does not know it, or a recording has none that is
    text."""
    which = getattr(rs.camera_info, key, None)
    if which is None or not device_or_sensor.supports(which):
        return ""
    try:
        return str(device_or_sensor.get_info(which))
    except UnicodeDecodeError:
        return ""


# What librealsense and the kernel say, and what it means. First match wins.
_MEANINGS: tuple[tuple[str, type[CameraError], str], ...] = (
    (
        r"already (opened|streaming)|is streaming|device or resource busy|status_busy|errno=16",
        CameraBusyError,
        "another program is using it; stop that one (fuser /dev/video*)",
    ),
    (
        r"permission denied|access denied|status_access|errno=13",
        CameraError,
        "no permission to use it; install librealsense's udev rules (99-realsense-libusb.rules) and "
        "replug it",
    ),
    (
        r"no space left|errno=28|status_no_mem",
        CameraError,
        "the USB controller has no bandwidth left; lower size or rate, or use another controller",
    ),
    (
        r"couldn't resolve|failed to resolve|unsupported.*profile|not a supported combination",
        CameraProfileError,
        "it cannot deliver these streams together; give infrared the size and rate of depth",
    ),
    (
        r"no such device|no device connected|device.*disconnected|status_no_device|errno=19",
        CameraLostError,
        "it was unplugged",
    ),
    (r"failed to set power state", CameraBusyError, "it does not wake up; another program may have it"),
)


def explained(camera: str, doing: str, error: RuntimeError) -> CameraError:
    """Our error for one of librealsense's, with its own words at the end."""
    words = " ".join(str(error).split())
    for pattern, kind, meaning in _MEANINGS:
        if re.search(pattern, words, re.IGNORECASE):
            return kind(f"{camera}: cannot {doing}: {meaning} ({words})")
    return CameraError(f"{camera}: cannot {doing}: {words}")
