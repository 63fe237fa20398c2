"""A real X server without a screen (Xvfb), its picture, and a hand that presses keys and closes windows.

Speaks the few X11 requests it needs itself, so that the tests want no package but Xvfb.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

START_S = 20.0
XVFB = shutil.which("Xvfb")


class XServer:
    """A running Xvfb of its own display number; `with` ends it."""

    def __init__(self, folder: Path, size: tuple[int, int] = (1400, 900)) -> None:
        assert XVFB is not None
        self._folder = folder
        read_fd, write_fd = os.pipe()
        geometry = f"{size[0]}x{size[1]}x24"
        self.process = subprocess.Popen(
            [
                *(XVFB, "-displayfd", str(write_fd), "-screen", "0", geometry),
                *("-fbdir", str(folder), "-nolisten", "tcp", "-noreset"),
            ],
            pass_fds=[write_fd],
            stderr=subprocess.DEVNULL,
        )
        os.close(write_fd)
        with os.fdopen(read_fd) as file:
            number = file.readline().strip()
        if not number:
            raise RuntimeError(f"Xvfb ended with {self.process.wait()}")
        self.name = f":{number}"

    def __enter__(self) -> XServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def picture(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """What the screen shows now, BGR: the server keeps it in a file in XWD format."""
        raw = (self._folder / "Xvfb_screen0").read_bytes()
        header = struct.unpack_from(">25I", raw)
        header_size, width, height = header[0], header[4], header[5]
        bits, line_bytes, colors = header[11], header[12], header[19]
        assert bits == 32
        pixels = np.frombuffer(raw, np.uint8, line_bytes * height, header_size + 12 * colors)
        return pixels.reshape(height, line_bytes)[:, : 4 * width].reshape(height, width, 4)[..., :3]

    def wait_for_picture(
        self, wanted: Callable[[np.ndarray[Any, np.dtype[np.uint8]]], bool], *, what: str
    ) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The first picture for which `wanted` holds; fails the test with `what` where none comes."""
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s:
            picture = self.picture()
            if wanted(picture):
                return picture
            time.sleep(0.05)
        raise AssertionError(f"within {START_S:.0f} s the screen did not show {what}")


class Hand:
    """An X client that acts as the user would."""

    def __init__(self, display: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(f"/tmp/.X11-unix/X{display[1:]}")
        self._socket.sendall(struct.pack("<BxHHHHxx", 0x6C, 11, 0, 0, 0))
        status, length = struct.unpack("<B5xH", self._read(8))
        assert status == 1, "the X server refuses the connection"
        setup = self._read(4 * length)
        vendor_bytes, formats = struct.unpack_from("<H3xB", setup, 16)
        self._first_key, self._last_key = setup[26], setup[27]
        (self.root,) = struct.unpack_from("<I", setup, 32 + _padded(vendor_bytes) + 8 * formats)
        self._xtest = self._extension("XTEST")

    def __enter__(self) -> Hand:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def windows(self) -> list[int]:
        """The visible windows at the top."""
        reply = self._ask(struct.pack("<BxHI", 15, 2, self.root))
        (count,) = struct.unpack_from("<H", reply, 16)
        found = struct.unpack_from(f"<{count}I", reply, 32)
        return [window for window in found if self._ask(struct.pack("<BxHI", 3, 2, window))[26] == 2]

    def press(self, letter: str) -> None:
        """Press and release a key over the only window."""
        (window,) = self.windows()
        self._send(struct.pack("<BxHIIhhHHhh", 41, 6, 0, window, 0, 0, 0, 0, 60, 60))
        code = self._key_code(ord(letter))
        for kind in (2, 3):
            self._send(struct.pack("<BBHBBxxII8xhh8x", self._xtest, 2, 9, kind, code, 0, 0, 0, 0))
        self._settle()

    def close_window(self) -> None:
        """What the window manager does when somebody clicks on the cross."""
        (window,) = self.windows()
        protocols, delete = self._atom("WM_PROTOCOLS"), self._atom("WM_DELETE_WINDOW")
        message = struct.pack("<BBHIIII12x", 33, 32, 0, window, protocols, delete, 0)
        self._send(struct.pack("<BBHII", 25, 0, 11, window, 0) + message)
        self._settle()

    def resize_window(self, width: int, height: int) -> None:
        (window,) = self.windows()
        self._send(struct.pack("<BxHIHxxII", 12, 5, window, 0b1100, width, height))
        self._settle()

    # ---- the protocol ----

    def _key_code(self, symbol: int) -> int:
        count = self._last_key - self._first_key + 1
        reply = self._ask(struct.pack("<BxHBBxx", 101, 2, self._first_key, count))
        each = reply[1]
        symbols = struct.unpack_from(f"<{each * count}I", reply, 32)
        return self._first_key + symbols.index(symbol) // each

    def _extension(self, name: str) -> int:
        body = name.encode().ljust(_padded(len(name)), b"\0")
        reply = self._ask(struct.pack("<BxHHxx", 98, 2 + len(body) // 4, len(name)) + body)
        assert reply[8], f"the X server has no {name}"
        return int(reply[9])

    def _atom(self, name: str) -> int:
        body = name.encode().ljust(_padded(len(name)), b"\0")
        reply = self._ask(struct.pack("<BxHHxx", 16, 2 + len(body) // 4, len(name)) + body)
        return int(struct.unpack_from("<I", reply, 8)[0])

    def _settle(self) -> None:
        """Wait until the server has done all that was asked."""
        self._ask(struct.pack("<BxH", 43, 1))

    def _send(self, request: bytes) -> None:
        self._socket.sendall(request)

    def _ask(self, request: bytes) -> bytes:
        self._send(request)
        while True:
            head = self._read(32)
            if head[0] == 1:
                return head + self._read(4 * struct.unpack_from("<I", head, 4)[0])
            assert head[0] != 0, f"the X server reports error {head[1]}"

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._socket.recv(count - len(data))
            assert part, "the X server has closed the connection"
            data += part
        return data


@contextlib.contextmanager
def x_server(folder: Path, size: tuple[int, int] = (1400, 900)) -> Iterator[tuple[XServer, Hand]]:
    """A server and a hand on it."""
    with XServer(folder, size) as server, Hand(server.name) as hand:
        yield server, hand


def _padded(count: int) -> int:
    return -(-count // 4) * 4
