"""MediaPipe itself: how it is loaded, and two of its habits put right.

It writes dozens of lines of its own to stderr, and from 0.10.33 on it reports to its maker how much it is
used: what looks at people at night here keeps that to itself. Nothing else in the project imports mediapipe.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, Final

from capture._system import apt_line, has_apt
from codec.errors import MissingExtraError, NightrigError

# Nothing ever listens there. The library sends its reports with libcurl, which takes proxies from here.
_NOBODY: Final = "http://127.0.0.1:9"
_PROXY_VARIABLES: Final = ("https_proxy", "HTTPS_PROXY")
_EXEMPTIONS: Final = ("no_proxy", "NO_PROXY")
_GRAPHICS: Final = {"libEGL.so.1": "libegl1", "libGLESv2.so.2": "libgles2"}


class UnloadableLibraryError(MissingExtraError):
    """mediapipe is installed, but this system lacks what it needs; the message names it."""

    def __init__(self, message: str) -> None:
        NightrigError.__init__(self, message)
        self.package = self.extra = "mediapipe"


def load_mediapipe(purpose: str) -> Any:
    """The module mediapipe, kept from sending reports. Raises MissingExtraError.

    From now on nothing in this process reaches an https address by libcurl.
    """
    for variable in _EXEMPTIONS:
        os.environ.pop(variable, None)
    for variable in _PROXY_VARIABLES:
        os.environ[variable] = _NOBODY
    try:
        with hushed():
            mediapipe = importlib.import_module("mediapipe")
            # Versions without it are too old, or somebody else's module.
            mediapipe.tasks.vision.PoseLandmarker  # noqa: B018
    except ModuleNotFoundError as error:
        raise MissingExtraError(package="mediapipe", extra="mediapipe", purpose=purpose) from error
    except (ImportError, OSError, AttributeError) as error:
        raise UnloadableLibraryError(f"{purpose}: {why_it_does_not_load(error)}") from error
    return mediapipe


def why_it_does_not_load(error: Exception) -> str:
    """One line with the way out. The shared library itself is loaded when the first landmarker is made."""
    text = " ".join(str(error).split())
    missing = re.match(r"(lib[\w.+-]+\.so[.\d]*): cannot open shared object file", text)
    if missing and missing[1] in _GRAPHICS:
        how = apt_line(_GRAPHICS.values()) if has_apt() else f"install {' and '.join(_GRAPHICS)}"
        return f"mediapipe is installed, but {missing[1]} is missing on this system: {how}"
    return f"mediapipe is installed but does not load: {text}"


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Nothing reaches this process's stderr meanwhile, from whichever library. Errors come as exceptions."""
    sys.stderr.flush()
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - devnull is no path of ours
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
