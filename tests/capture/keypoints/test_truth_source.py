"""The simulator's true joints as a detector would give them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from capture.frames import CameraInfo
from capture.keypoints import PersonKeypoints, open_source
from capture.keypoints.truth import TruthSource
from capture.sources.simulated import Loop, render_loop
from capture.specs import SimulatedSpec, StreamSpec
from codec.errors import ConfigError, EstimatorError

SMPL = [8, 5, 2, 1, 4, 7, 21, 19, 17, 16, 18, 20, 12]
BLANK = np.zeros((2, 2, 3), np.uint8)


@pytest.fixture(scope="module")
def loop() -> Loop:
    size = StreamSpec(160, 120, 30.0)
    return render_loop(SimulatedSpec(depth=size, color=size, loop_s=0.2), name="left", color_format="bgr8")


def _found(loop: Loop, stream: str, index: int = 0, number: int = 5, **options: object) -> PersonKeypoints:
    source = open_source("truth", {"camera": loop.info, "stream": stream, **options})
    meta = loop.color_meta[index] if stream == "color" else loop.meta[index]
    (person,) = source.detect(BLANK, time_s=0.0, number=number, meta=meta)
    return person


def test_without_noise_joints_are_where_the_simulator_says(loop: Loop) -> None:
    """The simulator tells pixels of the depth image, rounded to hundredths."""
    for index in range(len(loop.meta)):
        person = _found(loop, "depth", index)
        told = np.array(json.loads(loop.meta[index])["keypoints_px"])[SMPL, :2]
        assert person.joint_set == "lsp14"
        assert np.abs(person.points_px[:13] - told).max() < 0.05
        assert person.confidences.tolist() == [1.0] * 14
        neck, head, ankle = person.points_px[12], person.points_px[13], person.points_px[0]
        assert 0.1 < (neck[1] - head[1]) / (ankle[1] - neck[1]) < 0.35


def test_the_colour_picture_is_another_one(loop: Loop) -> None:
    assert np.abs(_found(loop, "color").points_px - _found(loop, "depth").points_px).max() > 1


def test_noise_is_as_large_as_wished_and_the_same_for_the_same_frame(loop: Loop) -> None:
    exact = _found(loop, "depth")
    errors = [
        _found(loop, "depth", number=number, noise_px=3.0, seed=7).points_px - exact.points_px
        for number in range(200)
    ]
    assert np.std(errors) == pytest.approx(3.0, rel=0.05)
    assert abs(np.mean(errors)) < 0.2
    again = _found(loop, "depth", number=11, noise_px=3.0, seed=7).points_px - exact.points_px
    assert np.array_equal(again, errors[11])
    other = _found(loop, "depth", number=11, noise_px=3.0, seed=8).points_px - exact.points_px
    assert not np.array_equal(other, errors[11])


def test_joints_drop_out_as_often_as_wished(loop: Loop) -> None:
    lost = [_found(loop, "depth", number=n, dropout=0.25).confidences == 0 for n in range(200)]
    assert np.mean(lost) == pytest.approx(0.25, abs=0.03)
    source = TruthSource(camera=loop.info, dropout=1.0)
    assert source.detect(BLANK, time_s=0.0, meta=loop.color_meta[0]) == []


def test_a_joint_outside_of_the_picture_is_not_seen(loop: Loop) -> None:
    def narrow(info: CameraInfo) -> CameraInfo:
        streams = []
        for stream in info.streams:
            assert stream.intrinsics is not None
            person = _found(loop, stream.name)
            bottom = int(person.points_px[[2, 3], 1].max()) + 2  # just below the hips
            streams.append(replace(stream, intrinsics=replace(stream.intrinsics, height=bottom)))
        return replace(info, streams=tuple(streams))

    source = TruthSource(camera=narrow(loop.info), stream="depth")
    (person,) = source.detect(BLANK, time_s=0.0, meta=loop.meta[0])
    assert not person.confidences[[0, 1, 4, 5]].any()
    assert person.confidences[[2, 3, 8, 9, 13]].all()


def test_a_camera_that_looks_away_sees_nobody(loop: Loop) -> None:
    assert loop.info.world_from_camera is not None
    turned = np.array(loop.info.world_from_camera) @ np.diag([-1.0, 1.0, -1.0, 1.0])
    rows = tuple(tuple(float(value) for value in row) for row in turned)
    source = TruthSource(camera=replace(loop.info, world_from_camera=rows), stream="depth")  # type: ignore[arg-type]
    assert source.detect(BLANK, time_s=0.0, meta=loop.meta[0]) == []


@pytest.mark.parametrize("meta", [b"", b"{}", b'{"exposure": 1}'])
def test_a_frame_that_tells_no_pose_has_nobody(loop: Loop, meta: bytes) -> None:
    assert TruthSource(camera=loop.info).detect(BLANK, time_s=float("nan"), meta=meta) == []


@pytest.mark.parametrize("meta", [b"{", b"[1]", b"\xff", b'{"pose": [1, 2]}', b'{"pose": ["a"]}'])
def test_a_damaged_truth_names_the_frame(loop: Loop, meta: bytes) -> None:
    with pytest.raises(EstimatorError, match="frame 17 of camera left"):
        TruthSource(camera=loop.info).detect(BLANK, time_s=0.0, number=17, meta=meta)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stream": "infrared1"}, "camera left has no stream infrared1; it has depth, color"),
        ({"noise_px": -1.0}, r"noise_px = -1\.0"),
        ({"noise_px": float("nan")}, "noise_px = nan"),
        ({"dropout": 1.5}, r"dropout = 1\.5"),
        ({"seed": -1}, "seed = -1"),
    ],
)
def test_wrong_options_are_told(loop: Loop, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_source("truth", {"camera": loop.info, **options})
    blind = replace(loop.info, streams=tuple(replace(s, intrinsics=None) for s in loop.info.streams))
    with pytest.raises(ConfigError, match="the lens of color of camera left is not known"):
        TruthSource(camera=blind)
