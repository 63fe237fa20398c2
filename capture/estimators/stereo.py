"""Depth maps from two cameras that see the same: OpenCV's semi-global matching on rectified pictures.

Takes the "color" streams of two calibrated cameras, or "infrared1" and "infrared2" of one RealSense, and
puts out one z16 stream "depth": metric, as seen by the rectified left (or upper) camera, 0 where nothing
was measured. Its `camera_from_stream` is in the frame of that camera. Which of the two is the left one
follows from the calibration, not from the order in the rig file.

Everything that depends on the calibration is made once, in open(). It does not know how the two pictures
came to be taken at the same moment.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from capture.estimators import InputKey
from capture.estimators.stereo_calibration import (
    CalibrationError,
    matrix_of,
    pair_from_cameras,
    pair_from_file,
)
from capture.estimators.stereo_rectification import Image, Reach, Rectification, View, rectify
from capture.frames import CameraInfo, Frame, Matrix4, StreamInfo
from capture.picture_headers import jpeg_trouble
from capture.specs import EstimatorSpec
from codec.errors import EstimatorError

_MODES = {"3way": "SGBM_3WAY", "sgbm": "SGBM", "hh": "HH", "hh4": "HH4"}
_PICTURES = ("jpeg", "bgr8", "y8")


@dataclass(frozen=True, slots=True)
class StereoOptions:
    """The options of an estimator of kind "stereo" in the rig file.

    calibration:      a .npz or .json file with K1, D1, K2, D2, R, T (metres) and image_size, as OpenCV's
                      stereoCalibrate gives them; "" takes what the cameras and the rig file say
    scale:            pictures are made this many times smaller first; 2 takes a fifth of the time
    min_depth_m, max_depth_m: what is measured; a nearer minimum takes more time
    num_disparities:  columns to search, a multiple of 16; 0: what min_depth_m needs, at most half the width
    block_size:       odd; larger is smoother and coarser
    mode:             "3way" (fast), "sgbm", "hh4" or "hh" (better, slower, much memory)
    uniqueness_percent, speckle_pixels: how doubtful or how small a match is thrown away
    depth_scale_m:    the unit of the depth map
    """

    calibration: str = ""
    scale: float = 1.0
    min_depth_m: float = 0.3
    max_depth_m: float = 60.0
    num_disparities: int = 0
    block_size: int = 5
    mode: str = "3way"
    uniqueness_percent: int = 10
    speckle_pixels: int = 100
    depth_scale_m: float = 0.001


class StereoEstimator:
    """See the module; what can be set is in StereoOptions."""

    def __init__(self, spec: EstimatorSpec) -> None:
        """Check the options. Raises EstimatorError."""
        self._name = spec.name
        self._keys = _input_keys(spec)
        self._options = _read_options(spec)
        self._rectification: Rectification | None = None
        self._matcher: Any = None

    def open(self, cameras: Mapping[str, CameraInfo]) -> tuple[StreamInfo, ...]:
        """Prepare everything. Raises EstimatorError where the calibration is missing or cannot be used."""
        options = self._options
        streams = tuple(self._stream(cameras, key) for key in self._keys)
        reach = Reach(
            options.min_depth_m, options.max_depth_m, options.num_disparities, options.depth_scale_m
        )
        try:
            if options.calibration:
                pair = pair_from_file(Path(options.calibration), self._keys, streams)
            else:
                pair = pair_from_cameras(cameras, self._keys, streams)
            rectification = rectify(pair, scale=options.scale, reach=reach)
        except CalibrationError as error:
            raise EstimatorError(f"estimator {self._name}: {error}") from error
        self._rectification = rectification
        self._matcher = _make_matcher(options, rectification)
        left, lens = rectification.left.eye.stream, rectification.intrinsics
        pose = matrix_of(left.camera_from_stream) @ rectification.left_from_rectified
        depth = StreamInfo(
            name="depth",
            pixel_format="z16",
            width=lens.width,
            height=lens.height,
            fps=left.fps,
            intrinsics=lens,
            depth_scale_m=options.depth_scale_m,
            camera_from_stream=cast("Matrix4", tuple(tuple(map(float, row)) for row in pose)),
            focal_baseline_px_m=abs(rectification.focal_baseline_px_m),
        )
        return (depth,)

    def inputs(self) -> tuple[InputKey, ...]:
        """The left (or upper) camera, whose frames give depth maps their numbers, and the other."""
        rectification = self._opened()
        return rectification.left.eye.key, rectification.right.eye.key

    def estimate(self, frames: Mapping[InputKey, Frame]) -> list[Frame]:
        """One depth map. Raises EstimatorError for a picture that is broken or of another size."""
        import cv2

        rectification = self._opened()
        left, right = rectification.left, rectification.right
        try:
            warped = [view.warp(self._grey(frames[view.eye.key], view)) for view in (left, right)]
            disparity = self._matcher.compute(*warped)
        except cv2.error as error:
            raise EstimatorError(f"estimator {self._name}: OpenCV failed: {error}") from error
        depth = rectification.depth(disparity)
        return [replace(frames[left.eye.key], stream="depth", data=depth, meta=b"")]

    def close(self) -> None:
        """Let go of the maps and the matcher. Safe to call twice."""
        self._rectification = self._matcher = None

    def _opened(self) -> Rectification:
        if self._rectification is None:
            raise EstimatorError(f"estimator {self._name} is not open")
        return self._rectification

    def _stream(self, cameras: Mapping[str, CameraInfo], key: InputKey) -> StreamInfo:
        camera = cameras.get(key[0])
        if camera is None:
            raise EstimatorError(f"estimator {self._name}: no camera {key[0]!r} among {sorted(cameras)}")
        for stream in camera.streams:
            if stream.name == key[1] and stream.pixel_format in _PICTURES:
                return stream
        has = ", ".join(f"{stream.name} ({stream.pixel_format})" for stream in camera.streams)
        hint = "; set infrared_sensors = [1, 2]" if key[1].startswith("infrared") else ""
        raise EstimatorError(
            f"estimator {self._name}: camera {key[0]} has no pictures named {key[1]}, only {has}{hint}"
        )

    def _grey(self, frame: Frame, view: View) -> Image:
        """The picture in shades of grey, at the size it is matched at."""
        import cv2

        width, height = view.eye.size
        shape = frame.data.shape
        if view.eye.stream.pixel_format == "jpeg":
            shrink, how = _jpeg_decoding(view.eye.size, self._options.scale)
            packet = np.asarray(frame.data, np.uint8)
            grey = None if jpeg_trouble(packet) else cv2.imdecode(packet, how)
            if grey is None:
                raise EstimatorError(f"frame {frame.number} of camera {view.eye.key[0]} is no whole JPEG")
            shape = (grey.shape[0] * shrink, grey.shape[1] * shrink)
        else:
            grey = cv2.cvtColor(frame.data, cv2.COLOR_BGR2GRAY) if frame.data.ndim == 3 else frame.data
        if shape[:2] != (height, width):
            raise EstimatorError(
                f"frame {frame.number} of camera {view.eye.key[0]} is {shape[1]}x{shape[0]} pixels, but the "
                f"calibration is for {width}x{height}"
            )
        if grey.shape[::-1] != view.size:
            grey = cv2.resize(grey, view.size, interpolation=cv2.INTER_AREA)
        return np.asarray(grey, np.uint8)


def _input_keys(spec: EstimatorSpec) -> tuple[InputKey, InputKey]:
    cameras = spec.cameras
    if len(cameras) == 1:
        return (cameras[0], "infrared1"), (cameras[0], "infrared2")
    if len(cameras) == 2 and cameras[0] != cameras[1]:
        return (cameras[0], "color"), (cameras[1], "color")
    raise EstimatorError(
        f"estimator {spec.name}: stereo needs two different cameras, or one RealSense, not {list(cameras)}"
    )


def _read_options(spec: EstimatorSpec) -> StereoOptions:
    kinds = {field.name: type(field.default) for field in fields(StereoOptions)}
    values: dict[str, Any] = {}
    for name, value in spec.options.items():
        if name not in kinds:
            near = difflib.get_close_matches(name, kinds, n=1, cutoff=0.0)[0]
            raise EstimatorError(f"estimator {spec.name}: no option {name!r}; did you mean {near!r}?")
        kind = float if kinds[name] is float and type(value) is int else type(value)
        if kind is not kinds[name]:
            raise EstimatorError(
                f"estimator {spec.name}: {name} must be of type {kinds[name].__name__}, not {value!r}"
            )
        values[name] = value
    options = StereoOptions(**values)
    problem = _problem_with(options)
    if problem:
        raise EstimatorError(f"estimator {spec.name}: {problem}")
    return options


def _problem_with(options: StereoOptions) -> str:
    """What is wrong, or nothing."""
    if not 1.0 <= options.scale <= 16.0:
        return f"scale must be from 1 to 16, not {options.scale}"
    if not 0.0 < options.min_depth_m < options.max_depth_m < math.inf:
        return (
            f"min_depth_m {options.min_depth_m} must be above 0 and below max_depth_m {options.max_depth_m}"
        )
    if options.num_disparities < 0 or options.num_disparities % 16:
        return f"num_disparities must be a multiple of 16, not {options.num_disparities}"
    if options.block_size % 2 == 0 or not 1 <= options.block_size <= 31:
        return f"block_size must be odd and from 1 to 31, not {options.block_size}"
    if options.mode not in _MODES:
        return f"mode must be one of {', '.join(_MODES)}, not {options.mode!r}"
    if not 0 <= options.uniqueness_percent <= 100 or options.speckle_pixels < 0:
        return "uniqueness_percent must be from 0 to 100 and speckle_pixels not negative"
    if not 1e-6 <= options.depth_scale_m <= 1.0:
        return f"depth_scale_m must be from 0.000001 to 1, not {options.depth_scale_m}"
    return ""


def _jpeg_decoding(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """How many times smaller to decode a JPEG, and OpenCV's flags for it.

    The decoder makes small pictures faster than large ones, but only where the size divides evenly do
    their pixels lie where the calibration has them.
    """
    import cv2

    ways = {
        8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
        4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
        2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
        1: cv2.IMREAD_GRAYSCALE,
    }
    shrink = next(n for n in ways if n <= scale and not (size[0] % n or size[1] % n))
    return shrink, ways[shrink] | cv2.IMREAD_IGNORE_ORIENTATION


def _make_matcher(options: StereoOptions, rectification: Rectification) -> Any:
    import cv2

    area = options.block_size**2
    return cv2.StereoSGBM.create(
        minDisparity=rectification.disparity_min,
        numDisparities=rectification.disparity_count,
        blockSize=options.block_size,
        # What OpenCV advises for one channel: the price of a step of one pixel, and of a larger one.
        P1=8 * area,
        P2=32 * area,
        disp12MaxDiff=1,
        preFilterCap=31,
        uniquenessRatio=options.uniqueness_percent,
        speckleWindowSize=options.speckle_pixels,
        speckleRange=2,
        mode=getattr(cv2, f"STEREO_SGBM_MODE_{_MODES[options.mode]}"),
    )
