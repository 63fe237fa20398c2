"""Curves over time, one panel below another, as a PNG. Drawn with OpenCV, which the recorder has anyway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

_WIDTH, _HEIGHT = 1200, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 190, 34, 30
_COLORS = (
    (200, 90, 20),
    (40, 140, 30),
    (30, 60, 210),
    (170, 40, 150),
    (20, 150, 200),
    (90, 90, 90),
    (0, 0, 0),
)
_INK, _GRID = (40, 40, 40), (225, 225, 225)
_GRID_LINES = 4
_FONT, _SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.45

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves by name over the same times; `limit` draws a line that they should stay below or above."""

    title: str
    curves: Mapping[str, Sequence[float]]
    limit: float | None = None


def draw(path: Path, times: Sequence[float], panels: Sequence[Panel], *, time_unit: str) -> None:
    """Write the picture."""
    pictures = [_panel(panel, times, time_unit) for panel in panels]
    cv2.imwrite(str(path), np.concatenate(pictures))


def _panel(panel: Panel, times: Sequence[float], time_unit: str) -> Picture:
    picture = np.full((_HEIGHT, _WIDTH, 3), 255, np.uint8)
    _write(picture, panel.title, _LEFT, _TOP - 12)
    values = [value for curve in panel.curves.values() for value in curve]
    top = max([*values, panel.limit or 0.0, 1e-9]) * 1.08
    last = max([*times, 1e-9])

    def place(time: float, value: float) -> tuple[int, int]:
        x = _LEFT + time / last * (_WIDTH - _LEFT - _RIGHT)
        y = _HEIGHT - _BOTTOM - value / top * (_HEIGHT - _TOP - _BOTTOM)
        return round(x), round(y)

    for step in range(_GRID_LINES + 1):
        share = step / _GRID_LINES
        cv2.line(picture, place(0, share * top), place(last, share * top), _GRID, 1)
        _write(picture, f"{share * top:.4g}", 8, place(0, share * top)[1] + 4)
        x, y = place(share * last, 0)
        _write(picture, f"{share * last:.3g} {time_unit}", x - 20, y + 20)
    if panel.limit is not None:
        cv2.line(picture, place(0, panel.limit), place(last, panel.limit), (0, 0, 255), 1)
    for index, (name, curve) in enumerate(panel.curves.items()):
        color = _COLORS[index % len(_COLORS)]
        points = [place(time, value) for time, value in zip(times, curve, strict=True)]
        cv2.polylines(
            picture,
            [np.array(points, np.int32)],
            isClosed=False,
            color=color,
            thickness=1,
            lineType=cv2.LINE_AA,
        )
        _write(picture, name, _WIDTH - _RIGHT + 12, _TOP + 12 + 17 * index, color)
    return picture


def _write(picture: Picture, text: str, x: int, y: int, color: tuple[int, int, int] = _INK) -> None:
    cv2.putText(picture, text, (x, y), _FONT, _SCALE, color, 1, cv2.LINE_AA)
