"""Stereo depth against rendered scenes, whose depth is known at every pixel."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from capture.estimators import InputKey, make_estimator
from capture.frames import CameraInfo, Frame, Intrinsics, Matrix4, StreamInfo
from capture.specs import EstimatorSpec
from codec.errors import EstimatorError

Array = npt.NDArray[np.float64]

LENS = Intrinsics(320, 240, 300.0, 302.0, 158.0, 121.5)
BENT_LENS = replace(LENS, model="brown_conrady", coefficients=(-0.22, 0.08, 0.002, -0.001, 0.0))


@dataclass(frozen=True)
class Panel:
    """A rectangle in the world: its middle, half its sides, and how it is turned about the y axis."""

    middle: tuple[float, float, float]
    half_width: float
    half_height: float
    turn_deg: float = 0.0


SCENE = (
    Panel((0.0, 0.0, 3.5), 6.0, 6.0, 12.0),
    Panel((-0.55, 0.1, 1.6), 0.35, 0.5),
    Panel((0.5, -0.25, 2.3), 0.4, 0.45, -25.0),
)


def pose(
    x: float = 0.0, y: float = 0.0, z: float = 0.0, *, yaw: float = 0, pitch: float = 0, roll: float = 0
) -> Array:
    """world_from_camera; angles in degrees about the y, x and z axes."""
    result = np.eye(4)
    for axis, degrees in (([0, 1, 0], yaw), ([1, 0, 0], pitch), ([0, 0, 1], roll)):
        result[:3, :3] = result[:3, :3] @ cv2.Rodrigues(np.radians(degrees) * np.array(axis, float))[0]
    result[:3, 3] = x, y, z
    return result


def texture() -> npt.NDArray[np.float32]:
    """Smooth noise on two scales, so that there is something to match near and far."""
    random = np.random.default_rng(5)
    fine = cv2.GaussianBlur(random.normal(size=(1024, 1024)), (0, 0), 1.2)
    coarse = cv2.GaussianBlur(random.normal(size=(1024, 1024)), (0, 0), 5)
    mixed = fine / fine.std() + coarse / coarse.std()
    return (128 + 36 * mixed).astype(np.float32)


TEXTURE = texture()
METRES_PER_TEXEL = 0.006


def look(lens: Intrinsics, world_from_camera: Array) -> tuple[npt.NDArray[np.uint8], Array]:
    """What a camera sees: the picture, and the depth along its optical axis."""
    columns, rows = np.meshgrid(np.arange(float(lens.width)), np.arange(float(lens.height)))
    K = np.array([[lens.fx, 0, lens.cx], [0, lens.fy, lens.cy], [0, 0, 1]])
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=-1)
    distortion = np.array(lens.coefficients or (0.0,) * 5)
    straight = cv2.undistortPoints(pixels[:, None], K, distortion)[:, 0]
    rays = np.concatenate([straight, np.ones((len(straight), 1))], axis=1) @ world_from_camera[:3, :3].T
    depth = np.full(len(rays), np.inf)
    picture = np.zeros(len(rays), np.float32)
    for number, panel in enumerate(SCENE):
        turned = pose(*panel.middle, yaw=panel.turn_deg)
        normal = turned[:3, 2]
        along = (turned[:3, 3] - world_from_camera[:3, 3]) @ normal / (rays @ normal)
        hit = (world_from_camera[:3, 3] + rays * along[:, None] - turned[:3, 3]) @ turned[:3, :3]
        seen = (np.abs(hit[:, 0]) < panel.half_width) & (np.abs(hit[:, 1]) < panel.half_height)
        seen &= (along > 0) & (along < depth)
        texels = (hit[:, :2] / METRES_PER_TEXEL + 200 * number).astype(np.float32)
        u, v = (texels[:, n].reshape(columns.shape) for n in (0, 1))
        shade = cv2.remap(TEXTURE, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP).ravel()
        depth[seen], picture[seen] = along[seen], shade[seen]
    grey = np.clip(picture, 0, 255).astype(np.uint8).reshape(lens.height, lens.width)
    return grey, depth.reshape(grey.shape)


def matrix4(matrix: Array) -> Matrix4:
    return tuple(tuple(map(float, row)) for row in matrix)  # type: ignore[return-value]


def webcam(
    name: str, lens: Intrinsics | None, stands: Array | None, pixel_format: str = "bgr8"
) -> CameraInfo:
    size = lens or LENS
    stream = StreamInfo("color", pixel_format, size.width, size.height, 30.0, lens)
    world_from_camera = None if stands is None else matrix4(stands)
    return CameraInfo(name, "opencv", "webcam", (stream,), world_from_camera=world_from_camera)


def frame(info: CameraInfo, picture: npt.NDArray[np.uint8], stream: str = "color", number: int = 7) -> Frame:
    (pixel_format,) = (s.pixel_format for s in info.streams if s.name == stream)
    data: npt.NDArray[Any] = picture
    if pixel_format == "bgr8":
        data = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    elif pixel_format == "jpeg":
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].ravel()
    return Frame(stream, number, data, 1.5, "media", 123_456_789, b'{"exposure": 3}')


@dataclass
class Result:
    depth: StreamInfo
    frame: Frame
    inputs: tuple[InputKey, ...]

    def check(self, world_from_left: Array, *, coverage: float = 0.6) -> None:
        """Against the scene, seen by a camera where the depth map says it is."""
        lens = self.depth.intrinsics
        assert lens is not None
        assert self.depth.depth_scale_m is not None
        assert self.frame.data.dtype == np.uint16
        assert self.frame.data.shape == (self.depth.height, self.depth.width) == (lens.height, lens.width)
        _, truth = look(lens, world_from_left @ np.array(self.depth.camera_from_stream))
        measured = self.frame.data > 0
        assert measured.mean() > coverage
        metres = self.frame.data[measured] * self.depth.depth_scale_m
        errors = np.abs(metres / truth[measured] - 1)
        assert np.median(errors) < 0.02
        assert (errors < 0.05).mean() > 0.9
        panels = truth < 2.8
        assert panels.mean() > 0.05
        assert measured[panels].mean() > 0.5
        assert np.median(errors[panels[measured]]) < 0.02


def run(
    cameras: Mapping[str, CameraInfo],
    pictures: Mapping[InputKey, npt.NDArray[np.uint8]],
    **options: object,
) -> Result:
    spec = EstimatorSpec("maps", "stereo", tuple(cameras), {"min_depth_m": 0.8, **options})
    estimator = make_estimator(spec)
    try:
        (depth,) = estimator.open(cameras)
        frames = {key: frame(cameras[key[0]], pictures[key], key[1]) for key in estimator.inputs()}
        (result,) = estimator.estimate(frames)
        return Result(depth, result, estimator.inputs())
    finally:
        estimator.close()
        estimator.close()


def run_webcams(
    left: Array,
    right: Array,
    *,
    lenses: tuple[Intrinsics, Intrinsics] = (LENS, LENS),
    pixel_format: str = "bgr8",
    order: tuple[str, str] = ("left", "right"),
    **options: object,
) -> Result:
    cameras = {
        "left": webcam("left", lenses[0], left, pixel_format),
        "right": webcam("right", lenses[1], right, pixel_format),
    }
    pictures = {
        ("left", "color"): look(lenses[0], left)[0],
        ("right", "color"): look(lenses[1], right)[0],
    }
    return run({name: cameras[name] for name in order}, pictures, **options)


def test_a_parallel_pair_measures_planes_at_several_distances() -> None:
    result = run_webcams(pose(), pose(x=0.1))
    result.check(pose(), coverage=0.75)
    assert result.depth.name == "depth"
    assert (result.depth.pixel_format, result.depth.fps) == ("z16", 30.0)
    assert (result.frame.stream, result.frame.number, result.frame.device_time_s) == ("depth", 7, 1.5)
    assert (result.frame.clock, result.frame.monotonic_ns) == ("media", 123_456_789)


def test_depth_follows_opencvs_own_formula() -> None:
    """Against reprojectImageTo3D with OpenCV's Q and an independent run of its matcher."""
    left, right = look(LENS, pose())[0], look(LENS, pose(x=0.1))[0]
    K = np.array([[LENS.fx, 0, LENS.cx], [0, LENS.fy, LENS.cy], [0, 0, 1]])
    turned = cv2.stereoRectify(
        K,
        np.zeros(5),
        K,
        np.zeros(5),
        (320, 240),
        np.eye(3),
        np.array([[-0.1], [0], [0]]),
        flags=cv2.CALIB_ZERO_DISPARITY,
        alpha=0,
    )
    warped = [
        cv2.remap(
            picture,
            *cv2.initUndistortRectifyMap(K, np.zeros(5), turned[n], turned[n + 2], (320, 240), cv2.CV_32FC1),
            cv2.INTER_LINEAR,
        )
        for n, picture in enumerate((left, right))
    ]
    matcher = cv2.StereoSGBM.create(0, 48, 5, 200, 800, 1, 31, 10, 100, 2, cv2.STEREO_SGBM_MODE_SGBM_3WAY)
    disparity = matcher.compute(*warped).astype(np.float32) / 16
    metres = cv2.reprojectImageTo3D(disparity, turned[4])[..., 2]
    result = run_webcams(pose(), pose(x=0.1))
    both = (disparity > 0) & (result.frame.data > 0)
    assert both.mean() > 0.6
    ours, theirs = result.frame.data[both] * 0.001, metres[both]
    # In pixels of disparity, because ours are moved within the pixel, where OpenCV's are biased.
    moved = disparity[both] * (theirs / ours - 1)
    assert abs(np.median(moved)) < 0.1
    assert np.percentile(np.abs(moved), 97) < 0.25
    assert result.depth.intrinsics is not None
    truth = look(result.depth.intrinsics, pose())[1][both]
    assert np.median(np.abs(ours - truth)) < 0.7 * np.median(np.abs(theirs - truth))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (pose(yaw=3), pose(x=0.1, yaw=-4)),
        (pose(pitch=4, roll=2), pose(x=0.11, y=0.01, pitch=2, roll=-3)),
        (pose(x=0.2, y=0.1, z=-0.3, yaw=8), pose(x=0.31, y=0.1, z=-0.32, yaw=6)),
    ],
    ids=["turned in", "rolled and tilted", "somewhere else"],
)
def test_cameras_may_be_turned_against_each_other(left: Array, right: Array) -> None:
    run_webcams(left, right).check(left)


