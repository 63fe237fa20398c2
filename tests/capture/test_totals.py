"""The account of a recording, from the counters of all its processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from capture.camera import COUNTERS as CAMERA_COUNTERS
from capture.counters import CounterPage
from capture.estimation import COUNTERS as ESTIMATION_COUNTERS
from capture.frames import CameraInfo, StreamInfo
from capture.totals import StreamTotals, count_totals
from capture.writer import COUNTERS as WRITER_COUNTERS
from capture.writer import MAX_LANES

DEPTH = StreamInfo("depth", "z16", 4, 2, 30.0)
COLOR = StreamInfo("color", "jpeg", 4, 2, 30.0)


class Pages:
    """The counters of two cameras, an estimator and the writer."""

    def __init__(self) -> None:
        self.front, self.side = CounterPage(CAMERA_COUNTERS), CounterPage(CAMERA_COUNTERS)
        self.truth = CounterPage(ESTIMATION_COUNTERS)
        self.writer = CounterPage(WRITER_COUNTERS)

    def totals(self) -> Any:
        cameras = [
            ("front", CameraInfo("front", "x", "y", (DEPTH, COLOR)), self.front),
            ("side", CameraInfo("side", "x", "y", (DEPTH,)), self.side),
        ]
        return count_totals(cameras, [("truth", self.truth)], self.writer)

    def close(self) -> None:
        for page in (self.front, self.side, self.truth, self.writer):
            page.close()


@pytest.fixture
def pages() -> Iterator[Pages]:
    pages = Pages()
    yield pages
    pages.close()


def _set(page: CounterPage, **values: int) -> None:
    for name, value in values.items():
        page[name.replace("__", ".")] = value


def test_nothing_counted_is_complete_and_zero(pages: Pages) -> None:
    totals = pages.totals()
    assert list(totals.streams) == ["front/depth", "front/color", "side/depth"]
    assert set(totals.streams.values()) == {StreamTotals(0, 0, 0, 0, 0, 0)}
    assert not totals.incomplete
    assert (totals.meshes, totals.meshes_skipped, totals.outages, totals.repeated) == (0, 0, 0, 0)


def test_every_stream_has_its_own_figures(pages: Pages) -> None:
    _set(pages.front, captured0=100, captured1=90, repeated1=4, dropped0=3, lost0=7)
    _set(pages.side, captured0=50, repeated0=1)
    _set(pages.writer, written0__0=95, raw0__0=9500, file0__0=1500, dropped0__0=2)
    _set(pages.writer, written0__1=90, written1__0=50, outage1__0=30, outages=1)
    totals = pages.totals()
    assert totals.streams["front/depth"] == StreamTotals(100, 95, 3 + 2, 7, 9500, 1500)
    assert totals.streams["front/color"] == StreamTotals(90, 90, 0, 0, 0, 0)
    assert totals.streams["side/depth"] == StreamTotals(50, 50, 0, 30, 0, 0)
    assert totals.repeated == 5
    assert totals.outages == 1
    assert totals.incomplete


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("front", "dropped0"),
        ("side", "lost0"),
        ("writer", "dropped1.0"),
        ("writer", "outage0.1"),
        ("writer", "outages"),
    ],
)
def test_anything_missing_is_incomplete(pages: Pages, page: str, name: str) -> None:
    getattr(pages, page).add(name)
    assert pages.totals().incomplete


def test_repeats_alone_and_frames_still_queued_are_not_missing(pages: Pages) -> None:
    _set(pages.front, captured0=100, repeated0=50)
    _set(pages.writer, written0__0=60)
    assert not pages.totals().incomplete


@pytest.mark.parametrize("stream", [0, 1])
def test_meshes_are_those_of_the_estimators_mesh_stream(pages: Pages, stream: int) -> None:
    _set(pages.truth, mesh_stream=stream + 1, estimated=8, skipped=2)
    pages.writer[f"written2.{stream}"] = 8
    pages.writer[f"written2.{1 - stream}"] = 5
    totals = pages.totals()
    assert (totals.meshes, totals.meshes_skipped, totals.results) == (8, 2, {"truth": 8})
    assert not totals.incomplete


def test_estimator_without_meshes_counts_as_results_only(pages: Pages) -> None:
    _set(pages.truth, estimated=8, skipped=2)
    pages.writer["written2.0"] = 8
    totals = pages.totals()
    assert (totals.meshes, totals.meshes_skipped, totals.results) == (0, 0, {"truth": 8})


def test_camera_that_never_opened_has_no_streams_and_keeps_the_lanes_of_the_others(pages: Pages) -> None:
    pages.writer["written1.0"] = 7
    cameras = [
        ("front", None, pages.front),
        ("side", CameraInfo("side", "x", "y", (DEPTH,)), pages.side),
    ]
    totals = count_totals(cameras, [], pages.writer)
    assert list(totals.streams) == ["side/depth"]
    assert totals.streams["side/depth"].written == 7


def test_account_is_ready_for_json(pages: Pages) -> None:
    value = json.loads(json.dumps(pages.totals().as_dict()))
    assert value["streams"]["side/depth"] == dict.fromkeys(StreamTotals.__dataclass_fields__, 0)


def test_largest_rig_has_a_lane_for_every_camera_and_estimator() -> None:
    assert MAX_LANES >= 12 + 4
    assert f"written{MAX_LANES - 1}.7" in WRITER_COUNTERS
