"""Whether anybody listens where a stream is to come from, asked before FFmpeg is.

FFmpeg connects once and then waits until its time is over, however soon after that the camera is there: a
host that is off answers nothing, and the system repeats its question ever more seldom. Here it is asked anew
every two seconds, so that a camera that comes back is found within these.
"""

from __future__ import annotations

import os
import socket
import time
from urllib.parse import urlsplit

from capture.sources._cv_address import Address
from codec.errors import CameraNotFoundError

_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935}
"""What is spoken over a TCP connection."""

_ASK_AGAIN_S = 2.0


def endpoint(camera: str, address: Address) -> tuple[str, int] | None:
    """Host and port of a stream that is connected to; None for any other. Raises CameraNotFoundError for an
    address that is none."""
    parts = urlsplit(address.target)
    try:
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        raise CameraNotFoundError(
            f"{camera}: {address.shown} is no address: its port is not a number"
        ) from None
    return (parts.hostname, port) if parts.hostname and parts.scheme in _PORTS else None


def knock(camera: str, address: Address, timeout_s: float) -> None:
    """Return as soon as somebody answers. Raises CameraNotFoundError where nobody does."""
    place = endpoint(camera, address)
    if place is None or (address.target.startswith("http") and "http_proxy" in os.environ):
        return  # through a proxy only FFmpeg knows the way
    deadline_s = time.monotonic() + timeout_s
    while True:
        left_s = deadline_s - time.monotonic()
        try:
            socket.create_connection(place, max(0.1, min(left_s, _ASK_AGAIN_S))).close()
        except OSError as error:
            if not isinstance(error, TimeoutError) or left_s <= _ASK_AGAIN_S:
                raise unreachable(camera, address, error) from error
        else:
            return


def unreachable(camera: str, address: Address, error: Exception) -> CameraNotFoundError:
    """The error for a connection that failed."""
    reason = "it does not answer" if isinstance(error, TimeoutError) else str(error) or "no answer"
    return CameraNotFoundError(f"{camera}: {address.shown} cannot be reached: {reason}")
