"""The estimator that reads the true pose and skins it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from capture.body.kinematics import split_parameters
from capture.body.procedural import procedural_body
from capture.estimators import make_estimator
from capture.estimators.truth import TruthEstimator
from capture.frames import CameraInfo, Frame
from capture.sources.simulated import Loop, camera_info, render_loop
from capture.specs import EstimatorSpec, SimulatedSpec, StreamSpec
from codec.errors import EstimatorError

SPEC = EstimatorSpec("body", "truth", ("left",))
TINY = StreamSpec(64, 48, 30.0)


@pytest.fixture(scope="module")
def loop() -> Loop:
    return render_loop(SimulatedSpec(depth=TINY, color=TINY, loop_s=0.1), name="left")


def _frame(loop: Loop, meta: bytes) -> Frame:
    return Frame("depth", 17, loop.depth[0], 0.5, "hardware", 123_456_789, meta)


def _opened(loop: Loop) -> TruthEstimator:
    estimator = TruthEstimator(SPEC)
    estimator.open({"left": loop.info})
    return estimator


def test_it_says_what_comes_out_and_what_it_reads(loop: Loop) -> None:
    estimator = make_estimator(SPEC)
    mesh, parameters = estimator.open({"left": loop.info, "right": loop.info})
    assert (mesh.name, mesh.pixel_format, mesh.width, mesh.height, mesh.fps) == (
        "mesh",
        "mesh",
        6914,
        1,
        30.0,
    )
    assert (parameters.name, parameters.pixel_format) == ("parameters", "f32")
    assert (parameters.width, parameters.height) == (85, 1)
    assert estimator.inputs() == (("left", "depth"),)
    estimator.close()
    estimator.close()
    assert estimator.inputs() == ()


def test_the_mesh_is_the_true_body_in_millimetres_of_the_world(loop: Loop) -> None:
    estimator = _opened(loop)
    mesh, parameters = estimator.estimate({("left", "depth"): _frame(loop, loop.meta[1])})
    truth = json.loads(loop.meta[1])
    assert mesh.data.shape == (1, 6914, 3)
    assert mesh.data.dtype == np.float32
    body = procedural_body()
    vertices = body.skin(*split_parameters(truth["pose"]))
    assert np.allclose(mesh.data[0, :6890], vertices * 1000, atol=1e-3)
    assert np.allclose(mesh.data[0, 6890:], np.array(truth["keypoints_m"]) * 1000, atol=0.1)
    assert parameters.data.shape == (1, 85)
    assert parameters.data.dtype == np.float32
    assert np.allclose(parameters.data[0], truth["pose"], atol=1e-6)
    assert json.loads(mesh.meta) == {"people": 1, "vertices": 6890, "joints": 24, "model": "procedural"}
    for result, stream in ((mesh, "mesh"), (parameters, "parameters")):
        assert result.stream == stream
        assert (result.number, result.device_time_s, result.clock) == (17, 0.5, "hardware")
        assert result.monotonic_ns == 123_456_789


def test_a_camera_with_colour_only_serves_as_well() -> None:
    info = camera_info("left", SimulatedSpec(color=TINY))
    estimator = TruthEstimator(SPEC)
    estimator.open({"left": info})
    assert estimator.inputs() == (("left", "color"),)


def test_a_simulated_camera_behind_librealsense_is_known_by_its_model(loop: Loop) -> None:
    estimator = TruthEstimator(SPEC)
    assert len(estimator.open({"left": replace(loop.info, backend="realsense")})) == 2


@pytest.mark.parametrize("meta", [b"", b"{}", b'{"exposure": 8500}'])
def test_a_frame_without_a_pose_gives_no_result(loop: Loop, meta: bytes) -> None:
    assert _opened(loop).estimate({("left", "depth"): _frame(loop, meta)}) == []


@pytest.mark.parametrize(
    "meta",
    [
        *(b"{", b"\xff\xfe", b"[1]", b'{"pose": [1, 2]}', b'{"pose": ["a"]}', b'{"pose": [[1], 2]}'),
        *(b"[" * 100_000, b'{"pose": [%d]}' % 10**400, b'{"pose": %s}' % json.dumps([1e200] * 85).encode()),
    ],
)
def test_a_damaged_truth_is_an_error_that_names_the_frame(loop: Loop, meta: bytes) -> None:
    with pytest.raises(EstimatorError, match="depth frame 17 of camera left"):
        _opened(loop).estimate({("left", "depth"): _frame(loop, meta)})


def test_a_real_camera_is_refused(loop: Loop) -> None:
    real = CameraInfo("left", "realsense", "Intel RealSense D435", loop.info.streams)
    with pytest.raises(EstimatorError, match="only simulated cameras know the true pose"):
        TruthEstimator(SPEC).open({"left": real})


def test_a_missing_camera_and_no_camera_are_refused_by_name(loop: Loop) -> None:
    with pytest.raises(EstimatorError, match="no camera left; there are right"):
        TruthEstimator(SPEC).open({"right": loop.info})
    with pytest.raises(EstimatorError, match="looks at no camera"):
        TruthEstimator(EstimatorSpec("body", "truth", ())).open({"left": loop.info})
    with pytest.raises(EstimatorError, match="neither depth nor color"):
        TruthEstimator(SPEC).open({"left": replace(loop.info, streams=())})


def test_it_must_be_opened_first(loop: Loop) -> None:
    with pytest.raises(EstimatorError, match="not open"):
        TruthEstimator(SPEC).estimate({("left", "depth"): _frame(loop, b"")})
