"""An HTTP MJPEG camera for tests: sends given JPEGs as multipart, at a pace, and misbehaves on command.

Every connection to /video starts with the first picture. What comes after the last one is `after`:
"close" ends the connection, "hold" keeps it open and silent, "repeat" starts again. Other paths answer as
broken servers do: /missing 404, /private 401, /busy 503, /page a web page, /mute a video without a picture.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

_STATUS = {"/missing": 404, "/private": 401, "/busy": 503}


class MjpegServer:
    """Serves while its `with` block lasts."""

    def __init__(
        self, jpegs: Sequence[bytes], *, fps: float = 200.0, after: str = "close", lengths: bool = True
    ) -> None:
        self.jpegs = list(jpegs)
        self.interval_s = 1 / fps
        self.after = after
        self.lengths = lengths
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, path: str = "/video") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def release(self) -> None:
        """End the connections that are held open."""
        self.released.set()

    def __enter__(self) -> MjpegServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(camera: MjpegServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.path in _STATUS:
                self.send_error(_STATUS[self.path])
            elif self.path == "/page":
                self._send_page()
            elif self.path == "/mute":
                self._begin_video()
                camera.released.wait()
            else:
                self._send_video()

        def _send_page(self) -> None:
            page = b"<html>no camera here</html>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def _begin_video(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()

        def _send_video(self) -> None:
            self._begin_video()
            try:
                while True:
                    for jpeg in camera.jpegs:
                        self._send_part(jpeg)
                        if camera.released.wait(camera.interval_s):
                            return
                    if camera.after == "hold":
                        camera.released.wait()
                    if camera.after != "repeat":
                        return
            except OSError:
                return  # the client went away
            finally:
                self.close_connection = True

        def _send_part(self, jpeg: bytes) -> None:
            length = f"Content-Length: {len(jpeg)}\r\n" if camera.lengths else ""
            head = f"--frame\r\nContent-Type: image/jpeg\r\n{length}\r\n"
            self.wfile.write(head.encode("ascii") + jpeg + b"\r\n")
            self.wfile.flush()

    return Handler