def test_distorted_and_unlike_lenses_are_straightened() -> None:
    other = Intrinsics(400, 300, 420.0, 418.0, 205.0, 146.0, "brown_conrady", (0.1, -0.05, 0.0, 0.001, 0.0))
    run_webcams(pose(), pose(x=0.1, yaw=1), lenses=(BENT_LENS, BENT_LENS)).check(pose())
    run_webcams(pose(), pose(x=0.1, yaw=1), lenses=(BENT_LENS, other)).check(pose())


@pytest.mark.parametrize("options", [{"scale": 2}, {"scale": 1.5}, {"mode": "sgbm"}, {"num_disparities": 64}])
def test_options_change_speed_and_density_but_not_the_scale_of_things(options: dict[str, object]) -> None:
    result = run_webcams(pose(), pose(x=0.12), block_size=5, **options)
    result.check(pose())
    factor = float(options.get("scale", 1))  # type: ignore[arg-type]
    assert result.depth.width == round(320 / factor)


@pytest.mark.parametrize("scale", [1, 2])
def test_jpeg_pictures_are_decoded_at_the_size_that_is_matched(scale: int) -> None:
    large = Intrinsics(640, 480, 600.0, 604.0, 317.0, 243.0)
    result = run_webcams(pose(), pose(x=0.1), lenses=(large, large), pixel_format="jpeg", scale=scale)
    result.check(pose())
    assert result.depth.width == 640 // scale


