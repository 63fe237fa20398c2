"""Tiles, colours and the line of truth: arrays in, picture out."""

from __future__ import annotations

import itertools
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.preview import depth_colors, layout
from capture.preview._text import draw_text, text_width
from capture.preview.depth_colors import HOLE, DepthRange
from capture.preview.status import Field, Rate, Status, clock, fields
from capture.preview.tiles import CARD, LEVELS, Tile, compose, natural_size, picture_of

Picture = np.ndarray[Any, np.dtype[np.uint8]]
SPAN = DepthRange(0.5, 4.0)
ORANGE = (20, 120, 240)
FIELDS = (Field("recorded", "0:01:23"), Field("dropped", "0", "good"), Field("queue", "3 %"))


def color_tile(width: int = 320, height: int = 240, group: str = "front") -> Tile:
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = ORANGE
    return Tile(group, "color", width, height, "bgr8", picture)


def depth_tile(millimetres: int = 2000, width: int = 320, height: int = 240, group: str = "front") -> Tile:
    depth = np.full((height, width), millimetres, np.uint16)
    return Tile(group, "depth", width, height, "z16", depth)


def share_of(picture: Picture, color: tuple[int, int, int], tolerance: int = 2) -> float:
    near = np.abs(picture.astype(np.int16) - np.array(color, np.int16)).max(axis=2) <= tolerance
    return float(near.mean())


def jpeg(picture: Picture) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return cv2.imencode(".jpg", picture)[1].reshape(-1)


# ---- depth colours ----


@pytest.mark.parametrize("distance_m", [0.5, 0.8, 1.7, 2.0, 3.99, 4.0])
def test_a_distance_has_the_colour_that_the_scale_shows_for_it(distance_m: float) -> None:
    depth = np.full((4, 4), round(distance_m * 1000), np.uint16)
    picture = depth_colors.colored(depth, 0.001, SPAN)
    assert np.abs(picture.astype(int) - depth_colors.color_at(distance_m, SPAN)).max() <= 3


def test_near_is_bright_far_is_dark_in_equal_steps() -> None:
    colors = np.array([[depth_colors.color_at(m, SPAN) for m in np.linspace(0.5, 4.0, 36)]], np.uint8)
    lightness = cv2.cvtColor(colors, cv2.COLOR_BGR2LAB)[0, :, 0].astype(int)
    steps = np.diff(lightness)
    assert (steps < 0).all()
    assert steps.min() > -12


def test_what_was_not_measured_has_a_colour_that_no_distance_has() -> None:
    depth = np.array([[0, 500, 4000]], np.uint16)
    picture = depth_colors.colored(depth, 0.001, SPAN)
    assert tuple(picture[0, 0]) == HOLE
    on_the_map = {tuple(color) for color in depth_colors.ramp(255, 1)[0].tolist()}
    assert HOLE not in on_the_map
    assert tuple(picture[0, 1].tolist()) in on_the_map


def test_what_lies_outside_of_the_range_takes_the_colour_of_its_end() -> None:
    depth = np.array([[1, 499, 500, 4000, 9000, 65535]], np.uint16)
    row = depth_colors.colored(depth, 0.001, SPAN)[0].tolist()
    assert row[0] == row[1] == row[2]
    assert row[3] == row[4] == row[5]
    assert row[0] != row[5]


def test_a_scale_of_tenths_of_a_millimetre_makes_the_same_picture() -> None:
    depth = np.arange(500, 4000, 7, dtype=np.uint16).reshape(1, -1)
    coarse = depth_colors.colored(depth, 0.001, SPAN)
    fine = depth_colors.colored((depth * 10).astype(np.uint16), 0.0001, SPAN)
    assert np.abs(coarse.astype(int) - fine.astype(int)).max() <= 3


def test_the_range_follows_the_scene_and_then_stays() -> None:
    rng = np.random.default_rng(1)
    near_scene = rng.integers(600, 1400, (240, 320)).astype(np.uint16)
    span = depth_colors.follow(depth_colors.DEFAULT_RANGE, [(near_scene, 0.001)])
    assert span.near_m <= 0.6
    assert 1.4 <= span.far_m <= 2.0
    shifted = (near_scene + 80).astype(np.uint16)
    assert depth_colors.follow(span, [(shifted, 0.001)]) == span
    far_scene = rng.integers(600, 7000, (240, 320)).astype(np.uint16)
    assert depth_colors.follow(span, [(far_scene, 0.001)]).far_m >= 6.5


