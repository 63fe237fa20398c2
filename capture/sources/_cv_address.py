"""What the `device` of an OpenCV camera means: a webcam, a stream from the network, or a video file.

Knows spelling only; whether the thing is there is for those who open it. What a user gets to see of an URL
leaves out its password and its query.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from capture.given_files import given_path
from codec.errors import ConfigError

_WEBCAM_DIGITS_MAX = 9


@dataclass(frozen=True, slots=True)
class Address:
    """Where to open it, and how to call it in messages and recordings."""

    kind: Literal["webcam", "stream", "file"]
    target: str
    shown: str


def parse_address(device: str) -> Address:
    """ "0" and /dev/... are webcams; anything with :// but file:// is a stream, and so is a FIFO.

    Raises ConfigError for what has :// and is no address.
    """
    if device.isdecimal() and len(device) <= _WEBCAM_DIGITS_MAX:
        path = f"/dev/video{int(device)}"
        return Address("webcam", path, path)
    if "://" in device:
        try:
            parts = urlsplit(device)
        except ValueError as error:
            raise ConfigError(f"{device} is no address: {error}") from error
        if parts.scheme != "file":
            host = parts.netloc.rpartition("@")[2]
            return Address("stream", device, f"{parts.scheme}://{host}{parts.path}")
        device = unquote(parts.path)
    if device.startswith("/dev/") or _has_mode(device, stat.S_ISCHR):
        return Address("webcam", device, device)
    if _has_mode(device, stat.S_ISFIFO):
        return Address("stream", device, device)
    return Address("file", str(given_path(device)), device)


def _has_mode(path: str, is_mode: Callable[[int], bool]) -> bool:
    try:
        return is_mode(Path(path).stat().st_mode)
    except OSError:
        return False