def test_swapped_cameras_are_put_right() -> None:
    result = run_webcams(pose(yaw=1), pose(x=0.1), order=("right", "left"))
    assert result.inputs == (("left", "color"), ("right", "color"))
    result.check(pose(yaw=1))


@pytest.mark.parametrize("order", [("left", "right"), ("right", "left")])
def test_a_camera_above_the_other_works_as_well(order: tuple[str, str]) -> None:
    upper, lower = pose(yaw=2), pose(y=0.1, pitch=2)
    result = run_webcams(upper, lower, order=order)
    assert result.inputs[0] == ("left", "color")
    result.check(upper)


def test_two_cameras_lying_on_their_sides_work_as_well() -> None:
    left = pose(roll=90)
    run_webcams(left, pose(x=0.1, roll=90)).check(left)


def realsense(left_to_right: Array | None) -> CameraInfo:
    streams = [StreamInfo("depth", "z16", 320, 240, 30.0, LENS, 0.001)]
    for number, stands in ((1, np.eye(4)), (2, left_to_right)):
        known = None if left_to_right is None or stands is None else matrix4(stands)
        streams.append(StreamInfo(f"infrared{number}", "y8", 320, 240, 30.0, LENS, None, known))
    return CameraInfo("d435", "realsense", "D435", tuple(streams))


