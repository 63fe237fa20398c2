"""Why a network stream does not open.

FFmpeg keeps the reason to itself, so the server is asked again in plain words: is there a way to it, does it
answer, with what status, with what kind of content. Called after a failure only; its messages never show a
password.
"""

from __future__ import annotations

import base64
import http.client
import socket
from urllib.parse import unquote, urlsplit

from capture.sources._cv_address import Address
from codec.errors import CameraBusyError, CameraError, CameraNotFoundError, CameraProfileError

_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935}
_QUESTION_TIMEOUT_S = 2.0


def explain_failure(camera: str, address: Address, timeout_s: float) -> CameraError:
    """Why the stream does not open, as the error to raise."""
    parts = urlsplit(address.target)
    try:
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return CameraNotFoundError(f"{camera}: {address.shown} is no address: its port is not a number")
    timeout_s = min(timeout_s, _QUESTION_TIMEOUT_S)
    if not parts.hostname or not port or parts.scheme == "udp":
        return CameraNotFoundError(f"{camera}: no stream came from {address.shown}")
    try:
        if parts.scheme in ("http", "https"):
            return _http_failure(camera, address, port, timeout_s)
        socket.create_connection((parts.hostname, port), timeout_s).close()
    except (OSError, http.client.HTTPException) as error:
        reason = "it does not answer" if isinstance(error, TimeoutError) else str(error) or "no answer"
        return CameraNotFoundError(f"{camera}: {address.shown} cannot be reached: {reason}")
    return CameraProfileError(
        f"{camera}: {address.shown} answers, but with no stream that FFmpeg can read; check path and password"
    )


def _http_failure(camera: str, address: Address, port: int, timeout_s: float) -> CameraError:
    parts = urlsplit(address.target)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", port, timeout=timeout_s)
    headers = {}
    if parts.username:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(login).decode("ascii")
    try:
        connection.request(
            "GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), headers=headers
        )
        answer = connection.getresponse()
        kind_sent = answer.getheader("Content-Type", "nothing it names")
    finally:
        connection.close()
    said = f"{camera}: {address.shown} answers {answer.status} {answer.reason}"
    if answer.status in (401, 403):
        return CameraNotFoundError(f"{said}; put user:password@ in front of the host")
    if answer.status == 503:
        return CameraBusyError(f"{said}; another program may be watching it")
    if answer.status >= 300:
        return CameraNotFoundError(f"{said}; check the path")
    return CameraProfileError(f"{said} with {kind_sent}, which is no video that FFmpeg can read")
