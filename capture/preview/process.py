"""The preview process: an OpenCV window with what the rig sees now, and the line of truth below it.

Owns the window and nothing else. It observes: it copies the newest frames at a rate at which it stays
below a fifth of one core, at a low priority, and recording never waits for it. Told to stop by "stop" or
the end of its control pipe. Without a screen, or when the screen goes away, it says so once and ends;
closing the window only ends the preview; the key q asks for the end of the recording.

Keys: q stop, space freeze, s snapshot, m meshes, d depth/colour.

OpenCV is loaded only after a screen has answered.
"""

from __future__ import annotations

import os
import select
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from capture.preview.job import PreviewJob
from capture.spawn import Link
from codec.durable import write_atomically
from codec.errors import StorageError

if TYPE_CHECKING:
    from capture.preview._text import Picture
    from capture.preview.display import Display
    from capture.preview.sampler import Sampler
    from capture.preview.scene import Scene
    from capture.preview.status import Field, Level
    from capture.preview.tiles import Tile

_NICENESS = 10
_SHARE_OF_A_CORE = 0.18
_SHORTEST_INTERVAL_S = 1 / 15
_LONGEST_INTERVAL_S = 2.0
_LOOK_S = 0.1
_KEY_S = 0.05
_STATUS_S = 1.0
_WORD_S = 4.0
_SHARE_OF_SCREEN = 0.9
_SMALLEST_WINDOW = 120
_NO_KEY = 255
_HINT = "q stop   space freeze   s snapshot   m mesh   d depth/colour"
_OFF = "the preview is off (recording goes on)"
_APT_LINE = "apt-get install -y libgl1 libglib2.0-0"


def run(job: PreviewJob, link: Link) -> int:
    """Entry of the process."""
    from capture.preview.display import ExitGuard, NoDisplayError, open_display
    from capture.preview.sampler import Sampler

    os.nice(_NICENESS)
    sampler = Sampler(job)  # before OpenCV is loaded: what rings say of themselves does not stay for long
    try:
        display = open_display()
    except NoDisplayError as error:
        return _end(link, f"no display: {_OFF}: {error}")
    with ExitGuard(lambda: _end(link, f"the display is gone: {_OFF}")):
        try:
            window = _Window(job, sampler, display)
        except ImportError as error:
            return _end(link, f"{_OFF}: {_import_advice(error)}")
        except _NoWindowsError as error:
            return _end(link, f"{_OFF}: {error}")
        return _end(link, window.show(link))


def _end(link: Link, why: str) -> int:
    if why:
        link.event("notice", message=why)
    link.event("done")
    return 0


def _import_advice(error: ImportError) -> str:
    from capture._system import explain_import_error

    if isinstance(error, ModuleNotFoundError):
        return "OpenCV is not installed: pip install opencv-python"
    return explain_import_error(error) or f"OpenCV does not load ({error}): {_APT_LINE}"


class _NoWindowsError(Exception):
    """OpenCV is there but cannot open a window."""


@dataclass(slots=True)
class Controls:
    """What the keys have set. `press` returns what the window has to do itself: "quit", "snapshot" or ""."""

    scene: Scene
    frozen: bool = False
    stopping: bool = False

    def press(self, key: int) -> str:
        from capture.preview.scene import VIEWS

        letter = chr(key).lower() if 0 <= key < 128 else ""
        if letter == "q" and not self.stopping:  # a second "quit" would ask for haste
            self.stopping = True
            return "quit"
        if letter == "s":
            return "snapshot"
        if letter == " ":
            self.frozen = not self.frozen
        elif letter == "m":
            self.scene.meshes = not self.scene.meshes
        elif letter == "d":
            self.scene.view = VIEWS[(VIEWS.index(self.scene.view) + 1) % len(VIEWS)]
        return ""


@dataclass(slots=True)
class Pace:
    """When to draw next, from what drawing has cost: CPU seconds of the whole process, Qt's included."""

    interval_s: float = _SHORTEST_INTERVAL_S
    _cpu_s: float = field(default_factory=time.process_time)

    def drawn(self, cpu_s: float) -> None:
        """One picture more, with the process's CPU time until now."""
        spent_s, self._cpu_s = cpu_s - self._cpu_s, cpu_s
        wanted_s = spent_s / _SHARE_OF_A_CORE
        # Half-way there: a single dear picture (a window being moved) should not make it stutter.
        self.interval_s += 0.5 * (wanted_s - self.interval_s)
        self.interval_s = min(_LONGEST_INTERVAL_S, max(_SHORTEST_INTERVAL_S, self.interval_s))