def test_the_infrared_pictures_of_one_realsense_are_a_pair() -> None:
    cameras = {"d435": realsense(pose(x=0.095))}
    pictures = {
        ("d435", "infrared1"): look(LENS, pose())[0],
        ("d435", "infrared2"): look(LENS, pose(x=0.095))[0],
    }
    result = run(cameras, pictures)
    assert result.inputs == (("d435", "infrared1"), ("d435", "infrared2"))
    result.check(pose())


def calibration_of(left: Array, right: Array, lens: Intrinsics) -> dict[str, Any]:
    right_from_left = np.linalg.inv(right) @ left
    K = np.array([[lens.fx, 0, lens.cx], [0, lens.fy, lens.cy], [0, 0, 1]])
    D = np.array([lens.coefficients or (0.0,) * 5])
    return {
        "K1": K,
        "D1": D,
        "K2": K,
        "D2": D,
        "R": right_from_left[:3, :3],
        "T": right_from_left[:3, 3:],
        "image_size": np.array([lens.width, lens.height]),
    }


@pytest.mark.parametrize("name", ["rig.npz", "rig.json"])
def test_a_calibration_file_takes_the_place_of_what_cameras_say(tmp_path: Path, name: str) -> None:
    left, right = pose(), pose(x=0.1, yaw=-2)
    values = calibration_of(left, right, BENT_LENS)
    path = tmp_path / name
    if path.suffix == ".npz":
        np.savez(path, **values)
    else:
        values["M1"], values["M2"] = values.pop("K1"), values.pop("K2")
        path.write_text(json.dumps({key: value.tolist() for key, value in values.items()}))
    cameras = {name: webcam(name, None, None) for name in ("a", "b")}
    pictures = {("a", "color"): look(BENT_LENS, left)[0], ("b", "color"): look(BENT_LENS, right)[0]}
    run(cameras, pictures, calibration=str(path)).check(left)


def test_a_calibration_made_at_another_size_is_scaled(tmp_path: Path) -> None:
    double = Intrinsics(640, 480, 600.0, 604.0, 316.5, 243.5)
    values = calibration_of(pose(), pose(x=0.1), double)
    np.savez(tmp_path / "rig.npz", **values)
    cameras = {name: webcam(name, None, None) for name in ("a", "b")}
    pictures = {("a", "color"): look(LENS, pose())[0], ("b", "color"): look(LENS, pose(x=0.1))[0]}
    run(cameras, pictures, calibration=str(tmp_path / "rig.npz")).check(pose())


