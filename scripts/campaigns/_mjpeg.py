"""A webcam on the network for campaigns: numbered JPEGs over HTTP, which can be cut off, held silent, and be
gone from the network altogether."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from scripts.campaigns._test_camera import jpeg_file, numbered_jpeg

_BOUNDARY = b"frame"
_ALL = 1 << 62


class MjpegCamera:
    """Serves while its `with` block lasts. absent: connections end and new ones are refused with 503.
    silent: connections stay open and nothing comes on them; `renewed` gives pictures to later ones.
    vanished: as if its host were off. Nothing comes any more, and who wants to connect gets no answer."""

    def __init__(self, *, width: int = 160, height: int = 120, fps: float = 15.0) -> None:
        self.absent = False
        self.interval_s = 1.0 / fps
        self.jpeg = jpeg_file(width, height)
        self._silent_up_to = 0
        self._connections = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._crowd: list[socket.socket] = []
        self.closing = threading.Event()

    @property
    def silent(self) -> bool:
        """Whether the connections of now are to stay silent."""
        return self._silent_up_to == _ALL

    @silent.setter
    def silent(self, value: bool) -> None:
        self._silent_up_to = _ALL if value else 0

    def renewed(self) -> None:
        """Connections from now on get pictures; those of before stay as they are."""
        if self.silent:
            self._silent_up_to = self._connections

    @property
    def vanished(self) -> bool:
        return bool(self._crowd)

    @vanished.setter
    def vanished(self, value: bool) -> None:
        if value == self.vanished:
            return
        if not value:
            while self._crowd:
                self._crowd.pop().close()
            self._serve()
            return
        self._silent_up_to = self._connections
        self._stop_serving()
        self._server.socket.listen(0)
        for _ in range(4):  # with its queue full, the system does not answer any more
            self._crowd.append(socket.socket())
            self._crowd[-1].setblocking(False)
            self._crowd[-1].connect_ex(self._server.server_address)

    def _serve(self) -> None:
        self._server.socket.listen(5)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def _stop_serving(self) -> None:
        self._server.shutdown()
        self._thread.join()

    def connected(self) -> int:
        """A new connection's number."""
        self._connections += 1
        return self._connections

    def is_mute(self, connection: int) -> bool:
        return connection <= self._silent_up_to

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/video"

    def __enter__(self) -> MjpegCamera:
        self._serve()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self.vanished = False
        self._stop_serving()
        self._server.server_close()


def _handler(camera: MjpegCamera) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            if camera.absent:
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY.decode()}")
            self.end_headers()
            number, connection = 0, camera.connected()
            while not camera.absent and not camera.closing.wait(camera.interval_s):
                if camera.is_mute(connection):
                    continue
                number += 1
                data = numbered_jpeg(camera.jpeg, number).tobytes()
                head = b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
                try:
                    self.wfile.write(head % (_BOUNDARY, len(data)) + data + b"\r\n")
                except OSError:
                    return

    return Handler
