"""Tiles and a line of truth as one picture: arrays in, picture out.

`compose` draws everything the preview window shows, and what a player of recordings wants to show: frames
as they are recorded (see capture.frames.PIXEL_FORMATS), each shrunk to its place before anything is done
with it, its shape kept. Knows no rings, windows, files or clocks; the arrays it gets stay untouched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from capture.picture_headers import jpeg_size, jpeg_trouble
from capture.preview import depth_colors
from capture.preview._text import Color, Picture, draw_text, text_width
from capture.preview.depth_colors import DEFAULT_RANGE, DepthRange
from capture.preview.layout import GAP, HEADER, MARGIN, Rect, arrange, extent
from capture.preview.overlay import Body, draw_bodies
from capture.preview.status import Field, Level

PAPER: Final[Color] = (22, 18, 16)
CARD: Final[Color] = (37, 31, 28)
EDGE: Final[Color] = (58, 49, 44)
TEXT: Final[Color] = (240, 234, 230)
DIM: Final[Color] = (166, 152, 142)
LEVELS: Final[dict[Level, Color]] = {
    "plain": TEXT,
    "good": (142, 212, 116),
    "warn": (84, 190, 250),
    "bad": (96, 96, 255),
}
SMALL, MIDDLE, LARGE = 7.0, 8.0, 9.0  # heights of capitals in pixels

LARGEST: Final = (1280, 800)
_LEAST_WIDTH: Final = 480
_LEAST_HEIGHT_OF_PICTURE: Final = 300
_WIDEST_LEGEND: Final = 300
_LEAST_LEGEND: Final = 110
_LEAST_HEIGHT_FOR_LEGEND: Final = 100
_FIELD_HEIGHT: Final = 40
_FIELD_GAP: Final = 26
_REDUCED_JPEG: Final = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
)
_DIMMED: Final = 0.3
_AREA_BELOW: Final = 0.6  # above that, plain interpolation looks the same and takes a tenth of the time


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One stream: its name, its newest frame as it was recorded, and what else is to be shown of it.

    group          tiles of one group (a camera) stay side by side
    width, height  nominal pixels of the stream; with `data` of another shape the picture gets borders
    bodies         people, in the stream's pixels
    focal_px       of the stream; only bodies need it
    note           said in the middle, over a darkened picture: "no signal since 12 s"
    rate           said in the header: "30.0 fps"
    """

    group: str
    name: str
    width: int
    height: int
    pixel_format: str
    data: npt.NDArray[np.generic] | None = None
    depth_scale_m: float = 0.001
    rate: Field = field(default_factory=lambda: Field("", ""))
    note: str = ""
    bodies: tuple[Body, ...] = ()
    focal_px: float = 600.0

    @property
    def aspect(self) -> float:
        return self.width / max(1, self.height)


def natural_size(
    tiles: Sequence[Tile], fields: Sequence[Field] = (), *, largest: tuple[int, int] = LARGEST
) -> tuple[int, int]:
    """Width and height of a window in which nothing is left empty, at most `largest`."""
    width, height = largest
    # The line may break once more when the window gets narrower, so ask again with the new width.
    for _ in range(2):
        bar = _bar_height(fields, width)
        tiles_width, tiles_height = extent(_places(tiles, width, largest[1] - bar))
        width = min(largest[0], max(_LEAST_WIDTH, tiles_width))
        height = min(largest[1], tiles_height + _bar_height(fields, width))
    return width, height


def compose(
    tiles: Sequence[Tile],
    fields: Sequence[Field] = (),
    *,
    size: tuple[int, int],
    span: DepthRange = DEFAULT_RANGE,
    badge: Field | None = None,
    hint: str = "",
) -> Picture:
    """The picture of `size` (width, height), BGR.

    `fields` are the line along the bottom, `hint` a quiet word at its right end (what the keys do), and
    `badge` stands out over the tiles, in the colour of its level ("FROZEN", "saved snapshot-...png").
    """
    width, height = size
    bar = _bar_height(fields, width)
    places = _places(tiles, width, height - bar)
    canvas = _backdrop(width, height, places).copy()
    for tile, place in zip(tiles, places, strict=True):
        _draw_tile(canvas, tile, place, span)
    if bar:
        line = _bar(tuple(fields), hint, width)
        _paste(canvas, line, 0, height - bar)
    if badge is not None:
        _draw_badge(canvas, badge, height - bar)
    return canvas