def test_what_is_out_of_reach_is_no_measurement() -> None:
    result = run_webcams(pose(), pose(x=0.1), max_depth_m=2.6)
    metres = result.frame.data * 0.001
    assert 0.1 < (metres > 0).mean() < 0.6
    assert metres.max() <= 2.6
    fine = run_webcams(pose(), pose(x=0.1), depth_scale_m=0.00004)
    metres = fine.frame.data * 0.00004
    assert 0.1 < (metres > 0).mean() < 0.6
    assert metres.max() <= 65535 * 0.00004
    assert fine.depth.depth_scale_m == 0.00004


# What goes wrong


def refused(
    cameras: Mapping[str, CameraInfo], names: tuple[str, ...] | None = None, **options: object
) -> str:
    with pytest.raises(EstimatorError) as caught:
        make_estimator(EstimatorSpec("maps", "stereo", names or tuple(cameras), options)).open(cameras)
    message = str(caught.value)
    assert message.startswith("estimator maps: ")
    assert "\n" not in message
    return message


PAIR = {"a": webcam("a", LENS, pose()), "b": webcam("b", LENS, pose(x=0.1))}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"num_disparity": 64}, "no option 'num_disparity'; did you mean 'num_disparities'?"),
        ({"blocksize": 5}, "did you mean 'block_size'?"),
        ({"num_disparities": 100}, "multiple of 16"),
        ({"num_disparities": 640}, "set a smaller num_disparities"),
        ({"block_size": 4}, "block_size must be odd"),
        ({"block_size": 5.0}, "block_size must be of type int"),
        ({"scale": True}, "scale must be of type float"),
        ({"scale": 0.5}, "scale must be from 1 to 16"),
        ({"min_depth_m": 3, "max_depth_m": 2}, "below max_depth_m"),
        ({"mode": "fast"}, "mode must be one of 3way, sgbm"),
        ({"depth_scale_m": 0.0}, "depth_scale_m must be"),
        ({"uniqueness_percent": 101}, "uniqueness_percent"),
        ({"calibration": "no/such.npz"}, "the calibration no/such.npz cannot be read"),
    ],
)
def test_an_option_that_cannot_be_is_named(options: dict[str, object], complaint: str) -> None:
    assert complaint in refused(PAIR, **options)


def test_what_is_missing_is_said_with_the_way_out() -> None:
    unplaced = {"a": PAIR["a"], "b": webcam("b", LENS, None)}
    assert "where camera b stands; set its world_from_camera" in refused(unplaced)
    unknown = {"a": webcam("a", None, pose()), "b": PAIR["b"]}
    assert "camera a does not know its intrinsics for color; set calibration" in refused(unknown)
    assert "does not say how far apart infrared1 and infrared2 are" in refused({"d435": realsense(None)})
    assert "no pictures named infrared1, only color (bgr8); set infrared_sensors" in refused({"a": PAIR["a"]})
    assert "no camera 'c' among ['a', 'b']" in refused(PAIR, ("a", "c"))
    for names in ((), ("a", "a"), ("a", "b", "a")):
        with pytest.raises(EstimatorError, match="two different cameras, or one RealSense"):
            make_estimator(EstimatorSpec("maps", "stereo", names))


def placed(stands: Array, lens: Intrinsics = LENS) -> dict[str, CameraInfo]:
    return {"a": PAIR["a"], "b": webcam("b", lens, stands)}


