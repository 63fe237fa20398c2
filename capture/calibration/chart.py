"""The reprojection errors of a calibration as one picture: where they are, how large, and in which sighting.

A row a camera: left, every corner where it was seen, with its error as a line thirty times as long, over one
of the pictures; right, the size of the error of each sighting. What is systematic shows as a pattern (a bent
board, a wrong model of the lens), what is noise does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from capture.calibration.board_pose import rms_px
from capture.calibration.boards import Picture, Sighting

Float64 = npt.NDArray[np.float64]

_PANEL_HEIGHT: Final = 420
_BARS_WIDTH: Final = 520
_MARGIN: Final = 46
_ENLARGED: Final = 30.0
_INK, _PAPER, _GRID = (40, 40, 40), (255, 255, 255), (215, 215, 215)
_GOOD, _BAD = (80, 150, 40), (40, 60, 220)
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, slots=True, eq=False)
class ErrorPanel:
    """What is drawn of one camera.

    errors_px: one (n, 2) per sighting, seen minus projected, NaN where that is not told; used: whether it
    took part in the fit.
    """

    title: str
    size: tuple[int, int]
    sightings: Sequence[Sighting]
    errors_px: Sequence[Float64]
    used: Sequence[bool]
    picture: Picture | None = None


def draw_chart(panels: Mapping[str, ErrorPanel]) -> Picture:
    """(height, width, 3) BGR."""
    rows = [np.hstack([_where(panel), _how_large(panel)]) for panel in panels.values()]
    width = max(row.shape[1] for row in rows)
    padded = [
        cv2.copyMakeBorder(row, 0, 6, 0, width - row.shape[1], cv2.BORDER_CONSTANT, value=_PAPER)
        for row in rows
    ]
    return np.asarray(np.vstack(padded), np.uint8)


def _where(panel: ErrorPanel) -> Picture:
    width, height = panel.size
    factor = (_PANEL_HEIGHT - 2 * _MARGIN) / height
    shown = (max(1, round(width * factor)), _PANEL_HEIGHT - 2 * _MARGIN)
    canvas = np.full((_PANEL_HEIGHT, shown[0] + 2 * _MARGIN, 3), 255, np.uint8)
    inner = canvas[_MARGIN : _MARGIN + shown[1], _MARGIN : _MARGIN + shown[0]]
    if panel.picture is not None:
        picture = (
            panel.picture if panel.picture.ndim == 3 else cv2.cvtColor(panel.picture, cv2.COLOR_GRAY2BGR)
        )
        # Half faded, so that the lines stand out.
        inner[:] = 127 + cv2.resize(np.asarray(picture, np.uint8), shown, interpolation=cv2.INTER_AREA) // 2
    cv2.rectangle(canvas, (_MARGIN, _MARGIN), (_MARGIN + shown[0] - 1, _MARGIN + shown[1] - 1), _GRID, 1)
    for seen, errors, used in zip(panel.sightings, panel.errors_px, panel.used, strict=True):
        for pixel, error in zip(seen.pixels, errors, strict=True):
            start = (pixel + 0.5) * factor + _MARGIN
            end = start + error * _ENLARGED
            at = (int(start[0]), int(start[1]))
            if np.isfinite(end).all():
                to = (int(end[0]), int(end[1]))
                cv2.line(canvas, at, to, _GOOD if used else _BAD, 1, cv2.LINE_AA)
            cv2.circle(canvas, at, 1, _INK, -1, cv2.LINE_AA)
    cv2.putText(canvas, panel.title, (_MARGIN, 28), _FONT, 0.5, _INK, 1, cv2.LINE_AA)
    words = f"errors x{_ENLARGED:.0f}"
    cv2.putText(canvas, words, (_MARGIN, _PANEL_HEIGHT - 16), _FONT, 0.42, _INK, 1, cv2.LINE_AA)
    return canvas


def _how_large(panel: ErrorPanel) -> Picture:
    canvas = np.full((_PANEL_HEIGHT, _BARS_WIDTH, 3), 255, np.uint8)
    sizes = [rms_px([errors]) for errors in panel.errors_px]
    top_px = max([0.5, *sizes])
    floor, height = _PANEL_HEIGHT - _MARGIN, _PANEL_HEIGHT - 2 * _MARGIN
    for share in (0.25, 0.5, 0.75, 1.0):
        y = round(floor - share * height)
        cv2.line(canvas, (_MARGIN, y), (_BARS_WIDTH - 10, y), _GRID, 1)
        cv2.putText(canvas, f"{share * top_px:.2f}", (4, y + 4), _FONT, 0.38, _INK, 1, cv2.LINE_AA)
    step = (_BARS_WIDTH - 10 - _MARGIN) / max(1, len(sizes))
    for i, (size_px, used) in enumerate(zip(sizes, panel.used, strict=True)):
        left, right = _MARGIN + step * i, _MARGIN + step * (i + 0.8)
        corner = (max(int(left) + 1, int(right)), floor - round(size_px / top_px * height))
        cv2.rectangle(canvas, (int(left), floor), corner, _GOOD if used else _BAD, -1)
    words = "pixels off in each sighting (root mean square); red: left out"
    cv2.putText(canvas, words, (_MARGIN, 28), _FONT, 0.42, _INK, 1, cv2.LINE_AA)
    return canvas