def picture_of(tile: Tile, width: int, height: int, span: DepthRange) -> Picture | None:
    """The tile's frame as BGR, as large as fits into (width, height) without stretching it.

    None where there is no frame, or none that can be shown (a damaged JPEG).
    """
    data = tile.data
    if data is None or data.size == 0:
        return None
    if tile.pixel_format == "jpeg":
        data = _decoded(data, width)
        if data is None:
            return None
    if data.ndim < 2:
        return None
    fitted = _fit(data.shape[1], data.shape[0], width, height)
    if tile.pixel_format == "z16":
        depth = cv2.resize(data, fitted, interpolation=cv2.INTER_NEAREST)  # holes must not bleed
        return depth_colors.colored(depth, tile.depth_scale_m, span)
    much_smaller = fitted[0] < _AREA_BELOW * data.shape[1]
    picture = cv2.resize(data, fitted, interpolation=cv2.INTER_AREA if much_smaller else cv2.INTER_LINEAR)
    if picture.ndim == 2:
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    result: Picture = picture
    return result


# ---- one tile ----


def _draw_tile(canvas: Picture, tile: Tile, place: Rect, span: DepthRange) -> None:
    _paste(canvas, _header(tile.group, tile.name, tile.rate, place.width), place.x, place.y - HEADER)
    picture = picture_of(tile, place.width, place.height, span)
    note = tile.note
    if picture is None:
        note = note or ("no frame yet" if tile.data is None else "this frame cannot be shown")
    else:
        _draw_bodies(picture, tile)
        if note:
            picture = cv2.convertScaleAbs(picture, alpha=_DIMMED)
        elif tile.pixel_format == "z16":
            _draw_legend(picture, span)
        x = place.x + (place.width - picture.shape[1]) // 2
        _paste(canvas, picture, x, place.y + (place.height - picture.shape[0]) // 2)
    if note:
        middle = place.y + place.height // 2
        _draw_fitting(canvas, note, place, middle, LEVELS["warn"] if tile.data is not None else DIM)


def _draw_bodies(picture: Picture, tile: Tile) -> None:
    if not tile.bodies:
        return  # nor need its width be known
    zoom = picture.shape[1] / tile.width
    scale = np.array([zoom, zoom, 1.0], np.float32)
    zoomed = [replace(body, pixels=body.pixels * scale) for body in tile.bodies]
    draw_bodies(picture, zoomed, tile.focal_px * zoom)


@lru_cache(maxsize=64)
def _header(group: str, name: str, rate: Field, width: int) -> Picture:
    """Camera, stream and rate; the stream's name goes first where there is not room for everything."""
    picture = np.empty((HEADER, width, 3), np.uint8)
    picture[:] = CARD
    picture[0] = EDGE
    middle = HEADER // 2
    right = width - 10
    if rate.value:
        draw_text(picture, rate.value, right, middle, MIDDLE, LEVELS[rate.level], align="right")
        right -= text_width(rate.value, MIDDLE) + 12
    x = draw_text(picture, group, 10, middle, MIDDLE, TEXT, bold=True) + 10
    if x + text_width(name, MIDDLE) <= right:
        draw_text(picture, name, x, middle, MIDDLE, DIM)
    return picture


def _draw_fitting(canvas: Picture, text: str, place: Rect, middle: int, color: Color) -> None:
    """Centred, in the largest letters that fit."""
    cap = next(
        (c for c in (LARGE + 2, LARGE, MIDDLE, SMALL) if text_width(text, c) < place.width - 12), SMALL - 1
    )
    draw_text(canvas, text, place.x + place.width // 2, middle, cap, color, align="center")


def _draw_legend(picture: Picture, span: DepthRange) -> None:
    """The metre scale in the lower right corner, where the picture has room for it."""
    width = min(_WIDEST_LEGEND, max(_LEAST_LEGEND, picture.shape[1] // 2))
    if width > 0.7 * picture.shape[1] or picture.shape[0] < _LEAST_HEIGHT_FOR_LEGEND:
        return
    legend = _legend(span, width)
    height = legend.shape[0]
    y, x = picture.shape[0] - height - 8, picture.shape[1] - width - 8
    picture[y : y + height, x : x + width] = legend


@lru_cache(maxsize=8)
def _legend(span: DepthRange, width: int) -> Picture:
    height, pad = 36, 12
    legend = np.empty((height, width, 3), np.uint8)
    legend[:] = CARD
    unit = text_width("m", SMALL) + 8
    scale = width - 2 * pad - unit
    _paste(legend, depth_colors.ramp(scale, 9), pad, 7)
    for distance in depth_colors.ticks(span, max(1, scale // 30)):
        x = pad + round((scale - 1) * (distance - span.near_m) / (span.far_m - span.near_m))
        legend[16:19, x] = DIM
        draw_text(legend, f"{distance:g}", x, 26, SMALL, TEXT, align="center")
    draw_text(legend, "m", width - pad, 26, SMALL, DIM, align="right")
    return legend


# ---- the line along the bottom ----


def _bar_height(fields: Sequence[Field], width: int) -> int:
    return len(_lines(fields, width)) * _FIELD_HEIGHT + 2 if fields else 0


def _lines(fields: Sequence[Field], width: int) -> list[list[tuple[Field, int]]]:
    """The fields broken into lines, each with its width."""
    lines: list[list[tuple[Field, int]]] = [[]]
    x = MARGIN
    for entry in fields:
        wide = max(text_width(entry.label, SMALL), text_width(_steady(entry.value), LARGE, bold=True))
        if lines[-1] and x + wide > width - MARGIN:
            lines.append([])
            x = MARGIN
        lines[-1].append((entry, wide))
        x += wide + _FIELD_GAP
    return lines


def _steady(value: str) -> str:
    """The value with its digits at their widest, so that the fields stand still while they count."""
    return "".join("0" if letter.isdigit() else letter for letter in value)


@lru_cache(maxsize=4)
def _bar(fields: tuple[Field, ...], hint: str, width: int) -> Picture:
    lines = _lines(fields, width)
    bar = np.empty((len(lines) * _FIELD_HEIGHT + 2, width, 3), np.uint8)
    bar[:] = CARD
    bar[0] = EDGE
    x = MARGIN
    for row, line in enumerate(lines):
        x, top = MARGIN, row * _FIELD_HEIGHT + 2
        for entry, wide in line:
            draw_text(bar, entry.label, x, top + 12, SMALL, DIM)
            draw_text(bar, entry.value, x, top + 27, LARGE, LEVELS[entry.level], bold=True)
            x += wide + _FIELD_GAP
    if hint and x + text_width(hint, SMALL) <= width - MARGIN:
        draw_text(bar, hint, width - MARGIN, bar.shape[0] - 13, SMALL, DIM, align="right")
    return bar


def _draw_badge(canvas: Picture, badge: Field, below: int) -> None:
    """A bar of its own over the lower edge of the tiles."""
    width = min(canvas.shape[1], text_width(badge.value, LARGE, bold=True) + 36)
    x, y = (canvas.shape[1] - width) // 2, max(0, below - 2 * GAP - 32)
    area = canvas[y : y + 32, x : x + width]
    area[:] = CARD
    area[:, :4] = LEVELS[badge.level]
    color = LEVELS[badge.level]
    draw_text(canvas, badge.value, canvas.shape[1] // 2 + 2, y + 16, LARGE, color, bold=True, align="center")


# ---- places and pixels ----


def _places(tiles: Sequence[Tile], width: int, height: int) -> tuple[Rect, ...]:
    groups: dict[str, list[float]] = {}
    for tile in tiles:
        groups.setdefault(tile.group, []).append(tile.aspect)
    tallest = max((tile.height for tile in tiles), default=0)
    shapes = tuple(tuple(group) for group in groups.values())
    return _arranged(shapes, width, height, max(tallest, _LEAST_HEIGHT_OF_PICTURE))


@lru_cache(maxsize=8)
def _arranged(
    groups: tuple[tuple[float, ...], ...], width: int, height: int, tallest: int
) -> tuple[Rect, ...]:
    return tuple(arrange(groups, width, height, tallest=tallest))


@lru_cache(maxsize=2)
def _backdrop(width: int, height: int, places: tuple[Rect, ...]) -> Picture:
    """What lies behind everything."""
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = PAPER
    for place in places:
        canvas[place.y : place.y + place.height, place.x : place.x + place.width] = CARD
    return canvas


def _decoded(data: npt.NDArray[np.generic], width: int) -> npt.NDArray[np.generic] | None:
    """A JPEG as BGR, decoded at a half or less where that is still as large as its place."""
    if data.ndim != 1 or data.dtype != np.uint8:
        return None
    packet = data.astype(np.uint8, copy=False)
    size = jpeg_size(packet)
    if size is None or jpeg_trouble(packet):
        return None
    flags, full_width = cv2.IMREAD_COLOR, size[0]
    for divisor, reduced in _REDUCED_JPEG:
        if full_width // divisor >= width:
            flags = reduced
            break
    try:
        picture: npt.NDArray[np.generic] | None = cv2.imdecode(packet, flags)
    except cv2.error:
        return None
    return picture


def _fit(width: int, height: int, most_width: int, most_height: int) -> tuple[int, int]:
    zoom = min(most_width / width, most_height / height)
    fitted = (round(width * zoom), round(height * zoom))
    return max(1, min(most_width, fitted[0])), max(1, min(most_height, fitted[1]))


def _paste(canvas: Picture, picture: Picture, x: int, y: int) -> None:
    """Copy `picture` to (x, y), cut off at the edges."""
    height = min(picture.shape[0], canvas.shape[0] - y)
    width = min(picture.shape[1], canvas.shape[1] - x)
    if x >= 0 and y >= 0 and width > 0 and height > 0:
        canvas[y : y + height, x : x + width] = picture[:height, :width]