def test_a_calibration_that_cannot_be_is_refused(tmp_path: Path) -> None:
    assert "stand 0 m apart" in refused(placed(pose()))
    assert "stand 60 m apart" in refused(placed(pose(x=60)))
    assert "hardly look at the same" in refused(placed(pose(x=0.1, yaw=150)))
    assert "hardly look at the same" in refused(placed(pose(z=0.5)))
    assert "there is no rotation" in refused(placed(pose(x=0.1) @ np.diag([1.0, 1, -1, 1])))
    assert "not a rotation and a place" in refused(placed(np.zeros((4, 4))))
    bent = replace(LENS, model="inverse_brown_conrady", coefficients=(0.1, 0.0, 0.0, 0.0, 0.0))
    assert "'inverse_brown_conrady' with 5 coefficients of camera b" in refused(placed(pose(x=0.1), bent))
    run_webcams(pose(), pose(x=0.1), lenses=(LENS, replace(bent, coefficients=(0.0,) * 5))).check(pose())
    good = calibration_of(pose(), pose(x=0.1), LENS)
    for change, complaint in (
        ({"T": None}, "has no T; it needs"),
        ({"R": np.eye(4)}, "has a R of (4, 4)"),
        ({"K1": np.full((3, 3), math.nan)}, "has a K1"),
        ({"K1": -np.eye(3)}, "focal length that is not positive"),
        ({"D2": np.zeros(3)}, "has a D2 of 3 numbers"),
        ({"image_size": np.array([320, 180])}, "calibrated at 320x180 but delivers 320x240"),
        ({"T": np.array([-100.0, 0, 0])}, "poses and T are in metres"),
    ):
        values = {k: v for k, v in {**good, **change}.items() if v is not None}
        np.savez(tmp_path / "rig.npz", **values)
        assert complaint in refused(PAIR, calibration=str(tmp_path / "rig.npz"))
    for content in (b"", b"PK\x03\x04 torn", b'{"K1": [[1, 2], [3]]}', b"[1]"):
        for name in ("bad.npz", "bad.json"):
            (tmp_path / name).write_bytes(content)
            assert "cannot be read" in refused(PAIR, calibration=str(tmp_path / name))


@pytest.mark.parametrize("pixel_format", ["bgr8", "jpeg", "y8"])
def test_a_frame_of_another_shape_fails_alone(pixel_format: str) -> None:
    cameras = {
        name: webcam(name, LENS, stands, pixel_format) for name, stands in (("a", pose()), ("b", pose(x=0.1)))
    }
    estimator = make_estimator(EstimatorSpec("maps", "stereo", ("a", "b"), {"min_depth_m": 0.8}))
    with pytest.raises(EstimatorError, match="not open"):
        estimator.inputs()
    estimator.open(cameras)
    keys = estimator.inputs()
    good = {key: frame(cameras[key[0]], np.full((240, 320), 90, np.uint8)) for key in keys}
    small = frame(cameras["b"], np.zeros((120, 160), np.uint8), number=8)
    with pytest.raises(EstimatorError, match=r"frame 8 of camera b is 160x120 pixels, but .* for 320x240"):
        estimator.estimate({**good, keys[1]: small})
    (flat,) = estimator.estimate(good)
    assert not flat.data.any()  # nothing to see is nothing measured
    if pixel_format == "jpeg":
        for torn in (good[keys[0]].data[:20], np.zeros(100, np.uint8), np.zeros(0, np.uint8)):
            with pytest.raises(EstimatorError):
                estimator.estimate({**good, keys[0]: replace(small, data=torn)})
    estimator.close()
    with pytest.raises(EstimatorError, match="not open"):
        estimator.estimate(good)


def test_opencv_is_loaded_only_when_a_pair_is_opened() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from capture.estimators import make_estimator; from capture.specs import EstimatorSpec;"
        "make_estimator(EstimatorSpec('m', 'stereo', ('a', 'b'))); assert 'cv2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


@pytest.mark.filterwarnings("error")
def test_a_calibration_of_numbers_that_none_has_is_refused(tmp_path: Path) -> None:
    values = calibration_of(pose(), pose(x=0.1), LENS)
    path = tmp_path / "rig.npz"
    for name in ("R", "K1", "T"):
        np.savez(path, **{**values, name: np.full(np.shape(values[name]), 1e200)})
        assert "with numbers that no calibration has" in refused(PAIR, calibration=str(path))
    np.savez_compressed(path, **values, more=np.zeros(12 << 20))
    assert "more than 16 MB of numbers" in refused(PAIR, calibration=str(path))
    assert "not a rotation and a place" in refused(placed(np.full((4, 4), 1e200)))
