"""Why a network stream does not open.

FFmpeg keeps the reason to itself, so the server is asked again in plain words: is there a way to it, does it
answer, with what status, with what kind of content. Called after a failure only; its messages never show a
password. What may mend itself (a server that is starting, or has no picture yet) is a camera that is not
there; only what is no video at all is a wrong profile.
"""

from __future__ import annotations

import base64
import http.client
from urllib.parse import unquote, urlsplit

from capture.sources._cv_address import Address
from capture.sources._cv_knock import endpoint, unreachable
from codec.errors import CameraError, CameraNotFoundError, CameraProfileError

_QUESTION_TIMEOUT_S = 2.0
_VIDEO_TYPES = ("multipart/", "video/", "image/", "application/octet-stream")


def explain_failure(camera: str, address: Address, timeout_s: float) -> CameraError:
    """Why the stream does not open, as the error to raise."""
    place = endpoint(camera, address)
    if place is None:
        return CameraNotFoundError(f"{camera}: no stream came from {address.shown}")
    if not urlsplit(address.target).scheme.startswith("http"):
        return CameraNotFoundError(
            f"{camera}: {address.shown} answers, but with no stream that FFmpeg can read; check path and"
            " password"
        )
    try:
        return _http_failure(camera, address, *place, min(timeout_s, _QUESTION_TIMEOUT_S))
    except (OSError, http.client.HTTPException) as error:
        return unreachable(camera, address, error)


def _http_failure(camera: str, address: Address, host: str, port: int, timeout_s: float) -> CameraError:
    parts = urlsplit(address.target)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(host, port, timeout=timeout_s)
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
        return CameraNotFoundError(f"{said}; it is starting, or another program is watching it")
    if answer.status >= 300:
        return CameraNotFoundError(f"{said}; check the path")
    if kind_sent.lower().startswith(_VIDEO_TYPES):
        return CameraNotFoundError(f"{said} with {kind_sent}, but no picture came from it")
    return CameraProfileError(f"{said} with {kind_sent}, which is no video that FFmpeg can read")