def test_the_range_stays_where_nothing_was_measured() -> None:
    assert depth_colors.follow(SPAN, []) == SPAN
    assert depth_colors.follow(SPAN, [(np.zeros((240, 320), np.uint16), 0.001)]) == SPAN


@given(low=st.integers(1, 60000), spread=st.integers(0, 60000))
@settings(max_examples=60, deadline=None)
def test_any_scene_gets_a_range_that_can_be_drawn(low: int, spread: int) -> None:
    high = min(65535, low + spread)
    depth = np.linspace(low, high, 240 * 320).astype(np.uint16).reshape(240, 320)
    span = depth_colors.follow(depth_colors.DEFAULT_RANGE, [(depth, 0.001)])
    assert 0 <= span.near_m < span.far_m
    assert depth_colors.colored(depth, 0.001, span).shape == (240, 320, 3)
    marks = depth_colors.ticks(span, 8)
    assert marks == sorted(marks)
    assert all(span.near_m - 1e-6 <= mark <= span.far_m + 1e-6 for mark in marks)


# ---- one picture in its place ----


@pytest.mark.parametrize(("width", "height"), [(848, 480), (640, 480), (120, 500), (33, 17)])
def test_a_picture_is_never_stretched(width: int, height: int) -> None:
    disc = np.zeros((height, width, 3), np.uint8)
    radius = min(width, height) // 2 - 1
    cv2.circle(disc, (width // 2, height // 2), radius, (255, 255, 255), -1)
    picture = picture_of(Tile("a", "b", width, height, "bgr8", disc), 400, 300, SPAN)
    assert picture is not None
    assert picture.shape[0] <= 300
    assert picture.shape[1] <= 400
    bright = picture[..., 0] > 127
    across, down = bright.any(axis=0).sum(), bright.any(axis=1).sum()
    assert abs(across - down) <= 0.06 * down + 2


@pytest.mark.parametrize("tile_width", [100, 160, 300, 640, 1000])
def test_a_jpeg_looks_the_same_however_much_smaller_it_is_decoded(tile_width: int) -> None:
    y, x = np.mgrid[0:480, 0:640]
    scene = np.stack([x * 255 // 640, y * 255 // 480, (x + y) * 255 // 1120], axis=-1).astype(np.uint8)
    size = (tile_width, tile_width * 3 // 4)
    plain = picture_of(Tile("a", "b", 640, 480, "bgr8", scene), *size, SPAN)
    packed = picture_of(Tile("a", "b", 640, 480, "jpeg", jpeg(scene)), *size, SPAN)
    assert plain is not None
    assert packed is not None
    assert plain.shape == packed.shape
    assert np.abs(plain.astype(int) - packed.astype(int)).mean() < 3


@pytest.mark.parametrize("cut", [0, 1, 3, 20, 300])
def test_a_damaged_jpeg_is_said_to_be_one_and_costs_no_other_tile(cut: int) -> None:
    broken = Tile("front", "color", 320, 240, "jpeg", jpeg(np.zeros((240, 320, 3), np.uint8))[:cut])
    picture = compose([broken, depth_tile(group="front")], size=(800, 400), span=SPAN)
    assert share_of(picture, depth_colors.color_at(2.0, SPAN)) > 0.1


@given(data=st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_no_bytes_of_a_jpeg_can_break_a_tile(data: bytes) -> None:
    for start in (b"", b"\xff\xd8", b"\xff\xd8\xff\xe0"):
        payload = np.frombuffer(start + data, np.uint8)
        picture_of(Tile("a", "b", 320, 240, "jpeg", payload), 100, 75, SPAN)


def test_infrared_becomes_grey() -> None:
    picture = picture_of(Tile("a", "b", 64, 48, "y8", np.full((48, 64), 77, np.uint8)), 64, 48, SPAN)
    assert picture is not None
    assert (picture == 77).all()


def test_holes_do_not_bleed_when_depth_is_shrunk() -> None:
    depth = np.full((480, 848), 2000, np.uint16)
    depth[::2] = 0
    picture = picture_of(Tile("a", "b", 848, 480, "z16", depth), 300, 170, SPAN)
    assert picture is not None
    colors = {tuple(color) for color in np.unique(picture.reshape(-1, 3), axis=0).tolist()}
    assert len(colors) <= 2


# ---- the whole picture ----


def test_every_tile_and_the_line_are_in_the_picture() -> None:
    tiles = [color_tile(), depth_tile()]
    size = natural_size(tiles, FIELDS)
    picture = compose(tiles, FIELDS, size=size, span=SPAN)
    assert picture.shape == (size[1], size[0], 3)
    assert share_of(picture, ORANGE) > 0.25
    assert share_of(picture, depth_colors.color_at(2.0, SPAN)) > 0.2
    line = picture[-40:]
    assert share_of(line, CARD) > 0.5
    assert (line.max(axis=2) > 200).sum() > 100


def test_the_frames_are_not_written_to() -> None:
    color, depth = color_tile(), depth_tile()
    for tile in (color, depth):
        assert tile.data is not None
        tile.data.flags.writeable = False
    noted = Tile("front", "color", 320, 240, "bgr8", color.data, note="no signal since 12 s")
    compose([color, depth, noted], FIELDS, size=(900, 700), span=SPAN)


def test_a_note_darkens_the_picture_and_stands_on_it() -> None:
    tile = color_tile()
    noted = Tile("front", "color", 320, 240, "bgr8", tile.data, note="no signal since 12 s")
    picture = compose([noted], size=(600, 400))
    assert share_of(picture, ORANGE) == 0
    assert share_of(picture, LEVELS["warn"], tolerance=30) > 0.0005


def test_levels_have_their_colours() -> None:
    def red(value: Field) -> float:
        return share_of(compose([], [value], size=(400, 100)), LEVELS["bad"], tolerance=30)

    assert red(Field("dropped", "0", "good")) == 0
    assert red(Field("dropped", "188", "bad")) > 0.001


def test_a_badge_is_seen_over_the_tiles() -> None:
    plain = compose([color_tile()], FIELDS, size=(640, 480))
    frozen = compose([color_tile()], FIELDS, size=(640, 480), badge=Field("", "FROZEN", "warn"))
    assert share_of(frozen, LEVELS["warn"], tolerance=30) > share_of(plain, LEVELS["warn"], tolerance=30)


@pytest.mark.parametrize("size", [(1, 1), (60, 40), (320, 200), (1920, 1080), (300, 2000), (3000, 120)])
def test_any_window_can_be_filled(size: tuple[int, int]) -> None:
    tiles = [color_tile(), depth_tile(), Tile("side", "", 640, 480, "", note="waiting for the camera")]
    picture = compose(tiles, FIELDS, size=size, span=SPAN, badge=Field("", "FROZEN"), hint="q stop")
    assert picture.shape == (size[1], size[0], 3)


def test_a_window_without_any_tile_still_has_its_line() -> None:
    size = natural_size([], FIELDS)
    picture = compose([], FIELDS, size=size)
    assert share_of(picture, CARD) > 0.3


# ---- places ----


@given(
    groups=st.lists(st.lists(st.floats(0.4, 3.0), min_size=1, max_size=3), min_size=1, max_size=9),
    width=st.integers(500, 2000),
    height=st.integers(400, 1200),
)
@settings(max_examples=80, deadline=None)
def test_tiles_keep_their_shape_their_order_and_their_distance(
    groups: list[list[float]], width: int, height: int
) -> None:
    aspects = list(itertools.chain.from_iterable(groups))
    places = layout.arrange(groups, width, height, tallest=480)
    assert len(places) == len(aspects)
    for place, aspect in zip(places, aspects, strict=True):
        assert abs(place.width - aspect * place.height) <= 1
        assert place.height <= 480
    for first, second in itertools.pairwise(places):
        after = second.x >= first.x + first.width + layout.GAP
        below = second.y >= first.y + first.height + layout.GAP + layout.HEADER
        assert after or below
    if places[0].height > 48:  # else not even the smallest tiles fit
        assert max(place.x + place.width for place in places) <= width - layout.MARGIN
        assert max(place.y + place.height for place in places) <= height - layout.MARGIN


def test_the_tiles_of_a_camera_stay_side_by_side() -> None:
    places = layout.arrange([[4 / 3, 16 / 9]] * 4, 1280, 700, tallest=480)
    for color, depth in zip(places[::2], places[1::2], strict=True):
        assert color.y == depth.y
        assert depth.x == color.x + color.width + layout.GAP


# ---- the line of truth ----


def status(**changes: Any) -> Status:
    values: dict[str, Any] = {
        "elapsed_s": 3723.9,
        "cameras": (Rate("front", 30.0, 30.0),),
        "results": (),
        "fill": 0.03,
        "disk_rate": 18.2e6,
        "mean_rate": 18.2e6,
        "free_bytes": 10**12,
        "dropped": 0,
        "lost": 0,
        "codec": "lattice-lz4",
        "wanted_codec": "lattice-lz4",
    }
    return Status(**(values | changes))


def said(**changes: Any) -> dict[str, Field]:
    return {field.label: field for field in fields(status(**changes))}


def test_the_line_says_everything_once() -> None:
    line = said(results=(Rate("truth", 29.4),))
    assert {label: field.value for label, field in line.items()} == {
        "recorded": "1:02:03",
        "front": "30.0 fps",
        "truth": "29.4 /s",
        "queue": "3 %",
        "written": "18.2 MB/s",
        "dropped": "0",
        "lost": "0",
        "disk": "15.3 h left",
        "depth codec": "lattice-lz4",
    }
    assert {field.level for field in line.values()} == {"plain", "good"}


def test_one_dropped_frame_is_red() -> None:
    assert said(dropped=1)["dropped"] == Field("dropped", "1", "bad")
    assert said(lost=1)["lost"] == Field("lost", "1", "bad")


def test_trouble_is_marked() -> None:
    assert said(cameras=(Rate("front", 24.0, 30.0),))["front"].level == "warn"
    assert said(cameras=(Rate("front", 24.0, 0.0),))["front"].level == "plain"
    assert said(fill=0.4)["queue"].level == "warn"
    assert said(fill=0.9)["queue"].level == "bad"
    assert said(codec="raw")["depth codec"] == Field("depth codec", "raw", "warn")


@pytest.mark.parametrize(
    ("free_bytes", "mean_rate", "value", "level"),
    [
        (0, 18e6, "full", "bad"),
        (36 * 10**9, 20e6, "0.5 h left", "bad"),
        (144 * 10**9, 20e6, "2.0 h left", "warn"),
        (10**15, 20e6, "579 days left", "plain"),
        (10**12, 0.0, "1000.0 GB free", "plain"),
    ],
)
def test_the_disk_is_told_in_hours(free_bytes: int, mean_rate: float, value: str, level: str) -> None:
    field = said(free_bytes=free_bytes, mean_rate=mean_rate)["disk"]
    assert (field.value, field.level) == (value, level)


def test_the_clock_counts_hours_beyond_a_day() -> None:
    assert [clock(s) for s in (-1.0, 0.0, 59.9, 3600.0, 100000.0)] == [
        "0:00:00",
        "0:00:00",
        "0:00:59",
        "1:00:00",
        "27:46:40",
    ]


# ---- text ----


def test_text_ends_where_its_width_says_and_is_cut_off_at_the_edge() -> None:
    canvas = np.zeros((40, 200, 3), np.uint8)
    end = draw_text(canvas, "30.0 fps", 10, 20, 9.0, (255, 255, 255))
    assert end == 10 + text_width("30.0 fps", 9.0)
    inked = np.flatnonzero(canvas.any(axis=(0, 2)))
    assert inked.min() >= 10
    assert inked.max() < end
    rows = np.flatnonzero((canvas.max(axis=2) > 100).any(axis=1))
    assert abs((rows.min() + rows.max()) / 2 - 20) < 4
    for x, middle in ((-30, 20), (190, 20), (10, -3), (10, 45), (500, 500)):
        draw_text(canvas, "30.0 fps", x, middle, 9.0, (255, 255, 255))


def test_text_is_anti_aliased() -> None:
    canvas = np.zeros((40, 300, 3), np.uint8)
    draw_text(canvas, "dropped 188", 10, 20, 9.0, (255, 255, 255))
    between = (canvas[..., 0] > 30) & (canvas[..., 0] < 220)
    assert between.sum() > 50


def test_a_stream_that_claims_to_be_wider_than_any_picture_gets_a_tile_that_fits() -> None:
    claim = Tile("front", "depth", 1 << 20, 1, "z16", np.full((4, 4), 900, np.uint16))
    assert compose([claim, color_tile()], size=(320, 240)).shape == (240, 320, 3)
    assert max(place.width for place in layout.arrange([[1e6, 1.0]], 320, 240, tallest=200)) < 320
