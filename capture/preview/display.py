"""Whether there is a screen, found out without losing the process.

Qt, which draws OpenCV's windows, aborts where it cannot reach the X server, and ends the process when the
server goes away. So `open_display` knocks first, with the library and the authorisation that Qt will use,
and `ExitGuard` has the last word.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import socket
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from capture._system import explain_import_error

_CONNECT_TIMEOUT_S: Final = 2.0
_X_TCP_PORT: Final = 6000
_X_SOCKETS: Final = "/tmp/.X11-unix/X"
_XCB: Final = "libxcb.so.1"
_X11_XCB: Final = "libX11-xcb.so.1"
_SCREEN_SIZE_AT: Final = 20  # bytes into xcb_screen_t: root, colormap, white, black and input masks
_QUIET_QT: Final = {"QT_LOGGING_RULES": "*=false"}


class NoDisplayError(Exception):
    """There is no screen we could show a window on; the message says why."""


@dataclass(frozen=True, slots=True)
class Display:
    """A screen that answered. `size` is None where it does not say how large it is."""

    size: tuple[int, int] | None


class ExitGuard:
    """Within it, a library that ends the process says `last_words` first, and the exit code is 0.

    Qt calls exit() when the X server or the compositor is gone, from wherever it notices.
    """

    def __init__(self, last_words: Callable[[], object]) -> None:
        self._last_words = last_words
        self._armed = False
        self._libc: Any = ctypes.CDLL(None)
        self._handler = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._at_exit)
        self._owner = ctypes.create_string_buffer(1)  # its address tells our handler from all others

    def __enter__(self) -> ExitGuard:
        register = getattr(self._libc, "__cxa_atexit")  # a class mangles such names
        self._armed = register(self._handler, None, ctypes.byref(self._owner)) == 0
        return self

    def __exit__(self, *_: object) -> None:
        """Take the handler back: it must not be called once Python has gone."""
        self._armed = False
        getattr(self._libc, "__cxa_finalize")(ctypes.byref(self._owner))

    def _at_exit(self, _: object) -> None:
        if self._armed:
            self._last_words()
            os._exit(0)


def open_display(environment: Mapping[str, str] | None = None) -> Display:
    """Reach the X server or, with an OpenCV that can use it, the Wayland compositor.

    Sets the environment that keeps Qt to what was found, and quiet; call it before cv2 is imported.
    Raises NoDisplayError.
    """
    environment = os.environ if environment is None else environment
    name = environment.get("DISPLAY", "")
    wayland = environment.get("WAYLAND_DISPLAY", "")
    if not name and not wayland:
        raise NoDisplayError("neither DISPLAY nor WAYLAND_DISPLAY is set")
    _set_quietly(_QUIET_QT)
    if name:
        try:
            _knock(name)
            size = _try_x_client(name)
        except NoDisplayError:
            if not (wayland and _opencv_speaks_wayland()):
                raise
        else:
            _set_quietly({"QT_QPA_PLATFORM": "xcb"})
            _give_events_to_qt()
            return Display(size)
    if not _opencv_speaks_wayland():
        raise NoDisplayError("this OpenCV only knows X11 and DISPLAY is not set: install and start Xwayland")
    _knock_wayland(wayland, environment.get("XDG_RUNTIME_DIR", ""))
    return Display(None)


# ---- X11 ----


def _try_x_client(name: str) -> tuple[int, int] | None:
    """Connect as Qt will, with the user's authorisation; returns the size of the screen."""
    try:
        xcb = ctypes.CDLL(_XCB)
    except OSError as error:
        raise NoDisplayError(explain_import_error(ImportError(str(error))) or str(error)) from error
    for function in (xcb.xcb_connect, xcb.xcb_get_setup):
        function.restype = ctypes.c_void_p
    xcb.xcb_setup_roots_iterator.restype = _ScreenIterator
    connection = ctypes.c_void_p(xcb.xcb_connect(name.encode(), None))
    try:
        if xcb.xcb_connection_has_error(connection):
            raise NoDisplayError(f"the X server {name} refuses the connection")
        screens = xcb.xcb_setup_roots_iterator(ctypes.c_void_p(xcb.xcb_get_setup(connection)))
        if not screens.data:
            return None
        width, height = (ctypes.c_uint16 * 2).from_address(screens.data + _SCREEN_SIZE_AT)
        return int(width), int(height)
    finally:
        xcb.xcb_disconnect(connection)


def _give_events_to_qt() -> None:
    """Load the system's libX11-xcb for everybody, before Qt finds the one in OpenCV's wheel.

    Through it Qt tells libX11 to leave the events alone. The wheel's is of an older libX11 whose structure
    was smaller; with a newer one (Debian 12) it sets the wrong field, libX11 goes on taking events that
    Qt never sees, and now and then a window stays black or a key does nothing.
    """
    with contextlib.suppress(OSError):  # without it we are where we were
        ctypes.CDLL(_X11_XCB, mode=ctypes.RTLD_GLOBAL)


class _ScreenIterator(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("rem", ctypes.c_int), ("index", ctypes.c_int))


def _knock(name: str) -> None:
    """See whether anybody listens there, without waiting minutes for a host that does not answer."""
    match = re.fullmatch(r"(?P<host>.*):(?P<display>\d+)(\.\d+)?", name)
    if match is None:
        if Path(name).exists():
            return  # a socket by its path, as macOS's XQuartz has it
        raise NoDisplayError(f"DISPLAY={name} is not host:number")
    host, display = match["host"], int(match["display"])
    if host in ("", "unix") or host.endswith("/unix"):
        _try_socket(socket.AF_UNIX, f"{_X_SOCKETS}{display}", name)
    else:
        _try_socket(socket.AF_INET, (host.strip("[]"), _X_TCP_PORT + display), name)


def _try_socket(family: socket.AddressFamily, address: Any, name: str) -> None:
    try:
        if family == socket.AF_INET:
            socket.create_connection(address, _CONNECT_TIMEOUT_S).close()
            return
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(_CONNECT_TIMEOUT_S)
            _connect_unix(client, address)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise NoDisplayError(f"no X server answers at DISPLAY={name} ({reason})") from error


def _connect_unix(client: socket.socket, path: str) -> None:
    """Some servers listen in the abstract name space, too, or only there."""
    try:
        client.connect(path)
    except OSError:
        client.connect(f"\0{path}")


# ---- Wayland ----


def _opencv_speaks_wayland() -> bool:
    """The wheels bring Qt's X11 plugin alone; an OpenCV of the distribution finds its own way."""
    spec = find_spec("cv2")
    if spec is None or spec.origin is None:
        return False
    plugins = Path(spec.origin).parent / "qt" / "plugins" / "platforms"
    return not plugins.is_dir() or any(plugins.glob("libqwayland*"))


def _knock_wayland(name: str, runtime_folder: str) -> None:
    path = Path(runtime_folder or "/") / name
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise NoDisplayError(f"WAYLAND_DISPLAY={name}: {path} is no socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_CONNECT_TIMEOUT_S)
            client.connect(str(path))
    except OSError as error:
        raise NoDisplayError(f"no compositor answers at {path} ({error.strerror or error})") from error


def _set_quietly(variables: Mapping[str, str]) -> None:
    """What the user has set stays."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)