class _Window:
    """The window and its loop."""

    def __init__(self, job: PreviewJob, sampler: Sampler, display: Display) -> None:
        import cv2

        from capture.preview import status, tiles
        from capture.preview.scene import Scene

        cv2.setNumThreads(1)
        self._cv2, self._tiles, self._status = cv2, tiles, status
        self._session = job.session
        self._display = display
        self._sampler = sampler
        self._scene = Scene(sampler)
        self._controls = Controls(self._scene)
        self._pace = Pace()
        self._title = f"nightrig: {job.rig}"
        self._picture: Picture | None = None
        self._fields: tuple[Field, ...] = ()
        self._word: Field | None = None
        self._word_until_s = self._draw_at_s = self._status_at_s = 0.0
        self._shapes: tuple[tuple[str, int, int], ...] = ()
        self._size = tiles.LARGEST
        self._open()

    def _open(self) -> None:
        cv2 = self._cv2
        try:
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL)
        except cv2.error:
            raise _NoWindowsError(
                "this OpenCV has no windows (opencv-python-headless?): pip install opencv-python"
            ) from None

    def show(self, link: Link) -> str:
        """Draw until told to stop (returns "") or the window is closed (returns a word about that)."""
        look_at_s = 0.0
        while not any(command in ("stop", "orphaned") for command in link.commands()):
            now_s = time.monotonic()
            if now_s >= look_at_s:
                self._sampler.look()
                look_at_s = now_s + _LOOK_S
            if now_s >= self._draw_at_s:
                self._draw(now_s)
                self._pace.drawn(time.process_time())
                self._draw_at_s = now_s + self._pace.interval_s
            self._obey_key(link)
            if self._is_closed():
                return f"the window was closed: {_OFF}"
            self._rest(link, self._draw_at_s - time.monotonic())
        self._cv2.destroyAllWindows()
        return ""

    def _rest(self, link: Link, until_draw_s: float) -> None:
        """Sleep here and not in waitKey, to hear the supervisor at once."""
        select.select([link.control_fd], [], [], max(0.0, min(_KEY_S, until_draw_s)))

    # ---- drawing ----

    def _draw(self, now_s: float) -> None:
        if not self._controls.frozen:
            self._scene.refresh()
        if now_s >= self._status_at_s:
            self._fields = self._status.fields(self._sampler.status())
            if not self._controls.frozen:
                self._scene.follow_depth()
            self._status_at_s = now_s + _STATUS_S
        tiles = self._scene.tiles()
        self._fit_window(tiles)
        self._picture = self._tiles.compose(
            tiles,
            self._fields,
            size=self._size,
            span=self._scene.span,
            badge=self._badge(now_s),
            hint=_HINT,
        )
        self._cv2.imshow(self._title, self._picture)

    def _fit_window(self, tiles: list[Tile]) -> None:
        """A window as large as its tiles need; once the user has resized it, tiles as large as fit."""
        shapes = tuple((tile.group, tile.width, tile.height) for tile in tiles)
        if shapes != self._shapes:
            self._shapes = shapes
            self._size = self._tiles.natural_size(tiles, self._fields, largest=self._largest())
            self._cv2.resizeWindow(self._title, *self._size)
            return
        _, _, width, height = self._cv2.getWindowImageRect(self._title)
        if width >= _SMALLEST_WINDOW and height >= _SMALLEST_WINDOW:
            self._size = (width, height)

    def _largest(self) -> tuple[int, int]:
        width, height = self._tiles.LARGEST
        if self._display.size is None:
            return width, height
        screen_width, screen_height = self._display.size
        return (
            min(width, int(_SHARE_OF_SCREEN * screen_width)),
            min(height, int(_SHARE_OF_SCREEN * screen_height)),
        )

    def _badge(self, now_s: float) -> Field | None:
        if self._controls.stopping:
            return self._status.Field("", "STOPPING", "warn")
        if now_s < self._word_until_s:
            return self._word
        if self._controls.frozen:
            return self._status.Field("", "FROZEN  (recording goes on)", "warn")
        return None

    # ---- keys ----

    def _obey_key(self, link: Link) -> None:
        key = self._cv2.waitKey(1) & 0xFF
        if key == _NO_KEY:
            return
        asked = self._controls.press(key)
        self._draw_at_s = 0.0  # at once
        if asked == "quit":
            link.event("quit")
        elif asked == "snapshot":
            self._snapshot(link)

    def _is_closed(self) -> bool:
        try:
            return bool(self._cv2.getWindowProperty(self._title, self._cv2.WND_PROP_VISIBLE) < 1)
        except self._cv2.error:  # with its last window gone, Qt's part of OpenCV knows none any more
            return True

    def _snapshot(self, link: Link) -> None:
        if self._picture is None:
            return
        try:
            path = save_snapshot(self._picture, self._session)
        except StorageError as error:
            link.event("notice", message=f"no snapshot: {error}")
            self._say("no snapshot: the disk refused it", "bad")
        else:
            self._say(f"saved {path.name}", "good")

    def _say(self, words: str, level: Level) -> None:
        self._word = self._status.Field("", words, level)
        self._word_until_s = time.monotonic() + _WORD_S


def save_snapshot(picture: Picture, session: Path) -> Path:
    """Write the picture as snapshot-<utc>.png. Raises StorageError."""
    import cv2

    now_s = time.time()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now_s))
    path = session / f"snapshot-{stamp}.{int(now_s * 1000) % 1000:03d}Z.png"
    write_atomically(path, cv2.imencode(".png", picture)[1].tobytes())
    return path
