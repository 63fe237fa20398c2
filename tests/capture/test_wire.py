"""Camera descriptions through JSON and back, also from versions that say more or less."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.frames import PIXEL_FORMATS, CameraInfo, Intrinsics, StreamInfo
from capture.wire import camera_info_from_dict, stream_info_from_dict

_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
_MATRICES = st.none() | st.tuples(*[st.tuples(*[_NUMBERS] * 4)] * 4)
_INTRINSICS = st.builds(
    Intrinsics,
    width=st.integers(0, 10_000),
    height=st.integers(0, 10_000),
    fx=_NUMBERS,
    fy=_NUMBERS,
    cx=_NUMBERS,
    cy=_NUMBERS,
    model=st.text(max_size=10),
    coefficients=st.lists(_NUMBERS, max_size=5).map(tuple),
)
_STREAMS = st.builds(
    StreamInfo,
    name=st.text(max_size=10),
    pixel_format=st.sampled_from(PIXEL_FORMATS),
    width=st.integers(0, 10_000),
    height=st.integers(0, 10_000),
    fps=_NUMBERS,
    intrinsics=st.none() | _INTRINSICS,
    depth_scale_m=st.none() | _NUMBERS,
    camera_from_stream=_MATRICES,
    focal_baseline_px_m=st.none() | _NUMBERS,
    intrinsics_from_rig=st.booleans(),
    faces=st.text(max_size=10),
)
_CAMERAS = st.builds(
    CameraInfo,
    name=st.text(max_size=10),
    backend=st.text(max_size=10),
    model=st.text(max_size=10),
    streams=st.lists(_STREAMS, max_size=3).map(tuple),
    serial=st.text(max_size=10),
    can_wait=st.booleans(),
    world_from_camera=_MATRICES,
    options=st.dictionaries(st.text(max_size=5), _NUMBERS | st.integers() | st.text(max_size=5), max_size=3),
)

PLAIN = {"name": "depth", "pixel_format": "z16", "width": 848, "height": 480, "fps": 30.0}


def through_json(value: object) -> Any:
    return json.loads(json.dumps(value))


@given(_CAMERAS)
@settings(max_examples=100, deadline=None)
def test_a_camera_comes_back_as_it_went(camera: CameraInfo) -> None:
    assert camera_info_from_dict(through_json(asdict(camera))) == camera


@given(_STREAMS)
@settings(max_examples=50, deadline=None)
def test_a_stream_comes_back_as_it_went(stream: StreamInfo) -> None:
    assert stream_info_from_dict(through_json(asdict(stream))) == stream


def test_keys_of_newer_versions_are_passed_over() -> None:
    intrinsics = {"width": 8, "height": 6, "fx": 1.0, "fy": 1.0, "cx": 4.0, "cy": 3.0, "newer": 1}
    stream = {**PLAIN, "intrinsics": intrinsics, "newer": {"a": 1}, "camera": {"name": "front"}}
    camera = {"name": "front", "backend": "x", "model": "y", "streams": [stream], "newer": [1]}
    read = camera_info_from_dict(camera)
    assert read.streams[0].intrinsics == Intrinsics(8, 6, 1.0, 1.0, 4.0, 3.0)
    assert read == CameraInfo("front", "x", "y", read.streams)


def test_keys_that_older_versions_did_not_write_have_their_defaults() -> None:
    assert stream_info_from_dict(PLAIN) == StreamInfo("depth", "z16", 848, 480, 30.0)
    camera = {"name": "front", "backend": "x", "model": "y", "streams": []}
    assert camera_info_from_dict(camera) == CameraInfo("front", "x", "y", ())


def test_what_is_given_is_not_changed() -> None:
    camera = through_json(asdict(CameraInfo("a", "b", "c", (StreamInfo("d", "z16", 1, 1, 1.0),))))
    before = json.dumps(camera)
    camera_info_from_dict(camera)
    assert json.dumps(camera) == before


@pytest.mark.parametrize("missing", ["name", "pixel_format", "width"])
def test_description_without_what_is_needed_is_an_error(missing: str) -> None:
    with pytest.raises(TypeError, match=missing):
        stream_info_from_dict({key: value for key, value in PLAIN.items() if key != missing})
