"""`nightrig play`: a recording in a window, at the pace it was recorded at."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from capture._picture_streams import picture_streams
from capture.cli._kernels import warn_of_showing
from capture.preview.display import Display, ExitGuard, NoDisplayError, open_display
from capture.recording import Recording
from codec.errors import ConfigError, NightrigError, StorageError

if TYPE_CHECKING:
    from capture.player import Player
    from capture.preview.status import Field

HELP = "show a recording in a window"
EPILOG = """keys: space pause and go on; . or right arrow one frame on; , or left arrow one frame back;
s snapshot (a PNG in the current folder); q quit
At the end the last picture stays until q (space plays again); --loop begins again by itself.

examples:
  nightrig play recordings/20250101T220000Z-demo
  nightrig play recordings/20250101T220000Z-demo --camera front --speed 0.25

exit codes: 0 done; 1 failed (no display, for one); 2 usage."""

_TITLE = "nightrig play"
_HINT = "space pause   , . step   s snapshot   q quit"
_SHORTEST_FRAME_S = 1 / 60
_PAUSED_WAIT_S = 0.05
_WORD_S = 3.0
_SHARE_OF_SCREEN = 0.9
_SMALLEST_WINDOW = 120
_ESCAPE = 27
# What waitKeyEx gives for the arrows: X11 key symbols.
_LEFT, _RIGHT = 0xFF51, 0xFF53


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", metavar="SESSION", type=Path, help="a session, a camera's folder or a .nrig file"
    )
    parser.add_argument("--camera", metavar="NAME", help="only this one")
    parser.add_argument("--speed", metavar="X", type=float, default=1.0, help="times the recorded pace")
    parser.add_argument("--loop", action="store_true", help="begin again at the end")


def run(args: argparse.Namespace) -> int:
    if not 0 < args.speed < float("inf"):
        raise ConfigError(f"--speed {args.speed:g}: must be above 0")
    with Recording(args.path) as recording:
        streams = picture_streams(recording, args.camera)  # what is wrong with the arguments comes first
        try:
            display = open_display()  # before OpenCV is loaded
        except NoDisplayError as error:
            raise NightrigError(f"play needs a display: {error}") from error
        warn_of_showing(streams)
        from capture.player import Player

        player = Player(recording, camera=args.camera, speed=args.speed, loop=args.loop)
        with ExitGuard(_display_gone):
            _Window(player, display).show()
    return 0


def _display_gone() -> None:
    print("nightrig: the display is gone", file=sys.stderr, flush=True)
    os._exit(1)  # Qt is on its way out of the process, and would leave with 0


class _Window:
    """The window, its keys and its clock."""

    def __init__(self, player: Player, display: Display) -> None:
        import cv2

        from capture.preview import tiles
        from capture.preview.status import Field

        self._cv2, self._tiles, self._field = cv2, tiles, Field
        self._player = player
        self._word: Field | None = None
        self._word_until_s = 0.0
        width, height = tiles.LARGEST
        if display.size is not None:
            width = min(width, int(_SHARE_OF_SCREEN * display.size[0]))
            height = min(height, int(_SHARE_OF_SCREEN * display.size[1]))
        try:
            cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL)
        except cv2.error:
            raise NightrigError(
                "this OpenCV has no windows (opencv-python-headless?): pip install opencv-python"
            ) from None
        self._size = tiles.natural_size(player.tiles(), player.fields(), largest=(width, height))
        cv2.resizeWindow(_TITLE, *self._size)

    def show(self) -> None:
        """Play until told to quit or the window is closed."""
        last_s = time.monotonic()
        while True:
            self._draw()
            wait_s = max(_SHORTEST_FRAME_S, self._player.frame_s) if self._player.playing else _PAUSED_WAIT_S
            spent_s = time.monotonic() - last_s
            key = self._cv2.waitKeyEx(max(1, round(1000 * min(_PAUSED_WAIT_S, wait_s - spent_s))))
            if self._obey(key) or self._is_closed():
                break
            now_s = time.monotonic()
            self._player.advance(now_s - last_s)
            last_s = now_s
        self._cv2.destroyAllWindows()

    def _draw(self) -> None:
        _, _, width, height = self._cv2.getWindowImageRect(_TITLE)
        if width >= _SMALLEST_WINDOW and height >= _SMALLEST_WINDOW:
            self._size = (width, height)
        self._picture = self._tiles.compose(
            self._player.tiles(),
            self._player.fields(),
            size=self._size,
            span=self._player.span,
            badge=self._badge(),
            hint=_HINT,
        )
        self._cv2.imshow(_TITLE, self._picture)

    def _badge(self) -> Field | None:
        if time.monotonic() < self._word_until_s:
            return self._word
        if self._player.playing:
            return None
        return self._field("", "END" if self._player.at_end else "PAUSED", "warn")

    def _obey(self, key: int) -> bool:
        """True for the key that quits."""
        if key == -1:
            return False
        symbol, letter = key & 0xFFFF, chr(key & 0xFF).lower()
        if symbol == _LEFT or letter == ",":
            self._player.step(-1)
        elif symbol == _RIGHT or letter == ".":
            self._player.step(1)
        elif letter == " ":
            self._player.toggle()
        elif letter == "s":
            self._snapshot()
        return letter == "q" or symbol == _ESCAPE

    def _is_closed(self) -> bool:
        try:
            return bool(self._cv2.getWindowProperty(_TITLE, self._cv2.WND_PROP_VISIBLE) < 1)
        except self._cv2.error:  # with its last window gone, Qt's part of OpenCV knows none any more
            return True

    def _snapshot(self) -> None:
        from capture.preview.process import save_snapshot

        try:
            path = save_snapshot(self._picture, Path.cwd())
        except StorageError as error:
            print(f"no snapshot: {error}", file=sys.stderr)
            self._say("no snapshot: the disk refused it")
        else:
            self._say(f"saved {path.name}")

    def _say(self, words: str) -> None:
        self._word, self._word_until_s = self._field("", words, "good"), time.monotonic() + _WORD_S
