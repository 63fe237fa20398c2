"""Key points and depth through bent lenses: observations are what a straight lens would have shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from capture.estimators._body_camera import BodyCamera
from capture.estimators.body import BodyEstimator
from capture.frames import CameraInfo, Intrinsics, StreamInfo
from capture.keypoints import PersonKeypoints, open_source
from capture.lenses import Lens
from capture.specs import EstimatorSpec
from codec.errors import ConfigError, EstimatorError
from tests.capture.body.walking_people import POINTS, person
from tests.capture.test_lens_models import LENSES, Coefficients

LENS = Intrinsics(640, 480, 300.0, 305.0, 322.0, 238.0)
SHIFTED = ((1.0, 0.0, 0.0, 0.02), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
WALL_M = 2.5


def camera(color: Intrinsics = LENS, depth: Intrinsics | None = None) -> CameraInfo:
    streams = [StreamInfo("color", "bgr8", 640, 480, 30.0, color, camera_from_stream=SHIFTED)]
    if depth is not None:
        streams.append(StreamInfo("depth", "z16", 640, 480, 30.0, depth, 0.001))
    return CameraInfo("front", "realsense", "Test camera", tuple(streams))


def someone_m() -> np.ndarray:
    """(14, 3) in the frame of the colour camera, at the edge of its picture."""
    parameters = person(3, 0.4)
    return np.asarray(POINTS.values(parameters[:72], parameters[72:82]) + np.array([1.3, 0.3, 2.0]))


@pytest.mark.parametrize(("model", "coefficients"), LENSES)
def test_key_points_of_a_bent_picture_are_straightened(model: str, coefficients: Coefficients) -> None:
    lens = replace(LENS, model=model, coefficients=coefficients)
    points = someone_m()
    rays = points[:, :2] / points[:, 2:]
    seen = PersonKeypoints("lsp14", Lens(lens).pixels(rays), np.full(14, 0.8))
    found = BodyCamera.of("body", camera(lens), use_depth=False)
    (observation,) = found.observations([seen], None)
    straight = rays * (LENS.fx, LENS.fy) + (LENS.cx, LENS.cy)
    assert np.abs(seen.points_px - straight).max() > 1
    np.testing.assert_allclose(observation.points_px, straight, atol=0.01)
    np.testing.assert_array_equal(observation.confidences, 0.8)
    # And the other way round: where a body that is known is looked for.
    np.testing.assert_allclose(found.pixels_of(points + np.array(SHIFTED)[:3, 3]), seen.points_px, atol=1e-6)


def test_a_key_point_that_cannot_be_in_the_picture_counts_for_nothing() -> None:
    lens = replace(LENS, model="brown_conrady", coefficients=(-0.3, 0.08, 0.0, 0.0, 0.0))
    points = np.full((14, 2), 300.0) + np.arange(14)[:, None]
    points[5] = -3000.0, 9000.0
    points[6] = np.nan
    (observation,) = BodyCamera.of("body", camera(lens), use_depth=False).observations(
        [PersonKeypoints("lsp14", points, np.ones(14))], None
    )
    assert np.isfinite(observation.points_px).all()
    assert (observation.confidences == 0).nonzero()[0].tolist() == [5, 6]


@pytest.mark.parametrize(("model", "coefficients"), LENSES)
def test_depth_is_looked_up_where_a_bent_depth_camera_saw_it(model: str, coefficients: Coefficients) -> None:
    """Each joint has its own depth in a spot around where that lens shows it; elsewhere there is nothing."""
    depth_lens = replace(LENS, model=model, coefficients=coefficients)
    points = someone_m()
    points[:, 2] = 2.5 + 0.04 * np.arange(14)
    in_depth_m = points + np.array(SHIFTED)[:3, 3]
    picture = np.zeros((480, 640), np.uint16)
    rows, columns = np.mgrid[:480, :640]
    pixels = Lens(depth_lens).pixels(in_depth_m[:, :2] / in_depth_m[:, 2:])
    for (column, row), z_m in zip(pixels, in_depth_m[:, 2], strict=True):
        picture[np.hypot(columns - column, rows - row) < 5] = round(1000 * z_m)
    color_px = points[:, :2] / points[:, 2:] * (LENS.fx, LENS.fy) + (LENS.cx, LENS.cy)
    found = BodyCamera.of("body", camera(depth=depth_lens), use_depth=True)
    (observation,) = found.observations([PersonKeypoints("lsp14", color_px, np.ones(14))], picture)
    weights, targets = observation.target_weights, observation.targets_m
    assert weights is not None
    assert targets is not None
    assert np.count_nonzero(weights) >= 10
    behind_m = targets[:, 2] - points[:, 2]  # joints lie behind the skin
    good = (weights > 0) & (behind_m < 0.13) & (behind_m > -0.2)  # spots of neighbours lie over each other
    assert np.count_nonzero(good) >= 10
    aside_m = targets[:, :2] - points[:, :2] / points[:, 2:] * targets[:, 2:]
    assert np.abs(aside_m[good]).max() < 0.003


@pytest.mark.parametrize(
    ("color", "depth", "told"),
    [
        (("ftheta", (0.9, 0, 0, 0, 0)), ("none", ()), r"front, color: the lens model 'ftheta' with 5"),
        (("brown_conrady", (0.1,) * 6), ("none", ()), r"front, color: the lens model 'brown_conrady' with 6"),
        (("none", ()), ("ftheta", (0.9, 0, 0, 0, 0)), r"front, depth: the lens model 'ftheta' with 5"),
    ],
)
def test_a_lens_that_is_not_known_is_refused_with_camera_and_model(
    color: tuple[str, Coefficients], depth: tuple[str, Coefficients], told: str
) -> None:
    info = camera(*(replace(LENS, model=model, coefficients=given) for model, given in (color, depth)))
    spec = EstimatorSpec("body", "body", ("front",), {"keypoints": "file"})
    with pytest.raises(EstimatorError, match=f"estimator body: camera {told} coefficients is not known"):
        BodyEstimator(spec).open({"front": info})


def test_the_truth_is_not_told_of_a_lens_that_is_not_known() -> None:
    info = camera(replace(LENS, model="ftheta", coefficients=(0.9, 0.0, 0.0, 0.0, 0.0)))
    with pytest.raises(ConfigError, match="camera front, color: the lens model 'ftheta'"):
        open_source("truth", {"camera": info})
